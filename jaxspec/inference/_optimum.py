"""The maximum of a density: damped Gauss-Newton steps from several starts, all in one compiled program."""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxspec.density import Density

MAX_STEPS = 200
TOLERANCE = 1e-8  # of ln L: what another Newton step would gain
_LONGEST_STEP = 2.0  # in the unbounded space, where a scale moves by e-folds


class Optimum(NamedTuple):
    """Where a climb ended; each array has a leading axis over starts where several climb at once."""

    u: jax.Array  # in the unbounded space, (n,)
    cost: jax.Array  # minus the log-density
    gain: jax.Array  # of ln L, expected of another Newton step
    curvature: jax.Array  # of the cost, never negative, (n, n)
    steps: jax.Array


class _State(NamedTuple):
    u: jax.Array
    cost: jax.Array
    gradient: jax.Array
    curvature: jax.Array
    gain: jax.Array
    damping: jax.Array
    steps: jax.Array


def cost(density: Density, u: jax.Array, target: str) -> jax.Array:
    """Minus the logarithm of the `target`, at a point of the unbounded space.

    "likelihood": the likelihood; "posterior": times the prior; "sampled": times the volume of the space as well, which
    is the density that a sampler sees.
    """
    return -density.log_likelihood(density.space.values(u)) + _prior_cost(density, u, target)


def _prior_cost(density: Density, u: jax.Array, target: str) -> jax.Array:
    if target == "likelihood":
        return jnp.zeros(())
    volume = density.space.log_volume(u) if target == "sampled" else 0.0
    return -density.log_prior(density.space.values(u)) - volume


def _measure(density: Density, u: jax.Array, target: str) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Cost, gradient, and curvature from what can not be negative.

    The statistic's second derivative in the expected counts is positive, so J^T S'' J is; of what bends the map from
    u to the parameters and of the priors only the positive diagonal is taken.
    """

    def expected(u):
        counts = density.expected_counts(density.layout.fill(density.space.values(u)))
        return counts, counts

    def misfit(counts):
        return 0.5 * jnp.sum(density.statistic_per_bin(counts))

    jacobian, counts = jax.jacfwd(expected, has_aux=True)(u)
    (value, slope), (_, bend) = jax.jvp(jax.value_and_grad(misfit), (counts,), (jnp.ones_like(counts),))
    gradient = slope @ jacobian
    curvature = jacobian.T @ (bend[:, None] * jacobian)
    # Without this the Newton step towards a bound, where dx/du vanishes, never gets shorter.
    diagonal = jnp.maximum(gradient * jax.grad(density.space.log_volume)(u), 0.0)
    if target != "likelihood":
        prior_cost = functools.partial(_prior_cost, density, target=target)
        (prior, prior_slope), (_, prior_bend) = jax.jvp(jax.value_and_grad(prior_cost), (u,), (jnp.ones_like(u),))
        value, gradient = value + prior, gradient + prior_slope
        diagonal = diagonal + jnp.maximum(prior_bend, 0.0)
    return value - jnp.sum(density.saturated), gradient, curvature + jnp.diag(diagonal)


def _step(gradient: jax.Array, curvature: jax.Array, damping: jax.Array) -> jax.Array:
    scale = jnp.diag(curvature)
    ridge = damping * scale + 1e-10 * jnp.max(scale) + 1e-300
    return -jnp.linalg.solve(curvature + jnp.diag(ridge), gradient)


def _advance(density: Density, target: str, state: _State) -> _State:
    step = _step(state.gradient, state.curvature, state.damping)
    step = step * jnp.minimum(1.0, _LONGEST_STEP / jnp.maximum(jnp.max(jnp.abs(step)), 1e-300))
    predicted = -(state.gradient @ step + 0.5 * step @ state.curvature @ step)
    u = state.u + step
    value, gradient, curvature = _measure(density, u, target)
    better = (value <= state.cost) & jnp.all(jnp.isfinite(gradient))
    agrees = (state.cost - value) > 0.25 * predicted
    damping = jnp.where(better & agrees, state.damping / 5, jnp.where(better, state.damping, 4 * state.damping + 1e-3))
    gain = -0.5 * gradient @ _step(gradient, curvature, jnp.zeros(()))
    new = _State(u, value, gradient, curvature, gain, damping, state.steps + 1)
    kept = state._replace(damping=damping, steps=state.steps + 1)
    return jax.tree.map(lambda a, b: jnp.where(better, a, b), new, kept)


@functools.partial(jax.jit, static_argnames="target")
def climb(density: Density, starts: jax.Array, target: str) -> Optimum:
    """Climbs to a maximum of `target` (see `cost`) from each start, shape (n_starts, n)."""

    def one(u: jax.Array) -> Optimum:
        # The first round takes a step of length zero: measuring before the loop would compile the density twice.
        infinite = jnp.asarray(jnp.inf)
        first = _State(u, infinite, jnp.zeros_like(u), jnp.eye(len(u)), infinite, jnp.asarray(1e-2), jnp.asarray(0))
        last = jax.lax.while_loop(
            lambda state: (state.steps < MAX_STEPS) & ~(state.gain < TOLERANCE),
            functools.partial(_advance, density, target),
            first,
        )
        return Optimum(last.u, last.cost, last.gain, last.curvature, last.steps)

    return jax.vmap(one)(starts)


@jax.jit
def starting_points(density: Density, offsets: jax.Array) -> jax.Array:
    """Points around the model's present values, in the unbounded space, one per row of normal `offsets`.

    Parameters with a bound move by e-folds of their distance to it, others by half their size.
    """
    present = density.layout.values[jnp.asarray(density.layout.free, int)]
    spread = jnp.array([2.0 if kind != "real" else 0.0 for kind in density.space.kinds])
    spread = jnp.where(spread > 0, spread, 0.5 * jnp.maximum(jnp.abs(present), 1.0))
    return density.space.point(present) + spread * offsets
