"""Bins joined for display only: the likelihood never sees them."""

from __future__ import annotations

import numpy as np

# Ratio of energies that joined bins stay below: where there is no signal, no threshold is ever reached.
_WIDEST = 1.5


def display_bins(
    run: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    counts: np.ndarray,
    net: np.ndarray,
    variance: np.ndarray,
    min_counts: float | None,
    min_significance: float | None,
) -> np.ndarray:
    """(n,) the display bin of each bin: as few as have enough counts, and net counts of enough deviations.

    A display bin ends early where it would grow wider than a factor of 1.5 in energy.

    Args:
        run: (n,) number of the run of neighbours that each bin belongs to: no display bin crosses its end.
        low, high: (n,) energies in keV.
        counts, net, variance: (n,) counts, counts less background, and the variance of those.

    Raises `ValueError` for a threshold that is not positive.
    """
    for name, threshold in (("min_counts", min_counts), ("min_significance", min_significance)):
        if threshold is not None and not threshold > 0:
            raise ValueError(f"{name} must be positive, got {threshold}")
    if min_counts is None and min_significance is None:
        return np.arange(len(counts))
    labels = np.zeros(len(counts), int)
    start, totals, full = 0, np.zeros(3), False
    for i, values in enumerate(np.stack([counts, net, variance], axis=1)):
        too_wide = high[start : i + 1].max() > _WIDEST * low[start : i + 1].min()
        if i and (full or run[i] != run[i - 1] or too_wide):
            start, totals = i, np.zeros(3)
        labels[i] = labels[i - 1] + (start == i) if i else 0
        totals = totals + values
        significant = totals[1] > 0 and totals[1] >= (min_significance or 0.0) * np.sqrt(totals[2])
        full = totals[0] >= (min_counts or 0.0) and (significant or min_significance is None)
    return labels


def summed(labels: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Values over bins, on the last axis, added up over display bins."""
    return np.add.reduceat(values, _starts(labels), axis=-1)


def edges(labels: np.ndarray, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest energy of each display bin."""
    return np.minimum.reduceat(low, _starts(labels)), np.maximum.reduceat(high, _starts(labels))


def _starts(labels: np.ndarray) -> np.ndarray:
    return np.flatnonzero(np.diff(labels, prepend=-1))
