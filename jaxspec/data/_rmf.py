"""RMF, RSP and ARF files as plain arrays (OGIP memos CAL/GEN/92-002 and 92-002a)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ._fits import (
    Address,
    OgipError,
    Repair,
    column,
    column_index,
    header_number,
    is_table,
    keyword,
    label,
    numbers,
    opened,
    scale,
    whole_numbers,
)

if TYPE_CHECKING:
    from scipy.sparse import csr_array


@dataclass(frozen=True, eq=False)
class Matrix:
    """One redistribution matrix as stored: `values` is (n_energies, n_channels), rows in the file's order."""

    energy_low: np.ndarray
    energy_high: np.ndarray
    values: csr_array
    kind: str
    start: float | None
    stop: float | None
    where: str


@dataclass(frozen=True, eq=False)
class ResponseFile:
    """All matrices of a file and the channels they share."""

    channels: np.ndarray
    channel_low: np.ndarray
    channel_high: np.ndarray
    matrices: list[Matrix]


def is_matrix(hdu: Any) -> bool:
    """Whether an HDU holds a redistribution matrix: the columns decide, keywords are often wrong."""
    return is_table(hdu) and all(
        column_index(hdu, name) is not None for name in ("N_GRP", "F_CHAN", "N_CHAN", "MATRIX")
    )


def is_bounds(hdu: Any) -> bool:
    """Whether an HDU holds the nominal energies of the channels."""
    return is_table(hdu) and all(column_index(hdu, name) is not None for name in ("CHANNEL", "E_MIN", "E_MAX"))


def read_response_file(file: Address, repairs: list[Repair], chosen: int | None = None) -> ResponseFile:
    """Everything in an RMF or RSP file, or only the matrix with the number `chosen`, from 1."""
    path = file.path
    with opened(path) as hdus:
        matrices = [hdu for hdu in hdus if is_matrix(hdu)]
        bounds = [hdu for hdu in hdus if is_bounds(hdu)]
        if isinstance(file.extension, int):
            matrices = [hdu for hdu in hdus[file.extension : file.extension + 1] if is_matrix(hdu)]
        elif file.extension is not None:
            matrices = [hdu for hdu in matrices if hdu.name == file.extension.upper()]
        if not matrices:
            raise OgipError(
                f"{path}: no response matrix: no extension has the columns N_GRP, F_CHAN, N_CHAN and MATRIX"
            )
        if not bounds:
            raise OgipError(f"{path}: no EBOUNDS extension with the columns CHANNEL, E_MIN and E_MAX")
        channels, low, high = read_bounds(bounds[0], path, repairs)
        if chosen is not None:
            if not 1 <= chosen <= len(matrices):
                raise OgipError(f"{path}: no matrix number {chosen}; the file has {len(matrices)}")
            matrices = [matrices[chosen - 1]]
        return ResponseFile(channels, low, high, [read_matrix(hdu, path, channels, repairs) for hdu in matrices])


