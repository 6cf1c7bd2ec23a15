"""Opening FITS files and taking single keywords and columns out of them, whatever state they are in."""

from __future__ import annotations

import contextlib
import gzip
import io
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

NO_FILE = {"", "none", "%match%", "null", "n/a"}


class RepairWarning(UserWarning):
    """Something in a file was wrong or in doubt, and what was assumed instead could change a number."""


class OgipError(ValueError):
    """A file that cannot be read as what it should be."""


class Repair(NamedTuple):
    """What was put right in a file; `loud` where the result could depend on it."""

    text: str
    loud: bool = False


class Address(NamedTuple):
    """A file, and the number or name of the extension or row that a suffix `{2}` or `[2]` asks for."""

    path: Path
    number: int | None = None
    extension: str | int | None = None


def address(text: Any) -> Address:
    """Split `file.pha{2}` and `file.fits[SPECTRUM]` into their parts."""
    match = re.fullmatch(r"(.*?)(?:\[([^\]]*)\])?(?:\{(\d+)\})?", str(text).strip(), flags=re.DOTALL)
    assert match is not None  # every group is optional
    extension: str | int | None = int(match[2]) if (match[2] or "").isdigit() else match[2]
    return Address(Path(match[1]), int(match[3]) if match[3] else None, extension)


def names_no_file(text: Any) -> bool:
    """Whether a BACKFILE, RESPFILE or ANCRFILE keyword says that there is none."""
    return str(text).strip().lower() in NO_FILE


def find_file(text: str, beside: Path, keyword: str, argument: str) -> Address:
    """The file that a keyword of `beside` names: beside it, then where it says, then its bare name."""
    wanted = address(text)
    candidates = [beside.parent / wanted.path, wanted.path, beside.parent / wanted.path.name]
    for candidate in candidates:
        # Archives compress or unpack the files after the keywords were written.
        other = candidate.with_suffix("") if candidate.suffix == ".gz" else Path(f"{candidate}.gz")
        for path in (candidate, other):
            if path.is_file():
                return wanted._replace(path=path)
    without = "" if argument == "response" else f", or {argument}='none' to do without"
    raise FileNotFoundError(
        f"{beside}: {keyword} names {str(text).strip()!r}, which is neither beside the file nor where it "
        f"says. Give {argument}=<path>{without}"
    )


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Any]:
    """The HDU list of a FITS file; whatever goes wrong inside becomes an `OgipError` with the file's name."""
    from astropy.io import fits

    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.filterwarnings("error", message="File may have been truncated")
            # astropy leaves a file open that it fails to read; this stream is closed in any case.
            with path.open("rb") as stream, fits.open(_unpacked(stream), memmap=False) as hdus:
                yield hdus
    except OgipError:
        raise
    except Exception as error:
        # astropy answers damage with anything from TypeError to EOFError: for the user it is one thing.
        text = " ".join(str(error).split())
        raise OgipError(f"{path}: the file is damaged or no FITS file ({type(error).__name__}: {text})") from error


def _unpacked(stream: IO[bytes]) -> IO[bytes]:
    """The content of a gzip file, checked as a whole: astropy reads on forever in some that are damaged."""
    packed = stream.read(2) == b"\x1f\x8b"
    stream.seek(0)
    return io.BytesIO(gzip.decompress(stream.read())) if packed else stream


def is_table(hdu: Any) -> bool:
    """Whether an HDU is a binary or ASCII table with at least one row."""
    return getattr(hdu, "columns", None) is not None and hdu.data is not None and len(hdu.data) > 0


def keyword(hdu: Any, name: str) -> str:
    """A keyword as text, in capitals; empty where there is none."""
    return str(hdu.header.get(name, "")).strip().upper()


def label(path: Path, hdu: Any) -> str:
    """How error messages call an HDU."""
    return f"{path}[{hdu.name or 'unnamed extension'}]"


