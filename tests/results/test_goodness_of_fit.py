"""How good a fit is said to be, against simulations of fits of a true model."""

import dataclasses
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

import jaxspec
from jaxspec import Background, Model, Observation, PointSource, Problem, Response, fit, goodness
from jaxspec.density import STATISTICS
from jaxspec.inference import _optimum
from jaxspec.results import _goodness
from jaxspec.spectra import PowerLaw

N_BINS, N = 60, 200
EDGES = np.geomspace(1, 20, N_BINS + 1)
SHAPE = 2 * (EDGES[:-1] ** -0.5 - EDGES[1:] ** -0.5)


def observe(statistic, mean, background, ratio, seed=1):
    """N simulated observations of an E^-1.5 power law with `mean` counts a bin, and the law's scale."""
    rng = np.random.default_rng(seed)
    scale = mean * N_BINS / SHAPE.sum()
    counts = rng.poisson(scale * SHAPE + ratio * background, (N, N_BINS)).astype(float)
    behind = [None] * N
    if statistic == "wstat":
        drawn = rng.poisson(background, (N, N_BINS)).astype(float)
        behind = [Background(each, 1.0, back_scale=1 / ratio) for each in drawn]
    if statistic == "pgstat":
        drawn = np.maximum(rng.normal(background, 1.0, (N, N_BINS)), 0.0)
        behind = [Background(each, 1.0, back_scale=1 / ratio, errors=np.ones(N_BINS)) for each in drawn]
    response = Response.diagonal(EDGES)
    return [Observation(S, response, 1.0, B) for S, B in zip(counts, behind)], scale


@jax.jit
def all_fits(density, data, start):
    """Best point, expected counts there and least statistic of `density` with each set of data."""

    def one(*arrays):
        fitted = (dataclasses.replace(density.fitted[0], data=arrays),)
        changed = dataclasses.replace(density, fitted=fitted, saturated=jnp.zeros(N_BINS))
        found = _optimum.climb.__wrapped__(changed, start, "likelihood", 200, len(start))
        theta = changed.space.values(found.u[0])
        return changed.expected_counts(changed.layout.fill(theta)), 2 * found.cost[0]

    return jax.vmap(one)(*data)


def deviations(observations, scale):
    """Of each fit of a true model: least statistic, and by how many standard deviations it is off its expectation."""
    problem = Problem(Model(PointSource("a", PowerLaw(K=scale, index=-1.5))), observations[0])
    selections = [each.selection() for each in observations]
    rows = [STATISTICS[each.statistic].data(each) for each in selections]
    data = [jnp.asarray(np.stack(arrays)) for arrays in zip(*rows)]
    source, least = map(
        np.asarray, all_fits(problem.density, data, problem.density.space.point(problem.vector())[None])
    )
    # All bins of all fits in one go: the smoothed background must not mix them.
    behind = [
        _goodness.smoothed(each.background, np.ones(N_BINS)) for each in selections if each.background is not None
    ]
    arguments = {
        "cstat": lambda: (source,),
        "wstat": lambda: (source, np.array(behind), data[2]),
        "pgstat": lambda: (source, data[1], data[2], data[3]),
    }[selections[0].statistic]()
    moments = getattr(goodness, f"{selections[0].statistic}_moments")(*map(np.ravel, arguments))
    split = [goodness.Moments(*(x.reshape(N, N_BINS)[i] for x in moments)) for i in range(N)]
    slopes = [np.stack([s, s * np.log(EDGES[:-1] * EDGES[1:]) / 2], axis=1) for s in source]
    expected = np.array([goodness.of_fit(each, slope) for each, slope in zip(split, slopes)])
    return least, expected, (least - expected[:, 0]) / expected[:, 1]


CASES = [
    ("cstat", 0.2, 0.0, 0.0),
    ("cstat", 0.5, 0.0, 0.0),
    ("cstat", 3.0, 0.0, 0.0),
    ("wstat", 1.0, 0.3, 0.1),
    ("wstat", 3.0, 0.5, 0.5),
    ("wstat", 20.0, 20.0, 1.0),
    ("pgstat", 5.0, 10.0, 0.5),
]


@pytest.mark.parametrize(("statistic", "mean", "background", "ratio"), CASES)
def test_the_statistic_of_a_true_model_has_the_expected_mean_and_deviation(statistic, mean, background, ratio):
    _, _, sigmas = deviations(*observe(statistic, mean, background, ratio))
    # 200 fits: the mean to 0.07 of the deviation, the deviation to 5 per cent.
    assert_allclose(np.mean(sigmas), 0, atol=0.2)
    assert_allclose(np.std(sigmas), 1, atol=0.13)


def test_at_few_counts_the_plain_sum_of_variances_would_be_too_large():
    least, expected, _ = deviations(*observe("cstat", 0.2, 0.0, 0.0))
    # The number of counts decides C, and the fit has matched it: C less its expectation hardly varies.
    assert np.std(least - expected[:, 0]) < 0.6 * np.std(least)
    assert_allclose(np.mean(expected[:, 1]), np.std(least - expected[:, 0]), rtol=0.25)


def simple(statistic=None, **options):
    observations, scale = observe("wstat", 3.0, 2.0, 0.5)
    observation = observations[0] if statistic is None else observations[0].with_statistic(statistic, **options)
    return fit(Problem(Model(PointSource("a", PowerLaw(K=scale))), observation))


