"""The results of fits to many spectra, or of sampling them: one row each."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np

from jaxspec import parameters
from jaxspec.problem import Problem
from jaxspec.results._bestfit import BestFit, from_unbounded
from jaxspec.results._posterior import Posterior
from jaxspec.results._result import Result
from jaxspec.results._rows import DrawRows, FitRows, Rows

if TYPE_CHECKING:
    from jaxspec.data import Observation
    from jaxspec.methods import NUTS
    from jaxspec.model import Model


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class _Catalogue(abc.ABC):
    """Results of one model for many spectra, each with parameters of its own."""

    model: Model
    observations: Mapping[str, Any]  # of each spectrum, by its name
    held: Mapping[str, np.ndarray]  # values given for each spectrum, by parameter
    rows: Rows
    flux_names: tuple[str, ...]
    flux_units: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the spectra."""
        return tuple(self.observations)

    def __len__(self) -> int:
        return len(self.observations)

    def __iter__(self) -> Iterator[str]:
        return iter(self.observations)

    def __getitem__(self, name: str) -> Result:
        """The result of a spectrum. Raises `KeyError` for an unknown name, `ValueError` for one without a result."""
        if name not in self.observations:
            raise parameters.unknown(name, self.observations, "spectrum")
        i = self.names.index(name)
        if not np.all(np.isfinite(self.rows.values[i])):
            raise ValueError(f"{name} has no result: {self.rows.trouble[i]}")
        model = self.model.at({parameter: float(column[i]) for parameter, column in self.held.items()})
        return self._open(i, Problem(model, observations_of(self.observations[name])))

    @abc.abstractmethod
    def _open(self, i: int, problem: Problem) -> Result:
        """The result of spectrum number i."""

    @abc.abstractmethod
    def _goodness(self) -> dict[str, Any]:
        """Columns between parameters and fluxes."""

    def table(self) -> Any:
        """One row for each spectrum, as a pandas table.

        Columns: the value of each free, linked or individually given parameter (the best one, or the median) and, with
        " error", its standard deviation (NaN where a fit ends at its bound, where the data do not constrain it, or
        where it is frozen). Of fits "statistic", "degrees of freedom", "ln L", "AIC", "BIC", "converged"; of posteriors
        the worst "R-hat", the least "ESS", "divergences", and "ln Z", the natural logarithm of the evidence, with its
        error. The fluxes asked for, with their errors; "start" and "stop" in s where the files tell; "trouble", in
        words.
        """
        import pandas as pd

        rows = self.rows
        columns: dict[str, Any] = {}
        for i, (name, row) in enumerate(self.model.parameters.items()):
            if row.free or row.link is not None or name in self.held:
                columns[name] = rows.values[:, i]
                columns[f"{name} error"] = rows.errors[:, i]
        columns |= self._goodness()
        for i, name in enumerate(self.flux_names):
            columns[name] = rows.fluxes[:, i]
            columns[f"{name} error"] = rows.flux_errors[:, i]
        if np.isfinite(rows.start).any():
            columns |= {"start": rows.start, "stop": rows.stop}
        columns["trouble"] = rows.trouble
        return pd.DataFrame(columns, index=pd.Index(self.names, name="spectrum"))

    def plot_history(self, names: Sequence[str] | None = None, *, figsize: tuple[float, float] | None = None) -> Any:
        """Parameters and fluxes against time.

        Args:
            names: of columns of the table; by default all free parameters and fluxes.
            figsize: of the figure, in inches.

        Open points have no error. Returns a matplotlib figure. Raises `ValueError` where no spectrum has a time,
        `KeyError` for an unknown column.
        """
        from jaxspec.plots._history import history

        if not np.isfinite(self.rows.start + self.rows.stop).any():
            raise ValueError("the observations have no start and stop, so there is no time to draw them over")
        names = (*self.model.free, *self.flux_names) if names is None else names
        return history(self.rows.start, self.rows.stop, [self._column(name) for name in names], figsize=figsize)

    def plot_pair(self, x: str, y: str, *, figsize: tuple[float, float] | None = None) -> Any:
        """One column of the table against another; returns a matplotlib figure. `KeyError` for an unknown column."""
        from jaxspec.plots._history import pair

        return pair(self._column(x), self._column(y), figsize=figsize)

    def _column(self, name: str) -> Any:
        """A parameter or flux with its errors, as pictures take it."""
        from jaxspec.plots._history import Column
        from jaxspec.plots._style import with_unit

        rows, names = self.model.parameters, list(self.model.parameters)
        if name in names:
            i = names.index(name)
            label = name if len(self.model.sources) > 1 else name.split(".", 1)[1]
            return Column(with_unit(label, rows[name].unit), self.rows.values[:, i], self.rows.errors[:, i])
        if name not in self.flux_names:
            raise parameters.unknown(name, (*names, *self.flux_names), "parameter or flux")
        i = self.flux_names.index(name)
        return Column(with_unit(name, self.flux_units[i]), self.rows.fluxes[:, i], self.rows.flux_errors[:, i])

    def __repr__(self) -> str:
        troubled = int(np.sum(self.rows.trouble != ""))
        failed = int(np.sum(~np.isfinite(self.rows.values).all(axis=1)))
        head = f"{type(self).__name__} of {len(self)} spectra: {troubled} with trouble, {failed} without a result"
        return f"{head}\n\n{self.table().to_string(max_rows=10, float_format=lambda value: f'{value:.5g}')}"

    def _repr_html_(self) -> str:
        return self.table().to_html(max_rows=20)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Catalogue(_Catalogue):
    """Fits of one model to many spectra, each with parameters of its own.

    `catalogue["name"]` is the ordinary best fit of a spectrum, with its tables, fluxes and pictures.
    """

    rows: FitRows
    use_priors: bool

    if TYPE_CHECKING:

        def __getitem__(self, name: str) -> BestFit: ...

    def _open(self, i: int, problem: Problem) -> BestFit:
        rows = self.rows
        theta = np.asarray(problem.density.space.values(jnp.asarray(rows.u[i])))
        return BestFit(
            problem=problem,
            theta=theta,
            u=rows.u[i],
            covariance_u=rows.covariance_u[i],
            statistics=np.array(list(problem.statistics(dict(zip(problem.names, theta))).values())),
            converged=bool(rows.converged[i]),
            troubles=tuple(filter(None, rows.trouble[i].split("; "))),
            starts_agreeing=1,
            n_starts=1,
            use_priors=self.use_priors,
        )

    def _goodness(self) -> dict[str, Any]:
        rows, n = self.rows, len(self.model.free)
        return {
            "statistic": rows.statistic,
            "degrees of freedom": rows.n_bins - n,
            "ln L": rows.log_likelihood,
            "AIC": 2 * n - 2 * rows.log_likelihood,
            "BIC": n * np.log(np.maximum(rows.n_bins, 1)) - 2 * rows.log_likelihood,
            "converged": rows.converged,
        }


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class PosteriorCatalogue(_Catalogue):
    """Draws from the posteriors of many spectra, each with parameters of its own.

    `catalogue["name"]` is the ordinary posterior of a spectrum, with its tables, fluxes, pictures and evidence.
    """

    rows: DrawRows
    method: NUTS
    key: np.ndarray

    if TYPE_CHECKING:

        def __getitem__(self, name: str) -> Posterior: ...

    def _open(self, i: int, problem: Problem) -> Posterior:
        rows, draws = self.rows, self.rows.draws[i]
        values = np.asarray(from_unbounded(problem.density, jnp.asarray(draws.reshape(-1, draws.shape[-1]))))
        return Posterior(
            problem=problem,
            samples=values.reshape(*draws.shape[:2], -1),
            method=self.method,
            key=self.key,
            statistics={"divergences": int(rows.divergences[i]), "at_max_depth": float(rows.at_max_depth[i])},
            log_evidence=(float(rows.log_evidence[i]), float(rows.log_evidence_error[i])),
        )

    def _goodness(self) -> dict[str, Any]:
        rows = self.rows
        return {
            "R-hat": rows.r_hat,
            "ESS": rows.ess,
            "divergences": rows.divergences,
            "ln Z": rows.log_evidence,
            "ln Z error": rows.log_evidence_error,
        }


