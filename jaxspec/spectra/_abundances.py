"""Solar abundances: XSPEC's tables."""

from __future__ import annotations

import re

import numpy as np

from jaxspec import parameters

ELEMENTS = (
    "H", "He", "Li", "Be", "B", "C", "N", "O", "F", "Ne", "Na", "Mg", "Al", "Si", "P",
    "S", "Cl", "Ar", "K", "Ca", "Sc", "Ti", "V", "Cr", "Mn", "Fe", "Co", "Ni", "Cu", "Zn",
)  # fmt: skip
# Atoms per atom of hydrogen, in the order of the elements: Anders & Grevesse 1989 (angr), Asplund et al. 2009 (aspl),
# Feldman 1992 (feld), Anders & Ebihara 1982 (aneb), Grevesse & Sauval 1998 (grsa), Wilms et al. 2000 (wilm), Lodders
# 2003 (lodd), Lodders, Palme & Gail 2009 for the photosphere (lpgp) and the proto-sun (lpgs).
_TABLES = """
angr 1 .0977 1.45e-11 1.41e-11 3.98e-10 3.63e-4 1.12e-4 8.51e-4 3.63e-8 1.23e-4 2.14e-6 3.8e-5 2.95e-6 3.55e-5
     2.82e-7 1.62e-5 3.16e-7 3.63e-6 1.32e-7 2.29e-6 1.26e-9 9.77e-8 1e-8 4.68e-7 2.45e-7 4.68e-5 8.32e-8 1.78e-6
     1.62e-8 3.98e-8
aspl 1 .0851 1.12e-11 2.4e-11 5.01e-10 2.69e-4 6.76e-5 4.9e-4 3.63e-8 8.51e-5 1.74e-6 3.98e-5 2.82e-6 3.24e-5
     2.57e-7 1.32e-5 3.16e-7 2.51e-6 1.07e-7 2.19e-6 1.41e-9 8.91e-8 8.51e-9 4.37e-7 2.69e-7 3.16e-5 9.77e-8 1.66e-6
     1.55e-8 3.63e-8
feld 1 .0977 1.26e-11 2.51e-11 3.55e-10 3.98e-4 1e-4 8.51e-4 3.63e-8 1.29e-4 2.14e-6 3.8e-5 2.95e-6 3.55e-5 2.82e-7
     1.62e-5 3.16e-7 4.47e-6 1.32e-7 2.29e-6 1.48e-9 1.05e-7 1e-8 4.68e-7 2.45e-7 3.24e-5 8.32e-8 1.78e-6 1.62e-8
     3.98e-8
aneb 1 .0801 2.19e-9 2.87e-11 8.82e-10 4.45e-4 9.12e-5 7.39e-4 3.1e-8 1.38e-4 2.1e-6 3.95e-5 3.12e-6 3.68e-5 3.82e-7
     1.89e-5 1.93e-7 3.82e-6 1.39e-7 2.25e-6 1.24e-9 8.82e-8 1.08e-8 4.93e-7 3.5e-7 3.31e-5 8.27e-8 1.81e-6 1.89e-8
     4.63e-8
grsa 1 .0851 1.26e-11 2.51e-11 3.55e-10 3.31e-4 8.32e-5 6.76e-4 3.63e-8 1.2e-4 2.14e-6 3.8e-5 2.95e-6 3.55e-5
     2.82e-7 2.14e-5 3.16e-7 2.51e-6 1.32e-7 2.29e-6 1.48e-9 1.05e-7 1e-8 4.68e-7 2.45e-7 3.16e-5 8.32e-8 1.78e-6
     1.62e-8 3.98e-8
wilm 1 .0977 0 0 0 2.4e-4 7.59e-5 4.9e-4 0 8.71e-5 1.45e-6 2.51e-5 2.14e-6 1.86e-5 2.63e-7 1.23e-5 1.32e-7 2.57e-6 0
     1.58e-6 0 6.46e-8 0 3.24e-7 2.19e-7 2.69e-5 8.32e-8 1.12e-6 0 0
lodd 1 .0792 1.9e-9 2.57e-11 6.03e-10 2.45e-4 6.76e-5 4.9e-4 2.88e-8 7.41e-5 1.99e-6 3.55e-5 2.88e-6 3.47e-5 2.88e-7
     1.55e-5 1.82e-7 3.55e-6 1.29e-7 2.19e-6 1.17e-9 8.32e-8 1e-8 4.47e-7 3.16e-7 2.95e-5 8.13e-8 1.66e-6 1.82e-8
     4.27e-8
lpgp 1 .0841 1.26e-11 2.4e-11 5.01e-10 2.45e-4 7.24e-5 5.37e-4 3.63e-8 1.12e-4 2e-6 3.47e-5 2.95e-6 3.31e-5 2.88e-7
     1.38e-5 3.16e-7 3.16e-6 1.32e-7 2.14e-6 1.26e-9 7.94e-8 1e-8 4.37e-7 2.34e-7 2.82e-5 8.32e-8 1.7e-6 1.62e-8
     4.17e-8
lpgs 1 .0969 2.15e-9 2.36e-11 7.26e-10 2.78e-4 8.19e-5 6.06e-4 3.1e-8 1.27e-4 2.23e-6 3.98e-5 3.27e-6 3.86e-5 3.2e-7
     1.63e-5 2e-7 3.58e-6 1.45e-7 2.33e-6 1.33e-9 9.54e-8 1.11e-8 5.06e-7 3.56e-7 3.27e-5 9.07e-8 1.89e-6 2.09e-8
     5.02e-8
"""
_SETS = {name: np.array(values.split(), float) for name, values in re.findall(r"([a-z]{4}) ([-e.\d\s]+)", _TABLES)}


def solar(name: str) -> np.ndarray:
    """Atoms of each of the `ELEMENTS` per atom of hydrogen; raises `KeyError` for a set that is not known."""
    if name not in _SETS:
        raise parameters.unknown(name, _SETS, "set of abundances")
    return _SETS[name]
