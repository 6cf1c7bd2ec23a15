"""Power laws: plain, by flux, cut off."""

from __future__ import annotations

from math import inf
from typing import Any

import jax
import jax.numpy as jnp

from jaxspec.parameters import Scalar, parameter
from jaxspec.quadrature import Bins, log_integral, log_power_integral, power_integral
from jaxspec.spectra._base import AbstractAdditive

KEV_PER_ERG = 1 / 1.602176634e-9


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

    def _log_scale(self) -> jax.Array:
        """-ln of the band integral in units of a: steep spectra far from 1 keV neither overflow nor vanish."""
        return -log_power_integral(self.index, 1.0, self.b / self.a)

    def evaluate(self, energy: jax.Array) -> jax.Array:
        return self.F / self.a * jnp.exp(self.index * jnp.log(energy / self.a) + self._log_scale())

    def integral(self, bins: Bins, moment: Any = 0) -> jax.Array:
        part = power_integral(self.index + moment, bins.low / self.a, bins.high / self.a)
        return self.F * self.a**moment * part * jnp.exp(self._log_scale())


class PowerLawEnergyFlux(AbstractAdditive):
    r"""A power law scaled by its energy flux F between the energies a and b.

    $$N(E) = F \, E^{\gamma} \Big/ \int_a^b E'^{\gamma + 1} \, dE'$$

    The limit at index -2 is exact, with its derivatives. 1 erg is 6.241509e8 keV.

    **Reference:** XSPEC's `pegpwrlw` (its norm is F / 1e-12), astromodels' `Powerlaw_Eflux` at pivot 1.
    """

    F: Scalar = parameter(1e-9, unit="erg / (cm2 s)", bounds=(0, inf), doc="energy flux between a and b")
    index: Scalar = parameter(-2.0, bounds=(-10, 10), doc="index of N(E)")
    a: Scalar = parameter(1.0, unit="keV", bounds=(1e-10, inf), doc="lower edge of the band of F", free=False)
    b: Scalar = parameter(100.0, unit="keV", bounds=(1e-10, inf), doc="upper edge of the band of F", free=False)

    def _as_power_law(self) -> PowerLaw:
        """The same with N at the lower edge, so that steep spectra far from 1 keV neither overflow nor vanish."""
        scale = jnp.exp(-log_power_integral(self.index + 1.0, 1.0, self.b / self.a))
        return PowerLaw().with_fields(K=KEV_PER_ERG * self.F * scale / self.a**2, index=self.index, pivot=self.a)

    def evaluate(self, energy: jax.Array) -> jax.Array:
        return self._as_power_law().evaluate(energy)

    def integral(self, bins: Bins, moment: Any = 0) -> jax.Array:
        return self._as_power_law().integral(bins, moment)


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

    With a pivot of 100 keV it is the function that the catalogues of gamma-ray bursts call "Comptonized".

    **Reference:** gdt's `Comptonized` (pivot 100), astromodels' `Cutoff_powerlaw_Ep`.
    """

    K: Scalar = parameter(1.0, unit="1 / (cm2 s keV)", bounds=(0, inf), doc="N at the pivot without the cut-off")
    index: Scalar = parameter(-1.0, bounds=(-2, 10), doc="index of N(E) far below the peak")
    peak: Scalar = parameter(300.0, unit="keV", bounds=(1e-3, inf), doc="energy of the peak of E^2 N(E)")
    pivot: Scalar = parameter(1.0, unit="keV", bounds=(1e-10, inf), doc="pivot energy", free=False)

    def evaluate(self, energy: jax.Array) -> jax.Array:
        falling = (2.0 + self.index) * energy / self.peak
        return self.K * jnp.exp(self.index * jnp.log(energy / self.pivot) - falling)


class CutoffPowerLawFlux(AbstractAdditive):
    r"""A power law with an exponential cut-off, scaled by its photon flux F between the energies a and b.

    $$N(E) = F \, E^{\gamma} e^{-E / E_c} \Big/ \int_a^b E'^{\gamma} e^{-E' / E_c} \, dE'$$

    The integral is a quadrature in ln E, exact to 1e-9 where the cut-off is above a twentieth of a.

    **Reference:** astromodels' `Cutoff_powerlaw_flux`.
    """

    F: Scalar = parameter(1.0, unit="1 / (cm2 s)", bounds=(0, inf), doc="photon flux between a and b")
    index: Scalar = parameter(-1.0, bounds=(-10, 10), doc="index of N(E) far below the cut-off")
    cutoff: Scalar = parameter(100.0, unit="keV", bounds=(0.1, inf), doc="e-fold energy")
    a: Scalar = parameter(1.0, unit="keV", bounds=(1e-10, inf), doc="lower edge of the band of F", free=False)
    b: Scalar = parameter(100.0, unit="keV", bounds=(1e-10, inf), doc="upper edge of the band of F", free=False)

    def evaluate(self, energy: jax.Array) -> jax.Array:
        def log_shape(energy: jax.Array) -> jax.Array:
            return self.index * jnp.log(energy / self.a) - (energy - self.a) / self.cutoff

        return self.F * jnp.exp(log_shape(energy) - log_integral(log_shape, self.a, self.b))


class InverseCutoffPowerLaw(AbstractAdditive):
    r"""A power law with an exponential cut-off, by the inverse of its e-fold energy.

    $$N(E) = K \, (E / E_0)^{\gamma} \, e^{-b E}$$

    At b = 0 it is a power law without cut-off, so that b measures whether there is one.

    **Reference:** astromodels' `Inverse_cutoff_powerlaw`.
    """

    K: Scalar = parameter(1.0, unit="1 / (cm2 s keV)", bounds=(0, inf), doc="N at the pivot without the cut-off")
    index: Scalar = parameter(-1.0, bounds=(-10, 10), doc="index of N(E) far below the cut-off")
    b: Scalar = parameter(0.01, unit="1 / keV", bounds=(0, inf), doc="inverse of the e-fold energy")
    pivot: Scalar = parameter(1.0, unit="keV", bounds=(1e-10, inf), doc="pivot energy", free=False)

    def evaluate(self, energy: jax.Array) -> jax.Array:
        return self.K * jnp.exp(self.index * jnp.log(energy / self.pivot) - self.b * energy)


class SuperCutoffPowerLaw(AbstractAdditive):
    r"""A power law with a cut-off that is slower or faster than exponential.

    $$N(E) = K \, (E / E_0)^{\gamma} \, e^{-(E / E_c)^{\Gamma}}$$

    **Reference:** astromodels' `Super_cutoff_powerlaw`.
    """

    K: Scalar = parameter(1.0, unit="1 / (cm2 s keV)", bounds=(0, inf), doc="N at the pivot without the cut-off")
    index: Scalar = parameter(-1.0, bounds=(-10, 10), doc="index of N(E) far below the cut-off")
    cutoff: Scalar = parameter(100.0, unit="keV", bounds=(1, inf), doc="energy at which N has fallen by e")
    gamma: Scalar = parameter(1.0, bounds=(0.1, 10), doc="steepness: 1 is an exponential cut-off")
    pivot: Scalar = parameter(1.0, unit="keV", bounds=(1e-10, inf), doc="pivot energy", free=False)

    def evaluate(self, energy: jax.Array) -> jax.Array:
        # Beyond 1e6 nothing is left to be counted; the limit keeps infinity times zero out of the derivatives.
        falling = jnp.exp(jnp.minimum(self.gamma * jnp.log(energy / self.cutoff), 13.8))
        return self.K * jnp.exp(self.index * jnp.log(energy / self.pivot) - falling)


class ExponentialDecay(AbstractAdditive):
    r"""An exponential.

    $$N(E) = K \, e^{-w E}$$

    **Reference:** XSPEC's `expdec`; astromodels' `Exponential_cutoff` has w = 1 / xc.
    """

    K: Scalar = parameter(1.0, unit="1 / (cm2 s keV)", bounds=(0, inf), doc="N at zero energy")
    w: Scalar = parameter(1.0, unit="1 / keV", bounds=(0, inf), doc="inverse of the e-fold energy")

    def evaluate(self, energy: jax.Array) -> jax.Array:
        return self.K * jnp.exp(-self.w * energy)
