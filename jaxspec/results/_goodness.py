"""The statistic that a fit is expected to reach if its model is true."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax.numpy as jnp
import numpy as np

from jaxspec import goodness
from jaxspec.goodness import Moments

if TYPE_CHECKING:
    from jaxspec.data import Selection
    from jaxspec.problem import Problem

_STEP = 1e-3  # of the error, over which derivatives are differences
_ENOUGH = 10.0  # background counts whose mean stands for what was expected there


def expected_statistic(problem: Problem, u: np.ndarray, errors: np.ndarray) -> tuple[float, float] | None:
    """Mean and standard deviation of the least statistic; None where that of an observation is not known.

    `u` and `errors` are the best values and their errors in the unbounded space.
    """
    expected = _counts(problem, u)
    moments = [
        _moments(selection, observation.variance, expected[observation.name])
        for observation, selection in zip(problem.observations, problem.selections)
    ]
    known = [each for each in moments if each is not None]
    if len(known) < len(moments):
        return None
    joined = Moments(*(np.concatenate(arrays) for arrays in zip(*known)))
    return goodness.of_fit(joined, _jacobian(problem, u, errors))


def _counts(problem: Problem, u: np.ndarray) -> dict[str, np.ndarray]:
    theta = problem.density.space.values(jnp.asarray(u))
    return {name: np.asarray(c) for name, c in problem.expected_counts(dict(zip(problem.names, theta))).items()}


def _jacobian(problem: Problem, u: np.ndarray, errors: np.ndarray) -> np.ndarray:
    """(n_bins, n) derivatives of the expected counts, of any scale.

    They are differences, since the program for the counts is compiled already.
    """
    steps = _STEP * np.diag(np.where((errors > 0) & (errors < 1), errors, 1.0))
    sides = [[np.concatenate([*_counts(problem, point).values()]) for point in (u + step, u - step)] for step in steps]
    return np.stack([above - below for above, below in sides], axis=1)


def _moments(selection: Selection, variance: str, expected: np.ndarray) -> Moments | None:
    """Of the statistic in each bin, if `expected` source counts are the true ones."""
    expected, n = np.asarray(expected), len(selection.counts)
    background, ratio, errors = selection.background, selection.ratio, selection.background_errors
    if selection.statistic == "cstat":
        return goodness.cstat_moments(expected)
    if selection.statistic == "chi2" and variance == "data":
        return Moments(np.ones(n), np.full(n, 2.0), np.zeros(n), 1 / _chi_squared_variance(selection), np.ones(n))
    if selection.statistic == "flux points":
        return _flux_moments(selection)
    if background is None or ratio is None:
        return None
    if selection.statistic == "pstat":
        return goodness.cstat_moments(expected + ratio * background)
    if selection.statistic == "wstat":
        channels = np.bincount(selection.groups[selection.groups >= 0])
        return goodness.wstat_moments(expected, smoothed(background, channels), ratio)
    if selection.statistic == "pgstat" and errors is not None:
        return goodness.pgstat_moments(expected, np.maximum(background, 0.0), errors, ratio)
    return None


def _flux_moments(selection: Selection) -> Moments | None:
    """As those of chi-squared; upper limits have no expectation of their own."""
    assert selection.errors is not None  # flux points have them
    assert selection.errors_above is not None
    assert selection.upper_limits is not None
    n = len(selection.counts)
    if selection.upper_limits.any():
        return None
    variance = (0.5 * (selection.errors + selection.errors_above)) ** 2
    return Moments(np.ones(n), np.full(n, 2.0), np.zeros(n), 1 / variance, np.ones(n))


def _chi_squared_variance(selection: Selection) -> np.ndarray:
    assert selection.errors is not None  # a selection for chi-squared has them
    variance = selection.errors**2
    if selection.ratio is not None and selection.background_errors is not None:
        variance = variance + (selection.ratio * selection.background_errors) ** 2
    return variance


def smoothed(counts: np.ndarray, channels: np.ndarray) -> np.ndarray:
    """Counts expected in each bin: the mean per channel over as many neighbours as have 10 counts between them.

    The counts of a single bin, often 0, are no estimate of their own mean.
    """
    n, total = len(counts), float(np.sum(counts))
    sums = np.concatenate([[0.0], np.cumsum(counts)])
    sizes = np.concatenate([[0.0], np.cumsum(channels)])
    means = np.full(n, total / sizes[-1])
    left = np.arange(n) if total >= _ENOUGH else np.arange(0)
    reach = 0
    while len(left):
        first, last = np.maximum(left - reach, 0), np.minimum(left + reach + 1, n)
        inside = sums[last] - sums[first]
        enough = inside >= _ENOUGH
        means[left[enough]] = (inside / (sizes[last] - sizes[first]))[enough]
        left, reach = left[~enough], reach + 1
    return means * channels
