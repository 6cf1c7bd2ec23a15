"""Statistics against other programs' numbers, 60-digit arithmetic, scipy and finite differences."""

import functools
import itertools

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
import scipy.integrate
import scipy.optimize
import scipy.stats
from numpy.testing import assert_allclose

import jaxspec  # noqa: F401  (64-bit floats)
from jaxspec import chi_squared, marginal
from jaxspec import statistics as st

mpmath.mp.dps = 60


# ---- other programs' numbers


@pytest.mark.parametrize(
    ("counts", "background", "expected", "value"),
    [  # Sherpa, compiled calc_wstat_stat (statistics.md 1.3), both exposures and the scale 1
        (3, 2, 0, 0.20135513550688877),
        (3, 2, 1e-3, 0.20095532751712675),
        (3, 2, 3, 0.7179376411581382),
        (3, 0, 0, 4.1588830833596715),
        (3, 0, 1e-3, 4.156883083359672),
        (3, 0, 1, 2.1588830833596715),
        (0, 2, 0, 2.772588722239781),
        (0, 2, 1, 4.772588722239782),
        (0, 2, 3, 8.772588722239782),
        (0, 0, 0, 0),
        (0, 0, 1, 2),
    ],
)
def test_wstat_is_sherpas(counts, background, expected, value):
    # Sherpa's own sums round at 1e-15 of the counts.
    assert_allclose(st.wstat(expected, counts, background, 1.0), value, rtol=1e-14, atol=2e-15)


@pytest.mark.parametrize(("expected", "background"), [(1, 2), (3, 0)])
def test_wstat_of_a_perfect_fit_is_zero(expected, background):
    assert_allclose(st.wstat(expected, 3, background, 1.0), 0, atol=1e-30)


# gammapy, stats/tests/test_fit_statistics.py, values made with Sherpa
# mu_sig, n_on, n_off, alpha, wstat, cash, cstat
GAMMAPY = np.array(
    [
        [0.59752422, 0, 0, 0.83746243, 1.19504844, 1.19504844, 1.19504844],
        [9.13666449, 13, 7, 0.17003354, 0.625311794002, -39.24635098872072, 1.4423323052792387],
        [12.98288095, 7, 4, 0.26034507, 4.25810886127, -9.925081055136996, 3.3176610316373925],
        [5.56974565, 5, 0, 0.69197751, 0.0603765381044, -6.034002586236575, 0.06037653810442922],
        [13.52509804, 11, 18, 0.89557033, 11.7285002468, -30.249839537105466, 0.5038564644586838],
        [11.81725635, 16, 7, 0.34068848, 0.206014834301, -55.39143500383233, 1.3314041078406706],
        [0.47963765, 0, 1, 0.0646732, 1.084611, 0.9592753, 0.9592753],
        [11.17708176, 9, 5, 0.86411967, 2.72972381792, -21.095413867175516, 0.4546285248764317],
        [5.18504894, 3, 12, 0.29087245, 4.60602990838, 0.49542219758430406, 1.0870959295929628],
        [8.30202394, 12, 25, 0.74108241, 7.51658734973, -34.19193611846045, 1.4458234764515652],
    ]
).T
MU, ON, OFF, ALPHA, WSTAT, CASH, CSTAT = GAMMAPY


def test_wstat_is_gammapys():
    assert_allclose(st.wstat(MU, ON, OFF, ALPHA), WSTAT, rtol=1e-7)


def test_cash_is_gammapys():
    assert_allclose(st.cash(MU, ON), CASH, rtol=1e-12)


def test_cstat_is_gammapys():
    assert_allclose(st.cstat(MU, ON), CSTAT, rtol=1e-12)


def test_sums_over_channels_are_those_of_the_gamma_ray_data_tools():
    # gdt-core, tests/core/spectra/test_fitting.py: -chi^2 with the variance of the data, and -1/2 of the others, of
    # counts in 2 s over a background of as long and its variance in counts; three digits.
    S, m, b, variance = np.array([[1, 10, 100, 0], [0.2, 2, 20, 0], [0.2, 2, 20, 0], [0.01, 0.1, 1, 0]])
    chi2 = chi_squared.chi2(m[:3], S[:3], S[:3] + 4 * variance[:3], b[:3], 1.0)
    assert_allclose(np.sum(chi2), 38.423, atol=5e-4)
    for values, exact in (
        (st.wstat(m, S, b, 1.0), 18.709),
        (st.pstat(m, S, b), 35.108),
        (st.pgstat(m, S, b, np.sqrt(variance), 1.0), 33.931),
    ):
        assert_allclose(np.sum(values) / 2, exact, atol=5e-4)


