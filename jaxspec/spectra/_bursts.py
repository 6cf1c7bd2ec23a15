"""Spectra of gamma-ray bursts."""

from __future__ import annotations

from math import inf

import jax
import jax.numpy as jnp

from jaxspec.parameters import Scalar, parameter
from jaxspec.spectra._base import AbstractAdditive


def _two_power_laws(energy, alpha, beta, cutoff, pivot):
    """N(E) / K of the Band function."""
    x = jnp.log(energy / pivot)
    # Where beta >= alpha the two power laws do not meet; a positive step keeps value and gradients finite.
    step = jnp.maximum(alpha - beta, 1e-6)
    low = alpha * x - energy / cutoff
    high = beta * x + step * (jnp.log(step * cutoff / pivot) - 1.0)
    return jnp.exp(jnp.where(energy < step * cutoff, low, high))


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
