"""Lines of equal rise of the statistic over two parameters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.interpolate import CubicSpline, RectBivariateSpline

from ._corner import name_with_unit, power_of_ten
from ._style import COLOURS, TOTAL, Picture, dashes, styled

_FINER = 8  # points drawn per point of the grid: straight pieces would cut the ends of a narrow contour
_TOP = 1e3  # of the rise that is drawn


@dataclass(frozen=True)
class Axis:
    """One of the two parameters."""

    name: str  # source.component.parameter
    unit: str
    values: np.ndarray
    best: float


@styled
def contour(
    x: Axis, y: Axis, rise: np.ndarray, *, levels: Sequence[float], figsize: tuple[float, float] | None
) -> Picture:
    """A line for each level, and a cross at the best values; `rise` has shape (n_y, n_x)."""
    figure = Picture(figsize=figsize or (5.0, 4.2), layout="constrained")
    ax = figure.add_subplot()
    powers = [power_of_ten(np.abs(axis.values).max()) for axis in (x, y)]
    (across, columns), (up, rows) = (_finer(axis.values / 10.0**power) for axis, power in zip((x, y), powers))
    smooth = RectBivariateSpline(np.arange(len(y.values)), np.arange(len(x.values)), np.minimum(rise, _TOP))
    rise = smooth(rows, columns)
    inside = rise <= max(levels)
    for k, level in enumerate(sorted(levels)):
        shape = ax.contour(across, up, rise, levels=[level], colors=COLOURS[0], linewidths=1.5)
        shape.set_linestyle(dashes(k))
        ax.plot([], [], color=COLOURS[0], linestyle=dashes(k), label=f"+{level:g}")
    ax.plot(x.best / 10.0 ** powers[0], y.best / 10.0 ** powers[1], "+", color=TOTAL, markersize=10, label="best fit")
    ax.set_xlim(_around(across[inside.any(axis=0)], across))
    ax.set_ylim(_around(up[inside.any(axis=1)], up))
    ax.set(xlabel=name_with_unit(x.name, x.unit, powers[0]), ylabel=name_with_unit(y.name, y.unit, powers[1]))
    # The corner that the contours leave free.
    cells = np.argwhere(inside).T
    rising = cells.shape[1] > 1 and np.cov(cells)[0, 1] > 0
    ax.legend(title="rise of the statistic", loc="lower right" if rising else "upper right")
    return figure


def _around(shown: np.ndarray, grid: np.ndarray) -> tuple[float, float]:
    """The range of what is shown with a margin, no further than the grid."""
    if len(shown) < 3:  # a range far wider than the contours
        return grid.min(), grid.max()
    margin = 0.12 * (shown.max() - shown.min())
    return max(grid.min(), shown.min() - margin), min(grid.max(), shown.max() + margin)


def _finer(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """More values between those of a grid, and their places among them."""
    places = np.linspace(0, len(values) - 1, _FINER * (len(values) - 1) + 1)
    return CubicSpline(np.arange(len(values)), values)(places), places
