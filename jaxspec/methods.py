"""Ways to sample a posterior: frozen values that carry their settings."""

from __future__ import annotations

import dataclasses
from typing import Any, TypeAlias


@dataclasses.dataclass(frozen=True)
class NUTS:
    """The no-U-turn sampler (Hoffman & Gelman 2014) of numpyro.

    Args:
        draws: kept per chain.
        warmup: steps per chain that adapt step size and mass matrix, and are thrown away.
        chains: run side by side in one compiled program.
        target_accept: mean acceptance probability that the step size is adapted to; raise it where chains diverge.
        max_tree_depth: a trajectory has at most 2 to this power steps.
    """

    draws: int = 1000
    warmup: int = 300
    chains: int = 4
    target_accept: float = 0.8
    max_tree_depth: int = 10

    def __post_init__(self) -> None:
        for field in ("draws", "warmup", "chains", "max_tree_depth"):
            value = getattr(self, field)
            if not (isinstance(value, int) and value > 0):
                raise ValueError(f"NUTS({field}=...) must be a positive whole number, got {value!r}")
        if not 0 < self.target_accept < 1:
            raise ValueError(f"NUTS(target_accept=...) must lie between 0 and 1, got {self.target_accept}")


@dataclasses.dataclass(frozen=True)
class UltraNest:
    """UltraNest's reactive nested sampling (Buchner 2021): posterior and evidence.

    Args:
        live_points: the least number of live points.
        frac_remain: stop where the live points hold less than this part of the evidence.
        dlogz: aimed-at uncertainty of ln Z.
        min_ess: the least effective number of posterior draws.
    """

    live_points: int = 400
    frac_remain: float = 0.01
    dlogz: float = 0.5
    min_ess: int = 400

    def __post_init__(self) -> None:
        if not (isinstance(self.live_points, int) and self.live_points >= 40):
            raise ValueError(
                f"UltraNest(live_points=...) must be a whole number of at least 40, got {self.live_points!r}"
            )
        for field in ("frac_remain", "dlogz", "min_ess"):
            if not getattr(self, field) > 0:
                raise ValueError(f"UltraNest({field}=...) must be positive, got {getattr(self, field)!r}")


@dataclasses.dataclass(frozen=True)
class NestedSlice:
    """Nested slice sampling of blackjax (Yallup, Kroupa & Handley 2026): posterior and evidence, compiled as a whole.

    Args:
        live_points: how many points are alive at a time.
        batch: how many of them are replaced together.
        moves: slices that take a new point away from where it started, times the number of free parameters.
        frac_remain: stop where the live points hold less than this part of the evidence.
    """

    live_points: int = 500
    batch: int = 100
    moves: int = 2
    frac_remain: float = 0.005

    def __post_init__(self) -> None:
        for field, least in (("live_points", 40), ("batch", 1), ("moves", 1)):
            value = getattr(self, field)
            if not (isinstance(value, int) and value >= least):
                raise ValueError(f"NestedSlice({field}=...) must be a whole number of at least {least}, got {value!r}")
        if self.batch >= self.live_points:
            raise ValueError(f"NestedSlice(batch={self.batch}) must be less than live_points = {self.live_points}")
        if not 0 < self.frac_remain < 1:
            raise ValueError(f"NestedSlice(frac_remain=...) must lie between 0 and 1, got {self.frac_remain!r}")


Method: TypeAlias = NUTS | UltraNest | NestedSlice


def from_settings(name: str, settings: dict[str, Any]) -> Method:
    """The method of that name with these settings, as a file holds them."""
    return {"NUTS": NUTS, "UltraNest": UltraNest, "NestedSlice": NestedSlice}[name](**settings)
