"""Which channels are summed into one bin: a label per channel, -1 where the channel is left out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ._response import Response

# What a method needs beside its name: the word that the error message uses, or None.
METHODS: dict[str | None, str | None] = {
    None: None,
    "file": None,
    "min_counts": "counts in a bin",
    "min_background_counts": "background counts in a bin",
    "significance": "standard deviations of the net counts in a bin",
    "constant": "channels in a bin",
    "optimal": None,
    "optimal_min_counts": "counts in a bin",
}


def from_file(grouping: np.ndarray, bad: np.ndarray) -> np.ndarray:
    """Labels of the bins that a GROUPING column describes: -1 continues a bin, anything else starts one.

    As XSPEC, a bin ends where the quality changes between good and bad, and a good channel with -1 behind a
    bad one starts a bin of its own.
    """
    starts = grouping != -1
    starts[0] = True
    starts[1:] |= bad[1:] != bad[:-1]
    return np.cumsum(starts) - 1


def relabelled(groups: np.ndarray, keep: np.ndarray) -> np.ndarray:
    """The labels of the kept channels counted from 0 without holes, -1 elsewhere."""
    result = np.full(groups.size, -1)
    kept = groups[keep]
    starts = np.zeros(kept.size, dtype=np.int64)
    starts[starts_of(kept)[1:]] = 1
    result[keep] = np.cumsum(starts)
    return result


def starts_of(groups: np.ndarray) -> np.ndarray:
    """Where each bin begins, of labels that never fall."""
    return np.concatenate([[0], np.flatnonzero(groups[1:] != groups[:-1]) + 1])


def runs(keep: np.ndarray, bad: np.ndarray) -> list[tuple[int, int]]:
    """First and last + 1 of the runs of kept neighbours of one quality: no bin crosses their ends."""
    state = np.where(keep, 1 + bad, 0)
    edges = np.flatnonzero(np.diff(state)) + 1
    first = np.concatenate([[0], edges])
    last = np.concatenate([edges, [keep.size]])
    return [(int(a), int(b)) for a, b in zip(first, last) if keep[a]]


def from_starts(starts: list[int], keep: np.ndarray) -> np.ndarray:
    """Labels from the first channel of each bin."""
    marks = np.zeros(keep.size, dtype=np.int64)
    marks[np.array(starts, dtype=np.int64)] = 1
    return relabelled(np.cumsum(marks), keep)


def constant(pieces: list[tuple[int, int]], size: int) -> list[int]:
    """Starts of bins of `size` channels; the last of a run may be shorter."""
    return [start for first, last in pieces for start in range(first, last, size)]


def minimum(pieces: list[tuple[int, int]], values: np.ndarray, threshold: float) -> list[int]:
    """Starts of the shortest bins in which `values` sums to `threshold`; a rest joins the bin before it."""
    total = np.concatenate([[0.0], np.cumsum(values)])
    starts = []
    for first, last in pieces:
        starts.append(first)
        start = first
        while True:
            # Sums of weighted counts miss a whole threshold by a rounding error.
            stop = int(np.searchsorted(total, total[start] + threshold * (1 - 1e-12)))
            if stop >= last or total[last] - total[stop] < threshold * (1 - 1e-12):
                break
            starts.append(stop)
            start = stop
    return starts


def significance(pieces: list[tuple[int, int]], net: np.ndarray, variance: np.ndarray, threshold: float) -> list[int]:
    """Starts of the shortest bins with net counts of `threshold` deviations; a rest joins the last."""
    starts = []
    for first, last in pieces:
        bins, total, square = [first], 0.0, 0.0
        for channel in range(first, last):
            total += net[channel]
            square += variance[channel]
            if total > 0 and total >= threshold * np.sqrt(square):
                bins.append(channel + 1)
                total = square = 0.0
        # The bin that was begun last never reached the threshold, unless nothing did.
        starts += bins[:-1] or bins
    return starts


def resolution(response: Response) -> np.ndarray:
    """(n_channels,) full width at half maximum of the response at each channel's energy, in channels."""
    columns = response.matrix.tocsc()
    widths = np.full(response.energy_low.size, np.nan)
    for index in range(widths.size):
        part = slice(columns.indptr[index], columns.indptr[index + 1])
        channel, values = columns.indices[part], columns.data[part]
        if channel.size:
            order = np.argsort(channel)
            profile = np.zeros(channel[order[-1]] - channel[order[0]] + 3)
            profile[channel - channel[order[0]] + 1] = values
            widths[index] = _half_width(profile)
    seen = np.isfinite(widths)
    if not seen.any():
        return np.ones(response.channels.size)
    energy = np.sqrt(response.energy_low * response.energy_high)[seen]
    centre = (response.channel_low + response.channel_high) / 2
    return np.maximum(np.interp(centre, energy, widths[seen]), 1.0)


