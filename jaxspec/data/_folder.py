"""Many spectra from a folder, a type II file, or a table of paths."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from ._fits import RepairWarning, address, opened
from ._load import Loader
from ._observation import Observation
from ._pha import read_spectra

_FILES = ("spectrum", "background", "response", "arf")


def read_each(
    where: Any,
    prepare: Callable[[Observation], Observation] | None = None,
    *,
    background: Any = None,
    response: Any = None,
    arf: Any = None,
) -> dict[str, Observation]:
    """Reads many spectra, each response once.

    Args:
        where: a folder, of which each source spectrum is taken (its backgrounds are not); a PHA file of type II, of
            which each row with an exposure is taken; or a table (pandas, astropy, a mapping of columns) with a column
            "spectrum" of paths and, where wanted, "name", "background", "response" and "arf".
        prepare: what is done with each observation, like `lambda o: o.notice("8-900 keV").group("min_counts", 1)`.
        background, response, arf: of all spectra, as for `Observation.from_ogip`, where the table names none.

    Returns the observations by name: the name in the table, or else that of the file, with the row of a type II file.
    A spectrum that cannot be read or prepared is left out with a `RepairWarning` that says why.

    Raises `FileNotFoundError` for a path that is not there, `ValueError` for a table without the column "spectrum", for
    two of one name and where nothing can be read.
    """
    observations: dict[str, Observation] = {}
    shared: tuple[dict[Any, Any], ...] = ({}, {})
    given = {"background": background, "response": response, "arf": arf}
    for row in _rows(where):
        for found in _tried(functools.partial(_read, {**given, **row}, shared), row["spectrum"]):
            for each in found:
                if each.name in observations:
                    raise ValueError(f"two spectra are called {each.name!r}: give them names in a column 'name'")
                ready = [each] if prepare is None else _tried(functools.partial(prepare, each), each.name)
                observations.update((each.name, one) for one in ready)
    if not observations:
        raise ValueError(f"no spectrum could be read from {where}")
    return observations


def _tried(function: Callable[[], Any], what: Any) -> list[Any]:
    """What a function gives, or nothing and a warning."""
    try:
        return [function()]
    except (ValueError, OSError, TypeError, KeyError) as error:
        warnings.warn(f"read_each: {what} is left out: {error}", RepairWarning, stacklevel=3)
        return []


def _read(row: Mapping[str, Any], shared: Any) -> list[Observation]:
    loader = Loader(row["background"], row["response"], row["arf"])
    loader.files, loader.responses = shared
    return [loader.observation(spectrum, row.get("name"), []) for spectrum in read_spectra(row["spectrum"], "all", [])]


def _rows(where: Any) -> list[dict[str, Any]]:
    """Paths of files and a name, for each spectrum or file."""
    if isinstance(where, (str, Path)):
        path = Path(where)
        if path.is_dir():
            return [{"spectrum": file} for file in _source_spectra(path)]
        if not address(where).path.is_file():
            raise FileNotFoundError(f"there is no file or folder {where}")
        return [{"spectrum": where}]
    columns = [name for name in (*_FILES, "name") if name in _names(where)]
    if "spectrum" not in columns:
        raise ValueError(f"a table of spectra needs a column 'spectrum' with paths, got {list(_names(where))}")
    return [dict(zip(columns, row)) for row in zip(*(map(_text, where[name]) for name in columns))]


def _names(table: Any) -> Iterable[str]:
    return getattr(table, "colnames", None) or list(table)


def _text(value: Any) -> str | None:
    """A cell as a string; None where it is empty."""
    text = str(value).strip()
    return None if text in ("", "nan", "None", "--") else text


def _source_spectra(folder: Path) -> list[Path]:
    """The files of a folder that hold spectra of sources, by name."""
    found, backgrounds = [], set()
    for path in sorted(folder.iterdir()):
        if not path.is_file():
            continue
        try:
            with opened(path) as hdus:
                headers = [hdu.header for hdu in hdus if "SPECTRUM" in (hdu.name, hdu.header.get("HDUCLAS1"))]
        except ValueError:  # no FITS file
            continue
        if headers and str(headers[0].get("HDUCLAS2", "")).upper() != "BKG":
            found.append(path)
            backgrounds.add(Path(address(headers[0].get("BACKFILE", "")).path).name)
    return [path for path in found if path.name not in backgrounds]
