"""Counts of an observation, alone or with the model that is to explain them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from scipy import special

from . import _rebin
from ._style import (
    BACKGROUND,
    COLOURS,
    DASHES,
    DATA,
    IGNORED,
    TOTAL,
    Picture,
    drawable,
    energy_axis,
    energy_unit,
    legend_above,
    log_limits,
    steps,
    styled,
)

_COLUMNS = 4  # panels side by side; more begin another row


@dataclass(frozen=True)
class Curve:
    """Expected counts of one source or component: `colour` and `dash` count from 0, dash 0 is drawn through."""

    label: str
    values: np.ndarray
    colour: int
    dash: int = 0


@dataclass(frozen=True)
class Panel:
    """What is drawn of one observation; arrays are (n_bins,), energies in keV."""

    title: str
    low: np.ndarray
    high: np.ndarray
    counts: np.ndarray
    errors: np.ndarray | None  # None for Poisson counts
    exposure: float
    total: np.ndarray  # everything expected: sources and background
    total_low: np.ndarray
    total_high: np.ndarray
    curves: tuple[Curve, ...]
    background: np.ndarray | None
    residuals: np.ndarray  # in sigma

    def by_energy(self) -> Panel:
        """The same with its bins in the order of energy, which channels of gratings are not."""
        order = np.argsort(self.low, kind="stable")
        arrays = {name: value[order] for name, value in vars(self).items() if isinstance(value, np.ndarray)}
        curves = tuple(replace(curve, values=curve.values[order]) for curve in self.curves)
        return replace(self, **arrays, curves=curves)


@dataclass(frozen=True)
class Channels:
    """What is drawn of an observation without model; arrays are (n_channels,), energies in keV."""

    title: str
    low: np.ndarray
    high: np.ndarray
    counts: np.ndarray
    errors: np.ndarray | None  # None for Poisson counts
    background: np.ndarray | None  # scaled to the source region
    background_variance: np.ndarray | None
    groups: np.ndarray  # the bin of each channel that is used, -1 for an ignored one
    exposure: float


def poisson_interval(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The central 68 % confidence interval of Poisson expectations (Garwood 1936); it begins at 0 for no counts."""
    tail = special.ndtr(-1.0)
    low = np.where(counts > 0, special.gammaincinv(np.maximum(counts, 1e-10), tail), 0.0)
    return low, special.gammaincinv(counts + 1, 1 - tail)


