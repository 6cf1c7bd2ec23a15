"""Draws as arviz knows them: the only file that imports it, because its data structure changed with version 1."""

from __future__ import annotations

import importlib.metadata
import warnings
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


def loo(result: Result) -> tuple[float, float, float, float]:
    """PSIS-LOO over all bins: expected log predictive density, its standard error, effective parameters, worst k."""
    samples = result.chains()
    values = np.concatenate(list(_per_bin(result, samples).values()), axis=-1)
    draws = {"draws": samples[..., 0]}
    if int(importlib.metadata.version("arviz").split(".")[0]) < 1:
        data = arviz.from_dict(posterior=draws, log_likelihood={"bins": values})
    else:
        data = arviz.from_dict({"posterior": draws, "log_likelihood": {"bins": values}})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of large k: the caller has it
        found: Any = arviz.loo(data, pointwise=True)
    elpd, p = (getattr(found, name, None) for name in ("elpd_loo", "p_loo"))
    elpd, p = (found.elpd, found.p) if elpd is None or p is None else (elpd, p)
    return float(elpd), float(found.se), float(p), float(np.max(np.asarray(found.pareto_k)))


def log_likelihood_per_bin(result: Result) -> np.ndarray:
    """(n_draws, n_bins) of all observations."""
    samples = result.chains()
    return np.asarray(_log_likelihoods(result.problem.density, samples.reshape(-1, samples.shape[-1])))
