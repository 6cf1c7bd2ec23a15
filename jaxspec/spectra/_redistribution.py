"""Convolutions that give each photon another energy: smoothing, and Compton scattering by hot electrons."""

from __future__ import annotations

import abc
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jaxspec.parameters import Scalar, parameter
from jaxspec.quadrature import Bins, Points, power_integral, sum_points, two_points
from jaxspec.spectra._base import AbstractConvolution, AbstractSpectrum
from jaxspec.spectra._lines import Moments, gaussian_moments, lorentz_moments

_ORDER = 5  # of the quadrature over the energies that photons had, between each two edges


class AbstractRedistribution(AbstractConvolution):
    r"""A convolution in which a photon of energy E' comes out with a density R(E, E') over E.

    $$N(E) = \int N_0(E') \, R(E, E') \, dE'$$

    The integral over E' is done for each bin by itself, between edges that follow the kernel's width: it is as exact
    for a kernel narrower than a bin as for a wide one, and lines in N0 keep their photons.
    """

    @abc.abstractmethod
    def edges(self, low: jax.Array, high: jax.Array) -> jax.Array:
        """Energies E' between which R into each of n bins is smooth, and beyond which it is nothing: (k, n), rising."""

    @abc.abstractmethod
    def density(self, before: jax.Array, energy: jax.Array) -> jax.Array:
        """R(energy, before) per keV."""

    @abc.abstractmethod
    def moments(self, before: jax.Array, low: jax.Array, high: jax.Array) -> Moments:
        """The integrals over (low, high) of R times (E - before)^0, ^1 and ^2."""

    def _photons(self, spectrum: AbstractSpectrum, low: jax.Array, high: jax.Array) -> list[Points]:
        """Photons that can come into each of n bins: energies before and numbers, each (m, n)."""
        edges = self.edges(low, high)
        before = Bins.of(edges[:-1].ravel(), edges[1:].ravel(), _ORDER)
        shape = (-1, low.size)
        return [
            (jnp.reshape(energy, shape), jnp.reshape(photons, shape)) for energy, photons in spectrum.points(before)
        ]

    def transform(self, spectrum: AbstractSpectrum, energy: jax.Array) -> jax.Array:
        at = jnp.reshape(energy, (1,))
        terms = [photons * self.density(before, at) for before, photons in self._photons(spectrum, at, at)]
        return jnp.reshape(sum(jnp.sum(term, axis=0) for term in terms), jnp.shape(energy))

    def transform_points(self, spectrum: AbstractSpectrum, bins: Bins) -> tuple[Points, ...]:
        centre = 0.5 * (bins.low + bins.high)
        total = [jnp.zeros_like(centre)] * 3
        for before, photons in self._photons(spectrum, bins.low, bins.high):
            part, first, second = self.moments(before, bins.low, bins.high)
            away = before - centre
            centred = (part, first + away * part, second + 2 * away * first + away**2 * part)
            total = [each + jnp.sum(photons * moment, axis=0) for each, moment in zip(total, centred)]
        return (two_points(bins, centre, (total[0], total[1], total[2])),)


class AbstractSmoothing(AbstractRedistribution):
    """A line profile whose width goes with a power of energy."""

    width: eqx.AbstractVar[Scalar]
    index: eqx.AbstractVar[Scalar]
    steps: ClassVar[tuple[float, ...]]  # distances in widths at which the profile is cut for the quadrature

    def width_at(self, energy: jax.Array) -> jax.Array:
        """The width of the profile of photons of this energy; one far too narrow to be seen in place of zero."""
        floor = float(jnp.finfo(energy.dtype).eps) ** 0.5 * energy
        return jnp.maximum(self.width * jnp.exp(self.index * jnp.log(energy / 6.0)), floor)

    def edges(self, low: jax.Array, high: jax.Array) -> jax.Array:
        left, right, centre = self.width_at(low), self.width_at(high), 0.5 * (low + high)
        steps = np.array([0.0, *self.steps])[:, None].astype(low.dtype)
        inside = steps[steps[:, 0] <= 10]
        before = jnp.maximum(low - steps[:0:-1] * left, 0.01 * low)
        within = (jnp.minimum(low + inside * left, centre), jnp.maximum(high - inside[::-1] * right, centre))
        return jnp.concatenate([before, *within, high + steps[1:] * right])


class GaussianSmoothing(AbstractSmoothing):
    r"""Smoothing with a Gaussian.

    $$R(E, E') = \frac{1}{\sigma \sqrt{2 \pi}} \, e^{-(E - E')^2 / 2 \sigma^2}, \qquad
    \sigma = \sigma_6 \left(\frac{E'}{6\,\mathrm{keV}}\right)^{\alpha}$$

    Photons below a hundredth of a bin's energy are left out. XSPEC loses those outside of its grid of energies.

    **Reference:** XSPEC's `gsmooth`.
    """

    steps: ClassVar[tuple[float, ...]] = (*(0.5 * i for i in range(1, 13)), 7.0, 8.0, 12.0, 20.0, 50.0, 200.0)
    width: Scalar = parameter(0.1, unit="keV", bounds=(0, 20), doc="standard deviation at 6 keV")
    index: Scalar = parameter(0.0, bounds=(-1, 1), doc="index of the width over energy", free=False)

    def density(self, before: jax.Array, energy: jax.Array) -> jax.Array:
        sigma = self.width_at(before)
        x = jnp.clip((energy - before) / sigma, -40.0, 40.0)
        return jnp.exp(-0.5 * x**2) / (sigma * jnp.sqrt(2 * jnp.pi))

    def moments(self, before: jax.Array, low: jax.Array, high: jax.Array) -> Moments:
        return gaussian_moments(low - before, high - before, self.width_at(before))


