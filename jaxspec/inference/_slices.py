"""Nested sampling that runs compiled: new points by slice sampling above the likelihood of those they replace."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxspec.density import Density
from jaxspec.inference import _optimum
from jaxspec.inference._nested import Nested, efolds_left
from jaxspec.methods import NestedSlice
from jaxspec.programs import program
from jaxspec.results._checkpoint import Journal

_STEPS = 20  # replacements of a batch of points per call of the compiled program: what a progress bar moves by
_MAX_CALLS = 2000
_WALKS = 400  # of the prior volume, to see what its chance makes of the evidence
_WORST = -1e100  # in place of minus infinity


def _algorithm(density: Density, settings: NestedSlice) -> Any:
    import blackjax

    def log_prior(u: jax.Array) -> jax.Array:
        return density.log_prior(density.space.values(u)) + density.space.log_volume(u)

    def log_likelihood(u: jax.Array) -> jax.Array:
        value = density.log_likelihood(density.space.values(u))
        return jnp.where(jnp.isfinite(value), value, _WORST)

    moves = settings.moves * len(density.space.kinds)
    return blackjax.nss(
        log_prior, log_likelihood, num_inner_steps=moves, num_delete=settings.batch, update_strategy=_replaced_by_walks
    )


def _replaced_by_walks(step: Any, n_moves: int, n_new: int) -> Any:
    """How blackjax makes new points: walks from survivors, one by one on a CPU: in step all wait for the longest."""

    def update(key: jax.Array, state: Any, threshold: jax.Array, **shape: Any) -> tuple[Any, Any]:
        start_key, walk_key = jax.random.split(key)
        likelihoods = state.particles.loglikelihood
        alive = (likelihoods > threshold) | (jnp.max(likelihoods) <= threshold)
        chosen = jax.random.choice(start_key, len(likelihoods), (n_new,), p=alive / jnp.sum(alive))
        starts = jax.tree.map(lambda array: array[chosen], state.particles)

        def walk(each: Any) -> tuple[Any, Any]:
            own_key, particle = each

            def move(particle: Any, move_key: jax.Array) -> tuple[Any, Any]:
                return step(move_key, particle, loglikelihood_0=threshold, **shape)

            return jax.lax.scan(move, particle, jax.random.split(own_key, n_moves))

        found, _ = _optimum.each(walk)((jax.random.split(walk_key, n_new), starts))
        births = jnp.full_like(found.loglikelihood_birth, threshold)
        forgotten = _forgotten(starts.position, found.position, state.particles.position, alive)
        return found._replace(loglikelihood_birth=births), forgotten

    return update


@functools.partial(program, static_argnames="settings")
def _begin(density: Density, cubes: jax.Array, settings: NestedSlice) -> Any:
    points = jax.vmap(lambda cube: density.space.point(density.prior_quantiles(cube)))(cubes)
    return _algorithm(density, settings).init(points)


@functools.partial(program, static_argnames="settings")
def _go_on(density: Density, state: Any, key: jax.Array, settings: NestedSlice) -> tuple[Any, Any]:
    """`_STEPS` replacements: the live points; those that were replaced, with likelihoods, and what was `_forgotten`."""
    step = _algorithm(density, settings).step

    def body(state: Any, key: jax.Array) -> tuple[Any, Any]:
        state, info = step(key, state)
        return state, (info.particles.position, info.particles.loglikelihood, info.update_info)

    return jax.lax.scan(body, state, jax.random.split(key, _STEPS))


def _forgotten(starts: jax.Array, ends: jax.Array, points: jax.Array, alive: jax.Array) -> jax.Array:
    """One minus the correlation of where walks end and where they start, among the points alive; all (n_points, n)."""
    scale = jnp.maximum(jnp.std(points, axis=0, where=alive[:, None]), 1e-300)
    return 0.5 * jnp.mean(((ends - starts) / scale) ** 2)


def run(
    density: Density, settings: NestedSlice, key: jax.Array, progress: Any, journal: Journal
) -> tuple[Nested, bool]:
    """Points of the unbounded space from the posterior, with the evidence; and whether it was interrupted.

    An interrupt ends it: what has been drawn is weighed as it stands. Raises `ImportError` where blackjax is missing.
    """
    try:
        import blackjax  # noqa: F401
    except ImportError as error:
        raise ImportError("NestedSlice is an extra: pip install 'jaxspec-engine[blackjax]'") from error
    rng = np.random.default_rng(np.asarray(jax.random.bits(key, (4,), jnp.uint32)))
    state = _begin(density, jax.device_put(rng.random((settings.live_points, len(density.space.kinds)))), settings)
    dead: list[tuple[np.ndarray, ...]] = []
    per_call = _STEPS * np.sum(1 / _numbers_alive(settings, 1))  # e-folds of the prior volume
    interrupted = False
    try:
        for i in range(_MAX_CALLS):
            go_on = functools.partial(_go_on, density, state, jax.random.fold_in(key, i), settings)
            state, replaced = journal.step((state, (0, 0, 0)), go_on)
            dead.append(jax.tree.map(np.asarray, replaced))
            live, done = np.asarray(state.particles.loglikelihood), (i + 1) * per_call
            if _remaining(settings, dead, live) < np.log(settings.frac_remain):
                progress(1.0)
                break
            progress(done / (done + efolds_left(live, len(density.space.kinds), settings.frac_remain)))
    except KeyboardInterrupt:
        interrupted = True
    points = [u.reshape(-1, u.shape[-1]) for u, _, _ in dead]
    batches = [batch for _, likelihoods, _ in dead for batch in likelihoods]
    forgotten = float(np.mean([part for _, _, part in dead]))
    live = state.particles
    u = np.concatenate([*points, np.asarray(live.position)])
    found = _weighed(settings, u, batches, np.asarray(live.loglikelihood), rng)
    return dataclasses.replace(found, diagnostics={"forgotten": forgotten}), interrupted


def _remaining(settings: NestedSlice, dead: list[tuple[np.ndarray, ...]], live: np.ndarray) -> float:
    """The logarithm of the share of the evidence that the live points hold, about."""
    batches = [np.sort(batch) for _, likelihoods, _ in dead for batch in likelihoods]
    log_volumes = -np.cumsum(1 / _numbers_alive(settings, len(batches)))
    gone: Any = np.logaddexp.reduce(np.concatenate(batches) + log_volumes - np.log(settings.live_points))
    left: Any = np.logaddexp.reduce(live) - np.log(settings.live_points) + log_volumes[-1]
    return float(left - np.logaddexp(gone, left))


def _numbers_alive(settings: NestedSlice, n_batches: int) -> np.ndarray:
    """How many points are alive as each of them dies: within a batch one after the other, without replacement."""
    return np.tile(settings.live_points - np.arange(settings.batch), n_batches).astype(float)


def _weighed(
    settings: NestedSlice, u: np.ndarray, batches: list[np.ndarray], live: np.ndarray, rng: np.random.Generator
) -> Nested:
    """Weights by many random walks of the prior volume (Skilling 2006), and draws of equal weight."""
    orders = [np.argsort(batch) + i * settings.batch for i, batch in enumerate(batches)]
    last = np.argsort(live) + len(batches) * settings.batch
    order = np.concatenate([*orders, last]).astype(int)
    logs = np.concatenate([*batches, live])[order]
    alive = np.concatenate([_numbers_alive(settings, len(batches)), np.arange(len(live), 0, -1.0)])
    shrunk = np.cumsum(np.log(rng.random((_WALKS, len(logs)))) / alive, axis=1)
    before = np.concatenate([np.zeros((_WALKS, 1)), shrunk[:, :-1]], axis=1)
    shells = before + np.log(-np.expm1(np.minimum(shrunk - before, -1e-300)))
    weights = logs + shells
    evidences: Any = np.logaddexp.reduce(weights, axis=1)
    shares: Any = np.logaddexp.reduce(weights - evidences[:, None], axis=0)
    mean = np.exp(shares - np.log(_WALKS))
    mean /= mean.sum()
    ess = float(1 / np.sum(mean**2))
    n = max(int(ess), 1)
    chosen = np.searchsorted(np.cumsum(mean), (rng.random() + np.arange(n)) / n).clip(max=len(mean) - 1)
    return Nested(
        theta=u[order][rng.permutation(chosen)],
        log_evidence=float(np.mean(evidences)),
        log_evidence_error=float(np.std(evidences)),
        ess=ess,
    )
