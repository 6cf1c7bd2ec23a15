"""Power laws: plain, by flux, cut off, curved."""

from __future__ import annotations

from math import inf
from typing import Any

import jax
import jax.numpy as jnp

from jaxspec.parameters import Scalar, parameter
from jaxspec.quadrature import Bins, power_integral
from jaxspec.spectra._base import AbstractAdditive


class PowerLaw(AbstractAdditive):
    r"""A power law.

    $$N(E) = K \, (E / E_0)^{\gamma}$$

    The index is signed: a falling spectrum has a negative one (XSPEC's photon index is its negative).

    **Reference:** XSPEC's `powerlaw`, astromodels' `Powerlaw`.
    """

    K: Scalar = parameter(1.0, unit="1 / (cm2 s keV)", bounds=(0, inf), doc="N at the pivot energy")
    index: Scalar = parameter(-2.0, bounds=(-10, 10), doc="index of N(E)")
    pivot: Scalar = parameter(1.0, unit="keV", bounds=(1e-10, inf), doc="pivot energy", free=False)

    def evaluate(self, energy: jax.Array) -> jax.Array:
        return self.K * jnp.exp(self.index * jnp.log(energy / self.pivot))

    def integral(self, bins: Bins, moment: Any = 0) -> jax.Array:
        scaled = power_integral(self.index + moment, bins.low / self.pivot, bins.high / self.pivot)
        return self.K * self.pivot ** (1 + moment) * scaled


class PowerLawFlux(AbstractAdditive):
    r"""A power law scaled by its photon flux F between the energies a and b.

    $$N(E) = F \, E^{\gamma} \Big/ \int_a^b E'^{\gamma} \, dE'$$

    The limit at index -1 is exact, with its derivatives.

    **Reference:** astromodels' `Powerlaw_flux`; the integral is (b^(index+1) - a^(index+1)) / (index+1).
    """

    F: Scalar = parameter(1.0, unit="1 / (cm2 s)", bounds=(0, inf), doc="photon flux between a and b")
    index: Scalar = parameter(-2.0, bounds=(-10, 10), doc="index of N(E)")
    a: Scalar = parameter(1.0, unit="keV", bounds=(1e-10, inf), doc="lower edge of the band of F", free=False)
    b: Scalar = parameter(100.0, unit="keV", bounds=(1e-10, inf), doc="upper edge of the band of F", free=False)

    def evaluate(self, energy: jax.Array) -> jax.Array:
        # In units of the lower edge, so that steep spectra far from 1 keV neither overflow nor vanish.
        band = power_integral(self.index, jnp.ones_like(jnp.asarray(self.a)), self.b / self.a)
        return self.F / (self.a * band) * jnp.exp(self.index * jnp.log(energy / self.a))

    def integral(self, bins: Bins, moment: Any = 0) -> jax.Array:
        band = power_integral(self.index, jnp.ones_like(jnp.asarray(self.a)), self.b / self.a)
        part = power_integral(self.index + moment, bins.low / self.a, bins.high / self.a)
        return self.F * self.a**moment * part / band


class CutoffPowerLaw(AbstractAdditive):
    r"""A power law with an exponential cut-off, by its e-fold energy.

    $$N(E) = K \, (E / E_0)^{\gamma} \, e^{-E / E_c}$$

    **Reference:** XSPEC's `cutoffpl`, astromodels' `Cutoff_powerlaw`.
    """

    K: Scalar = parameter(1.0, unit="1 / (cm2 s keV)", bounds=(0, inf), doc="N at the pivot without the cut-off")
    index: Scalar = parameter(-1.0, bounds=(-10, 10), doc="index of N(E) far below the cut-off")
    cutoff: Scalar = parameter(100.0, unit="keV", bounds=(1e-3, inf), doc="e-fold energy")
    pivot: Scalar = parameter(1.0, unit="keV", bounds=(1e-10, inf), doc="pivot energy", free=False)

    def evaluate(self, energy: jax.Array) -> jax.Array:
        return self.K * jnp.exp(self.index * jnp.log(energy / self.pivot) - energy / self.cutoff)


class CutoffPowerLawPeak(AbstractAdditive):
    r"""A power law with an exponential cut-off, by the energy at which E^2 N(E) peaks.

    $$N(E) = K \, (E / E_0)^{\gamma} \, e^{-(2 + \gamma) E / E_p}$$

    At index -2 it is a power law without cut-off; below -2 nothing peaks at E_p and the spectrum would rise, so the
    index is bounded there.

    **Reference:** gdt's `Comptonized`, astromodels' `Cutoff_powerlaw_Ep`.
    """

    K: Scalar = parameter(1.0, unit="1 / (cm2 s keV)", bounds=(0, inf), doc="N at the pivot without the cut-off")
    index: Scalar = parameter(-1.0, bounds=(-2, 10), doc="index of N(E) far below the peak")
    peak: Scalar = parameter(300.0, unit="keV", bounds=(1e-3, inf), doc="energy of the peak of E^2 N(E)")
    pivot: Scalar = parameter(1.0, unit="keV", bounds=(1e-10, inf), doc="pivot energy", free=False)

    def evaluate(self, energy: jax.Array) -> jax.Array:
        falling = (2.0 + self.index) * energy / self.peak
        return self.K * jnp.exp(self.index * jnp.log(energy / self.pivot) - falling)


class LogParabola(AbstractAdditive):
    r"""A power law whose index runs with the logarithm of energy.

    $$N(E) = K \, (E / E_0)^{\alpha - \beta \ln(E / E_0)}$$

    The logarithm is natural, as in astromodels and gammapy. A curvature quoted for log10 (XSPEC's `logpar`) is divided
    by ln 10. E^2 N(E) peaks at E_0 exp((2 + alpha) / (2 beta)).

    **Reference:** Massaro et al. 2004, A&A 413, 489, eq. 1 (there with log10); astromodels' `Log_parabola`.
    """

    K: Scalar = parameter(1.0, unit="1 / (cm2 s keV)", bounds=(0, inf), doc="N at the pivot energy")
    alpha: Scalar = parameter(-2.0, bounds=(-10, 10), doc="index of N(E) at the pivot")
    beta: Scalar = parameter(0.1, bounds=(-10, 10), doc="curvature, positive where the spectrum bends down")
    pivot: Scalar = parameter(1.0, unit="keV", bounds=(1e-10, inf), doc="pivot energy", free=False)

    def evaluate(self, energy: jax.Array) -> jax.Array:
        x = jnp.log(energy / self.pivot)
        return self.K * jnp.exp((self.alpha - self.beta * x) * x)
