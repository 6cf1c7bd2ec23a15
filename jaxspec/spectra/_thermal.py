"""Thermal spectra."""

from __future__ import annotations

from math import inf

import jax
import jax.numpy as jnp

from jaxspec.parameters import Scalar, parameter
from jaxspec.spectra._base import AbstractAdditive


class Blackbody(AbstractAdditive):
    r"""A Planck spectrum with a free scale.

    $$N(E) = K \, \frac{E^2}{e^{E / kT} - 1}$$

    The photon flux over all energies is 2 zeta(3) K kT^3, the energy flux pi^4 / 15 K kT^4.

    **Reference:** Planck's law as photons; astromodels' `Blackbody`. XSPEC's `bbodyrad` has K = 1.0344e-3 norm.
    """

    K: Scalar = parameter(1e-4, unit="1 / (cm2 s keV3)", bounds=(0, inf), doc="scale: N(E) = K kT E for E << kT")
    kT: Scalar = parameter(30.0, unit="keV", bounds=(0, inf), doc="temperature")

    def evaluate(self, energy: jax.Array) -> jax.Array:
        # The floor keeps 0 * inf out of the gradient at kT = 0.
        floor = float(jnp.finfo(energy.dtype).tiny) ** 0.4
        return self.K * energy**2 * bose(energy / jnp.maximum(self.kT, floor))


@jax.custom_jvp
def bose(x: jax.Array) -> jax.Array:
    """1 / (exp(x) - 1): photons per mode, with derivatives that are finite where the exponential overflows."""
    return 1 / jnp.expm1(x)


@bose.defjvp
def _(primals: tuple[jax.Array], tangents: tuple[jax.Array]) -> tuple[jax.Array, jax.Array]:
    photons = bose(*primals)
    return photons, -photons * (1 + photons) * tangents[0]
