"""Data that a model predicts, beside the real ones: posterior and prior predictive checks."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxspec.problem import Problem
from jaxspec.results import _pictures
from jaxspec.results._bootstrap import exceeding
from jaxspec.results._table import interval


@dataclasses.dataclass(frozen=True, eq=False)
class PredictiveCheck:
    """Data sets drawn from a model, each with parameters of its own, and how the real one compares.

    The counts are those of the source region, background included. Their scatter is that of the parameters and of
    Poisson together.
    """

    problem: Problem
    counts: Mapping[str, np.ndarray]  # by observation, (n_sets, n_bins)
    background: Mapping[str, np.ndarray]  # of the background regions that are measured, the same
    statistics: np.ndarray  # (n_sets, n_observations) of drawn data, with the parameters that they were drawn with
    observed_statistics: np.ndarray  # of the real data, with the same parameters

    @property
    def p_value(self) -> float:
        """The share of data sets whose statistic is at least that of the real data: small where the model is wrong.

        Posterior predictive p-values are nearer to 1/2 than those of a test: the parameters have seen the data.

        **Reference:** Gelman, Meng & Stern 1996, Stat. Sinica 6, 733, eq. 7.
        """
        return exceeding(self.statistics.sum(axis=1) - self.observed_statistics.sum(axis=1), 0.0)

    @property
    def p_values(self) -> dict[str, float]:
        """The same for each observation alone."""
        excess = self.statistics - self.observed_statistics
        return {name: exceeding(column, 0.0) for name, column in zip(self.problem.labels, excess.T)}

    def plot_counts(
        self,
        observations: str | Sequence[str] | None = None,
        *,
        min_counts: float | None = None,
        min_significance: float | None = None,
        rate: bool = False,
        level: float = 0.95,
        figsize: tuple[float, float] | None = None,
    ) -> Any:
        """Counts of each observation over those predicted, with residuals.

        Arguments are those of `Posterior.plot_counts`; `level` is the probability in the band. A residual is the normal
        deviate of the share of predictions below the data; where all are, or none is, their standard deviations to the
        mean. Returns a matplotlib figure. Raises `KeyError` for an unknown observation.
        """
        from jaxspec.plots import _counts, _rebin

        panels = []
        for name, selection in self._selections(observations):
            labels = _pictures.display_bins(selection, min_counts, min_significance)
            drawn, selection = _rebin.summed(labels, self.counts[name]), _pictures.grouped(selection, labels)
            low, high = interval(drawn, level)
            panel = _counts.Panel(
                title=name,
                low=selection.channel_low,
                high=selection.channel_high,
                counts=selection.counts,
                errors=selection.errors,
                exposure=selection.exposure,
                total=_middle(drawn, low, high),
                total_low=low,
                total_high=high,
                curves=(),
                background=None,
                residuals=_deviates(drawn, selection.counts),
                label="predicted",
            )
            panels.append(panel)
        return _counts.fitted(panels, level=level, rate=rate, figsize=figsize)

    def plot_qq(
        self,
        observations: str | Sequence[str] | None = None,
        *,
        level: float = 0.95,
        figsize: tuple[float, float] | None = None,
    ) -> Any:
        """Cumulative counts of each observation against those predicted, with their band.

        Returns a matplotlib figure. Raises `KeyError` for an unknown observation.
        """
        from jaxspec.plots import _qq

        panels = []
        for name, selection in self._selections(observations):
            order = np.argsort(selection.channel_low, kind="stable")
            sums = np.cumsum(self.counts[name][:, order], axis=1)
            observed = np.cumsum(selection.counts[order])
            band = interval(sums, level)
            panels.append(_qq.Sums(name, observed, _middle(sums, *band), *band, predicted=True))
        return _qq.qq(panels, level=level, figsize=figsize)

    def _selections(self, observations: str | Sequence[str] | None) -> list[tuple[str, Any]]:
        selections = dict(zip(self.problem.labels, self.problem.selections))
        return [(name, selections[name]) for name in _pictures.with_counts(self.problem, observations)]

    def __repr__(self) -> str:
        drawn, observed = self.statistics.sum(axis=1), self.observed_statistics.sum(axis=1)
        each = ", ".join(f"{name} {value:.3g}" for name, value in self.p_values.items())
        return (
            f"{len(drawn)} data sets predicted: statistic {np.median(drawn):.2f}, that of the real one "
            f"{np.median(observed):.2f} (medians); predictive p-value {self.p_value:.3g} ({each})"
        )


def _middle(drawn: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """The mean of predictions moved into their band: few draws of a wide prior must not carry it away."""
    return np.clip(drawn, low, high).mean(axis=0)


def _deviates(drawn: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """What `PredictiveCheck.plot_counts` calls residuals, (n_bins,)."""
    from scipy.special import ndtri

    below, above = np.mean(drawn < counts, axis=0), np.mean(drawn > counts, axis=0)
    deviation = drawn.std(axis=0)
    far = (counts - drawn.mean(axis=0)) / np.where(deviation > 0, deviation, 1.0)
    # Half of those that are equal lie on either side.
    return np.where((below > 0) & (above > 0), ndtri(0.5 * (1 + below - above)), far)
