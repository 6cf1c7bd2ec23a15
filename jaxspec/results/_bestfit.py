"""The result of a fit: the maximum, its covariance, and how good it is."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxspec.data._bias import background_bias
from jaxspec.density import Density
from jaxspec.problem import Problem
from jaxspec.quadrature import spread_normally
from jaxspec.results import _goodness
from jaxspec.results._result import Result
from jaxspec.results._table import interval as interval_of
from jaxspec.results._table import text

_N_DRAWS = 4096  # of the normal approximation: its 68 % bounds are then good to 1 % of the error


@jax.jit
def from_unbounded(density: Density, u: jax.Array) -> jax.Array:
    """The values of all parameters at points of the unbounded space, (n_points, n_parameters)."""
    return jax.vmap(lambda point: density.layout.all_values(density.space.values(point)))(u)


@jax.jit
def _slopes(density: Density, u: jax.Array) -> jax.Array:
    """Of all parameters in the coordinates of the unbounded space, (n_parameters, n)."""
    return jax.jacfwd(lambda point: density.layout.all_values(density.space.values(point)))(u)


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
    covariance_u: np.ndarray  # zero for parameters that have no error: at a bound, or not constrained
    statistics: np.ndarray  # the fit statistic of each observation
    converged: bool
    troubles: tuple[str, ...]  # what is wrong with the fit, in words
    starts_agreeing: int
    n_starts: int
    use_priors: bool
    # Other maxima that were found: how much lower in ln L, then the free parameters; the highest first.
    lesser_maxima: tuple[tuple[float, ...], ...] = ()

    @functools.cached_property
    def points(self) -> np.ndarray:
        values, vectors = np.linalg.eigh(self.covariance_u)
        offsets = spread_normally(_N_DRAWS, len(self.u))
        # Evenly spread points are correlated by some per cent, more than random ones.
        offsets = offsets - offsets.mean(axis=0)
        offsets = np.linalg.solve(np.linalg.cholesky(offsets.T @ offsets / len(offsets)), offsets.T).T
        offsets = offsets * np.sqrt(np.maximum(values, 0.0))
        u = np.concatenate([self.u[None], self.u + offsets @ vectors.T])
        return np.asarray(from_unbounded(self.problem.density, jnp.asarray(u)))

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

    @functools.cached_property
    def _covariance_of_all(self) -> np.ndarray:
        """The covariance of all parameters, linearised; NaN where one has no error."""
        slopes = np.asarray(_slopes(self.problem.density, jnp.asarray(self.u)))
        covariance = slopes @ self.covariance_u @ slopes.T
        without = np.diag(covariance) <= 0
        covariance[without] = covariance[:, without] = np.nan
        return covariance

    @property
    def covariance(self) -> Any:
        """The covariance of the free parameters as a pandas table; NaN where one has no error."""
        import pandas as pd

        free = list(self.problem.density.layout.free)
        names = list(self.problem.names)
        return pd.DataFrame(self._covariance_of_all[np.ix_(free, free)], index=names, columns=names)

    @property
    def correlations(self) -> Any:
        """The correlations of the free parameters as a pandas table."""
        covariance = self.covariance
        scale = np.sqrt(np.diag(covariance))
        return covariance / np.outer(scale, scale)

    @property
    def errors(self) -> dict[str, float]:
        """The standard deviations of free and linked parameters; NaN for one at its bound or not constrained."""
        deviations = dict(zip(self.problem.model.parameters, np.sqrt(np.diag(self._covariance_of_all)).tolist()))
        return {name: deviations[name] for name in self.varied}

    @property
    def statistic(self) -> float:
        """The fit statistic of all data: C, W, PG or chi-squared, 0 for a perfect fit; L is -2 ln L as it stands."""
        return float(np.sum(self.statistics))

    @functools.cached_property
    def expected_statistic(self) -> tuple[float, float] | None:
        """Mean and standard deviation of the statistic that this fit reaches if its model is true.

        Of C and P statistic from the sum over all counts, of W and PG over the counts in both regions (the expected C
        of the source region would not do), with the mean lowered by what the fit takes up. At few counts the deviation
        is less than the root of the sum of variances, since the fit has matched the number of counts. Of chi-squared
        with the errors of the data: n - m and sqrt(2 (n - m)). Simulated fits bear it out down to some ten counts in
        all, but not where W is biased (the summary then has a note).

        None where a statistic has no known expectation: the L statistic, and chi-squared by other variances.

        **Reference:** Kaastra 2017, A&A 605, A51; McCullagh 1986, J. Am. Stat. Assoc. 81, 104 (see `goodness.of_fit`).
        """
        errors = np.sqrt(np.maximum(np.diag(self.covariance_u), 0.0))
        return _goodness.expected_statistic(self.problem, self.u, errors)

    @property
    def statistic_deviation(self) -> float | None:
        """How many standard deviations the statistic lies above its expectation: large for a model that is wrong."""
        if self.expected_statistic is None or not self.expected_statistic[1] > 0:
            return None
        mean, deviation = self.expected_statistic
        return (self.statistic - mean) / deviation

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
        distribution in the unbounded space. All are NaN for a parameter at its bound or not
        constrained. Raises `ValueError` for a level or interval that is none.
        """
        import pandas as pd

        rows = self.problem.model.parameters
        names = list(rows)
        index = [names.index(name) for name in self.varied]
        errors = np.array(list(self.errors.values()))
        bounds = interval_of(self.spread(self.points)[:, index], level, interval)
        low, high = (np.where(np.isfinite(errors), bound, np.nan) for bound in bounds)
        return pd.DataFrame(
            {
                "value": self.points[0][index],
                "error": errors,
                "low": low,
                "high": high,
                "unit": [rows[name].unit for name in self.varied],
                "state": [rows[name].state for name in self.varied],
            },
            index=list(self.varied),
        )

    def _others(self) -> list[str]:
        """The lesser maxima, the highest two of them."""
        return [
            f"a lesser maximum, ln L lower by {lower:.2f}, lies at "
            + ", ".join(f"{name} = {value:.4g}" for name, value in zip(self.problem.names, values))
            for lower, *values in self.lesser_maxima[:2]
        ]

    def _summary(self) -> list[str]:
        per_observation = ", ".join(
            f"{label} {value:.2f} ({selection.statistic}, {len(selection.counts)} bins)"
            for label, value, selection in zip(self.problem.labels, self.statistics, self.problem.selections)
        )
        goodness = ""
        if self.expected_statistic is not None and self.statistic_deviation is not None:
            mean, deviation = self.expected_statistic
            goodness = f"; expected {mean:.1f} +- {deviation:.1f} ({self.statistic_deviation:+.1f} sigma)"
        biases = {
            label: background_bias(selection) for label, selection in zip(self.problem.labels, self.problem.selections)
        }
        state = "converged" if self.converged else "NOT CONVERGED"
        return [
            f"{'Maximum of the posterior density' if self.use_priors else 'Maximum likelihood'}: {state}, reached from "
            f"{self.starts_agreeing} of {self.n_starts} starts",
            *(f"! {trouble}" for trouble in self.troubles),
            *(f"note: {other}" for other in self._others()),
            f"statistic {self.statistic:.4f} for {self.degrees_of_freedom} degrees of freedom{goodness}: "
            f"{per_observation}",
            *(f"note: {label}: {bias}" for label, bias in biases.items() if bias is not None),
            f"ln L {self.log_likelihood:.4f}, AIC {self.aic:.2f}, BIC {self.bic:.2f}",
        ]

    def __repr__(self) -> str:
        return "\n".join([*self._summary(), "", text(self.table())])

    def _repr_html_(self) -> str:
        import html

        return f"<p>{'<br>'.join(map(html.escape, self._summary()))}</p>{self.table().to_html()}"