def test_wstat_without_source_counts_is_its_closed_form():
    assert_allclose(st.wstat(2.3, 0, 5, 0.5), 2 * (2.3 + 5 * np.log(1.5)), rtol=1e-14)
    assert_allclose(st.profiled_background(2.3, 0, 5, 0.5), 5 / 1.5, rtol=1e-14)


def test_wstat_of_a_faint_source_without_background_counts_is_its_closed_form():
    assert_allclose(st.wstat(2.3, 9, 0, 0.5), -2 * (2.3 / 0.5 + 9 * np.log(0.5 / 1.5)), rtol=1e-14)
    assert_allclose(st.profiled_background(2.3, 9, 0, 0.5), 9 / 1.5 - 2.3 / 0.5, rtol=1e-14)


def test_wstat_of_a_bright_source_without_background_counts_is_its_closed_form():
    assert_allclose(st.wstat(5.3, 5, 0, 0.5), 2 * (5.3 + 5 * (np.log(5 / 5.3) - 1)), rtol=1e-12)
    assert st.profiled_background(5.3, 5, 0, 0.5) == 0


def test_pgstat_without_source_counts_is_xspecs_closed_form():
    # XSPEC manual: 2 [t_s m + B t_s / t_b - sigma^2 (t_s / t_b)^2 / 2], where the background stays positive
    s, B, sigma, alpha = 1.3, 7.0, 2.0, 0.4
    assert_allclose(st.pgstat(s, 0, B, sigma, alpha), 2 * (s + B * alpha - sigma**2 * alpha**2 / 2), rtol=1e-14)


def test_pgstat_with_an_exact_background_is_pstat():
    assert_allclose(
        st.pgstat(1.7, np.array([0, 3, 40]), 6.0, 0.0, 0.5),
        st.pstat(1.7, np.array([0, 3, 40]), 3.0),
        rtol=1e-14,
    )


def test_pstat_is_cstat_of_source_and_background():
    assert_allclose(st.pstat(2.0, 4, 1.5), st.cstat(3.5, 4), rtol=1e-15)


# ---- 60 digits


def deviance(M, S):
    return M - S - (S * mpmath.log(M / S) if S > 0 else 0)


def exact_wstat(s, S, B, alpha):
    s, S, B, alpha = map(mpmath.mpf, (s, S, B, alpha))
    C = alpha * (S + B) - (1 + alpha) * s
    b = (C + mpmath.sqrt(C**2 + 4 * alpha * (1 + alpha) * B * s)) / (2 * alpha * (1 + alpha))
    M = s + alpha * b
    return 2 * (deviance(M, S) + deviance(b, B)), 2 * (1 - (S / M if S > 0 else 0)), b


def exact_pgstat(s, S, B, sigma, alpha):
    s, S, B, sigma, alpha = map(mpmath.mpf, (s, S, B, sigma, alpha))
    c = s + alpha * B - (alpha * sigma) ** 2
    M = (c + mpmath.sqrt(c**2 + 4 * (alpha * sigma) ** 2 * S)) / 2
    b = (M - s) / alpha
    if b < 0:
        M, b = s, mpmath.mpf(0)
    return 2 * deviance(M, S) + ((B - b) / sigma) ** 2, 2 * (1 - (S / M if S > 0 else 0)), b


def assert_close(values, exact, scale, rtol=1e-12):
    """Within rtol, or within the rounding of the largest numbers that enter."""
    tolerance = rtol * np.abs(exact) + 4e-16 * np.asarray(scale)
    assert np.all(np.abs(np.asarray(values) - exact) <= tolerance)


def test_wstat_its_gradient_and_its_background_have_all_digits_in_hard_corners():
    amounts = (0, 1e-10, 0.5, 3, 1e3, 1e6, 1e12)
    points = list(itertools.product((*amounts, 1e-300), amounts, amounts, (1e-3, 0.3, 1, 1e3)))
    arguments = [jnp.array(x) for x in zip(*points)]
    stat, slope, background = (np.array([float(y) for y in x]) for x in zip(*(exact_wstat(*point) for point in points)))
    largest = np.max(np.array(points)[:, :3], axis=1)
    assert_close(st.wstat(*arguments), stat, largest)
    assert_close(jax.vmap(jax.grad(st.wstat))(*arguments), slope, np.full(len(points), 2e3))
    assert_allclose(st.profiled_background(*arguments), background, rtol=1e-12)