def compare(catalogues: Mapping[str, Catalogue | PosteriorCatalogue], by: str = "BIC") -> Any:
    """Which of several models describes each spectrum best, as a pandas table.

    Args:
        catalogues: of the same spectra, by the name of the model.
        by: "AIC" or "BIC" of fits, the least is the best: differences below 2 say little, above 10 much. Or "evidence"
            of posteriors, by ln of the Bayes factor: below 1 it says little, above 5 much; it depends on the priors.

    Columns: "best", the name of a model; "margin", by how much the next one is worse, with its "margin error" of
    evidences; for each model how far it is behind the best. A fit that did not converge does not take part.

    **Reference:** Burnham & Anderson 2004, Sociol. Methods Res. 33, 261; Kass & Raftery 1995, J. Am. Stat. Assoc. 90,
    773.

    Raises `ValueError` for another criterion, for one that the catalogues do not have, for fewer than two models and
    for catalogues of other spectra.
    """
    import pandas as pd

    if by not in ("AIC", "BIC", "evidence"):
        raise ValueError(f"by={by!r} is no criterion; give 'AIC', 'BIC' or 'evidence'")
    if len(catalogues) < 2 or any(list(each) != list(next(iter(catalogues.values()))) for each in catalogues.values()):
        raise ValueError("compare takes two or more catalogues of the same spectra, in the same order")
    if any(isinstance(each, PosteriorCatalogue) != (by == "evidence") for each in catalogues.values()):
        raise ValueError("'evidence' is for catalogues of sample_each, 'AIC' and 'BIC' are for those of fit_each")
    tables = {name: catalogue.table() for name, catalogue in catalogues.items()}
    scores = {n: -t["ln Z"] if by == "evidence" else t[by].where(t["converged"]) for n, t in tables.items()}
    numbers = pd.DataFrame(scores)
    known = numbers.notna().any(axis=1)
    ordered = np.sort(numbers.to_numpy(), axis=1)  # NaN last
    best = pd.Series(numbers[known].idxmin(axis=1)).reindex(numbers.index)
    columns = {"best": best, "margin": ordered[:, 1] - ordered[:, 0]}
    if by == "evidence":
        errors = np.stack([table["ln Z error"] for table in tables.values()], axis=1)
        first_two = np.take_along_axis(errors, np.argsort(numbers.to_numpy(), axis=1)[:, :2], axis=1)
        columns["margin error"] = np.linalg.norm(first_two, axis=1)
    behind = numbers.sub(numbers.min(axis=1), axis=0).add_prefix("ln B " if by == "evidence" else f"{by} ")
    return pd.concat([pd.DataFrame(columns, numbers.index), behind], axis=1)


def observations_of(entry: Any) -> tuple[Observation, ...]:
    """The observations of a spectrum, which may be several."""
    return tuple(entry) if isinstance(entry, Sequence) else (entry,)
