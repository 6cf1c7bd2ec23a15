"""PHA files, types I and II, as plain arrays (OGIP memos 92-007 and 92-007a)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ._fits import (
    Address,
    OgipError,
    Repair,
    address,
    column,
    column_index,
    header_number,
    is_table,
    keyword,
    label,
    names_no_file,
    numbers,
    opened,
    whole_numbers,
)
from ._rmf import is_bounds, is_matrix, read_bounds

_STOKES = {"STOKES:1": "Q", "STOKES:2": "U"}  # IXPE; 0 is the intensity


@dataclass(frozen=True, eq=False)
class Spectrum:
    """One spectrum of a PHA file: `errors` is None where the counts are Poisson; rates are made counts."""

    where: str
    path: Path
    extension: int
    row: int | None
    channels: np.ndarray
    counts: np.ndarray
    errors: np.ndarray | None
    systematic: np.ndarray | None
    exposure: float
    area_scale: float | np.ndarray
    back_scale: float | np.ndarray
    quality: np.ndarray | None
    grouping: np.ndarray | None
    files: dict[str, str]
    bounds: tuple[np.ndarray, np.ndarray, np.ndarray] | None
    mission: str
    instrument: str
    start: float | None
    stop: float | None
    repairs: list[Repair]
    sides: tuple[np.ndarray, float] | None = None


def is_spectrum(hdu: Any) -> bool:
    """Whether an HDU is a spectrum: by its columns, and by name or class where that is not enough."""
    if not is_table(hdu) or is_matrix(hdu):
        return False
    if column_index(hdu, "COUNTS") is None and column_index(hdu, "RATE") is None:
        return False
    named = "SPECTRUM" in keyword(hdu, "EXTNAME") or keyword(hdu, "HDUCLAS1") == "SPECTRUM"
    return named or column_index(hdu, "CHANNEL") is not None


def spectrum_hdu(hdus: Any, file: Address, background: bool) -> Any:
    """The spectrum extension of a file; the background's where source and background share the file."""
    found = [hdu for hdu in hdus if is_spectrum(hdu)]
    if isinstance(file.extension, int):
        found = [hdu for hdu in hdus[file.extension : file.extension + 1] if is_spectrum(hdu)]
    elif file.extension is not None:
        found = [hdu for hdu in found if hdu.name == file.extension.upper()]
    if not found:
        names = ", ".join(hdu.name or "(unnamed)" for hdu in hdus[1:])
        raise OgipError(
            f"{file.path}: no spectrum: no extension is called SPECTRUM and has a column COUNTS or RATE; "
            + (f"its extensions: {names}" if names else "it has no extension at all, and may have been cut off")
        )
    wanted = [hdu for hdu in found if (keyword(hdu, "HDUCLAS2") == "BKG") == background]
    return (wanted or found)[0]


def is_type_two(hdu: Any) -> bool:
    """Whether each row is a spectrum: the data column holds vectors (HDUCLAS4 is often wrong)."""
    values = hdu.data.field(_data_column(hdu))
    return values.ndim > 1 or values.dtype == object


def _data_column(hdu: Any) -> int:
    counts = column_index(hdu, "COUNTS")
    index = column_index(hdu, "RATE") if counts is None else counts
    assert index is not None  # is_spectrum saw one of them
    return index


def read_spectra(file: Any, rows: Any, repairs: list[Repair], background: bool = False) -> list[Spectrum]:
    """The spectra of a PHA file: `rows` is a number from 1, None for the only one, or 'all'."""
    file = address(file)
    with opened(file.path) as hdus:
        hdu = spectrum_hdu(hdus, file, background)
        where, extension = label(file.path, hdu), hdus.index(hdu)
        bounds = next((read_bounds(h, file.path, []) for h in hdus if is_bounds(h)), None)
        if not is_type_two(hdu):
            if rows not in (None, "all", 1):
                raise OgipError(f"{where}: row {rows} was asked for, but the file holds one spectrum (type I)")
            return [_Reader(hdu, file.path, extension, None, bounds).spectrum()]
        count = len(hdu.data)
        rows = file.number if rows is None else rows
        if rows is None and count > 1:
            raise OgipError(f"{where}: the file holds {count} spectra: choose one by row=1 to {count}, or read all")
        if rows == "all":
            return _all_rows(hdu, file.path, extension, bounds, repairs)
        row = 1 if rows is None else rows
        if not 1 <= row <= count:
            raise OgipError(f"{where}: no row {row}; the file holds {count} spectra")
        return [_Reader(hdu, file.path, extension, row, bounds).spectrum()]


