"""The profile of the likelihood over two parameters."""

from __future__ import annotations

import jax
import numpy as np

from jaxspec import parameters
from jaxspec.density import Density
from jaxspec.inference import _optimum, _profile
from jaxspec.inference._errors import lowest_cost, parameters_at, target_of
from jaxspec.results import BestFit, Contour

_GRID = 31
_STIFFNESS = 1e4  # of the pull to a point of the grid: the climb ends that part of a variance beside it


def contour(
    best: BestFit,
    first: str,
    second: str,
    *,
    points: int = _GRID,
    span: float = 4.0,
    ranges: tuple[tuple[float, float], tuple[float, float]] | None = None,
) -> Contour:
    """The profile of the statistic over two free parameters, on a grid.

    At each point of the grid all other parameters are fitted.

    Args:
        best: the fit.
        first, second: names of free parameters.
        points: of the grid, on each side.
        span: of the grid, in standard deviations on both sides of the best values.
        ranges: (low, high) of each parameter instead, in its unit.

    Raises `KeyError` for what is no free parameter, `ValueError` for two equal ones, and where no range is given for a
    parameter without error.
    """
    problem = best.problem
    for name in (first, second):
        if name not in problem.names:
            raise parameters.unknown(name, problem.names, "free parameter")
    if first == second:
        raise ValueError(f"a contour needs two parameters, got {first} twice")
    places = [problem.names.index(name) for name in (first, second)]
    density = problem.density
    deviations = np.sqrt(np.diag(best.covariance_u))[places]
    if ranges is None and not np.all(deviations > 0):
        raise ValueError(f"{first} or {second} has no error to span a grid by: give ranges=((low, high), (low, high))")
    axes = []
    for k, place in enumerate(places):
        if ranges is None:
            axes.append(best.u[place] + span * deviations[k] * np.linspace(-1, 1, points))
        else:
            edges = np.tile(best.theta, (points, 1))
            edges[:, place] = np.linspace(ranges[k][0], ranges[k][1], points)
            axes.append(np.asarray(_points(density, jax.device_put(edges)))[:, place])
    rise = _rise_on_grid(best, places, axes)
    along = np.repeat(best.u[None], points, axis=0)
    along[:, places] = np.stack(axes, axis=1)
    x, y = np.asarray(parameters_at(density, jax.device_put(along)))[:, places].T
    return Contour(best, (first, second), x, y, rise)


@jax.jit
def _points(density: Density, thetas: jax.Array) -> jax.Array:
    return jax.vmap(density.space.point)(thetas)


def _rise_on_grid(best: BestFit, places: list[int], axes: list[np.ndarray]) -> np.ndarray:
    x, y = np.meshgrid(*axes)
    grid = np.stack([x.ravel(), y.ravel()], axis=1)
    rows = np.eye(len(best.u))[places]
    # Where the others go as the two move, by the covariance: near the end of each climb.
    inside = best.covariance_u[np.ix_(places, places)]
    slope = best.covariance_u[:, places] @ np.linalg.pinv(inside, hermitian=True)
    starts = best.u + (grid - best.u[places]) @ slope.T
    starts[:, places] = grid
    widths = np.where(np.diag(inside) > 0, np.diag(inside), 1.0)
    weights = np.broadcast_to(_STIFFNESS / widths, grid.shape)
    aims = tuple(map(_profile.Coordinate, rows))
    pulls = _optimum.Pull(aims, jax.device_put(grid), jax.device_put(weights[0].copy()))
    found, _ = _optimum.climb_held(best.problem.density, jax.device_put(starts), target_of(best), pulls)
    return 2 * (np.asarray(found.cost).reshape(x.shape) - lowest_cost(best))