def test_pgstat_its_gradient_and_its_background_have_all_digits_in_hard_corners():
    points = list(
        itertools.product(
            (1e-10, 0.5, 3, 1e3, 1e12),
            (0, 1, 3, 1e3, 1e9),
            (0, 1, 20, 1e6, 1e12),
            (1e-10, 0.5, 4),
            (0.01, 1, 30),
        )
    )
    arguments = [jnp.array(x) for x in zip(*points)]
    stat, slope, background = (
        np.array([float(y) for y in x]) for x in zip(*(exact_pgstat(*point) for point in points))
    )
    s, S, B, sigma, alpha = np.array(points).T
    assert_close(st.pgstat(*arguments), stat, s + S + alpha * B)
    assert_close(jax.vmap(jax.grad(st.pgstat))(*arguments), slope, 1 + np.abs(slope))
    assert_close(st.profiled_gaussian_background(*arguments), background, B + (1 + alpha) * sigma**2)


def test_cstat_has_all_digits_from_tiny_to_huge():
    amounts = (1e-10, 0.5, 1, 1 + 1e-9, 3, 20, 1e3, 1e6, 1e6 + 1, 1e12)
    s, S = np.array(list(itertools.product(amounts, amounts))).T
    exact = np.array([float(2 * deviance(mpmath.mpf(a), mpmath.mpf(b))) for a, b in zip(s, S)])
    # The difference of the two is exact, so only that of difference and logarithm rounds.
    assert_close(st.cstat(s, S), exact, np.abs(s - S))


def test_a_saturated_likelihood_keeps_its_digits_at_many_counts():
    counts = [0, 1, 5, 15, 16, 40, 1e4, 1e12]
    exact = [mpmath.mpf(n) * mpmath.log(n) - n - mpmath.loggamma(n + 1) if n else 0 for n in counts]
    assert_allclose(st.cstat_saturated(jnp.array(counts)), [float(x) for x in exact], rtol=2e-14)


# ---- normalised likelihoods, the background maximised numerically


def test_cstat_and_its_saturated_part_make_the_poisson_likelihood():
    s, S = 3.7, np.array([0, 1, 5, 30])
    assert_allclose(-st.cstat(s, S) / 2 + st.cstat_saturated(S), scipy.stats.poisson.logpmf(S, s), rtol=1e-13)


def maximum(log_likelihood, highest):
    result = scipy.optimize.minimize_scalar(
        lambda b: -log_likelihood(b), bounds=(0, highest), method="bounded", options={"xatol": 1e-9}
    )
    return -result.fun


@pytest.mark.parametrize(("s", "S", "B", "alpha"), [(2.0, 5, 3, 0.4), (7.0, 2, 9, 2.0), (0.0, 4, 1, 0.1)])
def test_wstat_and_its_saturated_part_make_the_likelihood_maximised_over_the_background(s, S, B, alpha):
    def log_likelihood(b):
        return scipy.stats.poisson.logpmf(S, s + alpha * b) + scipy.stats.poisson.logpmf(B, b)

    ours = -st.wstat(s, S, B, alpha) / 2 + st.wstat_saturated(S, B)
    assert_allclose(ours, maximum(log_likelihood, 100), rtol=1e-12)


@pytest.mark.parametrize(
    ("s", "S", "B", "sigma", "alpha"),
    [(2.0, 5, 3.3, 1.2, 0.4), (7.0, 2, 9.1, 0.3, 2.0), (5.0, 1, 0.2, 2.0, 1.0)],
)
def test_pgstat_and_its_saturated_part_make_the_likelihood_maximised_over_the_background(s, S, B, sigma, alpha):
    def log_likelihood(b):
        return scipy.stats.poisson.logpmf(S, s + alpha * b) + scipy.stats.norm.logpdf(B, b, sigma)

    ours = -st.pgstat(s, S, B, sigma, alpha) / 2 + st.pgstat_saturated(S, sigma)
    assert_allclose(ours, maximum(log_likelihood, 100), rtol=1e-7)  # third case: the maximum lies at b = 0


