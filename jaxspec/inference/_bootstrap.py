"""What fits do on data drawn from a model: bootstrap, goodness of fit, likelihood ratios, coverage."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from jaxspec import progress as progress_bar
from jaxspec.density import Density
from jaxspec.inference import _nuts, _optimum, _profile
from jaxspec.inference._errors import target_of
from jaxspec.inference._search import N_STARTS, best_optimum
from jaxspec.inference._simulated import (
    by_chunks,
    draw_data,
    draw_from_priors,
    random_numbers,
    refit,
    with_data,
)
from jaxspec.methods import NUTS
from jaxspec.problem import Problem
from jaxspec.programs import program
from jaxspec.quadrature import spread_normally
from jaxspec.results import BestFit, Bootstrap, Coverage, LikelihoodRatio

_STIFFNESS = 1e4  # of the pull to the true value


def bootstrap(best: BestFit, n: int = 1000, *, key: jax.Array, progress: bool | None = None) -> Bootstrap:
    """Draws data sets from a best fit and fits each as the real one: parametric bootstrap and goodness of fit.

    Counts are Poisson; background counts are drawn too, around the smoothed measured ones. All fits run in one compiled
    program, each from the best fit. The `p_value` of the result is the goodness of fit by simulation, right where the
    expected statistic is only approximate: at few counts, for biased W.

    Args:
        best: the fit.
        n: how many data sets.
        key: a JAX random key; the same key draws the same data.
        progress: a progress bar; by default on a terminal and in a notebook.

    Raises `ValueError` for the L statistic.
    """
    problem = best.problem
    data = draw_data(problem, np.repeat(best.theta[None], n, axis=0), random_numbers(key))
    starts = np.broadcast_to(best.u, (n, 1, len(best.u)))
    with progress_bar.bar(n, "fits of simulated data", progress) as advance:
        found, statistics = refit(problem.density, data, starts, target_of(best), advance)
    values = by_chunks(_all_parameters, problem.density, found.u)
    return Bootstrap(best, values, statistics, np.asarray(found.gain) < _optimum.TOLERANCE)


@jax.jit
def _all_parameters(density: Density, points: jax.Array) -> jax.Array:
    return jax.vmap(lambda u: density.layout.all_values(density.space.values(u)))(points)


def likelihood_ratio_test(
    simpler: BestFit, other: BestFit, n: int = 1000, *, key: jax.Array, starts: int = 4, progress: bool | None = None
) -> LikelihoodRatio:
    """The likelihood ratio of two fits of the same data, and its distribution if the simpler model is true.

    Data sets are drawn from the simpler fit, and both models fitted to each. This holds where Wilks's theorem does not:
    for a line whose strength cannot be negative, or models that do not contain each other.

    Args:
        simpler, other: fits to the same observations.
        n: how many data sets.
        key: a JAX random key.
        starts: climbs of the other model in each data set, around its best fit.
        progress: a progress bar; by default on a terminal and in a notebook.

    Raises `ValueError` where the two were not fitted to the same bins, and for the L statistic.
    """
    if simpler.problem.density.sizes != other.problem.density.sizes:
        raise ValueError("the two fits are not of the same data: they have other numbers of bins")
    data = draw_data(simpler.problem, np.repeat(simpler.theta[None], n, axis=0), random_numbers(key))
    ratios = np.zeros(n)
    with progress_bar.bar(2 * n, "fits of simulated data", progress) as advance:
        for best, sign, climbs in ((simpler, 1.0, 1), (other, -1.0, starts)):
            around = best.u + _optimum.SPREAD * spread_normally(climbs, len(best.u))
            points = np.broadcast_to(around, (n, *around.shape))
            ratios += sign * refit(best.problem.density, data, points, "likelihood", advance)[1]
    return LikelihoodRatio(simpler.statistic - other.statistic, ratios)


def coverage(
    problem: Problem,
    n: int = 1000,
    *,
    key: jax.Array,
    method: str | NUTS = "profile",
    from_priors: bool | None = None,
    progress: bool | None = None,
) -> Coverage:
    """How often intervals hold the truth, in data drawn from a model: a check of any model with any response.

    Args:
        problem: the model, at whose values data are drawn, and observations that say what is measured how.
        n: how many data sets.
        key: a JAX random key.
        method: "profile": the profile of the likelihood; "covariance": the normal errors of a fit, in the space without
            bounds; or `NUTS(...)`: the posterior (simulation-based calibration; each data set is sampled).
        from_priors: draw the truth of each data set from the priors instead, which a posterior needs: the default for
            `NUTS`.
        progress: a progress bar; by default on a terminal and in a notebook.

    Raises `ValueError` for another method, a missing prior, and the L statistic.

    **Reference:** Talts et al. 2018, arXiv:1804.06788.
    """
    if not isinstance(method, NUTS) and method not in ("profile", "covariance"):
        raise ValueError(f"method={method!r} is not known; give 'profile', 'covariance' or NUTS(...)")
    rng = random_numbers(key)
    thetas = np.repeat(problem.start[None], n, axis=0)
    if isinstance(method, NUTS) if from_priors is None else from_priors:
        problem.require_priors()
        thetas = draw_from_priors(problem.density, n, rng)
    data = draw_data(problem, thetas, rng)
    truth = by_chunks(_points, problem.density, thetas)
    if isinstance(method, NUTS):
        return _coverage_of_posterior(problem, data, truth, method, key, progress)
    with progress_bar.bar(n, "fits of simulated data", progress) as advance:
        found, _ = refit(problem.density, data, truth[:, None], "likelihood", advance)
    if method == "covariance":
        widths = np.sqrt(np.diagonal(np.linalg.pinv(found.curvature, hermitian=True), axis1=1, axis2=2))
        rises = ((found.u - truth) / widths) ** 2
    else:
        rises = _rises(problem.density, data, found, truth)
    from scipy.special import erfc

    chances = erfc(np.sqrt(np.maximum(rises, 0.0) / 2))
    return Coverage(problem.names, chances, np.asarray(found.gain) < _optimum.TOLERANCE)


@jax.jit
def _points(density: Density, thetas: jax.Array) -> jax.Array:
    return jax.vmap(density.space.point)(thetas)


def _rises(density: Density, data: tuple, found: _optimum.Optimum, truth: np.ndarray) -> np.ndarray:
    """By how much the statistic rises, (n_sets, n), where each parameter in turn is held at its truth."""
    columns = []
    for i in range(truth.shape[1]):
        row = np.eye(truth.shape[1])[i]
        starts = np.array(found.u)
        starts[:, i] = truth[:, i]
        weights = _STIFFNESS * np.maximum(found.curvature[:, i, i], 1e-6)
        aims = np.broadcast_to(row, starts.shape)
        costs = by_chunks(_held_costs, density, aims, data, starts, truth[:, i], weights)
        columns.append(2 * np.maximum(costs - found.cost, 0.0))
    return np.stack(columns, axis=1)


@program
def _held_costs(
    density: Density, rows: jax.Array, data: Any, starts: jax.Array, values: jax.Array, weights: jax.Array
) -> jax.Array:
    def one(each: Any) -> jax.Array:
        row, arrays, start, value, weight = each
        pull = _optimum.Pull((_profile.Coordinate(row),), value[None], weight[None])
        return _optimum.climb_held_from(with_data(density, arrays), "likelihood", pull, start)[0].cost

    return jax.lax.map(one, (rows, data, starts, values, weights))


def _coverage_of_posterior(
    problem: Problem, data: tuple, truth: np.ndarray, method: NUTS, key: jax.Array, progress: bool | None
) -> Coverage:
    """Twice the smaller tail of the truth among the draws: uniform where the posterior is right."""
    p_values, mixed = [], []
    with progress_bar.bar(len(truth), "posteriors of simulated data", progress) as advance:
        for i, point in enumerate(truth):
            arrays = jax.device_put(jax.tree.map(lambda array, i=i: array[i], data))
            density = with_data(problem.density, arrays)
            optimum, _ = best_optimum(density, "sampled", N_STARTS)
            chains = _nuts.run(density, optimum, method, jax.random.fold_in(key, i), lambda _: None)
            draws = chains.u.reshape(-1, len(point))
            below = (np.sum(draws < point, axis=0) + 0.5) / (len(draws) + 1)
            p_values.append(2 * np.minimum(below, 1 - below))
            mixed.append(not chains.diverging.any())
            advance(1)
    return Coverage(problem.names, np.array(p_values), np.array(mixed))
