"""Draws from a posterior, with the diagnostics that say whether to trust them."""

from __future__ import annotations

import dataclasses
import functools
import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxspec.methods import NUTS
from jaxspec.problem import Problem
from jaxspec.results._result import Result
from jaxspec.results._table import interval as interval_of
from jaxspec.results._table import text

_MAX_R_HAT = 1.01  # Vehtari et al. 2021
_MIN_FORGOTTEN = 0.4  # of where walks of nested sampling start
_MIN_ESS = 400


_MAX_PARETO_K = 0.7


class Predictive(NamedTuple):
    """How well a model predicts bins that it has not seen; differences between models are what counts."""

    elpd: float  # expected log predictive density of all bins: larger is better
    error: float
    effective_parameters: float
    worst_k: float = float("nan")  # of the Pareto tails, for LOO


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Posterior(Result):
    """Draws of all parameters from the posterior of a problem."""

    problem: Problem
    samples: np.ndarray  # (chains, draws, n_parameters): all parameters, frozen and linked ones too
    method: Any  # the settings of the sampler
    key: np.ndarray  # of the random numbers
    statistics: Mapping[str, float]  # what the sampler says of itself
    log_evidence: tuple[float, float] | None = None  # natural logarithm and its error

    @classmethod
    def of(cls, problem: Problem, samples: np.ndarray, *, key: jax.Array, **fields: Any) -> Posterior:
        """The posterior from draws of all parameters, shape (chains, draws, n_parameters), by a key of either kind."""
        typed = jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
        return cls(problem, samples, key=np.asarray(jax.random.key_data(key) if typed else key), **fields)

    @functools.cached_property
    def points(self) -> np.ndarray:
        return self.samples.reshape(-1, self.samples.shape[-1])

    def centre(self, outcomes: np.ndarray) -> Any:
        return np.median(outcomes, axis=0)

    def spread(self, outcomes: np.ndarray) -> np.ndarray:
        return outcomes

    def chains(self) -> np.ndarray:
        return self.samples

    def _chains(self, name: str) -> np.ndarray:
        return self.samples[..., list(self.problem.model.parameters).index(name)]

    @property
    def _independent(self) -> bool:
        """Whether the draws are independent ones, whose effective number the sampler tells."""
        return "ess" in self.statistics

    @functools.cached_property
    def ess(self) -> dict[str, float]:
        """The effective number of draws of each free and linked parameter."""
        if self._independent:
            return dict.fromkeys(self.varied, self.statistics["ess"])
        from numpyro.diagnostics import effective_sample_size

        return {name: float(effective_sample_size(self._chains(name))) for name in self.varied}

    @functools.cached_property
    def r_hat(self) -> dict[str, float]:
        """Split R-hat of each free and linked parameter: 1 where chains agree; NaN for independent draws."""
        if self._independent:
            return dict.fromkeys(self.varied, float("nan"))
        from numpyro.diagnostics import split_gelman_rubin

        return {name: float(split_gelman_rubin(self._chains(name))) for name in self.varied}

    @property
    def troubles(self) -> list[str]:
        """What is wrong with the draws, in words; empty where nothing is."""
        found = []
        if self.statistics.get("interrupted", 0):
            found.append(f"interrupted: these are the {self.samples.shape[1]} draws made until then")
        return found + troubles_of(self.r_hat, self.ess, self.statistics)

    def table(self, level: float = 0.68, interval: str = "equal-tailed") -> Any:
        """Median, interval, mean, standard deviation and diagnostics of each free and linked parameter, by pandas.

        Raises `ValueError` for a level or an interval that is none.
        """
        import pandas as pd

        rows = self.problem.model.parameters
        drawn = np.stack([self.draws(name) for name in self.varied], axis=1)
        low, high = interval_of(drawn, level, interval)
        # Nested sampling has one effective number of draws, in its summary, and no chains to compare.
        chains = {} if self._independent else {"R-hat": list(self.r_hat.values()), "ESS": list(self.ess.values())}
        return pd.DataFrame(
            {
                "median": np.median(drawn, axis=0),
                "low": low,
                "high": high,
                "mean": drawn.mean(axis=0),
                "sd": drawn.std(axis=0),
                "unit": [rows[name].unit for name in self.varied],
                **chains,
                "state": [rows[name].state for name in self.varied],
            },
            index=list(self.varied),
        )

    @functools.cached_property
    def log_likelihood(self) -> np.ndarray:
        """The log-likelihood of each draw, shape (chains, draws)."""
        values = _log_likelihoods(self.problem.density, jnp.asarray(self.points))
        return np.asarray(values).reshape(self.samples.shape[:2])

    @property
    def dic(self) -> float:
        r"""The deviance information criterion, from the likelihood alone, at the mean of the free parameters.

        $-2 \ln L(\bar\theta) + 2 p$, with $p = 2 [\ln L(\bar\theta) - \overline{\ln L}]$ effective parameters.

        **Reference:** Spiegelhalter et al. 2002, J. R. Stat. Soc. B 64, 583.
        """
        centre = {name: float(self.draws(name).mean()) for name in self.problem.names}
        best = float(self.problem.log_likelihood(centre))
        return -2 * best + 4 * (best - float(self.log_likelihood.mean()))

    def waic(self) -> Predictive:
        """The widely applicable information criterion, over bins.

        **Reference:** Watanabe 2010, J. Mach. Learn. Res. 11, 3571; Vehtari, Gelman & Gabry 2017, eq. 11 and 12.
        """
        from jaxspec.results import _arviz

        values = _arviz.log_likelihood_per_bin(self)
        top = values.max(axis=0)
        variances = values.var(axis=0, ddof=1)
        each = top + np.log(np.mean(np.exp(values - top), axis=0)) - variances
        return Predictive(float(each.sum()), float(np.sqrt(len(each) * each.var())), float(variances.sum()))

    def loo(self) -> Predictive:
        """Leave-one-out cross-validation over bins, by Pareto-smoothed importance sampling of arviz.

        Warns where the Pareto k of a bin is over 0.7: its prediction from the draws cannot be trusted.

        **Reference:** Vehtari, Gelman & Gabry 2017, Stat. Comput. 27, 1413.
        """
        from jaxspec.results import _arviz

        found = Predictive(*_arviz.loo(self))
        if found.worst_k > _MAX_PARETO_K:
            warnings.warn(f"loo: the Pareto k of a bin is {found.worst_k:.2f}, over {_MAX_PARETO_K}", stacklevel=2)
        return found

    def log_bayes_factor(self, other: Posterior) -> tuple[float, float]:
        """ln of the ratio of this model's evidence to that of the other, and its error.

        Raises `ValueError` where one has no evidence: sample it by nested sampling.
        """
        if self.log_evidence is None or other.log_evidence is None:
            raise ValueError("a Bayes factor needs two evidences: sample with NestedSlice(...) or UltraNest(...)")
        (first, error), (second, other_error) = self.log_evidence, other.log_evidence
        return first - second, float(np.hypot(error, other_error))

    def _summary(self) -> list[str]:
        chains, draws = self.samples.shape[:2]
        lines = [f"Posterior: {chains} x {draws} draws by {self.method}"]
        if self.log_evidence is not None:
            lines.append("ln Z = {:.2f} +- {:.2f} (natural logarithm)".format(*self.log_evidence))
        if self._independent:
            lines.append(f"{self.statistics['ess']:.0f} effective draws")
        return [*lines, *(f"! {trouble}" for trouble in self.troubles)]

    def __repr__(self) -> str:
        return "\n".join([*self._summary(), "", text(self.table())])

    def _repr_html_(self) -> str:
        import html

        return f"<p>{'<br>'.join(map(html.escape, self._summary()))}</p>{self.table().to_html()}"


