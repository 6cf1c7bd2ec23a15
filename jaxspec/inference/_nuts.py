"""The no-U-turn sampler, started at the best fit in the space that the covariance there makes round."""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxspec.density import Density
from jaxspec.inference import _optimum

if TYPE_CHECKING:
    from numpyro.infer.hmc import HMCState

_CHUNK = 50  # steps of all chains per call of the compiled program: what a progress bar moves by


@dataclasses.dataclass(frozen=True)
class NUTS:
    """The no-U-turn sampler (Hoffman & Gelman 2014) of numpyro.

    Args:
        draws: kept per chain.
        warmup: steps per chain that adapt step size and mass matrix, and are thrown away.
        chains: run side by side in one compiled program.
        target_accept: mean acceptance probability that the step size is adapted to; raise it where chains diverge.
        max_tree_depth: a trajectory has at most 2 to this power steps.
    """

    draws: int = 1000
    warmup: int = 500
    chains: int = 4
    target_accept: float = 0.8
    max_tree_depth: int = 10

    def __post_init__(self) -> None:
        for field in ("draws", "warmup", "chains", "max_tree_depth"):
            value = getattr(self, field)
            if not (isinstance(value, int) and value > 0):
                raise ValueError(f"NUTS({field}=...) must be a positive whole number, got {value!r}")
        if not 0 < self.target_accept < 1:
            raise ValueError(f"NUTS(target_accept=...) must lie between 0 and 1, got {self.target_accept}")


class Chains(NamedTuple):
    """What the chains drew, each array with leading axes (chains, draws)."""

    u: np.ndarray  # points of the unbounded space
    potential: np.ndarray
    diverging: np.ndarray
    steps: np.ndarray  # gradients taken


class _Whitened(NamedTuple):
    """The unbounded space seen from an optimum: u = centre + scale z, so that z is about normal."""

    centre: jax.Array
    scale: jax.Array


def whiten(centre: jax.Array, curvature: jax.Array) -> _Whitened:
    """The frame in which the density around an optimum is a unit normal.

    Directions that the data do not constrain get a width of at most 3 e-folds: what is not constrained is not a step.
    """
    values, vectors = np.linalg.eigh(np.asarray(curvature))
    widths = 1.0 / np.sqrt(np.maximum(values, 1.0 / 9.0))
    return _Whitened(centre, jnp.asarray(vectors * widths))


def _kernel(density: Density, frame: _Whitened, settings: NUTS, keys: jax.Array, start: jax.Array) -> Any:
    """The kernel of all chains and their first state."""
    from numpyro.infer.hmc import hmc

    def potential(z: jax.Array) -> jax.Array:
        return _optimum.cost(density, frame.centre + frame.scale @ z, "sampled")

    init, step = hmc(jax.jit(potential), algo="NUTS")

    def first(key: jax.Array, z: jax.Array) -> HMCState:
        return init(
            z, settings.warmup, step_size=0.5, dense_mass=False, target_accept_prob=settings.target_accept,
            max_tree_depth=settings.max_tree_depth, find_heuristic_step_size=False, rng_key=key,
        )  # fmt: skip

    return jax.vmap(first)(keys, start), jax.vmap(step)


@functools.partial(jax.jit, static_argnames="settings")
def _chunk(
    density: Density, frame: _Whitened, settings: NUTS, keys: jax.Array, start: jax.Array, state: Any, begin: jax.Array
) -> tuple[Any, Chains]:
    """`_CHUNK` steps of all chains. Where `begin` is true they start at `start`, else they go on from `state`.

    Start, warm-up and draws share this one program: each further one would compile the kernel again.
    """
    first, step = _kernel(density, frame, settings, keys, start)
    state = jax.tree.map(lambda a, b: jnp.where(begin, a, b), first, state)

    def body(state, _):
        state = step(state)
        return state, (state.z, state.potential_energy, state.diverging, state.num_steps)

    state, (z, potential, diverging, steps) = jax.lax.scan(body, state, length=_CHUNK)
    return state, Chains(frame.centre + z @ frame.scale.T, potential, diverging, steps)


def run(density: Density, optimum: _optimum.Optimum, settings: NUTS, key: jax.Array, progress: Any) -> Chains:
    """Warm-up and draws of all chains; `progress(n)` is told how many steps have been made."""
    frame = whiten(optimum.u, optimum.curvature)
    key, jitter = jax.random.split(key)
    keys = jax.random.split(key, settings.chains)
    start = jax.random.normal(jitter, (settings.chains, len(optimum.u)))
    arguments = (density, frame, settings, keys, start)
    shape = jax.eval_shape(lambda d, f, k, s: _kernel(d, f, settings, k, s)[0], density, frame, keys, start)
    state = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shape)
    pieces, done = [], 0
    while done < settings.warmup + settings.draws:
        state, piece = _chunk(*arguments, state, jnp.asarray(done == 0))
        pieces.append(jax.tree.map(np.asarray, piece))
        done += _CHUNK
        progress(_CHUNK)
    joined = jax.tree.map(lambda *parts: np.concatenate(parts).swapaxes(0, 1), *pieces)
    return jax.tree.map(lambda array: array[:, settings.warmup : settings.warmup + settings.draws], joined)
