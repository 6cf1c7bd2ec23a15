"""Integrals of a spectrum over energy bins, and the smooth functions that closed forms of such integrals need."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np


class Bins(eqx.Module):
    """Energy bins, with the nodes and weights of a Gauss-Legendre quadrature in ln E inside each."""

    low: jax.Array  # (n,) keV
    high: jax.Array
    energy: jax.Array  # (order, n) keV: the nodes
    weight: jax.Array  # (order, n) keV: the sum over nodes of f(E) weight is the integral of f(E) dE

    @classmethod
    def of(cls, low: Any, high: Any, order: int = 7) -> Bins:
        """Bins between these edges in keV, positive, of shape (n,)."""
        nodes, weights = np.polynomial.legendre.leggauss(order)
        xp = np if isinstance(low, np.ndarray) else jnp  # numpy needs no compilation
        half = 0.5 * (xp.log(high) - xp.log(low))
        energy = xp.sqrt(low) * xp.sqrt(high) * xp.exp(half * nodes[:, None])
        weight = half * weights[:, None] * energy
        return cls(*map(jnp.asarray, (low, high, energy, weight)))

    @classmethod
    def fine_enough(cls, low: np.ndarray, high: np.ndarray) -> Bins:
        """The same with as many nodes as the widest bin needs to be exact to 1e-7 for a Planck or cut-off spectrum."""
        width = np.max(np.log(high / low))
        return cls.of(low, high, 3 if width < 0.1 else 5 if width < 0.5 else 9)

    @classmethod
    def dividing(cls, low: jax.Array, high: jax.Array, pieces: int, order: int = 7) -> Bins:
        """One band cut into `pieces` bins, equal in ln E."""
        edges = jnp.exp(jnp.linspace(jnp.log(low), jnp.log(high), pieces + 1))
        return cls.of(edges[:-1], edges[1:], order)

    def stretched(self, factor: jax.Array) -> Bins:
        """The bins with all energies multiplied by a factor."""
        return jax.tree.map(lambda energies: energies * factor, self)


def integrate(function: Callable[[jax.Array], jax.Array], bins: Bins, moment: Any = 0) -> jax.Array:
    """The integral of E^moment f(E) dE over each bin, shape (n,).

    Args:
        function: f, called with an array of energies in keV and returning an array of the same shape.
        bins: n of them.
        moment: the power of E under the integral; it may be traced.
    """
    weight = bins.weight if isinstance(moment, int) and moment == 0 else bins.weight * bins.energy**moment
    return jnp.sum(function(bins.energy) * weight, axis=0)


def sinhc(x: jax.Array) -> jax.Array:
    """sinh(x) / x, and 1 at x = 0, with exact derivatives of every order there.

    Near zero the series replaces the quotient, whose derivatives would cancel to nothing (or be 0/0).
    """
    near = jnp.abs(x) < 0.5
    square = jnp.where(near, x, 0.0) ** 2
    series = 1 + square / 6 * (
        1 + square / 20 * (1 + square / 42 * (1 + square / 72 * (1 + square / 110 * (1 + square / 156))))
    )
    far = jnp.where(near, 1.0, x)
    return jnp.where(near, series, jnp.sinh(far) / far)


def power_integral(exponent: Any, low: jax.Array, high: jax.Array) -> jax.Array:
    """The integral of E^exponent dE from low to high, exact and smooth through exponent = -1.

    With s = exponent + 1 and L = ln(high / low) it is (low high)^(s/2) L sinhc(s L / 2).
    """
    s = exponent + 1.0
    log_low, log_high = jnp.log(low), jnp.log(high)
    width = log_high - log_low
    return jnp.exp(0.5 * s * (log_low + log_high)) * width * sinhc(0.5 * s * width)


def spread_normally(n_points: int, n: int) -> np.ndarray:
    """The origin and then points spread evenly over a unit normal distribution, shape (n_points, n); always the same.

    **Reference:** additive recurrence with the generalised golden ratio (M. Roberts 2018, "The unreasonable
    effectiveness of quasirandom sequences").
    """
    ratio = 2.0
    for _ in range(60):
        ratio = (1 + ratio) ** (1 / (n + 1))
    uniform = (0.5 + np.arange(n_points)[:, None] * ratio ** -np.arange(1.0, n + 1)) % 1.0
    return np.vectorize(statistics.NormalDist().inv_cdf)(np.clip(uniform, 1e-9, 1 - 1e-9))
