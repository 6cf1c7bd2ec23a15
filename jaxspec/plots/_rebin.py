"""Bins joined for display only: the likelihood never sees them."""

from __future__ import annotations

import numpy as np


def joined(
    run: np.ndarray,
    counts: np.ndarray,
    net: np.ndarray,
    variance: np.ndarray,
    min_counts: float | None,
    min_significance: float | None,
) -> np.ndarray:
    """(n,) the display bin of each bin: the shortest that have enough counts and net counts of enough deviations.

    Args:
        run: (n,) number of the run of neighbours that each bin belongs to: no display bin crosses its end. What is
            left over there is a bin of its own.
        counts, net, variance: (n,) counts, counts less background, and the variance of those.

    Raises `ValueError` for a threshold that is not positive.
    """
    for name, threshold in (("min_counts", min_counts), ("min_significance", min_significance)):
        if threshold is not None and not threshold > 0:
            raise ValueError(f"{name} must be positive, got {threshold}")
    if min_counts is None and min_significance is None:
        return np.arange(len(counts))
    labels = np.zeros(len(counts), int)
    label, totals = 0, np.zeros(3)
    for i, values in enumerate(np.stack([counts, net, variance], axis=1)):
        if i and run[i] != run[i - 1]:
            label, totals = labels[i - 1] + 1, np.zeros(3)
        labels[i] = label
        totals = totals + values
        significant = totals[1] > 0 and totals[1] >= (min_significance or 0.0) * np.sqrt(totals[2])
        if totals[0] >= (min_counts or 0.0) and (significant or min_significance is None):
            label, totals = label + 1, np.zeros(3)
    return labels


def summed(labels: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Values over bins, on the last axis, added up over display bins."""
    starts = np.flatnonzero(np.diff(labels, prepend=-1))
    return np.add.reduceat(values, starts, axis=-1)


def edges(labels: np.ndarray, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest energy of each display bin."""
    starts = np.flatnonzero(np.diff(labels, prepend=-1))
    return np.minimum.reduceat(low, starts), np.maximum.reduceat(high, starts)
