"""Climbs of many spectra at once: where they end, and in how many steps."""

from pathlib import Path

import jax
import numpy as np
import pytest
from numpy.testing import assert_allclose

from jaxspec import Model, Observation, PointSource, simulate_each
from jaxspec.inference import _optimum
from jaxspec.inference._together import climb_many, in_pieces, maxima, starting_points
from jaxspec.quadrature import spread_normally
from jaxspec.spectra import Band
from jaxspec.stack import Stacker

FOLDER = Path(__file__).parents[2] / "notebooks/data/gbm_bn090217206"


@pytest.fixture(scope="module")
def stacked():
    """16 faint time bins of a burst, in a response of GBM: one in a hundred has a maximum beside its highest."""
    n, seed = 16, 41
    model = Model(PointSource("grb", Band(K=0.03, alpha=-0.9, beta=-2.4, cutoff=200)))
    rng = np.random.default_rng(seed)
    values = {
        "grb.band.K": 0.03 * np.exp(rng.normal(0, 0.5, n)),
        "grb.band.alpha": rng.normal(-0.9, 0.15, n),
        "grb.band.beta": rng.normal(-2.4, 0.1, n),
        "grb.band.cutoff": 200 * np.exp(rng.normal(0, 0.3, n)),
    }
    response = Observation.from_ogip(FOLDER / "bn090217206_n6_srcspectra.pha").response
    seen = simulate_each(model, values, response, 10.0, np.full(128, 40.0), key=jax.random.key(seed))
    stacker = Stacker(model)
    ((_, together),) = stacker.stacks([stacker.seen([each]) for each in seen], {})
    return together


@pytest.fixture(scope="module")
def first(stacked):
    present = in_pieces(starting_points, stacked)[:, 0]
    return climb_many(stacked, present, "likelihood")


def test_a_higher_maximum_beside_the_first_is_found(stacked, first):
    offsets = _optimum.SPREAD * spread_normally(8, 4)[1:]
    far = [climb_many(stacked, first.u + offset, "likelihood").cost for offset in offsets]
    highest = np.min([first.cost, *far], axis=0)
    assert np.max(first.cost - highest) > 0.3
    assert_allclose(maxima(stacked, "likelihood").cost, highest, atol=0.01)


def test_climbs_learn_what_their_curvature_lacks(first):
    # Without it they take 16.8 on average, and the slowest 57.
    assert np.all(first.gain < _optimum.TOLERANCE)
    assert np.mean(first.steps) < 13
    assert np.max(first.steps) < 30


def test_a_climb_ends_where_it_comes_near_a_maximum_that_is_known(stacked, first):
    again = climb_many(stacked, first.u + 0.01, "likelihood", first)
    assert np.all(again.cost == np.inf)
    assert np.max(again.steps) < 5
