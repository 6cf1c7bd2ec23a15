"""Where the profile of a likelihood crosses a level: on either side of the maximum, for several quantities at once."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jaxspec.density import Density, Packed
from jaxspec.inference import _optimum
from jaxspec.programs import program
from jaxspec.rules import AbstractRule

_MAX_STEPS = 60
_REACHED = 1e-3  # of the rise: a distance to the level, and to the best of the other parameters
_LONGEST_STEP = 2.0  # in the unbounded space
EDGE = 40.0  # e-folds of the distance to a bound: there the bound is reached
_STIFFNESS = 1e4  # of a pull, in units of the inverse variance
_FARTHEST = 1e4  # standard deviations at which a profile is looked at
_GROWTH = 1.5  # of the distance, from one look to the next
_HALVINGS = 60


class Coordinate(eqx.Module):
    """A free parameter as a coordinate of the unbounded space."""

    row: jax.Array | np.ndarray  # (n,)

    def __call__(self, density: Density, u: jax.Array) -> jax.Array:
        return jnp.asarray(self.row) @ u


class Outcome(eqx.Module):
    """A derived quantity."""

    rule: AbstractRule

    def __call__(self, density: Density, u: jax.Array) -> jax.Array:
        values = density.layout.all_values(density.space.values(u))
        deviates = jnp.zeros(len(density.layout.spectra))
        return self.rule(density.layout.sources_at(values), values, deviates)


class Crossing(NamedTuple):
    """Where profiles cross the level; each array has a leading axis over searches."""

    value: jax.Array  # of the quantity
    reached: jax.Array
    theta: jax.Array  # the free parameters there
    lowest_u: jax.Array  # the best point that was met, and its cost
    lowest: jax.Array


class _State(NamedTuple):
    u: jax.Array
    at: _optimum.Local
    value: jax.Array
    slope: jax.Array
    step: jax.Array
    reached: jax.Array
    steps: jax.Array
    lowest_u: jax.Array
    lowest: jax.Array


def _step_to(level: jax.Array, rise: jax.Array, side: jax.Array, at: _optimum.Local, slope: jax.Array) -> Any:
    """The step to where, on the quadratic approximation, the quantity is extreme at that cost; and whether it is here.

    **Reference:** Venzon & Moolgavkar 1988, Appl. Statist. 37, 87.
    """
    diagonal = jnp.diag(at.curvature)
    scale = 1 / jnp.sqrt(jnp.maximum(diagonal, 1e-10 * jnp.max(diagonal) + 1e-300))
    values, vectors = jnp.linalg.eigh(at.curvature * jnp.outer(scale, scale), symmetrize_input=False)
    values = jnp.maximum(values, 1e-8)
    gradient, along = vectors.T @ (scale * at.gradient), vectors.T @ (scale * slope)
    length = jnp.sum(along**2 / values)
    multiplier = jnp.sum(along * gradient / values) / jnp.where(length > 0, length, 1.0)
    aside = 0.5 * jnp.sum((gradient - multiplier * along) ** 2 / values)
    left = 2 * (level - at.cost) + jnp.sum(gradient**2 / values)
    wanted = side * jnp.sqrt(jnp.maximum(left, 0.0) / jnp.where(length > 0, length, 1.0))
    reached = (jnp.abs(at.cost - level) < _REACHED * rise) & (aside < _REACHED * rise) & (multiplier * side > 0)
    return scale * (vectors @ ((wanted * along - gradient) / values)), reached


def _cross(
    density: Density, target: str, aim: Any, start: jax.Array, step: jax.Array, lowest: jax.Array, rise: Any, side: Any
) -> Crossing:
    level = lowest + rise
    bounded = np.array([kind != "real" for kind in density.space.kinds])

    def shortened(step: jax.Array) -> jax.Array:
        length = jnp.max(jnp.where(bounded, jnp.abs(step), 0.0))
        return step * jnp.minimum(1.0, _LONGEST_STEP / jnp.maximum(length, 1e-300))

    def look(u: jax.Array) -> tuple[_optimum.Local, jax.Array, jax.Array]:
        value, slope = jax.value_and_grad(lambda point: aim(density, point))(u)
        return _optimum.measure(density, u, target), value, slope

    def advance(state: _State) -> _State:
        u = state.u + state.step
        at, value, slope = look(u)
        finite = jnp.isfinite(at.cost) & jnp.all(jnp.isfinite(at.gradient)) & jnp.isfinite(value)
        # A quadratic approximation may lead anywhere: much worse than the level and than before is too far.
        good = finite & ((at.cost < level + 3 * rise) | (at.cost < state.at.cost))
        new = (u, at, value, slope)
        old = (state.u, state.at, state.value, state.slope)
        u, at, value, slope = jax.tree.map(lambda a, b: jnp.where(good, a, b), new, old)
        step, reached = _step_to(level, rise, side, at, slope)
        step = jnp.where(good, shortened(step), state.step / 4)
        better = good & (at.cost < state.lowest)
        return _State(
            u, at, value, slope, step, reached & good, state.steps + 1,
            jnp.where(better, u, state.lowest_u), jnp.where(better, at.cost, state.lowest),
        )  # fmt: skip

    def going(state: _State) -> jax.Array:
        inside = jnp.all(jnp.where(bounded, jnp.abs(state.u - start) < EDGE, True))
        return ~state.reached & (state.steps < _MAX_STEPS) & inside

    unseen = _optimum.Local(lowest, jnp.zeros_like(start), jnp.eye(len(start)))
    zero, no = jnp.zeros_like(start), jnp.asarray(False)
    first = _State(start, unseen, jnp.zeros(()), zero, shortened(step), no, jnp.asarray(0), start, lowest)
    last = jax.lax.while_loop(going, advance, first)
    # The step that is left would take it to the level exactly.
    theta = density.space.values(last.u + last.step)
    return Crossing(last.value + last.slope @ last.step, last.reached, theta, last.lowest_u, last.lowest)


@functools.partial(program, static_argnames="target")
def crossings(
    packed: Packed,
    target: str,
    aims: Any,
    starts: jax.Array,
    steps: jax.Array,
    sides: jax.Array,
    lowest: jax.Array,
    rise: jax.Array,
) -> Crossing:
    """Where the profiles of several quantities reach the cost `lowest` + `rise`.

    Args:
        aims: quantities of one kind, stacked along the leading axis of their leaves.
        starts: (n_searches, n) where to begin: near the maximum, where the quantity varies.
        steps: (n_searches, n) from there to where the ends are expected; zero where that is not known.
        sides: (n_searches,) 1 above, -1 below.
    """

    density = packed.open()

    def one(search: Any) -> Crossing:
        aim, start, step, side = search
        return _cross(density, target, aim, start, step, lowest, rise, side)

    return _optimum.each(one)((aims, starts, steps, sides))


def search_slowly(
    density: Density, target: str, aim: Any, start: np.ndarray, width: float, lowest: float, rise: float, side: float
) -> tuple[float, str, np.ndarray, float]:
    """The same for one quantity by bracketing: climbs with the quantity held, farther and farther away.

    Args:
        width: the expected distance.

    Returns the value of the quantity there, "ok" or "no crossing" (then the farthest value at which the profile was
    still below the level), and the best point that was met with its cost.
    """
    centre = float(value(density, aim, jnp.asarray(start)))
    weights = jax.device_put(np.array([_STIFFNESS / width**2]))
    best = (lowest, start)

    def profile(wanted: float, begin: np.ndarray) -> tuple[float, float, np.ndarray]:
        nonlocal best
        pull = _optimum.Pull((aim,), jax.device_put(np.full((2, 1), wanted)), weights)
        # From the maximum, too: a component that has died out on the way does not come to life where it is needed.
        found, reached = _optimum.climb_held(density, jax.device_put(np.stack([begin, start])), target, pull)
        costs = np.nan_to_num(np.asarray(found.cost), nan=np.inf)
        k = int(np.argmin(costs + 0.5 * np.asarray(pull.weights * (reached - wanted) ** 2)[:, 0]))
        cost, u = float(costs[k]), np.asarray(found.u[k])
        if cost < best[0]:
            best = (cost, u)
        return float(reached[k, 0]), cost - lowest - rise, u

    inside, outside, distance = (centre, -rise, start), None, width
    while distance < _FARTHEST * width:
        point = profile(centre + side * distance, inside[2])
        if not point[1] < 0:
            outside = point
            break
        if side * (point[0] - inside[0]) < 0.1 * (distance - abs(inside[0] - centre)):
            break  # it cannot be moved any farther: a bound
        inside, distance = point, _GROWTH * distance
    if outside is None or not np.isfinite(outside[1]):
        return inside[0], "no crossing", best[1], best[0]
    for _ in range(_HALVINGS):
        # The root of the rise is nearly linear in the quantity.
        low, high = np.sqrt(max(inside[1] + rise, 0.0)), np.sqrt(outside[1] + rise)
        part = np.clip((np.sqrt(rise) - low) / max(high - low, 1e-300), 0.05, 0.95)
        point = profile(inside[0] + part * (outside[0] - inside[0]), inside[2])
        inside, outside = (point, outside) if point[1] < 0 else (inside, point)
        if abs(point[1]) < _REACHED * rise or abs(outside[0] - inside[0]) < 1e-6 * width:
            return point[0], "ok", best[1], best[0]
    return inside[0], "no crossing", best[1], best[0]


@jax.jit
def value(density: Density, aim: Any, u: jax.Array) -> jax.Array:
    """The quantity at a point."""
    return aim(density, u)


@jax.jit
def slope(density: Density, aim: Any, u: jax.Array) -> jax.Array:
    """Its gradient, (n,)."""
    return jax.grad(lambda point: aim(density, point))(u)
