"""Draws as arviz knows them: the only file that imports it, because its data structure changed with version 1."""

from __future__ import annotations

import importlib.metadata
from typing import TYPE_CHECKING, Any

import arviz
import jax
import jax.numpy as jnp
import numpy as np

if TYPE_CHECKING:
    from jaxspec.results._result import Result


def convert(result: Result) -> Any:
    """Posterior draws of free and linked parameters, and the log-likelihood of each bin, for arviz."""
    samples = result.chains()
    rows = list(result.problem.model.parameters)
    groups = {
        "posterior": {name: samples[..., rows.index(name)] for name in result.varied},
        "log_likelihood": _per_bin(result, samples),
    }
    if int(importlib.metadata.version("arviz").split(".")[0]) < 1:
        return arviz.from_dict(**groups)  # pyright: ignore[reportArgumentType]
    return arviz.from_dict(groups)


def _per_bin(result: Result, samples: np.ndarray) -> dict[str, np.ndarray]:
    density = result.problem.density
    values = _log_likelihoods(density, jnp.asarray(samples.reshape(-1, samples.shape[-1])))
    pieces = np.split(np.asarray(values), np.cumsum(density.sizes)[:-1], axis=1)
    return {label: piece.reshape(*samples.shape[:2], -1) for label, piece in zip(result.problem.labels, pieces)}


@jax.jit
def _log_likelihoods(density: Any, points: jax.Array) -> jax.Array:
    def one(values: jax.Array) -> jax.Array:
        return density.saturated - 0.5 * density.statistic_per_bin(density.expected_counts(values))

    return jax.lax.map(one, points, batch_size=1024)
