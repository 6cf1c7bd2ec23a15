"""Posteriors of stacked densities: the chains of many spectra in one compiled program."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxspec.density import Density
from jaxspec.inference import _nuts, _optimum
from jaxspec.inference._evidence import bridged
from jaxspec.inference._task import Task, fluxes_at
from jaxspec.inference._together import in_pieces, maxima
from jaxspec.methods import NUTS
from jaxspec.programs import program
from jaxspec.results._posterior import at_max_depth, troubles_of
from jaxspec.results._rows import DrawRows
from jaxspec.stack import Stacked

_BATCH = 128  # draws at which fluxes are computed side by side


def sample_stacked(task: Task, stacked: Stacked, places: np.ndarray) -> DrawRows:
    """Samples each posterior from its maximum; `places` among all spectra, by which the random numbers differ."""
    assert task.sampling is not None  # that is what it is called for
    method, key = task.sampling
    best = maxima(stacked, "sampled")
    nowhere = ~(np.isfinite(best.cost) & np.all(np.isfinite(best.curvature), axis=(1, 2)))
    best.curvature[nowhere] = np.eye(best.u.shape[1])
    base = jax.random.wrap_key_data(jnp.asarray(key))
    keys = jax.random.key_data(jax.vmap(lambda place: jax.random.fold_in(base, place))(places))
    drawn = functools.partial(_drawn, task=task, method=method)
    with np.errstate(all="ignore"):  # of chains that do not move
        found = in_pieces(drawn, stacked, *_nuts.whiten(best), np.asarray(keys))
    trouble = found.pop("trouble")
    words = [
        "the posterior density is not finite anywhere near the start" if lost else text
        for lost, text in zip(nowhere, trouble)
    ]
    found["log_evidence"] += stacked.saturated
    unknown = np.full(len(stacked), np.nan)
    rows = DrawRows(**found, n_bins=stacked.sizes, start=unknown, stop=unknown, trouble=np.array(words, object))
    for values in (rows.values, rows.errors, rows.draws, rows.log_evidence):
        values[nowhere] = np.nan
    return rows


def _drawn(
    stacked: Stacked, centre: np.ndarray, scale: np.ndarray, cost: np.ndarray, keys: Any, task: Task, method: NUTS
) -> dict[str, np.ndarray]:
    """The fields of rows for as many posteriors as are sampled at once."""
    frame, keys = _nuts.Whitened(centre, scale, cost), jax.random.wrap_key_data(keys)
    chains = _nuts.in_chunks(
        lambda state, begin: _steps(stacked, frame, method, keys, state, begin),
        _nuts.no_state(functools.partial(_first, method=method), stacked, frame, keys),
        method,
        lambda _: None,
    )
    chains = jax.tree.map(lambda array: np.moveaxis(array, 0, 2), chains)  # spectra, chains, draws
    u, n_draws = chains.u, method.chains * method.draws
    outcomes = np.asarray(_outcomes(stacked, u.reshape(len(u), n_draws, -1), task.flux_bands))
    values, fluxes = np.split(outcomes, [len(task.model.parameters)], axis=2)
    varied = [i for i, row in enumerate(task.model.parameters.values()) if row.free or row.link is not None]
    r_hat, ess = _diagnostics(values[..., varied].reshape(*u.shape[:3], -1))
    deep, divergences = at_max_depth(chains.steps, method), chains.diverging.sum(axis=(1, 2))
    names = [name for i, name in enumerate(task.model.parameters) if i in varied]
    trouble = [
        troubles_of(dict(zip(names, a)), dict(zip(names, b)), {"divergences": number, "at_max_depth": part})
        for a, b, number, part in zip(r_hat, ess, divergences, deep)
    ]
    log_evidence, error = bridged(
        u, chains.potential + cost[:, None, None], lambda points: np.asarray(_costs(stacked, points)), ess.min(axis=1)
    )
    return {
        "values": np.median(values, axis=1),
        "errors": np.std(values, axis=1),
        "fluxes": np.median(fluxes, axis=1) * task.flux_factors,
        "flux_errors": np.std(fluxes, axis=1) * task.flux_factors,
        "draws": u,
        "r_hat": r_hat.max(axis=1),
        "ess": ess.min(axis=1),
        "divergences": divergences,
        "at_max_depth": deep,
        "log_evidence": log_evidence,
        "log_evidence_error": error,
        "trouble": np.array(["; ".join(words) for words in trouble], object),
    }


def _first(stacked: Stacked, frame: _nuts.Whitened, keys: jax.Array, method: NUTS) -> Any:
    return stacked.each(lambda d, f, k: _nuts.kernel(d, f, method, _chains(k, method))[0], frame, keys)


def _chains(key: jax.Array, method: NUTS) -> jax.Array:
    return jax.random.split(key, method.chains)


@functools.partial(program, static_argnames="method")
def _steps(stacked: Stacked, frame: _nuts.Whitened, method: NUTS, keys: jax.Array, state: Any, begin: Any) -> Any:
    def one(density: Density, frame: Any, key: jax.Array, state: Any) -> Any:
        return _nuts.some_steps(density, frame, method, _chains(key, method), state, begin)

    state, chains = stacked.each(one, frame, keys, state, mapping=_optimum.each)
    return state, jax.tree.map(lambda array: jnp.moveaxis(array, 0, 1), chains)


@program
def _outcomes(stacked: Stacked, u: jax.Array, bands: list[jax.Array] | None) -> jax.Array:
    """All parameters and then all fluxes at points (n_spectra, n_points, n)."""

    def at(density: Density, u: jax.Array) -> jax.Array:
        values = density.layout.all_values(density.space.values(u))
        return jnp.concatenate([values, fluxes_at(density, values, bands)])

    def one(density: Density, points: jax.Array) -> jax.Array:
        return jax.lax.map(functools.partial(at, density), points, batch_size=_BATCH)

    return stacked.each(one, u, mapping=_optimum.each)


@program
def _costs(stacked: Stacked, points: jax.Array) -> jax.Array:
    def one(density: Density, points: jax.Array) -> jax.Array:
        return _optimum.each(lambda u: _optimum.cost(density, u, "sampled"))(points)

    return stacked.each(one, points, mapping=_optimum.each)


def _diagnostics(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """R-hat and effective numbers of draws, (n_spectra, n), of values (n_spectra, chains, draws, n)."""
    from numpyro.diagnostics import effective_sample_size, split_gelman_rubin

    by_chain = np.moveaxis(values, 0, 2)
    return np.asarray(split_gelman_rubin(by_chain)), np.asarray(effective_sample_size(by_chain))
