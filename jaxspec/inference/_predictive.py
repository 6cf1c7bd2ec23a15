"""Data that a posterior, or priors, predict."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from jaxspec import density as densities
from jaxspec.density import Density
from jaxspec.inference._simulated import (
    by_chunks,
    by_statistic,
    draw_each,
    draw_from_priors,
    expected_counts,
    random_numbers,
    with_data,
)
from jaxspec.problem import Problem
from jaxspec.programs import program
from jaxspec.results import BestFit, Posterior, PredictiveCheck


def posterior_predictive(result: Posterior | BestFit, n: int = 1000, *, key: jax.Array) -> PredictiveCheck:
    """Draws data sets with parameters of the posterior: would the model give data like the real ones?

    Args:
        result: a posterior, or a best fit, whose draws are those of its normal approximation.
        n: how many data sets, with parameters evenly spaced among the draws.
        key: a JAX random key; the same key draws the same data.

    Counts are Poisson; background counts are drawn too, around the smoothed measured ones.

    Raises `ValueError` for the L statistic.

    **Reference:** Gelman, Meng & Stern 1996, Stat. Sinica 6, 733.
    """
    draws = result.spread(result.points)
    chosen = draws[np.linspace(0, len(draws) - 1, n).round().astype(int)]
    free = list(result.problem.density.layout.free)
    return _check(result.problem, chosen[:, free], random_numbers(key))


def prior_predictive(problem: Problem, n: int = 1000, *, key: jax.Array) -> PredictiveCheck:
    """Draws data sets with parameters of the priors: are data like the real ones expected at all?

    Args:
        problem: every free parameter needs a prior; the observations say what is measured how.
        n: how many data sets.
        key: a JAX random key; the same key draws the same data.

    Raises `ValueError` for a missing prior, for the L statistic, and for priors that reach where the model is not
    finite.
    """
    problem.require_priors()
    rng = random_numbers(key)
    return _check(problem, draw_from_priors(problem.density, n, rng), rng)


def _check(problem: Problem, thetas: np.ndarray, rng: np.random.Generator) -> PredictiveCheck:
    expected = expected_counts(problem.density, thetas)
    drawn = draw_each(problem, expected, rng)
    data = by_statistic(problem.density, drawn)
    statistics, observed = by_chunks(_statistics, problem.density, data, expected)
    counts, background = {}, {}
    for label, selection, arrays in zip(problem.labels, problem.selections, drawn):
        # Chi-squared compares net counts.
        subtracted = selection.counts - np.asarray(densities.STATISTICS[selection.statistic].data(selection)[0])
        counts[label] = arrays[0] + subtracted
        if selection.statistic in ("wstat", "pgstat"):
            background[label] = arrays[1]
    return PredictiveCheck(problem, counts, background, statistics, observed)


@program
def _statistics(density: Density, data: tuple, expected: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Of each observation, of drawn and of real data, each (n_sets, n_observations)."""

    def total(which: Density, counts: jax.Array) -> jax.Array:
        return jnp.stack([jnp.sum(bins) for bins in which.split(which.statistic_per_bin(counts))])

    def one(each: tuple) -> tuple[jax.Array, jax.Array]:
        arrays, counts = each
        return total(with_data(density, arrays), counts), total(density, counts)

    return jax.lax.map(one, (data, expected))
