"""Predicted data against closed forms, and what their pictures show."""

import dataclasses

import jax
import numpy as np
import numpyro.distributions as dist
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats

from jaxspec import (
    Background,
    FluxPoints,
    Model,
    Observation,
    PointSource,
    Posterior,
    Problem,
    Response,
    posterior_predictive,
    prior_predictive,
)
from jaxspec.spectra import PowerLaw

COUNTS = np.arange(4.0, 14.0)
RESPONSE = Response.diagonal(np.arange(1.0, 12.0))
PRIOR = dist.Gamma(2.0, 0.5)
N = 4000


def problem_of(*observations, prior=PRIOR):
    """A scale alone: K counts are expected in each bin."""
    model = Model(PointSource("a", PowerLaw(index=0.0))).freeze("a.powerlaw.index")
    return Problem(model.with_priors({"a.powerlaw.K": prior}), observations)


def posterior_of(problem, scales):
    """A posterior with these draws of the scale."""
    values = np.tile(list(problem.model.values.values()), (1, len(scales), 1)).astype(float)
    values[0, :, list(problem.model.parameters).index("a.powerlaw.K")] = scales
    return Posterior.of(problem, values, method=None, key=jax.random.key(0), statistics={"ess": len(scales)})


@pytest.fixture(scope="module")
def problem():
    return problem_of(Observation(COUNTS, RESPONSE, 1.0, name="a"))


@pytest.fixture(scope="module")
def check(problem):
    # With a Gamma prior, the posterior is Gamma(2 + 85, 0.5 + 10).
    exact = stats.gamma(87, scale=1 / 10.5).rvs(N, random_state=1)
    return posterior_predictive(posterior_of(problem, exact), N, key=jax.random.key(1))


def test_counts_predicted_by_a_gamma_posterior_are_negative_binomial(check):
    drawn = check.counts["a"]
    exact = stats.nbinom(87, 10.5 / 11.5)
    assert_allclose(drawn.mean(axis=0), exact.mean(), atol=4 * exact.std() / np.sqrt(N))
    assert_allclose(drawn.var(axis=0), exact.var(), rtol=0.12)
    # All bins of a data set have one scale: their sum scatters by more than ten single ones.
    together = 10 * exact.mean() + 100 * 87 / 10.5**2
    assert_allclose(drawn.sum(axis=1).var(), together, rtol=0.1)


def test_counts_predicted_by_a_gamma_prior_are_negative_binomial(problem):
    drawn = prior_predictive(problem, N, key=jax.random.key(2)).counts["a"][:, 3]
    exact = stats.nbinom(2, 0.5 / 1.5)
    assert_allclose(drawn.mean(), exact.mean(), atol=4 * exact.std() / np.sqrt(N))
    observed = np.bincount(drawn.astype(int), minlength=12)[:12]
    assert_allclose(observed / N, exact.pmf(np.arange(12)), atol=4 * np.sqrt(0.25 / N))


def cash(expected, counts):
    """Twice the logarithm of the ratio to a perfect fit, by scipy."""
    return 2 * (stats.poisson.logpmf(counts, counts) - stats.poisson.logpmf(counts, expected)).sum(axis=-1)


@pytest.mark.parametrize("scale", [8.5, 5.0])
def test_the_p_value_is_how_often_data_fit_no_better(problem, scale):
    found = posterior_predictive(posterior_of(problem, np.full(2, scale)), N, key=jax.random.key(3))
    rng = np.random.default_rng(4)
    exact = np.mean(cash(scale, rng.poisson(scale, (100_000, 10))) >= cash(scale, COUNTS))
    assert_allclose(found.p_value, exact, atol=4 * np.sqrt(exact * (1 - exact) / N) + 1 / N)
    assert_allclose(found.observed_statistics[:, 0], cash(scale, COUNTS), rtol=1e-9)
    assert found.p_values == {"a": found.p_value}
    assert f"predictive p-value {found.p_value:.3g}" in repr(found)


def test_a_background_is_drawn_with_its_counts():
    seen = Observation(COUNTS + 10, RESPONSE, 1.0, Background(np.full(10, 40.0), 4.0), name="on")
    net = Observation(
        COUNTS + 10, RESPONSE, 1.0, Background(np.full(10, 40.0), 4.0), errors=np.full(10, 4.0), name="net"
    )
    problem = problem_of(seen, net)
    found = posterior_predictive(posterior_of(problem, np.full(2, 8.0)), N, key=jax.random.key(5))
    assert list(found.background) == ["on"]
    assert_allclose(found.background["on"].mean(), 40.0, atol=0.2)
    assert_allclose(found.background["on"].std(), np.sqrt(40.0), rtol=0.02)
    for counts in found.counts.values():  # of the source region: source and background
        assert_allclose(counts.mean(), 8.0 + 10.0, atol=0.15)


