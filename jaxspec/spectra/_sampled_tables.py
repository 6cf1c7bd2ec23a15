"""Published tables that are sampled at energies: optical depths of the background light, spectra of dark matter."""

from __future__ import annotations

from math import inf, log, pi
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxspec.parameters import Declaration
from jaxspec.spectra import _tables
from jaxspec.spectra._base import AbstractAdditive, AbstractMultiplicative
from jaxspec.spectra._tables import AbstractTable, Layout


class AttenuationTable(AbstractTable, AbstractMultiplicative):
    """exp(-strength tau): a table of ln tau at energies, between which it is linear in ln E."""

    def evaluate(self, energy: jax.Array) -> jax.Array:
        knots = jnp.asarray(self.edges, energy.dtype)
        depth = jnp.exp(jnp.interp(jnp.log(energy), jnp.log(knots), self.contents(energy.dtype)))
        seen = jnp.where(energy < knots[0], 0.0, depth)
        return jnp.exp(-self.strength * seen)  # pyright: ignore[reportAttributeAccessIssue]


class AnnihilationTable(AbstractTable, AbstractAdditive):
    """sigma v J / (8 pi m^2) dN/dE: a table of dN / dlog10 x at x = E / m, between which it is linear in ln x."""

    def evaluate(self, energy: jax.Array) -> jax.Array:
        mass, sigmav, J = self.mass, self.sigmav, self.J  # pyright: ignore[reportAttributeAccessIssue]
        knots = jnp.log(jnp.asarray(self.edges, energy.dtype))
        log_x = jnp.log(energy) - jnp.log(jnp.asarray(1e6 * mass, energy.dtype))
        spectrum = jnp.interp(log_x, knots, self.contents(energy.dtype), left=0.0, right=0.0)
        # One by one: in single precision the product of such numbers is no number.
        return (sigmav * 1e20) * (J * 1e-20 / mass) / mass / (8 * pi * log(10)) * spectrum / energy


_tables.BASES |= {"attenuation": AttenuationTable, "annihilation": AnnihilationTable}


def ebl_from_arrays(energies: Any, redshifts: Any, depths: Any, *, name: str = "ebl") -> Any:
    r"""Attenuation of gamma rays by the extragalactic background light, from a table of optical depths of yours.

    $$M(E) = e^{-s \, \tau(E, z)}$$

    with the strength s, which is 1 for the table as it is, and the redshift z. Between the tabulated values ln tau is
    linear in ln E and ln z. Below the table's energies the factor is 1, above them tau stays what it is at the last.

    Args:
        energies: n of them, keV or a `Quantity`, as observed.
        redshifts: m of them, rising.
        depths: optical depths, (m, n), positive.
        name: of the component.

    Raises `ValueError` where the shapes do not fit, energies or redshifts do not rise, or a depth is not positive.

    **Reference:** tables of Dominguez et al. 2011, MNRAS 410, 2556; Franceschini & Rodighiero 2017, A&A 603, A34; Finke
    et al. 2010, ApJ 712, 238; the parameters of astromodels' `EBLattenuation`.
    """
    energies, redshifts, depths = _in_unit(energies, "keV"), np.asarray(redshifts, float), np.asarray(depths, float)
    _check(depths, energies=energies, redshifts=redshifts)
    if redshifts[0] <= 0 or not (depths > 0).all():
        raise ValueError("redshifts and optical depths must be positive: leave out a column for redshift 0")
    axis = (
        "z",
        float(redshifts[len(redshifts) // 2]),
        Declaration("", (redshifts[0], redshifts[-1]), "redshift", False),
    )
    strength = ("strength", 1.0, Declaration("", (0.0, inf), "factor on the optical depth", False))
    layout = Layout(name, "attenuation", (axis,), (True,), (strength,))
    return _tables.table_of(layout, energies, [redshifts], [np.log(depths)])


def dark_matter_from_arrays(masses: Any, x: Any, spectra: Any, *, name: str = "annihilation") -> Any:
    r"""Gamma rays of dark matter that annihilates, from a table of the spectra of one channel of yours.

    $$N(E) = \frac{\langle \sigma v \rangle \, J}{8 \pi \, m^2} \, \frac{dN}{dE}, \qquad
    \frac{dN}{dE} = \frac{1}{E \, \ln 10} \, \frac{dN}{d\log_{10} x}, \qquad x = \frac{E}{m}$$

    for particles that are their own antiparticles. dN / dlog10 x is linear in ln x and ln m between the tabulated
    values, and 0 outside of the tabulated x.

    Args:
        masses: of the particle, m of them, GeV or a `Quantity`.
        x: n energies in units of the mass, rising.
        spectra: dN / dlog10 x of one annihilation, photons, (m, n).
        name: of the component.

    Raises `ValueError` where the shapes do not fit, or masses or x do not rise.

    **Reference:** tables of Cirelli et al. 2011, JCAP 03, 051 (PPPC 4 DM ID), whose Log[10,x] is log10 x;
    astromodels' `DMFitFunction`.
    """
    masses, x, spectra = _in_unit(masses, "GeV"), np.asarray(x, float), np.asarray(spectra, float)
    _check(spectra, x=x, masses=masses)
    start = float(masses[len(masses) // 2])
    mass = ("mass", start, Declaration("GeV", (masses[0], masses[-1]), "mass of the particle", True))
    factors = (
        ("sigmav", 3e-26, Declaration("cm3 / s", (0.0, inf), "cross-section times velocity", True)),
        (
            "J",
            1e19,
            Declaration("GeV2 / cm5", (0.0, inf), "integral of the squared density along the line of sight", False),
        ),
    )
    layout = Layout(name, "annihilation", (mass,), (True,), factors)
    return _tables.table_of(layout, x, [masses], [spectra])


def _in_unit(values: Any, unit: str) -> np.ndarray:
    """A quantity in this unit; numbers as they are."""
    return np.asarray(values.to_value(unit) if hasattr(values, "unit") else values, float)


def _check(table: np.ndarray, **axes: np.ndarray) -> None:
    """Raises `ValueError` where an axis does not rise, or the shape is not that of the axes, the last one first."""
    _tables.check_rising(**axes)
    shape = tuple(len(values) for values in reversed(axes.values()))
    if table.shape != shape:
        raise ValueError(f"the table has the shape {table.shape}; {' and '.join(reversed(axes))} make {shape}")