def _all_rows(hdu: Any, path: Path, extension: int, bounds: Any, repairs: list[Repair]) -> list[Spectrum]:
    """Every row with an exposure: a time series has rows without live time (Fermi GBM: negative)."""
    readers = [_Reader(hdu, path, extension, row + 1, bounds) for row in range(len(hdu.data))]
    exposures = np.array([reader.number("EXPOSURE") or 0.0 for reader in readers])
    if not (exposures > 0).any():
        raise OgipError(f"{label(path, hdu)}: no row has a positive EXPOSURE")
    off = np.flatnonzero(exposures <= 0)
    if off.size:
        rows = ", ".join(str(row + 1) for row in off[:5]) + (", ..." if off.size > 5 else "")
        text = f"{label(path, hdu)}: {off.size} rows without positive EXPOSURE left out ({rows})"
        repairs.append(Repair(text, loud=True))
    return [readers[row].spectrum() for row in np.flatnonzero(exposures > 0)]


class _Row:
    """Takes the fields of one spectrum from columns or, where there is no such column, from keywords."""

    def __init__(self, hdu: Any, path: Path, extension: int, row: int | None, bounds: Any) -> None:
        self.hdu, self.path, self.extension, self.row, self.bounds = hdu, path, extension, row, bounds
        self.repairs: list[Repair] = []
        self.where = label(path, hdu) + ("" if row is None else f" row {row}")
        self.each = "row" if row is None else "element"  # what a channel is in the table

    def values(self, name: str) -> Any:
        """The column's values for this spectrum, or None."""
        if column_index(self.hdu, name) is None:
            return None
        values = column(self.hdu, name, self.path)
        return values if self.row is None else values[self.row - 1]

    def vector(self, name: str, size: int | None = None) -> np.ndarray | None:
        """A column as one number for each channel, or one for all."""
        values = self.values(name)
        if values is None:
            return None
        result = numbers(values, name, self.where, self.each)
        if result.ndim > 1 or (size is not None and result.size not in (1, size)):
            raise OgipError(f"{self.where}: column {name} has {result.size} elements, expected {size}")
        return result

    def number(self, name: str) -> float | None:
        """A column or keyword that is one number for the whole spectrum."""
        values = self.vector(name)
        return header_number(self.hdu, name) if values is None else float(values.flat[0]) if values.size else None

    def time(self, *names: str) -> float | None:
        return next((value for value in map(self.number, names) if value is not None), None)

    def words(self, *names: str) -> str:
        """What keywords say, if anything."""
        said = [str(self.hdu.header.get(name, "")).strip() for name in names]
        return " ".join(text for text in said if not names_no_file(text))

    def file(self, name: str) -> str:
        values = self.values(name)
        if values is None or self.row is None:
            values = self.hdu.header.get(name, "")
        return "" if names_no_file(values) else str(values).strip()


