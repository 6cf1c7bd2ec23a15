"""Factors: edges, cut-offs and lines in absorption, scattering. A threshold inside a bin is seen at the bin's nodes."""

from __future__ import annotations

from math import inf, pi, sqrt
from typing import Any

import jax
import jax.numpy as jnp

from jaxspec.parameters import Scalar, parameter
from jaxspec.spectra._base import AbstractMultiplicative


class Edge(AbstractMultiplicative):
    r"""An absorption edge.

    $$M(E) = \begin{cases} 1 & E < E_c \\ e^{-D \, (E / E_c)^{-3}} & \text{else} \end{cases}$$

    **Reference:** XSPEC's `edge`.
    """

    energy: Scalar = parameter(7.0, unit="keV", bounds=(1e-3, inf), doc="energy of the edge")
    depth: Scalar = parameter(1.0, bounds=(0, inf), doc="optical depth at the edge")

    def evaluate(self, energy: jax.Array) -> jax.Array:
        return jnp.exp(-jnp.where(energy < self.energy, 0.0, self.depth * (self.energy / energy) ** 3))


class SmearedEdge(AbstractMultiplicative):
    r"""A smeared absorption edge.

    $$M(E) = \begin{cases} 1 & E < E_c \\
        e^{-D \, (E / E_c)^\alpha \, [1 - e^{(E_c - E) / W}]} & \text{else} \end{cases}$$

    **Reference:** Ebisawa 1991, PhD thesis, University of Tokyo; XSPEC's `smedge`.
    """

    energy: Scalar = parameter(7.0, unit="keV", bounds=(1e-3, inf), doc="energy of the edge")
    depth: Scalar = parameter(1.0, bounds=(0, inf), doc="optical depth that the edge would have without smearing")
    index: Scalar = parameter(-2.67, bounds=(-10, 10), doc="index of the cross-section", free=False)
    width: Scalar = parameter(10.0, unit="keV", bounds=(0.01, inf), doc="smearing width")

    def evaluate(self, energy: jax.Array) -> jax.Array:
        beyond = jnp.maximum(energy - self.energy, 0.0)
        power = jnp.exp(self.index * jnp.log(energy / self.energy))
        return jnp.exp(jnp.where(energy < self.energy, 0.0, self.depth * power * jnp.expm1(-beyond / self.width)))


class LowEnergyCutoff(AbstractMultiplicative):
    r"""An exponential roll-off towards low energies.

    $$M(E) = e^{-E_c / E}$$

    **Reference:** XSPEC's `expabs`.
    """

    cutoff: Scalar = parameter(2.0, unit="keV", bounds=(0, inf), doc="e-fold energy of the absorption")

    def evaluate(self, energy: jax.Array) -> jax.Array:
        return jnp.exp(-self.cutoff / energy)


class HighEnergyCutoff(AbstractMultiplicative):
    r"""An exponential cut-off that begins at a threshold.

    $$M(E) = \begin{cases} 1 & E < E_c \\ e^{(E_c - E) / E_f} & \text{else} \end{cases}$$

    **Reference:** XSPEC's `highecut`.
    """

    cutoff: Scalar = parameter(10.0, unit="keV", bounds=(1e-3, inf), doc="energy at which the cut-off begins")
    fold: Scalar = parameter(15.0, unit="keV", bounds=(0.01, inf), doc="e-fold energy")

    def evaluate(self, energy: jax.Array) -> jax.Array:
        return jnp.exp(jnp.where(energy < self.cutoff, 0.0, (self.cutoff - energy) / self.fold))


class SuperExponentialCutoff(AbstractMultiplicative):
    r"""A cut-off that is slower or faster than exponential.

    $$M(E) = e^{-(E / E_c)^\alpha}$$

    **Reference:** XSPEC's `spexpcut`.
    """

    cutoff: Scalar = parameter(10.0, unit="keV", bounds=(1, inf), doc="energy at which the factor is 1 / e")
    alpha: Scalar = parameter(1.0, bounds=(-5, 5), doc="steepness")

    def evaluate(self, energy: jax.Array) -> jax.Array:
        # Beyond 1e6 nothing is left; the limit keeps infinity times zero out of the derivatives.
        return jnp.exp(-jnp.exp(jnp.minimum(self.alpha * jnp.log(energy / self.cutoff), 13.8)))


class ExponentialFactor(AbstractMultiplicative):
    r"""An exponential on top of one, above a threshold.

    $$M(E) = \begin{cases} 1 & E < E_c \\ 1 + A \, e^{-f E} & \text{else} \end{cases}$$

    **Reference:** XSPEC's `expfac`.
    """

    amplitude: Scalar = parameter(1.0, bounds=(0, inf), doc="height of the exponential at zero energy")
    factor: Scalar = parameter(1.0, unit="1 / keV", bounds=(0, inf), doc="inverse of the e-fold energy")
    start: Scalar = parameter(0.5, unit="keV", bounds=(0, inf), doc="energy above which it acts")

    def evaluate(self, energy: jax.Array) -> jax.Array:
        return 1 + jnp.where(energy < self.start, 0.0, self.amplitude * jnp.exp(-self.factor * energy))


