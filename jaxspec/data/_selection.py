"""Which channels and bins of an observation the likelihood sees."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .. import chi_squared, units
from . import _grouping
from ._response import frozen

if TYPE_CHECKING:
    from ._observation import Background, Observation

NUMBER = r"(\*\*|[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)"


@dataclass(frozen=True, eq=False)
class Selection:
    """What the likelihood sees of an observation, after noticing and grouping; n is the number of bins.

    - `groups`: (n_channels,) the bin of each channel, -1 where it is left out.
    - `counts`: (n,) source-region counts; `errors`: (n,) their standard deviation, only with "chi2" (with
      the variance "model" that of the data, for pictures).
    - `background`: (n,) background-region counts; `background_errors`: (n,) their standard deviation, with
      "pgstat" and "chi2".
    - `added_variance`: (n,) with "chi2 model", the variance of the net counts beyond the expected source counts;
      `systematic`: a fraction of the model that chi-squared adds to the error.
    - `ratio`: (n,) expected background counts in the source region for each in the background region. In a
      bin of channels with different ratios it is their arithmetic mean (exact where they are equal).
    - `area_scale`: (n_channels,) multiplies the folded model.
    - `channel_low`, `channel_high`: (n,) nominal energies in keV; `exposure` in s; `statistic`: its name,
      "chi2 model" where the model decides the variance.
    - `errors_above`, `upper_limits`: (n,) of flux points, as there.

    With "chi2" the data are counts - ratio * background, with variance errors^2 + (ratio *
    background_errors)^2.
    """

    groups: np.ndarray
    counts: np.ndarray
    errors: np.ndarray | None
    background: np.ndarray | None
    background_errors: np.ndarray | None
    ratio: np.ndarray | None
    area_scale: np.ndarray
    channel_low: np.ndarray
    channel_high: np.ndarray
    exposure: float
    statistic: str
    added_variance: np.ndarray | None = None
    systematic: float = 0.0
    errors_above: np.ndarray | None = None
    upper_limits: np.ndarray | None = None


class Range(NamedTuple):
    """A range of energies in keV or of channel numbers; `kind` is "energy", "channel" or "bad"."""

    kind: str
    low: float = -np.inf
    high: float = np.inf
    partial: bool = True

    def bins(self, low: np.ndarray, high: np.ndarray, first: np.ndarray, last: np.ndarray) -> np.ndarray:
        """Mask of the bins with these energies and channels that lie in the range."""
        if self.kind == "channel":
            if self.partial:
                return (last >= self.low) & (first <= self.high)
            return (first >= self.low) & (last <= self.high)
        # Single-precision channel energies miss the number that the user types by 1e-7 of it.
        near_low, near_high = 1e-6 * np.abs(low), 1e-6 * np.abs(high)
        if self.partial:
            return (high - near_high > self.low) & (low + near_low < self.high)
        return (low + near_low >= self.low) & (high - near_high <= self.high)


def parse_ranges(given: tuple[Any, ...], channels: bool, partial: bool) -> list[Range]:
    """The arguments of `notice` and `ignore`."""
    if not given:
        raise TypeError("give at least one range, like '8-30 keV' or (8, 30)")
    return [parse_range(item, channels, partial) for item in given]


def parse_range(given: Any, channels: bool, partial: bool) -> Range:
    """A range as users give it: a string like "8-30 keV" or "bad", or a pair of numbers or quantities."""
    if isinstance(given, str):
        return _parse_text(given, channels, partial)
    try:
        low, high = given
    except (TypeError, ValueError) as error:
        raise TypeError(f"{given!r} is not a range: give pairs like (8, 30) or strings like '8-30 keV'") from error
    if channels:
        return _channel_range(low, high, partial)
    start = -np.inf if low is None or (_is_number(low) and low == 0) else units.energy(low, "lower energy")
    stop = np.inf if high is None else units.energy(high, "upper energy")
    if np.isfinite(start) and np.isfinite(stop):
        start, stop = units.band(low, high)
    return Range("energy", start, stop, partial)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.number))


def _parse_text(text: str, channels: bool, partial: bool) -> Range:
    if text.strip().lower() == "bad":
        return Range("bad")
    match = re.fullmatch(rf"\s*(ch\w*\.?)?\s*{NUMBER}\s*(?:-|to)\s*{NUMBER}\s*([A-Za-z].*?)?\s*", text)
    if match is None:
        raise ValueError(f"{text!r} is not a range: write '8-30 keV', '**-0.3', '15.0-**', 'ch 4-128' or 'bad'")
    word, low, high, unit_name = match.groups()
    low, high = (None if end == "**" else float(end) for end in (low, high))
    if word or channels:
        if unit_name:
            raise ValueError(f"{text!r}: channel numbers have no unit")
        return _channel_range(low, high, partial)
    if unit_name and unit_name.lower() != "kev":
        unit = units.unit(unit_name)
        low, high = (None if end is None else end * unit for end in (low, high))
        if str(unit.physical_type) == "length":
            low, high = high, low
    return parse_range((low, high), False, partial)


def _channel_range(low: Any, high: Any, partial: bool) -> Range:
    start, stop = (-np.inf if low is None else low), (np.inf if high is None else high)
    if not (_is_number(start) and _is_number(stop)):
        raise TypeError(f"channel numbers must be plain numbers, got {low!r} and {high!r}")
    if not start <= stop:
        raise ValueError(f"the first channel must not be above the last, got {low} and {high}")
    return Range("channel", float(start), float(stop), partial)


def selected(observation: Observation) -> np.ndarray:
    """(n_channels,) bool: the channels left by notice and ignore.

    The ranges act on the bins of the file's grouping where that is in use, and on channels otherwise.
    """
    if not observation.noticed and not observation.ignored:
        return np.ones(observation.counts.size, dtype=bool)
    response, bins = observation.response, _bins(observation)
    starts = _grouping.starts_of(bins)
    low = np.minimum.reduceat(response.channel_low, starts)
    high = np.maximum.reduceat(response.channel_high, starts)
    first, last = np.minimum.reduceat(response.channels, starts), np.maximum.reduceat(response.channels, starts)
    keep = np.full(len(starts), not observation.noticed)
    for wanted in observation.noticed:
        keep |= wanted.bins(low, high, first, last)
    for unwanted in observation.ignored:
        if unwanted.kind != "bad":
            keep &= ~unwanted.bins(low, high, first, last)
    mask = keep[bins]
    if any(unwanted.kind == "bad" for unwanted in observation.ignored):
        mask &= ~bad(observation)
    return mask


def not_empty(observation: Any) -> Any:
    """The observation, if it has a channel left, be it only without the file's grouping."""
    if not selected(observation).any() and not selected(replace(observation, grouping_method=None)).any():
        raise ValueError(_nothing_left(observation))
    return observation


