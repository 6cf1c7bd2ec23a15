"""The results of fits to many spectra: one row each."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np

from jaxspec import parameters
from jaxspec.problem import Problem
from jaxspec.results._bestfit import BestFit

if TYPE_CHECKING:
    from jaxspec.data import Observation
    from jaxspec.sources import Model


@dataclasses.dataclass(frozen=True, eq=False)
class Rows:
    """What is known of each fit, arrays with a leading axis over spectra; n is the number of free parameters.

    A spectrum that could not be fitted has NaN and says why in `trouble`.
    """

    u: np.ndarray  # best values in the unbounded space, (n_spectra, n)
    covariance_u: np.ndarray  # (n_spectra, n, n), zero for parameters that have no error
    values: np.ndarray  # of all parameters, (n_spectra, n_parameters)
    errors: np.ndarray  # their standard deviations, (n_spectra, n_parameters)
    statistic: np.ndarray
    log_likelihood: np.ndarray
    n_bins: np.ndarray
    converged: np.ndarray  # bool
    fluxes: np.ndarray  # (n_spectra, n_fluxes)
    flux_errors: np.ndarray
    start: np.ndarray  # in s; NaN where it is not known
    stop: np.ndarray
    trouble: np.ndarray  # text, empty where there is none

    @classmethod
    def failed(cls, trouble: Sequence[str], n: int, n_parameters: int, n_fluxes: int) -> Rows:
        """Rows of spectra without a fit."""
        many = len(trouble)
        shapes = ((n,), (n, n), (n_parameters,), (n_parameters,), (), ())
        return cls(
            *(np.full((many, *shape), np.nan) for shape in shapes),
            n_bins=np.zeros(many, int),
            converged=np.zeros(many, bool),
            fluxes=np.full((many, n_fluxes), np.nan),
            flux_errors=np.full((many, n_fluxes), np.nan),
            start=np.full(many, np.nan),
            stop=np.full(many, np.nan),
            trouble=np.array(trouble, object),
        )

    def put(self, index: np.ndarray, other: Rows) -> None:
        """Writes other rows over those of these numbers."""
        for field in dataclasses.fields(self):
            getattr(self, field.name)[index] = getattr(other, field.name)

    @classmethod
    def joined(cls, pieces: Sequence[Rows]) -> Rows:
        """Rows one after the other."""
        names = [field.name for field in dataclasses.fields(cls)]
        return cls(*(np.concatenate([getattr(piece, name) for piece in pieces]) for name in names))

    def __len__(self) -> int:
        return len(self.statistic)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Catalogue:
    """Fits of one model to many spectra, each with parameters of its own.

    `catalogue["name"]` is the ordinary best fit of a spectrum, with its tables, fluxes and pictures.
    """

    model: Model
    observations: Mapping[str, Any]  # of each spectrum, by its name
    held: Mapping[str, np.ndarray]  # values given for each spectrum, by parameter
    rows: Rows
    flux_names: tuple[str, ...]
    flux_units: tuple[str, ...]
    use_priors: bool

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the spectra."""
        return tuple(self.observations)

    def __len__(self) -> int:
        return len(self.observations)

    def __iter__(self) -> Iterator[str]:
        return iter(self.observations)

    def __getitem__(self, name: str) -> BestFit:
        """The best fit of a spectrum. Raises `KeyError` for an unknown name, `ValueError` for one without a fit."""
        if name not in self.observations:
            raise parameters.unknown(name, self.observations, "spectrum")
        i = self.names.index(name)
        rows = self.rows
        if not np.all(np.isfinite(rows.u[i])):
            raise ValueError(f"{name} has no fit: {rows.trouble[i]}")
        model = self.model.at({parameter: float(column[i]) for parameter, column in self.held.items()})
        problem = Problem(model, observations_of(self.observations[name]))
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

    def table(self) -> Any:
        """One row for each spectrum, as a pandas table.

        Columns: the value of each free, linked or individually given parameter and, with " error", its standard
        deviation (NaN where it lies at its bound, is not constrained, or is frozen); "statistic", "degrees of freedom",
        "ln L", "AIC", "BIC", "converged"; the fluxes asked for, with their errors; "start" and "stop" in s where the
        files tell; "trouble", in words.
        """
        import pandas as pd

        rows = self.rows
        columns: dict[str, Any] = {}
        for i, (name, row) in enumerate(self.model.parameters.items()):
            if row.free or row.link is not None or name in self.held:
                columns[name] = rows.values[:, i]
                columns[f"{name} error"] = rows.errors[:, i]
        n = len(self.model.free)
        columns |= {
            "statistic": rows.statistic,
            "degrees of freedom": rows.n_bins - n,
            "ln L": rows.log_likelihood,
            "AIC": 2 * n - 2 * rows.log_likelihood,
            "BIC": n * np.log(np.maximum(rows.n_bins, 1)) - 2 * rows.log_likelihood,
            "converged": rows.converged,
        }
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
        good = int(self.rows.converged.sum())
        failed = int(np.sum(~np.isfinite(self.rows.statistic)))
        head = f"Catalogue of {len(self)} spectra: {good} converged, {failed} without a fit"
        return f"{head}\n\n{self.table().to_string(max_rows=10, float_format=lambda value: f'{value:.5g}')}"

    def _repr_html_(self) -> str:
        return self.table().to_html(max_rows=20)


def compare(catalogues: Mapping[str, Catalogue], by: str = "BIC") -> Any:
    """Which of several models fits each spectrum best, as a pandas table.

    Args:
        catalogues: fits of the same spectra, by the name of the model.
        by: "AIC" or "BIC"; the least is the best. Differences below 2 say little, above 10 much.

    Columns: "best", the name of a model; "margin", by how much the next one is worse; the criterion of each, less that
    of the best. A model without a converged fit does not take part.

    **Reference:** Burnham & Anderson 2004, Sociol. Methods Res. 33, 261.

    Raises `ValueError` for another criterion, for fewer than two models and for catalogues of other spectra.
    """
    import pandas as pd

    if by not in ("AIC", "BIC"):
        raise ValueError(f"by={by!r} is no criterion; give 'AIC' or 'BIC'")
    tables = {name: catalogue.table() for name, catalogue in catalogues.items()}
    if len(tables) < 2 or any(list(each) != list(next(iter(catalogues.values()))) for each in catalogues.values()):
        raise ValueError("compare takes two or more catalogues of the same spectra, in the same order")
    numbers = pd.DataFrame({name: table[by].where(table["converged"]) for name, table in tables.items()})
    known = numbers.notna().any(axis=1)
    ordered = np.sort(numbers.to_numpy(), axis=1)  # NaN last
    best = pd.Series(numbers[known].idxmin(axis=1)).reindex(numbers.index)
    differences = numbers.sub(numbers.min(axis=1), axis=0).add_prefix(f"{by} ")
    return pd.concat(
        [best.rename("best"), pd.Series(ordered[:, 1] - ordered[:, 0], numbers.index, name="margin"), differences],
        axis=1,
    )


def observations_of(entry: Any) -> tuple[Observation, ...]:
    """The observations of a spectrum, which may be several."""
    return tuple(entry) if isinstance(entry, Sequence) else (entry,)
