"""XSPEC's table models: FITS files after OGIP memo 92-009."""

from __future__ import annotations

import keyword
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxspec.parameters import Declaration
from jaxspec.spectra import _tables
from jaxspec.spectra._tables import Layout

_CHECKED = 64  # rows whose order is compared with the memo's


def table_from_ogip(
    path: Any,
    kind: str | None = None,
    *,
    within: Mapping[str, tuple[float, float]] | None = None,
    name: str | None = None,
) -> Any:
    r"""An XSPEC table model (`atable`, `mtable`, `etable`) as a component.

    $$F_i = \mathrm{norm} \left(\sum_c w_c \, F_{c,i} + \sum_k a_k \sum_c w_c \, F_{k,c,i}\right)$$

    photons in bin i of the table: over the corners c of the cell in which the parameters lie, with the weights of
    multilinear interpolation (in the logarithm where the file says so), and the additional parameters a_k. Inside a bin
    of the table N(E) is constant, outside it is 0. A multiplicative table holds factors, an exponential one x in
    exp(-x). With a redshift, N(E) is that at E (1 + z); with a scale s, that at E / s, divided by s; with both, that at
    E (1 + z) / s, divided by s.

    The file is mapped into memory, not read: what a call needs is read then, and a `Problem` takes all of the table,
    or the part `within` which parameters stay.

    Args:
        path: of the file.
        kind: "additive", "multiplicative" or "exponential"; without it additive or multiplicative, as the file says.
        within: for parameters, a smaller range: only the part of the table around it is kept.
        name: of the component; by default the file's MODLNAME.

    Raises `FileNotFoundError`, `ValueError` for a file that is no table model or has what is not supported (several
    spectra a row, an additive table that is not 0 outside), `KeyError` for an unknown name in `within`.

    **Reference:** Arnaud, OGIP memo 92-009, "The file format for XSPEC table models".
    """
    from astropy.io import fits

    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no table model at {path}")
    with fits.open(path, memmap=True) as hdus:
        missing = [each for each in ("PARAMETERS", "ENERGIES", "SPECTRA") if each not in hdus]
        if missing:
            raise ValueError(f"{path} is no XSPEC table model: it has no extension {' and no '.join(missing)}")
        table = _table(hdus, str(path), kind, name)
    return _tables.cut(table, within) if within else table


def _table(hdus: Any, path: str, kind: str | None, name: str | None) -> Any:
    header = hdus[0].header
    kind = _kind(header, path, kind)
    if header.get("NXFLTEXP", 1) > 1:
        raise ValueError(f"{path} has {header['NXFLTEXP']} spectra for each set of parameters; one is supported")
    below, above = (float(header.get(key, kind != "additive")) for key in ("LOELIMIT", "HIELIMIT"))
    if kind == "additive" and (below or above):
        raise ValueError(f"{path} is not 0 outside of its energies (LOELIMIT, HIELIMIT), as an additive table must be")
    rows = hdus["PARAMETERS"].data
    n_axes = int(hdus["PARAMETERS"].header.get("NINTPARM", len(rows)))
    units = dict(zip(rows["NAME"], rows["UNITS"])) if "UNITS" in rows.names else {}
    grid = [np.array(row["VALUE"][: row["NUMBVALS"]], float) for row in rows[:n_axes]]
    axes = tuple(_parameter(row, units, values) for row, values in zip(rows[:n_axes], grid))
    layout = Layout(
        _word(name or str(header.get("MODLNAME", "table"))),
        kind,
        axes,
        tuple(bool(row["METHOD"] == 1) for row in rows[:n_axes]),
        tuple(_parameter(row, units, None) for row in rows[n_axes:]),
        tuple(name for name, key in (("escale", "ESCALE"), ("z", "REDSHIFT")) if header.get(key, False)),
        (below, above),
    )
    energies, spectra = hdus["ENERGIES"].data, hdus["SPECTRA"].data
    edges = np.append(np.array(energies["ENERG_LO"], float), float(energies["ENERG_HI"][-1]))
    columns = ["INTPSPEC", *(f"ADDSP{i:03d}" for i in range(1, len(rows) - n_axes + 1))]
    shape = tuple(map(len, grid))
    _check_rows(spectra["PARAMVAL"], grid, path)
    arrays = [spectra[column].reshape(*shape, len(edges) - 1) for column in columns]
    return _tables.table_of(layout, edges, grid, [np.asarray(array) for array in arrays])


def _kind(header: Any, path: str, kind: str | None) -> str:
    additive = bool(header.get("ADDMODEL", True))
    kind = kind or ("additive" if additive else "multiplicative")
    _tables.check_kind(kind)
    if additive != (kind == "additive"):
        raise ValueError(f"{path} is {'an additive' if additive else 'a multiplicative'} table, not {kind}")
    return kind


def _parameter(row: Any, units: Mapping[str, str], values: np.ndarray | None) -> tuple[str, float, Declaration]:
    """Name, default and declaration; an interpolated parameter stays inside its tabulated values."""
    low, high = float(row["MINIMUM"]), float(row["MAXIMUM"])
    if values is not None:
        low, high = max(low, float(values[0])), min(high, float(values[-1]))
    unit = units.get(row["NAME"], "").strip()
    declared = Declaration(_unit(unit), (low, high), str(row["NAME"]).strip(), bool(row["DELTA"] > 0))
    return _word(str(row["NAME"])), float(np.clip(row["INITIAL"], low, high)), declared


def _unit(text: str) -> str:
    """The unit where astropy knows it."""
    import astropy.units as u

    try:
        u.Unit(text)
    except ValueError:
        return ""
    return text


def _word(text: str) -> str:
    """A name that Python takes: other characters become '_'."""
    word = re.sub(r"\W+", "_", text.strip()).strip("_") or "table"
    word = f"_{word}" if word[0].isdigit() else word
    return f"{word}_" if keyword.iskeyword(word) or word in _tables.TAKEN else word


def _check_rows(found: Any, grid: list[np.ndarray], path: str) -> None:
    """Raises `ValueError` where the spectra are not those of all combinations, the last parameter varying fastest."""
    n = math.prod(map(len, grid))
    if len(found) != n:
        raise ValueError(f"{path} has {len(found)} spectra; its parameters have {n} combinations")
    some = np.unique(np.linspace(0, n - 1, min(n, _CHECKED)).astype(int))
    places = np.unravel_index(some, tuple(map(len, grid)))
    expected = np.stack([values[place] for values, place in zip(grid, places)], axis=-1)
    if not np.allclose(np.reshape(found[some], expected.shape), expected, rtol=1e-4, atol=1e-30):
        raise ValueError(f"the spectra of {path} are not in order: the last parameter must vary fastest")
