"""Integrals over bins, against scipy and closed forms."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy import stats

from jaxspec import quadrature
from jaxspec.quadrature import Bins, integrate, power_integral, sinhc

EDGES = np.geomspace(1.0, 1000.0, 40)


@pytest.mark.parametrize("order", [3, 5, 7, 9])
@pytest.mark.parametrize("moment", [0, 1, 2])
def test_a_power_law_is_integrated_over_narrow_bins(order, moment):
    bins = Bins.of(EDGES[:-1], EDGES[1:], order)
    exact = (
        (EDGES[1:] ** (moment - 1) - EDGES[:-1] ** (moment - 1)) / (moment - 1)
        if moment != 1
        else np.diff(np.log(EDGES))
    )
    assert_allclose(integrate(lambda energy: energy**-2, bins, moment), exact, rtol=1e-6 if order == 3 else 1e-10)


def test_the_moment_may_be_traced():
    bins = Bins.of(EDGES[:-1], EDGES[1:])
    found = jax.jit(lambda moment: integrate(lambda energy: energy**-2, bins, moment))(1.0)
    assert_allclose(found, np.diff(np.log(EDGES)), rtol=1e-12)


def test_a_band_is_divided_evenly_in_the_logarithm():
    bins = Bins.dividing(jnp.asarray(1.0), jnp.asarray(1000.0), 3)
    assert_allclose(bins.low, [1, 10, 100], rtol=1e-12)
    assert_allclose(bins.high, [10, 100, 1000], rtol=1e-12)


def test_stretched_bins_have_all_energies_multiplied():
    bins = Bins.of(EDGES[:-1], EDGES[1:])
    assert_allclose(integrate(lambda e: e, bins.stretched(2.0)), 4 * integrate(lambda e: e, bins), rtol=1e-12)


@pytest.mark.parametrize("width", [1.005, 1.09, 1.6, 3.0])
def test_bins_are_as_fine_as_a_planck_spectrum_needs(width):
    edges = 300.0 * np.array([1, width])
    bins = Bins.fine_enough(edges[:-1], edges[1:])
    exact = mpmath.quad(lambda e: e**2 / mpmath.expm1(e / 100), [300, 300 * width])
    assert_allclose(integrate(lambda e: e**2 / jnp.expm1(e / 100), bins), [float(exact)], rtol=1e-6)


@pytest.mark.parametrize("x", [0.0, 1e-12, 1e-3, 0.4999, 0.5001, -0.3, 3.0, -20.0])
def test_sinhc_and_two_derivatives_are_exact(x):
    exact = [float(value) for value in mpmath.taylor(lambda y: mpmath.sinh(y) / y if y else mpmath.mpf(1), x, 2)]
    if x == 0:
        exact = [1.0, 0.0, 1 / 6]
    assert_allclose(sinhc(x), exact[0], rtol=1e-14)
    assert_allclose(jax.grad(sinhc)(x), exact[1], rtol=1e-11, atol=1e-15)
    assert_allclose(jax.grad(jax.grad(sinhc))(x), 2 * exact[2], rtol=1e-10)


@given(st.floats(-6, 4), st.floats(0.01, 100), st.floats(1.001, 1e4))
def test_power_integrals_agree_with_those_of_mpmath(exponent, low, ratio):
    s, high = mpmath.mpf(exponent) + 1, mpmath.mpf(low) * ratio
    exact = mpmath.log(high / low) if s == 0 else (high**s - mpmath.mpf(low) ** s) / s
    assert_allclose(power_integral(exponent, low, low * ratio), float(exact), rtol=1e-9)


@pytest.mark.parametrize("offset", [0.0, 1e-14, -1e-9, 1e-4, -1e-2])
def test_power_integrals_are_smooth_through_the_exponent_minus_one(offset):
    # With L = ln 100: the integral is L (1 + s L / 2 + ...), its derivative L^2 / 2 + s L^3 / 3 + s^2 L^4 / 8.
    L, s = np.log(100.0), offset
    value, slope = jax.value_and_grad(power_integral)(-1.0 + s, 1.0, 100.0)
    assert_allclose(value, L * sum((s * L) ** k / mpmath.factorial(k + 1) for k in range(12)).__float__(), rtol=1e-12)
    exact = sum(k * s ** (k - 1) * L ** (k + 1) / float(mpmath.factorial(k + 1)) for k in range(1, 12))
    assert_allclose(slope, exact, rtol=1e-10)


def test_points_spread_normally_start_at_the_origin_and_are_always_the_same():
    points = quadrature.spread_normally(100, 3)
    assert_allclose(points[0], 0, atol=1e-12)
    assert np.array_equal(points, quadrature.spread_normally(100, 3))


def test_points_spread_normally_are_normal():
    points = quadrature.spread_normally(4096, 4)
    assert_allclose(points.mean(axis=0), 0, atol=5e-3)
    assert_allclose(np.cov(points.T), np.eye(4), atol=3e-2)
    assert max(stats.kstest(column, "norm").statistic for column in points.T) < 5e-3


def test_values_at_even_steps_are_interpolated_smoothly_and_go_on_straight():
    x = np.linspace(-2.0, 1.0, 31)
    fine = np.concatenate([x, np.linspace(-1.79, 0.79, 101)])
    inside = (fine > -1.8) & (fine < 0.8)
    read = quadrature.interpolate_evenly(jnp.asarray(np.sin(x)), 1.0, 0.1, jnp.asarray(fine))
    assert_allclose(read[inside], np.sin(fine[inside]), atol=2e-6)
    assert_allclose(read[: len(x)], np.sin(x), atol=1e-14)
    slope = jax.grad(lambda at: quadrature.interpolate_evenly(jnp.asarray(np.sin(x)), 1.0, 0.1, at))
    assert_allclose(slope(0.3 - 1e-12), slope(0.3 + 1e-12), rtol=1e-9)
    ends = [quadrature.interpolate_evenly(jnp.asarray(x), 1.0, 0.1, at) for at in (-5.0, 4.0)]
    assert_allclose(ends, [-5.0, 4.0], rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_compiled_interpolation_is_right_at_the_steps_and_one_rounding_beside_them(dtype):
    last, step = np.log(1e3), np.log(10) / 24
    values = -(np.arange(360) ** 1.3)
    places = np.repeat(np.arange(2, 358), 9)
    x = (last + step * (places - 359)) * (1 + np.tile(np.arange(-4, 5), 356) * np.finfo(dtype).eps)
    read = jax.jit(lambda values, last, x: quadrature.interpolate_evenly(values, last, step, x))
    found = read(values.astype(dtype), dtype(last), x.astype(dtype))
    assert_allclose(found, values[places], rtol=1e-4 if dtype == np.float32 else 1e-12)
