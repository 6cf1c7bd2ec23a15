"""Counts of a source, with their background and response."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import units
from . import _selection
from ._grouping import METHODS
from ._response import Response, frozen
from ._selection import Range, Selection

if TYPE_CHECKING:
    from astropy.units import Quantity

STATISTICS = ("cstat", "wstat", "pgstat", "pstat", "chi2")


@dataclass(frozen=True, eq=False, repr=False)
class Background:
    """Counts of a background region, or of the source region without the source.

    - `counts`: (n_channels,) counts; `exposure`: seconds or a Quantity.
    - `errors`: (n_channels,) standard deviations of `counts`; None where they are Poisson.
    - `area_scale`, `back_scale`: AREASCAL and BACKSCAL, a number or (n_channels,).
    - `systematic`: (n_channels,) systematic errors as fractions of the counts.

    Raises `ValueError` for wrong sizes, negative or non-finite numbers, or an exposure that is not positive.
    """

    counts: np.ndarray
    exposure: float | Quantity
    _: KW_ONLY
    errors: np.ndarray | None = None
    area_scale: float | np.ndarray = 1.0
    back_scale: float | np.ndarray = 1.0
    systematic: np.ndarray | None = None
    name: str = "background"

    def __post_init__(self) -> None:
        check_counts(self)

    def __repr__(self) -> str:
        kind = "Poisson" if self.errors is None else "Gaussian"
        return f"Background({self.name!r}: {self.counts.sum():.6g} counts ({kind}) in {self.exposure:.6g} s)"


@dataclass(frozen=True, eq=False, repr=False)
class Observation:
    """Counts of one exposure with their response, background, selection and grouping; every method returns a new one.

    - `counts`: (n_channels,) counts of the source region; `exposure`: seconds or a Quantity.
    - `errors`: (n_channels,) standard deviations of `counts`; None where they are Poisson.
    - `area_scale`, `back_scale`: AREASCAL and BACKSCAL, a number or (n_channels,).
    - `quality`: (n_channels,) 0 where good; `grouping`: (n_channels,) 1 starts a bin, -1 continues it (OGIP).
    - `systematic`: (n_channels,) systematic errors as fractions of the counts, used by "chi2".
    - `statistic`: None to choose by the data: Poisson counts "cstat", with Poisson background "wstat", with Gaussian
      background "pgstat"; Gaussian counts "chi2".

    Raises `ValueError` for wrong sizes, negative or non-finite numbers, or an exposure that is not positive.
    """

    counts: np.ndarray
    response: Response
    exposure: float | Quantity
    background: Background | None = None
    _: KW_ONLY
    name: str = "observation"
    errors: np.ndarray | None = None
    area_scale: float | np.ndarray = 1.0
    back_scale: float | np.ndarray = 1.0
    quality: np.ndarray | None = None
    grouping: np.ndarray | None = None
    systematic: np.ndarray | None = None
    statistic: str | None = None
    statistic_reason: str = ""
    grouping_method: str | None = "file"
    grouping_number: float | None = None
    noticed: tuple[Range, ...] = ()
    ignored: tuple[Range, ...] = ()
    sources: tuple[str, ...] | None = None
    mission: str = ""
    instrument: str = ""
    start: float | None = None
    stop: float | None = None
    repairs: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_counts(self)
        check_parts(self)
        choose_statistic(self)

    @classmethod
    def from_ogip(
        cls,
        path: Any,
        background: Any = None,
        response: Any = None,
        arf: Any = None,
        row: int | None = None,
        name: str | None = None,
    ) -> Observation:
        """Read a PHA file and the background, response and ARF files that it names.

        `background` (a path or `Background`), `response` (a path or `Response`) and `arf` (a path) take the place of
        the files named by BACKFILE, RESPFILE and ANCRFILE; the string "none" stands for no file. `row`, from 1, picks
        the spectrum of a type II file. Named files are looked for beside the PHA file first.

        Raises `FileNotFoundError` for a missing file, `ValueError` for one that is damaged, is no PHA file, or whose
        channels do not match. Warns with `RepairWarning` once if something was put right that could change a number.

        **Reference:** OGIP memos 92-007 and 92-007a.
        """
        from ._load import load_observations

        return load_observations(path, background, response, arf, row, name)[0]

    @classmethod
    def all_from_ogip(
        cls, path: Any, background: Any = None, response: Any = None, arf: Any = None
    ) -> list[Observation]:
        """All spectra of a PHA file, type I or II, with the arguments of `from_ogip`."""
        from ._load import load_observations

        return load_observations(path, background, response, arf, "all", None)

    def notice(self, *ranges: Any, channels: bool = False, partial: bool = True) -> Observation:
        """Use these ranges only; ranges of several calls add up, and what `ignore` removed stays away.

        A range is a string ("8-30 keV", "0.1-2 TeV", "**-0.3", "15.0-**" in keV, "ch 4-128") or a pair of quantities or
        of numbers in keV, None for an open end; with `channels=True` numbers are channel numbers, both ends
        included. A channel is noticed if any part of it lies in the range, or with `partial=False` only if all of it
        does. The order of calls to `notice`, `ignore` and `group` does not matter. Where the file's grouping is in
        use, its bins take the place of channels.

        Raises `ValueError` for a range that is none, or where nothing is left.
        """
        found = self._ranges(ranges, channels, partial)
        if any(item.kind == "bad" for item in found):
            raise ValueError(
                "notice takes ranges; all channels are noticed, bad ones too, until ignore('bad')"
            )
        return self._selecting(noticed=(*self.noticed, *found))

    def ignore(self, *ranges: Any, channels: bool = False, partial: bool = True) -> Observation:
        """Leave these ranges out, given as for `notice`; "bad" stands for all channels flagged by QUALITY.

        A channel is ignored if any part of it lies in the range, or with `partial=False` only if all of it does.
        """
        return self._selecting(ignored=(*self.ignored, *self._ranges(ranges, channels, partial)))

    def notice_all(self) -> Observation:
        """Forget all calls of `notice` and `ignore`."""
        return replace(self, noticed=(), ignored=())

    def group(self, method: str | None, number: float | None = None) -> Observation:
        """Sum channels into bins; always from the ungrouped channels, within runs of selected ones of one quality.

        - None: every channel for itself; "file": as GROUPING in the file says (the default).
        - "min_counts", "min_background_counts": at least `number` counts in a bin.
        - "significance": net counts of at least `number` standard deviations.
        - "constant": `number` channels in a bin.
        - "optimal": Kaastra & Bleeker 2016, A&A 587, A151; "optimal_min_counts": its bins joined until they have
          `number` counts.

        What is left over at the end of a run joins the bin before it.
        Raises `ValueError` for an unknown method or where `number` is missing or not positive.
        """
        check_grouping(self, method, number)
        return replace(self, grouping_method=method, grouping_number=number)

    def assign(self, *sources: str) -> Observation:
        """Say which sources of the model this observation sees; all of them where nothing is said."""
        if not sources or not all(isinstance(source, str) for source in sources):
            raise TypeError(f"assign takes names of sources, like assign('src1', 'src2'), got {sources}")
        return replace(self, sources=tuple(sources))

    def with_statistic(self, statistic: str) -> Observation:
        """Use "cstat" (no background), "wstat", "pgstat", "pstat" (background known exactly) or "chi2"."""
        return replace(self, statistic=statistic, statistic_reason="")

    def selection(self) -> Selection:
        """What the likelihood sees, after noticing and grouping."""
        return _selection.select(self)

    def to_ogip(self, path: Any) -> None:
        """Write a PHA file, and beside it the background and the response under names made from `path`."""
        from ._write import write_observation

        write_observation(self, path)

    def info(self) -> str:
        """Mission, exposure, channels, selection, statistic and why, and what was repaired in the files."""
        return describe(self)

    def _ranges(self, ranges: tuple[Any, ...], channels: bool, partial: bool) -> list[Range]:
        if not ranges:
            raise TypeError("give at least one range, like '8-30 keV' or (8, 30)")
        return [_selection.parse_range(item, channels, partial) for item in ranges]

    def _selecting(self, **changes: Any) -> Observation:
        result = replace(self, **changes)
        if not _selection.selected(result).any():
            low, high = self.response.channel_low.min(), self.response.channel_high.max()
            raise ValueError(
                f"{self.name}: no channel is left; its channels run from {self.response.channels[0]} to "
                f"{self.response.channels[-1]} and from {low:.6g} to {high:.6g} keV"
            )
        return result

    def __repr__(self) -> str:
        return (
            f"Observation({self.name!r}: {self.counts.sum():.6g} counts in {self.exposure:.6g} s, "
            f"{_selection.selected(self).sum()} of {self.counts.size} channels, {self.statistic})"
        )


def check_counts(data: Background | Observation) -> None:
    """Check and convert what source and background have in common."""
    name = data.name
    counts = _array(data.counts, f"{name}: counts", None)
    object.__setattr__(data, "counts", counts)
    object.__setattr__(data, "exposure", units.seconds(data.exposure, f"{name}: exposure"))
    for field in ("errors", "systematic"):
        values = getattr(data, field)
        if values is not None:
            values = _array(values, f"{name}: {field}", counts.size)
            _not_negative(values, f"{name}: {field}")
            object.__setattr__(data, field, values)
    for field in ("area_scale", "back_scale"):
        values = getattr(data, field)
        values = float(values) if np.ndim(values) == 0 else _array(values, f"{name}: {field}", counts.size)
        if not np.isfinite(values).all():
            raise ValueError(f"{name}: {field} must be finite, got {values}")
        _not_negative(np.atleast_1d(values), f"{name}: {field}")
        object.__setattr__(data, field, values)
    if data.errors is None:
        _not_negative(counts, f"{name}: Poisson counts (give errors= if these are net counts)")


def _array(values: Any, what: str, size: int | None) -> np.ndarray:
    try:
        result = np.array(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{what} must be an array of numbers, got {type(values).__name__}") from error
    if result.ndim != 1 or result.size == 0 or (size is not None and result.size != size):
        raise ValueError(
            f"{what} must be an array with one element per channel ({size or 'any number'}), "
            f"got shape {result.shape}"
        )
    if not np.isfinite(result).all():
        raise ValueError(f"{what}[{np.argmin(np.isfinite(result))}] is not a finite number")
    return frozen(result)


def _not_negative(values: np.ndarray, what: str) -> None:
    if (values < 0).any():
        index = int(np.argmax(values < 0))
        raise ValueError(f"{what} must not be negative, got {values[index]:g} at index {index}")


def check_parts(observation: Observation) -> None:
    """Check that response, background, flags and grouping fit the counts."""
    name, size = observation.name, observation.counts.size
    if not isinstance(observation.response, Response):
        raise TypeError(f"{name}: response must be a Response, got {type(observation.response).__name__}")
    if observation.response.channels.size != size:
        raise ValueError(
            f"{name}: {size} counts, but the response has {observation.response.channels.size} channels"
        )
    background = observation.background
    if background is not None and not isinstance(background, Background):
        raise TypeError(f"{name}: background must be a Background, got {type(background).__name__}")
    if background is not None and background.counts.size != size:
        raise ValueError(f"{name}: {size} channels, but the background has {background.counts.size}")
    for field in ("quality", "grouping"):
        values = getattr(observation, field)
        if values is not None:
            flags = _array(values, f"{name}: {field}", size)
            object.__setattr__(observation, field, frozen(flags.astype(np.int64)))
    if observation.grouping is not None and not np.isin(observation.grouping, (-1, 0, 1)).all():
        raise ValueError(f"{name}: grouping must hold 1, 0 and -1 only")
    check_grouping(observation, observation.grouping_method, observation.grouping_number)


def check_grouping(observation: Observation, method: str | None, number: float | None) -> None:
    """Check that a grouping method exists and has what it needs."""
    if method not in METHODS:
        known = ", ".join(repr(known) for known in METHODS)
        raise ValueError(f"no grouping method is called {method!r}; there are {known}")
    meaning = METHODS[method]
    if meaning is None and number is not None:
        raise ValueError(f"group({method!r}) takes no number, got {number}")
    if meaning is not None and not (number is not None and np.isfinite(number) and number > 0):
        raise ValueError(f"group({method!r}, ...) needs a positive number of {meaning}, got {number}")
    if method == "constant" and number != int(number or 0):
        raise ValueError(f"group('constant', ...) needs a whole number of channels, got {number}")
    if method == "min_background_counts" and observation.background is None:
        raise ValueError(f"{observation.name}: group('min_background_counts') needs a background")


def choose_statistic(observation: Observation) -> None:
    """Set the statistic that the data demand, or check the one that was asked for."""
    background, gaussian = observation.background, observation.errors is not None
    if observation.statistic is None:
        if gaussian:
            statistic, reason = "chi2", "the counts have Gaussian errors"
        elif background is None:
            statistic, reason = "cstat", "Poisson counts without background"
        elif background.errors is None:
            statistic, reason = "wstat", "Poisson counts and Poisson background"
        else:
            statistic, reason = "pgstat", "Poisson counts and background with Gaussian errors"
        object.__setattr__(observation, "statistic", statistic)
        object.__setattr__(observation, "statistic_reason", reason)
        return
    statistic, name = observation.statistic, observation.name
    if statistic not in STATISTICS:
        raise ValueError(f"no statistic is called {statistic!r}; there are {', '.join(STATISTICS)}")
    if gaussian and statistic != "chi2":
        raise ValueError(
            f"{name}: {statistic} needs Poisson counts, but these have Gaussian errors: use 'chi2'"
        )
    if background is None and statistic in ("wstat", "pgstat", "pstat"):
        raise ValueError(f"{name}: {statistic} needs a background; without one use 'cstat'")
    if background is not None and background.errors is not None and statistic == "wstat":
        raise ValueError(
            f"{name}: wstat needs Poisson background counts, but these have errors: use 'pgstat'"
        )
    if not observation.statistic_reason:
        object.__setattr__(observation, "statistic_reason", "chosen by the user")


def describe(observation: Observation) -> str:
    """The text of `Observation.info`."""
    response, keep = observation.response, _selection.selected(observation)
    groups = _selection.labels(observation, keep)
    flagged = int((_selection.bad(observation) & keep).sum())
    lines = [
        f"observation  {observation.name}",
        f"instrument   {' '.join((observation.mission, observation.instrument)).strip() or 'not stated'}",
        f"exposure     {observation.exposure:.8g} s",
        f"response     {response!r}",
        f"background   {observation.background!r}",
        f"channels     {response.channels[0]} to {response.channels[-1]}, {keep.sum()} of {keep.size} selected"
        + (f", {flagged} of them flagged bad (ignore('bad') leaves them out)" if flagged else ""),
        f"bins         {groups.max() + 1}, grouping {observation.grouping_method or 'none'}"
        + (f" {observation.grouping_number:g}" if observation.grouping_number is not None else ""),
        f"statistic    {observation.statistic}: {observation.statistic_reason}",
        f"sources      {', '.join(observation.sources) if observation.sources else 'all'}",
    ]
    if observation.systematic is not None and observation.statistic != "chi2":
        lines.append(f"note         systematic errors are not used by {observation.statistic}")
    lines += [f"repaired     {text}" for text in observation.repairs]
    return "\n".join(lines)
