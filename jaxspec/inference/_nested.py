"""Nested sampling by UltraNest, on a vectorised likelihood."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxspec.density import Density
from jaxspec.methods import UltraNest
from jaxspec.problem import Problem

_WORST = -1e100  # in place of minus infinity, which UltraNest does not take


@dataclasses.dataclass(frozen=True, eq=False)
class Nested:
    """What nested sampling found."""

    theta: np.ndarray  # (draws, n) equally weighted
    log_evidence: float  # natural logarithm
    log_evidence_error: float
    likelihood_calls: int
    ess: float


@jax.jit
def _log_likelihoods(density: Density, thetas: jax.Array) -> jax.Array:
    values = jax.vmap(density.log_likelihood)(thetas)
    return jnp.where(jnp.isfinite(values), values, _WORST)


@jax.jit
def _from_cube(density: Density, cubes: jax.Array) -> jax.Array:
    return jax.vmap(density.prior_quantiles)(cubes)


def _padded(program: Any, density: Density, points: np.ndarray) -> np.ndarray:
    """`program` on points whose number is padded to a power of two, so that few shapes are compiled."""
    n = len(points)
    size = max(128, 1 << (n - 1).bit_length())
    padded = np.concatenate([points, np.broadcast_to(points[:1], (size - n, points.shape[1]))])
    return np.array(program(density, padded))[:n]  # cut by numpy: JAX would compile a cut of every length


def run(problem: Problem, settings: UltraNest, key: jax.Array, show: bool) -> Nested:
    """Samples the posterior. Raises `ImportError` where UltraNest is not installed."""
    try:
        from ultranest import ReactiveNestedSampler
    except ImportError as error:
        raise ImportError(
            "UltraNest is an extra: pip install 'jaxspec-engine[ultranest]' (needs a C compiler)"
        ) from error
    with _numpy_seed(key):
        sampler = ReactiveNestedSampler(
            list(problem.names),
            lambda thetas: _padded(_log_likelihoods, problem.density, thetas),
            lambda cubes: _padded(_from_cube, problem.density, cubes),
            vectorized=True,
        )
        sampler.logger.setLevel(logging.WARNING)  # it logs each iteration, and sets its level when it is made
        found: Any = sampler.run(
            min_num_live_points=settings.live_points,
            frac_remain=settings.frac_remain,
            dlogz=settings.dlogz,
            min_ess=settings.min_ess,
            show_status=show,
            viz_callback=False,  # pyright: ignore[reportArgumentType]
        )
    return Nested(
        theta=np.asarray(found["samples"]),
        log_evidence=float(found["logz"]),
        log_evidence_error=float(found["logzerr"]),
        likelihood_calls=int(found["ncall"]),
        ess=float(found["ess"]),
    )


@contextlib.contextmanager
def _numpy_seed(key: jax.Array) -> Iterator[None]:
    """UltraNest draws from numpy's global state: it is set by the key, and given back as it was."""
    before = np.random.get_state()  # noqa: NPY002
    np.random.seed(int(jax.random.bits(key, dtype=jnp.uint32)))  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(before)  # noqa: NPY002
