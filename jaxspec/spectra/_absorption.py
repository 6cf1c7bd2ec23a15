"""Photoelectric absorption by interstellar gas."""

from __future__ import annotations

import abc
import functools
from importlib import resources
from math import inf
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jaxspec import parameters
from jaxspec.parameters import Scalar, parameter
from jaxspec.spectra._abundances import ELEMENTS, solar
from jaxspec.spectra._base import AbstractMultiplicative

# ln E in keV, rising (an edge is there twice); what is tabulated there, shape (..., n); where to look (`guide`).
Table = tuple[Any, Any, Any]


class AbstractAbsorption(AbstractMultiplicative):
    """Absorption with tables of cross-sections, which are leaves: arguments of compiled programs, not part of them."""

    nH: eqx.AbstractVar[Scalar]
    z: eqx.AbstractVar[Scalar]
    covering: eqx.AbstractVar[Scalar]

    table: eqx.AbstractVar[Table | None]

    def __post_init__(self) -> None:
        if self.table is None:
            self.table = self.read_table()

    @abc.abstractmethod
    def read_table(self) -> Table:
        """The table that belongs to the component's settings."""

    @abc.abstractmethod
    def log_cross_section(self, log_energy: jax.Array) -> jax.Array:
        """ln of the cross-section per hydrogen atom in 1e-22 cm2 at ln E in keV, in the rest frame."""

    @property
    def _table(self) -> Table:
        assert self.table is not None  # for the type checker
        return self.table

    def depth(self, energy: jax.Array) -> jax.Array:
        """The optical depth of what is covered."""
        return self.nH * jnp.exp(self.log_cross_section(jnp.log(energy * (1 + self.z))))

    def transmitted(self, depth: jax.Array) -> jax.Array:
        """The part of the photons that comes through."""
        return 1 - self.covering + self.covering * jnp.exp(-depth)

    def evaluate(self, energy: jax.Array) -> jax.Array:
        return self.transmitted(self.depth(energy))


class TBabs(AbstractAbsorption):
    r"""Absorption by the interstellar medium: gas, molecules and grains (the Tuebingen-Boulder model).

    $$M(E) = 1 - f + f \, e^{-n_H \, \sigma(E (1 + z))}$$

    with the covering fraction f. The cross-section per hydrogen atom is tabulated from 0.03 to 100 keV to 2e-5,
    resonances and edges of O, Ne and Fe included, and is continued as a power law outside.

    Args:
        abundances: "wilm" (Wilms et al. 2000, the model's own), "angr", "aspl", "feld", "aneb", "grsa", "lodd", "lpgp"
            or "lpgs", as in XSPEC. XSPEC itself starts with "angr".
        grains: False for gas of atoms and molecules.

    **Reference:** Wilms, Allen & McCray 2000, ApJ 542, 914; XSPEC's `TBabs`, `TBpcf`, and its `zTBabs`, which has no
    grains.
    """

    nH: Scalar = parameter(1.0, unit="1e22 / cm2", bounds=(0, inf), doc="column density of hydrogen")
    z: Scalar = parameter(0.0, bounds=(-0.999, inf), doc="redshift", free=False)
    covering: Scalar = parameter(1.0, bounds=(0, 1), doc="covered fraction of the source", free=False)
    abundances: str = eqx.field(static=True, default="wilm", kw_only=True)
    grains: bool = eqx.field(static=True, default=True, kw_only=True)
    table: Table | None = eqx.field(default=None, kw_only=True, metadata={"saved": False})  # read from the package

    def read_table(self) -> Table:
        data = _data()
        sigma = data["tbabs_log_sigma" if self.grains else "tbabs_gas_log_sigma"][
            _abundance_set(self.abundances)
        ].astype(float)
        return data["tbabs_log_energy"], sigma, guide("tbabs")

    def log_cross_section(self, log_energy: jax.Array) -> jax.Array:
        return interpolate(self._table, log_energy)


