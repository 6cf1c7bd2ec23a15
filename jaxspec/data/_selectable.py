"""The methods of an observation that change what the likelihood sees: channels, bins, sources, statistic."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, replace
from typing import Any, Self

from . import _selection
from ._background_model import response_for
from ._checks import check_grouping
from ._response import Response
from ._selection import Range


@dataclass(frozen=True, eq=False, repr=False)
class Selectable:
    """What of an observation is chosen, how it is put into bins, what it sees, and by which statistic."""

    _: KW_ONLY
    grouping_method: str | None = "file"
    grouping_number: float | None = None
    noticed: tuple[Range, ...] = ()
    ignored: tuple[Range, ...] = ()
    statistic: str | None = None
    statistic_reason: str = ""
    variance: str = "data"
    model_systematic: float = 0.0
    sources: tuple[str, ...] | None = None
    background_models: tuple[tuple[str, Response], ...] = ()

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

    def assign(self, *sources: str) -> Self:
        """Say which sources of the model this observation sees; all of them where nothing is said."""
        if not sources or not all(isinstance(source, str) for source in sources):
            raise TypeError(f"assign takes names of sources, like assign('src1', 'src2'), got {sources}")
        return replace(self, sources=tuple(sources))

    def with_background_model(self, name: str, response: Any = None) -> Self:
        """Let a `BackgroundModel` of the model with this name stand for the background, in place of measured counts.

        Source and background region are then fitted together: the background region, which the problem takes as an
        observation called "... background", sees that spectrum alone; the source region sees it scaled by exposure,
        AREASCAL and BACKSCAL, so that its scale is that of the background region. Poisson counts have the statistic
        "cstat" in either region, others "chi2". Called again, further models are added.

        `response` is what the background is seen through: nothing for that of the observation, a `Response`, or "none"
        for a spectrum in counts / (s keV) over the nominal energies of the channels.

        Raises `TypeError` for a response that is none, `ValueError` for one with another number of channels and where
        the user has chosen a statistic that treats the background otherwise.
        """
        models = dict(self.background_models)
        models[name] = response_for(self, response)
        return replace(self, background_models=tuple(models.items()))

    def with_statistic(self, statistic: str, *, variance: str = "data", systematic: float = 0.0) -> Self:
        """Choose the statistic.

        - "cstat": Poisson counts, a background is left out; "pstat": over a background known exactly;
        - "wstat": over a Poisson background, profiled out bin by bin; "lstat": integrated out with a flat prior. That
          one is -2 ln L as it stands: not 0 for a perfect fit, and in faint spectra biased more than "wstat";
        - "pgstat": over a background with Gaussian errors;
        - "chi2": Gaussian errors, of this `variance`:

          - "data": the errors that came with the counts, or else the counts. Of empty bins by XSPEC's rule: 1, or,
            where the background is empty too, its ratio squared if that is smaller;
          - "model": what the model predicts, anew for each model. Its log-likelihood has no normalisation;
          - "gehrels": upper limits, (1 + sqrt(N + 3/4))^2, so that chi-squared comes out small;
          - "churazov": the mean over five bins.

          Errors from the column SYS_ERR, fractions of the counts, are added to each. `systematic` is a fraction of the
          model: its square is added as well.

        Raises `ValueError` for a statistic or variance that there is not or that the data do not allow.

        **Reference:** XSPEC manual, commands statistic, weight and systematic.
        """
        chosen = {"statistic": statistic, "statistic_reason": ""}
        return replace(self, **chosen, variance=variance, model_systematic=float(systematic))
