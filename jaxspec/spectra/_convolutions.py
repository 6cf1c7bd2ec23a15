"""What acts on a spectrum as a whole: shifts, normalisation by the flux in a band, partial covering."""

from __future__ import annotations

import abc
from math import inf, log, log10, pi
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from jaxspec.parameters import Scalar, parameter
from jaxspec.quadrature import Bins, Points
from jaxspec.spectra._base import AbstractComponent, AbstractConvolution, AbstractSpectrum
from jaxspec.spectra._powerlaws import KEV_PER_ERG

LIGHT_KM_PER_S = 299792.458
CM_PER_MPC = 3.0856775814913673e24
_PIECES = 24  # of the band, each with a quadrature where the spectrum has no closed form


class VelocityShift(AbstractConvolution):
    r"""A spectrum as seen from a source that recedes with the velocity v.

    $$N(E) = \frac{1}{s} \, N_0(E / s), \qquad s = 1 - v / c$$

    to first order in v / c: the photons are kept, their energies fall by v / c. A negative velocity approaches. A
    factor is shifted without the 1 / s.

    **Reference:** XSPEC's `vashift` and `vmshift`.
    """

    acts_on = ("additive", "multiplicative")
    velocity: Scalar = parameter(0.0, unit="km / s", bounds=(-1e5, 1e5), doc="velocity of recession")

    def _stretch(self) -> Any:
        return 1 - self.velocity / LIGHT_KM_PER_S

    def transform(self, spectrum: AbstractSpectrum, energy: jax.Array) -> jax.Array:
        shifted = spectrum.evaluate(energy / self._stretch())
        return shifted / self._stretch() if spectrum.kind == "additive" else shifted

    def transform_integral(self, spectrum: AbstractSpectrum, bins: Bins, moment: Any) -> jax.Array:
        stretch = self._stretch()
        return spectrum.integral(bins.stretched(1 / stretch), moment) * stretch**moment

    def transform_points(self, spectrum: AbstractSpectrum, bins: Bins) -> tuple[Points, ...]:
        stretch = self._stretch()
        return tuple((energy * stretch, photons) for energy, photons in spectrum.points(bins.stretched(1 / stretch)))


class PartialCovering(AbstractConvolution):
    r"""A factor that acts on a part of the emission only.

    $$M(E) = 1 - f + f \, M_0(E)$$

    It is applied to any factor, or product of factors: `PartialCovering(covering=0.3)(TBabs() * Edge())`.

    **Reference:** XSPEC's `partcov`.
    """

    acts_on = ("multiplicative",)
    covering: Scalar = parameter(0.5, bounds=(0, 1), doc="covered fraction of the emission")

    def transform(self, spectrum: AbstractSpectrum, energy: jax.Array) -> jax.Array:
        return 1 - self.covering + self.covering * spectrum.evaluate(energy)


class AbstractBandScale(AbstractConvolution):
    """Scales a spectrum so that it has a given flux in a band."""

    a: eqx.AbstractVar[Scalar]
    b: eqx.AbstractVar[Scalar]

    @abc.abstractmethod
    def scale(self, spectrum: AbstractSpectrum) -> jax.Array:
        """What the spectrum is multiplied by."""

    def transform(self, spectrum: AbstractSpectrum, energy: jax.Array) -> jax.Array:
        return self.scale(spectrum) * spectrum.evaluate(energy)

    def transform_integral(self, spectrum: AbstractSpectrum, bins: Bins, moment: Any) -> jax.Array:
        return self.scale(spectrum) * spectrum.integral(bins, moment)

    def transform_points(self, spectrum: AbstractSpectrum, bins: Bins) -> tuple[Points, ...]:
        scale = self.scale(spectrum)
        return tuple((energy, scale * photons) for energy, photons in spectrum.points(bins))

    def transform_parts(self, spectrum: AbstractSpectrum) -> dict[str, AbstractSpectrum]:
        return {name: _ScaledPart(self, spectrum, part) for name, part in spectrum.parts().items()}


class _ScaledPart(AbstractSpectrum):
    """A part of a spectrum that is scaled as a whole."""

    kind = "additive"
    convolution: AbstractBandScale
    whole: AbstractSpectrum
    part: AbstractSpectrum

    def evaluate(self, energy: jax.Array) -> jax.Array:
        return self.convolution.scale(self.whole) * self.part.evaluate(energy)

    def integral(self, bins: Bins, moment: Any = 0) -> jax.Array:
        return self.convolution.scale(self.whole) * self.part.integral(bins, moment)

    def points(self, bins: Bins) -> tuple[Points, ...]:
        scale = self.convolution.scale(self.whole)
        return tuple((energy, scale * photons) for energy, photons in self.part.points(bins))

    def components(self) -> dict[str, AbstractComponent]:
        return {**self.convolution.components(), **self.part.components()}

    def map_components(self, function: Any) -> AbstractSpectrum:
        convolution = self.convolution.map_components(function)
        assert isinstance(convolution, AbstractBandScale)  # for the type checker: a component keeps its class
        return _ScaledPart(convolution, self.whole.map_components(function), self.part.map_components(function))


