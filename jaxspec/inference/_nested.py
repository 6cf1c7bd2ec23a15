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

from jaxspec.density import Packed
from jaxspec.methods import UltraNest
from jaxspec.problem import Problem
from jaxspec.results._checkpoint import Journal

_WORST = -1e100  # in place of minus infinity, which UltraNest does not take
_LEAST = 512  # points for which room is made
_NO_MORE = 10**15  # likelihood calls, after which UltraNest ends


@dataclasses.dataclass(frozen=True, eq=False)
class Nested:
    """What nested sampling found."""

    theta: np.ndarray  # (draws, n) equally weighted
    log_evidence: float  # natural logarithm
    log_evidence_error: float
    ess: float
    diagnostics: dict[str, float] = dataclasses.field(default_factory=dict)


@jax.jit
def _log_likelihoods(packed: Packed, thetas: jax.Array, n_blocks: int) -> jax.Array:
    def some(points: jax.Array) -> jax.Array:
        values = jax.vmap(packed.open().log_likelihood)(points)
        return jnp.where(jnp.isfinite(values), values, _WORST)

    return _of_blocks(some, thetas, n_blocks, jnp.zeros(len(thetas)))


@jax.jit
def _from_cube(packed: Packed, cubes: jax.Array, n_blocks: int) -> jax.Array:
    return _of_blocks(jax.vmap(packed.open().prior_quantiles), cubes, n_blocks, jnp.zeros_like(cubes))


def _of_blocks(function: Any, points: jax.Array, n_blocks: int, results: jax.Array) -> jax.Array:
    """`function` of the first blocks of points: UltraNest asks for any number of them, and one program does it."""
    size = _block()

    def one(i: int, results: jax.Array) -> jax.Array:
        block = jax.lax.dynamic_slice_in_dim(points, i * size, size)
        return jax.lax.dynamic_update_slice_in_dim(results, function(block), i * size, 0)

    return jax.lax.fori_loop(0, n_blocks, one, results)


def _block() -> int:
    """How many points are computed together: on a CPU, one by one is fastest."""
    return 1 if jax.default_backend() == "cpu" else _LEAST


def _padded(program: Any, packed: Packed, points: np.ndarray) -> np.ndarray:
    """`program` on points whose number is padded to a power of two, so that few shapes are compiled."""
    n = len(points)
    padded = np.zeros((max(_LEAST, 1 << (n - 1).bit_length()), points.shape[1]))
    padded[:n], padded[n:] = points, points[0]
    return np.array(program(packed, padded, np.int64(-(-n // _block()))))[:n]  # JAX would compile a cut of every length


def efolds_left(live: np.ndarray, n: int, frac_remain: float) -> float:
    """How many e-folds the prior volume will shrink, about, until the live points hold `frac_remain` of the evidence.

    As for a normal posterior of n parameters: above the likelihood L_max e^-d lies a volume that grows as d^(n/2) and
    holds the share P(n/2, d) of the evidence, P the incomplete gamma function. The best of the points and their median
    tell d.

    Args:
        live: the log-likelihoods of the live points.
    """
    from scipy.special import gammaincinv

    inside = 0.5 ** (2 / n) - len(live) ** (-2 / n)
    depth = max((np.max(live) - np.median(live)) / inside, 1e-300)
    return max(0.5 * n * float(np.log(depth / gammaincinv(0.5 * n, frac_remain))), 0.0)


def run(
    problem: Problem, settings: UltraNest, key: jax.Array, progress: Callable[[float], None], journal: Journal
) -> tuple[Nested, bool]:
    """Samples the posterior, and tells whether it was interrupted: then what has been drawn is weighed as it stands.

    `progress` is told the share of the work that is done, about.

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
    packed = Packed(problem.density)

    def log_likelihoods(thetas: np.ndarray) -> np.ndarray:
        if interrupted.is_set():
            for sampler in samplers:  # so that it explores no further, and sums up
                sampler.ncall = sampler.ncall % _NO_MORE + _NO_MORE
        return _kept(journal, thetas, lambda: _padded(_log_likelihoods, packed, thetas))

    def look(points: dict[str, Any], info: dict[str, Any], **_: Any) -> None:
        done = -info["logvol"]
        left = 1 + efolds_left(points["logl"], len(problem.names), settings.frac_remain)  # 1 for the last live points
        progress(done / (done + left))

    with _numpy_seed(key), _interrupts() as interrupted:
        sampler = ReactiveNestedSampler(
            list(problem.names),
            log_likelihoods,
            lambda cubes: _padded(_from_cube, packed, cubes),
            vectorized=True,
            ndraw_min=_LEAST,  # most of its time UltraNest spends on each call, however few points it asks for
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
            show_status=False,
            viz_callback=look,  # pyright: ignore[reportArgumentType]
        )
    nested = Nested(
        theta=np.asarray(found["samples"]),
        log_evidence=float(found["logz"]),
        log_evidence_error=float(found["logzerr"]),
        ess=float(found["ess"]),
        diagnostics={
            "likelihood_calls": int(found["ncall"]) % _NO_MORE,
            "misplaced": not found["insertion_order_MWW_test"]["converged"],
        },
    )
    if not interrupted.is_set():
        progress(1.0)
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
