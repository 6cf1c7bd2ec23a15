"""What scales or shifts a whole spectrum."""

from __future__ import annotations

from math import inf
from typing import Any

import jax
import jax.numpy as jnp

from jaxspec.parameters import Scalar, parameter
from jaxspec.quadrature import Bins, Points
from jaxspec.spectra._base import AbstractConvolution, AbstractMultiplicative, AbstractSpectrum


class Constant(AbstractMultiplicative):
    r"""A factor that does not depend on energy.

    $$M(E) = f$$

    **Reference:** XSPEC's `constant`.
    """

    factor: Scalar = parameter(1.0, bounds=(0, inf), doc="the factor")

    def evaluate(self, energy: jax.Array) -> jax.Array:
        return self.factor * jnp.ones_like(energy)


class Redshift(AbstractConvolution):
    r"""A spectrum as seen from a source at redshift z.

    $$N(E) = N_\mathrm{rest}(E (1 + z))$$

    so that a bin (a, b) holds the photons of (a (1 + z), b (1 + z)) in the rest frame, divided by 1 + z. A factor can
    be shifted, too: `Redshift(z=...)(Edge())`.

    **Reference:** XSPEC's `zashift` and `zmshift`.
    """

    acts_on = ("additive", "multiplicative")
    z: Scalar = parameter(0.0, bounds=(-0.999, inf), doc="redshift", free=False)

    def transform(self, spectrum: AbstractSpectrum, energy: jax.Array) -> jax.Array:
        return spectrum.evaluate(energy * (1 + self.z))

    def transform_integral(self, spectrum: AbstractSpectrum, bins: Bins, moment: Any) -> jax.Array:
        stretch = 1 + self.z
        return spectrum.integral(bins.stretched(stretch), moment) / stretch ** (1 + moment)

    def transform_points(self, spectrum: AbstractSpectrum, bins: Bins) -> tuple[Points, ...]:
        stretch = 1 + self.z
        points = spectrum.points(bins.stretched(stretch))
        return tuple((energy / stretch, photons / stretch) for energy, photons in points)
