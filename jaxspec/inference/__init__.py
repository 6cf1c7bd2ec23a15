"""Fitting, errors and sampling: `fit(problem)`, `profile_errors(best)`, `sample(problem, method, key=...)`."""

from jaxspec.inference._bootstrap import bootstrap, coverage, likelihood_ratio_test
from jaxspec.inference._contour import contour
from jaxspec.inference._errors import lower_limit, profile_errors, upper_limit
from jaxspec.inference._fit import fit
from jaxspec.inference._forecast import forecast
from jaxspec.inference._hierarchy import sample_population
from jaxspec.inference._population import fit_each, sample_each
from jaxspec.inference._predictive import posterior_predictive, prior_predictive
from jaxspec.inference._sample import sample

__all__ = [
    "bootstrap",
    "contour",
    "coverage",
    "fit",
    "fit_each",
    "forecast",
    "likelihood_ratio_test",
    "lower_limit",
    "posterior_predictive",
    "prior_predictive",
    "profile_errors",
    "sample",
    "sample_each",
    "sample_population",
    "upper_limit",
]
