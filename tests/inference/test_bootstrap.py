"""Simulated data sets and their fits against what theory says of them; forecasts."""

import dataclasses
import warnings

import jax
import numpy as np
import numpyro.distributions as dist
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats

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
    coverage,
    fit,
    forecast,
    likelihood_ratio_test,
)
from jaxspec.inference import _simulated
from jaxspec.results import Bootstrap, Coverage, LikelihoodRatio
from jaxspec.spectra import GaussianLine, PowerLaw

EDGES = np.geomspace(1.0, 10.0, 21)
RESPONSE = Response.diagonal(EDGES)


def power_law(counts):
    """A problem of 20 bins in which a power law gives so many counts; priors of both parameters."""
    K = counts / ((10**-0.5 - 1) / -0.5)
    model = Model(PointSource("a", PowerLaw(K=K, index=-1.5)))
    priors = {"a.powerlaw.K": dist.LogNormal(np.log(K), 1.0), "a.powerlaw.index": dist.Normal(-1.5, 0.5)}
    return Problem(model.with_priors(priors), Observation(np.ones(20), RESPONSE, 1.0))


def observation(statistic):
    """Twenty bins with 30 counts and a background of 8 scaled counts, by one kind of data."""
    counts, background = np.full(20, 30.0), Background(np.full(20, 16.0), 2.0)
    gaussian = Background(np.full(20, 16.0), 2.0, errors=np.full(20, 3.0))
    if statistic == "cstat":
        return Observation(counts, RESPONSE, 1.0)
    if statistic == "chi2":
        return Observation(counts, RESPONSE, 1.0, errors=np.full(20, 5.0))
    return Observation(counts, RESPONSE, 1.0, gaussian if statistic == "pgstat" else background).with_statistic(
        statistic
    )


@pytest.fixture(scope="module")
def seed_bootstrap(seed_fit):
    return bootstrap(seed_fit, 400, key=jax.random.key(0))


# -- data --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("statistic", ["cstat", "wstat", "pgstat", "pstat", "lstat", "chi2"])
def test_drawn_data_scatter_around_what_is_expected(statistic):
    problem = Problem(Model(PointSource("a", PowerLaw(K=20.0, index=0.0))), observation(statistic))
    if statistic == "lstat":
        with pytest.raises(ValueError, match="data for lstat cannot be drawn: fit with another statistic"):
            _simulated.draw_data(problem, np.tile(problem.start, (2, 1)), np.random.default_rng(0))
        return
    (drawn,) = _simulated.draw_data(problem, np.tile(problem.start, (4000, 1)), np.random.default_rng(0))
    source = 20 * np.diff(EDGES)
    behind = 0.0 if statistic in ("cstat", "chi2") else 8.0
    spread = 5.0 if statistic == "chi2" else np.sqrt(source + behind)
    assert_allclose(drawn[0].mean(axis=0), source + behind, atol=5 * np.max(spread) / np.sqrt(4000))
    assert_allclose(drawn[0].std(axis=0), np.broadcast_to(spread, 20), rtol=0.06)
    measured = {"wstat": 4.0, "pgstat": 3.0}
    if statistic in measured:
        assert_allclose(drawn[1].mean(), 16.0, atol=0.06)
        assert_allclose(drawn[1].std(), measured[statistic], rtol=0.02)


@pytest.mark.parametrize("variance", ["model", "data"])
def test_gaussian_data_have_the_variance_of_their_statistic(variance):
    seen = dataclasses.replace(observation("cstat").with_statistic("chi2"), variance=variance)
    problem = Problem(Model(PointSource("a", PowerLaw(K=20.0, index=0.0))), seen)
    (drawn,) = _simulated.draw_data(problem, np.tile(problem.start, (4000, 1)), np.random.default_rng(0))
    expected = 20 * np.diff(EDGES)
    assert_allclose(drawn[0].var(axis=0), expected if variance == "model" else np.full(20, 30.0), rtol=0.12)


