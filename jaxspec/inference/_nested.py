"""Nested sampling by UltraNest, on a vectorised likelihood."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import logging
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxspec.density import Density
from jaxspec.methods import UltraNest
from jaxspec.problem import Problem
from jaxspec.results._checkpoint import Journal

_WORST = -1e100  # in place of minus infinity, which UltraNest does not take
_NO_MORE = 10**15  # likelihood calls, after which UltraNest ends


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


def run(problem: Problem, settings: UltraNest, key: jax.Array, show: bool, journal: Journal) -> tuple[Nested, bool]:
    """Samples the posterior, and tells whether it was interrupted: then what has been drawn is weighed as it stands.

    Raises `ImportError` where UltraNest is not installed, `ValueError` where it does not ask for the points again that
    the journal has likelihoods of.
    """
    try:
        from ultranest import ReactiveNestedSampler
    except ImportError as error:
        raise ImportError(
            "UltraNest is an extra: pip install 'jaxspec-engine[ultranest]' (needs a C compiler)"
        ) from error
    samplers: list[Any] = []

    def log_likelihoods(thetas: np.ndarray) -> np.ndarray:
        if interrupted.is_set():
            for sampler in samplers:  # so that it explores no further, and sums up
                sampler.ncall = sampler.ncall % _NO_MORE + _NO_MORE
        return _kept(journal, thetas, lambda: _padded(_log_likelihoods, problem.density, thetas))

    with _numpy_seed(key), _interrupts() as interrupted:
        sampler = ReactiveNestedSampler(
            list(problem.names),
            log_likelihoods,
            lambda cubes: _padded(_from_cube, problem.density, cubes),
            vectorized=True,
        )
        samplers.append(sampler)
        sampler.logger.setLevel(logging.WARNING)  # it logs each iteration, and sets its level when it is made
        found: Any = sampler.run(
            min_num_live_points=settings.live_points,
            frac_remain=settings.frac_remain,
            dlogz=settings.dlogz,
            min_ess=settings.min_ess,
            max_ncalls=_NO_MORE,
            log_interval=1,  # by default the clock has a say in how many points it asks for at once
            show_status=show,
            viz_callback=False,  # pyright: ignore[reportArgumentType]
        )
    nested = Nested(
        theta=np.asarray(found["samples"]),
        log_evidence=float(found["logz"]),
        log_evidence_error=float(found["logzerr"]),
        likelihood_calls=int(found["ncall"]) % _NO_MORE,
        ess=float(found["ess"]),
    )
    return nested, interrupted.is_set()


def _kept(journal: Journal, thetas: np.ndarray, compute: Callable[[], np.ndarray]) -> np.ndarray:
    """Likelihoods from the journal where it has them, else computed: by the same key UltraNest asks for the same."""
    asked = np.frombuffer(hashlib.sha256(thetas.tobytes()).digest(), np.uint8)
    known, values = journal.step((0, 0), lambda: (asked, compute()))
    if not np.array_equal(known, asked):
        raise ValueError(
            "UltraNest goes another way than when the file was begun (another version, or machine?): delete the file"
        )
    return values


@contextlib.contextmanager
def _interrupts() -> Iterator[threading.Event]:
    """Ctrl-C sets what this gives, the second one interrupts. Only the main thread hears of it."""
    happened = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield happened
        return
    before = signal.getsignal(signal.SIGINT)

    def heard(*_: Any) -> None:
        happened.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, heard)
    try:
        yield happened
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def _numpy_seed(key: jax.Array) -> Iterator[None]:
    """UltraNest draws from numpy's global state: it is set by the key, and given back as it was."""
    before = np.random.get_state()  # noqa: NPY002
    np.random.seed(int(jax.random.bits(key, dtype=jnp.uint32)))  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(before)  # noqa: NPY002
