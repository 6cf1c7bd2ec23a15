"""What observations and backgrounds must fulfil, and the statistic that their data demand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .. import chi_squared, units
from ._grouping import METHODS
from ._response import Response, frozen

if TYPE_CHECKING:
    from ._observation import Background, Observation

# What is measured in one region of the sky, be it that of the source or of its background.
REGION = ("counts", "exposure", "errors", "area_scale", "back_scale", "systematic")
STATISTICS = ("cstat", "wstat", "pgstat", "pstat", "lstat", "chi2")
# What the data demand, by the reason that is given for it.
_BY_DATA = {
    "the counts have Gaussian errors": "chi2",
    "Poisson counts, with a model of their background": "cstat",
    "Poisson counts without background": "cstat",
    "Poisson counts and Poisson background": "wstat",
    "Poisson counts and background with Gaussian errors": "pgstat",
}


def check_counts(data: Background | Observation) -> None:
    """Check and convert what source and background have in common."""
    name = data.name
    counts = checked_array(data.counts, f"{name}: counts", None)
    object.__setattr__(data, "counts", counts)
    object.__setattr__(data, "exposure", units.seconds(data.exposure, f"{name}: exposure"))
    for field in ("errors", "systematic"):
        values = getattr(data, field)
        if values is not None:
            values = checked_array(values, f"{name}: {field}", counts.size)
            _not_negative(values, f"{name}: {field}")
            object.__setattr__(data, field, values)
    for field in ("area_scale", "back_scale"):
        values = getattr(data, field)
        values = float(values) if np.ndim(values) == 0 else checked_array(values, f"{name}: {field}", counts.size)
        if not np.isfinite(values).all():
            raise ValueError(f"{name}: {field} must be finite, got {values}")
        _not_negative(np.atleast_1d(values), f"{name}: {field}")
        object.__setattr__(data, field, values)
    if data.errors is None:
        _not_negative(counts, f"{name}: Poisson counts (give errors= if these are net counts)")


def checked_array(values: Any, what: str, size: int | None) -> np.ndarray:
    """`values` as read-only finite floats, one for each of `size` channels."""
    try:
        result = np.array(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{what} must be an array of numbers, got {type(values).__name__}") from error
    if result.ndim != 1 or result.size == 0 or (size is not None and result.size != size):
        raise ValueError(
            f"{what} must be an array with one element per channel ({size or 'any number'}), got shape {result.shape}"
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
        raise ValueError(f"{name}: {size} counts, but the response has {observation.response.channels.size} channels")
    background = observation.background
    if not (background is None or hasattr(background, "back_scale")):
        raise TypeError(f"{name}: background must be a Background, got {type(background).__name__}")
    if background is not None and background.counts.size != size:
        raise ValueError(f"{name}: {size} channels, but the background has {background.counts.size}")
    for field in ("quality", "grouping"):
        values = getattr(observation, field)
        if values is not None:
            flags = checked_array(values, f"{name}: {field}", size)
            object.__setattr__(observation, field, frozen(flags.astype(np.int64)))
    if observation.grouping is not None and not np.isin(observation.grouping, (-1, 0, 1)).all():
        raise ValueError(f"{name}: grouping must hold 1, 0 and -1 only")
    check_grouping(observation, observation.grouping_method, observation.grouping_number)


def check_grouping(observation: Any, method: str | None, number: float | None) -> None:
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


def check_variance(observation: Observation) -> None:
    """Check what chi-squared is told about its variance."""
    name, statistic, variance = observation.name, observation.statistic, observation.variance
    if variance not in chi_squared.VARIANCES:
        raise ValueError(f"no variance is called {variance!r}; there are {', '.join(chi_squared.VARIANCES)}")
    fraction = observation.model_systematic
    if not (np.isfinite(fraction) and fraction >= 0):
        raise ValueError(f"{name}: systematic is a fraction of the model, 0 or more, got {fraction}")
    if statistic != "chi2" and (variance != "data" or fraction > 0):
        raise ValueError(f"{name}: only chi2 takes a variance or a systematic error, not {statistic}")
    if observation.errors is not None and variance != "data":
        raise ValueError(
            f"{name}: the variance {variance!r} is that of Poisson counts, but these have Gaussian errors: use 'data'"
        )


def choose_statistic(observation: Observation) -> None:
    """Set the statistic that the data demand, or check the one that was asked for."""
    background, gaussian = observation.background, observation.errors is not None
    modelled = bool(observation.background_models)
    # An observation made of another one by `dataclasses.replace` has other data, and may need another statistic.
    if observation.statistic in (None, _BY_DATA.get(observation.statistic_reason)):
        if gaussian:
            reason = "the counts have Gaussian errors"
        elif modelled:
            reason = "Poisson counts, with a model of their background"
        elif background is None:
            reason = "Poisson counts without background"
        elif background.errors is None:
            reason = "Poisson counts and Poisson background"
        else:
            reason = "Poisson counts and background with Gaussian errors"
        object.__setattr__(observation, "statistic", _BY_DATA[reason])
        object.__setattr__(observation, "statistic_reason", reason)
        return
    statistic, name = observation.statistic, observation.name
    if statistic not in STATISTICS:
        raise ValueError(f"no statistic is called {statistic!r}; there are {', '.join(STATISTICS)}")
    if gaussian and statistic != "chi2":
        raise ValueError(f"{name}: {statistic} needs Poisson counts, but these have Gaussian errors: use 'chi2'")
    if modelled and statistic not in ("cstat", "chi2"):
        raise ValueError(
            f"{name}: {statistic} takes the background from its counts, but {observation.background_models[0][0]!r} is "
            "a model of it: use 'cstat' or 'chi2'"
        )
    if background is None and statistic in ("wstat", "pgstat", "pstat", "lstat"):
        raise ValueError(f"{name}: {statistic} needs a background; without one use 'cstat'")
    if background is not None and background.errors is not None and statistic in ("wstat", "lstat"):
        raise ValueError(f"{name}: {statistic} needs Poisson background counts, but these have errors: use 'pgstat'")
    object.__setattr__(observation, "statistic_reason", "chosen by the user")
