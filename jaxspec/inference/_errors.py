"""Errors, limits and contours by the profile of the likelihood."""

from __future__ import annotations

import dataclasses
import functools
import warnings
from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxspec import parameters
from jaxspec.density import Density, Packed
from jaxspec.inference import _optimum, _profile
from jaxspec.inference._fit import better_fit
from jaxspec.quantities import AbstractQuantity, Derived
from jaxspec.results import BestFit, ProfileErrors

_BETTER = 0.005  # of ln L: a minimum that much deeper is another one
_RESTARTS = 5


def profile_errors(
    best: BestFit,
    names: str | Sequence[str] | None = None,
    *,
    quantities: Mapping[str, AbstractQuantity] | None = None,
    level: float = 0.68,
    delta: float | None = None,
) -> ProfileErrors:
    """Intervals by the profile of the likelihood, as of XSPEC's `error` and of MINOS.

    An interval ends where the statistic, with all other free parameters fitted again, has risen by `delta` over its
    minimum. All ends are sought at once in one compiled program. Where the search meets a better minimum, it starts
    again from there, and says so.

    Args:
        best: the fit; of a posterior density, the density is profiled in place of the likelihood.
        names: of the parameters, free or linked; all of them by default, none where `quantities` are given.
        quantities: functions of the parameters by the name of their row: `Flux`, `Derived(function, names)` ...
        level: the probability of the interval; `delta` follows from it.
        delta: the rise of the statistic: 1 for one sigma, 2.706 for 90 %.

    Raises `KeyError` for unknown names, `ValueError` for a frozen parameter and for a level that is no probability.
    """
    delta = _rise(level) if delta is None else float(delta)
    if not delta > 0:
        raise ValueError(f"delta is the rise of the statistic, so it must be positive, got {delta}")
    quantities = dict(quantities or {})
    chosen = [names] if isinstance(names, str) else names
    if chosen is None:
        chosen = [] if quantities else best.varied
    return _profiled(best, chosen, quantities, delta, _RESTARTS)


def _profiled(
    best: BestFit, names: Sequence[str], quantities: Mapping[str, AbstractQuantity], delta: float, restarts: int
) -> ProfileErrors:
    searches = [*(_of_parameter(best, name) for name in names), *_of_quantities(best, quantities)]
    ends, better = _ends(best, searches, 0.5 * delta)
    if better is not None and restarts > 0:
        found = better_fit(best, better)
        trouble = (
            f"a better minimum was found on the way (ln L higher by {found.log_likelihood - best.log_likelihood:.3g})"
        )
        warnings.warn(f"profile_errors: {trouble}: the intervals are about it", stacklevel=3)
        again = _profiled(found, names, quantities, delta, restarts - 1)
        return dataclasses.replace(again, troubles=(trouble, *again.troubles))
    low, high = (np.array([end[k] for end in ends], float) for k in (0, 1))
    return ProfileErrors(
        best=best,
        delta=delta,
        names=tuple(search.label for search in searches),
        units=tuple(search.unit for search in searches),
        values=np.array([search.value for search in searches]),
        low=low,
        high=high,
        status=tuple(end[2] for end in ends),
        troubles=(),
    )


def upper_limit(best: BestFit, quantity: str | AbstractQuantity, *, level: float = 0.95) -> float:
    """The upper limit of a parameter or a derived quantity at a one-sided probability, by the profile.

    The statistic has risen by the square of the normal quantile of `level`: 2.706 at 95 %. In the unit of the parameter
    or quantity. For a limit from a posterior take the quantile of its draws. Raises as `profile_errors`.
    """
    return float(_limit(best, quantity, level).high[0])


def lower_limit(best: BestFit, quantity: str | AbstractQuantity, *, level: float = 0.95) -> float:
    """The same below."""
    return float(_limit(best, quantity, level).low[0])


def _limit(best: BestFit, quantity: str | AbstractQuantity, level: float) -> ProfileErrors:
    if not 0.5 < level < 1:
        raise ValueError(f"the level of a limit is a probability between 0.5 and 1, like 0.95, got {level}")
    delta = _rise(2 * level - 1)
    if isinstance(quantity, str):
        return profile_errors(best, quantity, delta=delta)
    return profile_errors(best, quantities={"limit": quantity}, delta=delta)


