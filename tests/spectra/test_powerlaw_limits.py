"""Power laws where their closed forms divide zero by zero, and breaks inside bins."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from numpy.testing import assert_allclose

from jaxspec.quadrature import Bins, log_power_integral, power_integral
from jaxspec.spectra import BrokenPowerLaw, DoublyBrokenPowerLaw, PowerLaw, PowerLawEnergyFlux, PowerLawFlux

BINS = Bins.of(np.array([1.0, 10.0, 90.0]), np.array([1.1, 50.0, 4000.0]))


def derivatives(make, order):
    """The derivatives by the index of the integral over `BINS`, at indices around that of the limit."""

    def function(index):
        return make(index).integral(BINS)

    for _ in range(order):
        function = jax.jacfwd(function)
    return jax.jit(function)


@pytest.mark.parametrize("order", [0, 1, 2])
@pytest.mark.parametrize(
    ("make", "limit"),
    [
        (lambda index: PowerLaw().with_fields(index=index), -1.0),
        (lambda index: PowerLawFlux(a=10.0, b=500.0).with_fields(index=index), -1.0),
        (lambda index: PowerLawEnergyFlux(a=10.0, b=500.0).with_fields(index=index), -2.0),
        (lambda index: PowerLawEnergyFlux(a=10.0, b=500.0).with_fields(index=index), -1.0),
    ],
)
def test_the_limit_is_reached_from_both_sides_with_its_derivatives(make, limit, order):
    function = derivatives(make, order)
    at = function(limit)
    step = 1e-6
    for side in (-step, step):
        # The function is smooth: next to the limit it differs by a derivative times the step.
        assert_allclose(function(limit + side), at, rtol=1e-4)
        assert_allclose(function(limit + 1e-9 * side), at, rtol=1e-11)
    slope = (function(limit + step) - function(limit - step)) / (2 * step)
    assert_allclose(slope, derivatives(make, order + 1)(limit), rtol=1e-6)


def test_the_integral_at_index_minus_one_is_a_logarithm():
    assert_allclose(PowerLaw(K=3.0, index=-1.0).integral(BINS), 3 * np.log(BINS.high / BINS.low), rtol=1e-15)


@pytest.mark.parametrize("exponent", [-9.0, -1.0 - 1e-7, -1.0, -1.0 + 1e-3, -0.2, 6.0])
def test_power_integral_and_its_logarithm_agree_with_mpmath(exponent):
    low, high = jnp.array([0.01, 1.0, 100.0]), jnp.array([0.0101, 30.0, 5000.0])
    with mpmath.workdps(40):
        s = mpmath.mpf(exponent) + 1
        exact = [
            mpmath.log(mpmath.mpf(float(b)) / mpmath.mpf(float(a)))
            if s == 0
            else (mpmath.mpf(float(b)) ** s - mpmath.mpf(float(a)) ** s) / s
            for a, b in zip(low, high)
        ]
        logarithms = [float(mpmath.log(value)) for value in exact]
    assert_allclose(power_integral(exponent, low, high), [float(value) for value in exact], rtol=1e-13)
    assert_allclose(log_power_integral(exponent, low, high), logarithms, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("moment", [0, 1, 2])
def test_breaks_inside_a_bin_are_exact(moment):
    bins = Bins.of(np.array([1.0, 2.0]), np.array([2.0, 40.0]))
    spectrum = DoublyBrokenPowerLaw(K=2, alpha=-0.5, energy_break1=3, beta=-1.0, energy_break2=21, gamma=-2.5, pivot=2)
    edges = [[1, 2], [2, 3, 21, 40]]
    expected = [float(mpmath.quad(lambda E: E**moment * float(spectrum(float(E))), each)) for each in edges]
    assert_allclose(spectrum.integral(bins, moment), expected, rtol=1e-12)
    one = BrokenPowerLaw(alpha=-1, beta=-1, energy_break=5)
    assert_allclose(one.integral(bins, moment), PowerLaw(index=-1).integral(bins, moment), rtol=1e-13)


def test_breaks_in_the_wrong_order_leave_no_middle_part():
    crossed = DoublyBrokenPowerLaw(alpha=-1, energy_break1=8, beta=5, energy_break2=4, gamma=-2)
    one = BrokenPowerLaw(alpha=-1, energy_break=8, beta=-2)
    assert_allclose(crossed(np.geomspace(1, 50, 9)), one(np.geomspace(1, 50, 9)), rtol=1e-13)
