"""A chunk of a population: spectra that are stacked, fitted and reported together."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxspec._setup import program
from jaxspec.density import Density
from jaxspec.inference import _optimum
from jaxspec.inference._curvature import Free, normal, refined, slope_and_curvature
from jaxspec.inference._together import climb_many, slots_for
from jaxspec.quadrature import Bins, spread_normally
from jaxspec.results._catalogue import Rows, observations_of
from jaxspec.stack import Stacked, Stacker

if TYPE_CHECKING:
    from jaxspec.sources import Model

_PIECES = 24  # of a band, each with its own quadrature
_N_STARTS = 3  # of a spectrum whose first climb did not end well
_MAX_STEPS = 100  # of a climb: what takes longer is not constrained, and would keep the others waiting


class Band(NamedTuple):
    """A flux that is asked for: the integral of E^moment N(E) over a band, times a factor."""

    low: float
    high: float
    moment: float
    factor: float


@dataclasses.dataclass(frozen=True)
class Task:
    """What is to be done with a chunk of spectra; it holds all that a process of its own needs."""

    model: Model
    entries: tuple[Any, ...]
    values: Mapping[str, np.ndarray]
    bands: tuple[Band, ...]
    target: str

    def failed(self, trouble: Sequence[str]) -> Rows:
        """Rows without a fit."""
        n_fluxes = len(self.bands) * len(self.model.sources)
        return Rows.failed(trouble, len(self.model.free), len(self.model.parameters), n_fluxes)


def fit_chunk(task: Task) -> Rows:
    """Fits the spectra of a chunk."""
    entries, trouble = [], []
    for entry in task.entries:
        try:
            observations = observations_of(entry)
            entries.append([(observation, observation.selection()) for observation in observations])
            trouble.append("")
        except Exception as error:  # whatever is wrong with one spectrum must not stop the others
            entries.append(None)
            trouble.append(f"{type(error).__name__}: {error}")
    rows = task.failed(trouble)
    good = np.array([i for i, entry in enumerate(entries) if entry is not None], int)
    if len(good):
        values = {name: column[good] for name, column in task.values.items()}
        stacker = Stacker(task.model, *zip(*entries[good[0]]))
        for group, stacked in stacker.stacks([entries[i] for i in good], values):
            rows.put(good[group], _fit_stacked(task, stacker.template, stacked))
    for i, entry in enumerate(entries):
        times = [(o.start, o.stop) for o, _ in entry or () if o.start is not None and o.stop is not None]
        if times:
            rows.start[i], rows.stop[i] = min(a for a, _ in times), max(b for _, b in times)
    return rows


def _fit_stacked(task: Task, density: Density, stacked: Stacked) -> Rows:
    free = Free.of(task.model, density)
    present = in_pieces(_present, stacked)
    everyone = np.arange(len(stacked))
    best = climb_many(stacked, everyone, present, task.target, _MAX_STEPS)
    errors, u = _normal(task, free, stacked, best, present)
    again = np.flatnonzero(
        ~(best.gain < _optimum.TOLERANCE) | errors.at_bound.any(axis=1) | errors.loose.any(axis=1) | errors.doubtful
    )
    if len(again):
        best = _from_many_starts(stacked, again, best, task.target)
        errors, u = _normal(task, free, stacked, best, present)
    bands = [jnp.array(column) for column in zip(*task.bands)][:3] if task.bands else None
    statistic, values, slopes, fluxes, flux_slopes = in_pieces(_report, stacked, u, shared=(bands,))
    variances = np.einsum("sij,spi,spj->sp", errors.covariance, slopes, slopes)
    flux_variances = np.einsum("sij,spi,spj->sp", errors.covariance, flux_slopes, flux_slopes)
    factor = np.repeat([band.factor for band in task.bands], len(task.model.sources))
    converged = best.gain < _optimum.TOLERANCE
    names, trouble = task.model.free, []
    for i in range(len(stacked)):
        words = errors.troubles(i, names)
        if not converged[i]:
            words.insert(0, f"the climb stopped after {best.steps[i]} steps")
        trouble.append("; ".join(words))
    return Rows(
        u=u,
        covariance_u=errors.covariance,
        values=values,
        errors=np.where(variances > 0, np.sqrt(np.maximum(variances, 0.0)), np.nan),
        statistic=statistic,
        log_likelihood=stacked.saturated - 0.5 * statistic,
        n_bins=stacked.sizes,
        converged=converged,
        fluxes=fluxes * factor,
        flux_errors=np.sqrt(np.maximum(flux_variances, 0.0)) * factor,
        start=np.full(len(stacked), np.nan),
        stop=np.full(len(stacked), np.nan),
        trouble=np.array(trouble, object),
    )


def _normal(task: Task, free: Free, stacked: Stacked, best: _optimum.Optimum, present: np.ndarray) -> Any:
    def derivatives(index: np.ndarray, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return in_pieces(_derivatives, stacked.rows(index), u, static=(task.target,))

    u, exact = refined(derivatives, best.u)
    theta, stretch, size = in_pieces(_parameters, stacked, u, present)
    return normal(free, theta, stretch, exact, np.asarray(best.curvature), size), u


def _from_many_starts(stacked: Stacked, which: np.ndarray, best: _optimum.Optimum, target: str) -> _optimum.Optimum:
    """The best of several climbs, for those whose first did not end well: on from there, and from around the start."""
    offsets = spread_normally(_N_STARTS, best.u.shape[1])
    starts = in_pieces(functools.partial(_scattered, offsets=offsets), stacked.rows(which))
    starts[:, 0] = best.u[which]
    n_starts = starts.shape[1]
    found = climb_many(stacked, np.repeat(which, n_starts), starts.reshape(-1, starts.shape[2]), target, _MAX_STEPS)
    found = jax.tree.map(lambda array: array.reshape(len(which), n_starts, *array.shape[1:]), found)
    costs = np.where(np.isfinite(found.cost), found.cost, np.inf)
    place = np.argmin(costs, axis=1)
    chosen = jax.tree.map(lambda array: array[np.arange(len(which)), place], found)
    arrived = (chosen.gain < _optimum.TOLERANCE) & ~(best.gain[which] < _optimum.TOLERANCE)
    better = (chosen.cost < best.cost[which] - 1e-9) | arrived
    for kept, new in zip(best, chosen):
        kept[which[better]] = new[better]
    return best


def in_pieces(function: Any, stacked: Stacked, *arguments: np.ndarray, static: tuple = (), shared: tuple = ()) -> Any:
    """A compiled function of stacked densities, called with as many of them at once as climb at once."""
    total = len(stacked)
    slots = slots_for(total)
    pieces = []
    for start in range(0, total, slots):
        index = np.minimum(np.arange(start, start + slots), total - 1)
        outcome = function(stacked.rows(index), *(argument[index] for argument in arguments), *shared, *static)
        pieces.append(outcome)
    return jax.tree.map(lambda *arrays: np.concatenate(arrays)[:total], *pieces)


@program
def _present(stacked: Stacked) -> jax.Array:
    """The model's values of the free parameters, in the unbounded space."""
    return stacked.each(lambda d: d.space.point(d.layout.values[jnp.asarray(d.layout.free, int)]))


