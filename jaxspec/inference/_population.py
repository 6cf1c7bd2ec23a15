"""Fits of one model to many spectra, or samples of their posteriors, each with parameters of its own."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import hashlib
import itertools
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxspec import progress as progress_bar
from jaxspec import units
from jaxspec.data import Observation, Response
from jaxspec.inference._chunk import run_chunk
from jaxspec.inference._task import Band, Sampling, Task
from jaxspec.inference._together import SIZES
from jaxspec.methods import NUTS
from jaxspec.results import Catalogue, PosteriorCatalogue
from jaxspec.results._catalogue import observations_of
from jaxspec.results._checkpoint import Checkpoint
from jaxspec.results._rows import Rows

if TYPE_CHECKING:
    from jaxspec.model import Model

CHUNK = SIZES[-1]  # spectra that are fitted and written together
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

    All climb in one compiled program, and each stops when it has arrived; then another maximum is looked for on either
    side of the one found, along what the data constrain least. A row of the result is what `fit` would give for that
    spectrum alone. Responses may be shared or differ, and so may numbers of channels. A spectrum that fails says so in
    its row.

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
    task, entries, names, unit_names = _prepared(
        model, observations, values, flux, "posterior" if use_priors else "likelihood"
    )
    rows = _run(task, client, file, "fits", progress)
    return Catalogue(model, entries, task.values, rows, names, unit_names, use_priors)


def sample_each(
    model: Model,
    observations: Sequence[Observation] | Mapping[str, Observation | Sequence[Observation]],
    method: NUTS | None = None,
    *,
    key: jax.Array,
    values: Mapping[str, Any] | None = None,
    flux: Mapping[str, tuple[Any, Any, str]] | None = None,
    file: Any = None,
    client: Any = None,
    progress: bool | None = None,
) -> PosteriorCatalogue:
    """Draws from the posterior of each of many spectra, with its evidence.

    The chains of each start at its best fit, in the space that the covariance there makes round, and run in one
    compiled program. All draws are kept, 8 bytes for each free parameter. The evidence comes from them, by bridge
    sampling. A row says what is wrong with its draws.

    Args:
        model: every free parameter needs a prior.
        method: settings of NUTS.
        key: a JAX random key; the same key gives the same draws, however the work is spread.
        file: where finished rows are kept, 16 spectra at a time.

    The other arguments are those of `fit_each`. Raises what it raises, `ValueError` for a missing prior, and
    `TypeError` for another method.

    **Reference:** on the evidence Meng & Wong 1996, Stat. Sinica 6, 831.
    """
    method = NUTS() if method is None else method
    if not isinstance(method, NUTS):
        raise TypeError(f"sample_each samples by NUTS(...), got {method!r}; sample such spectra one by one")
    model.require_priors()
    task, entries, names, unit_names = _prepared(model, observations, values, flux, "sampled")
    typed = jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
    numbers = np.asarray(jax.random.key_data(key) if typed else key)
    task = dataclasses.replace(task, sampling=Sampling(method, numbers))
    rows = _run(task, client, file, "posteriors", progress)
    return PosteriorCatalogue(model, entries, task.values, rows, names, unit_names, method, numbers)


def _prepared(
    model: Model, observations: Any, values: Mapping[str, Any] | None, flux: Any, target: str
) -> tuple[Task, dict[str, Any], tuple[str, ...], tuple[str, ...]]:
    """What is to be done, the observations by name, names and units of the columns of fluxes."""
    entries = entries_of(observations)
    held = model.columns(values or {})
    for name, column in held.items():
        if len(column) != len(entries):
            raise ValueError(f"there are {len(column)} values of {name} for {len(entries)} spectra")
    bands, names, unit_names = _bands(model, flux or {})
    return Task(model, tuple(entries.values()), held, bands, target), entries, names, unit_names


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


def _cut(task: Task) -> list[Task]:
    """The chunks of a task."""
    first, n = observations_of(task.entries[0]), len(task.entries)
    # Chains of one spectrum keep a core busy for about a second.
    most = CHUNK if task.sampling is None or jax.default_backend() != "cpu" else min(CHUNK, SIZES[0])
    fitting = min(most, _CHUNK_BYTES // _bytes_each(first, task.entries))
    size = max([size for size in SIZES if size <= fitting], default=min(most, SIZES[0]))
    return [
        dataclasses.replace(
            task,
            entries=task.entries[start : start + size],
            values={name: column[start : start + size] for name, column in task.values.items()},
            first=start,
        )
        for start in range(0, n, size)
    ]


def _bytes_each(first: tuple[Observation, ...], entries: Sequence[Any]) -> int:
    """What one spectrum takes in memory while it is fitted: its data, and responses where it has its own."""
    shared = [list(map(id, _responses(each))) for each in (first, observations_of(entries[-1]))]
    shapes = [(len(response.channels), len(response.energy_low)) for response in _responses(first)]
    return sum(8 * channels * (8 + (0 if shared[0] == shared[1] else energies)) for channels, energies in shapes)


def _responses(observations: Iterable[Observation]) -> list[Response]:
    return [r for o in observations for r in (o.response, *(response for _, response in o.background_models))]


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


def _run(task: Task, client: Any, file: Any, what: str, progress: bool | None) -> Any:
    """The rows of a task, chunk by chunk."""
    checkpoint = None if file is None else Checkpoint(file, fingerprint(task), task.kind)
    with progress_bar.bar(len(task.entries), what, progress) as advance:
        return task.kind.joined(_run_chunks(_cut(task), client, checkpoint, advance))


def _run_chunks(tasks: Sequence[Task], client: Any, checkpoint: Checkpoint | None, advance: Any) -> list[Rows]:
    """Runs the chunks that are not finished yet."""
    ends = list(itertools.accumulate(len(task.entries) for task in tasks))
    spans = list(zip([0, *ends], ends))
    finished = {} if checkpoint is None else checkpoint.finished
    results = {i: finished[span] for i, span in enumerate(spans) if span in finished}
    advance(sum(len(rows) for rows in results.values()))
    with _executor(client, len(tasks)) as pool:
        futures = {pool.submit(run_chunk, task): i for i, task in enumerate(tasks) if i not in results}
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


# Of an observation, what its representation does not show.
_CHOICES = ("noticed", "ignored", "grouping_method", "grouping_number", "sources", "background_models")


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
    text = [
        repr(task.model),
        numbers,
        laws,
        task.bands,
        task.target,
        task.sampling,
        [(n, v.tolist()) for n, v in task.values.items()],
    ]
    total = hashlib.sha256(repr(text).encode())
    responses: dict[int, bytes] = {}
    for observation in itertools.chain.from_iterable(map(observations_of, task.entries)):
        for response in _responses([observation]):
            if id(response) not in responses:
                arrays = response.matrix.data, response.matrix.indices, response.energy_low, response.energy_high
                responses[id(response)] = b"".join(hashlib.sha256(a.tobytes()).digest() for a in arrays)
            total.update(responses[id(response)])
        total.update(observation.counts.tobytes())
        if observation.background is not None:
            total.update(observation.background.counts.tobytes())
        total.update(repr((observation, *(getattr(observation, name) for name in _CHOICES))).encode())
    return total.hexdigest()