def read_bounds(hdu: Any, path: Path, repairs: list[Repair]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Channel numbers and nominal energies in keV."""
    where = label(path, hdu)
    channels = whole_numbers(column(hdu, "CHANNEL", path), "CHANNEL", where)
    low = numbers(column(hdu, "E_MIN", path), "E_MIN", where) * scale(hdu, "E_MIN", "keV", where, repairs)
    high = numbers(column(hdu, "E_MAX", path), "E_MAX", where) * scale(hdu, "E_MAX", "keV", where, repairs)
    if not channels.ndim == low.ndim == high.ndim == 1:
        raise OgipError(f"{where}: CHANNEL, E_MIN and E_MAX must hold one number a row")
    wrong = np.flatnonzero(np.diff(channels) <= 0)
    if wrong.size:
        raise OgipError(f"{where}: column CHANNEL, row {wrong[0] + 2}: channel numbers must increase")
    swapped = low > high
    if swapped.any():
        repairs.append(Repair(f"EBOUNDS: E_MIN above E_MAX in {swapped.sum()} rows, exchanged"))
        low, high = np.minimum(low, high), np.maximum(low, high)
    return channels, low, high


def ragged(values: Any, name: str, where: str) -> tuple[np.ndarray, np.ndarray]:
    """A column of scalars, fixed vectors or variable vectors as one flat array and the length of each row."""
    if getattr(getattr(values, "dtype", None), "kind", "") == "O":
        lengths = np.array([np.size(row) for row in values], dtype=np.int64)
        filled = [np.ravel(row) for row in values if np.size(row)]
        flat = np.concatenate(filled) if filled else np.zeros(0)
    else:
        array = np.asarray(values)
        array = array.reshape(len(array), -1)
        lengths = np.full(len(array), array.shape[1], dtype=np.int64)
        flat = array.ravel()
    try:
        return flat.astype(np.float64), lengths
    except (TypeError, ValueError) as error:
        raise OgipError(f"{where}: column {name} does not hold numbers") from error


def heads(values: Any, wanted: np.ndarray, name: str, where: str, whole: bool = False) -> np.ndarray:
    """The first `wanted` elements of each row of a ragged column, one row after the other."""
    flat, lengths = ragged(values, name, where)
    short = np.flatnonzero(wanted > lengths)
    if short.size:
        row = short[0]
        raise OgipError(
            f"{where}: column {name}, row {row + 1}: {lengths[row]} elements where {wanted[row]} are due: "
            "the matrix is truncated"
        )
    result = flat[np.repeat(np.cumsum(lengths) - lengths, wanted) + counting(wanted)]
    wrong = ~np.isfinite(result) | (whole & ((result % 1 != 0) | (np.abs(result) > 2**31)))
    if wrong.any():
        row = np.repeat(np.arange(len(wanted)), wanted)[np.argmax(wrong)]
        kind = "whole" if whole else "finite"
        raise OgipError(f"{where}: column {name}, row {row + 1}: {result[np.argmax(wrong)]:g} is not a {kind} number")
    return result.astype(np.int64) if whole else result


def counting(lengths: np.ndarray) -> np.ndarray:
    """0, 1, ... within each of the runs of the given lengths."""
    return np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)


def read_matrix(hdu: Any, path: Path, channels: np.ndarray, repairs: list[Repair]) -> Matrix:
    """One matrix extension."""
    where = label(path, hdu)
    low = numbers(column(hdu, "ENERG_LO", path), "ENERG_LO", where) * scale(hdu, "ENERG_LO", "keV", where, repairs)
    high = numbers(column(hdu, "ENERG_HI", path), "ENERG_HI", where) * scale(hdu, "ENERG_HI", "keV", where, repairs)
    n_groups = whole_numbers(column(hdu, "N_GRP", path), "N_GRP", where)
    if not low.ndim == high.ndim == n_groups.ndim == 1:
        raise OgipError(f"{where}: ENERG_LO, ENERG_HI and N_GRP must hold one number a row")
    if (n_groups < 0).any():
        raise OgipError(f"{where}: column N_GRP, row {np.argmax(n_groups < 0) + 1}: negative")
    first = heads(column(hdu, "F_CHAN", path), n_groups, "F_CHAN", where, whole=True)
    length = heads(column(hdu, "N_CHAN", path), n_groups, "N_CHAN", where, whole=True)
    group_row = np.repeat(np.arange(len(low)), n_groups)
    if (length < 0).any():
        raise OgipError(f"{where}: column N_CHAN, row {group_row[np.argmax(length < 0)] + 1}: negative")
    if length.sum() > len(low) * len(channels) * 4:
        raise OgipError(f"{where}: column N_CHAN announces more elements than channels times energies")
    # bincount with weights counts in floats, exact up to 2^53.
    per_row = np.bincount(group_row, weights=length, minlength=len(low)).astype(np.int64)
    elements = heads(column(hdu, "MATRIX", path), per_row, "MATRIX", where)
    elements = elements * scale(hdu, "MATRIX", "cm2", where, repairs)
    number = np.repeat(first, length) + counting(length)
    row = np.repeat(np.arange(len(low)), per_row)
    number = number + channel_shift(hdu, first, length, channels, where, repairs)
    values = assemble(row, number, elements, (len(low), len(channels)), channels, where, repairs)
    start, stop = header_number(hdu, "TSTART"), header_number(hdu, "TSTOP")
    return Matrix(low, high, values, keyword(hdu, "HDUCLAS3"), start, stop, where)


def channel_shift(
    hdu: Any, first: np.ndarray, length: np.ndarray, channels: np.ndarray, where: str, repairs: list[Repair]
) -> int:
    """What to add to F_CHAN to get channel numbers of EBOUNDS.

    TLMINn of F_CHAN is the number of the first channel. Where it is absent OGIP takes 1, but files are
    written that mean the numbers in EBOUNDS: whichever keeps every group inside the channels is right.
    """
    used = length > 0
    if not used.any():
        return 0
    lowest, highest = int(first[used].min()), int((first + length)[used].max()) - 1
    index = column_index(hdu, "F_CHAN")
    stated = header_number(hdu, f"TLMIN{index + 1}") if index is not None else None
    by_keyword = int(channels[0] - (1 if stated is None else stated))
    # A first channel far from the keyword: EBOUNDS lists a part of the channels, under their true numbers.
    candidates = [by_keyword, 0] if stated is not None and abs(by_keyword) <= 1 else [0, by_keyword]
    fits = [shift for shift in candidates if lowest + shift >= channels[0] and highest + shift <= channels[-1]]
    if not fits:
        return candidates[0]
    if stated is None and len(set(fits)) > 1:
        text = f"{where}: TLMIN of F_CHAN is missing, F_CHAN taken as channel numbers of EBOUNDS"
        repairs.append(Repair(text, loud=abs(by_keyword) > 0))
    elif fits[0] != candidates[0]:
        text = f"{where}: F_CHAN counts from {int(channels[0]) - fits[0]}, or groups would leave the channels"
        repairs.append(Repair(text, loud=stated is not None))
    return fits[0]


def assemble(
    row: np.ndarray,
    number: np.ndarray,
    elements: np.ndarray,
    shape: tuple[int, int],
    channels: np.ndarray,
    where: str,
    repairs: list[Repair],
) -> csr_array:
    """The sparse matrix of elements at (row, channel number)."""
    from scipy.sparse import csr_array

    position = np.minimum(np.searchsorted(channels, number), len(channels) - 1)
    known = channels[position] == number
    outside = ~known & (elements != 0)
    if outside.any():
        text = f"{where}: {outside.sum()} elements lie in channels that EBOUNDS does not list (such as "
        repairs.append(Repair(text + f"{number[outside][0]}, row {row[outside][0] + 1}), left out", loud=True))
    if elements.size and not known.any():
        raise OgipError(f"{where}: F_CHAN names no channel that EBOUNDS lists ({channels[0]} to {channels[-1]})")
    row, position, elements = row[known], position[known], elements[known]
    if (elements < 0).any():
        bad = np.argmax(elements < 0)
        raise OgipError(f"{where}: column MATRIX, row {row[bad] + 1}: negative element {elements[bad]:g}")
    starts = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=shape[0]))])
    values = csr_array((elements, position, starts), shape=shape)
    values.sort_indices()
    repeated = np.flatnonzero((np.diff(values.indices) == 0) & (np.diff(row) == 0))
    if repeated.size:
        bad = row[repeated[0]] + 1
        raise OgipError(f"{where}: columns F_CHAN and N_CHAN, row {bad}: channel groups overlap")
    values.eliminate_zeros()
    return values


def read_area(file: Address, repairs: list[Repair]) -> tuple[np.ndarray, np.ndarray, np.ndarray, str]:
    """Photon bins in keV and effective area in cm2 of an ARF, and how messages call it."""
    path = file.path
    with opened(path) as hdus:
        tables = [hdu for hdu in hdus if is_table(hdu) and column_index(hdu, "SPECRESP") is not None]
        if not tables:
            raise OgipError(f"{path}: no effective area: no extension has a column SPECRESP")
        hdu = tables[0]
        where = label(path, hdu)
        arrays = [
            numbers(column(hdu, name, path), name, where) * scale(hdu, name, unit_name, where, repairs)
            for name, unit_name in (("ENERG_LO", "keV"), ("ENERG_HI", "keV"), ("SPECRESP", "cm2"))
        ]
    if any(array.ndim != 1 for array in arrays):
        raise OgipError(f"{where}: ENERG_LO, ENERG_HI and SPECRESP must hold one number a row")
    if (arrays[2] < 0).any():
        raise OgipError(f"{where}: column SPECRESP, row {np.argmax(arrays[2] < 0) + 1}: negative area")
    return arrays[0], arrays[1], arrays[2], where