@program
def _scattered(stacked: Stacked, offsets: jax.Array) -> jax.Array:
    return stacked.each(lambda density: _optimum.starting_points(density, offsets))


@functools.partial(jax.jit, static_argnums=2)
def _derivatives(stacked: Stacked, u: jax.Array, target: str) -> tuple[jax.Array, jax.Array]:
    return stacked.each(lambda density, at: slope_and_curvature(density, at, target), u)


@program
def _parameters(stacked: Stacked, u: jax.Array, present: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The free parameters, their derivatives, and those of the model."""

    def one(density: Density, at: jax.Array, start: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        return *jax.jvp(density.space.values, (at,), (jnp.ones_like(at),)), density.space.values(start)

    return stacked.each(one, u, present)


@program
def _report(stacked: Stacked, u: jax.Array, bands: list[jax.Array] | None) -> tuple[jax.Array, ...]:
    """Statistic, all parameters, their derivatives in u, fluxes (bands by sources), and theirs."""

    def one(density: Density, at: jax.Array) -> tuple[jax.Array, ...]:
        def outcomes(at: jax.Array) -> Any:
            values = density.layout.all_values(density.space.values(at))
            fluxes = _fluxes(density, values, bands)
            return (values, fluxes), (values, fluxes)

        (slopes, flux_slopes), (values, fluxes) = jax.jacfwd(outcomes, has_aux=True)(at)
        expected = density.expected_counts(density.layout.fill(density.space.values(at)))
        return jnp.sum(density.statistic_per_bin(expected)), values, slopes, fluxes, flux_slopes

    return stacked.each(one, u)


def _fluxes(density: Density, values: jax.Array, bands: list[jax.Array] | None) -> jax.Array:
    spectra = density.layout.sources_at(values)
    if bands is None:
        return jnp.zeros(0)

    def one(low: jax.Array, high: jax.Array, moment: jax.Array) -> jax.Array:
        bins = Bins.dividing(low, high, _PIECES)
        return jnp.stack([jnp.sum(spectrum.integral(bins, moment)) for spectrum in spectra])

    return jax.vmap(one)(*bands).reshape(-1)
