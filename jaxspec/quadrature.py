"""Integrals of a spectrum over energy bins, and the smooth functions that closed forms of such integrals need."""

from __future__ import annotations

import statistics
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

# Seven nodes keep the relative error of a Planck or cut-off spectrum under 1e-8 on bins an e-fold wide.
ORDER = 7
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(ORDER)


def integrate(
    function: Callable[[jax.Array], jax.Array], low: jax.Array, high: jax.Array, moment: int = 0
) -> jax.Array:
    """The integral of E^moment f(E) dE over each bin, by Gauss-Legendre quadrature in ln E.

    Args:
        function: f, called with an array of energies in keV and returning an array of the same shape.
        low, high: bin edges in keV, positive, of any common shape.
        moment: the power of E under the integral.
    """
    middle = 0.5 * (jnp.log(high) + jnp.log(low))
    half = 0.5 * (jnp.log(high) - jnp.log(low))
    energy = jnp.exp(middle[..., None] + half[..., None] * jnp.asarray(_NODES, middle.dtype))
    values = function(energy) * energy ** (moment + 1)
    return half * (values @ jnp.asarray(_WEIGHTS, middle.dtype))


def subdivide(low: jax.Array, high: jax.Array, pieces: int) -> tuple[jax.Array, jax.Array]:
    """Edges of `pieces` sub-bins, equal in ln E, of one band; each of shape (pieces,)."""
    edges = jnp.exp(jnp.linspace(jnp.log(low), jnp.log(high), pieces + 1))
    return edges[:-1], edges[1:]


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


def power_integral(exponent: jax.Array, low: jax.Array, high: jax.Array) -> jax.Array:
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
