"""Posterior densities of parameters, one by one and in pairs."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.ticker import MaxNLocator

from ._style import COLOURS, TOTAL, Picture, styled, unit_text

_PANEL = 1.9  # inches
_MARGINS = (1.2, 1.3, 0.3, 0.45)  # left, bottom, right, top in inches: room for three lines of label


@dataclass(frozen=True)
class Column:
    """Draws of one parameter, with the number and the interval that are quoted."""

    name: str  # source.component.parameter
    unit: str
    draws: np.ndarray
    centre: float
    low: float
    high: float


@styled
def corner(columns: Sequence[Column], *, figsize: tuple[float, float] | None) -> Picture:
    """Histograms and pairs of columns, with lines at their centres and intervals."""
    with warnings.catch_warnings():
        # It imports arviz for its own purposes, which announces its next version.
        warnings.simplefilter("ignore")
        import corner as package

    powers = [_power(column) for column in columns]
    table = np.stack([column.draws / 10.0**power for column, power in zip(columns, powers)], axis=1)
    left, bottom, right, top = _MARGINS
    width, height = figsize or (left + right + len(columns) * _PANEL, bottom + top + len(columns) * _PANEL)
    figure = Picture(figsize=(width, height))
    package.corner(
        table,
        bins=30,
        fig=figure,
        color=COLOURS[0],
        labels=[_label(column, power) for column, power in zip(columns, powers)],
        range=[_range(values) for values in table.T],
        max_n_ticks=4,
        labelpad=0.02,
        levels=tuple(1 - np.exp(-0.5 * np.array([1.0, 2.0]) ** 2)),
        plot_datapoints=False,
        smooth=0.8,
        fill_contours=True,
    )
    figure.subplots_adjust(
        left=left / width,
        bottom=bottom / height,
        right=1 - right / width,
        top=1 - top / height,
        wspace=0.06,
        hspace=0.06,
    )
    # Labels at both ends would meet those of the next panel.
    for axis in (axis for ax in figure.axes for axis in (ax.xaxis, ax.yaxis)):
        if isinstance(axis.get_major_locator(), MaxNLocator):
            axis.set_major_locator(MaxNLocator(4, prune="both"))
    _mark(figure, columns, powers)
    return figure


def _mark(figure: Picture, columns: Sequence[Column], powers: Sequence[int]) -> None:
    """Lines at the centres and, on the diagonal, at the intervals. The package's own fail for one parameter."""
    n = len(columns)
    for row, (column, power) in enumerate(zip(columns, powers)):
        centre, low, high = (value / 10.0**power for value in (column.centre, column.low, column.high))
        for ax in figure.axes[row * n : row * n + row]:
            ax.axhline(centre, color=TOTAL, linewidth=1.2)
        for ax in figure.axes[row * n + row :: n]:
            ax.axvline(centre, color=TOTAL, linewidth=1.2)
        diagonal = figure.axes[row * n + row]
        diagonal.set_title(quoted(column.centre, column.low, column.high, power), fontsize="medium")
        for edge in (low, high):
            diagonal.axvline(edge, color=COLOURS[0], linestyle="dashed", linewidth=0.9)


def _power(column: Column) -> int:
    return power_of_ten(max(abs(column.low), abs(column.high)))


def power_of_ten(largest: float) -> int:
    """The power of ten that leaves numbers with few digits on the axis."""
    exponent = int(np.floor(np.log10(largest))) if largest > 0 else 0
    return exponent if exponent < -2 or exponent > 3 else 0


def _label(column: Column, power: int) -> str:
    return name_with_unit(column.name, column.unit, power, separator="\n")


def name_with_unit(name: str, unit: str, power: int, separator: str = " ") -> str:
    """A parameter's name with the factor and the unit of its axis."""
    *path, parameter = name.split(".")
    factor = rf"$10^{{{power}}}$" if power else ""
    text = " ".join(filter(None, (factor, unit_text(unit))))
    return separator.join([*path, f"{parameter} [{text}]" if text else parameter])


def _range(values: np.ndarray) -> tuple[float, float]:
    low, high = np.quantile(values, (0.001, 0.999))
    return low - 0.05 * (high - low), high + 0.05 * (high - low)


def quoted(centre: float, low: float, high: float, power: int) -> str:
    """A number with its two errors, to two digits of the smaller one, in units of 10^power."""
    centre, low, high = (value / 10.0**power for value in (centre, low, high))
    error = min(high - centre, centre - low)
    error = error if error > 0 else max(high - low, 1e-300)
    decimals = int(np.clip(1 - np.floor(np.log10(error)), 0, 12))
    factor = rf" \times 10^{{{power}}}" if power else ""
    down, up = centre - low, high - centre
    return rf"${centre:.{decimals}f}_{{-{down:.{decimals}f}}}^{{+{up:.{decimals}f}}}{factor}$"
