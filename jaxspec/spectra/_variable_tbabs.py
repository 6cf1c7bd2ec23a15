"""Absorption by an interstellar medium of any composition."""

from __future__ import annotations

from math import inf
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jaxspec.parameters import Declaration, Scalar
from jaxspec.spectra._absorption import AbstractAbsorption, cross_sections_of_atoms, guide, interpolate
from jaxspec.spectra._made import make_class

# Of each element: its mass in atomic units, and the part of it that is gas (Wilms et al. 2000, table 2).
_ATOMS = {
    "H": (1.008, 1.0), "He": (4.003, 1.0), "C": (12.011, 0.5), "N": (14.007, 1.0), "O": (15.999, 0.6),
    "Ne": (20.18, 1.0), "Na": (22.99, 0.25), "Mg": (24.305, 0.2), "Al": (26.982, 0.02), "Si": (28.086, 0.1),
    "S": (32.06, 0.6), "Cl": (35.45, 0.5), "Ar": (39.948, 1.0), "Ca": (40.078, 0.003), "Cr": (51.996, 0.03),
    "Fe": (55.845, 0.3), "Co": (58.933, 0.05), "Ni": (58.693, 0.04),
}  # fmt: skip
_MASSES = np.array([mass for mass, _ in _ATOMS.values()])
_PER_GRAM = 6.02214076e23 * 1e-4 * 1e-22  # atoms per mole, cm per micrometre, cm2 per unit of the cross-sections
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(6)  # of the quadrature over the logarithm of the radius


class _AbstractGrains(AbstractAbsorption):
    """Gas, molecules, and grains that shield what is inside them."""

    H2: eqx.AbstractVar[Scalar]
    rho: eqx.AbstractVar[Scalar]
    amin: eqx.AbstractVar[Scalar]
    amax: eqx.AbstractVar[Scalar]
    slope: eqx.AbstractVar[Scalar]
    abundances: str = eqx.field(static=True, default="wilm", kw_only=True)
    table: Any = eqx.field(default=None, kw_only=True, metadata={"saved": False})  # read from the package

    def read_table(self) -> Any:
        log_energy, sigma, abundances = cross_sections_of_atoms("tbvarabs", self.abundances)
        return log_energy, sigma, guide("tbvarabs"), abundances

    def log_cross_section(self, log_energy: jax.Array) -> jax.Array:
        dtype = log_energy.dtype
        knots, sigma, where, abundances = (jnp.asarray(each) for each in self._table)
        sigma, abundances = sigma.astype(dtype), abundances.astype(dtype)
        atoms = abundances * self._stacked("", dtype)
        in_gas = self._stacked("gas_", dtype)
        gas = atoms * in_gas
        molecules = gas[0] * self.H2
        in_grains = atoms * (1 - in_gas)
        total = gas.at[0].add(-molecules) @ sigma[:-1] + molecules * sigma[-1]
        total = total + self._grains(in_grains @ sigma[:-1], in_grains @ jnp.asarray(_MASSES, dtype))
        return interpolate((knots, jnp.log(total), where), log_energy)

    def _stacked(self, prefix: str, dtype: Any) -> jax.Array:
        """A parameter of each element; hydrogen is gas, and that of nH."""
        return jnp.stack([jnp.asarray(getattr(self, prefix + name, 1.0), dtype) for name in _ATOMS])

    def _grains(self, free: jax.Array, mass: jax.Array) -> jax.Array:
        """The cross-section of grains, from that of their atoms as a gas and the mass, both per hydrogen atom."""
        dtype = free.dtype
        middle, half = 0.5 * jnp.log(self.amin * self.amax), 0.5 * jnp.log(self.amax / self.amin)
        log_radius = middle + half * jnp.asarray(_NODES, dtype)
        weight = jax.nn.softmax((4 - self.slope) * log_radius + jnp.log(jnp.asarray(_WEIGHTS, dtype)))
        # Where there are no grains, or hardly any depth, the quotient is 1: not 0 / 0.
        depth = (
            4 / 3 * _PER_GRAM * self.rho * jnp.exp(log_radius)[:, None] * free / jnp.where(mass > 0, mass, 1.0) + 1e-9
        )
        return free * (weight @ (-jnp.expm1(-depth) / depth))


def _table() -> dict[str, tuple[float, Declaration]]:
    atoms = [name for name in _ATOMS if name != "H"]
    return {
        "nH": (1.0, Declaration("1e22 / cm2", (0, inf), "column density of hydrogen", True)),
        **{name: (1.0, Declaration("", (0, 1000), f"{name} relative to the set", False)) for name in atoms},
        "H2": (0.2, Declaration("", (0, 1), "part of the hydrogen gas that is molecules", False)),
        "rho": (1.0, Declaration("g / cm3", (0, 100), "density of the grains", False)),
        "amin": (0.025, Declaration("um", (1e-4, 10), "least radius of the grains", False)),
        "amax": (0.25, Declaration("um", (1e-4, 10), "largest radius of the grains", False)),
        "slope": (3.5, Declaration("", (0, 10), "p of the distribution of radii, a^-p", False)),
        **{
            f"gas_{name}": (gas, Declaration("", (0, 1), f"part of {name} that is gas, not grains", False))
            for name, (_, gas) in _ATOMS.items()
            if name != "H"
        },
        "z": (0.0, Declaration("", (-0.999, inf), "redshift", False)),
        "covering": (1.0, Declaration("", (0, 1), "covered fraction of the source", False)),
    }


VariableTBabs = make_class(
    "VariableTBabs",
    (_AbstractGrains,),
    _table(),
    __name__,
    r"""Absorption by an interstellar medium of any composition: gas, molecules and grains.

    $$M(E) = 1 - f + f \, e^{-n_H \, \sigma(E (1 + z))}, \qquad
    \sigma = \sum_Z g_Z \, a_Z \, A_Z \, \sigma_Z + \bar\sigma \int \frac{1 - e^{-t(a)}}{t(a)} \, w(a) \, da, \qquad
    t = \frac{4}{3} \, a \, \rho \, \frac{\bar\sigma}{\bar m}$$

    as `TBabs`, with the abundance a_Z of each element relative to the set's A_Z and the part g_Z of it that is gas as
    parameters; a part of the hydrogen gas is molecules. The rest is in grains, with the cross-section and mass per
    hydrogen atom sigma-bar and m-bar, which shield themselves: the mass in grains of the radius a is
    w(a) ~ a^(3 - p) from amin to amax. Cross-sections are tabulated from 0.03 to 100 keV to 1e-4 for each element,
    resonances and edges of O, Ne and Fe included, and continued as a power law outside.

    Args:
        abundances: "wilm" (Wilms et al. 2000, the model's own), "angr", "aspl", "feld", "aneb", "grsa", "lodd", "lpgp"
            or "lpgs", as in XSPEC. XSPEC itself starts with "angr".

    **Reference:** Wilms, Allen & McCray 2000, ApJ 542, 914, eq. 2-8; XSPEC's `TBvarabs` (all is gas there unless said),
    `TBfeo`, `TBgrain`.
    """,
)
