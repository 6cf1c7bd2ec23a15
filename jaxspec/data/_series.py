"""Matrices of one response file that follow each other in time (RSP2): which of them, with what weight."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ._fits import OgipError, Repair

if TYPE_CHECKING:
    from ._rmf import Matrix, ResponseFile

_ANOTHER_CLOCK = 86400.0  # seconds between a spectrum and the nearest matrix


def shares_of(content: ResponseFile, name: str, time: Any, weights: Sequence[float] | None) -> np.ndarray:
    """The weight of each matrix of the file, with the sum 1."""
    count = len(content.matrices)
    if weights is not None:
        shares = np.array(weights, dtype=np.float64)
        if shares.shape != (count,) or not np.isfinite(shares).all() or (shares < 0).any() or shares.sum() == 0:
            raise ValueError(f"{name}: weights must be {count} numbers, not negative and not all 0, got {weights}")
    elif time is not None:
        shares = _time_shares(content.matrices, name, time)
    elif count > 1:
        spans = ", ".join(f"{i + 1}: {m.start} to {m.stop} s" for i, m in enumerate(content.matrices[:5]))
        raise ValueError(
            f"{name}: the file has {count} matrices ({spans}{', ...' if count > 5 else ''}); "
            "choose one by Response.from_ogip(..., number=) or time=, or mix them by time=(start, stop) or weights="
        )
    else:
        shares = np.ones(1)
    return shares / shares.sum()


def _time_shares(matrices: list[Matrix], name: str, time: Any) -> np.ndarray:
    start, stop = _times(matrices)
    if not np.isfinite(start + stop).all():
        raise ValueError(f"{name}: the matrices carry no TSTART and TSTOP; choose by number= or weights=")
    first, last = (time, time) if np.ndim(time) == 0 else time
    if not first <= last:
        raise ValueError(f"{name}: time must run from earlier to later, got {time}")
    shares = _covered(start, stop, first, last)
    if shares.sum() == 0:
        raise ValueError(f"{name}: no matrix is valid at {time} s; they cover {start.min()} to {stop.max()} s")
    return shares


def shares_during(
    content: ResponseFile, name: str, first: float | None, last: float | None, repairs: list[Repair]
) -> np.ndarray | None:
    """The weights by the exposure of a spectrum from `first` to `last`, or the nearest matrix where none is valid.

    None for a single matrix, and where matrices or spectrum carry no times.
    """
    start, stop = _times(content.matrices)
    if start.size == 1 or first is None or not np.isfinite(start + stop).all():
        return None
    last = first if last is None or last < first else last
    span = f"{first:.6f} to {last:.6f} s"
    shares = _covered(start, stop, first, last)
    if shares.sum() > 0:
        shares = shares / shares.sum()
        used = ", ".join(f"{i + 1} ({shares[i]:.4g})" for i in np.flatnonzero(shares))
        repairs.append(Repair(f"{name}: {start.size} matrices in time; of this spectrum, {span}: number {used}"))
        return shares
    away = np.maximum(np.maximum(start - last, first - stop), 0.0)
    # The last matrix of a series may be of a moment: it is then as near as the one before.
    nearest = int(np.flatnonzero(away == away.min())[-1])
    if away[nearest] > _ANOTHER_CLOCK:
        raise OgipError(
            f"{name}: the matrices cover {start.min()} to {stop.max()} s, the spectrum {span}: their clocks differ; "
            "give response=Response.from_ogip(..., number=)"
        )
    text = f"{name}: no matrix is valid from {span}; number {nearest + 1} is {away[nearest]:.6g} s away, and taken"
    repairs.append(Repair(text, loud=True))
    return np.eye(start.size)[nearest]


def _times(matrices: list[Matrix]) -> tuple[np.ndarray, np.ndarray]:
    """Start and stop of each matrix, NaN where there is none."""
    start = np.array([np.nan if matrix.start is None else matrix.start for matrix in matrices])
    stop = np.array([np.nan if matrix.stop is None else matrix.stop for matrix in matrices])
    return start, stop


def _covered(start: np.ndarray, stop: np.ndarray, first: float, last: float) -> np.ndarray:
    """How much of the time from `first` to `last` each matrix is valid; of a moment, 1 or 0."""
    if first == last:
        return ((start <= first) & (first < stop)).astype(np.float64)
    return np.clip(np.minimum(stop, last) - np.maximum(start, first), 0.0, None)