def _nothing_left(observation: Observation) -> str:
    response = observation.response
    return (
        f"{observation.name}: no channel is left; channels run from {response.channels[0]} to "
        f"{response.channels[-1]} and from {response.channel_low.min():.6g} to "
        f"{response.channel_high.max():.6g} keV"
    )


def bad(observation: Observation) -> np.ndarray:
    """(n_channels,) bool: the channels with a quality flag other than 0."""
    if observation.quality is None:
        return np.zeros(observation.counts.size, dtype=bool)
    return observation.quality != 0


def _bins(observation: Observation) -> np.ndarray:
    if observation.grouping_method == "file" and observation.grouping is not None:
        return _grouping.from_file(observation.grouping, bad(observation))
    return np.arange(observation.counts.size)


def labels(observation: Observation, keep: np.ndarray) -> np.ndarray:
    """(n_channels,) the bin of each channel by the observation's grouping, -1 where it is left out."""
    method, number = observation.grouping_method, observation.grouping_number or 0.0
    if method in (None, "file"):
        return _grouping.relabelled(_bins(observation), keep)
    pieces = _grouping.runs(keep, bad(observation))
    background = observation.background
    if method == "constant":
        return _grouping.from_starts(_grouping.constant(pieces, int(number)), keep)
    if method == "min_counts":
        return _grouping.from_starts(_grouping.minimum(pieces, observation.counts, number), keep)
    if method == "min_background_counts":
        assert background is not None  # group() asked for it
        return _grouping.from_starts(_grouping.minimum(pieces, background.counts, number), keep)
    if method == "significance":
        net, variance = observation.counts, _variance(observation)
        if background is not None:
            ratio = channel_ratio(observation)
            net = net - ratio * background.counts
            variance = variance + ratio**2 * _variance(background)
        return _grouping.from_starts(_grouping.significance(pieces, net, variance, number), keep)
    sizes = _grouping.optimal_sizes(observation.counts, _grouping.resolution(observation.response), keep)
    starts = _grouping.optimal(pieces, sizes)
    if method == "optimal_min_counts":
        starts = _grouping.merged(starts, pieces, observation.counts, number)
    return _grouping.from_starts(starts, keep)


def _variance(data: Any) -> np.ndarray:
    return data.counts if data.errors is None else data.errors**2


def channel_ratio(observation: Observation) -> np.ndarray:
    """(n_channels,) exposure, area and extraction region of the source over those of the background."""
    background = observation.background
    assert background is not None
    source = observation.exposure * observation.area_scale * observation.back_scale
    other = background.exposure * background.area_scale * background.back_scale
    nothing = np.zeros(observation.counts.size)
    # Grating spectra have chip gaps with no area on either side: nothing is expected there.
    return np.divide(source, other, out=nothing, where=other > 0)


