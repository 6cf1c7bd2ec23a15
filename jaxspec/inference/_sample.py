"""Draws from the posterior, by whichever method."""

from __future__ import annotations

import concurrent.futures
import hashlib
import importlib
import warnings
from typing import Any

import jax
import numpy as np

from jaxspec import progress as progress_bar
from jaxspec.density import Density
from jaxspec.inference import _nested, _nuts, _optimum, _slices
from jaxspec.inference._search import N_STARTS, best_optimum
from jaxspec.inference._simulated import by_chunks
from jaxspec.methods import NUTS, Method, NestedSlice, UltraNest
from jaxspec.problem import Problem
from jaxspec.results import Posterior
from jaxspec.results._bestfit import from_unbounded
from jaxspec.results._checkpoint import Journal, NoJournal
from jaxspec.results._posterior import at_max_depth

_OPTIMUM: Any = _optimum.Optimum(*[0] * 5)  # its structure


def sample(
    problem: Problem,
    method: Method | None = None,
    *,
    key: jax.Array,
    file: Any = None,
    progress: bool | None = None,
) -> Posterior:
    """Draws from the posterior of a problem.

    Args:
        problem: what to sample; every free parameter needs a prior.
        method: `NUTS(...)` (the default), `NestedSlice(...)` or `UltraNest(...)`, with its settings.
        key: a JAX random key, like `jax.random.key(0)`; the same key gives the same draws.
        file: where what has been drawn is kept, some steps at a time. The same call with the same file goes on where an
            earlier one was stopped, and gives the draws that it would have given; a finished one is read.
        progress: a progress bar; by default on a terminal and in a notebook.

    Raises `ValueError` for a missing prior and for a file of another run, `TypeError` for a method it does not know.
    Warns where R-hat, the effective sample size or divergences say that the draws cannot be trusted; they are in the
    result. An interrupt (Ctrl-C) ends it, for `NUTS` after its warm-up: the result has what was drawn so far, and says
    so.
    """
    problem.require_priors()
    method = NUTS() if method is None else method
    journal = NoJournal() if file is None else Journal(file, _fingerprint(problem, method, key))
    if isinstance(method, NUTS):
        posterior = _by_nuts(problem, method, key, progress, journal)
    elif isinstance(method, UltraNest):
        with progress_bar.share("UltraNest", progress) as reached:
            found, interrupted = _nested.run(problem, method, key, reached, journal)
        values = by_chunks(_from_free, problem.density, found.theta)
        posterior = _of_nested(problem, method, key, found, values, interrupted)
    elif isinstance(method, NestedSlice):
        with progress_bar.share("nested sampling", progress) as reached:
            found, interrupted = _slices.run(problem.density, method, key, reached, journal)
        values = by_chunks(from_unbounded, problem.density, found.theta)
        posterior = _of_nested(problem, method, key, found, values, interrupted)
    else:
        raise TypeError(f"no sampler is described by {method!r}: give NUTS(...), NestedSlice(...) or UltraNest(...)")
    for trouble in posterior.troubles:
        warnings.warn(f"sample: {trouble}", stacklevel=2)
    return posterior


def _of_nested(
    problem: Problem,
    method: Method,
    key: jax.Array,
    found: _nested.Nested,
    values: np.ndarray,
    interrupted: bool,
) -> Posterior:
    return Posterior.of(
        problem,
        values[None],
        method=method,
        key=key,
        statistics={"ess": found.ess, **found.diagnostics, "interrupted": interrupted},
        log_evidence=(found.log_evidence, found.log_evidence_error),
    )


def _fingerprint(problem: Problem, method: Method, key: jax.Array) -> str:
    """A number that differs where the draws would: of model, data, method or key."""
    laws = [
        (name, link.inputs, link.function and str(jax.make_jaxpr(link.function)(*(0.0 for _ in link.inputs))))
        for name, link in problem.model.links.items()
    ]
    total = hashlib.sha256(repr((problem, problem.model, laws, method, key)).encode())
    for leaf in jax.tree.leaves(problem.density):
        total.update(np.asarray(leaf).tobytes())
    return total.hexdigest()


def _by_nuts(problem: Problem, method: NUTS, key: jax.Array, progress: bool | None, journal: Journal) -> Posterior:
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        compiled = pool.submit(_nuts.compile_ahead, problem.density, method, key)
        optimum = journal.step(_OPTIMUM, lambda: best_optimum(problem.density, "sampled", N_STARTS)[0])
        compiled.result()
        pool.submit(_import_ahead)
        total = method.warmup + method.draws
        with progress_bar.bar(total, f"NUTS, {method.chains} chains", progress) as advance:
            chains = _nuts.run(problem.density, optimum, method, key, advance, journal)
    return Posterior.of(
        problem,
        np.asarray(_chains_from_unbounded(problem.density, chains.u)),
        method=method,
        key=key,
        statistics={
            "interrupted": chains.u.shape[1] < method.draws,
            "divergences": int(chains.diverging.sum()),
            "steps_per_draw": float(chains.steps.mean()),
            "at_max_depth": float(at_max_depth(chains.steps, method)),
        },
    )


def _import_ahead() -> None:
    """Imports what the diagnostics and tables will need: while the chains run, Python has nothing to do."""
    for name in ("numpyro.diagnostics", "pandas"):
        importlib.import_module(name)


@jax.jit
def _chains_from_unbounded(density: Density, u: jax.Array) -> jax.Array:
    """The values of all parameters at points of the unbounded space, shape (chains, draws, n)."""
    return jax.vmap(jax.vmap(lambda point: density.layout.all_values(density.space.values(point))))(u)


@jax.jit
def _from_free(density: Density, thetas: jax.Array) -> jax.Array:
    """The values of all parameters from the free ones, shape (draws, n)."""
    return jax.vmap(density.layout.all_values)(thetas)
