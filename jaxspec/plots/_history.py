"""Parameters and fluxes of spectra against time, and against one another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ._style import DATA, IGNORED, TOTAL, Picture, styled


@dataclass(frozen=True)
class Column:
    """A quantity of each spectrum with its error (NaN where it has none), (n_spectra,)."""

    label: str
    values: np.ndarray
    errors: np.ndarray


@styled
def history(
    start: np.ndarray, stop: np.ndarray, columns: Sequence[Column], *, figsize: tuple[float, float] | None
) -> Picture:
    """A panel for each column, one below the other, over time in s since the first start."""
    figure = Picture(figsize=figsize or (7.0, 0.8 + 1.7 * len(columns)), layout="constrained")
    axes = figure.subplots(len(columns), 1, sharex=True, squeeze=False)[:, 0]
    zero = np.nanmin(start)
    middle, half = 0.5 * (start + stop) - zero, 0.5 * (stop - start)
    for ax, column in zip(axes, columns):
        _points(ax, middle, column.values, half, column.errors)
        ax.set_ylabel(column.label.replace(" [", "\n["))
    axes[-1].set_xlabel(f"Time since {zero:.3f} s (s)")
    figure.align_ylabels()
    return figure


@styled
def pair(x: Column, y: Column, *, figsize: tuple[float, float] | None) -> Picture:
    """One column against another."""
    figure = Picture(figsize=figsize or (5.6, 4.6), layout="constrained")
    ax = figure.add_subplot()
    _points(ax, x.values, y.values, x.errors, y.errors)
    known = np.isfinite(x.errors)
    if known.any() and _spans_decades(x.values[known]):
        ax.set_xscale("log")
        # What the data do not constrain may lie anywhere.
        ax.set_xlim(x.values[known].min() / 2, x.values[known].max() * 2)
    ax.set(xlabel=x.label, ylabel=y.label)
    return figure


def _points(ax, x: np.ndarray, y: np.ndarray, x_errors: np.ndarray, y_errors: np.ndarray) -> None:
    """Points with errors; those without one are open."""
    known = np.isfinite(y_errors) & np.isfinite(x_errors)
    style = {"linestyle": "none", "color": DATA, "markersize": 3.5, "elinewidth": 0.8}
    for mask, face in ((known, DATA), (~known & np.isfinite(y) & np.isfinite(x), "none")):
        errors = {"xerr": np.nan_to_num(x_errors[mask]), "yerr": np.nan_to_num(y_errors[mask])}
        ax.errorbar(x[mask], y[mask], **errors, marker="o", markerfacecolor=face, **style)
    if _spans_decades(y[known] if known.any() else y):
        ax.set_yscale("log")
        # Bars that reach zero must not stretch the axis.
        good = y[known] if known.any() else y[np.isfinite(y)]
        ax.set_ylim(good.min() / 3, good.max() * 3)
    elif known.any():
        low, high = np.quantile((y - y_errors)[known], 0.02), np.quantile((y + y_errors)[known], 0.98)
        margin = 0.15 * (high - low)
        ax.set_ylim(low - margin, high + margin)


def _spans_decades(values: np.ndarray) -> bool:
    good = values[np.isfinite(values)]
    return bool(len(good) and np.all(good > 0) and good.max() > 10 * good.min())


@styled
def population(
    values: np.ndarray,
    mean: np.ndarray,
    width: np.ndarray,
    fraction: np.ndarray,
    *,
    label: str,
    log: bool,
    figsize: tuple[float, float] | None,
) -> Picture:
    """A histogram of members' values, and sums of normal distributions on top.

    Of each, `mean`, `width` and `fraction`, (n_classes, n_draws).
    """
    figure = Picture(figsize=figsize or (5.6, 4.2), layout="constrained")
    ax = figure.add_subplot()
    x = np.log(values) if log else values
    low, high = (
        min(x.min(), *np.median(mean - 3.2 * width, axis=1)),
        max(x.max(), *np.median(mean + 3.2 * width, axis=1)),
    )
    grid = np.linspace(low, high, 200)
    thinned = slice(None, None, max(1, mean.shape[1] // 2000))
    mean, width, fraction = (array[:, thinned, None] for array in (mean, width, fraction))
    parts = fraction * np.exp(-0.5 * ((grid - mean) / width) ** 2) / (np.sqrt(2 * np.pi) * width)
    density = parts.sum(axis=0)
    bins = np.linspace(low, high, int(np.clip(2 * np.sqrt(len(x)), 8, 60)) + 1)
    scale = len(x) * (bins[1] - bins[0])
    draw = np.exp if log else np.asarray
    ax.hist(draw(x), draw(bins).tolist(), color=IGNORED, alpha=0.45, label="members")
    band = scale * np.quantile(density, [0.16, 0.5, 0.84], axis=0)
    ax.fill_between(draw(grid), band[0], band[2], color=TOTAL, alpha=0.35, linewidth=0, label="population, 68 %")
    ax.plot(draw(grid), band[1], color=TOTAL)
    if log:
        ax.set_xscale("log")
    ax.set(xlabel=label, ylabel="Spectra per bin")
    ax.legend()
    return figure
