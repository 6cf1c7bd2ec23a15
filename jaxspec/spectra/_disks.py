"""Thermal spectra of accretion discs."""

from __future__ import annotations

from math import factorial, inf
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxspec.parameters import Scalar, parameter
from jaxspec.spectra._base import AbstractAdditive
from jaxspec.spectra._thermal import bose

# 2 pi c / (h c)^3 (1 km / 10 kpc)^2 in photons / (cm2 s keV3).
PHOTONS_PER_AREA = 1.0380074e-3


class DiskBlackbody(AbstractAdditive):
    r"""A disc of many blackbody rings, whose temperature falls with radius as r^(-3/4).

    $$N(E) = K \, c \int_1^\infty \frac{2 x \, E^2 \, dx}{e^{E x^{3/4} / T} - 1}, \qquad
    c = \frac{2 \pi}{h^3 c^2} \left(\frac{1\,\mathrm{km}}{10\,\mathrm{kpc}}\right)^2$$

    K is (R / D)^2 cos i with the inner radius R in km and the distance D in 10 kpc. XSPEC's own sum over rings is
    0.07 % larger.

    **Reference:** Mitsuda et al. 1984, PASJ 36, 741; Makishima et al. 1986, ApJ 308, 635; XSPEC's `diskbb`.
    """

    K: Scalar = parameter(1.0, bounds=(0, inf), doc="(inner radius in km / distance in 10 kpc)^2 cos(inclination)")
    T: Scalar = parameter(1.0, unit="keV", bounds=(0.01, 1000), doc="temperature at the inner edge")

    def evaluate(self, energy: jax.Array) -> jax.Array:
        return self.K * _disk(energy, self.T, 8 / 3)


class DiskPowerLawBlackbody(AbstractAdditive):
    r"""A disc of many blackbody rings, whose temperature falls with radius as r^(-p).

    $$N(E) = K \, c \int_1^\infty \frac{2 x \, E^2 \, dx}{e^{E x^p / T} - 1}$$

    with K and c as in `DiskBlackbody`, which this is at p = 3/4; an advecting disc has p near 1/2. XSPEC's own sum over
    rings is 0.4 % larger.

    **Reference:** Mineshige et al. 1994, ApJ 426, 308; XSPEC's `diskpbb`.
    """

    K: Scalar = parameter(1.0, bounds=(0, inf), doc="(inner radius in km / distance in 10 kpc)^2 cos(inclination)")
    T: Scalar = parameter(1.0, unit="keV", bounds=(0.01, 1000), doc="temperature at the inner edge")
    p: Scalar = parameter(0.75, bounds=(0.5, 1), doc="steepness of the temperature profile")

    def evaluate(self, energy: jax.Array) -> jax.Array:
        return self.K * _disk(energy, self.T, 2 / self.p)


def _disk(energy: jax.Array, temperature: Any, q: Any) -> jax.Array:
    """N(E) / K of a disc whose temperature falls as radius to the power -2 / q."""
    y = energy / temperature
    return PHOTONS_PER_AREA * q * energy**2 * jnp.exp(-q * jnp.log(y)) * _planck_tail(y, q)


def disk_occupation(y: jax.Array) -> jax.Array:
    """The same over E^2, at y = E / T and to a factor, for a temperature that falls as r^(-3/4)."""
    return jnp.exp(-8 / 3 * jnp.log(y)) * _planck_tail(y, 8 / 3)


# Where the power series of 1 / (exp(u) - 1) gives way to an expansion at infinity: both are exact to 3e-8 there.
_JOIN, _N_FAR = 2.5, 20
_BERNOULLI = (1, 1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510, 43867 / 798, -174611 / 330)
_SERIES = [(1, -0.5), *((2 * k, b / factorial(2 * k)) for k, b in enumerate(_BERNOULLI))]
_NODES, _WEIGHTS = np.polynomial.laguerre.laggauss(24)
_ANGLES = np.pi * (np.arange(_N_FAR) + 0.5) / _N_FAR
_CHEBYSHEV = 2 / _N_FAR * np.cos(np.outer(np.arange(_N_FAR), _ANGLES)) * np.where(np.arange(_N_FAR), 1, 0.5)[:, None]


def _planck_tail_by_sums(y: jax.Array, q: Any) -> jax.Array:
    near, far = jnp.minimum(y, _JOIN), jnp.maximum(y, _JOIN)
    power = q - 1.0

    def series(u: Any) -> jax.Array:
        return jnp.exp(power * jnp.log(u)) * sum(c * u**n / (n + power) for n, c in _SERIES)

    # A polynomial in 1 / y through Gauss-Laguerre integrals at its nodes, so that only the polynomial costs per energy.
    dtype = jnp.result_type(y)
    t = jnp.asarray(0.5 + 0.5 * np.cos(_ANGLES), dtype)[:, None]
    s, weights = (jnp.asarray(each, dtype) for each in (_NODES, _WEIGHTS))
    integrand = jnp.exp(power * jnp.log1p(s * t / _JOIN)) / -jnp.expm1(-(_JOIN / t + s))
    coefficients = jnp.asarray(_CHEBYSHEV, dtype) @ (integrand @ weights)
    x = 2 * _JOIN / far - 1
    above, above_that = jnp.zeros_like(x), jnp.zeros_like(x)
    for coefficient in coefficients[:0:-1]:
        above, above_that = 2 * x * above - above_that + coefficient, above
    shape = x * above - above_that + coefficients[0]
    between = jnp.where(y < _JOIN, series(jnp.asarray(_JOIN, dtype)) - series(near), 0.0)
    return shape * jnp.exp(power * jnp.log(far) - far) + between


@jax.custom_jvp
def _planck_tail(y: jax.Array, q: Any) -> jax.Array:
    """The integral of u^(q - 1) / (exp(u) - 1) du from y to infinity, for q in (1, 5)."""
    return _planck_tail_by_sums(y, q)


def _planck_tail_jvp(primals: Any, tangents: Any) -> tuple[jax.Array, jax.Array]:
    y, q = primals
    slope = jnp.zeros_like(y)
    if not isinstance(tangents[0], jax.custom_derivatives.SymbolicZero):
        slope -= jnp.exp((q - 1.0) * jnp.log(y)) * bose(y) * tangents[0]
    if not isinstance(tangents[1], jax.custom_derivatives.SymbolicZero):
        slope += jax.jvp(lambda q: _planck_tail_by_sums(y, q), (q,), (tangents[1],))[1]
    return _planck_tail(y, q), slope


_planck_tail.defjvp(_planck_tail_jvp, symbolic_zeros=True)