class Phabs(AbstractAbsorption):
    r"""Absorption by neutral atomic gas.

    $$M(E) = 1 - f + f \, e^{-n_H \, \sigma(E (1 + z))}, \qquad \sigma = \sum_Z A_Z \, \sigma_Z$$

    with the covering fraction f, the abundances A_Z and the cross-sections of 18 elements, tabulated from 0.03 to
    100 keV to 2e-5 (4e-5) with both sides of every edge, and continued as a power law outside.

    Args:
        abundances: "angr", "wilm", "aspl", "feld", "aneb", "grsa", "lodd", "lpgp" or "lpgs", as in XSPEC.
        cross_sections: "vern" (Verner) or "bcmc" (Balucinska-Church & McCammon), as XSPEC's `xsect`.

    **Reference:** Verner et al. 1996, ApJ 465, 487; Balucinska-Church & McCammon 1992, ApJ 400, 699, with helium of Yan
    et al. 1998, ApJ 496, 1044; XSPEC's `phabs`, `zphabs`, `pcfabs`, `zpcfabs`.
    """

    nH: Scalar = parameter(1.0, unit="1e22 / cm2", bounds=(0, inf), doc="column density of hydrogen")
    z: Scalar = parameter(0.0, bounds=(-0.999, inf), doc="redshift", free=False)
    covering: Scalar = parameter(1.0, bounds=(0, 1), doc="covered fraction of the source", free=False)
    abundances: str = eqx.field(static=True, default="angr", kw_only=True)
    cross_sections: str = eqx.field(static=True, default="vern", kw_only=True)
    table: Table | None = eqx.field(default=None, kw_only=True, metadata={"saved": False})  # read from the package

    def read_table(self) -> Table:
        log_energy, sigma = _elements(self.abundances, self.cross_sections)
        return log_energy, np.log(sigma.sum(axis=0)), guide(_CROSS_SECTIONS[self.cross_sections])

    def log_cross_section(self, log_energy: jax.Array) -> jax.Array:
        return interpolate(self._table, log_energy)


