"""Small OGIP files, written with astropy alone, for the tests of the readers."""

from __future__ import annotations

import numpy as np
from astropy.io import fits


def ragged(rows, kind=np.float64):
    """An object array for a variable-length column."""
    result = np.empty(len(rows), dtype=object)
    result[:] = [np.asarray(row, dtype=kind) for row in rows]
    return result


def table(name, columns, **header):
    """A binary table; `columns` maps names to (format, values) or (format, values, unit)."""
    made = [
        fits.Column(key, form, array=values, unit=unit[0] if unit else None)
        for key, (form, values, *unit) in columns.items()
    ]
    hdu = fits.BinTableHDU.from_columns(made, name=name)
    hdu.header.update(header)
    return hdu


def save(path, *tables):
    fits.HDUList([fits.PrimaryHDU(), *tables]).writeto(path, overwrite=True)
    return path


def matrix_table(change=None, header=None, name="MATRIX"):
    """Three photon bins of 1 keV from 1 keV on, seen by channels 1 to 4; the last has two groups."""
    columns = {
        "ENERG_LO": ("D", [1.0, 2.0, 3.0], "keV"),
        "ENERG_HI": ("D", [2.0, 3.0, 4.0], "keV"),
        "N_GRP": ("I", [1, 1, 2]),
        "F_CHAN": ("PI()", ragged([[1], [2], [1, 4]], np.int16)),
        "N_CHAN": ("PI()", ragged([[2], [2], [1, 1]], np.int16)),
        "MATRIX": ("PD()", ragged([[0.5, 0.25], [0.5, 0.5], [0.125, 0.75]])),
    }
    columns |= change or {}
    columns = {key: value for key, value in columns.items() if value is not None}
    return table(name, columns, **({"TLMIN4": 1} | (header or {})))


def bounds_table(change=None, first=1):
    columns = {
        "CHANNEL": ("I", np.arange(4) + first),
        "E_MIN": ("D", [0.5, 1.5, 2.5, 3.5], "keV"),
        "E_MAX": ("D", [1.5, 2.5, 3.5, 4.5], "keV"),
    }
    return table("EBOUNDS", columns | (change or {}))


def matrix_series(path, times):
    """An RSP2 file: 1, 2, ... times MATRIX, valid in the intervals `times`; None for one without."""
    tables = []
    for factor, time in enumerate(times, 1):
        values = ragged([[0.5 * factor, 0.25 * factor], [0.5 * factor] * 2, [0.125 * factor, 0.75 * factor]])
        header = {} if time is None else {"TSTART": time[0], "TSTOP": time[1]}
        tables.append(matrix_table({"MATRIX": ("PD()", values)}, {"HDUCLAS3": "FULL"} | header))
    return save(path, bounds_table(), *tables)


# What matrix_table means, (channels, photon bins).
MATRIX = np.array([[0.5, 0, 0.125], [0.25, 0.5, 0], [0, 0.5, 0], [0, 0, 0.75]])


def area_table(change=None):
    columns = {
        "ENERG_LO": ("D", [1.0, 2.0, 3.0], "keV"),
        "ENERG_HI": ("D", [2.0, 3.0, 4.0], "keV"),
        "SPECRESP": ("D", [10.0, 20.0, 40.0], "cm**2"),
    }
    return table("SPECRESP", columns | (change or {}))


def spectrum_table(change=None, header=None, name="SPECTRUM"):
    columns = {"CHANNEL": ("I", [1, 2, 3, 4]), "COUNTS": ("J", [3, 0, 5, 2])} | (change or {})
    columns = {key: value for key, value in columns.items() if value is not None}
    keywords = {"EXPOSURE": 10.0, "POISSERR": True, "RESPFILE": "a.rmf", "HDUCLAS1": "SPECTRUM"} | (header or {})
    return table(name, columns, **{key: value for key, value in keywords.items() if value is not None})
