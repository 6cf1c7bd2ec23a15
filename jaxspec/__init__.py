"""Spectral fitting for X-ray and gamma-ray astronomy, differentiable and compiled with JAX.

Importing it switches JAX to 64-bit floats, has a CPU compute in the thread that calls, and keeps compiled programs on
disk (see `jaxspec/_setup.py`).
"""

from jaxspec import _setup  # noqa: F401  isort: skip  (64-bit floats must be on before the first array)

from jaxspec import spectra
from jaxspec.calibration import Calibration
from jaxspec.data import Background, FluxPoints, Observation, RepairWarning, Response, read_each
from jaxspec.inference import (
    bootstrap,
    contour,
    coverage,
    fit,
    fit_each,
    forecast,
    likelihood_ratio_test,
    lower_limit,
    posterior_predictive,
    prior_predictive,
    profile_errors,
    sample,
    sample_each,
    sample_population,
    upper_limit,
)
from jaxspec.methods import NUTS, NestedSlice, UltraNest
from jaxspec.model import Model
from jaxspec.populations import Population
from jaxspec.problem import Problem
from jaxspec.quantities import Derived, EquivalentWidth, Flux, Luminosity
from jaxspec.results import BestFit, Catalogue, Posterior, PosteriorCatalogue, compare, load
from jaxspec.simulation import simulate, simulate_each
from jaxspec.sources import BackgroundModel, PointSource

__version__ = "0.1.0"

__all__ = [
    "NUTS",
    "Background",
    "BackgroundModel",
    "BestFit",
    "Calibration",
    "Catalogue",
    "Derived",
    "EquivalentWidth",
    "Flux",
    "FluxPoints",
    "Luminosity",
    "Model",
    "NestedSlice",
    "Observation",
    "PointSource",
    "Population",
    "Posterior",
    "PosteriorCatalogue",
    "Problem",
    "RepairWarning",
    "Response",
    "UltraNest",
    "bootstrap",
    "compare",
    "contour",
    "coverage",
    "fit",
    "fit_each",
    "forecast",
    "likelihood_ratio_test",
    "load",
    "lower_limit",
    "posterior_predictive",
    "prior_predictive",
    "profile_errors",
    "read_each",
    "sample",
    "sample_each",
    "sample_population",
    "simulate",
    "simulate_each",
    "spectra",
    "upper_limit",
]