class VariablePhabs(AbstractAbsorption):
    r"""Absorption by neutral atomic gas of any composition.

    $$M(E) = 1 - f + f \, e^{-n_H \, \sigma(E (1 + z))}, \qquad \sigma = \sum_Z a_Z \, A_Z \, \sigma_Z$$

    as `Phabs`, with the abundance a_Z of each element relative to the table's A_Z as a parameter.

    Args:
        abundances: "angr", "wilm", "aspl", "feld", "aneb", "grsa", "lodd", "lpgp" or "lpgs", as in XSPEC.
        cross_sections: "vern" (Verner) or "bcmc" (Balucinska-Church & McCammon), as XSPEC's `xsect`.

    **Reference:** as `Phabs`; XSPEC's `vphabs`, `zvphabs` and, by the columns of the elements, `varabs`, `zvarabs`.
    """

    nH: Scalar = parameter(1.0, unit="1e22 / cm2", bounds=(0, inf), doc="column density of hydrogen")
    H: Scalar = parameter(1.0, bounds=(0, 1000), doc="hydrogen relative to nH", free=False)
    He: Scalar = parameter(1.0, bounds=(0, 1000), doc="helium relative to the table", free=False)
    C: Scalar = parameter(1.0, bounds=(0, 1000), doc="carbon relative to the table", free=False)
    N: Scalar = parameter(1.0, bounds=(0, 1000), doc="nitrogen relative to the table", free=False)
    O: Scalar = parameter(1.0, bounds=(0, 1000), doc="oxygen relative to the table", free=False)  # noqa: E741
    Ne: Scalar = parameter(1.0, bounds=(0, 1000), doc="neon relative to the table", free=False)
    Na: Scalar = parameter(1.0, bounds=(0, 1000), doc="sodium relative to the table", free=False)
    Mg: Scalar = parameter(1.0, bounds=(0, 1000), doc="magnesium relative to the table", free=False)
    Al: Scalar = parameter(1.0, bounds=(0, 1000), doc="aluminium relative to the table", free=False)
    Si: Scalar = parameter(1.0, bounds=(0, 1000), doc="silicon relative to the table", free=False)
    S: Scalar = parameter(1.0, bounds=(0, 1000), doc="sulphur relative to the table", free=False)
    Cl: Scalar = parameter(1.0, bounds=(0, 1000), doc="chlorine relative to the table", free=False)
    Ar: Scalar = parameter(1.0, bounds=(0, 1000), doc="argon relative to the table", free=False)
    Ca: Scalar = parameter(1.0, bounds=(0, 1000), doc="calcium relative to the table", free=False)
    Cr: Scalar = parameter(1.0, bounds=(0, 1000), doc="chromium relative to the table", free=False)
    Fe: Scalar = parameter(1.0, bounds=(0, 1000), doc="iron relative to the table", free=False)
    Co: Scalar = parameter(1.0, bounds=(0, 1000), doc="cobalt relative to the table", free=False)
    Ni: Scalar = parameter(1.0, bounds=(0, 1000), doc="nickel relative to the table", free=False)
    z: Scalar = parameter(0.0, bounds=(-0.999, inf), doc="redshift", free=False)
    covering: Scalar = parameter(1.0, bounds=(0, 1), doc="covered fraction of the source", free=False)
    abundances: str = eqx.field(static=True, default="angr", kw_only=True)
    cross_sections: str = eqx.field(static=True, default="vern", kw_only=True)
    table: Table | None = eqx.field(default=None, kw_only=True, metadata={"saved": False})  # read from the package

    def read_table(self) -> Table:
        return *_elements(self.abundances, self.cross_sections), guide(_CROSS_SECTIONS[self.cross_sections])

    def log_cross_section(self, log_energy: jax.Array) -> jax.Array:
        knots, sigma, guide = self._table
        elements = _data()["elements"]
        relative = jnp.stack([jnp.asarray(getattr(self, str(element)), log_energy.dtype) for element in elements])
        return interpolate((knots, jnp.log(relative @ sigma), guide), log_energy)


class Wabs(AbstractAbsorption):
    r"""Absorption by neutral atomic gas with the cross-sections and abundances of 1983.

    $$M(E) = 1 - f + f \, e^{-n_H \, \sigma(E (1 + z))}, \qquad \sigma(E) = (c_0 + c_1 E + c_2 E^2) / E^3$$

    with the covering fraction f and coefficients for 14 ranges of energy from 0.03 to 10 keV, and E^-3 beyond. For
    comparison with old results; `TBabs` is better.

    **Reference:** Morrison & McCammon 1983, ApJ 270, 119, table 2; XSPEC's `wabs`, `zwabs`.
    """

    nH: Scalar = parameter(1.0, unit="1e22 / cm2", bounds=(0, inf), doc="column density of hydrogen")
    z: Scalar = parameter(0.0, bounds=(-0.999, inf), doc="redshift", free=False)
    covering: Scalar = parameter(1.0, bounds=(0, 1), doc="covered fraction of the source", free=False)
    table: Table | None = eqx.field(default=None, kw_only=True, metadata={"saved": False})  # read from the package

    def read_table(self) -> Table:
        return np.log(_WABS[:, 0]), _WABS[:, 1:].T, None

    def log_cross_section(self, log_energy: jax.Array) -> jax.Array:
        edges, coefficients, _ = self._table
        where = jnp.searchsorted(jnp.asarray(edges)[1:], log_energy, side="right", method="scan_unrolled")
        c0, c1, c2 = jnp.asarray(coefficients)[:, where]
        energy = jnp.exp(log_energy)
        return jnp.log(0.01 * (c0 + (c1 + c2 * energy) * energy)) - 3 * log_energy


