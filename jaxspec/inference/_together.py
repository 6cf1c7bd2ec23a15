"""Climbs of many densities of one structure at once, each of its own length."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxspec.inference import _optimum
from jaxspec.inference._optimum import Optimum
from jaxspec.programs import program
from jaxspec.quadrature import spread_normally
from jaxspec.stack import Stacked

SLOTS = (16, 64)  # how many climb at once: few sizes, since each is compiled; more would wait for the last
_ROUND = 4  # steps between looks at which have arrived
_MAX_STEPS = 100  # of a climb: what takes longer is not constrained, and would keep the others waiting
_N_STARTS = 3  # of a spectrum whose first climb did not end well


@functools.partial(program, static_argnames="target")
def _round(stacked: Stacked, state: _optimum.State, target: str) -> _optimum.State:
    def steps(density, state):
        return jax.lax.fori_loop(0, _ROUND, lambda _, s: _optimum.advance(density, target, None, s), state)

    return stacked.each(steps, state)


def climb_many(stacked: Stacked, rows: np.ndarray, starts: np.ndarray, target: str) -> Optimum:
    """Climbs to a maximum of `target` (see `_optimum.cost`), each from its start, without the saturated part.

    A fixed number of slots climb in step; a slot that has arrived takes the next start, so that a slow one does not
    keep the others waiting.

    Args:
        stacked: the densities.
        rows: which of them each climb is in, (n_climbs,).
        starts: (n_climbs, n), in the unbounded space.
        target: see `_optimum.cost`.

    Returns an optimum with a leading axis over climbs.
    """
    total, n = starts.shape
    slots = slots_for(total)
    found = Optimum(
        np.empty((total, n)), np.empty(total), np.empty(total), np.empty((total, n, n)), np.empty(total, int)
    )
    climber = np.arange(slots)  # of each slot; a slot without one repeats what another does
    climber[total:] = 0
    busy = np.arange(slots) < total
    waiting = iter(range(slots, total))
    state = jax.tree.map(np.array, _optimum.first_state(starts[climber]))
    present = stacked.rows(rows[climber])
    while busy.any():
        state = jax.tree.map(np.array, _round(present, state, target))
        done = busy & (~(state.gain >= _optimum.TOLERANCE) | (state.steps >= _MAX_STEPS))
        for kept, new in zip(found, Optimum(state.u, state.at.cost, state.gain, state.at.curvature, state.steps)):
            kept[climber[done]] = new[done]
        busy[done] = False
        taken = [(slot, next_one) for slot, next_one in zip(np.flatnonzero(done), waiting)]
        if taken:
            refilled, climbers = np.array(taken).T
            climber[refilled], busy[refilled] = climbers, True
            fresh = _optimum.first_state(starts[climbers])
            for old, new in zip(jax.tree.leaves(state), jax.tree.leaves(fresh)):
                old[refilled] = new
            present = stacked.rows(rows[climber])
    return found


def slots_for(total: int) -> int:
    """How many run side by side, of `total`: as many on each device."""
    sizes = [size * jax.local_device_count() for size in SLOTS]
    return next((size for size in sizes if total <= size), sizes[-1])


def from_many_starts(stacked: Stacked, which: np.ndarray, best: Optimum, target: str) -> Optimum:
    """The best of several climbs, for those whose first did not end well: on from there, and from around the start."""
    offsets = spread_normally(_N_STARTS, best.u.shape[1])
    starts = in_pieces(functools.partial(_scattered, offsets=offsets), stacked.rows(which))
    starts[:, 0] = best.u[which]
    n_starts = starts.shape[1]
    found = climb_many(stacked, np.repeat(which, n_starts), starts.reshape(-1, starts.shape[2]), target)
    found = jax.tree.map(lambda array: array.reshape(len(which), n_starts, *array.shape[1:]), found)
    costs = np.where(np.isfinite(found.cost), found.cost, np.inf)
    place = np.argmin(costs, axis=1)
    chosen = jax.tree.map(lambda array: array[np.arange(len(which)), place], found)
    arrived = (chosen.gain < _optimum.TOLERANCE) & ~(best.gain[which] < _optimum.TOLERANCE)
    better = (chosen.cost < best.cost[which] - 1e-9) | arrived
    for kept, new in zip(best, chosen):
        kept[which[better]] = new[better]
    return best


def in_pieces(function: Any, stacked: Stacked, *arguments: Any, static: tuple = (), shared: tuple = ()) -> Any:
    """A compiled function of stacked densities, called with as many of them at once as climb at once."""
    total = len(stacked)
    slots = slots_for(total)
    pieces = []
    for start in range(0, total, slots):
        index = np.minimum(np.arange(start, start + slots), total - 1)
        outcome = function(stacked.rows(index), *(argument[index] for argument in arguments), *shared, *static)
        pieces.append(outcome)
    return jax.tree.map(lambda *arrays: np.concatenate(arrays)[:total], *pieces)


@program
def present_point(stacked: Stacked) -> jax.Array:
    """The model's values of the free parameters, in the unbounded space."""
    return stacked.each(lambda d: d.space.point(d.layout.values[jnp.asarray(d.layout.free, int)]))


@program
def _scattered(stacked: Stacked, offsets: jax.Array) -> jax.Array:
    return stacked.each(lambda density: _optimum.starting_points(density, offsets))