def _half_width(profile: np.ndarray) -> float:
    """Full width at half maximum of a profile that is 0 at both ends, interpolated between channels."""
    peak = int(np.argmax(profile))
    half = profile[peak] / 2
    below_left = np.flatnonzero(profile[:peak] < half)[-1]
    below_right = peak + np.flatnonzero(profile[peak:] < half)[0]
    left = below_left + (half - profile[below_left]) / (profile[below_left + 1] - profile[below_left])
    right = below_right - (half - profile[below_right]) / (profile[below_right - 1] - profile[below_right])
    return float(right - left)


def optimal_sizes(counts: np.ndarray, width: np.ndarray, keep: np.ndarray) -> np.ndarray:
    """(n_channels,) best bin size in channels (Kaastra & Bleeker 2016, A&A 587, A151).

    With N the counts in one width (1.314 times those within the half maximum), R the number of resolution
    elements and x = ln(N (1 + 0.2 ln R)), the bin is one width for x < 2.119 and (0.08 x + 7 + 1.8 / x) / (x
    + 5.9) of it above.
    """
    middle = np.arange(counts.size) + 0.5
    total = np.concatenate([[0.0], np.cumsum(counts)])
    edges = np.arange(counts.size + 1)
    inside = np.interp(middle + width / 2, edges, total) - np.interp(middle - width / 2, edges, total)
    elements = max(float(np.sum(1 / width[keep])), 1.0)
    x = np.log(np.maximum(1.314 * inside * (1 + 0.2 * np.log(elements)), 1e-10))
    above = np.maximum(x, 2.119)
    share = np.where(x <= 2.119, 1.0, (0.08 * above + 7.0 + 1.8 / above) / (above + 5.9))
    return np.maximum(np.floor(share * width), 1).astype(np.int64)


def optimal(pieces: list[tuple[int, int]], sizes: np.ndarray) -> list[int]:
    """Starts of bins no longer than the best size of any channel from their start on."""
    ends = np.arange(sizes.size) + sizes
    starts = []
    for first, last in pieces:
        nearest = np.minimum.accumulate(ends[first:last][::-1])[::-1]
        start = first
        while start < last:
            starts.append(start)
            start = int(nearest[start - first])
    return starts


def merged(starts: list[int], pieces: list[tuple[int, int]], counts: np.ndarray, threshold: float) -> list[int]:
    """Join whole bins until each has `threshold` counts; a rest joins the bin before it."""
    edges = np.array([*starts, counts.size])
    sums = np.add.reduceat(np.where(_inside(pieces, counts.size), counts, 0.0), edges[:-1])
    bins = [tuple(np.searchsorted(edges[:-1], piece)) for piece in pieces]
    return [starts[index] for index in minimum(bins, sums, threshold)]


def _inside(pieces: list[tuple[int, int]], size: int) -> np.ndarray:
    result = np.zeros(size, dtype=bool)
    for first, last in pieces:
        result[first:last] = True
    return result