# Lowest energy in keV; c0, c1, c2 for a cross-section in 1e-24 cm2.
_WABS = np.array(
    [
        (0.030, 17.3, 608.1, -2150.0),
        (0.100, 34.6, 267.9, -476.1),
        (0.284, 78.1, 18.8, 4.3),
        (0.400, 71.4, 66.8, -51.4),
        (0.532, 95.5, 145.8, -61.1),
        (0.707, 308.9, -380.6, 294.0),
        (0.867, 120.6, 169.3, -47.7),
        (1.303, 141.3, 146.8, -31.5),
        (1.840, 202.7, 104.7, -17.0),
        (2.471, 342.7, 18.7, 0.0),
        (3.210, 352.2, 18.7, 0.0),
        (4.038, 433.9, -2.4, 0.75),
        (7.111, 629.0, 30.9, 0.0),
        (8.331, 701.2, 25.2, 0.0),
        (10.0, 953.2, 0.0, 0.0),
    ]
)


@functools.cache
def _data() -> dict[str, np.ndarray]:
    """Cross-sections as shipped; sigma in 1e-22 cm2 per atom of each element, or per hydrogen atom."""
    with (
        resources.files("jaxspec.spectra").joinpath("tables/absorption.npz").open("rb") as file,
        np.load(file) as archive,
    ):
        return dict(archive)


def _abundance_set(name: str) -> int:
    """Its row in the tables; raises `KeyError` where there is none."""
    known = [str(each) for each in _data()["sets"]]
    if name not in known:
        raise parameters.unknown(name, known, "set of abundances")
    return known.index(name)


_CROSS_SECTIONS = {"vern": "verner", "bcmc": "bcmc"}  # XSPEC's name: ours in the file


def _elements(abundances: str, cross_sections: str) -> tuple[np.ndarray, np.ndarray]:
    """ln E, and the cross-section of each element per hydrogen atom there; `KeyError` for unknown cross-sections."""
    if cross_sections not in _CROSS_SECTIONS:
        raise parameters.unknown(cross_sections, _CROSS_SECTIONS, "set of cross-sections")
    log_energy, sigma, per_hydrogen = cross_sections_of_atoms(_CROSS_SECTIONS[cross_sections], abundances)
    return log_energy, per_hydrogen[:, None] * sigma


def cross_sections_of_atoms(stem: str, abundances: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """ln E, the cross-section of an atom of each element (and, last, of hydrogen in a molecule), atoms per hydrogen."""
    data = _data()
    per_hydrogen = solar(abundances)[[ELEMENTS.index(str(element)) for element in data["elements"]]]
    return data[f"{stem}_log_energy"], np.exp(data[f"{stem}_log_sigma"].astype(float)), per_hydrogen


_CELLS, _HALVINGS = 16384, 4  # equal parts of the range of ln E; none holds 16 knots


@functools.cache
def guide(name: str) -> np.ndarray:
    """The last knot at or below the start of each cell: the search for an energy's interval begins there."""
    knots = _data()[f"{name}_log_energy"]
    # A hundredth of a cell lower: in 32 bits an energy may fall into the next cell.
    starts = knots[0] + (np.arange(_CELLS) - 0.01) * (knots[-1] - knots[0]) / _CELLS
    return np.maximum(np.searchsorted(knots, starts, side="right") - 1, 0).astype(np.int16)


def interpolate(table: Table, x: jax.Array) -> jax.Array:
    """The table at x, linear between its knots and beyond them."""
    knots, values, guide = map(jnp.asarray, table)
    cell = ((x - knots[0]) * (_CELLS / (knots[-1] - knots[0]))).astype(jnp.int32)
    i = guide[jnp.clip(cell, 0, _CELLS - 1)].astype(jnp.int32)
    for step in (2**k for k in reversed(range(_HALVINGS))):
        further = jnp.minimum(i + step, len(knots) - 2)
        i = jnp.where(knots[further] <= x, further, i)
    slope = (values[i + 1] - values[i]) / (knots[i + 1] - knots[i])
    return values[i] + slope * (x - knots[i])