class LorentzSmoothing(AbstractSmoothing):
    r"""Smoothing with a Lorentz profile.

    $$R(E, E') = \frac{\Gamma}{2 \pi} \, \frac{1}{(E - E')^2 + (\Gamma / 2)^2}, \qquad
    \Gamma = \Gamma_6 \left(\frac{E'}{6\,\mathrm{keV}}\right)^{\alpha}$$

    Photons below a hundredth of a bin's energy are left out. XSPEC loses those outside of its grid of energies.

    **Reference:** XSPEC's `lsmooth`.
    """

    steps: ClassVar[tuple[float, ...]] = (
        0.25,
        0.5,
        0.75,
        *(2 ** (i / 2) for i in range(9)),
        *(2.0**i for i in range(5, 15)),
    )
    width: Scalar = parameter(0.1, unit="keV", bounds=(0, 20), doc="full width at half maximum at 6 keV")
    index: Scalar = parameter(0.0, bounds=(-1, 1), doc="index of the width over energy", free=False)

    def density(self, before: jax.Array, energy: jax.Array) -> jax.Array:
        half = 0.5 * self.width_at(before)
        return half / (jnp.pi * ((energy - before) ** 2 + half**2))

    def moments(self, before: jax.Array, low: jax.Array, high: jax.Array) -> Moments:
        return lorentz_moments(low - before, high - before, 0.5 * self.width_at(before))


class PowerLawComptonization(AbstractRedistribution):
    r"""Seed photons of which a fraction is scattered into a power law.

    $$N(E) = (1 - f) \, N_0(E) + f \int N_0(E') \, R(E, E') \, dE', \qquad
    R = \frac{\Gamma - 1}{E'} \left(\frac{E}{E'}\right)^{-\Gamma}, \quad E \geq E'$$

    The photons are kept. With d = 1 they are scattered down, too: R = A (E / E')^-Gamma / E' above E' and
    A (E / E')^(Gamma + 1) / E' below, A = (Gamma - 1) (Gamma + 2) / (1 + 2 Gamma); in between R is a mixture. Seed
    photons below 1e-4 of a bin's energy are left out; XSPEC leaves out those below its grid.

    **Reference:** Steiner et al. 2009, PASP 121, 1279, eq. 1-4; XSPEC's `simpl` (UpScOnly = 1 - d).
    """

    gamma: Scalar = parameter(2.3, bounds=(1, 5), doc="photon index of the power law, positive")
    fraction: Scalar = parameter(0.05, bounds=(0, 1), doc="scattered fraction f")
    down: Scalar = parameter(0.0, bounds=(0, 1), doc="d: 0 for scattering up only, 1 for both ways", free=False)

    def edges(self, low: jax.Array, high: jax.Array) -> jax.Array:
        powers = 1.6 ** np.arange(-20.0, 16.0)[:, None].astype(low.dtype)
        return jnp.concatenate([low * powers[:21], high * powers[20:]])

    def _weights(self) -> tuple[Any, Any]:
        """What the power law above E', and the one below, is multiplied by."""
        both = (self.gamma - 1) * (self.gamma + 2) / (1 + 2 * self.gamma)
        return (1 - self.down) * (self.gamma - 1) + self.down * both, self.down * both

    def density(self, before: jax.Array, energy: jax.Array) -> jax.Array:
        above, below = self._weights()
        log_ratio = jnp.log(energy / before)
        up = above * jnp.exp(-self.gamma * jnp.maximum(log_ratio, 0.0))
        down = below * jnp.exp((self.gamma + 1) * jnp.minimum(log_ratio, 0.0))
        return jnp.where(log_ratio >= 0, up, down) / before

    def moments(self, before: jax.Array, low: jax.Array, high: jax.Array) -> Moments:
        above, below = self._weights()
        a, b = low / before, high / before

        def raw(power: int) -> jax.Array:
            up = power_integral(power - self.gamma, jnp.maximum(a, 1.0), jnp.maximum(b, 1.0))
            down = power_integral(power + self.gamma + 1, jnp.minimum(a, 1.0), jnp.minimum(b, 1.0))
            return above * up + below * down

        zeroth, first, second = raw(0), raw(1), raw(2)
        return zeroth, before * (first - zeroth), before**2 * (second - 2 * first + zeroth)

    def transform(self, spectrum: AbstractSpectrum, energy: jax.Array) -> jax.Array:
        scattered = super().transform(spectrum, energy)
        return (1 - self.fraction) * spectrum.evaluate(energy) + self.fraction * scattered

    def transform_integral(self, spectrum: AbstractSpectrum, bins: Bins, moment: Any) -> jax.Array:
        scattered = super().transform_points(spectrum, bins)
        kept = spectrum.integral(bins, moment)
        return (1 - self.fraction) * kept + self.fraction * sum_points(scattered, moment)

    def transform_points(self, spectrum: AbstractSpectrum, bins: Bins) -> tuple[Points, ...]:
        scattered = tuple((e, self.fraction * photons) for e, photons in super().transform_points(spectrum, bins))
        kept = tuple((e, (1 - self.fraction) * photons) for e, photons in spectrum.points(bins))
        return kept + scattered
