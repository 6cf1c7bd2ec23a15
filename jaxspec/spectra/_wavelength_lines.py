"""Emission lines by wavelength."""

from __future__ import annotations

from math import inf
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxspec.parameters import Scalar, parameter
from jaxspec.quadrature import Bins, Points
from jaxspec.spectra._base import AbstractAdditive
from jaxspec.spectra._lines import GaussianLine

_HC = 12.39841984  # keV Angstrom
_REACH = 8.0  # standard deviations, beyond which 1e-15 of the photons are
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(24)


class GaussianLineWavelength(AbstractAdditive):
    r"""A line that is a Gaussian in wavelength.

    $$N(E) = \frac{K}{\sigma \sqrt{2 \pi} \, \Phi(\lambda_l / \sigma)} \, e^{-(\lambda - \lambda_l)^2 / 2 \sigma^2} \,
        \frac{\lambda}{E}, \qquad \lambda = \frac{h c}{E}$$

    with h c = 12.39842 keV Angstrom and the normal distribution's integral $\Phi$, so that K counts all photons. The
    width may be zero. A line at redshift z is `Redshift(z=...)(GaussianLineWavelength())`.

    **Reference:** XSPEC's `agauss` and `zagauss`.
    """

    K: Scalar = parameter(1e-3, unit="1 / (cm2 s)", bounds=(0, inf), doc="photons in the line")
    wavelength: Scalar = parameter(10.0, unit="Angstrom", bounds=(1e-3, inf), doc="wavelength of the line")
    sigma: Scalar = parameter(1.0, unit="Angstrom", bounds=(0, inf), doc="width: standard deviation")

    def evaluate(self, energy: jax.Array) -> jax.Array:
        return self._line.evaluate(_HC / energy) * _HC / energy**2

    def integral(self, bins: Bins, moment: Any = 0) -> jax.Array:
        edges = _in_wavelength(bins)
        photons = self._line.integral(edges)
        if isinstance(moment, int) and moment == 0:
            return photons
        # The mean of E^moment over the photons in a bin, by a quadrature over the part of the bin where the line is.
        sigma = jnp.maximum(self.sigma, float(jnp.finfo(photons.dtype).eps) ** 0.5 * self.wavelength)
        low, high = (jnp.clip(edge, *self._reach(sigma)) for edge in (edges.low, edges.high))
        nodes, weights = (jnp.asarray(each, photons.dtype)[:, None] for each in (_NODES, _WEIGHTS))
        wavelength = 0.5 * (low + high) + 0.5 * (high - low) * nodes
        # The largest in a bin is made one, so that a bin in the wing does not vanish.
        exponent = -0.5 * ((wavelength - self.wavelength) / sigma) ** 2
        profile = weights * jnp.exp(exponent - jax.lax.stop_gradient(jnp.max(exponent, axis=0)))
        return photons * jnp.sum(profile * (_HC / wavelength) ** moment, axis=0) / jnp.sum(profile, axis=0)

    def points(self, bins: Bins) -> tuple[Points, ...]:
        """Two points in each bin, with the mean wavelength and the variance of the photons there."""
        return tuple((_HC / wavelength, photons) for wavelength, photons in self._line.points(_in_wavelength(bins)))

    @property
    def _line(self) -> GaussianLine:
        """The same over wavelength."""
        return GaussianLine().with_fields(K=self.K, energy=self.wavelength, sigma=self.sigma)

    def _reach(self, sigma: jax.Array) -> tuple[jax.Array, jax.Array]:
        low = jnp.maximum(self.wavelength - _REACH * sigma, 1e-3 * self.wavelength)
        return low, self.wavelength + _REACH * sigma


def _in_wavelength(bins: Bins) -> Bins:
    """The bins in Angstrom, each with its edges in rising order; what they hold at their nodes is not used."""
    return Bins(_HC / bins.high, _HC / bins.low, bins.energy, bins.weight)