def test_flux_points_scatter_by_their_errors_and_limits_stay():
    points = FluxPoints.at(
        np.arange(2.0, 7.0), np.full(5, 9.0), ([1.0] * 5, [3.0] * 5), "1 / (cm2 s keV)", upper_limits=[0, 0, 0, 0, 1]
    )
    problem = problem_of(points, Observation(COUNTS, RESPONSE, 1.0, name="a"))
    drawn = posterior_predictive(posterior_of(problem, np.full(2, 8.0)), N, key=jax.random.key(6)).counts[points.name]
    # Two half normal distributions, joined at the model: a point above it lies within its lower error.
    assert_allclose(np.mean(drawn[:, :4] > 8.0), 0.25, atol=0.02)
    for side, error in ((drawn[:, :4] > 8, 1.0), (drawn[:, :4] < 8, 3.0)):
        assert_allclose(np.sqrt(np.mean((drawn[:, :4][side] - 8.0) ** 2)), error, rtol=0.04)
    assert_array_equal(drawn[:, 4], 9.0)


def test_the_same_key_predicts_the_same_and_compiles_nothing(problem, check, compilations):
    first = prior_predictive(problem, 300, key=jax.random.key(2))
    with compilations.none():
        again = prior_predictive(problem, 300, key=jax.random.key(2))
        posterior_predictive(posterior_of(problem, np.full(7, 3.0)), 100, key=jax.random.PRNGKey(0))
    assert_array_equal(again.counts["a"], first.counts["a"])
    assert_array_equal(again.statistics, first.statistics)


@pytest.mark.parametrize("scale", [1e18, 1e300])
def test_priors_beyond_all_counts_predict_what_can_be_drawn_or_are_told(scale):
    problem = problem_of(Observation(COUNTS, RESPONSE, 1.0), prior=dist.LogUniform(scale, 1e9 * scale))
    if scale < 1e200:
        assert np.isfinite(prior_predictive(problem, 10, key=jax.random.key(0)).statistics).all()
        return
    with pytest.raises(ValueError, match="10 of 10 sets of parameters give no finite number of counts: narrow priors"):
        prior_predictive(problem, 10, key=jax.random.key(0))


def test_a_prior_is_needed(problem):
    model = problem.model._with(priors={})
    with pytest.raises(ValueError, match=r"no prior for a.powerlaw.K"):
        prior_predictive(Problem(model, problem.observations), key=jax.random.key(0))


# -- pictures ----------------------------------------------------------------------------------------------------------


def test_the_band_holds_its_level_of_the_predictions(check):
    ax, lower = check.plot_counts(level=0.9).axes
    (band,) = [each for each in ax.collections if each.get_label() == "predicted, 90 %"]
    heights = band.get_paths()[0].vertices[:, 1]
    low, high = np.quantile(check.counts["a"], [0.05, 0.95], axis=0)
    assert_allclose([heights.min(), heights.max()], [low.min(), high.max()])
    residuals = lower.containers[0].lines[0].get_ydata()
    exact = stats.nbinom(87, 10.5 / 11.5)
    middle = exact.cdf(COUNTS) - 0.5 * exact.pmf(COUNTS)
    assert_allclose(residuals, stats.norm.ppf(middle), atol=0.1)


def test_data_beyond_all_predictions_have_residuals_in_standard_deviations(check):
    high = dataclasses.replace(check, counts={"a": check.counts["a"] - 50})
    residuals = high.plot_counts().axes[1].containers[0].lines[0].get_ydata()
    drawn = high.counts["a"]
    assert_allclose(residuals, (COUNTS - drawn.mean(axis=0)) / drawn.std(axis=0))


def test_the_quantile_plot_has_the_band_of_summed_predictions(check):
    upper = check.plot_qq(level=0.9).axes[0]
    (line,) = [line for line in upper.lines if line.get_label().startswith("sum")]
    assert_array_equal(line.get_ydata(), np.append(0, np.cumsum(COUNTS)))
    sums = np.cumsum(check.counts["a"], axis=1)
    (band,) = [each for each in upper.collections if each.get_label() == "90 % of the predictions"]
    assert_allclose(band.get_paths()[0].vertices[:, 1].max(), np.quantile(sums[:, -1], 0.95))
    assert_allclose(line.get_xdata()[1:], sums.mean(axis=0), rtol=0.01)
    with pytest.raises(KeyError, match="no observation is called 'b'"):
        check.plot_qq("b")