def column_index(hdu: Any, name: str) -> int | None:
    """Where the column called `name` is, in any spelling of upper and lower case."""
    names = [str(n).strip().upper() for n in hdu.columns.names]
    return names.index(name) if name in names else None


def column(hdu: Any, name: str, path: Path) -> Any:
    """The values of a column that must be there."""
    index = column_index(hdu, name)
    if index is None:
        has = ", ".join(str(n) for n in hdu.columns.names)
        raise OgipError(f"{label(path, hdu)}: no column {name}; it has {has}")
    return hdu.data.field(index)


def numbers(values: Any, name: str, where: str, each: str = "row") -> np.ndarray:
    """`values` as finite native float64; `each` is what messages call one of them."""
    try:
        result = np.array(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise OgipError(f"{where}: column {name} does not hold numbers, one size in every row") from error
    bad = np.flatnonzero(~np.isfinite(result))
    if bad.size:
        row = int(np.unravel_index(bad[0], result.shape)[0]) if result.ndim else 0
        raise OgipError(f"{where}: column {name}, {each} {row + 1}: not a finite number")
    return result


def whole_numbers(values: Any, name: str, where: str, each: str = "row") -> np.ndarray:
    """`values` as int64; whole numbers stored as floats (Chandra's channels) pass."""
    result = numbers(values, name, where, each)
    bad = np.flatnonzero((result != np.round(result)) | (np.abs(result) > 2**31))
    if bad.size:
        row = int(np.unravel_index(bad[0], result.shape)[0]) if result.ndim else 0
        raise OgipError(f"{where}: column {name}, {each} {row + 1}: {result.flat[bad[0]]:g} is not a whole number")
    return result.astype(np.int64)


def header_number(hdu: Any, name: str) -> float | None:
    """A keyword as a number, also where it is stored as a string; None where it is absent or no number."""
    value = hdu.header.get(name)
    if value is None or isinstance(value, bool):
        return None
    try:
        result = float(value)
    except (TypeError, ValueError):
        return None
    return result if np.isfinite(result) else None


def scale(hdu: Any, name: str, unit_name: str, where: str, repairs: list[Repair]) -> float:
    """The factor from a column's unit to `unit_name`, which the column is taken to be in if it has none."""
    import astropy.units as u

    index = column_index(hdu, name)
    text = str(hdu.columns[index].unit or "").strip() if index is not None else ""
    common = {"kev": 1.0, "ev": 1e-3, "mev": 1e3, "gev": 1e6, "tev": 1e9}
    common |= {"cm**2": 1.0, "cm2": 1.0, "cm^2": 1.0, "m**2": 1e4, "m2": 1e4, "m^2": 1e4}
    if text.lower() in common and (("ev" in text.lower()) == (unit_name == "keV")):
        return common[text.lower()]
    if text.lower() in {"", "none", "unknown"}:
        return 1.0
    try:
        scale: Any = u.Unit(text)
        return float(scale.to(u.Unit(unit_name)))
    except u.UnitConversionError as error:
        raise OgipError(f"{where}: column {name} is in {text}, which is not {unit_name}") from error
    except (ValueError, TypeError):
        repairs.append(Repair(f"{where}: unit {text!r} of column {name} is unknown, taken as {unit_name}", loud=True))
        return 1.0


def say(path: Any, repairs: list[Repair], stacklevel: int = 3) -> tuple[str, ...]:
    """Warn once about the repairs that could change a number; return all of them as text."""
    loud = list(dict.fromkeys(repair.text for repair in repairs if repair.loud))
    if loud:
        # A time series repeats the same fault in every row.
        more = f"; and {len(loud) - 3} more, see info()" if len(loud) > 3 else ""
        warnings.warn(f"{path}: " + "; ".join(loud[:3]) + more, RepairWarning, stacklevel=stacklevel)
    return tuple(dict.fromkeys(repair.text for repair in repairs))