def troubles_of(r_hat: Mapping[str, float], ess: Mapping[str, float], statistics: Mapping[str, float]) -> list[str]:
    """What diagnostics say against draws, in words."""
    found = []
    worst = max(r_hat, key=lambda name: np.nan_to_num(r_hat[name]))
    if r_hat[worst] > _MAX_R_HAT:
        found.append(
            f"the chains disagree: R-hat is {r_hat[worst]:.3f} for {worst} (over {_MAX_R_HAT}); draw more, "
            "warm up longer, or look for a second maximum"
        )
    poorest = min(ess, key=lambda name: ess[name])
    if ess[poorest] < _MIN_ESS:
        found.append(f"few effective draws: {ess[poorest]:.0f} for {poorest} (under {_MIN_ESS}); draw more")
    if statistics.get("divergences", 0):
        found.append(
            f"{statistics['divergences']:.0f} divergent trajectories: parts of the posterior may be missed; "
            "try NUTS(target_accept=0.95) or other parameters"
        )
    if statistics.get("misplaced", 0):
        found.append(
            "UltraNest's test of insertion orders fails, new live points are not drawn evenly: the evidence may be "
            "off; take more live points"
        )
    if statistics.get("forgotten", 1) < _MIN_FORGOTTEN:
        found.append(
            f"new live points end near where their walks start (the correlation is {1 - statistics['forgotten']:.2f}): "
            "the evidence may be off; take more NestedSlice(moves=...)"
        )
    if statistics.get("at_max_depth", 0) > 0.01:
        found.append("trajectories were cut at max_tree_depth: the posterior is badly conditioned; raise it")
    return found


def at_max_depth(steps: np.ndarray, method: NUTS) -> Any:
    """The part of the trajectories that were as long as they may be, over chains and draws, the last two axes."""
    return np.mean(steps >= 2**method.max_tree_depth - 1, axis=(-2, -1))


@jax.jit
def _log_likelihoods(density, points):
    return jax.lax.map(density.log_likelihood_at, points, batch_size=1024)
