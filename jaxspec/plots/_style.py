"""What all pictures share: the figure, colours, energy axes, units in labels, steps over bins."""

from __future__ import annotations

import functools
import io
import re
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from jaxspec import units

P = ParamSpec("P")
R = TypeVar("R")

# Okabe & Ito's colours, told apart by colour-blind readers too: of sources, and of everything expected together.
COLOURS = ("#0072B2", "#009E73", "#E69F00", "#CC79A7", "#56B4E9")
TOTAL = "#D55E00"
DASHES = ((0, (5, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)), (0, (9, 3)))
DATA, BACKGROUND, IGNORED, GUIDE = "black", "#808080", "#B5B5B5", "#555555"

_SETTINGS = {
    "xtick.direction": "in",
    "ytick.direction": "in",
    "xtick.top": True,
    "ytick.right": True,
    "legend.frameon": False,
    "legend.fontsize": "medium",
    "axes.titlesize": "medium",
    "mathtext.default": "regular",
}


class Picture(Figure):
    """A matplotlib figure of its own: it shows once, as the result of a notebook's cell, and leaves nothing open.

    Save it with `savefig`. pyplot does not know it, so it needs no backend, no `show` and no `close`.
    """

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=self.dpi)
        return buffer.getvalue()


def styled(function: Callable[P, R]) -> Callable[P, R]:
    """Decorator: draws with the settings of all pictures and leaves the user's as they were."""

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        with matplotlib.rc_context(_SETTINGS):
            return function(*args, **kwargs)

    return wrapper


def unit_text(unit: str) -> str:
    """A unit as it stands in a label: factors as the user ordered them, powers raised; empty for no unit."""
    if not unit:
        return ""
    match = re.fullmatch(r"\s*([\w\s]+?)\s*(?:/\s*(\([\w\s]+\)|\w+))?\s*", unit)
    if match is None:
        return units.unit(unit).to_string("latex_inline")
    above, below = match.group(1).split(), (match.group(2) or "").strip("()").split()
    factors = [_factor(text, "") for text in above if text != "1"] + [_factor(text, "-") for text in below]
    return "$" + r"\,".join(factors) + "$"


def _factor(text: str, sign: str) -> str:
    name, power = re.fullmatch(r"(.*?)(\d*)", text).groups()  # pyright: ignore[reportOptionalMemberAccess]
    exponent = sign + (power or ("1" if sign else ""))
    return rf"\mathrm{{{name}}}" + (f"^{{{exponent}}}" if exponent else "")


def with_unit(name: str, unit: str) -> str:
    """A label: the name with its unit in brackets."""
    return f"{name} [{unit_text(unit)}]" if unit else name


def energy_unit(low: np.ndarray, high: np.ndarray) -> tuple[str, float]:
    """The unit in which the middle of a range of energies in keV reads best, and its size in keV."""
    inside = low[low > 0]
    middle = float(np.sqrt(inside.min() * high.max())) if inside.size else float(high.max())
    for name, size, first in (("TeV", 1e9, 1e9), ("GeV", 1e6, 1e6), ("MeV", 1e3, 1e4)):
        if middle >= first:
            return name, size
    return "keV", 1.0


def energy_axis(axis: Axis, low: float, high: float) -> None:
    """Logarithmic axis with plain numbers, and enough of them where it covers less than two decades."""
    decades = np.log10(high / low)
    subs = (1.0,) if decades > 2 else (1.0, 2.0, 5.0) if decades > 0.8 else (1.0, 2.0, 3.0, 4.0, 5.0, 7.0)
    axis.set_major_locator(LogLocator(subs=subs))
    axis.set_minor_locator(LogLocator(subs=tuple(np.arange(2.0, 10.0))))
    axis.set_major_formatter(FuncFormatter(_plain))
    axis.set_minor_formatter(NullFormatter())


def _plain(value: float, position: Any) -> str:
    if 1e-3 <= value < 1e5:
        return f"{value:g}"
    exponent = int(np.floor(np.log10(value) + 1e-9))
    front = value / 10.0**exponent
    return f"$10^{{{exponent}}}$" if abs(front - 1) < 1e-6 else rf"${front:g}\times10^{{{exponent}}}$"


def drawable(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Lower edges that a logarithmic axis can show: a bin that begins at 0 begins at half its upper edge."""
    return np.where(low > 0, low, 0.5 * high)


def steps(low: np.ndarray, high: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The line over bins that has each value from edge to edge, broken where the next bin is no neighbour."""
    x = np.stack([low, high], axis=1)
    y = np.stack([values, values], axis=1)
    gap = np.zeros(len(low))
    gap[:-1] = np.where(np.isclose(low[1:], high[:-1], rtol=1e-4), 0.0, np.nan)
    breaks = np.isnan(gap)
    # A third point in each bin: not a number at a gap, elsewhere the upper edge once more.
    x = np.concatenate([x, np.where(breaks, np.nan, high)[:, None]], axis=1)
    y = np.concatenate([y, np.where(breaks, np.nan, values)[:, None]], axis=1)
    return x.ravel(), y.ravel()


def log_limits(ax: Axes, smallest: float, largest: float, margin: float = 2.0) -> None:
    """Logarithmic y axis from just below the smallest to just above the largest value."""
    ax.set_yscale("log", nonpositive="clip")
    if smallest > 0 and np.isfinite(largest):
        ax.set_ylim(smallest / margin, largest * margin)


def legend_above(figure: Figure, axes: list[Axes], last: str = "") -> None:
    """One legend for all axes, above them, where it covers no data; the entry `last` ends it."""
    entries: dict[str, Any] = {}
    for ax in axes:
        for handle, label in zip(*ax.get_legend_handles_labels()):
            entries.setdefault(label, handle)
    if last in entries:
        entries[last] = entries.pop(last)
    # About 0.085 inch a letter and 0.6 inch for the sample of the line.
    width = max(len(label) for label in entries) * 0.085 + 0.6
    columns = max(1, min(len(entries), int(figure.get_figwidth() / width)))
    figure.legend(list(entries.values()), list(entries), loc="outside upper center", ncols=columns)
