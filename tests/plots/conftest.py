"""A small problem with two sources and three observations: with background, without, and with Gaussian background."""

import jax
import numpy as np
import pytest

from jaxspec.data import Background, Observation, Response
from jaxspec.inference import fit
from jaxspec.model import Model
from jaxspec.problem import Problem
from jaxspec.results import Posterior
from jaxspec.sources import PointSource
from jaxspec.spectra import Blackbody, PowerLaw

EDGES = np.geomspace(1.0, 100.0, 25)


@pytest.fixture(scope="session")
def problem():
    response = Response.diagonal(EDGES, area=10.0)
    random = np.random.default_rng(20240517)
    # The star is 3 (E / keV)^-1.5, integrated over the bins; the pulsar has a hump at 10 keV.
    star = 10 * 20.0 * 3 * (EDGES[:-1] ** -0.5 - EDGES[1:] ** -0.5) * 2
    pulsar = 10 * 40.0 * np.log(EDGES[1:] / EDGES[:-1]) + 2000 * np.exp(-(np.log(EDGES[1:] / 10) ** 2))
    behind = random.poisson(np.full(24, 15.0)).astype(float)
    poisson = Observation(random.poisson(star + 5.0), response, 20.0, Background(behind, 60.0), name="with background")
    both = Observation(random.poisson(2 * star + pulsar), response, 40.0, name="bare")
    errors = np.full(24, 3.0)
    gaussian = Observation(
        random.poisson(star + 5.0), response, 20.0, Background(behind / 3, 20.0, errors=errors), name="gaussian"
    )
    model = Model(
        PointSource("star", PowerLaw(K=3.0, index=-1.5)),
        PointSource("pulsar", PowerLaw(K=1.0, index=-1.0) + Blackbody(K=0.02, kT=4.0)),
    ).freeze("pulsar.powerlaw.index")
    return Problem(
        model,
        [poisson.notice((1.5, 10), (20, 80)).assign("star"), both.assign("star", "pulsar"), gaussian.assign("star")],
    )


@pytest.fixture(scope="session")
def best(problem):
    return fit(problem)


@pytest.fixture(scope="session")
def posterior(problem):
    """Draws made by hand: 250 around the model's values."""
    centre = np.array(list(problem.model.values.values()), float)
    random = np.random.default_rng(7)
    free = np.array([name in problem.names for name in problem.model.parameters])
    samples = centre * (1 + 0.03 * free * random.standard_normal((1, 250, len(centre))))
    return Posterior(problem, samples, method=None, key=jax.random.key_data(jax.random.key(0)), statistics={})


@pytest.fixture
def lines():
    """The lines and steps of an axis that have a label, as one array of heights per bin."""

    def read(ax, label):
        (line,) = [line for line in ax.lines if line.get_label() == label]
        return np.asarray(line.get_ydata())[::3]

    return read
