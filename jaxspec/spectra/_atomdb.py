"""AtomDB's files of emissivities, and the table of lines and continua that components make of them."""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import equinox as eqx
import numpy as np

from jaxspec.spectra._abundances import ELEMENTS, solar

_HC = 12.39841984  # keV Angstrom
_NORM = 1e14  # emissivities in photons cm3 / s, times this, are photons / (cm2 s) for a norm of 1
_GAUSS = np.array([[-1.0], [1.0]]) / np.sqrt(3.0)  # nodes of a quadrature that is exact for cubics

Groups = tuple[tuple[int, ...], ...]


class Emission(eqx.Module):
    """What a plasma emits at each tabulated temperature, for each group of elements: a segment of the arrays for each.

    Segment i * (number of groups) + group begins at `start[segment]`. `above` holds what is emitted from a place to the
    end of its segment, times E^0, E^1 and E^2.
    """

    kT: Any  # (t,) keV
    line_energy: Any  # keV, rising in each segment
    line_photons: Any  # photons / (cm2 s) for a norm of 1
    line_start: Any  # (segments + 1,)
    line_above: Any  # (lines, 3)
    piece_low: Any  # keV: pieces of the continuum, straight lines in E
    piece_high: Any
    piece_density: Any  # (pieces, 2) photons / (cm2 s keV) at both ends
    piece_start: Any
    piece_above: Any
    within: tuple[float, float] = eqx.field(static=True)  # of kT
    halvings: tuple[int, int] = eqx.field(
        static=True
    )  # of the longest segment of lines, and of pieces, to find a place

    @classmethod
    def of(cls, kT: Any, lines: Sequence[Any], pieces: Sequence[Any]) -> Emission:
        """From `saved`: energies, photons, starts; low and high ends, densities, starts."""
        line_energy, line_photons, line_start = lines
        low, high, density, piece_start = pieces
        line_moments = line_photons[:, None] * line_energy[:, None] ** np.arange(3)
        middle, half = 0.5 * (low + high), 0.5 * (high - low)
        at = middle + _GAUSS * half
        content = half * (density.mean(axis=1) + _GAUSS * 0.5 * np.diff(density, axis=1)[:, 0])
        piece_moments = np.stack([(content * at**power).sum(axis=0) for power in range(3)], axis=1)
        return cls(
            kT,
            *(line_energy, line_photons, line_start, _upwards(line_moments, line_start)),
            *(low, high, density, piece_start, _upwards(piece_moments, piece_start)),
            (float(kT[0]), float(kT[-1])) if len(kT) else (1e-4, 1e3),
            (_halvings(line_start), _halvings(piece_start)),
        )

    def saved(self) -> list[Any]:
        """The arrays that it can be made of again."""
        return [
            *(self.kT, self.line_energy, self.line_photons, self.line_start),
            *(self.piece_low, self.piece_high, self.piece_density, self.piece_start),
        ]