def select(observation: Observation) -> Selection:
    """What the likelihood sees of an observation."""
    keep = selected(observation)
    if not keep.any():
        raise ValueError(_nothing_left(observation))
    groups = labels(observation, keep)
    used, n_bins = groups[keep], int(groups.max()) + 1

    def summed(values: np.ndarray) -> np.ndarray:
        return frozen(np.bincount(used, weights=values[keep], minlength=n_bins))

    response = observation.response
    starts = _grouping.starts_of(used)
    low = np.minimum.reduceat(response.channel_low[keep], starts)
    high = np.maximum.reduceat(response.channel_high[keep], starts)
    statistic = str(observation.statistic)
    # One that has a model of its own is no part of these data.
    background = None if observation.background_models else observation.background
    counts = summed(observation.counts)
    errors = behind = behind_errors = ratio = added = None
    if background is not None and statistic != "cstat":
        behind = summed(background.counts)
        ratio = frozen(_group_means(channel_ratio(observation)[keep], used, starts))
        if statistic == "pgstat":
            behind_errors = frozen(np.sqrt(summed(_variance(background))))
    if statistic == "chi2":
        variance, of_background, added = _chi_squared_variances(observation, background, summed, ratio)
        errors = frozen(np.sqrt(variance))
        behind_errors = None if of_background is None else frozen(np.sqrt(of_background))
    result = Selection(
        groups=frozen(groups),
        counts=counts,
        errors=errors,
        background=behind,
        background_errors=behind_errors,
        ratio=ratio,
        area_scale=frozen(np.full(observation.counts.shape, observation.area_scale, float)),
        channel_low=frozen(low),
        channel_high=frozen(high),
        exposure=observation.exposure,
        statistic=statistic if added is None else "chi2 model",
        added_variance=added,
        systematic=observation.model_systematic,
    )
    _check_errors(observation, result)
    return result


def _group_means(values: np.ndarray, used: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """The mean in each bin, to the last digit the common value where all are equal."""
    low, high = np.minimum.reduceat(values, starts), np.maximum.reduceat(values, starts)
    return np.clip(np.bincount(used, weights=values) / np.bincount(used), low, high)


def _chi_squared_variances(
    observation: Observation,
    background: Background | None,
    summed: Callable[[np.ndarray], np.ndarray],
    ratio: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
    """Variances of source and background counts in each bin, and with "model" what is added to the expected ones.

    `summed` takes an array over channels to its sums over bins.
    """
    variance, of_background = _statistical_variance(observation, observation.variance, summed), None
    if background is not None:
        of_background = _statistical_variance(background, observation.variance, summed)
    if observation.errors is None:
        variance = _xspec_zeros(variance, of_background, ratio)
    systematic = _systematic_variance(observation, summed)
    variance, added = variance + systematic, systematic
    if background is not None and of_background is not None and ratio is not None:
        of_background = of_background + _systematic_variance(background, summed)
        added = added + ratio * summed(background.counts) + ratio**2 * of_background
    return variance, of_background, frozen(added) if observation.variance == "model" else None


def _statistical_variance(data: Any, kind: str, summed: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    if data.errors is not None:
        return summed(data.errors**2)
    counts = summed(data.counts)
    if kind == "gehrels":
        return chi_squared.gehrels_variance(counts)
    return chi_squared.moving_mean(counts) if kind == "churazov" else counts


def _systematic_variance(data: Any, summed: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    return summed(np.zeros_like(data.counts) if data.systematic is None else (data.systematic * data.counts) ** 2)


def _xspec_zeros(variance: np.ndarray, of_background: np.ndarray | None, ratio: np.ndarray | None) -> np.ndarray:
    """XSPEC's variance of empty bins: 1, min(1, ratio^2) with empty background, 0 with a filled one."""
    if of_background is None or ratio is None:
        return np.where(variance > 0, variance, 1.0)
    return np.where(variance > 0, variance, np.where(of_background > 0, 0.0, np.minimum(1.0, ratio**2)))


def _check_errors(observation: Observation, selection: Selection) -> None:
    if selection.errors is None:
        return
    total = selection.errors**2
    if selection.background_errors is not None and selection.ratio is not None:
        total = total + (selection.ratio * selection.background_errors) ** 2
    if (total <= 0).any():
        channel = observation.response.channels[selection.groups == np.argmin(total)][0]
        raise ValueError(
            f"{observation.name}: the bin of channel {channel} has the error 0, so chi-squared is infinite; "
            "ignore the channel, group it with others, or ignore('bad') if it is flagged"
        )
