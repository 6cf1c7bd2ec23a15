"""Files as AtomDB has them, made up: four temperatures, three elements, tens of lines. No number in them is physics."""

from __future__ import annotations

import itertools
from math import erfc

import numpy as np
from astropy.io import fits

KT = np.array([0.4, 0.7, 1.3, 10.0])  # keV
ELEMENTS = (1, 8, 26)
_RANDOM = np.random.default_rng(11)


def _lines(i):
    """Element, wavelength in Angstrom, emissivity: the higher temperatures have more lines of iron."""
    element = np.array([8] * 6 + [26] * (8 + 4 * i) + [1])
    energy = np.concatenate([np.geomspace(0.5, 0.9, 6), np.geomspace(0.71, 8.1, 8 + 4 * i), [0.0102]])
    energy[8] = energy[7] * 1.0003  # two lines in one bin
    order = np.lexsort((energy, element))  # XSPEC asks for falling wavelengths of each ion
    emissivity = _RANDOM.uniform(0.1, 2.0, len(element)) * 1e-17
    return tuple(each[order] for each in (element, 12.39841984 / energy, emissivity))


def _continuum(i):
    """For each element: energies and emissivities of the continuum, and of the pseudo-continuum."""
    rows = []
    for n, element in enumerate(ELEMENTS):
        energy = np.geomspace(0.01, 60.0, 40 + 3 * n)
        energy[20] = energy[19] * 1.0001  # the edge of a recombination continuum
        shape = np.exp(-energy / KT[i]) / energy / np.sqrt(KT[i]) * np.where(np.arange(len(energy)) < 20, 1.0, 1.4)
        pseudo = np.linspace(0.3, 2.0, 7 + i), np.abs(np.sin(np.arange(7 + i))) * 1e-19
        rows.append((element, energy, 1e-17 * shape / (n + 1), *(pseudo if element == 26 else ([], []))))
    return rows


LINES = [_lines(i) for i in range(len(KT))]
CONTINUA = [_continuum(i) for i in range(len(KT))]


def _table(columns, name):
    made = [fits.Column(key, form, unit=unit, array=array) for key, form, unit, array in columns]
    return fits.BinTableHDU.from_columns(made, name=name)


def _parameters(**counts):
    columns = [("kT", "E", "keV", KT), ("EDensity", "E", "cm**-3", np.ones(4)), ("Time", "E", "s", np.zeros(4))]
    return _table(columns + [(key, "J", "", np.full(4, number)) for key, number in counts.items()], "PARAMETERS")


def _line_hdu(i):
    element, wavelength, emissivity = LINES[i]
    zero, one = np.zeros(len(element)), np.ones(len(element), int)
    return _table(
        [
            *(("Lambda", "E", "A", wavelength), ("Lambda_Err", "E", "A", zero)),
            *(("Epsilon", "E", "photons cm^3 s^-1", emissivity), ("Epsilon_Err", "E", "photons cm^3 s^-1", zero)),
            *(("Element", "J", "", element), ("Ion", "J", "", one)),
            *(("UpperLev", "J", "", 2 * one), ("LowerLev", "J", "", one)),
        ],
        "EMISSIVITY",
    )


def _continuum_hdu(i, stage):
    def padded(rows, n):
        return np.array([np.pad(np.asarray(row, float), (0, n - len(row))) for row in rows])

    elements, energy, continuum, pseudo_energy, pseudo = zip(*CONTINUA[i])
    n, m = max(map(len, energy)), max(map(len, pseudo_energy))
    return _table(
        [
            *(("Z", "J", "", elements), ("rmJ", "J", "", np.full(len(elements), stage))),
            ("N_Cont", "J", "", list(map(len, energy))),
            *(("E_Cont", f"{n}E", "keV", padded(energy, n)), ("Continuum", f"{n}E", "", padded(continuum, n))),
            ("Cont_Err", f"{n}E", "", np.zeros((len(elements), n))),
            ("N_Pseudo", "J", "", list(map(len, pseudo_energy))),
            *(("E_Pseudo", f"{m}E", "keV", padded(pseudo_energy, m)), ("Pseudo", f"{m}E", "", padded(pseudo, m))),
            ("Pseudo_Err", f"{m}E", "", np.zeros((len(elements), m))),
        ],
        "EMISSIVITY",
    )


def write(folder, root="apec", stage=0):
    """Writes `root`_line.fits and `root`_coco.fits; a file with stages of ionisation is of another kind."""
    lines = [_line_hdu(i) for i in range(len(KT))]
    continua = [_continuum_hdu(i, stage) for i in range(len(KT))]
    for kT, *both in zip(KT, lines, continua):
        for hdu in both:
            hdu.header.update({"HIERARCH TEMPERATURE": kT / 8.617333e-8, "DENSITY": 1.0, "TIME": 0.0})
    fits.HDUList([fits.PrimaryHDU(), _parameters(Nelement=3, Nline=40), *lines]).writeto(
        folder / f"{root}_line.fits", overwrite=True
    )
    fits.HDUList([fits.PrimaryHDU(), _parameters(NElement=3, NCont=50, NPseudo=10), *continua]).writeto(
        folder / f"{root}_coco.fits", overwrite=True
    )
    return folder


def _piecewise(x, y, low, high):
    """The integral from low to high of straight lines between the points."""
    if not len(x) or high <= x[0] or low >= x[-1]:
        return 0.0
    low, high = max(low, x[0]), min(high, x[-1])
    knots = np.concatenate([[low], x[(x > low) & (x < high)], [high]])
    return np.trapezoid(np.interp(knots, x, y), knots)


def _at(i, edges, abundance, width):
    """Photons in each bin at one tabulated temperature; in 32 bits, as the files have them."""
    single = lambda numbers: np.asarray(numbers, np.float32).astype(float)  # noqa: E731
    photons = np.zeros(len(edges) - 1)
    for element, *parts in CONTINUA[i]:
        for x, y in (parts[:2], parts[2:]):
            bins = [_piecewise(single(x), single(y), *pair) for pair in itertools.pairwise(edges)]
            photons += abundance.get(element, 1.0) * np.array(bins)
    for element, wavelength, emissivity in zip(*map(single, LINES[i])):
        energy = 12.39841984 / wavelength
        sigma = energy * width(element, KT[i])
        above = [0.5 * erfc((edge - energy) / sigma / 2**0.5) if sigma else edge < energy for edge in edges]
        photons -= abundance.get(element, 1.0) * emissivity * np.diff(np.asarray(above, float))
    return 1e14 * photons


def photons(kT, edges, abundance=None, z=0.0, width=lambda element, kT: 0.0):
    """Photons / (cm2 s) in each bin of a plasma with norm 1: the sum over lines and pieces, one by one.

    `abundance` by atomic number, in units of Anders & Grevesse 1989; `width` of a line, relative to its energy.
    """
    i = np.searchsorted(KT, kT, side="right") - 1
    part = (kT - KT[i]) / (KT[i + 1] - KT[i])
    low, high = (_at(j, edges * (1 + z), abundance or {}, width) for j in (i, i + 1))
    return ((1 - part) * low + part * high) / (1 + z)
