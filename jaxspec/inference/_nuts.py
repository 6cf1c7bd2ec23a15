"""The no-U-turn sampler, started at the best fit in the space that the covariance there makes round."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxspec._setup import program
from jaxspec.density import Density
from jaxspec.inference import _optimum
from jaxspec.methods import NUTS

if TYPE_CHECKING:
    from numpyro.infer.hmc import HMCState

_CHUNK = 50  # steps of all chains per call of the compiled program: what a progress bar moves by


class Chains(NamedTuple):
    """What the chains drew, each array with leading axes (chains, draws)."""

    u: np.ndarray  # points of the unbounded space
    potential: np.ndarray
    diverging: np.ndarray
    steps: np.ndarray  # gradients taken


class _Whitened(NamedTuple):
    """The unbounded space seen from an optimum: u = centre + scale z, so that z is about normal."""

    centre: jax.Array | np.ndarray
    scale: jax.Array | np.ndarray
    cost: jax.Array | np.ndarray  # at the centre


def whiten(optimum: _optimum.Optimum) -> _Whitened:
    """The frame in which the density around an optimum is a unit normal.

    Directions that the data do not constrain get a width of at most 3 e-folds: what is not constrained is not a step.
    """
    values, vectors = np.linalg.eigh(np.asarray(optimum.curvature))
    widths = 1.0 / np.sqrt(np.maximum(values, 1.0 / 9.0))
    return _Whitened(optimum.u, vectors * widths, optimum.cost)


def _kernel(density: Density, frame: _Whitened, settings: NUTS, key: jax.Array) -> tuple[Any, Any]:
    """The first state of all chains, at the optimum, and the function that moves them by one draw."""
    from numpyro.infer.hmc import hmc

    @jax.jit  # so that its gradient is traced once, not wherever numpyro asks for it
    def whitened(z: jax.Array) -> jax.Array:
        return _optimum.cost(density, jnp.add(frame.centre, frame.scale @ z), "sampled") - frame.cost

    # At the optimum the unit normal has the potential and the slope of the density, both zero: the first state is made
    # with it, and the density is compiled once, in the step.
    potentials = [whitened, lambda z: 0.5 * z @ z]
    init, step = hmc(lambda z: potentials[-1](z), algo="NUTS")

    def first(key: jax.Array) -> HMCState:
        return init(
            jnp.zeros_like(frame.centre),
            settings.warmup,
            step_size=0.5,
            target_accept_prob=settings.target_accept,
            max_tree_depth=settings.max_tree_depth,
            find_heuristic_step_size=False,
            rng_key=key,
        )

    state = jax.vmap(first)(jax.random.split(key, settings.chains))
    potentials.pop()
    return state, _optimum.each(step)


@functools.partial(program, static_argnames="settings")
def _chunk(
    density: Density, frame: _Whitened, settings: NUTS, key: jax.Array, state: Any, begin: np.bool
) -> tuple[Any, Chains]:
    """`_CHUNK` steps of all chains. Where `begin` is true they start at the optimum, else they go on from `state`.

    Start, warm-up and draws share this one program: each further one would compile the kernel again.
    """
    first, step = _kernel(density, frame, settings, key)
    state = jax.tree.map(lambda a, b: jnp.where(begin, a, b), first, state)

    def body(state, _):
        state = step(state)
        return state, (state.z, state.potential_energy, state.diverging, state.num_steps)

    state, (z, potential, diverging, steps) = jax.lax.scan(body, state, length=_CHUNK)
    return state, Chains(frame.centre + z @ frame.scale.T, potential, diverging, steps)


def run(density: Density, optimum: _optimum.Optimum, settings: NUTS, key: jax.Array, progress: Any) -> Chains:
    """Warm-up and draws of all chains; `progress(n)` is told how many steps have been made.

    An interrupt after the warm-up ends the chains where they are.
    """
    frame = whiten(optimum)
    state = _no_state(density, frame, settings, key)
    pieces, done = [], 0
    while done < settings.warmup + settings.draws:
        try:
            state, piece = _chunk(density, frame, settings, key, state, np.bool(done == 0))
            pieces.append(jax.tree.map(np.asarray, piece))
            done += _CHUNK
            progress(_CHUNK)
        except KeyboardInterrupt:
            done = _CHUNK * len(pieces)
            if done <= settings.warmup:
                raise
            break
    joined = jax.tree.map(lambda *parts: np.concatenate(parts).swapaxes(0, 1), *pieces)
    return jax.tree.map(lambda array: array[:, settings.warmup : settings.warmup + settings.draws], joined)


def compile_ahead(density: Density, settings: NUTS, key: jax.Array) -> None:
    """Compiles what `run` will call; meant for a thread, while the optimum is sought.

    The way to have a program compiled is to call it: with a density that is NaN, every trajectory ends at once.
    """
    n = len(density.space.kinds)
    frame = _Whitened(np.zeros(n), np.eye(n), np.array(np.nan))
    jax.block_until_ready(
        _chunk(density, frame, settings, key, _no_state(density, frame, settings, key), np.bool(True))
    )


def _no_state(density: Density, frame: _Whitened, settings: NUTS, key: jax.Array) -> Any:
    """A state of the right shapes, for the argument of `_chunk` that a first call does not read."""
    shapes = jax.eval_shape(lambda d, f, k: _kernel(d, f, settings, k)[0], density, frame, key)
    return jax.tree.map(lambda leaf: _zeros(leaf, key), shapes)


def _zeros(leaf: Any, key: jax.Array) -> Any:
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return jnp.broadcast_to(key, leaf.shape)
    return np.zeros(leaf.shape, leaf.dtype)
