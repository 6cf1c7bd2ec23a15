"""Cumulative counts: observed against expected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes

from ._style import DATA, GUIDE, IGNORED, TOTAL, Picture, legend_above, rows_and_columns, styled


@dataclass(frozen=True)
class Sums:
    """Cumulative counts of one observation from its lowest energy on, (n_bins,), with the model's band."""

    title: str
    counts: np.ndarray
    expected: np.ndarray
    expected_low: np.ndarray
    expected_high: np.ndarray
    predicted: bool = False  # whether the band is one of counts, not of what is expected of them


@styled
def qq(panels: Sequence[Sums], *, level: float, figsize: tuple[float, float] | None) -> Picture:
    """A column for each observation: the sums, along the diagonal for a good model, and the difference."""
    rows, columns = rows_and_columns(len(panels))
    figure = Picture(figsize=figsize or (1.0 + 3.8 * columns, 0.6 + 4.9 * rows), layout="constrained")
    grid = figure.add_gridspec(2 * rows, columns, height_ratios=(5, 2) * rows)
    axes = []
    for i, panel in enumerate(panels):
        row, column = 2 * (i // columns), i % columns
        upper = figure.add_subplot(grid[row, column])
        lower = figure.add_subplot(grid[row + 1, column], sharex=upper)
        _draw(upper, lower, panel, level)
        axes.append(upper)
    figure.align_ylabels()
    legend_above(figure, axes)
    return figure


def _draw(upper: Axes, lower: Axes, panel: Sums, level: float) -> None:
    counts, expected, low, high = (
        np.append(0.0, sums) for sums in (panel.counts, panel.expected, panel.expected_low, panel.expected_high)
    )
    end = 1.03 * max(counts[-1], expected[-1], 1.0)
    upper.plot([0, end], [0, end], color=GUIDE, linewidth=1, linestyle="dashed", label="observed = expected")
    upper.plot(expected, counts, color=DATA, linewidth=1.3, label="sum over bins, lowest energy first")
    upper.set(xlim=(0, end), ylim=(0, end), title=panel.title, ylabel="Observed counts")
    upper.tick_params(labelbottom=False)
    lower.axhline(0, color=GUIDE, linewidth=1, linestyle="dashed")
    label = f"{100 * level:g} % of the {'predictions' if panel.predicted else 'model'}"
    band = {"color": TOTAL, "alpha": 0.35, "linewidth": 0, "label": label}
    if panel.predicted:
        upper.fill_between(expected, low, high, **band)
        lower.fill_between(expected, low - expected, high - expected, **band)
    else:
        upper.fill_betweenx(counts, low, high, **band)
        lower.fill_between(expected, expected - high, expected - low, **band)
        _draw_poisson(upper, lower, expected)
    lower.plot(expected, counts - expected, color=DATA, linewidth=1.3)
    lower.set(xlabel="Expected counts", ylabel="Difference")


def _draw_poisson(upper: Axes, lower: Axes, expected: np.ndarray) -> None:
    root = np.sqrt(expected)
    poisson = {"color": IGNORED, "alpha": 0.3, "linewidth": 0, "zorder": 0}
    lower.fill_between(expected, -root, root, **poisson)
    upper.fill_between(expected, expected - root, expected + root, label=r"$\pm\sqrt{\mathrm{expected}}$", **poisson)
