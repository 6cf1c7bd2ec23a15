"""Climbs of many densities of one structure at once, each of its own length."""

from __future__ import annotations

import functools

import jax
import numpy as np

from jaxspec._setup import program
from jaxspec.inference import _optimum
from jaxspec.inference._optimum import Optimum
from jaxspec.stack import Stacked

SLOTS = (16, 64)  # how many climb at once: few sizes, since each is compiled; more would wait for the last
_ROUND = 4  # steps between looks at which have arrived


@functools.partial(program, static_argnames="target")
def _round(stacked: Stacked, state: _optimum.State, target: str) -> _optimum.State:
    def steps(density, state):
        return jax.lax.fori_loop(0, _ROUND, lambda _, s: _optimum.advance(density, target, None, s), state)

    return stacked.each(steps, state)


def climb_many(stacked: Stacked, rows: np.ndarray, starts: np.ndarray, target: str, max_steps: int) -> Optimum:
    """Climbs to a maximum of `target` (see `_optimum.cost`), each from its start, without the saturated part.

    A fixed number of slots climb in step; a slot that has arrived takes the next start, so that a slow one does not
    keep the others waiting.

    Args:
        stacked: the densities.
        rows: which of them each climb is in, (n_climbs,).
        starts: (n_climbs, n), in the unbounded space.
        target: see `_optimum.cost`.
        max_steps: where a climb that has not arrived ends; looked at every 4 steps.

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
        done = busy & (~(state.gain >= _optimum.TOLERANCE) | (state.steps >= max_steps))
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
    """How many run side by side, of `total`."""
    return next((size for size in SLOTS if total <= size), SLOTS[-1])
