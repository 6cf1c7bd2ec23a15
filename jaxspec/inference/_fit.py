"""Maximum likelihood, or maximum of the posterior density, with the covariance there."""

from __future__ import annotations

import dataclasses
import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxspec.density import Density
from jaxspec.inference import _optimum
from jaxspec.inference._curvature import Free, normal, refined, slope_and_curvature_of_one
from jaxspec.problem import Problem
from jaxspec.quadrature import spread_normally
from jaxspec.results import BestFit

N_STARTS = 8


def fit(problem: Problem, *, use_priors: bool = False, starts: int = N_STARTS, method: Any = None) -> BestFit:
    """The maximum of the likelihood, or of likelihood times prior.

    Damped Gauss-Newton climbs run in one compiled program: one from the model's present values, the others spread
    around it. Where the first five agree, they are enough; else more follow, and then as many around the best that
    they found. The covariance is the inverse of the exact second derivatives at the best maximum. A parameter at its
    bound, or one that the data do not constrain, has no such error: it is NaN, and the others' are those with this one
    held.

    Args:
        problem: what to fit.
        use_priors: maximise the posterior density instead of the likelihood.
        starts: how many climbs at most, in each of the two rounds.
        method: an optimiser of optax, like `optax.lbfgs()`, to climb with in place of Gauss-Newton steps.

    Raises `ValueError` where `use_priors` lacks a prior, `TypeError` for a method that optax has not made. A fit
    that did not converge warns, and says so in its result.
    """
    if use_priors:
        problem.require_priors()
    target = "posterior" if use_priors else "likelihood"
    found = _climbs(problem.density, target, starts, method)
    best = _best(found)
    result = result_at(problem, target, best, _agreeing(found, best), int(np.sum(found.steps > 0)))
    result = dataclasses.replace(result, lesser_maxima=_lesser_maxima(problem.density, found, best))
    if result.troubles:
        warnings.warn("fit: " + "; ".join(result.troubles), stacklevel=2)
    return result


def result_at(problem: Problem, target: str, found: _optimum.Optimum, reached: int, n_starts: int) -> BestFit:
    """The result for an optimum that `reached` of `n_starts` climbs have found."""

    def derivatives(_: np.ndarray, u: np.ndarray) -> Any:
        return [np.asarray(array)[None] for array in slope_and_curvature_of_one(problem.density, u[0], target)]

    u, exact = (array[0] for array in refined(derivatives, np.asarray(found.u)[None]))
    theta, stretch = map(np.asarray, _values_and_stretch(problem.density, u))
    free = Free.of(problem.model, problem.density.space)
    curvatures = exact[None], np.asarray(found.curvature)[None]
    errors = normal(free, theta[None], stretch[None], *curvatures, problem.start[None])
    trouble = errors.troubles(0, problem.names)
    converged = bool(found.gain < _optimum.TOLERANCE)
    if not converged:
        rising = f"with ln L still rising by {found.gain:.2g}"
        trouble.insert(0, f"the climb stopped after {int(found.steps)} steps {rising}")
    return BestFit(
        problem=problem,
        theta=theta,
        u=u,
        covariance_u=errors.covariance[0],
        statistics=np.array(list(problem.statistics(dict(zip(problem.names, theta))).values())),
        converged=converged,
        troubles=tuple(trouble),
        starts_agreeing=reached,
        n_starts=n_starts,
        use_priors=target == "posterior",
    )


def best_optimum(density: Density, target: str, starts: int) -> tuple[_optimum.Optimum, int]:
    """The best maximum reached from several starts, and from how many of them it was reached.

    Raises `ValueError` where the density is finite at none of the starting points.
    """
    found = _climbs(density, target, starts)
    best = _best(found)
    return best, _agreeing(found, best)


def _climbs(density: Density, target: str, starts: int, method: Any = None) -> _optimum.Optimum:
    offsets = spread_normally(starts, len(density.space.kinds))
    found = _climb(density, _optimum.starting_points(density, offsets), target, method)
    if starts >= _optimum.ENOUGH and _optimum.agree(found):
        return found
    # Once more around the best: the first round may end in a lesser maximum beside it, from all its far starts.
    again = climbs_around(density, _best(found).u, target, starts, method)
    return jax.tree.map(lambda *rounds: np.concatenate(rounds), found, again)


def climbs_around(
    density: Density, u: np.ndarray | jax.Array, target: str, starts: int, method: Any = None
) -> _optimum.Optimum:
    """Climbs from a point and from others around it."""
    offsets = spread_normally(starts, len(u))
    return _climb(density, u + _optimum.SPREAD * offsets, target, method)


def _climb(density: Density, starts: Any, target: str, method: Any) -> _optimum.Optimum:
    """On the host: to pick one of several there compiles nothing."""
    if method is None:
        return jax.tree.map(np.asarray, _optimum.climb(density, starts, target))
    if not (hasattr(method, "init") and hasattr(method, "update")):
        raise TypeError(f"method={method!r} is not an optimiser of optax, like optax.lbfgs()")
    return jax.tree.map(np.asarray, _optimum.climb_by(density, starts, target, method))


def _agreeing(found: _optimum.Optimum, best: _optimum.Optimum) -> int:
    return int(np.sum(found.cost < best.cost + _optimum.SAME))


def _lesser_maxima(density: Density, found: _optimum.Optimum, best: _optimum.Optimum) -> tuple[tuple[float, ...], ...]:
    """Other maxima: how much lower, and the free parameters there; the highest first."""
    kept: list[int] = []
    for i in np.argsort(found.cost):
        last = found.cost[kept[-1]] if kept else best.cost
        if found.gain[i] < _optimum.TOLERANCE and last + _optimum.SAME < found.cost[i] < best.cost + _optimum.FAR_BELOW:
            kept.append(int(i))
    points = [np.asarray(_values_and_stretch(density, found.u[i])[0]) for i in kept]
    return tuple((float(found.cost[i] - best.cost), *map(float, point)) for i, point in zip(kept, points))


def better_fit(best: BestFit, u: np.ndarray) -> BestFit:
    """The fit that climbs from around `u` lead to, where the target is higher than at `best`."""
    target = "posterior" if best.use_priors else "likelihood"
    found = climbs_around(best.problem.density, u, target, N_STARTS)
    top = _best(found)
    return result_at(best.problem, target, top, _agreeing(found, top), N_STARTS)


@jax.jit
def _values_and_stretch(density: Density, u: Any) -> tuple[jax.Array, jax.Array]:
    """The free parameters, and how fast each moves with its coordinate of the unbounded space."""
    return jax.jvp(density.space.values, (u,), (jnp.ones_like(u),))


def _best(found: _optimum.Optimum) -> _optimum.Optimum:
    costs = np.where(np.isfinite(found.cost), found.cost, np.inf)
    best = int(np.argmin(costs))
    if not np.isfinite(costs[best]):
        raise ValueError(
            "the likelihood is not finite at any starting point: set values nearer to the data with model.with_values, "
            "and check the bounds"
        )
    return jax.tree.map(lambda array: array[best], found)
