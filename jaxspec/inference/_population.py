"""Fits of one model to many spectra, each with parameters of its own."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import functools
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxspec import progress as progress_bar
from jaxspec import units
from jaxspec._setup import program
from jaxspec.data import Observation
from jaxspec.density import Density
from jaxspec.inference import _optimum
from jaxspec.inference._curvature import Free, normal, refined, slope_and_curvature
from jaxspec.inference._together import climb_many, slots_for
from jaxspec.quadrature import Bins, spread_normally
from jaxspec.results import Catalogue
from jaxspec.results._catalogue import Rows, observations_of
from jaxspec.stack import Stacked, Stacker
from jaxspec.terms import effects_of

if TYPE_CHECKING:
    from jaxspec.sources import Model

CHUNK = 1024  # spectra that are read, fitted and written together
_CHUNK_BYTES = 2**28  # and at most this much of data and responses
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


def fit_each(
    model: Model,
    observations: Sequence[Observation] | Mapping[str, Observation | Sequence[Observation]],
    *,
    values: Mapping[str, Any] | None = None,
    flux: Mapping[str, tuple[Any, Any, str]] | None = None,
    use_priors: bool = False,
    progress: bool | None = None,
) -> Catalogue:
    """Fits a model to each of many spectra.

    All climb at once, hundreds in one compiled program, and each stops when it has arrived. A row of the result is what
    `fit` would give for that spectrum alone. Responses may be shared or differ, and so may numbers of channels. A
    spectrum that fails says so in its row.

    Args:
        model: what each is fitted with.
        observations: by name; several observations under one name are fitted together. A sequence is taken by the names
            of the observations.
        values: of parameters, one for each spectrum, by the name of the parameter, in its unit: where frozen ones are
            held, and where the fits of free ones start.
        flux: fluxes to be computed, by the name of their column: low and high end of the band, and unit, as for
            `BestFit.flux`. With several sources there is a column "name source" each.
        use_priors: maximise the posterior densities instead of the likelihoods.
        progress: a progress bar; by default on a terminal and in a notebook.

    Raises `ValueError` for no or equally named observations, and for values outside the bounds or of the wrong number,
    and where `use_priors` lacks a prior; `KeyError` for unknown parameters; `TypeError` for
    something that is no observation.
    """
    if use_priors:
        model.require_priors()
    for calibration in model.calibrations:
        effects = effects_of(model, calibration.name)
        if effects is not None and effects.gain:
            raise ValueError(f"fit_each knows no gain (calibration of {calibration.name!r}): freeze it at 1 and 0")
    entries = _named(observations)
    if model.backgrounds or any(o.background_models for entry in entries.values() for o in observations_of(entry)):
        raise ValueError("fit_each knows no models of backgrounds: fit such spectra one by one")
    held = model.columns(values or {})
    for name, column in held.items():
        if len(column) != len(entries):
            raise ValueError(f"there are {len(column)} values of {name} for {len(entries)} spectra")
    bands, flux_names = _bands(model, flux or {})
    target = "posterior" if use_priors else "likelihood"
    everything = Task(model, tuple(entries.values()), held, bands, target)
    pieces = _cut(everything, len(entries))
    with progress_bar.bar(len(entries), "fits", progress) as advance:
        rows = _run(pieces, advance)
    return Catalogue(model, entries, held, Rows.joined(rows), flux_names, use_priors)


def _named(given: Any) -> dict[str, Any]:
    """The observations of each spectrum by its name."""
    if isinstance(given, Mapping):
        entries = dict(given)
    else:
        if isinstance(given, (str, Observation)) or not isinstance(given, Iterable):
            raise TypeError(f"fit_each takes many observations, got {given!r}")
        listed = list(given)
        for each in listed:
            if not isinstance(each, Observation):
                raise TypeError(
                    f"a list holds one observation for each spectrum, got {each!r}; several that belong together are "
                    "given by name: {'bin 1': [n6, n9], ...}"
                )
        entries = {each.name: each for each in listed}
        if len(entries) < len(listed):
            names = [each.name for each in listed]
            twice = next(name for name in names if names.count(name) > 1)
            raise ValueError(f"two observations are called {twice!r}; give them names of their own with name=")
    if not entries:
        raise ValueError("there is no observation to fit")
    return entries


def _bands(model: Model, flux: Mapping[str, tuple[Any, Any, str]]) -> tuple[tuple[Band, ...], tuple[str, ...]]:
    bands, names = [], []
    for name, (low, high, unit) in flux.items():
        moment, factor = units.flux_moment(unit)
        bands.append(Band(*units.band(low, high), float(moment), factor))
        alone = len(model.sources) == 1
        names += [name] if alone else [f"{name} {source.name}" for source in model.sources]
    return tuple(bands), tuple(names)


def _cut(task: Task, n: int) -> list[Task]:
    """The chunks of a task."""
    first = observations_of(task.entries[0])
    size = min(CHUNK, max(16, _CHUNK_BYTES // _bytes_each(first, task.entries)))
    return [
        dataclasses.replace(
            task,
            entries=task.entries[start : start + size],
            values={name: column[start : start + size] for name, column in task.values.items()},
        )
        for start in range(0, n, size)
    ]


def _bytes_each(first: tuple[Observation, ...], entries: Sequence[Any]) -> int:
    """What one spectrum takes in memory while it is fitted: its data, and its response where it has one of its own."""
    others = observations_of(entries[-1])
    shared = all(a.response is b.response for a, b in zip(first, others))
    shapes = [(len(o.response.channels), len(o.response.energy_low)) for o in first]
    return sum(8 * channels * (8 + (0 if shared else energies)) for channels, energies in shapes)


def _run(tasks: Sequence[Task], advance: Any) -> list[Rows]:
    """Chunks in as many threads as there are cores: compiled programs leave Python alone."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with concurrent.futures.ThreadPoolExecutor(max(1, min(cores, len(tasks)))) as pool:
        futures = {pool.submit(fit_chunk, task): i for i, task in enumerate(tasks)}
        results: dict[int, Rows] = {}
        for future in concurrent.futures.as_completed(futures):
            results[futures[future]] = future.result()
            advance(len(tasks[futures[future]].entries))
    return [results[i] for i in range(len(tasks))]


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
    spectra = density.layout.spectra_at(values)
    if bands is None:
        return jnp.zeros(0)

    def one(low: jax.Array, high: jax.Array, moment: jax.Array) -> jax.Array:
        bins = Bins.dividing(low, high, _PIECES)
        return jnp.stack([jnp.sum(spectrum.integral(bins, moment)) for spectrum in spectra])

    return jax.vmap(one)(*bands).reshape(-1)
