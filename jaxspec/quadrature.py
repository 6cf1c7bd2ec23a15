"""Integrals of a spectrum over energy bins, and the smooth functions that closed forms of such integrals need."""

from __future__ import annotations

import functools
import itertools
import statistics
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

# Energies in keV and what lies at each, both (m, n), that stand for a function in each of n bins.
Points = tuple[jax.Array, jax.Array]


class Bins(eqx.Module):
    """Energy bins, with the nodes and weights of a Gauss-Legendre quadrature in ln E inside each."""

    low: jax.Array  # (n,) keV
    high: jax.Array
    energy: jax.Array  # (order, n) keV: the nodes
    weight: jax.Array  # (order, n) keV: the sum over nodes of f(E) weight is the integral of f(E) dE

    @classmethod
    def of(cls, low: Any, high: Any, order: int = 7) -> Bins:
        """Bins between these edges in keV, positive, of shape (n,)."""
        xp = np if isinstance(low, np.ndarray) else jnp  # numpy needs no compilation
        nodes, weights = (each.astype(xp.result_type(low, float)) for each in np.polynomial.legendre.leggauss(order))
        half = 0.5 * (xp.log(high) - xp.log(low))
        energy = xp.sqrt(low) * xp.sqrt(high) * xp.exp(half * nodes[:, None])
        weight = half * weights[:, None] * energy
        # jnp.asarray would compile a copy of what comes from numpy.
        return cls(*map(jax.device_put if xp is np else jnp.asarray, (low, high, energy, weight)))

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

    def stretched(self, factor: Any) -> Bins:
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


def sum_points(points: Sequence[Points], moment: Any = 0) -> jax.Array:
    """The integral of E^moment f(E) dE over each bin, shape (n,), from points that stand for f."""
    plain = isinstance(moment, int) and moment == 0
    sums = [jnp.sum(content if plain else content * energy**moment, axis=0) for energy, content in points]
    return functools.reduce(jnp.add, sums)


def join_points(points: Sequence[Points]) -> tuple[Points, ...]:
    """The same points, where those at the same energies (one and the same array) are joined."""
    joined: dict[int, Points] = {}
    for energy, content in points:
        before = joined.get(id(energy))
        joined[id(energy)] = (energy, content if before is None else before[1] + content)
    return tuple(joined.values())


def two_points(bins: Bins, origin: Any, moments: tuple[jax.Array, jax.Array, jax.Array]) -> Points:
    """Two points in each bin with the mean energy and the variance of the photons there.

    Args:
        bins: n of them.
        origin: an energy in keV, or one for each bin.
        moments: the integrals over each bin of N(E) times (E - origin)^0, ^1 and ^2, each of shape (n,).
    """
    part, first, second = moments
    # Second derivatives of the mean divide by the third power.
    empty = part < float(jnp.finfo(part.dtype).tiny) ** 0.3
    safe = jnp.where(empty, 1.0, part)
    mean = jnp.where(empty, 0.0, first / safe)
    # Differences of large numbers far from a line: the points stay inside the bin all the same.
    floor = (1e-6 * (bins.high - bins.low)) ** 2
    spread = jnp.sqrt(jnp.maximum(jnp.where(empty, 0.0, second / safe - mean**2), floor))
    energy = jnp.clip(origin + mean + jnp.stack([-spread, spread]), bins.low, bins.high)
    return energy, 0.5 * jnp.broadcast_to(part, energy.shape)


def pick_moment(moment: Any, moments: Sequence[jax.Array]) -> jax.Array:
    """Which of the moments 0, 1, 2 it is; `moment` may be traced."""
    if isinstance(moment, int):
        return moments[moment]
    return jnp.select([moment == i for i in range(len(moments))], list(moments), jnp.nan)


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
    growth = jnp.exp(far)  # sinh itself costs three times as much
    return jnp.where(near, series, (growth - 1 / growth) / (2 * far))


def power_integral(exponent: Any, low: jax.Array, high: jax.Array) -> jax.Array:
    """The integral of E^exponent dE from low to high, exact and smooth through exponent = -1.

    With s = exponent + 1 and L = ln(high / low) it is (low high)^(s/2) L sinhc(s L / 2).
    """
    s = exponent + 1.0
    log_low, log_high = jnp.log(low), jnp.log(high)
    width = log_high - log_low
    return jnp.exp(0.5 * s * (log_low + log_high)) * width * sinhc(0.5 * s * width)


def log_power_integral(exponent: Any, low: Any, high: Any) -> jax.Array:
    """The logarithm of the same, finite where the integral itself overflows."""
    s = exponent + 1.0
    log_low, log_high = jnp.log(low), jnp.log(high)
    width = log_high - log_low
    x = jnp.abs(0.5 * s * width)
    near = x < 0.5
    far = jnp.where(near, 1.0, x)
    log_sinhc = jnp.where(
        near, jnp.log(sinhc(jnp.where(near, 0.5 * s * width, 0.0))), far + jnp.log(-jnp.expm1(-2 * far) / (2 * far))
    )
    return 0.5 * s * (log_low + log_high) + jnp.log(width) + log_sinhc


def log_integral(log_function: Callable[[jax.Array], jax.Array], *edges: Any, pieces: int = 12) -> jax.Array:
    """The logarithm of the integral of exp(log_function(E)) dE from the first edge to the last, without underflow.

    Args:
        log_function: called with an array of energies in keV; smooth between the edges.
        edges: energies in keV, in order; two may coincide.
        pieces: between each two edges, with a quadrature each.
    """
    parts = [Bins.dividing(low, high, pieces, order=9) for low, high in itertools.pairwise(edges)]
    values = jnp.stack([log_function(part.energy) for part in parts])
    top = jax.lax.stop_gradient(jnp.max(values))
    return top + jnp.log(jnp.sum(jnp.exp(values - top) * jnp.stack([part.weight for part in parts])))


def interpolate_evenly(values: jax.Array, last: Any, step: float, x: jax.Array) -> jax.Array:
    """A function at x from n > 4 values at even steps, the last of them at `last`; its first derivative is continuous.

    It is a cubic between each two values, with slopes exact to fourth order. Outside, it goes on as a straight line.
    """
    n = len(values)
    inner = (8 * (values[3:-1] - values[1:-3]) - (values[4:] - values[:-4])) / 12
    slopes = jnp.concatenate([jnp.diff(values[:3]), inner, jnp.diff(values[-3:])])
    # XLA would compute it again wherever it is used, and round it otherwise: beside a value, the interval of one use
    # would not be that of the other.
    place = jax.lax.optimization_barrier((x - last) / step + (n - 1))
    inside = jnp.clip(place, 0.0, n - 1.0)
    i = jnp.clip(jnp.floor(inside).astype(jnp.int32), 0, n - 2)
    t, rise = inside - i, values[i + 1] - values[i]
    bend = slopes[i] - rise, rise - slopes[i + 1]
    cubic = values[i] + t * (rise + (1 - t) * ((1 - t) * bend[0] + t * bend[1]))
    return cubic + jnp.minimum(place, 0.0) * slopes[0] + jnp.maximum(place - (n - 1), 0.0) * slopes[-1]


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