def _band_integral(spectrum: AbstractSpectrum, low: Any, high: Any, moment: int) -> jax.Array:
    """The integral of E^moment N(E) over a band."""
    return jnp.sum(spectrum.integral(Bins.dividing(jnp.asarray(low), jnp.asarray(high), _PIECES), moment))


class EnergyFlux(AbstractBandScale):
    r"""A spectrum scaled to an energy flux between the energies a and b.

    $$N(E) = N_0(E) \, 10^f \Big/ \int_a^b E' N_0(E') \, dE'$$

    so that the flux, or its logarithm f, is a parameter in place of a norm of N0: freeze that one. Around a sum, it is
    the flux of the sum. 1 erg is 6.241509e8 keV.

    **Reference:** XSPEC's `cflux`.
    """

    log_flux: Scalar = parameter(-11.0, bounds=(-30, 10), doc="log10 of the energy flux in erg / (cm2 s)")
    a: Scalar = parameter(0.5, unit="keV", bounds=(1e-10, inf), doc="lower edge of the band", free=False)
    b: Scalar = parameter(10.0, unit="keV", bounds=(1e-10, inf), doc="upper edge of the band", free=False)

    def scale(self, spectrum: AbstractSpectrum) -> jax.Array:
        flux = jnp.exp(log(10) * (self.log_flux + log10(KEV_PER_ERG)))
        return flux / _band_integral(spectrum, self.a, self.b, 1)


class PhotonFlux(AbstractBandScale):
    r"""A spectrum scaled to a photon flux between the energies a and b.

    $$N(E) = N_0(E) \, F \Big/ \int_a^b N_0(E') \, dE'$$

    so that the flux is a parameter in place of a norm of N0: freeze that one. Around a sum, it is the flux of the sum.

    **Reference:** XSPEC's `cpflux`.
    """

    flux: Scalar = parameter(1.0, unit="1 / (cm2 s)", bounds=(0, inf), doc="photon flux between a and b")
    a: Scalar = parameter(0.5, unit="keV", bounds=(1e-10, inf), doc="lower edge of the band", free=False)
    b: Scalar = parameter(10.0, unit="keV", bounds=(1e-10, inf), doc="upper edge of the band", free=False)

    def scale(self, spectrum: AbstractSpectrum) -> jax.Array:
        return self.flux / _band_integral(spectrum, self.a, self.b, 0)


class Luminosity(AbstractBandScale):
    r"""A spectrum scaled to a luminosity between the rest-frame energies a and b.

    $$N(E) = N_0(E) \, \frac{10^l}{4 \pi D^2} \Big/ \int_{a / (1 + z)}^{b / (1 + z)} E' N_0(E') \, dE'$$

    with the luminosity distance D, which is given: `distance=Planck18.luminosity_distance(0.3)` with astropy's
    cosmology; z only shifts the band. Freeze the norm of N0. 1 erg is 6.241509e8 keV.

    **Reference:** XSPEC's `cglumin` (z = 0) and `clumin` (which takes D from z and its own cosmology).
    """

    log_luminosity: Scalar = parameter(40.0, bounds=(20, 60), doc="log10 of the luminosity in erg / s")
    a: Scalar = parameter(0.5, unit="keV", bounds=(1e-10, inf), doc="lower edge of the band at rest", free=False)
    b: Scalar = parameter(10.0, unit="keV", bounds=(1e-10, inf), doc="upper edge of the band at rest", free=False)
    distance: Scalar = parameter(0.01, unit="Mpc", bounds=(1e-6, inf), doc="luminosity distance", free=False)
    z: Scalar = parameter(0.0, bounds=(-0.999, inf), doc="redshift", free=False)

    def scale(self, spectrum: AbstractSpectrum) -> jax.Array:
        # As logarithms: in single precision the luminosity itself is infinite.
        constant = log10(KEV_PER_ERG) - log10(4 * pi) - 2 * log10(CM_PER_MPC)
        log_flux = self.log_luminosity + constant - 2 * jnp.log10(jnp.asarray(self.distance))
        band = (self.a / (1 + self.z), self.b / (1 + self.z))
        return jnp.exp(log(10) * log_flux) / _band_integral(spectrum, *band, 1)
