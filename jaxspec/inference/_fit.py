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
from jaxspec.inference._search import N_STARTS, agreeing, all_climbs, best_of, climbs_around
from jaxspec.problem import Problem
from jaxspec.results import BestFit


def fit(problem: Problem, *, use_priors: bool = False, starts: int = N_STARTS, method: Any = None) -> BestFit:
    """The maximum of the likelihood, or of likelihood times prior.

    Damped Gauss-Newton climbs run in one compiled program: one from the model's present values, the others spread
    around it. Where the first five agree, two more begin beside the maximum; else more follow, and then as many around
    the best that they found. Of several components with free norms, all but the strongest are looked for at 64 shapes
    each, as a matched filter does, with climbs from the most promising: a line is found far from where it was put.

    The covariance is the inverse of the exact second derivatives at the best maximum. A parameter at its bound, or one
    that the data do not constrain, has no such error: it is NaN, and the others' are those with this one held.

    Args:
        problem: what to fit.
        use_priors: maximise the posterior density instead of the likelihood.
        starts: how many climbs at most in each round; 1 for a single climb from the model's present values.
        method: an optimiser of optax, like `optax.lbfgs()`, to climb with in place of Gauss-Newton steps.

    Raises `ValueError` where `use_priors` lacks a prior, `TypeError` for a method that optax has not made. A fit
    that did not converge warns, and says so in its result.
    """
    if use_priors:
        problem.require_priors()
    target = "posterior" if use_priors else "likelihood"
    found = all_climbs(problem.density, target, starts, method)
    best = best_of(found)
    result = result_at(problem, target, best, agreeing(found, best), int(np.sum(found.steps > 0)))
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
    found = climbs_around(best.problem.density, u, target)
    top = best_of(found)
    return result_at(best.problem, target, top, agreeing(found, top), N_STARTS)


@jax.jit
def _values_and_stretch(density: Density, u: Any) -> tuple[jax.Array, jax.Array]:
    """The free parameters, and how fast each moves with its coordinate of the unbounded space."""
    return jax.jvp(density.space.values, (u,), (jnp.ones_like(u),))
