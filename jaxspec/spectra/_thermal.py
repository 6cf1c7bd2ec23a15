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
        # The floor keeps 0 * inf out of the derivatives at kT = 0, where it enters by its third power.
        floor = float(jnp.finfo(energy.dtype).tiny) ** 0.2
        return self.K * energy**2 * bose(energy / jnp.maximum(self.kT, floor))


class BlackbodyLuminosity(AbstractAdditive):
    r"""A Planck spectrum scaled by its luminosity.

    $$N(E) = K \, \frac{8.0525 \, E^2}{(kT)^4 \, (e^{E / kT} - 1)}$$

    with E and kT in keV. K is L / D^2 with the luminosity L in 1e39 erg / s and the distance D in 10 kpc.

    **Reference:** XSPEC's `bbody`.
    """

    K: Scalar = parameter(1e-2, bounds=(0, inf), doc="luminosity in 1e39 erg / s / (distance in 10 kpc)^2")
    kT: Scalar = parameter(3.0, unit="keV", bounds=(1e-4, inf), doc="temperature")

    def evaluate(self, energy: jax.Array) -> jax.Array:
        return 8.0525 * self.K * (energy / self.kT**2) ** 2 * bose(energy / self.kT)


class BlackbodyRadius(AbstractAdditive):
    r"""A Planck spectrum scaled by the radius of the sphere that emits it.

    $$N(E) = K \, \frac{1.0344 \times 10^{-3} \, E^2}{e^{E / kT} - 1}$$

    with E and kT in keV. K is (R / D)^2 with the radius R in km and the distance D in 10 kpc. XSPEC's constant, which
    published radii are based on, is 0.35 % below that of CODATA, 1.0380e-3.

    **Reference:** XSPEC's `bbodyrad`.
    """

    K: Scalar = parameter(1.0, bounds=(0, inf), doc="(radius in km / distance in 10 kpc)^2")
    kT: Scalar = parameter(3.0, unit="keV", bounds=(1e-4, inf), doc="temperature")

    def evaluate(self, energy: jax.Array) -> jax.Array:
        return 1.0344e-3 * self.K * energy**2 * bose(energy / self.kT)


class ModifiedBlackbody(AbstractAdditive):
    r"""A Planck spectrum modified by scattering in the atmosphere that emits it.

    $$N(E) = K \, E^{-1} \, \frac{(E / kT)^{3/2} \, e^{-E / kT}}{\sqrt{1 - e^{-E / kT}}}$$

    with E in keV.

    **Reference:** astromodels' `ModifiedBlackbody` as it computes it (the formula in its docstring is another one).
    """

    K: Scalar = parameter(1e-4, unit="1 / (cm2 s)", bounds=(0, inf), doc="scale: N(E) = K / kT for E << kT")
    kT: Scalar = parameter(30.0, unit="keV", bounds=(1e-4, inf), doc="temperature")

    def evaluate(self, energy: jax.Array) -> jax.Array:
        x = energy / self.kT
        return self.K / energy * jnp.exp(1.5 * jnp.log(x) - x - 0.5 * jnp.log(-jnp.expm1(-x)))


@jax.custom_jvp
def bose(x: jax.Array) -> jax.Array:
    """1 / (exp(x) - 1): photons per mode, with derivatives that are finite where the exponential overflows.

    By one exponential: XLA's expm1 costs half as much again. The series is that of Bernoulli's numbers.
    """
    near = x < 0.1
    small = jnp.where(near, x, 0.1)
    square = small**2
    series = 1 / small - 0.5 + small / 12 * (1 - square / 60 * (1 - square / 42 * (1 - square / 40)))
    decay = jnp.exp(-x)
    return jnp.where(near, series, decay / (1 - decay))


@bose.defjvp
def _(primals: tuple[jax.Array], tangents: tuple[jax.Array]) -> tuple[jax.Array, jax.Array]:
    photons = bose(*primals)
    return photons, -photons * (1 + photons) * tangents[0]
