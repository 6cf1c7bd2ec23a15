"""A session of typical steps compiles each program once."""

import warnings

import jax
import numpy as np
import numpyro.distributions as dist

from jaxspec import (
    NUTS,
    Background,
    Flux,
    Model,
    Observation,
    PointSource,
    Problem,
    Response,
    bootstrap,
    contour,
    fit,
    profile_errors,
    sample,
)
from jaxspec.spectra import CutoffPowerLaw

RESPONSE = Response.diagonal(np.geomspace(1.0, 100.0, 41), area=10.0)


def session(seed, prior, frozen, noticed, band):
    """Everything that a user does with one source: new data, numbers of a prior, a frozen value, ranges of energies."""
    rng = np.random.default_rng(seed)
    counts, behind = rng.poisson(30.0, 40) + rng.poisson(200 / np.arange(1, 41)), rng.poisson(60.0, 40)
    seen = Observation(counts, RESPONSE, 10.0, Background(behind, 20.0), name=f"night {seed}").notice(noticed)
    model = Model(PointSource(f"star {seed}", CutoffPowerLaw(cutoff=frozen)))
    name = f"star {seed}.cutoffpowerlaw"
    model = model.freeze(f"{name}.cutoff").with_priors(
        {f"{name}.K": dist.LogNormal(*prior), f"{name}.index": dist.Normal(*prior)}
    )
    problem = Problem(model, seen)
    best = fit(problem)
    posterior = sample(problem, NUTS(draws=150, warmup=100), key=jax.random.key(seed))
    profile_errors(best, delta=1.0 + seed)
    profile_errors(best, quantities={"flux": Flux(*band)})
    contour(best, f"{name}.K", f"{name}.index", points=5)
    bootstrap(best, 10 + seed, key=jax.random.key(seed))
    for result in (best, posterior):
        result.table(level=0.9)
        result.flux(*band, "erg / (cm2 s)")
        result.derived({"fluence": Flux(*band, "1 / cm2", duration=10.0 + seed)})
        result.plot_counts()
        result.plot_spectrum()


def test_other_data_priors_frozen_values_and_bands_compile_nothing(compilations):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of so few draws
        session(1, (0, 1), 50.0, "2-60 keV", (2, 10))
        with compilations.none():
            session(2, (0.5, 1.5), 80.0, "1.6-45 keV", (5, 50))
