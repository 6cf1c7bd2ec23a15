"""Quantities as compiled programs take them: their numbers are arrays."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from jaxspec.parameters import Link
from jaxspec.quadrature import Bins
from jaxspec.spectra import AbstractSpectrum

_PIECES = 24  # of a band, as for flux tables


class AbstractRule(eqx.Module):
    """A quantity as compiled programs take it: its numbers are arrays, so that another band compiles nothing."""

    @abc.abstractmethod
    def __call__(self, spectra: Sequence[AbstractSpectrum], values: jax.Array, deviates: jax.Array) -> jax.Array:
        """The quantity.

        Args:
            spectra: of the sources.
            values: of all parameters.
            deviates: unit normal deviates, one per source, of what is known of it with an error: its distance.
        """


class Value(AbstractRule):
    """A parameter."""

    index: jax.Array

    def __call__(self, spectra: Any, values: jax.Array, deviates: jax.Array) -> jax.Array:
        return values[self.index]


class Constant(AbstractRule):
    """A number."""

    value: jax.Array

    def __call__(self, spectra: Any, values: jax.Array, deviates: jax.Array) -> jax.Array:
        return self.value


class Function(AbstractRule):
    """A function of other rules."""

    function: Link = eqx.field(static=True)  # compares by its code
    inputs: tuple[AbstractRule, ...]

    def __call__(self, spectra: Any, values: jax.Array, deviates: jax.Array) -> jax.Array:
        return jnp.asarray(self.function(*(rule(spectra, values, deviates) for rule in self.inputs)), values.dtype)


class BandFlux(AbstractRule):
    """The flux of some parts of the sources in a band."""

    low: jax.Array
    high: jax.Array
    moment: jax.Array
    weights: jax.Array  # of the parts of all sources
    dropped: tuple[str, ...] = eqx.field(static=True)

    def __call__(self, spectra: Any, values: jax.Array, deviates: jax.Array) -> jax.Array:
        return self.between(spectra, self.low, self.high)

    def between(self, spectra: Sequence[AbstractSpectrum], low: jax.Array, high: jax.Array) -> jax.Array:
        """The flux in another band."""
        bins = Bins.dividing(low, high, _PIECES)
        parts = [part for spectrum in spectra for part in spectrum.without(self.dropped).parts().values()]
        fluxes = jnp.stack([jnp.sum(part.integral(bins, self.moment)) for part in parts])
        # A part that is not asked for may be infinite.
        return jnp.sum(jnp.where(self.weights > 0, self.weights * fluxes, 0.0))


class DistantFlux(AbstractRule):
    """The luminosity that a flux and a distance make."""

    flux: BandFlux
    redshifts: jax.Array
    log_distances: jax.Array  # in cm, at `redshifts`
    redshift: jax.Array
    redshift_error: jax.Array
    distance_error: jax.Array  # relative
    place: jax.Array  # of the source

    def __call__(self, spectra: Any, values: jax.Array, deviates: jax.Array) -> jax.Array:
        deviate = deviates[self.place]
        z = jnp.maximum(self.redshift + self.redshift_error * deviate, 0.0)
        log_distance = jnp.interp(z, self.redshifts, self.log_distances)
        distance = jnp.exp(log_distance) * jnp.maximum(1 + self.distance_error * deviate, 0.0)
        flux = self.flux.between(spectra, self.flux.low / (1 + z), self.flux.high / (1 + z))
        # The luminosity distance is that of energies, which lose a factor 1 + z more than numbers of photons.
        return 4 * jnp.pi * distance**2 * flux * (1 + z) ** (self.flux.moment - 1)


class Width(AbstractRule):
    """The photons of a line over the continuum beside it."""

    low: jax.Array
    high: jax.Array
    factor: jax.Array
    source: int = eqx.field(static=True)
    part: int = eqx.field(static=True)

    def __call__(self, spectra: Any, values: jax.Array, deviates: jax.Array) -> jax.Array:
        bins = Bins.dividing(self.low, self.high, 4 * _PIECES)
        parts = list(spectra[self.source].parts().values())
        line, others = parts[self.part], parts[: self.part] + parts[self.part + 1 :]
        width = jnp.zeros(())
        for energy, photons in line.points(bins):
            continuum = sum((other(energy) for other in others), jnp.zeros(()))
            width += jnp.sum(jnp.where(photons != 0, photons / jnp.where(continuum > 0, continuum, 1.0), 0.0))
        return self.factor * width