# -- bootstrap, goodness of fit ----------------------------------------------------------------------------------------


def test_fits_of_simulated_data_scatter_by_the_errors_of_the_fit(seed_bootstrap, seed_fit):
    table = seed_bootstrap.table()
    for name in seed_fit.varied:
        assert_allclose(table.loc[name, "sd"], seed_fit.errors[name], rtol=0.12)
        assert abs(seed_bootstrap.bias[name]) < 0.25 * seed_fit.errors[name]
    assert seed_bootstrap.converged.all()
    assert "p-value" in repr(seed_bootstrap)


def test_the_statistic_of_simulated_data_is_what_is_expected_of_it(seed_bootstrap, seed_fit):
    mean, deviation = seed_fit.expected_statistic
    assert_allclose(seed_bootstrap.statistics.mean(), mean, atol=3.5 * deviation / 20)
    assert_allclose(seed_bootstrap.statistics.std(), deviation, rtol=0.12)


def test_a_bootstrap_has_fluxes_and_derived_quantities_like_any_result(seed_bootstrap, seed_fit):
    ours, theirs = (result.flux(1, 1000).loc["src1: total"] for result in (seed_bootstrap, seed_fit))
    assert ours["flux"] == theirs["flux"]
    assert_allclose(ours["hi bound"].value, theirs["hi bound"].value, rtol=0.02)
    assert len(seed_bootstrap.derived_draws(Flux(1, 1000))) == 400


def test_the_p_value_of_gaussian_data_is_that_of_chi_squared():
    rng = np.random.default_rng(4)
    seen = dataclasses.replace(observation("chi2"), counts=20 * np.diff(EDGES) + rng.normal(0, 5, 20))
    best = fit(Problem(Model(PointSource("a", PowerLaw(K=20.0, index=0.0))), seen))
    found = bootstrap(best, 1000, key=jax.random.key(1))
    exact = stats.chi2.sf(best.statistic, 18)
    assert 0.01 < exact < 0.5
    assert_allclose(found.p_value, exact, atol=4 * np.sqrt(exact * (1 - exact) / 1000))


def test_the_same_key_draws_the_same_and_compiles_nothing(seed_fit, seed_bootstrap, compilations):
    with compilations.none():
        again = bootstrap(seed_fit, 400, key=jax.random.key(0), progress=False)
        bootstrap(seed_fit, 300, key=jax.random.PRNGKey(1))
    assert_array_equal(again.samples, seed_bootstrap.samples)


def test_fits_that_did_not_converge_are_told(seed_fit):
    spoilt = Bootstrap(seed_fit, seed_fit.points[1:4], np.ones(3), np.array([True, False, True]))
    assert "! 1 fits did not converge" in repr(spoilt)


def test_a_bootstrap_is_not_kept_in_files(seed_bootstrap, tmp_path):
    with pytest.raises(TypeError, match="a bootstrap cannot be saved: save its best fit"):
        seed_bootstrap.save(tmp_path / "x.nc")


# -- likelihood ratio --------------------------------------------------------------------------------------------------


def test_a_line_that_cannot_be_negative_has_the_distribution_of_chernoff():
    # Half a delta at zero, half chi-squared with one degree of freedom (Chernoff 1954): not Wilks's theorem.
    counts = np.full(20, 400.0) * np.diff(EDGES)
    seen = Observation(np.random.default_rng(5).poisson(counts), RESPONSE, 1.0)
    line = GaussianLine(energy=4.0, sigma=0.5, K=10.0)
    bare = Model(PointSource("a", PowerLaw(K=400.0, index=0.0)))
    more = Model(PointSource("a", PowerLaw(K=400.0, index=0.0) + line))
    more = more.freeze("a.gaussianline.energy", "a.gaussianline.sigma")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fits = fit(Problem(bare, seen)), fit(Problem(more, seen))
    found = likelihood_ratio_test(*fits, 400, key=jax.random.key(0))
    assert_allclose(np.mean(found.simulated > 1e-3), 0.5, atol=0.1)
    assert_allclose(np.mean(found.simulated > 1.642), 0.1, atol=0.06)
    assert_allclose(found.observed, fits[0].statistic - fits[1].statistic, rtol=1e-12)


