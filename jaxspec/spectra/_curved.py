"""Power laws whose index runs with energy."""

from __future__ import annotations

from math import inf, log

import jax
import jax.numpy as jnp

from jaxspec.parameters import Scalar, parameter
from jaxspec.spectra._base import AbstractAdditive

LN10 = log(10.0)


class LogParabola(AbstractAdditive):
    r"""A power law whose index runs with the logarithm of energy.

    $$N(E) = K \, (E / E_0)^{\alpha - \beta \ln(E / E_0)}$$

    The logarithm is natural, as in astromodels and gammapy. A curvature quoted for log10 (XSPEC's `logpar`) is divided
    by ln 10. E^2 N(E) peaks at E_0 exp((2 + alpha) / (2 beta)).

    **Reference:** Massaro et al. 2004, A&A 413, 489, eq. 1 (there with log10); astromodels' `Log_parabola`.
    """

    K: Scalar = parameter(1.0, unit="1 / (cm2 s keV)", bounds=(0, inf), doc="N at the pivot energy")
    alpha: Scalar = parameter(-2.0, bounds=(-10, 10), doc="index of N(E) at the pivot")
    beta: Scalar = parameter(0.1, bounds=(-2, 10), doc="curvature, positive where the spectrum bends down")
    pivot: Scalar = parameter(1.0, unit="keV", bounds=(1e-10, inf), doc="pivot energy", free=False)

    def evaluate(self, energy: jax.Array) -> jax.Array:
        x = jnp.log(energy / self.pivot)
        return self.K * jnp.exp((self.alpha - self.beta * x) * x)


class LogParabola10(AbstractAdditive):
    r"""A power law whose index runs with the decimal logarithm of energy.

    $$N(E) = K \, (E / E_0)^{\alpha - \beta \log_{10}(E / E_0)}$$

    `LogParabola` has the natural logarithm: there beta is this one divided by ln 10.

    **Reference:** Massaro et al. 2004, A&A 413, 489, eq. 1; XSPEC's `logpar` (there alpha has the other sign).
    """

    K: Scalar = parameter(1.0, unit="1 / (cm2 s keV)", bounds=(0, inf), doc="N at the pivot energy")
    alpha: Scalar = parameter(-2.0, bounds=(-10, 10), doc="index of N(E) at the pivot")
    beta: Scalar = parameter(0.2, bounds=(-4, 10), doc="curvature, positive where the spectrum bends down")
    pivot: Scalar = parameter(1.0, unit="keV", bounds=(1e-10, inf), doc="pivot energy", free=False)

    def evaluate(self, energy: jax.Array) -> jax.Array:
        x = jnp.log(energy / self.pivot)
        return self.K * jnp.exp((self.alpha - self.beta / LN10 * x) * x)


class LogParabolaPeak(AbstractAdditive):
    r"""A power law whose index runs with the decimal logarithm of energy, by the energy at which E^2 N(E) peaks.

    $$N(E) = K \, E^{-2} \, 10^{-\beta \, [\log_{10}(E / E_p)]^2}$$

    with E in keV.

    **Reference:** Tramacere et al. 2007, A&A 467, 501; XSPEC's `eplogpar`.
    """

    K: Scalar = parameter(1.0, unit="keV / (cm2 s)", bounds=(0, inf), doc="E^2 N(E) at its peak")
    peak: Scalar = parameter(1.0, unit="keV", bounds=(1e-6, 1e10), doc="energy of the peak of E^2 N(E)")
    beta: Scalar = parameter(0.2, bounds=(-2, 4), doc="curvature, positive where the spectrum bends down")

    def evaluate(self, energy: jax.Array) -> jax.Array:
        x = jnp.log(energy / self.peak)
        return self.K * jnp.exp(-self.beta / LN10 * x**2 - 2 * jnp.log(energy))
