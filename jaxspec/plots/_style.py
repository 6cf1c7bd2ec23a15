"""What all pictures share: the figure, colours, energy axes, units in labels, limits, the legend."""

from __future__ import annotations

import functools
import io
import math
import re
from collections.abc import Callable, Sequence
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

# Colours that colour-blind readers tell apart (Okabe & Ito; Tol): of sources, and of all that is expected.
COLOURS = ("#0072B2", "#009E73", "#E69F00", "#56B4E9", "#332288", "#882255")
TOTAL, BACKGROUND = "#D55E00", "#CC79A7"
DATA, IGNORED, GUIDE = "black", "#B5B5B5", "#555555"

_SETTINGS: Any = {
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
    """A matplotlib figure of its own: it shows once, as the result of a notebook's cell, and is never open.

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
    match = re.fullmatch(rf"\s*(1(?:e\d+)?|{_FACTORS})\s*(?:/\s*(?:\(({_FACTORS})\)|(\w+)))?\s*", unit)
    if match is None:
        return units.unit(unit).to_string("latex_inline")
    above, several, single = (group or "" for group in match.groups())
    factors = [_factor(text, "") for text in above.split() if text[0] != "1"]
    factors += [f"10^{{{above[2:]}}}"] if above.startswith("1e") else []
    factors += [_factor(text, "-") for text in (several or single).split()]
    return "$" + r"\,".join(factors) + "$"


# Like "cm2 s keV".
_FACTORS = r"[A-Za-z]+\d*(?:\s+[A-Za-z]+\d*)*"


def _factor(text: str, sign: str) -> str:
    name = text.rstrip("0123456789")
    exponent = sign + (text[len(name) :] or ("1" if sign else ""))
    return rf"\mathrm{{{name}}}" + (f"^{{{exponent}}}" if exponent else "")


def with_unit(name: str, unit: str) -> str:
    """A label: the name with its unit in brackets."""
    return f"{name} [{unit_text(unit)}]" if unit else name


def energy_unit(low: np.ndarray, high: np.ndarray) -> tuple[str, float]:
    """The unit in which the middle of a range of energies in keV reads best, and its size in keV."""
    inside = low[low > 0]
    middle = float(np.sqrt(inside.min() * high.max())) if inside.size else float(high.max())
    for name, size, first in (("TeV", 1e9, 1e9), ("GeV", 1e6, 1e6), ("MeV", 1e3, 1e4)):
        if middle >= 0.99 * first:
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


def rows_and_columns(n: int) -> tuple[int, int]:
    """How `n` panels are laid out: at most four side by side, in rows as equal as can be."""
    rows = math.ceil(n / 4)
    return rows, math.ceil(n / rows)


def dashes(number: int) -> Any:
    """A line style: 0 is solid, the others follow one another."""
    styles = ((5, 2), (1, 1.5), (6, 2, 1, 2), (9, 3))
    return "solid" if number == 0 else (0, styles[(number - 1) % len(styles)])


def log_limits(ax: Axes, smallest: np.ndarray, largest: np.ndarray, decades: float = 9.0) -> None:
    """Logarithmic y axis from the smallest positive to the largest number; `decades` at most."""
    ax.set_yscale("log", nonpositive="clip")
    top, positive = np.max(largest, where=np.isfinite(largest), initial=0.0), smallest[smallest > 0]
    if positive.size and top > 0:
        ax.set_ylim(max(float(positive.min()), top * 10.0**-decades) / 1.6, top * 1.6)


def legend_above(figure: Figure, axes: Sequence[Axes], first: Sequence[str] = (), last: Sequence[str] = ()) -> None:
    """One legend for all axes, above them, where it covers no data; a line and its band are one entry."""
    entries: dict[str, Any] = {}
    for ax in axes:
        own: dict[str, tuple[Any, ...]] = {}
        for handle, label in zip(*ax.get_legend_handles_labels()):
            # Bands come behind their lines.
            own[label] = (handle, *own.get(label, ()))
        entries |= {label: handles for label, handles in own.items() if label not in entries}
    order = [*first, *(label for label in entries if label not in (*first, *last)), *last]
    labels = [label for label in order if label in entries]
    handles = [entries[label] if len(entries[label]) > 1 else entries[label][0] for label in labels]
    # About 0.085 inch a letter and 0.6 inch for the sample of the line.
    width = max(map(len, labels)) * 0.085 + 0.6
    columns = max(1, min(len(labels), int(figure.get_figwidth() / width)))
    figure.legend(handles, labels, loc="outside upper center", ncols=columns)
