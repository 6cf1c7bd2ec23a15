"""PHA, RMF, RSP and ARF files as other programs read them (OGIP memos 92-007 and CAL/GEN/92-002)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _selection

if TYPE_CHECKING:
    from ._observation import Background, Observation
    from ._response import Response


def write_observation(observation: Observation, path: Any, overwrite: bool) -> Path:
    """The PHA file's path, after writing it and, beside it, background and response."""
    path = Path(path)
    if path.is_dir() or not path.suffix:
        path = path / f"{observation.name}.pha"
    path.parent.mkdir(parents=True, exist_ok=True)
    response_path = path.with_suffix(".rsp")
    background_path = path.with_name(f"{path.stem}_bkg.pha")
    background = observation.background
    names = {
        "RESPFILE": response_path.name,
        "BACKFILE": background_path.name if background is not None else "none",
    }
    quality = None if observation.quality is None else observation.quality
    net = "TOTAL" if observation.errors is None else "NET"
    _refuse_existing([path, response_path, *([background_path] if background is not None else [])], overwrite)
    source = _spectrum(observation, observation.response, net, names)
    _save([_with_flags(source, quality, _grouping_flags(observation))], path)
    if background is not None:
        _save([_with_flags(_spectrum(background, observation.response, "BKG", {}), None, None)], background_path)
    write_response(observation.response, response_path, None, overwrite)
    return path


def write_response(response: Response, path: Any, arf: Any, overwrite: bool) -> None:
    """An RSP file, or an RMF file and its ARF file."""
    from astropy.io import fits
    from scipy import sparse

    path = Path(path)
    _refuse_existing([path, *([Path(arf)] if arf is not None else [])], overwrite)
    matrix: Any = response.matrix
    if arf is not None:
        area = response.area
        scale = np.divide(1.0, area, out=np.zeros(area.size), where=area > 0)
        matrix = matrix @ sparse.diags_array(scale)
        columns = [*_energies(response), fits.Column("SPECRESP", "D", unit="cm**2", array=area)]
        table = fits.BinTableHDU.from_columns(columns, name="SPECRESP")
        table.header.update(HDUCLASS="OGIP", HDUCLAS1="RESPONSE", HDUCLAS2="SPECRESP", HDUVERS="1.1.0")
        table.header.update(TELESCOP="none", INSTRUME="none", FILTER="none")
        _save([table], Path(arf))
    _save([_matrix(response, matrix.tocsc(), full=arf is None), _bounds(response)], path)


def _refuse_existing(paths: list[Path], overwrite: bool) -> None:
    for path in paths:
        if path.exists() and not overwrite:
            raise FileExistsError(f"{path} exists; give overwrite=True to replace it")


def _save(tables: list[Any], path: Path) -> None:
    from astropy.io import fits

    fits.HDUList([fits.PrimaryHDU(), *tables]).writeto(path, overwrite=True)


def _energies(response: Response) -> list[Any]:
    from astropy.io import fits

    return [
        fits.Column("ENERG_LO", "D", unit="keV", array=response.energy_low),
        fits.Column("ENERG_HI", "D", unit="keV", array=response.energy_high),
    ]


def _matrix(response: Response, matrix: Any, full: bool) -> Any:
    """The matrix extension: each row holds the runs of neighbouring channels that see the photon bin."""
    from astropy.io import fits

    matrix.sort_indices()
    number = response.channels[matrix.indices]
    column = np.repeat(np.arange(response.energy_low.size), np.diff(matrix.indptr))
    starts = np.flatnonzero(np.diff(number, prepend=-2) != 1)
    starts = np.union1d(starts, np.flatnonzero(np.diff(column, prepend=-1)))
    n_groups = np.bincount(column[starts], minlength=response.energy_low.size)
    split = np.cumsum(n_groups)[:-1]
    lengths = np.diff(starts, append=number.size)
    columns = [
        *_energies(response),
        fits.Column("N_GRP", "J", array=n_groups),
        fits.Column("F_CHAN", "PJ()", array=_ragged(number[starts], split, np.int32)),
        fits.Column("N_CHAN", "PJ()", array=_ragged(lengths, split, np.int32)),
        fits.Column("MATRIX", "PD()", unit="cm**2", array=_ragged(matrix.data, matrix.indptr[1:-1], np.float64)),
    ]
    table = fits.BinTableHDU.from_columns(columns, name="SPECRESP MATRIX" if full else "MATRIX")
    table.header.update(
        HDUCLASS="OGIP",
        HDUCLAS1="RESPONSE",
        HDUCLAS2="RSP_MATRIX",
        HDUCLAS3="FULL" if full else "REDIST",
        HDUVERS="1.3.0",
        TELESCOP="none",
        INSTRUME="none",
        FILTER="none",
        CHANTYPE="PI",
        DETCHANS=response.channels.size,
        TLMIN4=int(response.channels[0]),
        TLMAX4=int(response.channels[-1]),
        NUMGRP=int(n_groups.sum()),
        NUMELT=int(number.size),
        LO_THRES=0.0,
    )
    return table


