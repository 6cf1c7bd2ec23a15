"""Simulated observations: Poisson counts of a spectrum through a response, with a Poisson background."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from jaxspec import units
from jaxspec._setup import program
from jaxspec.data import Background, Observation, Response
from jaxspec.photons import photons_in
from jaxspec.quadrature import Bins
from jaxspec.sources import Model, PointSource
from jaxspec.spectra import AbstractSpectrum

if TYPE_CHECKING:
    from astropy.units import Quantity


def simulate(
    spectrum: AbstractSpectrum | PointSource | Model,
    response: Response,
    exposure: float | Quantity,
    background: AbstractSpectrum | np.ndarray | None = None,
    *,
    key: jax.Array,
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
        key: a JAX random key; the same key draws the same counts.
        name: of the observation.
        background_exposure: of the background region; the same as the source region's by default.
        background_scale: size (BACKSCAL) of the background region over that of the source region.

    Raises `TypeError` for a spectrum or background that is none, `ValueError` for a wrong exposure, a background of the
    wrong shape, and expected counts that are negative or not finite.
    """
    seconds = units.seconds(exposure)
    expected = _folded(_spectra(spectrum), response, seconds)
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)).tolist())
    counts = rng.poisson(_checked(expected, "source"))
    if background is None:
        return Observation(counts.astype(float), response, seconds, name=name)
    inside = _checked(_background_counts(background, response, seconds, background_through_response), "background")
    time = seconds if background_exposure is None else units.seconds(background_exposure, "background_exposure")
    if not background_scale > 0:
        raise ValueError(f"background_scale is the ratio of two areas, so it must be positive, got {background_scale}")
    seen = rng.poisson(inside * background_scale * time / seconds)
    region = Background(seen.astype(float), time, back_scale=background_scale)
    return Observation((counts + rng.poisson(inside)).astype(float), response, seconds, region, name=name)


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
        channel = int(np.flatnonzero(wrong)[0])
        raise ValueError(
            f"the expected {what} counts of channel {channel} are {expected[channel]:g}: check the spectrum"
        )
    return expected
