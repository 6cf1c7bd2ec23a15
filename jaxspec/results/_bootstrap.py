"""Fits of simulated data: a parametric bootstrap, and the goodness of a fit."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import numpy as np

from jaxspec.problem import Problem
from jaxspec.results._bestfit import BestFit
from jaxspec.results._result import Result
from jaxspec.results._table import interval as interval_of
from jaxspec.results._table import text


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Bootstrap(Result):
    """The fits of data sets that were drawn from a best fit: how parameters and statistic would scatter."""

    best: BestFit
    samples: np.ndarray  # (n_sets, n_parameters): all parameters
    statistics: np.ndarray  # (n_sets,)
    converged: np.ndarray  # (n_sets,) bool

    @property
    def problem(self) -> Problem:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Of the best fit."""
        return self.best.problem

    @functools.cached_property
    def points(self) -> np.ndarray:
        return np.concatenate([self.best.points[:1], self.samples])

    def centre(self, outcomes: np.ndarray) -> Any:
        return outcomes[0]

    def spread(self, outcomes: np.ndarray) -> np.ndarray:
        return outcomes[1:]

    def chains(self) -> np.ndarray:
        return self.samples[None]

    @property
    def p_value(self) -> float:
        """The share of data sets that fit no better than the real ones: small where the model is wrong."""
        return exceeding(self.statistics, self.best.statistic)

    @property
    def bias(self) -> dict[str, float]:
        """How far the mean of the fits lies from what was simulated, by free and linked parameter."""
        return {name: float(self.draws(name).mean() - self.best.values[name]) for name in self.varied}

    def table(self, level: float = 0.68, interval: str = "equal-tailed") -> Any:
        """Best value, and mean, standard deviation and interval of the fits of simulated data, as a pandas table."""
        import pandas as pd

        rows = self.problem.model.parameters
        drawn = np.stack([self.draws(name) for name in self.varied], axis=1)
        low, high = interval_of(drawn, level, interval)
        return pd.DataFrame(
            {
                "value": [self.best.values[name] for name in self.varied],
                "mean": drawn.mean(axis=0),
                "sd": drawn.std(axis=0),
                "low": low,
                "high": high,
                "unit": [rows[name].unit for name in self.varied],
            },
            index=list(self.varied),
        )

    def save(self, path: Any) -> None:
        """A bootstrap is not kept in files: raises `TypeError`. Save the best fit, and draw again by the same key."""
        raise TypeError("a bootstrap cannot be saved: save its best fit; the same key draws the same data again")

    def _head(self) -> str:
        lost = int(np.sum(~self.converged))
        lines = [
            f"Fits of {len(self.statistics)} data sets drawn from the best fit",
            f"statistic {self.best.statistic:.2f}; simulated {np.mean(self.statistics):.2f} +- "
            f"{np.std(self.statistics):.2f}; p-value {self.p_value:.3g}",
        ]
        return "\n".join([*lines, *([f"! {lost} fits did not converge"] if lost else [])])

    def __repr__(self) -> str:
        return f"{self._head()}\n\n{text(self.table())}"

    def _repr_html_(self) -> str:
        import html

        return f"<p>{html.escape(self._head())}</p>{self.table().to_html()}"


def exceeding(simulated: np.ndarray, observed: float) -> float:
    """The p-value of an observed number among simulated ones; never 0: the observed one counts among them."""
    return float((1 + np.sum(simulated >= observed)) / (1 + len(simulated)))


@dataclasses.dataclass(frozen=True, eq=False)
class LikelihoodRatio:
    """Twice the logarithm of the ratio of two models' likelihoods, for the data and for data of the simpler model."""

    observed: float
    simulated: np.ndarray  # (n_sets,)

    @property
    def p_value(self) -> float:
        """How often data of the simpler model would ask for the other one as much."""
        return exceeding(self.simulated, self.observed)

    def __repr__(self) -> str:
        return (
            f"2 ln ratio {self.observed:.3f}; {len(self.simulated)} data sets of the simpler model give "
            f"{np.mean(self.simulated):.3f} +- {np.std(self.simulated):.3f}; p-value {self.p_value:.3g}"
        )


@dataclasses.dataclass(frozen=True, eq=False)
class Coverage:
    """How often intervals hold the truth in simulated data, by parameter."""

    names: tuple[str, ...]
    p_values: np.ndarray  # (n_sets, n): of the truth in each data set; uniform where intervals are right
    converged: np.ndarray  # (n_sets,) bool

    def share(self, level: float) -> dict[str, float]:
        """The share of data sets whose interval of this level holds the truth, by parameter."""
        return dict(zip(self.names, np.mean(self.p_values > 1 - level, axis=0).tolist()))

    def table(self, *levels: float) -> Any:
        """A pandas table of these shares (68 and 95 % by default), with the binomial error of a right interval."""
        import pandas as pd

        levels = levels or (0.68, 0.95)
        table = {f"{100 * level:g} %": self.share(level) for level in levels}
        errors = {f"{100 * level:g} %": np.sqrt(level * (1 - level) / len(self.p_values)) for level in levels}
        frame = pd.DataFrame(table, index=list(self.names))
        return pd.concat([frame, pd.DataFrame(errors, index=["binomial error"])])

    def __repr__(self) -> str:
        return text(self.table())
