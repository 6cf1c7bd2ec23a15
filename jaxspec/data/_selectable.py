"""Choosing channels and bins: the methods of an observation that change what the likelihood sees."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, replace
from typing import Any, Self

from . import _selection
from ._checks import check_grouping
from ._selection import Range


@dataclass(frozen=True, eq=False, repr=False)
class Selectable:
    """What of an observation is chosen, and how it is put into bins."""

    _: KW_ONLY
    grouping_method: str | None = "file"
    grouping_number: float | None = None
    noticed: tuple[Range, ...] = ()
    ignored: tuple[Range, ...] = ()

    def notice(self, *ranges: Any, channels: bool = False, partial: bool = True) -> Self:
        """Use these ranges only; ranges of several calls add up, and what `ignore` removed stays away.

        A range is a string ("8-30 keV", "0.1-2 TeV", "**-0.3", "15.0-**" in keV, "ch 4-128") or a pair of
        quantities or of numbers in keV, None for an open end; with `channels=True` numbers are channel
        numbers, both ends included. A channel is noticed if any part of it lies in the range, or with
        `partial=False` only if all of it does. The order of calls to `notice`, `ignore` and `group` does not
        matter. Where the file's grouping is in use, its bins take the place of channels.

        The default is the rule of 3ML and, for `ignore`, of XSPEC and Sherpa; `partial=False` is that of
        gammapy and elisa. Edges that only touch do not overlap; where an edge is the number itself XSPEC may keep a
        channel more (Swift XRT, 0.3 to 8 keV: 771, here and in Sherpa 770).

        Raises `ValueError` for a range that is none, or where nothing is left.
        """
        found = _selection.parse_ranges(ranges, channels, partial)
        if any(item.kind == "bad" for item in found):
            raise ValueError("notice takes ranges; bad channels are noticed like others until ignore('bad')")
        return _selection.not_empty(replace(self, noticed=(*self.noticed, *found)))

    def ignore(self, *ranges: Any, channels: bool = False, partial: bool = True) -> Self:
        """Leave these ranges out, given as for `notice`; "bad" stands for all channels flagged by QUALITY.

        A channel is ignored if any part of it lies in the range, or with `partial=False` only if all of it
        does.
        """
        found = _selection.parse_ranges(ranges, channels, partial)
        return _selection.not_empty(replace(self, ignored=(*self.ignored, *found)))

    def notice_all(self) -> Self:
        """Forget all calls of `notice` and `ignore`."""
        return replace(self, noticed=(), ignored=())

    def group(self, method: str | None, number: float | None = None) -> Self:
        """Sum channels into bins: from ungrouped ones, within runs of selected channels of one quality.

        - None: every channel for itself; "file": as GROUPING in the file says (the default).
        - "min_counts", "min_background_counts": at least `number` counts in a bin.
        - "significance": net counts of at least `number` standard deviations.
        - "constant": `number` channels in a bin.
        - "optimal": Kaastra & Bleeker 2016, A&A 587, A151; "optimal_min_counts": its bins joined until they
          have `number` counts.

        What is left over at the end of a run joins the bin before it. Raises `ValueError` for an unknown
        method or where `number` is missing or not positive.
        """
        check_grouping(self, method, number)
        return replace(self, grouping_method=method, grouping_number=number)
