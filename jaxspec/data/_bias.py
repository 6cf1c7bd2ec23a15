"""Where a statistic with a background in every bin is known to be biased."""

from __future__ import annotations

import numpy as np

from ._selection import Selection

EMPTY_SHARE = 0.2  # of the bins, without background counts
FEW_COUNTS = 3.0  # in the source region, on average over these bins
BRIEF_BACKGROUND = 0.2  # ratio above which the background region decides little: at 0.1 W is right to 2 per cent


def background_bias(selection: Selection) -> str | None:
    """What to know and to do where W or L is biased, in words; None where it is not.

    Each bin has a background of its own, which may explain a faint source's counts where the background region shows
    none. With as much background as source exposure and 0.3 source counts a bin, W finds no source at all; with 1 it
    is 20 % too faint, with 5 it is right. The L statistic is worse.
    """
    if selection.statistic not in ("wstat", "lstat") or selection.background is None or selection.ratio is None:
        return None
    empty = selection.background == 0
    if np.mean(empty) < EMPTY_SHARE:
        return None
    counts, ratio = np.mean(selection.counts[empty]), np.mean(selection.ratio[empty])
    if counts > FEW_COUNTS or (selection.statistic == "wstat" and ratio < BRIEF_BACKGROUND):
        return None
    return (
        f"{selection.statistic} is biased here, faint sources come out too faint: {np.mean(empty):.0%} of the bins "
        f"have no background counts, and {counts:.2g} source counts on average; group with "
        "group('min_background_counts', 1), or better, fit a model of the background"
    )