def _rise(level: float) -> float:
    if not 0 < level < 1:
        raise ValueError(f"level is a probability between 0 and 1, like 0.68, got {level}")
    return NormalDist().inv_cdf(0.5 * (1 + level)) ** 2


class _Search(NamedTuple):
    """One row of the result."""

    label: str
    unit: str
    value: float
    aim: Any
    place: int | None  # among the free parameters; None for a function of them


def _of_parameter(best: BestFit, name: str) -> _Search:
    problem = best.problem
    rows = problem.model.parameters
    if name not in rows:
        raise parameters.unknown(name, rows, "parameter")
    if name not in best.varied:
        raise ValueError(f"{name} is frozen: it has no error; thaw it with model.thaw and fit again")
    unit, value, followed = rows[name].unit, best.values[name], name
    while (link := problem.model.links.get(followed)) is not None and link.function is None:
        (followed,) = link.inputs
    if followed not in problem.names:
        aim = _profile.Outcome(Derived(lambda value: value, name).bind(problem.model))
        return _Search(name, unit, value, aim, None)
    place = problem.names.index(followed)
    return _Search(name, unit, value, _profile.Coordinate(np.eye(len(problem.names))[place]), place)


def _of_quantities(best: BestFit, quantities: Mapping[str, AbstractQuantity]) -> list[_Search]:
    found = []
    for label, quantity in quantities.items():
        aim = _profile.Outcome(quantity.bind(best.problem.model))
        value = float(_profile.value(best.problem.density, aim, jax.device_put(best.u)))
        found.append(_Search(label, quantity.unit, value, aim, None))
    return found


def _ends(best: BestFit, searches: list[_Search], rise: float) -> tuple[list[Any], np.ndarray | None]:
    """(low, high, status) of each search; and a point better than the fit, where one was met."""
    groups: dict[Any, list[int]] = {}
    for i, search in enumerate(searches):
        groups.setdefault(jax.tree.structure(search.aim), []).append(i)
    packed, target, lowest = Packed(best.problem.density), target_of(best), lowest_cost(best)
    sides: dict[tuple[int, float], tuple[float, str]] = {}
    better: np.ndarray | None = None
    for members in groups.values():
        aims = jax.tree.map(lambda *leaves: np.repeat(np.stack(leaves), 2, axis=0), *(searches[i].aim for i in members))
        directions = np.tile([-1.0, 1.0], len(members))
        starts = np.stack([_start(best, searches[i], side, rise) for i in members for side in (-1.0, 1.0)])
        steps = np.stack([side * _expected_step(best, searches[i], rise) for i in members for side in (-1.0, 1.0)])
        steps[np.any(starts != best.u, axis=1)] = 0.0
        found = _profile.crossings(packed, target, aims, starts, steps, directions, np.array(lowest), np.array(rise))
        found = jax.tree.map(np.asarray, found)
        deepest = int(np.argmin(found.lowest))
        if found.lowest[deepest] < lowest - _BETTER:
            better = found.lowest_u[deepest]
        for k, (i, side) in enumerate((i, side) for i in members for side in (-1.0, 1.0)):
            place, state = searches[i].place, "ok"
            value = float(found.value[k] if place is None else found.theta[k, place])
            if not found.reached[k]:
                value, state, point, cost = _by_bracketing(best, searches[i], side, rise, starts[k])
                if cost < lowest - _BETTER:
                    better = point
                if place is not None:
                    value = float(parameters_at(best.problem.density, value * np.eye(1, len(best.u), place))[0, place])
            sides[i, side] = value, state
    return _intervals(best, searches, sides), better


def _expected_step(best: BestFit, search: _Search, rise: float) -> np.ndarray:
    """From the best fit to the upper end, by the covariance; zero where nothing is known of it."""
    if not isinstance(search.aim, _profile.Coordinate):
        return np.zeros_like(best.u)
    along = best.covariance_u @ search.aim.row
    return along * np.sqrt(2 * rise / max(search.aim.row @ along, 1e-300))