def test_a_known_background_adds_nothing_to_the_saturated_likelihood():
    assert_allclose(st.pgstat_saturated(4, 0.0), st.pstat_saturated(4), rtol=1e-15)


@pytest.mark.parametrize(("s", "S", "B", "alpha"), [(2.0, 5, 3, 0.4), (7.0, 2, 9, 2.0), (0.0, 4, 0, 0.1)])
def test_lstat_is_the_likelihood_integrated_over_the_background(s, S, B, alpha):
    integral, _ = scipy.integrate.quad(
        lambda b: scipy.stats.poisson.pmf(S, s + alpha * b) * scipy.stats.poisson.pmf(B, b),
        0,
        100,
        epsrel=1e-12,
    )
    assert_allclose(marginal.lstat(s, S, B, alpha, terms=10), -2 * np.log(integral), rtol=1e-10)


# ---- derivatives

STATISTICS = {
    "cash": (st.cash, (3.0, 4.0)),
    "cstat": (st.cstat, (3.0, 4.0)),
    "pstat": (st.pstat, (3.0, 4.0, 1.5)),
    "wstat": (st.wstat, (3.0, 4.0, 6.0, 0.4)),
    "wstat, faint source": (st.wstat, (0.2, 4.0, 1.0, 2.0)),
    "pgstat": (st.pgstat, (3.0, 4.0, 6.0, 1.5, 0.4)),
    "pgstat, background held at 0": (st.pgstat, (6.0, 2.0, 0.3, 2.0, 1.0)),
    "chi2": (chi_squared.chi2, (3.0, 4.0, 5.0, 2.0, 0.4, 0.1)),
}


