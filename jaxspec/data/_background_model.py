"""Backgrounds with a spectrum of their own: through which response, and their region as an observation."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ._checks import REGION
from ._fits import names_no_file
from ._response import Response

if TYPE_CHECKING:
    from ._observation import Observation


def response_for(observation: Any, given: Any) -> Response:
    """The response of a background model: the one given, that of the observation, or none but its channels."""
    if given is None:
        return observation.response
    if isinstance(given, str) and names_no_file(given):
        return over_channels(observation.response)
    if not isinstance(given, Response):
        raise TypeError(
            f"{observation.name}: the response of a background model must be a Response, 'none', or nothing for that "
            f"of the observation, got {given!r}"
        )
    if given.channels.size != observation.counts.size:
        raise ValueError(
            f"{observation.name}: {observation.counts.size} channels, but the response of the background model has "
            f"{given.channels.size}"
        )
    return given


@functools.lru_cache(maxsize=64)  # so that spectra of one response share this one, too
def over_channels(response: Response) -> Response:
    """A response of 1 from the nominal energies of each channel to that channel: no instrument in between."""
    from scipy import sparse

    wide = np.flatnonzero(response.channel_high > np.maximum(response.channel_low, 0))
    order = wide[np.argsort(response.channel_low[wide], kind="stable")]
    low, high = response.channel_low[order], response.channel_high[order]
    size = response.channels.size
    matrix = sparse.csr_array((np.ones(order.size), (order, np.arange(order.size))), shape=(size, order.size))
    # A power law cannot be integrated from 0.
    return replace(
        response,
        energy_low=np.where(low > 0, low, 1e-3 * high),
        energy_high=high,
        matrix=matrix,
        name=f"channels of {response.name}",
        repairs=(),
    )


def with_background_regions(observations: Iterable[Observation]) -> tuple[Observation, ...]:
    """The observations, each with a background model followed by its background region, unless that is there."""
    given = tuple(observations)
    names = {observation.name for observation in given}
    result: list[Observation] = []
    for observation in given:
        result.append(observation)
        if observation.background_models and observation.background is not None:
            region = _region(observation)
            if region.name not in names:
                result.append(region)
    return tuple(result)


def _region(observation: Observation) -> Observation:
    """The counts of the background region as an observation that sees no source."""
    background = observation.background
    assert background is not None  # the caller saw it
    method = observation.grouping_method
    return replace(
        observation,
        name=f"{observation.name} background",
        background=None,
        grouping_method="min_counts" if method == "min_background_counts" else method,
        statistic=None,
        variance="data",
        model_systematic=0.0,
        sources=(),
        repairs=(),
        **{field: getattr(background, field) for field in REGION},
    )


def region_ratio(observation: Observation) -> np.ndarray:
    """(n_channels,) the source region's size over that of the background region; 1 where there is no such region."""
    background = observation.background
    ones = np.ones(observation.counts.size)
    if background is None:
        return ones
    source, other = observation.back_scale * ones, background.back_scale * ones
    return np.divide(source, other, out=np.zeros_like(ones), where=other > 0)
