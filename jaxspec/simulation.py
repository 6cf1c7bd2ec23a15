"""Simulated observations: Poisson counts of a spectrum through a response, with a Poisson background."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxspec import units
from jaxspec.data import Background, Observation, Response
from jaxspec.density import Layout
from jaxspec.model import Model
from jaxspec.photons import photons_in
from jaxspec.programs import program
from jaxspec.quadrature import Bins
from jaxspec.sources import PointSource
from jaxspec.spectra import AbstractSpectrum

if TYPE_CHECKING:
    from astropy.units import Quantity


def simulate(
    spectrum: AbstractSpectrum | PointSource | Model,
    response: Response,
    exposure: float | Quantity,
    background: AbstractSpectrum | np.ndarray | None = None,
    *,
    key: jax.Array | None,
    name: str = "simulated",
    background_through_response: bool = False,
    background_exposure: float | Quantity | None = None,
    background_scale: float = 1.0,
) -> Observation:
    """Draws what an instrument would see.

    Source counts are Poisson with mean exposure * response * photons. With a background of mean B counts per channel in
    the source region, the source region holds a further Poisson(B) and the background region
    Poisson(B * background_scale * background_exposure / exposure): what is asked for is what is drawn.

    Args:
        spectrum: an additive spectrum, a source, or a model, whose sources are added up.
        response: the instrument.
        exposure: of the source region, in s or a quantity.
        background: a spectrum, in counts / (s keV) over the energies of the channels, or in photons / (cm2 s keV) where
            `background_through_response` is true; or B itself, shape (n_channels,).
        key: a JAX random key; the same key draws the same counts. None gives the expected counts themselves, as they
            are: data whose fit is a forecast.
        name: of the observation.
        background_exposure: of the background region; the same as the source region's by default.
        background_scale: size (BACKSCAL) of the background region over that of the source region.

    Raises `TypeError` for a spectrum or background that is none, `ValueError` for a wrong exposure, a background of the
    wrong shape, and expected counts that are negative or not finite.
    """
    seconds = units.seconds(exposure)
    expected = _folded(_spectra(spectrum), response, seconds)
    inside = (
        None if background is None else _background_counts(background, response, seconds, background_through_response)
    )
    (counts,), seen, time = _drawn(expected[None], inside, seconds, background_exposure, background_scale, key)
    region = None if seen is None else Background(seen[0], time, back_scale=background_scale)
    return Observation(counts, response, seconds, region, name=name)


def simulate_each(
    model: Model,
    values: Mapping[str, Any],
    response: Response,
    exposure: float | Quantity,
    background: AbstractSpectrum | np.ndarray | None = None,
    *,
    key: jax.Array,
    names: Sequence[str] | None = None,
    background_through_response: bool = False,
    background_exposure: float | Quantity | None = None,
    background_scale: float = 1.0,
) -> list[Observation]:
    """Draws what an instrument would see of each member of a population.

    Args:
        model: whose sources are added up.
        values: of parameters that differ, one for each member, by name, in the parameter's unit; the others are the
            model's, and linked ones follow.
        response: the instrument.
        names: of the observations; by default their numbers.
        background: as for `simulate`; an array may have a row for each member, shape (n_members, n_channels).

    The other arguments are those of `simulate`. Raises what it raises, `KeyError` for an unknown parameter, and
    `ValueError` for columns of different lengths, values outside the bounds, and a linked parameter.
    """
    columns = model.columns(values)
    n = len(next(iter(columns.values()))) if columns else 0
    if n == 0:
        raise ValueError("values={...} says how many members there are: give at least one parameter")
    names = [str(i) for i in range(n)] if names is None else list(names)
    if len(names) != n:
        raise ValueError(f"there are {len(names)} names for {n} members")
    seconds = units.seconds(exposure)
    expected = seconds * (_photons_of_each(model, columns, response) @ response.matrix.T)
    inside: Any = None
    if background is not None:
        many = isinstance(background, np.ndarray) and background.ndim == 2
        inside = background if many else _background_counts(background, response, seconds, background_through_response)
        if many and np.shape(inside) != expected.shape:
            raise ValueError(f"background has shape {np.shape(inside)}, but {expected.shape} counts are expected")
    counts, seen, time = _drawn(expected, inside, seconds, background_exposure, background_scale, key)
    regions = [None] * n if seen is None else [Background(each, time, back_scale=background_scale) for each in seen]
    return [
        Observation(each, response, seconds, region, name=name) for each, region, name in zip(counts, regions, names)
    ]


def _photons_of_each(model: Model, columns: dict[str, np.ndarray], response: Response) -> np.ndarray:
    """Photons / (cm2 s) in each photon bin, of all sources, (n_members, n_energies)."""
    layout, bins = Layout.of(model), Bins.fine_enough(response.energy_low, response.energy_high)
    n = len(next(iter(columns.values())))
    table = np.tile(np.asarray(layout.values), (n, 1))
    for name, column in columns.items():
        table[:, list(model.parameters).index(name)] = column
    padding = np.tile(table[:1], (-n % _PIECE, 1))
    pieces = np.split(np.concatenate([table, padding]), (n + len(padding)) // _PIECE)
    return np.concatenate([np.asarray(_members_compiled(layout, bins, piece)) for piece in pieces])[:n]


_PIECE = 256  # members at once, so that few shapes are compiled


@jax.jit
def _members_compiled(layout: Layout, bins: Bins, table: jax.Array) -> jax.Array:
    def one(row: jax.Array) -> jax.Array:
        own = dataclasses.replace(layout, values=row)
        spectra = own.sources_at(own.fill(row[np.array(layout.free, int)]))
        return functools.reduce(jnp.add, [photons_in(spectrum, bins) for spectrum in spectra])

    return jax.vmap(one)(table)


def _drawn(
    expected: np.ndarray,
    inside: np.ndarray | None,
    seconds: float,
    background_exposure: Any,
    background_scale: float,
    key: jax.Array | None,
) -> tuple[np.ndarray, np.ndarray | None, float]:
    """Counts in the source and in the background region, (n_members, n_channels), and the time of the latter."""
    poisson = _unchanged if key is None else _generator(key).poisson
    counts = poisson(_checked(expected, "source"))
    if inside is None:
        return counts.astype(float), None, seconds
    inside = np.broadcast_to(_checked(np.asarray(inside, float), "background"), expected.shape)
    time = seconds if background_exposure is None else units.seconds(background_exposure, "background_exposure")
    if not background_scale > 0:
        raise ValueError(f"background_scale is the ratio of two areas, so it must be positive, got {background_scale}")
    seen = poisson(inside * background_scale * time / seconds)
    return (counts + poisson(inside)).astype(float), seen.astype(float), time


def _generator(key: jax.Array) -> np.random.Generator:
    return np.random.default_rng(np.asarray(jax.random.key_data(key)).tolist())


def _unchanged(mean: np.ndarray) -> np.ndarray:
    return mean


def _spectra(given: Any) -> list[AbstractSpectrum]:
    if isinstance(given, Model):
        return [source.spectrum for source in given.at({}).sources]
    spectrum = given.spectrum if isinstance(given, PointSource) else given
    if not isinstance(spectrum, AbstractSpectrum) or spectrum.kind != "additive":
        raise TypeError(f"simulate takes an additive spectrum, a PointSource or a Model, got {given!r}")
    return [spectrum]


def _folded(spectra: list[AbstractSpectrum], response: Response, seconds: float) -> np.ndarray:
    """Expected counts in each channel."""
    return seconds * np.asarray(response.matrix @ _photons(spectra, response.energy_low, response.energy_high))


def _photons(spectra: list[AbstractSpectrum], low: np.ndarray, high: np.ndarray) -> np.ndarray:
    bins = Bins.fine_enough(low, high)
    return sum((np.asarray(_photons_compiled(spectrum, bins)) for spectrum in spectra), np.zeros(len(low)))


_photons_compiled = program(photons_in)


def _background_counts(given: Any, response: Response, seconds: float, folded: bool) -> np.ndarray:
    if isinstance(given, AbstractSpectrum) and given.kind == "additive":
        if folded:
            return _folded([given], response, seconds)
        return seconds * _photons([given], response.channel_low, response.channel_high)
    if isinstance(given, AbstractSpectrum | str) or np.ndim(given) == 0:
        raise TypeError(f"background must be an additive spectrum or an array of expected counts, got {given!r}")
    counts = np.asarray(given, float)
    if counts.shape != response.channels.shape:
        raise ValueError(f"background has shape {counts.shape}, but the response has {len(response.channels)} channels")
    return counts


def _checked(expected: np.ndarray, what: str) -> np.ndarray:
    wrong = ~(np.isfinite(expected) & (expected >= 0) & (expected < 1e18))
    if wrong.any():
        place = tuple(np.argwhere(wrong)[0])
        raise ValueError(
            f"the expected {what} counts of channel {place[-1]} are {expected[place]:g}: check the spectrum"
        )
    return expected