class _Reader(_Row):
    """Makes a spectrum of the fields of one row or file."""

    def spectrum(self) -> Spectrum:
        if self.file("CORRFILE") and header_number(self.hdu, "CORRSCAL") != 0:
            text = f"{self.where}: the correction file {self.file('CORRFILE')} is not subtracted"
            self.repairs.append(Repair(text, loud=True))
        for value in self.hdu.header["XFLT*"].values():
            if (stokes := _STOKES.get(str(value).replace(" ", "").upper())) is not None:
                text = f"{self.where}: {value} is Stokes {stokes}, polarised flux, of which models here know nothing"
                self.repairs.append(Repair(text, loud=True))
        counts, errors, exposure = self.counts()
        size = counts.size
        return Spectrum(
            where=self.where,
            path=self.path,
            extension=self.extension,
            row=self.row,
            channels=self.channels(size),
            counts=counts,
            errors=errors,
            systematic=self.systematic(size),
            exposure=exposure,
            area_scale=self.scaling("AREASCAL", size),
            back_scale=self.scaling("BACKSCAL", size),
            quality=self.flags("QUALITY", size),
            grouping=self.flags("GROUPING", size),
            files={name: self.file(name) for name in ("BACKFILE", "RESPFILE", "ANCRFILE")},
            bounds=self.bounds,
            mission=self.words("TELESCOP"),
            instrument=self.words("INSTRUME", "DETNAM"),
            start=self.time("TIME", "TSTART"),
            stop=self.time("ENDTIME", "TSTOP"),
            repairs=self.repairs,
            sides=self.sides(size),
        )

    def counts(self) -> tuple[np.ndarray, np.ndarray | None, float]:
        exposure = self.number("EXPOSURE")
        if exposure is None:
            raise OgipError(f"{self.where}: no EXPOSURE, neither as keyword nor as column")
        if exposure <= 0:
            raise OgipError(f"{self.where}: EXPOSURE is {exposure:g} s, must be positive")
        name = "RATE" if column_index(self.hdu, "COUNTS") is None else "COUNTS"
        factor = exposure if name == "RATE" else 1.0
        values = self.vector(name)
        assert values is not None  # is_spectrum saw one of them
        if values.ndim != 1 or values.size == 0:
            raise OgipError(f"{self.where}: column {name} holds no channels")
        counts = values * factor
        errors = self.vector("STAT_ERR", counts.size)
        if errors is not None:
            errors = np.broadcast_to(errors * factor, counts.shape)
            if (errors < 0).any():
                raise OgipError(
                    f"{self.where}: column STAT_ERR, {self.each} {np.argmax(errors < 0) + 1}: negative error"
                )
        if errors is None and (counts < 0).any():
            raise OgipError(
                f"{self.where}: column {name}, {self.each} {np.argmax(counts < 0) + 1}: negative counts without errors"
            )
        counts, errors = nature(self, counts, errors, name)
        return counts, errors, exposure

    def channels(self, size: int) -> np.ndarray:
        """Channel numbers; where the column is missing they count from TLMIN, or as EBOUNDS does."""
        values = self.values("CHANNEL")
        if values is not None:
            result = np.atleast_1d(whole_numbers(values, "CHANNEL", self.where, self.each))
            if result.shape != (size,):
                raise OgipError(f"{self.where}: column CHANNEL has {result.size} elements, expected {size}")
        elif self.bounds is not None and self.bounds[0].size == size:
            result = self.bounds[0]
            self.repairs.append(Repair(f"{self.where}: no column CHANNEL, numbered as in EBOUNDS"))
        else:
            first = header_number(self.hdu, f"TLMIN{_data_column(self.hdu) + 1}") or 1.0
            result = np.arange(size) + int(first)
            self.repairs.append(Repair(f"{self.where}: no column CHANNEL, numbered from {int(first)}", loud=True))
        wrong = np.flatnonzero(np.diff(result) <= 0)
        if wrong.size:
            raise OgipError(f"{self.where}: column CHANNEL, {self.each} {wrong[0] + 2}: channel numbers must increase")
        return result

    def scaling(self, name: str, size: int) -> float | np.ndarray:
        values = self.vector(name, size)
        if values is None:
            stated = header_number(self.hdu, name)
            values = np.array(1.0 if stated is None else stated)
        if (values < 0).any():
            raise OgipError(f"{self.where}: {name} is negative in {self.each} {np.argmax(values < 0) + 1}")
        if not values.any():
            self.repairs.append(Repair(f"{self.where}: {name} is 0, taken as 1", loud=True))
            return 1.0
        return float(values.flat[0]) if values.size == 1 else values

    def flags(self, name: str, size: int) -> np.ndarray | None:
        """QUALITY or GROUPING, None where all channels are alike."""
        values = self.vector(name, size)
        if values is None:
            values = np.array(header_number(self.hdu, name) or 0.0)
        flags = np.broadcast_to(whole_numbers(values, name, self.where, self.each), (size,))
        if name == "GROUPING" and not np.isin(flags, (-1, 0, 1)).all():
            bad = int(np.argmin(np.isin(flags, (-1, 0, 1))))
            raise OgipError(f"{self.where}: column GROUPING, {self.each} {bad + 1}: {flags[bad]}, expected 1, 0 or -1")
        ungrouped = flags >= 0 if name == "GROUPING" else flags == 0
        return None if ungrouped.all() else flags

    def systematic(self, size: int) -> np.ndarray | None:
        """Fractional systematic errors, None where all are 0."""
        values = self.vector("SYS_ERR", size)
        if values is None:
            values = np.array(header_number(self.hdu, "SYS_ERR") or 0.0)
        if (values < 0).any():
            raise OgipError(f"{self.where}: SYS_ERR is negative in {self.each} {np.argmax(values < 0) + 1}")
        return np.broadcast_to(values, (size,)) if values.any() else None

    def sides(self, size: int) -> tuple[np.ndarray, float] | None:
        """Chandra's two background strips beside a grating spectrum: summed counts and BACKSCAL."""
        up, down = self.vector("BACKGROUND_UP", size), self.vector("BACKGROUND_DOWN", size)
        if up is None or down is None:
            return None
        scales = [header_number(self.hdu, name) or 1.0 for name in ("BACKSCUP", "BACKSCDN")]
        return up + down, sum(scales)


