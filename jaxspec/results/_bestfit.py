"""The result of a fit: the maximum, its covariance, and how good it is."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxspec.density import Density
from jaxspec.problem import Problem
from jaxspec.quadrature import spread_normally
from jaxspec.results._result import Result
from jaxspec.results._table import interval as interval_of
from jaxspec.results._table import text

_N_DRAWS = 4096  # of the normal approximation: its 68 % bounds are then good to 1 % of the error


@jax.jit
def _from_unbounded(density: Density, u: jax.Array) -> jax.Array:
    return jax.vmap(lambda point: density.layout.all_values(density.space.values(point)))(u)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class BestFit(Result):
    """The maximum of a likelihood, or of a posterior density.

    Draws, bands and flux intervals are those of the normal distribution with this covariance, which is taken in the
    space without bounds (logarithms of scales), so they stay inside the bounds. They are spread evenly, not at
    random: the same fit gives the same numbers.
    """

    problem: Problem
    theta: np.ndarray  # the free parameters at the maximum, (n,)
    u: np.ndarray  # the same in the unbounded space
    covariance_u: np.ndarray
    slope: np.ndarray  # of theta in u
    statistics: np.ndarray  # the fit statistic of each observation
    converged: bool
    troubles: tuple[str, ...]  # what is wrong with the fit, in words
    starts_agreeing: int
    n_starts: int
    use_priors: bool

    @functools.cached_property
    def points(self) -> np.ndarray:
        values, vectors = np.linalg.eigh(self.covariance_u)
        offsets = spread_normally(_N_DRAWS, len(self.u))
        # Evenly spread points are correlated by some per cent, more than random ones.
        offsets = offsets - offsets.mean(axis=0)
        offsets = np.linalg.solve(np.linalg.cholesky(offsets.T @ offsets / len(offsets)), offsets.T).T
        offsets = offsets * np.sqrt(np.maximum(values, 0.0))
        u = np.concatenate([self.u[None], self.u + offsets @ vectors.T])
        return np.asarray(_from_unbounded(self.problem.density, jnp.asarray(u)))

    def centre(self, outcomes: np.ndarray) -> Any:
        return outcomes[0]

    def spread(self, outcomes: np.ndarray) -> np.ndarray:
        return outcomes[1:]

    def chains(self) -> np.ndarray:
        return self.spread(self.points)[None]

    @property
    def values(self) -> dict[str, float]:
        """The best value of every parameter, frozen and linked ones included."""
        return dict(zip(self.problem.model.parameters, map(float, self.points[0])))

    @property
    def covariance(self) -> Any:
        """The covariance of the free parameters as a pandas table."""
        import pandas as pd

        matrix = self.covariance_u * np.outer(self.slope, self.slope)
        return pd.DataFrame(matrix, index=list(self.problem.names), columns=list(self.problem.names))

    @property
    def correlations(self) -> Any:
        """The correlations of the free parameters as a pandas table."""
        covariance = self.covariance
        scale = np.sqrt(np.diag(covariance))
        return covariance / np.outer(scale, scale)

    @property
    def errors(self) -> dict[str, float]:
        """The standard deviations of the free parameters, from the covariance."""
        return dict(zip(self.problem.names, np.sqrt(np.diag(self.covariance)).tolist()))

    @property
    def statistic(self) -> float:
        """The fit statistic of all data: C, W, PG or chi-squared, 0 for a perfect fit."""
        return float(np.sum(self.statistics))

    @property
    def degrees_of_freedom(self) -> int:
        """Fitted bins minus free parameters."""
        return self.problem.degrees_of_freedom

    @property
    def log_likelihood(self) -> float:
        """The natural logarithm of the normalised likelihood."""
        return float(np.sum(self.problem.density.saturated)) - 0.5 * self.statistic

    @property
    def aic(self) -> float:
        """Akaike's criterion, 2 k - 2 ln L, k the number of free parameters."""
        return 2 * len(self.theta) - 2 * self.log_likelihood

    @property
    def bic(self) -> float:
        """The Bayesian information criterion, k ln n - 2 ln L, n the number of fitted bins."""
        return len(self.theta) * float(np.log(self.problem.n_bins)) - 2 * self.log_likelihood

    def table(self, level: float = 0.68, interval: str = "equal-tailed") -> Any:
        """Value, error and interval of each free and linked parameter, as a pandas table.

        "error" is the standard deviation; "low" and "high" bound the interval of probability `level` of the normal
        distribution in the unbounded space. Raises `ValueError` for a level or interval that is none.
        """
        import pandas as pd

        rows = self.problem.model.parameters
        names = list(rows)
        low, high = interval_of(self.spread(self.points), level, interval)
        deviation = np.std(self.spread(self.points), axis=0)
        errors = {**dict(zip(names, deviation)), **self.errors}
        index = [names.index(name) for name in self.varied]
        return pd.DataFrame(
            {
                "value": self.points[0][index],
                "error": [errors[name] for name in self.varied],
                "low": low[index],
                "high": high[index],
                "unit": [rows[name].unit for name in self.varied],
                "state": [rows[name].state for name in self.varied],
            },
            index=list(self.varied),
        )

    def _summary(self) -> list[str]:
        per_observation = ", ".join(
            f"{label} {value:.2f} ({selection.statistic}, {len(selection.counts)} bins)"
            for label, value, selection in zip(self.problem.labels, self.statistics, self.problem.selections)
        )
        state = "converged" if self.converged else "NOT CONVERGED"
        return [
            f"{'Maximum of the posterior density' if self.use_priors else 'Maximum likelihood'}: {state}, reached from "
            f"{self.starts_agreeing} of {self.n_starts} starts",
            *(f"! {trouble}" for trouble in self.troubles),
            f"statistic {self.statistic:.4f} for {self.degrees_of_freedom} degrees of freedom: {per_observation}",
            f"ln L {self.log_likelihood:.4f}, AIC {self.aic:.2f}, BIC {self.bic:.2f}",
        ]

    def __repr__(self) -> str:
        return "\n".join([*self._summary(), "", text(self.table())])

    def _repr_html_(self) -> str:
        import html

        return f"<p>{'<br>'.join(map(html.escape, self._summary()))}</p>{self.table().to_html()}"
