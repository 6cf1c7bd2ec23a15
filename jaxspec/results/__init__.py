"""Best fit and posterior: tables, fluxes, pictures, files."""

from jaxspec.results._bestfit import BestFit
from jaxspec.results._bootstrap import Bootstrap, Coverage, LikelihoodRatio
from jaxspec.results._catalogue import Catalogue, PosteriorCatalogue, compare
from jaxspec.results._io import load
from jaxspec.results._population import PopulationPosterior
from jaxspec.results._posterior import Posterior
from jaxspec.results._predictive import PredictiveCheck
from jaxspec.results._profiles import Contour, ProfileErrors

__all__ = [
    "BestFit",
    "Bootstrap",
    "Catalogue",
    "Contour",
    "Coverage",
    "LikelihoodRatio",
    "PopulationPosterior",
    "Posterior",
    "PosteriorCatalogue",
    "PredictiveCheck",
    "ProfileErrors",
    "compare",
    "load",
]
