"""Parameters as real numbers without bounds."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np


class Space(eqx.Module):
    """The free parameters as real numbers without bounds, in which optimisers and samplers move.

    A parameter x with a lower bound a is a + exp(u), with an upper bound b it is b - exp(u), with both it is
    a + (b - a) / (1 + exp(-u)), without any it is u.
    """

    low: jax.Array
    high: jax.Array
    kinds: tuple[str, ...] = eqx.field(static=True)  # "real", "lower", "upper", "interval"

    @classmethod
    def between(cls, low: np.ndarray, high: np.ndarray) -> Space:
        """The space of parameters within these bounds, which may be infinite."""
        names = {
            (False, False): "real",
            (True, False): "lower",
            (False, True): "upper",
            (True, True): "interval",
        }
        kinds = tuple(names[bool(np.isfinite(a)), bool(np.isfinite(b))] for a, b in zip(low, high))
        # Infinite numbers would turn into NaN in the branches that are not taken.
        finite = [jax.device_put(np.where(np.isfinite(edge), edge, 0.0)) for edge in (low, high)]
        return cls(finite[0], finite[1], kinds)

    def _is(self, kind: str) -> np.ndarray:
        return np.array([each == kind for each in self.kinds], bool)

    def values(self, u: jax.Array) -> jax.Array:
        """The parameters at a point of the space; shape (n,)."""
        half = self._is("lower") | self._is("upper")
        exponential = jnp.exp(jnp.where(half, u, 0.0))
        inside = self.low + (self.high - self.low) * jax.nn.sigmoid(u)
        result = jnp.where(self._is("lower"), self.low + exponential, u)
        result = jnp.where(self._is("upper"), self.high - exponential, result)
        return jnp.where(self._is("interval"), inside, result)

    def point(self, values: jax.Array) -> jax.Array:
        """The point of the space at which the parameters have these values; a value at a bound is moved inside."""
        between = self._is("interval")
        width = jnp.where(between, self.high - self.low, 1.0)
        part = jnp.clip(jnp.where(between, (values - self.low) / width, 0.5), 1e-12, 1 - 1e-12)
        distance = jnp.where(self._is("upper"), self.high - values, values - self.low)
        logarithm = jnp.log(jnp.maximum(distance, 1e-30))
        result = jnp.where(self._is("lower") | self._is("upper"), logarithm, values)
        return jnp.where(between, jnp.log(part) - jnp.log1p(-part), result)

    def clip(self, values: jax.Array) -> jax.Array:
        """The values, moved to the nearest bound where they lie beyond it."""
        low = jnp.where(self._is("lower") | self._is("interval"), self.low, -jnp.inf)
        high = jnp.where(self._is("upper") | self._is("interval"), self.high, jnp.inf)
        return jnp.clip(values, low, high)

    def log_volume(self, u: jax.Array) -> jax.Array:
        """The logarithm of |dx/du|, summed over parameters."""
        half = self._is("lower") | self._is("upper")
        between = self._is("interval")
        width = jnp.where(between, self.high - self.low, 1.0)
        curved = jnp.log(width) + jax.nn.log_sigmoid(u) + jax.nn.log_sigmoid(-u)
        return jnp.sum(jnp.where(between, curved, jnp.where(half, u, 0.0)))
