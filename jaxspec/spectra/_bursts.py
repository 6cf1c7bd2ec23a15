"""Spectra of gamma-ray bursts."""

from __future__ import annotations

from math import inf

import jax
import jax.numpy as jnp

from jaxspec.parameters import Scalar, parameter
from jaxspec.quadrature import log_integral
from jaxspec.spectra._base import AbstractAdditive
from jaxspec.spectra._powerlaws import KEV_PER_ERG


def _two_power_laws(energy, alpha, beta, cutoff, pivot):
    """N(E) / K of the Band function."""
    return jnp.exp(_log_two_power_laws(energy, alpha, beta, cutoff, pivot))


def _log_two_power_laws(energy, alpha, beta, cutoff, pivot):
    x = jnp.log(energy / pivot)
    step = _step(alpha, beta)
    low = alpha * x - energy / cutoff
    high = beta * x + step * (jnp.log(step * cutoff / pivot) - 1.0)
    return jnp.where(energy < step * cutoff, low, high)


def _step(alpha, beta):
    # Where beta >= alpha the two power laws do not meet; a positive step keeps value and gradients finite.
    return jnp.maximum(alpha - beta, 1e-6)


class Band(AbstractAdditive):
    r"""Two power laws joined smoothly by an exponential, by the e-fold energy.

    $$N(E) = K \begin{cases}
        (E/E_0)^\alpha \, e^{-E/E_c}                                  & E < (\alpha-\beta) E_c \\
        (E/E_0)^\beta \, [(\alpha-\beta) E_c / (e E_0)]^{\alpha-\beta} & \text{else}
    \end{cases}$$

    The peak of E^2 N(E) lies at (2 + alpha) E_c where alpha > -2 > beta.

    **Reference:** Band et al. 1993, ApJ 413, 281, eq. 1; XSPEC's `grbm` (there `tem` is E_c), astromodels' `Band_grbm`.
    """

    K: Scalar = parameter(1e-2, unit="1 / (cm2 s keV)", bounds=(0, inf), doc="scale of N(E) at the pivot")
    alpha: Scalar = parameter(-1.0, bounds=(-2, 5), doc="low-energy index")
    beta: Scalar = parameter(-2.3, bounds=(-10, -1.5), doc="high-energy index")
    cutoff: Scalar = parameter(300.0, unit="keV", bounds=(1, 1e5), doc="e-fold energy")
    pivot: Scalar = parameter(100.0, unit="keV", bounds=(1e-10, inf), doc="pivot energy", free=False)

    def evaluate(self, energy: jax.Array) -> jax.Array:
        return self.K * _two_power_laws(energy, self.alpha, self.beta, self.cutoff, self.pivot)


class BandPeak(AbstractAdditive):
    r"""The Band function by the energy at which E^2 N(E) peaks.

    $$N(E) = \mathrm{Band}(E; K, \alpha, \beta, E_c = E_p / (2 + \alpha))$$

    **Reference:** Band et al. 1993, ApJ 413, 281, eq. 1; astromodels' `Band`.
    """

    K: Scalar = parameter(1e-2, unit="1 / (cm2 s keV)", bounds=(0, inf), doc="scale of N(E) at the pivot")
    alpha: Scalar = parameter(-1.0, bounds=(-1.99, 5), doc="low-energy index")
    beta: Scalar = parameter(-2.3, bounds=(-10, -1.5), doc="high-energy index")
    peak: Scalar = parameter(300.0, unit="keV", bounds=(1, 1e5), doc="energy of the peak of E^2 N(E)")
    pivot: Scalar = parameter(100.0, unit="keV", bounds=(1e-10, inf), doc="pivot energy", free=False)

    def evaluate(self, energy: jax.Array) -> jax.Array:
        return self.K * _two_power_laws(energy, self.alpha, self.beta, self.peak / (2.0 + self.alpha), self.pivot)