def test_derivatives_of_the_expected_counts_are_those_of_the_formula():
    best = simple()
    expected = np.asarray(best.problem.expected_counts(dict(zip(best.problem.names, best.theta)))["observation"])
    steps = np.sqrt(np.diag(best.covariance_u))
    _, slope = jax.jvp(best.problem.density.space.values, (jnp.asarray(best.u),), (jnp.ones(2),))
    table = _goodness._jacobian(best.problem, best.u, steps) / (2e-3 * steps * slope)
    assert_allclose(table[:, 0], expected / best.values["a.powerlaw.K"], rtol=1e-5)
    assert_allclose(table[:, 1], expected * np.log(EDGES[:-1] * EDGES[1:]) / 2, rtol=0.01, atol=0.01)


def test_the_summary_says_what_a_true_model_would_reach():
    best = simple()
    mean, deviation = best.expected_statistic
    text = repr(best)
    assert f"for 58 degrees of freedom; expected {mean:.1f} +- {deviation:.1f} (" in text
    assert_allclose(best.statistic_deviation, (best.statistic - mean) / deviation, rtol=1e-12)
    assert f"({best.statistic_deviation:+.1f} sigma)" in text
    assert text.split("sigma)")[1].startswith(": observation")


def test_many_counts_have_the_moments_of_chi_squared():
    observations, scale = observe("cstat", 1e5, 0.0, 0.0)
    best = fit(Problem(Model(PointSource("a", PowerLaw(K=scale))), observations[0]))
    assert_allclose(best.expected_statistic, (58, np.sqrt(2 * 58)), rtol=1e-3)


def test_chi_squared_by_the_errors_of_the_data_has_its_own_moments():
    assert_allclose(simple("chi2").expected_statistic, (58, np.sqrt(2 * 58)), rtol=1e-12)


@pytest.mark.parametrize(
    ("statistic", "options"), [("lstat", {}), ("chi2", {"variance": "gehrels"}), ("chi2", {"variance": "model"})]
)
def test_a_statistic_without_known_moments_is_not_judged(statistic, options):
    best = simple(statistic, **options)
    assert best.expected_statistic is None
    assert best.statistic_deviation is None
    assert "expected" not in repr(best)


def test_a_known_background_counts_in_the_expected_statistic():
    best = simple("pstat")
    total = np.asarray(best.problem.expected_counts(dict(zip(best.problem.names, best.theta)))["observation"])
    selection = best.problem.selections[0]
    exact = goodness.expected_cstat(total + selection.ratio * selection.background)[0].sum() - 2
    assert_allclose(best.expected_statistic[0], exact, atol=0.02)  # a fit of few counts takes up a little less than 2


def test_observations_add_up():
    observations, scale = observe("wstat", 3.0, 2.0, 0.5)
    pair = [dataclasses.replace(each, name=str(i)) for i, each in enumerate(observations[:2])]
    best = fit(Problem(Model(PointSource("a", PowerLaw(K=scale))), pair))
    one = simple()
    mean, deviation = best.expected_statistic
    assert_allclose(mean + 2, 2 * (one.expected_statistic[0] + 2), rtol=0.03)
    assert_allclose(deviation, np.sqrt(2) * one.expected_statistic[1], rtol=0.06)


def test_a_wrong_model_lies_many_deviations_above():
    observations, scale = observe("cstat", 50.0, 0.0, 0.0)
    bent = dataclasses.replace(observations[0], counts=observations[0].counts + np.where(EDGES[:-1] > 8, 60, 0))
    best = fit(Problem(Model(PointSource("a", PowerLaw(K=scale))), bent))
    assert best.statistic_deviation > 10


def test_a_loaded_fit_says_the_same(tmp_path):
    best = simple()
    best.save(tmp_path / "best.nc")
    assert_allclose(jaxspec.load(tmp_path / "best.nc").expected_statistic, best.expected_statistic, rtol=1e-9)


# -- where the background of every bin biases ------------------------------------------------------------------------


def test_a_biased_statistic_is_told_in_the_summary():
    observations, scale = observe("wstat", 1.0, 0.3, 1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        best = fit(Problem(Model(PointSource("a", PowerLaw(K=scale))), observations[0]))
    assert "note: observation: wstat is biased here, faint sources come out too faint" in repr(best)
    assert "note" not in repr(simple())


# -- the mean background ----------------------------------------------------------------------------------------------


def test_a_smoothed_background_is_the_mean_over_enough_neighbours():
    counts, channels = np.array([12.0, 0.0, 3.0, 0.0, 0.0, 20.0]), np.array([1, 1, 2, 1, 1, 2])
    # alone | 12 0 3 in 4 channels | 12 to 0 in 6, 2 of them its own | 0 to 20 in 7 | 0 0 20 in 4 | alone
    expected = [12, 15 / 4, 2 * 15 / 6, 23 / 7, 20 / 4, 20]
    assert_allclose(_goodness.smoothed(counts, channels), expected, rtol=1e-12)


def test_few_background_counts_are_spread_over_all_bins():
    assert_allclose(_goodness.smoothed(np.array([0.0, 4.0, 0.0]), np.array([1, 1, 2])), [1, 1, 2], rtol=1e-12)
