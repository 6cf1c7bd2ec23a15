"""Intervals and contours by the profile of a likelihood."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from jaxspec.results import _derived
from jaxspec.results._bestfit import BestFit
from jaxspec.results._table import text


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class ProfileErrors:
    """Intervals by the profile of the likelihood: where the statistic, all else fitted, has risen by `delta`."""

    best: BestFit  # what they are about: a better fit than the one given, where one was found
    delta: float
    names: tuple[str, ...]
    units: tuple[str, ...]
    values: np.ndarray  # (n,) at the best fit
    low: np.ndarray
    high: np.ndarray
    status: tuple[str, ...]
    troubles: tuple[str, ...]

    @property
    def table(self) -> Any:
        """A pandas table: "value", "low", "high", the errors "minus" and "plus" as MINOS gives them, "status", "unit".

        The status is "ok"; "at bound" on a side where the parameter reaches its bound before the statistic has risen by
        `delta` (the end is the bound); "unconstrained" where there is no bound either (infinite); "no crossing" where
        none was found (NaN).
        """
        import pandas as pd

        columns = {
            "value": self.values,
            "low": self.low,
            "high": self.high,
            "minus": self.low - self.values,
            "plus": self.high - self.values,
            "status": self.status,
            "unit": self.units,
        }
        return pd.DataFrame(columns, index=list(self.names))

    @property
    def derived(self) -> Any:
        """The same as the table that `derived` of best fits and posteriors gives: "value", "low bound", "hi bound"."""
        rows = dict(zip(self.names, zip(self.values, self.low, self.high)))
        return _derived.table(rows, dict(zip(self.names, self.units)))

    def _head(self) -> str:
        lines = [f"profile errors: the statistic risen by {self.delta:.4g}", *(f"! {each}" for each in self.troubles)]
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"{self._head()}\n\n{text(self.table)}"

    def _repr_html_(self) -> str:
        import html

        return f"<p>{html.escape(self._head())}</p>{self.table.to_html()}"


@dataclasses.dataclass(frozen=True, eq=False)
class Contour:
    """The rise of the statistic over its minimum on a grid of two parameters, all others fitted at each point."""

    best: BestFit
    names: tuple[str, str]
    x: np.ndarray  # (n_x,) values of the first
    y: np.ndarray  # (n_y,)
    rise: np.ndarray  # (n_y, n_x)

    def plot(self, levels: tuple[float, ...] = (2.30, 6.18, 11.83), figsize: tuple[float, float] | None = None) -> Any:
        """The lines on which the statistic has risen by each of `levels`.

        The default holds 68.3, 95.4 and 99.7 % of two parameters together. Returns a matplotlib figure.
        """
        from jaxspec.plots import _contour

        rows = self.best.problem.model.parameters
        x, y = (
            _contour.Axis(name, rows[name].unit, values, self.best.values[name])
            for name, values in zip(self.names, (self.x, self.y))
        )
        return _contour.contour(x, y, self.rise, levels=levels, figsize=figsize)