def target_of(best: BestFit) -> str:
    """What was maximised."""
    return "posterior" if best.use_priors else "likelihood"


def lowest_cost(best: BestFit) -> float:
    """The cost at the best fit."""
    if not best.use_priors:
        return -best.log_likelihood
    return float(_cost(best.problem.density, jax.device_put(best.u), target_of(best)))


_cost = jax.jit(_optimum.cost, static_argnames="target")


def _start(best: BestFit, search: _Search, side: float, rise: float) -> np.ndarray:
    """Where to begin: at the best fit, unless that lies at a bound, where nothing changes anything."""
    density, target = best.problem.density, target_of(best)
    away = [i for i in _at_bound(best) if search.place in (None, i)]
    for i in away:
        # Inwards from the bound, as far as the statistic stays below the level.
        inward = -1.0 if density.space.kinds[i] == "interval" and best.u[i] > 0 else 1.0
        if search.place is not None and inward != side:
            continue
        steps = np.linspace(0.0, 2 * _profile.EDGE, 161)
        points = best.u + inward * steps[:, None] * np.eye(len(best.u))[i]
        costs = np.asarray(_costs(density, jax.device_put(points), target))
        below = np.flatnonzero(~(costs < costs[0] + 0.5 * rise))
        point = points[max(below[0] - 1 if len(below) else -1, 0)]
        before, after = (float(_profile.value(density, search.aim, jax.device_put(u))) for u in (best.u, point))
        if side * (after - before) > 1e-12 * abs(before):
            return point
    return best.u


@functools.partial(jax.jit, static_argnames="target")
def _costs(density: Density, points: jax.Array, target: str) -> jax.Array:
    return jax.lax.map(lambda u: _optimum.cost(density, u, target), points)


def _at_bound(best: BestFit) -> list[int]:
    return [i for i, name in enumerate(best.problem.names) if f"{name} lies at its bound" in best.troubles]


def _by_bracketing(
    best: BestFit, search: _Search, side: float, rise: float, start: np.ndarray
) -> tuple[float, str, np.ndarray, float]:
    """The end on one side where the fast search has not arrived."""
    density = best.problem.density
    slope = np.asarray(_profile.slope(density, search.aim, jax.device_put(best.u)))
    width = float(np.sqrt(max(2 * rise * slope @ best.covariance_u @ slope, 0.0)))
    if not width > 0:
        width = 1.0 if search.place is not None else max(abs(search.value), 1e-30)
    return _profile.search_slowly(density, target_of(best), search.aim, start, width, lowest_cost(best), rise, side)


def _intervals(
    best: BestFit, searches: list[_Search], sides: Mapping[tuple[int, float], tuple[float, str]]
) -> list[tuple[float, float, str]]:
    """Both ends of each interval in the unit of its quantity, with the status."""
    kinds, rows = best.problem.density.space.kinds, best.problem.model.parameters
    found = []
    for i, search in enumerate(searches):
        ends = [sides[i, -1.0], sides[i, 1.0]]
        states = [state for _, state in ends]
        numbers = [value if state == "ok" else np.nan for value, state in ends]
        if search.place is not None:
            numbers = [value for value, _ in ends]
            if kinds[search.place] == "upper":  # it falls where its coordinate rises
                numbers, states = numbers[::-1], states[::-1]
            bounds = rows[best.problem.names[search.place]].support
            numbers = [number if state == "ok" else bound for number, state, bound in zip(numbers, states, bounds)]
            states = [
                "ok" if state == "ok" else "at bound" if np.isfinite(bound) else "unconstrained"
                for state, bound in zip(states, bounds)
            ]
        troubles = [f"{side}: {state}" for side, state in zip(("low", "high"), states) if state != "ok"]
        found.append((*map(float, numbers), ", ".join(troubles) or "ok"))
    return found


@jax.jit
def parameters_at(density: Density, points: jax.Array) -> jax.Array:
    """The free parameters at points of the unbounded space, (n_points, n)."""
    return jax.vmap(density.space.values)(points)
