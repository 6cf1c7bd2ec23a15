"""Fluxes that others have measured: points of a spectrum, without counts and without an instrument."""

from __future__ import annotations

import itertools
from dataclasses import KW_ONLY, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from .. import units
from ._checks import checked_array
from ._fits import address
from ._observation import Observation
from ._response import Response

if TYPE_CHECKING:
    from ._selection import Selection

_HALF_WIDTH = 1e-4  # of the photon bin that stands for one energy, as a fraction of it
_STEP = 0.02  # in ln E, between which E^m is taken as constant
_AB_ZERO = 3631.0  # Jy at magnitude 0: Oke & Gunn 1983, ApJ 266, 713


@dataclass(frozen=True, eq=False, repr=False)
class FluxPoints(Observation):
    r"""Measured fluxes with errors or upper limits, to be fitted together with counts.

    Made by `FluxPoints.at` or `FluxPoints.over`. As an observation it has channels, the points, and a response that is
    the definition of the flux. Chi-squared with the error on the side of the model; for an upper limit $l$ of error
    $\sigma$ and a model $f$ it is $-2 \ln \Phi[(l - f) / \sigma]$, the probability that a measurement lies below it.

    - `counts`: (n,) the fluxes or upper limits in `unit`; `errors`: (n,) downwards, `errors_above`: (n,) upwards.
    - `upper_limits`: (n,) 1 where it is an upper limit.
    """

    _: KW_ONLY
    unit: str = ""
    errors_above: np.ndarray | None = None
    upper_limits: np.ndarray | None = None

    @classmethod
    def at(
        cls,
        energies: Any,
        values: Any,
        errors: Any,
        unit: str | None = None,
        *,
        upper_limits: Any = None,
        **fields: Any,
    ) -> FluxPoints:
        """The spectrum at some energies.

        Args:
            energies: (n,) in keV, or quantities: energies, frequencies or wavelengths.
            values: (n,) fluxes, or upper limits where `upper_limits` is true; numbers in `unit`, or quantities.
            errors: (n,) standard deviations, or a pair of them, downwards and upwards. Of a limit at m standard
                deviations it is the limit divided by m.
            unit: of N(E), "1 / (cm2 s keV)", of E N(E), "keV / (cm2 s keV)" or "Jy", of E^2 N(E), "erg / (cm2 s)"; or
                "mag(AB)".
            upper_limits: (n,) true for an upper limit.
            fields: `name` and others of an observation.

        Raises `ValueError` for a unit that is none of these, and for wrong sizes, energies, or errors that are not
        positive.
        """
        centre = _energies(energies)
        values, errors, unit = _plain(values, errors, unit)
        moment, factor = units.spectrum_moment(unit)
        low, high = centre * (1 - _HALF_WIDTH), centre * (1 + _HALF_WIDTH)
        definition = _definition(low, high, moment, factor / (high - low))
        return cls(**_fields(definition, values, errors, unit, upper_limits, fields))

    @classmethod
    def over(
        cls,
        low: Any,
        high: Any,
        values: Any,
        errors: Any,
        unit: str | None = None,
        *,
        upper_limits: Any = None,
        **fields: Any,
    ) -> FluxPoints:
        """Fluxes integrated over bands from `low` to `high`, (n,) each; the rest as for `at`.

        The unit is that of a photon flux, "1 / (cm2 s)", of an energy flux, "erg / (cm2 s)", or of the integral of
        E^2 N(E). Bands may overlap.
        """
        edges = np.sort([_energies(low), _energies(high)], axis=0)
        if (edges[0] == edges[1]).any():
            raise ValueError(f"band {np.argmax(edges[0] == edges[1])} has no width: use FluxPoints.at for a spectrum")
        values, errors, unit = _plain(values, errors, unit)
        moment, factor = units.flux_moment(unit)
        definition = _definition(edges[0], edges[1], moment, np.full(len(edges[0]), factor))
        return cls(**_fields(definition, values, errors, unit, upper_limits, fields))

    @classmethod
    def from_table(cls, table: Any, kind: str | None = None, *, level: float = 0.95, **fields: Any) -> FluxPoints:
        """The points of a table, such as gammapy's, or of a file with one: ECSV, FITS, or another that astropy reads.

        Columns are called as by gamma-astro-data-formats: `e_ref`, or `e_min` and `e_max`; a flux; the same followed by
        `_err`, or `_errn` and `_errp`, and `_ul`; `is_ul` tells limits, without it the rows without an error are. Units
        are those of the columns. A row without value and limit is left out with a `RepairWarning`.

        Args:
            table: an astropy table, a mapping of columns, or a path; `file.fits[NAME]` names an extension.
            kind: "dnde" or "e2dnde" (at `e_ref`), "flux" or "eflux" (over bands), also as `norm` times `ref_dnde`. By
                itself the one that SED_TYPE names, or the first of these.
            level: the confidence level of limits where neither UL_CONF nor n_sigma_ul states it.
            fields: `name` and others of an observation.

        Raises `FileNotFoundError` for a file that is not there, `ValueError` for one that is no table, for a column
        that is missing, without unit or in a wrong one, and for a level outside 0.5 to 1.

        **Reference:** https://gamma-astro-data-formats.readthedocs.io, spectra, SED.
        """
        from ._flux_table import read_points

        points = read_points(table, kind, level)
        if isinstance(table, (str, Path)):
            fields = {"name": address(table).path.name.split(".")[0]} | fields
        made: Any = cls.at if len(points.energies) == 1 else cls.over
        return made(*points.energies, points.values, points.errors, points.unit, upper_limits=points.limits, **fields)

    def selection(self) -> Selection:
        """The points that are noticed."""
        chosen = super().selection()
        used = chosen.groups >= 0
        assert self.errors_above is not None  # as it is made
        assert self.upper_limits is not None
        return replace(
            chosen,
            statistic="flux points",
            errors_above=self.errors_above[used],
            upper_limits=self.upper_limits[used],
        )

    def group(self, method: str | None, number: float | None = None) -> NoReturn:
        """Raises `ValueError`: the points are what they are."""
        raise ValueError(f"{self.name}: flux points cannot be grouped")

    def to_ogip(self, path: Any, *, overwrite: bool = False) -> NoReturn:
        """Raises `ValueError`: OGIP has no file for flux points."""
        raise ValueError(f"{self.name}: flux points have no OGIP file; a saved result holds them")

    def significance(self) -> NoReturn:
        """Raises `ValueError`: there are no counts over a background."""
        raise ValueError(f"{self.name}: flux points have no counts, so no significance over a background")

    def plot_counts(self, **_: Any) -> NoReturn:
        """Raises `ValueError`: there are no counts."""
        raise ValueError(f"{self.name}: flux points have no counts; plot_spectrum of a result shows them")

    def info(self) -> str:
        """How many points and limits, in which unit, over which energies."""
        assert self.upper_limits is not None  # as it is made
        limits = int(self.upper_limits.sum())
        return "\n".join(
            [
                f"observation  {self.name}",
                f"points       {self.counts.size - limits} fluxes and {limits} upper limits in {self.unit}, "
                f"{self.response.channel_low.min():.6g} to {self.response.channel_high.max():.6g} keV, "
                f"{len(self.selection().counts)} used",
                "statistic    chi-squared; upper limits by the Gaussian probability below them",
                f"sources      {'all' if self.sources is None else ', '.join(self.sources)}",
            ]
        )

    def __repr__(self) -> str:
        return f"FluxPoints({self.name!r}: {self.counts.size} points in {self.unit})"