@pytest.mark.parametrize("name", STATISTICS)
def test_gradients_with_respect_to_every_argument_are_finite_differences(name):
    function, arguments = STATISTICS[name]
    every = tuple(range(len(arguments)))
    for i, slope in enumerate(jax.grad(function, argnums=every)(*arguments)):
        step = np.eye(len(arguments))[i] * 1e-6
        difference = function(*(arguments + step)) - function(*(arguments - step))
        assert_allclose(slope, difference / 2e-6, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("name", STATISTICS)
def test_second_derivatives_are_finite_differences_of_gradients(name):
    function, arguments = STATISTICS[name]
    every = tuple(range(len(arguments)))
    gradient = jax.grad(function, argnums=every)
    hessian = jax.hessian(function, argnums=every)(*arguments)
    for i in every:
        step = np.eye(len(arguments))[i] * 1e-6
        difference = np.subtract(gradient(*(arguments + step)), gradient(*(arguments - step))) / 2e-6
        assert_allclose([float(row[i]) for row in hessian], difference, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("s", [0.0, 0.3, 6.0])
def test_lstat_derivatives_are_finite_differences(s):
    function = functools.partial(marginal.lstat, terms=8)
    slopes = jax.grad(function, argnums=(0, 3))(s, 4.0, 3.0, 0.4)
    curvature = jax.hessian(function)(s, 4.0, 3.0, 0.4)
    h = 1e-5
    if s > 0:
        assert_allclose(slopes[0], (function(s + h, 4, 3, 0.4) - function(s - h, 4, 3, 0.4)) / 2 / h, rtol=1e-7)
    slope = jax.grad(function)
    assert_allclose(curvature, (slope(s + h, 4.0, 3.0, 0.4) - slope(s, 4.0, 3.0, 0.4)) / h, rtol=1e-3)
    assert_allclose(slopes[1], (function(s, 4, 3, 0.4 + h) - function(s, 4, 3, 0.4 - h)) / 2 / h, rtol=1e-7)


def corners(dtype, n_amounts, n_ratios=1, reduced=False):
    small = (1e-300, 1e-25, 1e-10) if dtype == jnp.float64 else (1e-30, 1e-10)
    amounts = (0, *small, 1, 3, 1e3, 1e12)
    if reduced:
        amounts = (0, small[0], 1e-10, 3, 1e12)
    axes = [(-1e12, -1, *amounts)] + [amounts] * (n_amounts - 1) + [(1e-3, 1, 1e3)] * n_ratios
    return [jnp.asarray(x.ravel(), dtype) for x in np.meshgrid(*axes)]


DERIVATIVES = {
    "value": lambda f: f,
    "reverse": jax.grad,
    "forward": jax.jacfwd,
    "forward over reverse": lambda f: jax.jacfwd(jax.grad(f)),
    "reverse over reverse": lambda f: jax.jacrev(jax.grad(f)),
    "reverse over forward": lambda f: jax.jacrev(jax.jacfwd(f)),
}
CORNERS = {
    "cash": (st.cash, 2, 0, False),
    "cstat": (st.cstat, 2, 0, False),
    "pstat": (st.pstat, 3, 0, False),
    "wstat": (st.wstat, 3, 1, False),
    "pgstat": (st.pgstat, 4, 1, True),
}


@pytest.mark.parametrize("dtype", [jnp.float64, jnp.float32])
@pytest.mark.parametrize("derivative", DERIVATIVES)
@pytest.mark.parametrize("name", CORNERS)
def test_values_and_derivatives_are_finite_in_every_corner(name, derivative, dtype):
    function, n_amounts, n_ratios, reduced = CORNERS[name]
    arguments = corners(dtype, n_amounts, n_ratios, reduced)
    result = jax.jit(jax.vmap(DERIVATIVES[derivative](function)))(*arguments)
    assert result.dtype == dtype
    assert jnp.all(jnp.isfinite(result))


@pytest.mark.parametrize("name", ["wstat", "pgstat"])
def test_gradients_with_respect_to_the_data_are_finite_in_every_corner(name):
    function, n_amounts, n_ratios, reduced = CORNERS[name]
    arguments = corners(jnp.float64, n_amounts, n_ratios, reduced)
    gradient = jax.grad(function, argnums=tuple(range(len(arguments))))
    assert all(jnp.all(jnp.isfinite(x)) for x in jax.jit(jax.vmap(gradient))(*arguments))


# ---- zero and negative expectation


def test_counts_where_none_are_expected_cost_much_but_not_infinitely():
    assert 100 < st.cstat(0.0, 1) < 1000


@pytest.mark.parametrize(
    "statistic",
    [st.cstat, lambda s, S: st.wstat(s, S, 2.0, 0.5), lambda s, S: st.pgstat(s, S, 2.0, 1.0, 0.5)],
)
@pytest.mark.parametrize("counts", [0.0, 5.0])
def test_a_negative_expectation_is_pushed_up(statistic, counts):
    assert statistic(-1.0, counts) > statistic(0.0, counts)
    assert_allclose(jax.grad(statistic)(-1.0, counts), -st.NEGATIVE_COST, rtol=1e-12)


def test_the_gradient_at_zero_is_the_one_from_above():
    assert_allclose(jax.grad(st.cstat)(0.0, 0.0), 2.0, rtol=1e-15)
    assert_allclose(jax.grad(st.wstat)(0.0, 3.0, 0.0, 0.5), -2 / 0.5, rtol=1e-14)  # -2 / alpha, B = 0
    assert jax.grad(st.cstat)(0.0, 1.0) < -1e20


def test_no_statistic_but_cash_is_below_rounding_negative():
    arguments = corners(jnp.float64, 3, 1)
    assert st.wstat(*arguments).min() > -1e-15


def test_arguments_broadcast_against_each_other():
    assert st.wstat(jnp.ones((5, 1)), np.arange(3), 2, 0.5).shape == (5, 3)


# ---- profiled backgrounds


def test_the_profiled_background_of_a_perfect_fit_is_the_measured_one():
    assert_allclose(st.profiled_background(3.0, 5, 4, 0.5), 4, rtol=1e-14)
    assert_allclose(st.profiled_gaussian_background(3.0, 5, 4.0, 1.3, 0.5), 4, rtol=1e-14)


# ---- chi-squared


def test_chi2_subtracts_the_background_and_adds_the_systematic_error_of_the_model():
    # (20 - 0.5 * 6 - 10)^2 / (21.5 + (0.1 * 10)^2)
    assert_allclose(chi_squared.chi2(10.0, 20, 21.5, 6, 0.5, 0.1), 49 / 22.5, rtol=1e-15)


def test_chi2_and_its_saturated_part_make_the_gaussian_likelihood():
    ours = -chi_squared.chi2(3.0, 5.0, 2.25) / 2 + chi_squared.chi2_saturated(2.25)
    assert_allclose(ours, scipy.stats.norm.logpdf(5.0, 3.0, 1.5), rtol=1e-14)


def test_data_variance_follows_xspecs_rule_for_zeros():
    # statistics.md 1.6, from Sherpa's chi2xspecvar: one of the two zero leaves the other term
    assert_allclose(
        chi_squared.data_variance(np.array([4, 4, 0, 0]), np.array([2, 0, 2, 0]), 0.5), [4.5, 4, 0.5, 0.25], rtol=1e-15
    )
    assert_allclose(chi_squared.data_variance(0, 0, 3.0), 1, rtol=1e-15)
    assert_allclose(chi_squared.data_variance(np.array([0, 7])), [1, 7], rtol=1e-15)


def test_gehrels_variance_is_his_upper_limit():
    # Gehrels 1986, eq. 7: 1 + sqrt(n + 3/4) = 1.8660, 2.3229 for n = 0, 1
    assert_allclose(np.sqrt(chi_squared.gehrels_variance(np.array([0, 1]))), [1.8660254, 2.3228757], rtol=1e-7)
    assert_allclose(chi_squared.gehrels_variance(0, 1, 2.0), 1.8660254**2 + 4 * 2.3228757**2, rtol=1e-7)


def test_churazov_variance_is_the_mean_over_neighbours_also_at_the_edges():
    counts = np.array([3, 0, 6, 0, 0, 0, 0])
    assert_allclose(
        chi_squared.churazov_variance(counts, neighbours=1), [1.5, 3, 2, 2, 1, 1, 1], rtol=1e-15
    )  # the last three are empty: 1


def test_churazov_variance_treats_each_spectrum_of_a_batch_alone():
    counts = np.array([[3, 0, 6, 9], [1, 1, 1, 5]])
    assert_allclose(chi_squared.churazov_variance(counts)[1], chi_squared.churazov_variance(counts[1]), rtol=1e-15)


def test_chi2_by_the_model_is_the_squared_deviation_over_the_expected_counts():
    # (12 - 10)^2 / (10 + 3 + (0.1 * 10)^2)
    assert_allclose(chi_squared.chi2_model(10.0, 12.0, 3.0, 0.1), 4 / 14, rtol=1e-15)
    assert_allclose(chi_squared.chi2_model(10.0, 12.0), 0.4, rtol=1e-15)


@pytest.mark.parametrize("derivative", [jax.grad, jax.jacfwd, jax.hessian])
@pytest.mark.parametrize("net_counts", [-3.0, 0.0, 5.0])
@pytest.mark.parametrize("expected", [-1.0, 0.0, 1e-300, 1e12])
def test_chi2_by_the_model_has_finite_derivatives_in_every_corner(expected, net_counts, derivative):
    for added, systematic in ((0.0, 0.0), (2.0, 0.1)):
        assert np.isfinite(derivative(chi_squared.chi2_model)(expected, net_counts, added, systematic))


def test_a_negative_expectation_is_pushed_up_in_chi2_by_the_model():
    assert_allclose(jax.grad(chi_squared.chi2_model)(-1.0, 5.0, 2.0), -st.NEGATIVE_COST, rtol=1e-12)


# ---- marginal background


def test_terms_are_the_power_of_two_above_the_largest_count():
    assert [marginal.terms_for([0, n]) for n in (0, 1, 2, 3, 4, 100, 127, 128)] == [1, 2, 4, 4, 8, 128, 128, 256]


def test_more_terms_than_counts_change_nothing():
    few = marginal.lstat(np.array([0.0, 2.0]), 4, 3, 0.4, terms=5)
    assert_allclose(marginal.lstat(np.array([0.0, 2.0]), 4, 3, 0.4, terms=64), few, rtol=1e-14)


@pytest.mark.parametrize("ratio", [0.0, 1e-3, 1.0, 1e3])
@pytest.mark.parametrize("derivative", [lambda f: f, jax.grad, jax.jacfwd, jax.hessian])
def test_lstat_and_its_derivatives_are_finite_in_every_corner(derivative, ratio):
    amounts = (-1.0, 0.0, 1e-300, 1e-10, 3.0, 1e6)
    s, S, B = (jnp.array(x) for x in zip(*itertools.product(amounts, (0.0, 1.0, 200.0), (0.0, 1.0, 1e6))))
    function = functools.partial(marginal.lstat, terms=256)
    assert jnp.all(jnp.isfinite(jax.vmap(derivative(lambda s, S, B: function(s, S, B, ratio)))(s, S, B)))
