"""Data as a model would give them, and fits of many such data sets in one compiled program."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxspec.data import Selection
from jaxspec.density import Density
from jaxspec.inference import _optimum
from jaxspec.problem import Problem
from jaxspec.programs import program
from jaxspec.results._goodness import smoothed

_MOST_COUNTS = 1e15  # in a bin: of more, numpy draws no Poisson numbers
_CHUNK = 200  # data sets per call of the compiled program: what a progress bar moves by
Data = tuple[tuple[np.ndarray, ...], ...]  # of each group of bins that share a statistic, with a leading axis over sets


def random_numbers(key: jax.Array) -> np.random.Generator:
    """The generator that a JAX key stands for."""
    typed = jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
    return np.random.default_rng(np.asarray(jax.random.key_data(key) if typed else key).tolist())


def draw_from_priors(density: Density, n: int, rng: np.random.Generator) -> np.ndarray:
    """Vectors of free parameters, (n, n_free), which all have a prior."""
    return by_chunks(_quantiles, density, rng.random((n, len(density.space.kinds))))


@jax.jit
def _quantiles(density: Density, cubes: jax.Array) -> jax.Array:
    return jax.vmap(density.prior_quantiles)(cubes)


def draw_data(problem: Problem, thetas: np.ndarray, rng: np.random.Generator) -> Data:
    """One data set for each vector of free parameters, (n_sets, n), as `draw_each` draws it."""
    return by_statistic(problem.density, draw_each(problem, expected_counts(problem.density, thetas), rng))


def expected_counts(density: Density, thetas: np.ndarray) -> np.ndarray:
    """(n_sets, n_bins) for each vector of free parameters."""
    return by_chunks(_expected, density, thetas)


def draw_each(problem: Problem, expected: np.ndarray, rng: np.random.Generator) -> list[tuple[np.ndarray, ...]]:
    """By observation, what its statistic compares with the expected counts, (n_sets, n_bins) each.

    Counts are Poisson. Background counts are drawn around what was measured, smoothed over neighbouring bins, and then
    enter as measured ones; Gaussian ones around the measured values. Upper limits stay as they are.

    Raises `ValueError` for the L statistic, and where expected counts are not finite.
    """
    if not np.isfinite(expected).all():
        n = int(np.sum(~np.isfinite(expected).all(axis=1)))
        raise ValueError(
            f"{n} of {len(expected)} sets of parameters give no finite number of counts: narrow priors or bounds"
        )
    ends = np.cumsum(problem.density.sizes)
    return [
        _drawn(selection, expected[:, end - size : end], rng)
        for selection, size, end in zip(problem.selections, problem.density.sizes, ends)
    ]


def by_statistic(density: Density, drawn: list[tuple[np.ndarray, ...]]) -> Data:
    """What was drawn for each observation, joined as the density holds its data."""
    return tuple(
        tuple(np.concatenate(arrays, axis=1) for arrays in zip(*(drawn[i] for i in group.members)))
        for group in density.fitted
    )


def _drawn(selection: Selection, expected: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """The arguments of the statistic after the expected counts."""
    expected = np.clip(expected, 0.0, _MOST_COUNTS)

    def all_sets(array: Any) -> np.ndarray:
        return np.broadcast_to(np.asarray(array, float), expected.shape)

    kind, ratio, background = selection.statistic, selection.ratio, selection.background
    if kind == "cstat":
        return (rng.poisson(expected).astype(float),)
    if kind.startswith("chi2"):
        return _drawn_gaussian(selection, expected, rng)
    if kind == "flux points":
        below, above, limits = map(all_sets, (selection.errors, selection.errors_above, selection.upper_limits))
        size = np.abs(rng.standard_normal(expected.shape))
        upwards = rng.random(expected.shape) < below / (below + above)  # with the error on the side of the model
        values = expected + size * np.where(upwards, below, -above)
        return np.where(limits > 0, selection.counts, values), below, above, limits
    if kind == "lstat" or ratio is None or background is None:
        raise ValueError(f"data for {kind} cannot be drawn: fit with another statistic, like 'wstat'")
    if kind == "wstat":
        behind = smoothed(background, np.bincount(selection.groups[selection.groups >= 0]))
        seen = rng.poisson(all_sets(behind)).astype(float)
        return rng.poisson(expected + ratio * behind).astype(float), seen, all_sets(ratio)
    behind = np.maximum(background, 0.0)
    counts = rng.poisson(expected + ratio * behind).astype(float)
    if kind == "pstat":
        return counts, all_sets(ratio * background)
    errors = all_sets(selection.background_errors)
    return counts, rng.normal(all_sets(behind), errors), errors, all_sets(ratio)


def _drawn_gaussian(selection: Selection, expected: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    systematic = np.full(expected.shape, selection.systematic)
    if selection.statistic == "chi2 model":
        assert selection.added_variance is not None  # it has them
        added = np.broadcast_to(selection.added_variance, expected.shape)
        return rng.normal(expected, np.sqrt(expected + added + (systematic * expected) ** 2)), added, systematic
    assert selection.errors is not None  # a selection for chi-squared has them
    variance = selection.errors**2
    if selection.ratio is not None and selection.background_errors is not None:
        variance = variance + (selection.ratio * selection.background_errors) ** 2
    variance = np.broadcast_to(variance, expected.shape)
    return rng.normal(expected, np.sqrt(variance + (systematic * expected) ** 2)), variance, systematic


@jax.jit
def _expected(density: Density, thetas: jax.Array) -> jax.Array:
    return jax.lax.map(lambda theta: density.expected_counts(density.layout.fill(theta)), thetas)


def with_data(density: Density, data: tuple[tuple[Any, ...], ...]) -> Density:
    """The density of other data, without the log-likelihood of a perfect fit: half the statistic is its cost."""
    fitted = tuple(dataclasses.replace(group, data=arrays) for group, arrays in zip(density.fitted, data))
    return dataclasses.replace(density, fitted=fitted, saturated=jnp.zeros_like(density.saturated))


@functools.partial(program, static_argnames="target")
def _refits(
    density: Density, data: tuple[tuple[jax.Array, ...], ...], starts: jax.Array, target: str
) -> tuple[_optimum.Optimum, jax.Array]:
    def one(each: Any) -> tuple[_optimum.Optimum, jax.Array]:
        arrays, points = each
        other = with_data(density, arrays)
        found = _optimum.each(functools.partial(_optimum.climb_from, other, target, None))(points)
        best = jnp.argmin(jnp.where(jnp.isfinite(found.cost), found.cost, jnp.inf))
        found = jax.tree.map(lambda array: array[best], found)
        expected = other.expected_counts(other.layout.fill(other.space.values(found.u)))
        return found, jnp.sum(other.statistic_per_bin(expected))

    return jax.lax.map(one, (data, starts))


def refit(
    density: Density, data: Data, starts: np.ndarray, target: str, progress: Any
) -> tuple[_optimum.Optimum, np.ndarray]:
    """The best of the climbs from `starts` (n_sets, n_starts, n) for each data set, and its statistic (n_sets,)."""
    return by_chunks(_refits, density, data, starts, progress=progress, target=target)


def by_chunks(program: Any, density: Density, *arrays: Any, progress: Any = None, **settings: Any) -> Any:
    """`program(density, *arrays)` for some rows of the arrays at a time, always as many: one shape is compiled."""
    n = len(jax.tree.leaves(arrays)[0])
    pieces = []
    for begin in range(0, n, _CHUNK):
        rows = np.minimum(np.arange(begin, begin + _CHUNK), n - 1)
        arguments = jax.device_put(jax.tree.map(lambda array, rows=rows: array[rows], arrays))
        pieces.append(jax.tree.map(np.asarray, program(density, *arguments, **settings)))
        if progress is not None:
            progress(_CHUNK)
    return jax.tree.map(lambda *parts: np.concatenate(parts)[:n], *pieces)