class BandEnergyFlux(AbstractAdditive):
    r"""The Band function by the energy at which E^2 N(E) peaks, scaled by its energy flux F between a and b.

    $$N(E) = F \, \mathrm{Band}(E; 1, \alpha, \beta, E_p) \Big/
        \int_a^b E' \, \mathrm{Band}(E'; 1, \alpha, \beta, E_p) \, dE'$$

    The integral is a quadrature in ln E on either side of the break, exact to 1e-9. 1 erg is 6.241509e8 keV.

    **Reference:** Band et al. 1993, ApJ 413, 281, eq. 1; astromodels' `Band_Calderone` with opt = 1.
    """

    F: Scalar = parameter(1e-6, unit="erg / (cm2 s)", bounds=(0, inf), doc="energy flux between a and b")
    alpha: Scalar = parameter(-1.0, bounds=(-1.99, 5), doc="low-energy index")
    beta: Scalar = parameter(-2.3, bounds=(-10, -1.5), doc="high-energy index")
    peak: Scalar = parameter(300.0, unit="keV", bounds=(1, 1e5), doc="energy of the peak of E^2 N(E)")
    a: Scalar = parameter(1.0, unit="keV", bounds=(1e-10, inf), doc="lower edge of the band of F", free=False)
    b: Scalar = parameter(1e4, unit="keV", bounds=(1e-10, inf), doc="upper edge of the band of F", free=False)

    def evaluate(self, energy: jax.Array) -> jax.Array:
        cutoff = self.peak / (2.0 + self.alpha)

        def log_shape(energy: jax.Array) -> jax.Array:
            return _log_two_power_laws(energy, self.alpha, self.beta, cutoff, self.peak)

        middle = jnp.clip(_step(self.alpha, self.beta) * cutoff, self.a, self.b)
        band = log_integral(lambda energy: log_shape(energy) + jnp.log(energy), self.a, middle, self.b)
        return KEV_PER_ERG * self.F * jnp.exp(log_shape(energy) - band)


class NonDissipativePhotosphere(AbstractAdditive):
    r"""Emission of a photosphere without dissipation, released while the outflow coasts.

    $$N(E) = K \, (E / E_0)^{0.4} \, e^{-(E / E_c)^{0.65}}$$

    **Reference:** Acuner, Ryde & Yu 2019, MNRAS 487, 5508; astromodels' `NonDissipativePhotosphere`.
    """

    K: Scalar = parameter(1e-4, unit="1 / (cm2 s keV)", bounds=(0, inf), doc="N at the pivot without the cut-off")
    cutoff: Scalar = parameter(200.0, unit="keV", bounds=(1, inf), doc="energy of the cut-off")
    pivot: Scalar = parameter(100.0, unit="keV", bounds=(1e-10, inf), doc="pivot energy", free=False)

    def evaluate(self, energy: jax.Array) -> jax.Array:
        falling = jnp.exp(0.65 * jnp.log(energy / self.cutoff))
        return self.K * jnp.exp(0.4 * jnp.log(energy / self.pivot) - falling)


class NonDissipativePhotosphereDeep(AbstractAdditive):
    r"""Emission of a photosphere without dissipation, released while the outflow still accelerates.

    $$N(E) = K \, (E / E_0)^{0.66} \, e^{-E / E_c}$$

    **Reference:** Acuner, Ryde & Yu 2019, MNRAS 487, 5508; astromodels' `NonDissipativePhotosphere_Deep`.
    """

    K: Scalar = parameter(1e-4, unit="1 / (cm2 s keV)", bounds=(0, inf), doc="N at the pivot without the cut-off")
    cutoff: Scalar = parameter(200.0, unit="keV", bounds=(1, inf), doc="energy of the cut-off")
    pivot: Scalar = parameter(100.0, unit="keV", bounds=(1e-10, inf), doc="pivot energy", free=False)

    def evaluate(self, energy: jax.Array) -> jax.Array:
        return self.K * jnp.exp(0.66 * jnp.log(energy / self.pivot) - energy / self.cutoff)
