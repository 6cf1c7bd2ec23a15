"""Expected statistic, residuals and significances against published numbers and simulations."""

import mpmath
import numpy as np
import pytest
from numpy.testing import assert_allclose

import jaxspec  # noqa: F401  (64-bit floats)
from jaxspec import goodness, statistics


@pytest.mark.parametrize(
    ("mu", "mean", "variance"),
    [  # exact sums made for this project, statistics.md 1.9
        (0.01, 0.09224, 0.52426),
        (0.1, 0.47410, 0.86040),
        (0.3, 0.83982, 0.65825),
        (0.5, 1.00702, 0.72967),
        (1, 1.14681, 1.36460),
        (2, 1.13940, 2.23297),
        (5, 1.04668, 2.26678),
        (10, 1.01883, 2.08769),
        (100, 1.00168, 2.00680),
    ],
)
def test_expected_cstat_is_the_exact_sum_over_poisson_counts(mu, mean, variance):
    assert_allclose(goodness.expected_cstat(mu), (mean, variance), atol=6e-6)


def exact_moments(mu):
    with mpmath.workdps(40):
        mu = mpmath.mpf(mu)
        terms = []
        for k in range(int(mu + 14 * mpmath.sqrt(mu) + 40)):
            p = mpmath.exp(k * mpmath.log(mu) - mu - mpmath.loggamma(k + 1))
            terms.append((p, 2 * (mu - k + (k * mpmath.log(k / mu) if k else 0))))
        mean = sum(p * c for p, c in terms)
        return float(mean), float(sum(p * c * c for p, c in terms) - mean**2)


@pytest.mark.parametrize("mu", [1e-6, 0.37, 99.9, 100.1, 250])
def test_expected_cstat_sum_and_series_are_exact(mu):
    assert_allclose(goodness.expected_cstat(mu), exact_moments(mu), rtol=1e-7)


def test_expected_cstat_of_an_empty_bin_is_zero():
    assert_allclose(goodness.expected_cstat([0.0, 0.0]), np.zeros((2, 2)), atol=0)


def test_expected_cstat_of_arrays_is_that_of_their_elements():
    mu = np.array([[0.2, 3.0], [150.0, 1e9]])
    mean, variance = goodness.expected_cstat(mu)
    for i in np.ndindex(mu.shape):
        assert_allclose((mean[i], variance[i]), goodness.expected_cstat(mu[i]), rtol=1e-12)


def test_the_mean_of_simulated_cstat_is_the_expected_one():
    mu = np.full(100_000, 2.5)
    counts = np.random.default_rng(1).poisson(mu)
    mean, variance = (x[0] for x in goodness.expected_cstat(mu))
    stat = np.asarray(statistics.cstat(mu, counts))
    assert_allclose(stat.mean(), mean, atol=4 * np.sqrt(variance / len(mu)))
    assert_allclose(stat.var(), variance, rtol=0.03)


@pytest.mark.parametrize("mu", [0.0, 1e-6, 0.01, 0.7, 5.0, 24.0, 26.0, 90.0, 400.0, 1e6])
def test_moments_of_cstat_are_the_exact_sums_also_where_not_every_count_is_summed(mu):
    moments = goodness.cstat_moments(mu)
    assert_allclose((moments.mean[0], moments.variance[0]), goodness.expected_cstat(mu), rtol=1e-6, atol=1e-12)
    assert_allclose(moments.slope_variance, 1 / mu if mu else 0.0, rtol=1e-6)


@pytest.mark.parametrize(
    ("s", "b", "alpha"), [(0.3, 0.2, 1.0), (2.0, 0.5, 0.3), (4.0, 8.0, 0.5), (30.0, 40.0, 1.0), (0.0, 3.0, 0.1)]
)
def test_moments_of_wstat_are_those_of_simulated_counts_in_both_regions(s, b, alpha):
    rng = np.random.default_rng(6)
    counts, background = rng.poisson(s + alpha * b, 200_000), rng.poisson(b, 200_000)
    simulated = np.asarray(statistics.wstat(s, counts, background, alpha))
    behind = np.asarray(statistics.profiled_background(s, counts, background, alpha))
    slope = 1 - np.where(counts > 0, counts / np.maximum(s + alpha * behind, 1e-300), 0)
    moments = goodness.wstat_moments(s, b, alpha)
    assert_allclose(moments.mean[0], simulated.mean(), atol=5 * np.sqrt(moments.variance[0] / 200_000))
    assert_allclose(moments.variance[0], simulated.var(), rtol=0.04)
    assert_allclose(moments.slope_variance[0], slope.var(), rtol=0.04)
    expected = np.cov(simulated, slope)[0, 1]
    assert_allclose(moments.covariance[0], expected, atol=0.03 * np.sqrt(simulated.var() * slope.var()))


@pytest.mark.parametrize(("s", "b", "sigma", "alpha"), [(3.0, 6.0, 1.5, 0.5), (40.0, 30.0, 4.0, 1.0)])
def test_moments_of_pgstat_are_those_of_simulated_counts(s, b, sigma, alpha):
    rng = np.random.default_rng(7)
    counts, background = rng.poisson(s + alpha * b, 200_000), rng.normal(b, sigma, 200_000)
    simulated = np.asarray(statistics.pgstat(s, counts, background, sigma, alpha))
    moments = goodness.pgstat_moments(s, b, sigma, alpha)
    assert_allclose(moments.mean[0], simulated.mean(), atol=5 * np.sqrt(moments.variance[0] / 200_000))
    assert_allclose(moments.variance[0], simulated.var(), rtol=0.04)