def _interval(counts: np.ndarray, errors: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    return poisson_interval(counts) if errors is None else (counts - errors, counts + errors)


@styled
def fitted(
    panels: Sequence[Panel], *, level: float, rate: bool, figsize: tuple[float, float] | None
) -> Picture:
    """A column for each observation: counts and model above, residuals in sigma below."""
    columns = min(len(panels), _COLUMNS)
    rows = math.ceil(len(panels) / columns)
    width = 7.0 if columns == 1 else 2.0 + 3.8 * columns
    figure = Picture(figsize=figsize or (width, 0.5 + 5.0 * rows), layout="constrained")
    grid = figure.add_gridspec(rows, columns)
    axes = []
    for i, panel in enumerate(panels):
        inner = grid[i // columns, i % columns].subgridspec(2, 1, height_ratios=(3, 1), hspace=0.0)
        upper = figure.add_subplot(inner[0])
        lower = figure.add_subplot(inner[1], sharex=upper)
        _draw_panel(upper, lower, panel.by_energy(), level, rate)
        axes += [upper]
    # Sources that only later panels show would come behind the background.
    legend_above(figure, axes, last="background")
    return figure


def _draw_panel(upper: Axes, lower: Axes, panel: Panel, level: float, rate: bool) -> None:
    unit, size = energy_unit(panel.low, panel.high)
    low, high = drawable(panel.low, panel.high) / size, panel.high / size
    scale = 1 / ((panel.high - panel.low) / size * (panel.exposure if rate else 1.0))
    _draw_points(upper, low, high, scale, panel.counts, panel.errors, DATA, "counts")
    band = [steps(low, high, scale * edge)[1] for edge in (panel.total_low, panel.total_high)]
    x = steps(low, high, scale)[0]
    upper.plot(x, steps(low, high, scale * panel.total)[1], color=TOTAL, linewidth=1.5, label="model")
    label = f"{100 * level:g} % of the model"
    upper.fill_between(x, *band, color=TOTAL, alpha=0.35, linewidth=0, label=label)
    for curve in panel.curves:
        y = steps(low, high, scale * curve.values)[1]
        style = "solid" if curve.dash == 0 else DASHES[(curve.dash - 1) % len(DASHES)]
        colour = COLOURS[curve.colour % len(COLOURS)]
        upper.plot(x, y, color=colour, linestyle=style, linewidth=1.5, label=curve.label)
    if panel.background is not None:
        y = steps(low, high, scale * panel.background)[1]
        upper.plot(x, y, color=BACKGROUND, linewidth=1.1, linestyle=(0, (3, 1)), label="background")
    upper.set_title(panel.title)
    _count_axes(upper, unit, rate, low, high)
    upper.tick_params(labelbottom=False)
    upper.set_xlabel("")
    _limit_counts(upper, scale, panel.counts, _interval(panel.counts, panel.errors)[1], panel.total_high)
    _draw_residuals(lower, low, high, panel.residuals, unit)


def _draw_residuals(ax: Axes, low: np.ndarray, high: np.ndarray, residuals: np.ndarray, unit: str) -> None:
    centre = np.sqrt(low * high)
    ax.axhline(0, color=TOTAL, linewidth=1.2)
    ax.errorbar(
        centre, residuals, 1.0, color=DATA, fmt="o", markersize=2.5, elinewidth=0.5, label="residuals"
    )
    reach = max(3.5, 1.15 * (np.max(np.abs(residuals)) + 1))
    ax.set_ylim(-reach, reach)
    ax.yaxis.set_major_locator(MaxNLocator(5, integer=True, symmetric=True))
    ax.set_ylabel(r"Residual [$\sigma$]")
    ax.set_xlabel(f"Channel energy [{unit}]")


def _draw_points(
    ax: Axes,
    low: np.ndarray,
    high: np.ndarray,
    scale: np.ndarray,
    counts: np.ndarray,
    errors: np.ndarray | None,
    colour: str,
    label: str,
) -> None:
    down, up = _interval(counts, errors)
    centre = np.sqrt(low * high)
    ax.errorbar(
        centre,
        scale * counts,
        yerr=scale * np.stack([counts - down, up - counts]),
        xerr=np.stack([centre - low, high - centre]),
        fmt="none",
        ecolor=colour,
        elinewidth=0.8,
        label=label,
        zorder=3,
    )


def _count_axes(ax: Axes, unit: str, rate: bool, low: np.ndarray, high: np.ndarray) -> None:
    ax.set_xscale("log")
    energy_axis(ax.xaxis, low.min(), high.max())
    room = (high.max() / low.min()) ** 0.02
    ax.set_xlim(low.min() / room, high.max() * room)
    ax.set_xlabel(f"Channel energy [{unit}]")
    ax.set_ylabel(
        rf"Counts [$\mathrm{{s}}^{{-1}}\,\mathrm{{{unit}}}^{{-1}}$]" if rate else f"Counts per {unit}"
    )


def _limit_counts(ax: Axes, scale: np.ndarray, counts: np.ndarray, up: np.ndarray, model: np.ndarray) -> None:
    """Limits of y by data and total model: a component that dies out runs off the picture."""
    positive = np.concatenate([(scale * counts)[counts > 0], (scale * model)[model > 0]])
    largest = np.max(scale * np.maximum(up, model))
    if positive.size:
        log_limits(ax, max(positive.min(), 1e-9 * largest), largest)


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
    unit, size = energy_unit(data.low, data.high)
    used = data.groups >= 0
    everything = []
    for chosen, colour, name in ((~used, IGNORED, "ignored"), (used, DATA, "counts")):
        if chosen.any():
            everything.append(
                _draw_channels(ax, data, chosen, (min_counts, min_significance), rate, size, colour, name)
            )
    low, high = drawable(data.low, data.high) / size, data.high / size
    scale, counts, up, background = (np.concatenate(arrays) for arrays in zip(*everything))
    _count_axes(ax, unit, rate, low, high)
    _limit_counts(ax, scale, counts, up, background)
    ax.set_title(data.title)
    legend_above(figure, [ax])
    return figure


def _draw_channels(
    ax: Axes,
    data: Channels,
    chosen: np.ndarray,
    thresholds: tuple[float | None, float | None],
    rate: bool,
    size: float,
    colour: str,
    name: str,
) -> tuple[np.ndarray, ...]:
    """Draws used or ignored channels; returns scale, counts, their upper bounds and background of what it drew."""
    # Bins of the selection first, then bins for display made of them.
    channels = np.flatnonzero(chosen)
    groups = data.groups[channels]
    bins = np.where(groups >= 0, groups, np.arange(len(channels)))
    run = np.cumsum(np.diff(channels, prepend=channels[0]) > 1)

    def to_bins(values: np.ndarray) -> np.ndarray:
        return _rebin.summed(bins, values[channels])

    zeros = np.zeros_like(data.counts)
    background = zeros if data.background is None else data.background
    behind = zeros if data.background_variance is None else data.background_variance
    variance = (data.counts if data.errors is None else data.errors**2) + behind
    firsts = np.flatnonzero(np.diff(bins, prepend=-1))
    labels = _rebin.joined(
        run[firsts], to_bins(data.counts), to_bins(data.counts - background), to_bins(variance), *thresholds
    )
    low, high = _rebin.edges(labels, *_rebin.edges(bins, data.low[channels], data.high[channels]))
    counts, background = (_rebin.summed(labels, to_bins(values)) for values in (data.counts, background))
    errors = None if data.errors is None else np.sqrt(_rebin.summed(labels, to_bins(data.errors**2)))
    scale = size / ((high - low) * (data.exposure if rate else 1.0))
    low, high = drawable(low, high) / size, high / size
    if data.background is not None:
        light = name == "ignored"
        x, y = steps(low, high, scale * background)
        ax.plot(
            x,
            y,
            color=COLOURS[2],
            alpha=0.35 if light else 1.0,
            linewidth=1.2,
            label=None if light else "background, scaled",
        )
    ax.plot(*steps(low, high, scale * counts), color=colour, linewidth=0.9)
    _draw_points(ax, low, high, scale, counts, errors, colour, name)
    return scale, counts, _interval(counts, errors)[1], background
