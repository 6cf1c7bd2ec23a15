"""What a best fit and a posterior have in common: draws of the parameters, and everything computed from them."""

from __future__ import annotations

import abc
import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxspec import parameters, units
from jaxspec.results import _derived, _flux
from jaxspec.results._table import interval as interval_of

if TYPE_CHECKING:
    from jaxspec.problem import Problem
    from jaxspec.quantities import AbstractQuantity


class Result(abc.ABC):
    """Draws of all parameters of a problem, frozen and linked ones included, and what is computed from them.

    Whatever is computed is computed at `points`, one by one, so that correlations and links are kept; `centre` and
    `spread` say which of the outcomes is quoted and which make its interval.
    """

    problem: Problem

    @functools.cached_property
    @abc.abstractmethod
    def points(self) -> np.ndarray:
        """Values of all parameters, in the order of `problem.model.parameters`, shape (n_points, n_parameters)."""

    @abc.abstractmethod
    def table(self, level: float = 0.68, interval: str = "equal-tailed") -> Any:
        """The parameters as a pandas table."""

    @abc.abstractmethod
    def centre(self, outcomes: np.ndarray) -> Any:
        """The quoted one of outcomes at `points`, along their first axis."""

    @abc.abstractmethod
    def spread(self, outcomes: np.ndarray) -> np.ndarray:
        """Those of the outcomes at `points` that are draws."""

    @abc.abstractmethod
    def chains(self) -> np.ndarray:
        """The draws by chain, shape (chains, draws, n_parameters)."""

    @property
    def varied(self) -> tuple[str, ...]:
        """The names of the parameters that are not frozen: free and linked ones."""
        return tuple(name for name, p in self.problem.model.parameters.items() if p.free or p.link is not None)

    def draws(self, name: str) -> np.ndarray:
        """Draws of one parameter, linked or frozen ones too, shape (n_draws,).

        Draws of several parameters belong together row by row, so arithmetic on them keeps their correlation.
        Raises `KeyError` for an unknown name.
        """
        names = list(self.problem.model.parameters)
        if name not in names:
            raise parameters.unknown(name, names, "parameter")
        return self.spread(self.points)[:, names.index(name)]

    def interval(self, draws: np.ndarray, level: float = 0.68, interval: str = "equal-tailed") -> tuple[Any, Any]:
        """The interval that holds `level` of some draws: "equal-tailed" or "highest-density"."""
        return interval_of(draws, level, interval)

    def flux_draws(
        self,
        low: Any,
        high: Any,
        unit: str = "erg / (cm2 s)",
        *,
        components: bool | Sequence[str] = False,
        sources: Sequence[str] | None = None,
        sum_sources: bool = False,
    ) -> dict[str, np.ndarray]:
        """The flux for each draw, by row of the table that `flux` makes of them; arguments as there."""
        table = self._flux_at_points(low, high, unit, components, sources, sum_sources)
        return {row: self.spread(fluxes) for row, fluxes in table.items()}

    def _flux_at_points(self, low, high, unit, components, sources, sum_sources) -> dict[str, np.ndarray]:
        fluxes = _flux.part_fluxes(self.problem.density.layout, self.points, *units.band(low, high), unit)
        return _flux.rows(self.problem.model, fluxes, components, sources, sum_sources)

    def flux(
        self,
        low: Any,
        high: Any,
        unit: str = "erg / (cm2 s)",
        *,
        level: float = 0.68,
        components: bool | Sequence[str] = False,
        sources: Sequence[str] | None = None,
        sum_sources: bool = False,
        interval: str = "equal-tailed",
    ) -> Any:
        """Fluxes over a band with their intervals, from the joint draws of all parameters.

        Args:
            low, high: the band: energies, frequencies or wavelengths as quantities, or numbers in keV.
            unit: of a photon flux ("1 / (cm2 s)"), an energy flux ("erg / (cm2 s)"), or the integral of E^2 N(E).
            level: the probability between the bounds.
            components: True for a row each component, or the names of those wanted.
            sources: the names of those wanted; all by default.
            sum_sources: one row "total", the sum of everything chosen, draw by draw.
            interval: "equal-tailed" or "highest-density".

        Returns a pandas table of quantities with the columns "flux" (the median of a posterior, the best value of a
        fit), "low bound", "hi bound" and a row "source: total" or "source: component" each.

        Raises `ValueError` for a unit that is no flux, a band in the wrong order or of another kind, and a level that
        is no probability; `KeyError` for an unknown component or source.
        """
        rows = self._flux_at_points(low, high, unit, components, sources, sum_sources)
        values = {
            row: (self.centre(flux), *interval_of(self.spread(flux), level, interval)) for row, flux in rows.items()
        }
        return _flux.table(values, unit)

    def derived_draws(self, quantity: AbstractQuantity) -> np.ndarray:
        """A derived quantity for each draw, shape (n_draws,)."""
        return self.spread(self._derived_at_points(quantity))

    def _derived_at_points(self, quantity: AbstractQuantity) -> np.ndarray:
        problem = self.problem
        return _derived.at_points(problem.model, problem.density.layout, quantity, self.points)

    def derived(
        self, quantities: Mapping[str, AbstractQuantity], *, level: float = 0.68, interval: str = "equal-tailed"
    ) -> Any:
        """Derived quantities with their intervals, from the joint draws of all parameters.

        Args:
            quantities: by the name of their row: `Flux`, `Luminosity`, `EquivalentWidth`, arithmetic of them, or
                `Derived(function, names)`.
            level: the probability between the bounds.
            interval: "equal-tailed" or "highest-density".

        Returns a pandas table of astropy quantities with the columns "value" (the median of a posterior, the best
        value of a fit), "low bound", "hi bound".

        Raises `TypeError` for what is no quantity, `KeyError` for names that the model has not.
        """
        rows = {}
        for name, quantity in quantities.items():
            values = self._derived_at_points(quantity)
            rows[name] = (self.centre(values), *interval_of(self.spread(values), level, interval))
        return _derived.table(rows, {name: quantity.unit for name, quantity in quantities.items()})

    def plot_counts(
        self,
        observations: str | Sequence[str] | None = None,
        *,
        components: bool = False,
        min_counts: float | None = None,
        min_significance: float | None = None,
        rate: bool = False,
        level: float = 0.68,
        figsize: tuple[float, float] | None = None,
    ) -> Any:
        """Counts of each observation with the folded model above, and residuals below.

        Shown are the counts with their Poisson (or given) errors, everything expected with its band, what each source
        contributes, and the expected background. A residual is the signed square root of the fit statistic in its
        bin: for a true model its standard deviation is 1, at low counts too.

        Args:
            observations: the names of those wanted; all by default.
            components: show the components of each source in place of the source.
            min_counts, min_significance: join bins until they have as many counts, or net counts of as many
                standard deviations. For display only; model, background and residuals are those of the joined bins.
            rate: counts per second.
            level: the probability in the band of the model.
            figsize: of the figure, in inches.

        Returns a matplotlib figure. Raises `KeyError` for an unknown observation.
        """
        from jaxspec.results import _pictures

        return _pictures.counts(self, observations, components, min_counts, min_significance, rate, level, figsize)

    def plot_spectrum(
        self,
        low: Any = None,
        high: Any = None,
        unit: str = "1 / (cm2 s keV)",
        *,
        sources: Sequence[str] | None = None,
        components: bool = False,
        level: float = 0.68,
        energy_unit: str | None = None,
        figsize: tuple[float, float] | None = None,
    ) -> Any:
        """The spectrum of each source, before the instrument, with its band, and the flux points that see it.

        A flux over a band is drawn as its ratio to the model times the model in the middle of the band.

        Args:
            low, high: the band, as for `flux`; by default that of the fitted channels.
            unit: of photons, "1 / (cm2 s keV)", of E N(E), "keV / (cm2 s keV)", or of E^2 N(E), "erg / (cm2 s)".
            sources: the names of those wanted; all by default.
            components: show the components of each source too.
            level: the probability in the band.
            energy_unit: of the axis: an energy, frequency or wavelength; by default keV, MeV, GeV or TeV as it fits.
            figsize: of the figure, in inches.

        Returns a matplotlib figure. Raises `ValueError` for a unit that is none of these, and for a band in the wrong
        order, `KeyError` for an unknown source.
        """
        from jaxspec.results import _spectrum_picture

        return _spectrum_picture.spectrum(self, low, high, unit, sources, components, level, energy_unit, figsize)

    def corner(
        self,
        names: Sequence[str] | None = None,
        *,
        level: float = 0.68,
        figsize: tuple[float, float] | None = None,
    ) -> Any:
        """Histograms of parameters, and of each pair of them.

        Lines and titles show what is quoted (the median of a posterior, the best value of a fit) and its interval;
        the contours hold 39 % and 86 % of the draws, 1 and 2 sigma in two dimensions.

        Args:
            names: of the parameters wanted; all free ones by default.
            level: the probability in the interval.
            figsize: of the figure, in inches.

        Returns a matplotlib figure. Raises `KeyError` for an unknown parameter, `ValueError` for a frozen one.
        """
        from jaxspec.results import _pictures

        return _pictures.corner(self, names, level, figsize)

    def plot_qq(
        self,
        observations: str | Sequence[str] | None = None,
        *,
        level: float = 0.68,
        figsize: tuple[float, float] | None = None,
    ) -> Any:
        """Cumulative counts of each observation against those expected, from the lowest energy on.

        A good model runs along the diagonal. It needs no bins wide enough to have many counts.

        Returns a matplotlib figure. Raises `KeyError` for an unknown observation.
        """
        from jaxspec.results import _pictures

        return _pictures.qq(self, observations, level, figsize)

    def save(self, path: Any) -> None:
        """Writes the result to one netCDF file, with data, selections, model, priors, method, key and versions.

        `jaxspec.load` reads it back; arviz reads the draws in it. Raises `FileNotFoundError` for a folder that is not
        there.
        """
        from jaxspec.results import _io

        _io.save(self, path)

    def to_arviz(self) -> Any:
        """The draws as arviz knows them (`InferenceData`; `DataTree` from version 1): posterior, log-likelihood."""
        from jaxspec.results import _arviz

        return _arviz.convert(self)
