"""Climbs of many densities of one structure at once, each of its own length."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxspec.inference import _optimum
from jaxspec.inference._optimum import Optimum, State
from jaxspec.programs import program
from jaxspec.quadrature import spread_normally
from jaxspec.stack import Stacked

_SIDE_BY_SIDE = 32  # densities computed at once: more leave a core's cache
SIZES = (16, 128, 1024)  # how many densities climbs are compiled for
_MAX_STEPS = 100  # of a climb: what takes longer is not constrained, and would keep the others waiting
_ASIDE = 2.0  # standard deviations from a maximum, and in the unbounded space at most, where another is looked for
_LOOSE = 20.0  # a standard deviation in the unbounded space, with the others held: the data do not constrain it
_CAPTURED = 0.1  # of ln L: a climb that expects to end so near a maximum, from within its errors, is on its way there


class _Slots(NamedTuple):
    """Climbs that are under way, side by side."""

    state: State
    own: tuple[jax.Array, ...]  # data of the densities
    climber: jax.Array  # the place of each climb among all; past the end for none
    begun: jax.Array  # how many have
    found: Optimum  # of all


def maxima(stacked: Stacked, target: str) -> Optimum:
    """A maximum of each density (see `_optimum.cost`), without the saturated part; with a leading axis over them.

    Each climbs from the model's values. Then another maximum is looked for on either side along what the data constrain
    least; of what they do not constrain at all, once more from the model's value, and from a point around it. A climb
    ends where it comes near the maximum that is known.
    """
    present, around = np.moveaxis(in_pieces(starting_points, stacked), 1, 0)
    best = climb_many(stacked, present, target)
    for start in (_aside(best, 1.0, present, best.u), _aside(best, -1.0, around, around)):
        found = climb_many(stacked, start, target, best)
        arrived = (found.gain < _optimum.TOLERANCE) & ~(best.gain < _optimum.TOLERANCE)
        level = arrived & ~(found.cost > best.cost + _optimum.SAME)
        better = (found.cost < best.cost - _optimum.SAME) | level
        for kept, new in zip(best, found):
            kept[better] = new[better]
    return best


def _aside(best: Optimum, sign: float, loose: np.ndarray, lost: np.ndarray) -> np.ndarray:
    """Starts beside maxima; from `loose` where parameters have no error, from `lost` where a climb did not arrive."""
    curvature = np.where(np.isfinite(best.curvature), best.curvature, 0.0)
    values, vectors = np.linalg.eigh(curvature)
    size = np.minimum(_ASIDE / np.sqrt(np.maximum(values[:, 0], 1e-300)), _ASIDE)
    starts = best.u + sign * size[:, None] * vectors[:, :, 0]
    starts = np.where(np.diagonal(curvature, axis1=1, axis2=2) < _LOOSE**-2, loose, starts)
    return np.where((best.gain < _optimum.TOLERANCE)[:, None], starts, lost)


def climb_many(stacked: Stacked, starts: np.ndarray, target: str, known: Optimum | None = None) -> Optimum:
    """One climb in each density, from `starts` (n_densities, n) in the unbounded space.

    A slot whose climb has arrived takes the next one, so that a slow one does not keep the others waiting. A climb that
    comes near the maximum `known` of its density, or arrives far below, ends there, with an infinite cost.
    """
    total, n = starts.shape
    if known is None:
        unknown = np.full(total, np.inf)
        known = Optimum(starts, unknown, unknown, np.zeros((total, n, n)), np.zeros(total, int))
    size = compiled_size(total)
    every = np.minimum(np.arange(size), total - 1)
    starts, known = jax.tree.map(lambda array: array[every], (starts, known))
    found = _climbs(stacked.rows(every), starts, known, total, target)
    return jax.tree.map(lambda array: np.array(np.asarray(array)[:total]), found)


def compiled_size(total: int) -> int:
    """The number of densities, at least `total`, for which climbs are compiled."""
    return next((size for size in SIZES if size >= total), total)


@functools.partial(program, static_argnames="target")
def _climbs(stacked: Stacked, starts: jax.Array, known: Optimum, total: jax.Array, target: str) -> Optimum:
    size, n = starts.shape
    # Fewer where few climb, since all wait for the last.
    n_slots = min(size, jax.local_device_count() * max(8, min(_SIDE_BY_SIDE, size // 32)))

    def step(slots: _Slots) -> _Slots:
        state = stacked.with_own(slots.own).each(lambda d, s: _optimum.advance(d, target, None, s), slots.state)
        busy = slots.climber < total
        idle = jax.vmap(_leads_nowhere)(state, jax.tree.map(lambda array: array[slots.climber], known))
        arrived = state.gain < _optimum.TOLERANCE
        ended = busy & (idle | arrived | jnp.isnan(state.gain) | (state.steps >= _MAX_STEPS))
        # The next step is worth less than the tolerance, but it spares exact derivatives later.
        u, cost = state.u + jnp.where(arrived[:, None], state.step, 0.0), jnp.where(idle, jnp.inf, state.at.cost)
        end = Optimum(u, cost, state.gain, state.at.curvature, state.steps)
        climber = jnp.where(ended, slots.begun + jnp.cumsum(ended) - 1, slots.climber)
        fresh = _optimum.first_state(starts[climber])
        state = jax.vmap(lambda new, *both: jax.tree.map(functools.partial(jnp.where, new), *both))(ended, fresh, state)
        which = jnp.nonzero(ended, size=n_slots, fill_value=0)[0]

        def exchange(i: jax.Array, kept: tuple[Optimum, tuple[jax.Array, ...]]) -> Any:
            found, own = kept
            slot = which[i]
            found = _put(found, slots.climber[slot], jax.tree.map(lambda array: array[slot], end))
            return found, _put(own, slot, tuple(array[climber[slot]] for array in stacked.own))

        found, own = jax.lax.fori_loop(0, jnp.sum(ended), exchange, (slots.found, slots.own))
        return _Slots(state, own, climber, slots.begun + jnp.sum(ended), found)

    nothing = Optimum(starts, jnp.zeros(size), jnp.zeros(size), jnp.zeros((size, n, n)), jnp.zeros(size, int))
    own = tuple(array[:n_slots] for array in stacked.own)
    first = _optimum.first_state(starts[:n_slots])
    slots = _Slots(first, own, jnp.arange(n_slots), jnp.asarray(n_slots), nothing)
    return jax.lax.while_loop(lambda slots: jnp.any(slots.climber < total), step, slots).found


def _put(arrays: Any, i: jax.Array, values: Any) -> Any:
    """Arrays with an entry replaced, in place."""
    update = jax.lax.dynamic_update_index_in_dim
    return jax.tree.map(lambda array, value: update(array, value.astype(array.dtype), i, 0), arrays, values)


def _leads_nowhere(state: State, known: Optimum) -> jax.Array:
    away = state.u - known.u
    inside = (known.gain < _optimum.TOLERANCE) & (away @ known.curvature @ away < 1.0)
    captured = inside & (jnp.abs(state.at.cost - state.gain - known.cost) < _CAPTURED)
    return (state.gain < 1.0) & (captured | (state.at.cost > known.cost + _optimum.FAR_BELOW))


def in_pieces(
    function: Any, stacked: Stacked, *arguments: Any, static: tuple = (), shared: tuple = (), out_of: int = 0
) -> Any:
    """A compiled function of stacked densities, called with as many of them as are computed side by side.

    Some `out_of` more take the program that all take.
    """
    total = len(stacked)
    slots = min(compiled_size(max(total, out_of)), _SIDE_BY_SIDE * jax.local_device_count())
    pieces = []
    for start in range(0, total, slots):
        index = np.minimum(np.arange(start, start + slots), total - 1)
        outcome = function(stacked.rows(index), *(argument[index] for argument in arguments), *shared, *static)
        pieces.append(outcome)
    return jax.tree.map(lambda *arrays: np.concatenate(arrays)[:total], *pieces)


@program
def starting_points(stacked: Stacked) -> jax.Array:
    """The model's free parameters in the unbounded space, and a point around them, (n_densities, 2, n)."""
    return stacked.each(lambda d: _optimum.starting_points(d, spread_normally(3, len(d.space.kinds))[::2]))