def _upwards(moments: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Sums from each row to the end of its segment: from above, so that they are exact where little is left."""
    sums = [np.cumsum(moments[a:b][::-1], axis=0)[::-1] for a, b in itertools.pairwise(start)]
    return np.concatenate(sums) if sums else moments


def _halvings(start: np.ndarray) -> int:
    return int(np.max(np.diff(start), initial=0)).bit_length()


NOTHING = Emission.of(np.zeros(0), [np.zeros(0)] * 3, [np.zeros(0), np.zeros(0), np.zeros((0, 2)), np.zeros(0)])


def read_emission(path: Any, within: tuple[float, float] | None, abundances: str, groups: Groups) -> Emission:
    """The table of AtomDB's files for these groups of elements (atomic numbers) and a set of solar abundances.

    Args:
        path: of the folder of apec_line.fits and apec_coco.fits, or what their names begin with; None for $ATOMDB.
        within: temperatures in keV that are needed; None for all of the file's.

    Raises `ValueError` where no path is known, for files that are not AtomDB's, and temperatures that they do not have;
    `FileNotFoundError`.
    """
    path = path or os.environ.get("ATOMDB")
    if not path:
        raise ValueError(
            "AtomDB's files are no part of jaxspec: take apec_line.fits and apec_coco.fits from www.atomdb.org and set "
            "the environment variable ATOMDB to their folder, or give it: Apec.from_atomdb('/data/atomdb')"
        )
    root = f"{path}/apec" if Path(path).is_dir() else str(path)
    for kind in ("line", "coco"):
        if not Path(f"{root}_{kind}.fits").is_file():
            found = sorted(str(each).removesuffix("_line.fits") for each in Path(root).parent.glob("*_line.fits"))
            hint = f"; give one of {found}" if found else ""
            raise FileNotFoundError(f"there is no file {root}_{kind}.fits of AtomDB's{hint}")
    return _read(root, within and (float(within[0]), float(within[1])), abundances, groups)


@functools.lru_cache(maxsize=8)
def _read(root: str, within: tuple[float, float] | None, abundances: str, groups: Groups) -> Emission:
    from astropy.io import fits

    # AtomDB's emissivities are for the abundances of Anders & Grevesse 1989.
    weight = solar(abundances) / solar("angr")
    with fits.open(f"{root}_line.fits", memmap=True) as lines, fits.open(f"{root}_coco.fits", memmap=True) as continua:
        kT = _temperatures(lines, f"{root}_line.fits")
        if not np.array_equal(kT, _temperatures(continua, f"{root}_coco.fits")):
            raise ValueError(f"{root}_line.fits and {root}_coco.fits are for different temperatures")
        rows = _rows(kT, within, root)
        tables: Any = [(lines[2 + row], continua[2 + row]) for row in rows]
        by_line = [_lines(line.data, weight, groups) for line, _ in tables]
        by_piece = [_pieces(continuum.data, weight, groups, root) for _, continuum in tables]
    line_parts = [part for each in by_line for part in each]
    piece_parts = [part for each in by_piece for part in each]
    return Emission.of(kT[rows.start : rows.stop], _joined(line_parts), _joined(piece_parts))


def _temperatures(hdus: Any, path: str) -> np.ndarray:
    if "PARAMETERS" not in hdus or "kT" not in hdus["PARAMETERS"].columns.names:
        raise ValueError(f"{path} is no file of AtomDB's: it has no extension PARAMETERS with a column kT")
    # By their decimals: 0.4 in 32 bits is more than 0.4.
    return np.array([float(str(np.float32(kT))) for kT in hdus["PARAMETERS"].data["kT"]])


def _rows(kT: np.ndarray, within: tuple[float, float] | None, root: str) -> range:
    """The tables that are needed, those around the range included."""
    if within is None:
        return range(len(kT))
    low, high = within
    if not kT[0] <= low < high <= kT[-1]:
        raise ValueError(f"{root} has temperatures from {kT[0]:.4g} to {kT[-1]:.4g} keV, not ({low:g}, {high:g})")
    first = int(np.searchsorted(kT, low, side="right")) - 1
    return range(first, int(np.searchsorted(kT, high, side="left")) + 1)


def _lines(table: Any, weight: np.ndarray, groups: Groups) -> list[tuple[np.ndarray, ...]]:
    """Energies and photons of the lines of each group."""
    element = np.asarray(table["Element"], int)
    energy = _HC / np.asarray(table["Lambda"], float)
    photons = _NORM * weight[element - 1] * np.asarray(table["Epsilon"], float)
    order = np.argsort(energy)
    energy, photons, element = energy[order], photons[order], element[order]
    chosen = (np.isin(element, group) for group in groups)
    return [(energy[these], photons[these]) for these in chosen]


def _pieces(table: Any, weight: np.ndarray, groups: Groups, root: str) -> list[tuple[np.ndarray, ...]]:
    """Lower and upper ends of pieces, and densities at both, of the continuum of each group."""
    if np.any(table["rmJ"] != 0):
        raise ValueError(
            f"{root}_coco.fits has a row for each ion: it is made for plasmas out of equilibrium; "
            "take the files for equilibrium, apec_line.fits and apec_coco.fits"
        )
    elements = np.asarray(table["Z"], int)
    parts: dict[int, list[tuple[np.ndarray, np.ndarray]]] = {element: [] for element in range(1, len(ELEMENTS) + 1)}
    for n, energy, density in (("N_Cont", "E_Cont", "Continuum"), ("N_Pseudo", "E_Pseudo", "Pseudo")):
        for row in range(len(elements)):
            if (size := int(table[n][row])) > 1:
                x, y = (np.asarray(table[column][row][:size], float) for column in (energy, density))
                parts[elements[row]].append((x, _NORM * weight[elements[row] - 1] * y))
    return [_sum_of_lines([part for element in group for part in parts[element]]) for group in groups]


def _sum_of_lines(parts: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The sum of functions that are straight lines between their points and 0 outside."""
    knots = np.unique(np.concatenate([np.zeros(0), *(x for x, _ in parts)]))
    low, high = knots[:-1], knots[1:]
    density = np.zeros((len(low), 2))
    for x, y in parts:
        first = np.searchsorted(x, 0.5 * (low + high), side="right") - 1
        inside = (first >= 0) & (first < len(x) - 1)
        first = np.where(inside, first, 0)
        slope = (y[first + 1] - y[first]) / np.where(inside, x[first + 1] - x[first], 1.0)
        ends = y[first, None] + slope[:, None] * (np.stack([low, high], axis=1) - x[first, None])
        density += np.where(inside[:, None], ends, 0.0)
    return low, high, density


def _joined(parts: list[tuple[np.ndarray, ...]]) -> list[np.ndarray]:
    """The arrays of all segments in one, and where each segment begins."""
    start = np.cumsum([0, *(len(part[0]) for part in parts)])
    return [*map(np.concatenate, zip(*parts)), start.astype(np.int32)]