def _fields(
    definition: Response, values: Any, errors: tuple, unit: str, upper_limits: Any, fields: dict[str, Any]
) -> dict[str, Any]:
    """The fields of flux points, checked."""
    name, size = fields.get("name", "flux points"), definition.channels.size
    limits = np.zeros(size) if upper_limits is None else np.array(upper_limits, bool)
    values, below, above, limits = (
        checked_array(array, f"{name}: {what}", size)
        for array, what in ((values, "values"), *((each, "errors") for each in errors), (limits, "upper_limits"))
    )
    wrong = np.flatnonzero((below <= 0) | (above <= 0))
    if wrong.size:
        raise ValueError(f"{name}: errors must be positive, got {below[wrong[0]]:g} and {above[wrong[0]]:g}")
    points = {"unit": unit, "errors_above": above, "upper_limits": limits}
    return {
        "counts": values,
        "response": definition,
        "exposure": 1.0,
        "errors": below,
        "name": name,
        **points,
        **fields,
    }


def _energies(given: Any) -> np.ndarray:
    """Photon energies in keV."""
    if hasattr(given, "unit"):
        import astropy.units as u

        try:
            given = given.to_value(u.keV, equivalencies=u.spectral())
        except u.UnitConversionError as error:
            raise ValueError(f"{given.unit} is no unit of an energy, a frequency or a wavelength") from error
    energies = np.atleast_1d(np.asarray(given, float))
    if energies.ndim != 1 or not (np.isfinite(energies) & (energies > 0)).all():
        raise ValueError(f"energies of flux points must be positive and finite, one for each, got {given}")
    return energies


def _plain(values: Any, errors: Any, unit: str | None) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray], str]:
    """Fluxes and errors below and above as numbers, and their unit; magnitudes become Jy."""
    if unit is None:
        unit = str(getattr(values, "unit", ""))
    if not unit:
        raise ValueError("flux points need a unit: give unit=..., like 'erg / (cm2 s)', or a quantity")
    magnitude = unit.replace(" ", "") in ("mag(AB)", "ABmag")

    def numbers(given: Any) -> np.ndarray:
        if hasattr(given, "unit"):
            given = given.value if magnitude else given.to_value(units.unit(unit))
        return np.atleast_1d(np.asarray(given, float))

    flux = numbers(values)
    pair = errors if isinstance(errors, tuple) and len(errors) == 2 else (errors, errors)
    below, above = (numbers(each) * np.ones_like(flux) for each in pair)
    if magnitude:
        # A fainter magnitude is a larger number: what is below is above.
        flux = _AB_ZERO * 10 ** (-0.4 * flux)
        below, above = flux * (1 - 10 ** (-0.4 * above)), flux * (10 ** (0.4 * below) - 1)
        unit = "Jy"
    return flux, (below, above), unit


def _definition(low: np.ndarray, high: np.ndarray, moment: int, weight: np.ndarray) -> Response:
    """The matrix that makes of photons in narrow bins the integral of E^moment N(E) over each band, times a weight."""
    from scipy import sparse

    edges = np.unique(np.concatenate([low, high]))
    pieces = [np.geomspace(a, b, int(np.ceil(np.log(b / a) / _STEP)) + 1)[:-1] for a, b in itertools.pairwise(edges)]
    edges = np.append(np.concatenate(pieces), edges[-1])
    # Edges that differ by rounding alone make no bin.
    edges = edges[np.append(True, np.diff(edges) > 1e-12 * edges[1:])]
    first, last = edges[:-1], edges[1:]
    inside = (first >= low[:, None] * (1 - 1e-12)) & (last <= high[:, None] * (1 + 1e-12))
    used = inside.any(axis=0)
    first, last, inside = first[used], last[used], inside[:, used]
    matrix = sparse.csr_array(inside * np.sqrt(first * last) ** moment * weight[:, None])
    return Response(first, last, np.arange(1, len(low) + 1), low, high, matrix, name="definition of the fluxes")