@pytest.mark.parametrize(
    "moments", [goodness.wstat_moments(500.0, 400.0, 1.0), goodness.pgstat_moments(500.0, 400.0, 20.0, 1.0)]
)
def test_moments_at_many_counts_are_those_of_chi_squared(moments):
    assert_allclose((moments.mean[0], moments.variance[0], moments.share[0]), (1, 2, 1), rtol=0.01)


def test_moments_of_many_bins_are_those_of_each():
    s = np.geomspace(0.1, 200, 300)
    together = goodness.wstat_moments(s, 2.0, 0.5)
    for i in (0, 127, 128, 299):
        assert_allclose([x[i] for x in together], np.ravel(goodness.wstat_moments(s[i], 2.0, 0.5)), rtol=1e-12)


def test_a_fit_of_many_counts_takes_away_its_parameters():
    x = np.linspace(0, 1, 50)
    moments = goodness.Moments(np.ones(50), np.full(50, 2.0), np.zeros(50), 1 / (5 + x), np.ones(50))
    assert_allclose(goodness.of_fit(moments, np.stack([1 + x, x**2, x**3], axis=1)), (47, np.sqrt(94)), rtol=1e-12)


def test_a_parameter_that_changes_nothing_takes_nothing_away():
    x = np.linspace(0, 1, 50)
    moments = goodness.Moments(np.ones(50), np.full(50, 2.0), np.zeros(50), np.ones(50), np.ones(50))
    assert_allclose(goodness.of_fit(moments, np.stack([1 + x, 0 * x], axis=1))[0], 49, rtol=1e-12)


N = 40_000
MODERATE = [(200.0, 20.0, 1.0), (30.0, 30.0, 1.0), (15.0, 100.0, 0.3), (1000.0, 5.0, 1.0)]


@pytest.mark.parametrize(("source", "background", "ratio"), MODERATE)
def test_w_residuals_of_a_true_model_have_standard_deviation_one(source, background, ratio):
    rng = np.random.default_rng(2)
    counts = rng.poisson(source + ratio * background, N)
    residuals = goodness.wstat_residuals(source, counts, rng.poisson(background, N), ratio)
    assert_allclose(np.std(residuals), 1, atol=0.03)
    assert_allclose(np.mean(residuals), 0, atol=0.1)


@pytest.mark.parametrize(("source", "background", "ratio"), MODERATE)
def test_pg_residuals_of_a_true_model_have_standard_deviation_one(source, background, ratio):
    rng = np.random.default_rng(3)
    counts = rng.poisson(source + ratio * background, N)
    measured = rng.normal(background, 1.5, N)
    residuals = goodness.pgstat_residuals(source, counts, measured, 1.5, ratio)
    assert_allclose(np.std(residuals), 1, atol=0.03)


@pytest.mark.parametrize("total", [10.0, 50.0, 1e4])
def test_c_residuals_of_a_true_model_have_standard_deviation_one(total):
    counts = np.random.default_rng(4).poisson(total, N)
    assert_allclose(np.std(goodness.cstat_residuals(total, counts)), 1, atol=0.03)


def test_residuals_are_positive_where_the_data_lie_above_the_model():
    assert goodness.cstat_residuals(3.0, 5) > 0
    assert goodness.wstat_residuals(3.0, 5, 8, 0.5) < 0
    assert goodness.pgstat_residuals(3.0, 9, 8.0, 1.0, 0.5) > 0


def test_the_residual_of_a_perfect_fit_is_zero():
    assert goodness.wstat_residuals(3.0, 7, 8, 0.5) == 0


@pytest.mark.parametrize(("on", "off", "ratio"), [(13, 11, 0.5), (120, 160, 0.2), (5, 40, 0.5), (700, 1, 3.0)])
def test_li_ma_is_equation_17(on, off, ratio):
    first = on * np.log((1 + ratio) / ratio * on / (on + off))
    second = off * np.log((1 + ratio) * off / (on + off))
    expected = np.sign(on - ratio * off) * np.sqrt(2 * (first + second))
    assert_allclose(goodness.li_ma(on, off, ratio), expected, rtol=1e-11)


def test_li_ma_without_counts_off_source_is_finite():
    assert_allclose(goodness.li_ma(4, 0, 0.5), np.sqrt(2 * 4 * np.log(3)), rtol=1e-14)


@pytest.mark.parametrize(("n", "B", "sigma"), [(30, 12.0, 2.0), (5, 12.0, 3.0), (200, 150.0, 20.0)])
def test_gaussian_significance_is_vianellos_formula(n, B, sigma):
    b = (B - sigma**2 + np.sqrt(B**2 - 2 * B * sigma**2 + 4 * n * sigma**2 + sigma**4)) / 2
    root = np.sqrt(2 * (n * np.log(n / b) + (b - B) ** 2 / (2 * sigma**2) + b - n))
    assert_allclose(goodness.gaussian_significance(n, B, sigma), np.sign(n - B) * root, rtol=1e-12)
