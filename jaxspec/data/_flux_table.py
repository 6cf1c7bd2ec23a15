"""Tables of flux points as gammapy and catalogues write them, as what `FluxPoints` is made of."""

from __future__ import annotations

import statistics
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .. import units
from ._fits import OgipError, RepairWarning, address, opened

SPECTRA, BANDS = ("dnde", "e2dnde"), ("flux", "eflux")


class Points(NamedTuple):
    """Energies in keV, or the two ends of bands; fluxes with errors below and above in `unit`; which are limits."""

    energies: tuple[np.ndarray, ...]
    values: np.ndarray
    errors: tuple[np.ndarray, np.ndarray]
    unit: str
    limits: np.ndarray


def read_points(given: Any, kind: str | None, level: float) -> Points:
    """The rows of a table with a flux and its error, or with a limit of this confidence level."""
    table = _Table(given)
    kind, column = table.kind(kind)
    per_reference = column == "norm"
    unit = table.unit(f"ref_{kind}" if per_reference else kind)
    reference = table.numbers(f"ref_{kind}", unit) if per_reference else 1.0
    values, error, below, above, limits = (
        reference * table.numbers(column + ending, "" if per_reference else unit)
        for ending in ("", "_err", "_errn", "_errp", "_ul")
    )
    # A negative error on one side stands for none.
    below, above = np.where(below > 0, below, error), np.where(above > 0, above, error)
    measured = np.isfinite(values) & (below > 0) & (above > 0)
    is_limit = table.numbers("is_ul", "") > 0 if "is_ul" in table.columns else ~measured & np.isfinite(limits)
    used = np.where(is_limit, limits > 0, measured)
    if not used.any():
        raise OgipError(f"{table.name}: no row has a value of {column} with its error, or a limit {column}_ul")
    if not used.all():
        rows = ", ".join(str(row + 1) for row in np.flatnonzero(~used)[:5])
        text = f"{(~used).sum()} rows with neither {column} and its error nor a limit left out (row {rows})"
        warnings.warn(f"{table.name}: {text}", RepairWarning, stacklevel=4)
    deviation = limits / table.deviations(level)
    errors = np.where(is_limit, deviation, below)[used], np.where(is_limit, deviation, above)[used]
    energies = tuple(each[used] for each in table.energies(kind))
    return Points(energies, np.where(is_limit, limits, values)[used], errors, unit.to_string(), is_limit[used])


class _Table:
    """Columns and keywords, by their names in lower case; `name` is what messages call the table."""

    def __init__(self, given: Any) -> None:
        from astropy.table import Table

        is_file = isinstance(given, (str, Path))
        self.name = str(given) if is_file else "the table"
        table: Any = _read(given) if is_file else Table(given)
        self.columns: dict[str, Any] = {name.lower(): table[name] for name in table.colnames}
        self.meta = {str(key).lower(): value for key, value in table.meta.items()}
        self.length = len(table)

    def kind(self, asked: str | None) -> tuple[str, str]:
        """Which flux is taken (the one asked for, that of SED_TYPE, or the first there is), and its column."""
        known = (*SPECTRA, *BANDS)
        if asked is not None and asked not in known:
            raise ValueError(f"no flux is called {asked!r}; there are {', '.join(known)}")
        for kind in (asked,) if asked else (str(self.meta.get("sed_type", "")).lower(), *known):
            if kind in known and kind in self.columns:
                return kind, kind
            if "norm" in self.columns and f"ref_{kind}" in self.columns:
                return kind, "norm"
        raise OgipError(
            f"{self.name}: no column {asked or ', '.join(known)}, nor norm with ref_{asked or 'dnde'}; it has "
            f"{', '.join(self.columns)}"
        )

    def unit(self, name: str) -> Any:
        """The unit of a column that needs one."""
        if not self.columns[name].unit:
            raise OgipError(f"{self.name}: column {name} has no unit; read it by astropy and set table[{name!r}].unit")
        return units.unit(self.columns[name].unit)

    def numbers(self, name: str, unit: Any) -> np.ndarray:
        """A column in this unit, or in no unit; NaN where it is empty, or not there."""
        if name not in self.columns:
            return np.full(self.length, np.nan)
        column = self.columns[name]
        try:
            values = np.asarray(np.ma.filled(np.ma.asarray(column, dtype=np.float64), np.nan))
            factor: Any = units.unit(column.unit).to(unit) if column.unit else 1.0
        except (TypeError, ValueError) as error:
            raise OgipError(f"{self.name}: column {name} does not hold numbers in {unit or 'no unit'}") from error
        if values.shape != (self.length,):
            raise OgipError(f"{self.name}: column {name} must hold one number a row")
        return values * factor

    def energies(self, kind: str) -> tuple[np.ndarray, ...]:
        """The energies of a spectrum, by themselves or as the middle of bands in ln E, or the ends of bands; in keV."""
        by_itself = kind in SPECTRA and "e_ref" in self.columns
        names = ("e_ref",) if by_itself else ("e_min", "e_max")
        if not self.columns.keys() >= set(names):
            wanted = "e_ref, or e_min and e_max" if kind in SPECTRA else "e_min and e_max"
            raise OgipError(f"{self.name}: {kind} needs the columns {wanted}; there are {', '.join(self.columns)}")
        found = []
        for name in names:
            self.unit(name)
            found.append(self.numbers(name, "keV"))
            wrong = ~(found[-1] > 0)
            if wrong.any():
                raise OgipError(f"{self.name}: column {name}, row {np.argmax(wrong) + 1}: an energy must be positive")
        return tuple(found) if by_itself or kind in BANDS else (np.sqrt(found[0] * found[1]),)

    def stated(self, name: str, otherwise: float) -> float:
        """A keyword that is a number."""
        value = self.meta.get(name)
        try:
            return otherwise if value is None else float(value)
        except (TypeError, ValueError) as error:
            raise OgipError(f"{self.name}: {name} is {value!r}, not a number") from error

    def deviations(self, level: float) -> float:
        """How many standard deviations a limit is: gammapy's n_sigma_ul, or a one-sided confidence level."""
        sigma = self.stated("n_sigma_ul", 0.0)
        if sigma > 0:
            return sigma
        confidence = self.stated("ul_conf", level)
        if not 0.5 < confidence < 1:
            raise ValueError(f"{self.name}: the confidence level of limits lies between 0.5 and 1, got {confidence}")
        return statistics.NormalDist().inv_cdf(confidence)


def _read(given: Any) -> Any:
    """The table in a file, whose kind its ending or content tells."""
    from astropy.table import Table

    file = address(given)
    if not file.path.is_file():
        raise FileNotFoundError(f"{file.path}: no such file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # other tables in the file
            if not {".fits", ".fit"} & set(file.path.suffixes):
                return Table.read(file.path)
            with opened(file.path) as hdus:
                return Table.read(hdus, format="fits", hdu=file.extension)
    except Exception as error:
        # astropy's readers answer damage with many exceptions: for the user it is one thing.
        text = " ".join(str(error).split())[:200]
        raise OgipError(f"{given}: no table that astropy reads ({type(error).__name__}: {text})") from error
