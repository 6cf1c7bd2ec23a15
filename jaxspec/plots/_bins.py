"""Bins of counts as they stand on the axes: steps, bands, points with error bars."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from scipy import special

from ._style import energy_axis

_VISIBLE = 0.01  # of the length of the axis: what an empty bin must cover to be drawn as an upper limit


@dataclass(frozen=True)
class DrawnBins:
    """Bins in the unit of the energy axis, and what turns counts into heights."""

    low: np.ndarray
    high: np.ndarray
    scale: np.ndarray

    @property
    def _length(self) -> float:
        return float(np.log(self.high.max() / self.low.min()))

    @classmethod
    def of(cls, low: np.ndarray, high: np.ndarray, size: float, time: float) -> DrawnBins:
        """Bins between energies in keV on an axis whose unit is `size` keV, for counts divided by `time`."""
        scale = size / ((high - low) * time)
        # A logarithmic axis has no 0: a bin that begins there begins at half its upper edge.
        return cls(np.where(low > 0, low, 0.5 * high) / size, high / size, scale)

    def steps(self, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The line from edge to edge, broken where there is nothing and where no neighbour follows."""
        heights = np.where(counts > 0, self.scale * counts, np.nan)
        x = np.stack([self.low, self.high, self.high], axis=1)
        y = np.stack([heights, heights, heights], axis=1)
        apart = np.ones(len(heights), bool)
        apart[:-1] = ~np.isclose(self.low[1:], self.high[:-1], rtol=1e-4)
        y[apart, 2] = np.nan
        return x.ravel(), y.ravel()

    def line(self, ax: Axes, counts: np.ndarray, **style: Any) -> None:
        """Draws steps."""
        ax.plot(*self.steps(counts), **style)

    def band(self, ax: Axes, low: np.ndarray, high: np.ndarray, **style: Any) -> None:
        """Draws the area between two lines of steps, down to the axis where the lower one is at 0."""
        low = np.where(low > 0, low, 1e-30 * high)
        ax.fill_between(self.steps(low)[0], self.steps(low)[1], self.steps(high)[1], linewidth=0, **style)

    def points(
        self,
        ax: Axes,
        counts: np.ndarray,
        errors: np.ndarray | None,
        colour: str,
        label: str,
        limits: bool = True,
    ) -> None:
        """Draws crosses of width and error; with `limits` empty bins of Poisson counts as upper limits."""
        down, up = interval(counts, errors)
        centre = np.sqrt(self.low * self.high)
        widths = np.stack([centre - self.low, self.high - centre])
        heights, errorbars = self.scale * counts, self.scale * np.stack([counts - down, up - counts])
        style: dict[str, Any] = {"fmt": "none", "color": colour, "elinewidth": 0.8, "zorder": 3}
        full = (counts > 0) | (errors is not None)
        at = np.flatnonzero(full)
        ax.errorbar(centre[at], heights[at], errorbars[:, at], widths[:, at], label=label, **style)
        # Narrow empty bins, of which there may be hundreds, would blacken the picture.
        at = np.flatnonzero(~full & (np.log(self.high / self.low) > _VISIBLE * self._length))
        if limits and at.size:
            top = (self.scale * up)[at]
            ax.errorbar(centre[at], top, 0.3 * top, widths[:, at], uplims=True, capsize=1.5, **style)

    def prepare(self, ax: Axes, unit: str, rate: bool) -> None:
        """Logarithmic energies, limits and labels."""
        ax.set_xscale("log")
        low, high, room = self.low.min(), self.high.max(), np.exp(0.02 * self._length)
        energy_axis(ax.xaxis, low, high)
        ax.set_xlim(low / room, high * room)
        ax.set_xlabel(f"Channel energy [{unit}]")
        per_time = rf"Counts [$\mathrm{{s}}^{{-1}}\,\mathrm{{{unit}}}^{{-1}}$]"
        ax.set_ylabel(per_time if rate else f"Counts per {unit}")


def visible(counts: np.ndarray, errors: np.ndarray | None) -> np.ndarray:
    """The counts that the limits of an axis heed: 0 where counts with errors do not stand out of these."""
    return counts if errors is None else np.where(counts > errors, counts, 0.0)


def interval(counts: np.ndarray, errors: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Ends of the error bars: one standard deviation, or without `errors` the central 68 % Poisson interval.

    **Reference:** Garwood 1936, Biometrika 28, 437.
    """
    if errors is not None:
        return counts - errors, counts + errors
    tail = special.ndtr(-1.0)
    low = np.where(counts > 0, special.gammaincinv(np.maximum(counts, 1e-10), tail), 0.0)
    return low, special.gammaincinv(counts + 1, 1 - tail)