def nature(row: _Row, counts: np.ndarray, errors: np.ndarray | None, name: str) -> tuple[np.ndarray, np.ndarray | None]:
    """Whether the counts are Poisson (then without errors): the numbers decide, or POISSERR in doubt."""
    stated = str(row.hdu.header.get("POISSERR", "")).strip().upper() in {"TRUE", "T", "1"}
    if errors is not None and counts.any() and not errors.any():
        row.repairs.append(Repair(f"{row.where}: column STAT_ERR is 0 throughout, left out"))
        errors = None
    whole = np.round(counts)
    # A rate in single precision times the exposure is whole to about 1e-7 of its value.
    slack = 1e-3 + 1e-6 * np.abs(counts) if name == "RATE" else 0.0
    is_whole = bool(np.all(np.abs(counts - whole) <= slack))
    if name == "COUNTS" and is_whole and errors is not None and whole.min() < 0 < whole.max():
        _refuse_negative(row, errors, whole, stated)
    is_whole = is_whole and bool(np.all(whole >= 0))
    if name == "COUNTS" and is_whole:
        if stated or errors is None or _follows_counts(errors, whole):
            if not stated and "POISSERR" in row.hdu.header:
                row.repairs.append(Repair(f"{row.where}: POISSERR = F, but the counts are whole: read as Poisson"))
            return whole, None
        return counts, errors
    if name == "RATE" and is_whole and stated and whole.any():
        text = f"{row.where}: RATE with POISSERR = T is whole counts per exposure: read as Poisson"
        row.repairs.append(Repair(text, loud=True))
        return whole, None
    if errors is not None:
        if stated:
            row.repairs.append(Repair(f"{row.where}: POISSERR = T, but the counts are not whole: Gaussian errors"))
        return counts, errors
    if stated and np.all(counts >= 0):
        row.repairs.append(Repair(f"{row.where}: the counts are not whole, taken as Poisson all the same", loud=True))
        return counts, None
    raise OgipError(f"{row.where}: column {name} does not hold whole counts, and there is no column STAT_ERR")


def _refuse_negative(row: _Row, errors: np.ndarray, counts: np.ndarray, poisson: bool) -> None:
    """Net counts may be negative, but their errors are not those of the counts alone."""
    below = counts < 0
    if poisson or _follows_counts(errors[~below], counts[~below]):
        at = f"{row.where}: column COUNTS, {row.each} {np.argmax(below) + 1}"
        raise OgipError(f"{at}: negative counts, where the errors are those of Poisson counts")


def _follows_counts(errors: np.ndarray, counts: np.ndarray) -> bool:
    """Whether errors are a formula of Poisson counts: sqrt(N), any at 0, or Gehrels' 1 + sqrt(N + 3/4)."""
    filled = counts > 0
    root = np.allclose(errors[filled], np.sqrt(counts[filled]), rtol=1e-4)
    return root or bool(np.allclose(errors, 1 + np.sqrt(counts + 0.75), rtol=1e-4))