class PowerLawFactor(AbstractMultiplicative):
    r"""A factor that is a power of energy.

    $$M(E) = K \, E^{\gamma}$$

    with E in keV. The index is signed: XSPEC's is its negative.

    **Reference:** XSPEC's `plabs`.
    """

    K: Scalar = parameter(1.0, bounds=(0, inf), doc="the factor at 1 keV")
    index: Scalar = parameter(-2.0, bounds=(-5, 5), doc="index")

    def evaluate(self, energy: jax.Array) -> jax.Array:
        return self.K * jnp.exp(self.index * jnp.log(energy))


class GaussianAbsorption(AbstractMultiplicative):
    r"""A Gaussian line in absorption.

    $$M(E) = \exp\left[-\frac{D}{\sigma \sqrt{2 \pi}} \, e^{-(E - E_l)^2 / 2 \sigma^2}\right]$$

    The line should be wider than the bins: a factor is seen at the nodes of the bins only.

    **Reference:** XSPEC's `gabs`.
    """

    energy: Scalar = parameter(6.0, unit="keV", bounds=(1e-3, inf), doc="energy of the line")
    sigma: Scalar = parameter(0.5, unit="keV", bounds=(1e-3, inf), doc="width: standard deviation")
    strength: Scalar = parameter(1.0, unit="keV", bounds=(0, inf), doc="the optical depth's integral over energy")

    def evaluate(self, energy: jax.Array) -> jax.Array:
        x = jnp.clip((energy - self.energy) / self.sigma, -40.0, 40.0)
        return jnp.exp(-self.strength / (self.sigma * sqrt(2 * pi)) * jnp.exp(-0.5 * x**2))


class CyclotronAbsorption(AbstractMultiplicative):
    r"""A cyclotron line in absorption, and its second harmonic.

    $$M(E) = \exp\left[-\frac{D_1 (W_1 E / E_c)^2}{(E - E_c)^2 + W_1^2}
        - \frac{D_2 (W_2 E / 2 E_c)^2}{(E - 2 E_c)^2 + W_2^2}\right]$$

    **Reference:** Mihara et al. 1990, Nature 346, 250; XSPEC's `cyclabs`.
    """

    energy: Scalar = parameter(30.0, unit="keV", bounds=(1, 1e4), doc="energy of the fundamental")
    depth1: Scalar = parameter(2.0, bounds=(0, inf), doc="optical depth of the fundamental")
    width1: Scalar = parameter(10.0, unit="keV", bounds=(0.1, inf), doc="width of the fundamental")
    depth2: Scalar = parameter(0.0, bounds=(0, inf), doc="optical depth of the second harmonic")
    width2: Scalar = parameter(20.0, unit="keV", bounds=(0.1, inf), doc="width of the second harmonic")

    def evaluate(self, energy: jax.Array) -> jax.Array:
        def depth(line: Any, height: Any, width: Any) -> jax.Array:
            return height * (width * energy / line) ** 2 / ((energy - line) ** 2 + width**2)

        first = depth(self.energy, self.depth1, self.width1)
        return jnp.exp(-first - depth(2 * self.energy, self.depth2, self.width2))


class ComptonScattering(AbstractMultiplicative):
    r"""Loss of photons that electrons scatter out of the beam.

    $$M(E) = e^{-1.21 \, n_H \, \sigma_\mathrm{KN}(E)}$$

    with the Klein-Nishina cross-section, of $\sigma_T$ = 6.6524e-25 cm2 towards low energies, and 1.21 electrons per
    hydrogen atom.

    **Reference:** Rybicki & Lightman 1979, eq. 7.5; XSPEC's `cabs`.
    """

    nH: Scalar = parameter(1.0, unit="1e22 / cm2", bounds=(0, inf), doc="column density of hydrogen")

    def evaluate(self, energy: jax.Array) -> jax.Array:
        return jnp.exp(-1.21 * 0.0066524587 * self.nH * klein_nishina(energy / 510.99895))


# Of the Klein-Nishina cross-section in powers of x.
_SERIES = (
    *(1.0, -2.0, 26 / 5, -133 / 10, 1144 / 35, -544 / 7, 3784 / 21, -6148 / 15, 151552 / 165, -111872 / 55),
    *(637952 / 143, -883328 / 91, 9545728 / 455),
)


def klein_nishina(x: jax.Array) -> jax.Array:
    """The Klein-Nishina cross-section over that of Thomson; x is the photon energy over m c^2."""
    near = x < 0.08
    # Below, the terms of the closed form cancel to nothing.
    low = jnp.where(near, x, 0.0)
    series = jnp.zeros_like(x)
    for coefficient in _SERIES[::-1]:
        series = series * low + coefficient
    high = jnp.where(near, 1.0, x)
    log = jnp.log1p(2 * high)
    closed = (1 + high) / high**3 * (2 * high * (1 + high) / (1 + 2 * high) - log)
    closed = 0.75 * (closed + log / (2 * high) - (1 + 3 * high) / (1 + 2 * high) ** 2)
    return jnp.where(near, series, closed)
