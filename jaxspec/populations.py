"""How a parameter is distributed over a population."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from numpyro.distributions import Distribution


@dataclasses.dataclass(frozen=True, eq=False)
class Population:
    """A parameter that scatters over a population, as a normal distribution whose mean and width are unknown.

    Args:
        mean: the prior (numpyro) of the mean of the parameter, or of its natural logarithm.
        width: the prior of the standard deviation; zero below 0, like `HalfNormal`.
        log: whether it is the logarithm that scatters normally.

    Raises `TypeError` where a prior is no distribution, `ValueError` for a width that may be negative.
    """

    mean: Distribution
    width: Distribution
    log: bool = False

    def __post_init__(self) -> None:
        from numpyro.distributions import Distribution

        for what in ("mean", "width"):
            if not isinstance(getattr(self, what), Distribution) or getattr(self, what).event_shape:
                raise TypeError(f"the {what} needs a prior, like numpyro.distributions.Normal(0, 1)")
        if not getattr(self.width.support, "lower_bound", -1) >= 0:
            raise ValueError("the prior of a width must be zero below 0, like numpyro.distributions.HalfNormal(1)")