def test_the_p_value_of_a_ratio_counts_what_is_as_large():
    found = LikelihoodRatio(3.0, np.array([0.0, 1.0, 3.0, 4.0]))
    assert found.p_value == 3 / 5
    assert "p-value 0.6" in repr(found)


def test_a_likelihood_ratio_needs_the_same_data(seed_fit):
    other = fit(power_law(50))
    with pytest.raises(ValueError, match="the two fits are not of the same data"):
        likelihood_ratio_test(seed_fit, other, 10, key=jax.random.key(0))


# -- coverage ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("counts", [5, 50, 5000])
def test_profile_intervals_hold_the_truth_as_often_as_they_say(counts):
    found = coverage(power_law(counts), 1000, key=jax.random.key(1))
    for level in (0.68, 0.95):
        error = np.sqrt(level * (1 - level) / 1000)
        assert_allclose(list(found.share(level).values()), level, atol=3 * error), level
    assert found.converged.all()


def test_intervals_of_the_covariance_hold_the_truth_at_many_counts():
    found = coverage(power_law(5000), 1000, key=jax.random.key(2), method="covariance")
    assert_allclose(list(found.share(0.68).values()), 0.68, atol=0.045)
    assert list(found.table().index) == ["a.powerlaw.K", "a.powerlaw.index", "binomial error"]


@pytest.mark.parametrize("counts", [5, 50, 5000])
def test_posteriors_hold_truths_drawn_from_the_prior_as_often_as_they_say(counts):
    method = NUTS(draws=200, warmup=100, chains=1)
    found = coverage(power_law(counts), 60, key=jax.random.key(counts), method=method)
    for level in (0.68, 0.95):
        error = np.sqrt(level * (1 - level) / 60)
        assert_allclose(list(found.share(level).values()), level, atol=3 * error), level
    for column in found.p_values.T:
        assert stats.kstest(column, "uniform").pvalue > 1e-3


def test_a_share_counts_the_data_sets_whose_truth_is_inside():
    found = Coverage(("x",), np.array([[0.5], [0.04], [0.2], [0.9]]), np.ones(4, bool))
    assert found.share(0.9) == {"x": 0.75}
    assert found.table(0.9).loc["binomial error", "90 %"] == pytest.approx(0.15)


def test_a_method_of_coverage_is_one_of_three():
    with pytest.raises(ValueError, match="method='minos' is not known; give 'profile', 'covariance' or NUTS"):
        coverage(power_law(5), 10, key=jax.random.key(0), method="minos")


# -- forecast ----------------------------------------------------------------------------------------------------------


def test_a_forecast_has_the_fisher_matrix_of_the_model(demo):
    model = Model(PointSource("a", PowerLaw(K=30.0, index=-1.6, pivot=100.0)))
    found = forecast(model, demo, 10.0)
    assert_allclose(list(found.values.values())[:2], [30.0, -1.6], rtol=1e-6)

    def expected(K, index):
        problem = Problem(model, found.problem.observations[0])
        return np.asarray(problem.expected_counts({"a.powerlaw.K": K, "a.powerlaw.index": index})["simulated"])

    slopes = np.stack(
        [(expected(30.03, -1.6) - expected(29.97, -1.6)) / 0.06, (expected(30, -1.599) - expected(30, -1.601)) / 0.002]
    )
    fisher = slopes @ (slopes / expected(30.0, -1.6)).T
    assert_allclose(found.covariance.to_numpy(), np.linalg.inv(fisher), rtol=1e-3)
