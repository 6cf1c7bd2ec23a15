"""Numbers from draws: intervals, and tables of them."""

from __future__ import annotations

from typing import Any

import numpy as np

INTERVALS = ("equal-tailed", "highest-density")


def interval(draws: np.ndarray, level: float, kind: str = "equal-tailed") -> tuple[np.ndarray, np.ndarray]:
    """The interval that holds a share of the draws, along their first axis.

    Args:
        draws: shape (n_draws, ...).
        level: the share, between 0 and 1.
        kind: "equal-tailed" leaves equal shares on both sides; "highest-density" is the shortest one.

    Raises `ValueError` for a level or a kind that is none.
    """
    if not 0 < level < 1:
        raise ValueError(f"level is a probability between 0 and 1, like 0.68, got {level}")
    if kind == "equal-tailed":
        low, high = np.quantile(draws, [0.5 * (1 - level), 0.5 * (1 + level)], axis=0)
        return low, high
    if kind != "highest-density":
        raise ValueError(f"interval={kind!r} is not known; give one of {', '.join(INTERVALS)}")
    ordered = np.sort(draws, axis=0)
    held = max(1, min(len(ordered) - 1, round(level * len(ordered))))
    widths = ordered[held:] - ordered[:-held]
    first = np.expand_dims(np.argmin(widths, axis=0), 0)
    return np.take_along_axis(ordered, first, 0)[0], np.take_along_axis(ordered, first + held, 0)[0]


def text(table: Any) -> str:
    """A pandas table as text, no column hidden."""
    return table.to_string(float_format=lambda value: f"{value:.5g}")
