"""A response: its effective area, and its matrix as an image."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm

from ._style import COLOURS, Picture, energy_axis, energy_unit, log_limits, styled

_PIXELS = 400  # along each side of the image: finer matrices are averaged
_DECADES = 4  # of energy and of colour


@styled
def response(
    title: str,
    energy: tuple[np.ndarray, np.ndarray],
    channel: tuple[np.ndarray, np.ndarray],
    entries: tuple[np.ndarray, np.ndarray, np.ndarray],
    *,
    figsize: tuple[float, float] | None,
) -> Picture:
    """Effective area above, image of the matrix per unit of channel energy below.

    Args:
        energy, channel: low and high edges of photon bins and channels in keV.
        entries: the elements of the matrix that are not 0: channels and photon bins, from 0, values in cm2.
    """
    figure = Picture(figsize=figsize or (6.4, 6.8), layout="constrained")
    grid = figure.add_gridspec(2, 1, height_ratios=(1, 2.4))
    upper = figure.add_subplot(grid[0])
    lower = figure.add_subplot(grid[1], sharex=upper)
    unit, size = energy_unit(*energy)
    channels, bins, values = entries
    area = np.bincount(bins, weights=values, minlength=len(energy[0]))
    low, high = np.where(energy[0] > 0, energy[0], 0.5 * energy[1]) / size, energy[1] / size
    seen = (area > 0) & (low > high.max() * 10.0**-_DECADES)
    upper.stairs(area, np.append(low, high[-1]), color=COLOURS[0], linewidth=1.5, baseline=None)
    log_limits(upper, area[seen], area, _DECADES)
    upper.set(xscale="log", title=title, ylabel=r"Effective area [$\mathrm{cm}^2$]")
    upper.tick_params(labelbottom=False)
    mesh = _draw_matrix(lower, energy, channel, entries, size)
    lower.set(xlabel=f"Photon energy [{unit}]", ylabel=f"Channel energy [{unit}]")
    lower.set_xlim(low[seen].min(), high[seen].max())
    lower.set_ylim(_visible(channel, channels, size))
    for axis in (lower.xaxis, lower.yaxis):
        energy_axis(axis, *axis.get_view_interval())
    figure.colorbar(mesh, ax=lower, label=rf"$\mathrm{{cm^{{2}}\,{unit}^{{-1}}}}$")
    figure.align_ylabels()
    return figure


def _visible(channel: tuple[np.ndarray, np.ndarray], channels: np.ndarray, size: float) -> tuple[float, float]:
    """The range of channel energies that see anything."""
    low, high = channel[0][channels].min() / size, channel[1][channels].max() / size
    return max(low, high * 10.0**-_DECADES, channel[1].min() / size / 2), high


def _draw_matrix(ax: Axes, energy: Any, channel: Any, entries: Any, size: float) -> Any:
    """An image of the mean over blocks of channels and photon bins, per unit of channel energy."""
    order = np.argsort(channel[0], kind="stable")
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    low, high = (edges[order] / size for edges in channel)
    rows, columns = _blocks(len(low)), _blocks(len(energy[0]))
    image = np.zeros((rows[-1] + 1, columns[-1] + 1))
    channels, bins, values = entries
    np.add.at(image, (rows[place[channels]], columns[bins]), values)
    image /= np.bincount(rows, weights=high - low)[:, None] * np.bincount(columns)
    x = np.append(energy[0][np.flatnonzero(np.diff(columns, prepend=-1))], energy[1][-1]) / size
    y = np.append(low[np.flatnonzero(np.diff(rows, prepend=-1))], high[-1])
    ax.set_yscale("log")
    faintest = image.max() * 10.0**-_DECADES
    norm = LogNorm(faintest, image.max())
    # Pictures saved as PDF would hold each pixel as a path of its own.
    return ax.pcolormesh(x, y, np.ma.masked_less_equal(image, faintest), norm=norm, rasterized=True)


def _blocks(n: int) -> np.ndarray:
    return np.arange(n) // -(-n // _PIXELS)
