"""Counts of observations with the model that is to explain them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from ._bins import DrawnBins, interval, visible
from ._style import (
    BACKGROUND,
    COLOURS,
    DATA,
    TOTAL,
    Picture,
    dashes,
    energy_unit,
    legend_above,
    log_limits,
    rows_and_columns,
    styled,
)


@dataclass(frozen=True)
class Curve:
    """Expected counts of a source or component: `colour` and `dash` count from 0, dash 0 is a solid line."""

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
    label: str = "total"

    def by_energy(self) -> Panel:
        """The same with its bins in the order of energy, which channels of gratings are not."""
        order = np.argsort(self.low, kind="stable")
        arrays = {name: value[order] for name, value in vars(self).items() if isinstance(value, np.ndarray)}
        curves = tuple(replace(curve, values=curve.values[order]) for curve in self.curves)
        return replace(self, **arrays, curves=curves)


@styled
def fitted(panels: Sequence[Panel], *, level: float, rate: bool, figsize: tuple[float, float] | None) -> Picture:
    """A column for each observation: counts and model above, residuals in sigma below."""
    rows, columns = rows_and_columns(len(panels))
    width = 7.0 if columns == 1 else 2.0 + 3.8 * columns
    figure = Picture(figsize=figsize or (width, 0.5 + 5.0 * rows), layout="constrained")
    grid = figure.add_gridspec(2 * rows, columns, height_ratios=(3, 1) * rows)
    axes = []
    for i, panel in enumerate(panels):
        row, column = 2 * (i // columns), i % columns
        upper = figure.add_subplot(grid[row, column])
        lower = figure.add_subplot(grid[row + 1, column], sharex=upper)
        unit, size = energy_unit(panel.low, panel.high)
        bins = DrawnBins.of(panel.low, panel.high, size, panel.exposure if rate else 1.0)
        _draw_panel(upper, bins, panel, level)
        bins.prepare(upper, unit, rate)
        _draw_residuals(lower, bins, panel.residuals)
        lower.set_xlabel(upper.get_xlabel())
        upper.set_xlabel("")
        upper.tick_params(labelbottom=False)
        axes.append(upper)
    figure.align_ylabels()
    legend_above(figure, axes, first=("counts",), last=("background",))
    return figure


def _draw_panel(ax: Axes, bins: DrawnBins, panel: Panel, level: float) -> None:
    bins.points(ax, panel.counts, panel.errors, DATA, "counts")
    label = f"{panel.label}, {100 * level:g} %"
    bins.band(ax, panel.total_low, panel.total_high, color=TOTAL, alpha=0.35, label=label)
    bins.line(ax, panel.total, color=TOTAL, linewidth=1.5, label=label)
    for curve in panel.curves:
        colour = COLOURS[curve.colour % len(COLOURS)]
        bins.line(ax, curve.values, color=colour, linestyle=dashes(curve.dash), linewidth=1.5, label=curve.label)
    if panel.background is not None:
        bins.line(ax, panel.background, color=BACKGROUND, linewidth=1.1, linestyle=(0, (3, 1)), label="background")
    ax.set_title(panel.title)
    # A component that dies out runs off the picture.
    smallest = [bins.scale * values for values in (visible(panel.counts, panel.errors), panel.total)]
    largest = bins.scale * np.maximum(interval(panel.counts, panel.errors)[1], panel.total_high)
    log_limits(ax, np.concatenate(smallest), largest)


def _draw_residuals(ax: Axes, bins: DrawnBins, residuals: np.ndarray) -> None:
    ax.axhline(0, color=TOTAL, linewidth=1.2)
    centre = np.sqrt(bins.low * bins.high)
    ax.errorbar(centre, residuals, 1.0, color=DATA, fmt="o", markersize=2.5, elinewidth=0.5)
    reach = max(3.5, 1.1 * (np.max(np.abs(residuals)) + 1))
    ax.set_ylim(-reach, reach)
    ax.yaxis.set_major_locator(MaxNLocator(5, integer=True, symmetric=True))
    ax.set_ylabel(r"Residual [$\sigma$]")
