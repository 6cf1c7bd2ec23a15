"""Fits of one model to many spectra, each with parameters of its own."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import hashlib
import itertools
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax

from jaxspec import progress as progress_bar
from jaxspec import units
from jaxspec.data import Observation
from jaxspec.inference._chunk import Band, Task, fit_chunk
from jaxspec.results import Catalogue
from jaxspec.results._catalogue import Rows, observations_of
from jaxspec.results._checkpoint import Checkpoint
from jaxspec.terms import effects_of

if TYPE_CHECKING:
    from jaxspec.sources import Model

CHUNK = 1024  # spectra that are fitted and written together
_CHUNK_BYTES = 2**28  # and at most this much of data and responses


def fit_each(
    model: Model,
    observations: Sequence[Observation] | Mapping[str, Observation | Sequence[Observation]],
    *,
    values: Mapping[str, Any] | None = None,
    flux: Mapping[str, tuple[Any, Any, str]] | None = None,
    use_priors: bool = False,
    file: Any = None,
    client: Any = None,
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
        file: where finished rows are kept, 1024 spectra at a time. The same call with the same file goes on where an
            earlier one was stopped; a finished one is read.
        client: a `dask.distributed.Client`, whose workers fit the chunks in place of the threads of this process. The
            chunks of a worker that is lost go to the others.
        progress: a progress bar; by default on a terminal and in a notebook.

    Raises `ValueError` for no or equally named observations, and for values outside the bounds or of the wrong number,
    and where `use_priors` lacks a prior; `KeyError` for unknown parameters; `TypeError` for
    something that is no observation, and a client that is none.
    """
    if use_priors:
        model.require_priors()
    require_simple(model)
    entries = entries_of(observations)
    if any(o.background_models for entry in entries.values() for o in observations_of(entry)):
        raise ValueError("fit_each knows no BackgroundModel: fit these spectra one by one")
    held = model.columns(values or {})
    for name, column in held.items():
        if len(column) != len(entries):
            raise ValueError(f"there are {len(column)} values of {name} for {len(entries)} spectra")
    bands, flux_names, flux_units = _bands(model, flux or {})
    target = "posterior" if use_priors else "likelihood"
    everything = Task(model, tuple(entries.values()), held, bands, target)
    pieces = _cut(everything, len(entries))
    with progress_bar.bar(len(entries), "fits", progress) as advance:
        rows = _run(pieces, client, None if file is None else Checkpoint(file, fingerprint(everything)), advance)
    return Catalogue(model, entries, held, Rows.joined(rows), flux_names, flux_units, use_priors)


def require_simple(model: Model) -> None:
    """Raises `ValueError` for what populations do not know."""
    if model.backgrounds:
        raise ValueError("fit_each knows no BackgroundModel: fit these spectra one by one")
    for calibration in model.calibrations:
        effects = effects_of(model, calibration.name)
        if effects is not None and effects.gain:
            raise ValueError(f"fit_each knows no gain (calibration of {calibration.name!r}): freeze it at 1 and 0")


def entries_of(given: Any) -> dict[str, Any]:
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


def _bands(
    model: Model, flux: Mapping[str, tuple[Any, Any, str]]
) -> tuple[tuple[Band, ...], tuple[str, ...], tuple[str, ...]]:
    """The bands, and names and units of the columns."""
    bands, names, unit_names = [], [], []
    for name, (low, high, unit) in flux.items():
        moment, factor = units.flux_moment(unit)
        bands.append(Band(*units.band(low, high), float(moment), factor))
        alone = len(model.sources) == 1
        names += [name] if alone else [f"{name} {source.name}" for source in model.sources]
        unit_names += [unit] * len(model.sources)
    return tuple(bands), tuple(names), tuple(unit_names)


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


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _executor(client: Any, n_tasks: int) -> concurrent.futures.Executor:
    """As many threads as there are cores (compiled programs leave Python alone), or the workers of a client."""
    if client is None:
        return concurrent.futures.ThreadPoolExecutor(max(1, min(cores(), n_tasks)))
    if not hasattr(client, "get_executor"):
        raise TypeError(f"client must be a dask.distributed.Client, got {client!r}")
    return client.get_executor(pure=False)


def _run(tasks: Sequence[Task], client: Any, checkpoint: Checkpoint | None, advance: Any) -> list[Rows]:
    """Fits the chunks that are not finished yet."""
    ends = list(itertools.accumulate(len(task.entries) for task in tasks))
    spans = list(zip([0, *ends], ends))
    results = (
        {}
        if checkpoint is None
        else {i: checkpoint.finished[s] for i, s in enumerate(spans) if s in checkpoint.finished}
    )
    advance(sum(len(rows) for rows in results.values()))
    with _executor(client, len(tasks)) as pool:
        futures = {pool.submit(fit_chunk, task): i for i, task in enumerate(tasks) if i not in results}
        try:
            for future in concurrent.futures.as_completed(futures):
                i = futures[future]
                results[i] = future.result()
                if checkpoint is not None:
                    checkpoint.add(*spans[i], results[i])
                advance(len(tasks[i].entries))
        except BaseException:  # an interrupt, too, must not wait for chunks that have not begun
            for future in futures:
                future.cancel()
            pool.shutdown(wait=False)
            raise
    return [results[i] for i in range(len(tasks))]


def fingerprint(task: Task) -> str:
    """A number that differs where model, settings or data do."""
    rows = task.model.parameters
    codes = {name: getattr(link.function, "__code__", None) for name, link in task.model.links.items()}
    laws = [(name, task.model.links[name].inputs, code and code.co_code) for name, code in codes.items()]
    # numpyro's order of the numbers of a prior changes from process to process.
    numbers = [
        (row.name, float(row.value), row.bounds, row.free, sorted(map(repr, jax.tree.leaves(row.prior))))
        for row in rows.values()
    ]
    text = [repr(task.model), numbers, laws, task.bands, task.target, [(n, v.tolist()) for n, v in task.values.items()]]
    total = hashlib.sha256(repr(text).encode())
    responses: dict[int, bytes] = {}
    for observation in itertools.chain.from_iterable(map(observations_of, task.entries)):
        response = observation.response
        if id(response) not in responses:
            arrays = response.matrix.data, response.matrix.indices, response.energy_low, response.energy_high
            responses[id(response)] = b"".join(hashlib.sha256(a.tobytes()).digest() for a in arrays)
        total.update(responses[id(response)])
        total.update(observation.counts.tobytes())
        if observation.background is not None:
            total.update(observation.background.counts.tobytes())
        total.update(
            repr(
                (
                    observation,
                    observation.noticed,
                    observation.ignored,
                    observation.grouping_method,
                    observation.grouping_number,
                    observation.sources,
                )
            ).encode()
        )
    return total.hexdigest()
