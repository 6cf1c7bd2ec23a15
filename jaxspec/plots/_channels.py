"""Counts and background of one observation, without a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes

from . import _rebin
from ._bins import DrawnBins, interval, visible
from ._style import BACKGROUND, DATA, IGNORED, Picture, energy_unit, legend_above, log_limits, styled

_DECADES_BELOW = 2  # how far below the faintest bin with counts the background is followed, but up to its peak always
_STANDS_OUT = 2.0  # deviations for which ignored channels are joined


@dataclass(frozen=True)
class Channels:
    """What is drawn of an observation; arrays are (n_channels,), energies in keV."""

    title: str
    low: np.ndarray
    high: np.ndarray
    counts: np.ndarray
    errors: np.ndarray | None  # None for Poisson counts
    background: np.ndarray  # scaled to the source region, zeros without one
    background_variance: np.ndarray
    groups: np.ndarray  # the bin of each channel that is used, -1 for an ignored one
    exposure: float


class _Summed(NamedTuple):
    """Channels joined to the bins of the selection, or these to bins for display."""

    low: np.ndarray
    high: np.ndarray
    counts: np.ndarray
    variance: np.ndarray
    background: np.ndarray
    background_variance: np.ndarray

    def joined(self, labels: np.ndarray) -> _Summed:
        edges = _rebin.edges(labels, self.low, self.high)
        return _Summed(*edges, *(_rebin.summed(labels, values) for values in self[2:]))

    def of(self, chosen: np.ndarray) -> _Summed:
        return _Summed(*(values[chosen] for values in self))


@styled
def observed(
    data: Channels,
    *,
    rate: bool,
    min_counts: float | None,
    min_significance: float | None,
    figsize: tuple[float, float] | None,
) -> Picture:
    """Counts and background of one observation, what is ignored in light grey."""
    figure = Picture(figsize=figsize or (7.0, 4.8), layout="constrained")
    ax = figure.add_subplot()
    used = _bins_for_display(data, data.groups >= 0, min_counts, min_significance)
    # Single counts between empty channels would lie far above the spectrum that they belong to.
    ignored = _bins_for_display(data, data.groups < 0, min_counts, min_significance or _STANDS_OUT)
    # Ignored channels without counts, often decades of them, would only squeeze the others.
    ignored = ignored.of(ignored.counts > 0)
    both = _Summed(*(np.concatenate(pair) for pair in zip(ignored, used)))
    unit, size = energy_unit(both.low, both.high)
    time = data.exposure if rate else 1.0
    poisson = data.errors is None
    for part, colour, label, alpha in ((ignored, IGNORED, "ignored", 0.35), (used, DATA, "counts", 1.0)):
        if part.counts.size:
            bins = DrawnBins.of(part.low, part.high, size, time)
            if part.background.any():
                name = "background, scaled" if part is used else None
                bins.line(ax, part.background, color=BACKGROUND, alpha=alpha, linewidth=1.2, label=name)
            bins.line(ax, part.counts, color=colour, linewidth=0.9)
            errors = None if poisson else np.sqrt(part.variance)
            bins.points(ax, part.counts, errors, colour, label, limits=part is used)
    _finish(ax, both, DrawnBins.of(both.low, both.high, size, time), unit, rate, poisson)
    ax.set_title(data.title)
    legend_above(figure, [ax], first=("counts",), last=("ignored",))
    return figure


def _finish(ax: Axes, both: _Summed, bins: DrawnBins, unit: str, rate: bool, poisson: bool) -> None:
    bins.prepare(ax, unit, rate)
    errors = None if poisson else np.sqrt(both.variance)
    heights, behind = bins.scale * visible(both.counts, errors), bins.scale * both.background
    floor = np.min(heights, where=heights > 0, initial=np.inf) * 10.0**-_DECADES_BELOW
    floor = min(floor, 0.3 * np.max(behind, initial=0.0))
    smallest = np.concatenate([heights, np.where(behind > 0, np.maximum(behind, floor), 0.0)])
    largest = bins.scale * interval(both.counts, errors)[1]
    log_limits(ax, smallest, np.maximum(largest, behind))


def _bins_for_display(
    data: Channels, chosen: np.ndarray, min_counts: float | None, min_significance: float | None
) -> _Summed:
    """Used channels in the bins of the selection, ignored ones each for itself; then joined for display."""
    channels = np.flatnonzero(chosen)
    if not channels.size:
        return _Summed(*(np.zeros(0) for _ in _Summed._fields))
    groups = data.groups[channels]
    own = np.where(groups >= 0, groups, np.arange(len(channels)))
    variance = data.counts if data.errors is None else data.errors**2
    arrays = (data.low, data.high, data.counts, variance, data.background, data.background_variance)
    single = _Summed(*(values[channels] for values in arrays)).joined(own)
    run = np.cumsum(np.diff(channels, prepend=channels[0]) > 1)[np.flatnonzero(np.diff(own, prepend=-1))]
    net, uncertainty = single.counts - single.background, single.variance + single.background_variance
    labels = _rebin.display_bins(
        run, single.low, single.high, single.counts, net, uncertainty, min_counts, min_significance
    )
    return single.joined(labels)
