"""Where the highest maximum is: climbs from points far apart, and a search for components that they have missed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from jaxspec.density import Density
from jaxspec.inference import _optimum
from jaxspec.quadrature import spread_normally

N_STARTS = 8
_SHAPES = 64  # tried of a component
_ASIDE = 3.0  # standard deviations, and no more than this in the unbounded space


def best_optimum(density: Density, target: str, starts: int) -> tuple[_optimum.Optimum, int]:
    """The best maximum reached from several starts, and by how many climbs it was reached.

    Raises `ValueError` where the density is finite at none of the starting points.
    """
    found = all_climbs(density, target, starts)
    best = best_of(found)
    return best, agreeing(found, best)


def all_climbs(density: Density, target: str, starts: int, method: Any = None) -> _optimum.Optimum:
    """The ends of all climbs made, numpy arrays with a leading axis over them.

    Climbs start at the model's present values and around them. A component with a norm that has vanished at the end of
    a climb leaves no slope that leads it back, so all but the strongest are then looked for. Where there is none to
    look for, two more start beside the best; or as many again around it, where the first disagree.
    """
    offsets = spread_normally(starts, len(density.space.kinds))
    points = np.asarray(_optimum.starting_points(density, offsets))
    rounds = [climbs(density, points, target, method)]
    if starts == 1:
        return rounds[0]
    if method is None and len(density.layout.emitters) > 1:
        for at_shapes in _weaker_components(density, points[0], best_of(rounds[0])):
            best = best_of(_joined(rounds))
            rounds.append(climbs(density, _promising(density, target, best.u, *at_shapes), target))
        return _joined(rounds)
    # The first round may end in a lesser maximum beside the best one, from all its far starts.
    best = best_of(rounds[0])
    if starts >= _optimum.ENOUGH and _optimum.agree(rounds[0]):
        rounds.append(climbs(density, _beside(best), target, method))
    else:
        rounds.append(climbs_around(density, best.u, target, starts, method))
    return _joined(rounds)


def climbs_around(
    density: Density, u: np.ndarray, target: str, starts: int = N_STARTS, method: Any = None
) -> _optimum.Optimum:
    """Climbs from a point and from others around it."""
    return climbs(density, u + _optimum.SPREAD * spread_normally(starts, len(u)), target, method)


def climbs(
    density: Density, starts: np.ndarray, target: str, method: Any = None, limit: int | None = None
) -> _optimum.Optimum:
    """The ends of climbs on the host: to pick one of several there compiles nothing."""
    if method is None:
        n = len(starts)
        padded = np.concatenate([starts, np.broadcast_to(starts[0], (max(N_STARTS - n, 0), starts.shape[1]))])
        found = _optimum.climb(density, padded, target, _optimum.MAX_STEPS if limit is None else limit, n)
        return jax.tree.map(lambda array: np.asarray(array)[:n], found)
    if not (hasattr(method, "init") and hasattr(method, "update")):
        raise TypeError(f"method={method!r} is not an optimiser of optax, like optax.lbfgs()")
    return jax.tree.map(np.asarray, _optimum.climb_by(density, starts, target, method))


def _beside(best: _optimum.Optimum) -> np.ndarray:
    """The best point, and one on either side along what the data constrain least, (3, n)."""
    values, vectors = np.linalg.eigh(best.curvature)
    away = vectors[:, 0] * min(_ASIDE, _ASIDE / max(values[0], 1e-300) ** 0.5)
    return best.u + np.array([[0.0], [1.0], [-1.0]]) * away


def best_of(found: _optimum.Optimum) -> _optimum.Optimum:
    """The highest of several optima."""
    costs = np.where(np.isfinite(found.cost), found.cost, np.inf)
    best = int(np.argmin(costs))
    if not np.isfinite(costs[best]):
        raise ValueError(
            "the likelihood is not finite at any starting point: set values nearer to the data with model.with_values, "
            "and check the bounds"
        )
    return jax.tree.map(lambda array: array[best], found)


def agreeing(found: _optimum.Optimum, best: _optimum.Optimum) -> int:
    """How many climbs have ended at the best maximum."""
    return int(np.sum(found.cost < best.cost + _optimum.SAME))


def _weaker_components(
    density: Density, start: np.ndarray, best: _optimum.Optimum
) -> Iterator[tuple[int, list[int], np.ndarray]]:
    """The norm's place, the places of the shape's parameters, and shapes around the start, (n_shapes, n)."""
    emitters = density.layout.emitters
    strongest = max(emitters, key=lambda emitter: best.curvature[emitter[0], emitter[0]])
    step = np.asarray(_optimum.starting_points(density, np.ones((1, len(start)))))[0] - start
    for norm, shape in emitters:
        if (norm, shape) != strongest and shape:
            at = list(shape)
            yield norm, at, start[at] + step[at] * spread_normally(_SHAPES, len(at))


def _promising(
    density: Density, target: str, u: np.ndarray, norm: int, shape: list[int], shapes: np.ndarray
) -> np.ndarray:
    """Starts for climbs: the best point, and that with those shapes of one component that promise the most there.

    With a norm of one standard deviation, so that Newton's step promises what a matched filter would find.
    """
    points = np.tile(u, (len(shapes), 1))
    points[:, shape] = shapes
    curvature = _measured(density, points, target).curvature[:, norm, norm]
    seen = curvature > 0
    points[:, norm] -= np.where(seen, 0.5 * np.log(np.where(seen, curvature, 1.0)), 0.0)
    found = _measured(density, points, target)
    promised = found.cost - found.gain
    order = np.argsort(np.where(np.isfinite(promised), promised, np.inf))
    return np.concatenate([u[None], points[order[: N_STARTS - 1]]])


def _measured(density: Density, points: np.ndarray, target: str) -> _optimum.Optimum:
    """What climbs see before their first step; in the program that climbs."""
    parts = np.split(points, len(points) // N_STARTS)
    return _joined([climbs(density, part, target, limit=1) for part in parts])


def _joined(parts: list[_optimum.Optimum]) -> _optimum.Optimum:
    return jax.tree.map(lambda *arrays: np.concatenate(arrays), *parts)
