"""Counts of a source, with their background and response."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from . import _selection
from ._bias import background_bias
from ._checks import check_counts, check_parts, check_variance, choose_statistic
from ._pooled import pooled
from ._response import Response
from ._selectable import Selectable
from ._selection import Selection


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
    exposure: Any
    _: KW_ONLY
    errors: np.ndarray | None = None
    area_scale: float | np.ndarray = 1.0
    back_scale: float | np.ndarray = 1.0
    systematic: np.ndarray | None = None
    name: str = "background"

    def __post_init__(self) -> None:
        check_counts(self)

    @classmethod
    def pooled(cls, *regions: Background) -> Background:
        """Several background regions as one: the counts of all, and the sum of their exposures times area and size.

        Where a background is the same per second, area and size, that is all that they tell of it. Errors and
        systematic errors add in squares; with those of one Gaussian, all are.

        Raises `ValueError` for none, and for different numbers of channels.
        """
        return cls(**pooled(regions))

    def __repr__(self) -> str:
        kind = "Poisson" if self.errors is None else "Gaussian"
        return f"Background({self.name!r}: {self.counts.sum():.6g} counts ({kind}) in {self.exposure:.6g} s)"


@dataclass(frozen=True, eq=False, repr=False)
class Observation(Selectable):
    """Counts of one exposure with response, background and selection; every method returns a new one.

    - `counts`: (n_channels,) counts of the source region; `exposure`: seconds or a Quantity.
    - `errors`: (n_channels,) standard deviations of `counts`; None where they are Poisson.
    - `area_scale`, `back_scale`: AREASCAL and BACKSCAL, a number or (n_channels,).
    - `quality`: (n_channels,) 0 where good; `grouping`: (n_channels,) 1 starts a bin, -1 continues it
      (OGIP).
    - `systematic`: (n_channels,) systematic errors as fractions of the counts, used by "chi2".
    - `statistic`: None to choose by the data: Poisson counts "cstat", with Poisson background "wstat", with
      Gaussian background "pgstat"; Gaussian counts "chi2".
    - `variance`, `model_systematic`: of "chi2", see `with_statistic`.

    Raises `ValueError` for wrong sizes, negative or non-finite numbers, or an exposure that is not positive.
    """

    counts: np.ndarray
    response: Response
    exposure: Any
    background: Background | None = None
    _: KW_ONLY
    name: str = "observation"
    errors: np.ndarray | None = None
    area_scale: float | np.ndarray = 1.0
    back_scale: float | np.ndarray = 1.0
    quality: np.ndarray | None = None
    grouping: np.ndarray | None = None
    systematic: np.ndarray | None = None
    mission: str = ""
    instrument: str = ""
    start: float | None = None
    stop: float | None = None
    repairs: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_counts(self)
        check_parts(self)
        choose_statistic(self)
        check_variance(self)

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

        `background` (a path or `Background`), `response` (a path or `Response`) and `arf` (a path) take the
        place of the files named by BACKFILE, RESPFILE and ANCRFILE; the string "none" stands for no file. A list
        of backgrounds is pooled to one (`Background.pooled`). Of matrices that follow each other in time (RSP2), those
        of the spectrum's time are mixed by exposure; where there is none, the nearest is taken, with a warning.
        `row`, from 1, picks the spectrum of a type II file. Named files are looked for beside the PHA file
        first.

        Raises `FileNotFoundError` for a missing file, `ValueError` for one that is damaged, is no PHA file,
        or whose channels do not match. Warns with `RepairWarning` once if something was put right that could
        change a number.

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

    def significance(self) -> float:
        """Significance in standard deviations of all selected counts over the background, negative for a deficit.

        By Li & Ma where both are Poisson counts, by Vianello where the background has Gaussian errors; net counts over
        their error where those of the source are Gaussian. It is that of a source looked for here alone: in a search
        it is to be lowered for the number of trials.

        Raises `ValueError` for Poisson counts without a background.

        **Reference:** Li & Ma 1983, ApJ 272, 317, eq. 17; Vianello 2018, ApJS 236, 17.
        """
        return significance(self)

    def selection(self) -> Selection:
        """What the likelihood sees, after noticing and grouping."""
        return _selection.select(self)

    def to_ogip(self, path: Any, *, overwrite: bool = False) -> Path:
        """Write a PHA file and beside it background and response; `path` is a file or folder.

        Flags and bins are written, noticed ranges are not: OGIP has no place for them. Returns the path of
        the PHA file.
        Raises `FileExistsError` for a file that is there already, unless told to overwrite it.
        """
        from ._write import write_observation

        return write_observation(self, path, overwrite)

    def plot_counts(
        self,
        *,
        rate: bool = False,
        min_counts: float | None = None,
        min_significance: float | None = None,
        figsize: tuple[float, float] | None = None,
    ) -> Any:
        """Counts and scaled background per unit of energy; what is ignored is grey.

        `rate=True` divides by the exposure. `min_counts` and `min_significance` join bins, for display only,
        until they have as many counts or net counts of as many standard deviations; ignored channels are joined to
        two. Returns a matplotlib figure.
        """
        return picture(self, rate=rate, figsize=figsize, min_counts=min_counts, min_significance=min_significance)

    def info(self) -> str:
        """Mission, exposure, channels, selection, statistic and why, and what was repaired in the files."""
        return describe(self)

    def __repr__(self) -> str:
        return (
            f"Observation({self.name!r}: {self.counts.sum():.6g} counts in {self.exposure:.6g} s, "
            f"{_selection.selected(self).sum()} of {self.counts.size} channels, {self.statistic})"
        )


def significance(observation: Observation) -> float:
    """The number of `Observation.significance`."""
    from .. import goodness

    keep, background = _selection.selected(observation), observation.background
    counts = observation.counts[keep].sum()
    if background is None:
        if observation.errors is None:
            raise ValueError(f"{observation.name}: the significance of Poisson counts needs a background")
        return float(counts / np.sqrt((observation.errors[keep] ** 2).sum()))
    ratio, behind = _selection.channel_ratio(observation)[keep], background.counts[keep]
    scaled = (ratio * behind).sum()
    variance = (ratio**2 * (behind if background.errors is None else background.errors[keep] ** 2)).sum()
    if observation.errors is not None:
        return float((counts - scaled) / np.sqrt((observation.errors[keep] ** 2).sum() + variance))
    if background.errors is not None:
        return float(goodness.gaussian_significance(counts, scaled, np.sqrt(variance)))
    # Of different ratios, the mean that makes the expected background right.
    common = scaled / behind.sum() if scaled > 0 else ratio.mean()
    return float(goodness.li_ma(counts, behind.sum(), common))


def picture(observation: Observation, **options: Any) -> Any:
    """The figure of `Observation.plot_counts`."""
    from ..plots._channels import Channels, observed

    behind = variance = np.zeros_like(observation.counts)
    if observation.background is not None:
        ratio = _selection.channel_ratio(observation)
        behind = ratio * observation.background.counts
        errors = observation.background.errors
        variance = ratio**2 * (observation.background.counts if errors is None else errors**2)
    channels = Channels(
        title=observation.name,
        low=observation.response.channel_low,
        high=observation.response.channel_high,
        counts=observation.counts,
        errors=observation.errors,
        background=behind,
        background_variance=variance,
        groups=_selection.labels(observation, _selection.selected(observation)),
        exposure=observation.exposure,
    )
    return observed(channels, **options)


def _why(observation: Observation) -> str:
    """Why this statistic, and what is special about its variance."""
    variance, fraction = observation.variance, observation.model_systematic
    words = [observation.statistic_reason]
    if variance != "data":
        words.append(f"variance {variance}")
    if fraction > 0:
        words.append(f"systematic error {fraction:g} of the model")
    return ", ".join(words)


def describe(observation: Observation) -> str:
    """The text of `Observation.info`."""
    response, keep = observation.response, _selection.selected(observation)
    method = observation.grouping_method
    if method == "file" and observation.grouping is None:
        method = "none in the file"
    groups = _selection.labels(observation, keep)
    flagged = int((_selection.bad(observation) & keep).sum())
    lines = [
        f"observation  {observation.name}",
        f"instrument   {' '.join((observation.mission, observation.instrument)).strip() or 'not stated'}",
        f"exposure     {observation.exposure:.8g} s",
        f"response     {response!r}",
        f"background   {observation.background!r}",
        f"channels     {response.channels[0]} to {response.channels[-1]}, {keep.sum()} of {keep.size} used"
        + (f", {flagged} of them flagged bad (ignore('bad') leaves them out)" if flagged else ""),
        f"bins         {groups.max() + 1}, grouping {method or 'none'}"
        + (f" {observation.grouping_number:g}" if observation.grouping_number is not None else ""),
        f"statistic    {observation.statistic}: {_why(observation)}",
        f"sources      {'all' if observation.sources is None else ', '.join(observation.sources) or 'none'}",
    ]
    lines += [f"modelled     background {name!r} through {seen!r}" for name, seen in observation.background_models]
    try:
        note = background_bias(_selection.select(observation)) if keep.any() else None
    except ValueError as error:  # chi-squared with an error of 0
        note = str(error)
    if note is not None:
        lines.append(f"note         {note}")
    if observation.statistic == "cstat" and observation.background is not None and not observation.background_models:
        lines.append("note         cstat leaves the background out: its counts are taken for the source's")
    if observation.systematic is not None and observation.statistic != "chi2":
        lines.append(f"note         systematic errors are not used by {observation.statistic}")
    lines += [f"repaired     {text}" for text in observation.repairs]
    return "\n".join(lines)
