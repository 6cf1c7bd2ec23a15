"""What is to be done with a chunk of spectra."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxspec.density import Density
from jaxspec.methods import NUTS
from jaxspec.quadrature import Bins
from jaxspec.results._rows import DrawRows, FitRows, Rows

if TYPE_CHECKING:
    from jaxspec.model import Model

_PIECES = 24  # of a band, each with its own quadrature


class Sampling(NamedTuple):
    """How posteriors are sampled."""

    method: NUTS
    key: np.ndarray  # the data of a key


class Band(NamedTuple):
    """A flux that is asked for: the integral of E^moment N(E) over a band, times a factor."""

    low: float
    high: float
    moment: float
    factor: float


@dataclasses.dataclass(frozen=True)
class Task:
    """What is to be done with a chunk of spectra; it holds all that a process of its own needs."""

    model: Model
    entries: tuple[Any, ...]
    values: Mapping[str, np.ndarray]
    bands: tuple[Band, ...]
    target: str
    sampling: Sampling | None = None  # where there is one, posteriors are sampled
    first: int = 0  # the place of the first spectrum among all

    @property
    def kind(self) -> type[Rows]:
        """Of the rows that it gives."""
        return FitRows if self.sampling is None else DrawRows

    def failed(self, trouble: Sequence[str]) -> Rows:
        """Rows without a result."""
        n, all_parameters = len(self.model.free), (len(self.model.parameters),)
        fluxes = (len(self.bands) * len(self.model.sources),)
        shapes = {"values": all_parameters, "errors": all_parameters, "fluxes": fluxes, "flux_errors": fluxes}
        if self.sampling is None:
            return FitRows.failed(trouble, {**shapes, "u": (n,), "covariance_u": (n, n)})
        method = self.sampling.method
        return DrawRows.failed(trouble, {**shapes, "draws": (method.chains, method.draws, n)})

    @property
    def flux_factors(self) -> np.ndarray:
        """Of each column of fluxes."""
        return np.repeat([band.factor for band in self.bands], len(self.model.sources))

    @property
    def flux_bands(self) -> list[jax.Array] | None:
        """Low and high ends and moments, as compiled programs take them."""
        return [jnp.array(column) for column in zip(*self.bands)][:3] if self.bands else None


def fluxes_at(density: Density, values: jax.Array, bands: list[jax.Array] | None) -> jax.Array:
    """The fluxes of all bands and sources, without the factors of their units, at values of all parameters."""
    spectra = density.layout.sources_at(values)
    if bands is None:
        return jnp.zeros(0)

    def one(low: jax.Array, high: jax.Array, moment: jax.Array) -> jax.Array:
        bins = Bins.dividing(low, high, _PIECES)
        return jnp.stack([jnp.sum(spectrum.integral(bins, moment)) for spectrum in spectra])

    return jax.vmap(one)(*bands).reshape(-1)