def _ragged(values: np.ndarray, split: np.ndarray, kind: Any) -> np.ndarray:
    """A variable-length column from a flat array and the places where its rows end."""
    parts = np.split(values.astype(kind), split)
    result = np.empty(len(parts), dtype=object)
    result[:] = parts
    return result


def _bounds(response: Response) -> Any:
    from astropy.io import fits

    columns = [
        fits.Column("CHANNEL", "J", array=response.channels),
        fits.Column("E_MIN", "D", unit="keV", array=response.channel_low),
        fits.Column("E_MAX", "D", unit="keV", array=response.channel_high),
    ]
    table = fits.BinTableHDU.from_columns(columns, name="EBOUNDS")
    table.header.update(HDUCLASS="OGIP", HDUCLAS1="RESPONSE", HDUCLAS2="EBOUNDS", HDUVERS="1.2.0")
    table.header.update(TELESCOP="none", INSTRUME="none", FILTER="none", CHANTYPE="PI")
    table.header["DETCHANS"] = response.channels.size
    table.header.update(TLMIN1=int(response.channels[0]), TLMAX1=int(response.channels[-1]))
    return table


def _spectrum(
    data: Observation | Background, response: Response, kind: str, files: dict[str, str]
) -> tuple[list[Any], dict[str, Any]]:
    """Columns and keywords of a spectrum extension."""
    from astropy.io import fits

    whole = data.errors is None and bool(np.all(data.counts == np.round(data.counts)) and data.counts.max() < 2**31)
    columns = [
        fits.Column("CHANNEL", "J", array=response.channels),
        fits.Column("COUNTS", "J" if whole else "D", unit="count", array=data.counts),
    ]
    keywords: dict[str, Any] = {
        "HDUCLASS": "OGIP",
        "HDUCLAS1": "SPECTRUM",
        "HDUCLAS2": kind,
        "HDUCLAS3": "COUNT",
        "HDUVERS": "1.2.1",
        "TELESCOP": getattr(data, "mission", "") or "none",
        "INSTRUME": getattr(data, "instrument", "") or "none",
        "FILTER": "none",
        "CHANTYPE": "PI",
        "DETCHANS": response.channels.size,
        "TLMIN1": int(response.channels[0]),
        "TLMAX1": int(response.channels[-1]),
        "EXPOSURE": data.exposure,
        "POISSERR": data.errors is None,
        "CORRSCAL": 1.0,
    }
    keywords |= dict.fromkeys(("BACKFILE", "RESPFILE", "ANCRFILE", "CORRFILE"), "none")
    for name, values in (("STAT_ERR", data.errors), ("SYS_ERR", data.systematic)):
        if values is not None:
            columns.append(fits.Column(name, "D", array=values))
    for name, values in (("AREASCAL", data.area_scale), ("BACKSCAL", data.back_scale)):
        if np.ndim(values):
            columns.append(fits.Column(name, "D", array=values))
        else:
            keywords[name] = values
    return columns, keywords | files


def _with_flags(
    parts: tuple[list[Any], dict[str, Any]], quality: np.ndarray | None, grouping: np.ndarray | None
) -> Any:
    from astropy.io import fits

    columns, keywords = parts
    for name, flags in (("QUALITY", quality), ("GROUPING", grouping)):
        if flags is None:
            keywords = {**keywords, name: 0}
        else:
            columns = [*columns, fits.Column(name, "I", array=flags)]
    table = fits.BinTableHDU.from_columns(columns, name="SPECTRUM")
    for name, value in keywords.items():
        table.header[name] = value
    return table


def _grouping_flags(observation: Observation) -> np.ndarray | None:
    """The GROUPING column of the bins in use: 1 starts a bin, -1 continues it."""
    if observation.grouping_method == "file":
        return observation.grouping
    if observation.grouping_method is None:
        return None
    groups = _selection.labels(observation, _selection.selected(observation))
    continues = (groups[1:] == groups[:-1]) & (groups[1:] >= 0)
    return np.concatenate([[1], np.where(continues, -1, 1)])
