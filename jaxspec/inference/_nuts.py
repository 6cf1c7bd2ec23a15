"""The no-U-turn sampler, started at the best fit in the space that the covariance there makes round."""

from __future__ import annotations

import concurrent.futures
import functools
import os
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxspec.density import Density
from jaxspec.inference import _optimum
from jaxspec.methods import NUTS
from jaxspec.programs import program
from jaxspec.results._checkpoint import Journal, NoJournal

if TYPE_CHECKING:
    from numpyro.infer.hmc import HMCState

STEPS = 50  # steps of all chains per call of the compiled program: what a progress bar moves by


class Chains(NamedTuple):
    """What the chains drew, each array with leading axes (chains, draws)."""

    u: np.ndarray  # points of the unbounded space
    potential: np.ndarray
    diverging: np.ndarray
    steps: np.ndarray  # gradients taken


class Whitened(NamedTuple):
    """The unbounded space seen from an optimum: u = centre + scale z, so that z is about normal."""

    centre: jax.Array | np.ndarray
    scale: jax.Array | np.ndarray
    cost: jax.Array | np.ndarray  # at the centre


def whiten(optimum: _optimum.Optimum) -> Whitened:
    """The frame in which the density around an optimum is a unit normal.

    Directions that the data do not constrain get a width of at most 3 e-folds: what is not constrained is not a step.
    """
    values, vectors = np.linalg.eigh(np.asarray(optimum.curvature))
    widths = 1.0 / np.sqrt(np.maximum(values, 1.0 / 9.0))
    return Whitened(optimum.u, vectors * widths[..., None, :], optimum.cost)


def sampler(potential: Any, settings: NUTS) -> tuple[Any, Any]:
    """The function that gives the first state of a chain, from a position and a key, and the one that draws."""
    from numpyro.infer.hmc import hmc

    init, step = hmc(potential, algo="NUTS")

    def first(position: Any, key: jax.Array) -> HMCState:
        return init(
            position,
            settings.warmup,
            step_size=0.5,
            target_accept_prob=settings.target_accept,
            max_tree_depth=settings.max_tree_depth,
            find_heuristic_step_size=False,
            rng_key=key,
        )

    return first, step


def kernel(density: Density, frame: Whitened, settings: NUTS, keys: jax.Array) -> tuple[Any, Any]:
    """The first state of chains, one for each key, at the optimum, and the function that moves them by one draw."""

    def whitened(z: jax.Array) -> jax.Array:
        return _optimum.cost(density, jnp.add(frame.centre, frame.scale @ z), "sampled") - frame.cost

    # At the optimum the unit normal has the potential and the slope of the density, both zero: the first state is made
    # with it, and the density is compiled once, in the step.
    potentials = [whitened, lambda z: 0.5 * z @ z]
    first, step = sampler(lambda z: potentials[-1](z), settings)
    origin = jnp.zeros_like(frame.centre)
    state = jax.vmap(lambda key: first(origin, key))(keys)
    potentials.pop()
    return state, _optimum.each(step)


def some_steps(
    density: Density, frame: Whitened, settings: NUTS, keys: jax.Array, state: Any, begin: Any
) -> tuple[Any, Chains]:
    """`STEPS` steps of chains. Where `begin` is true they start at the optimum, else they go on from `state`.

    Start, warm-up and draws share this one program: each further one would compile the kernel again.
    """
    first, step = kernel(density, frame, settings, keys)
    state = jax.tree.map(lambda a, b: jnp.where(begin, a, b), first, state)

    def body(state, _):
        state = step(state)
        return state, (state.z, state.potential_energy, state.diverging, state.num_steps)

    state, (z, potential, diverging, steps) = jax.lax.scan(body, state, length=STEPS)
    return state, Chains(frame.centre + z @ frame.scale.T, potential, diverging, steps)


_chunk = functools.partial(program, static_argnames="settings")(some_steps)


def run(
    density: Density,
    optimum: _optimum.Optimum,
    settings: NUTS,
    key: jax.Array,
    progress: Any,
    journal: Journal | None = None,
) -> Chains:
    """Warm-up and draws of all chains; `progress(n)` is told how many steps have been made.

    An interrupt after the warm-up ends the chains where they are.
    """
    kept = journal or NoJournal()
    frame = whiten(optimum)
    piece = Chains(*[np.zeros(0)] * 4)
    groups = _side_by_side(settings, key)
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as threads:

        def chunk(states: Any, begin: np.bool) -> tuple[Any, Chains]:
            work = threads.map(lambda k, state: _chunk(density, frame, settings, k, state, begin), groups, states)
            states, made = zip(*work)
            return states, jax.tree.map(lambda *chains: np.concatenate(chains, axis=1), *made)

        first = tuple(_no_state(density, frame, settings, keys) for keys in groups)
        drawn = in_chunks(
            lambda states, begin: kept.step((states, piece), lambda: chunk(states, begin)), first, settings, progress
        )
    return jax.tree.map(lambda array: array.swapaxes(0, 1), drawn)


def _side_by_side(settings: NUTS, key: jax.Array) -> list[jax.Array]:
    """The keys of the chains, by call of the compiled program: on a CPU a thread for each chain, else all in one."""
    keys = jax.random.split(key, settings.chains)
    return [key[None] for key in keys] if jax.default_backend() == "cpu" else [keys]


def in_chunks(chunk: Any, state: Any, settings: NUTS, progress: Any) -> Any:
    """What `chunk(state, begin)` draws in all its steps, a leading axis, without the warm-up."""
    pieces, done = [], 0
    while done < settings.warmup + settings.draws:
        try:
            state, piece = chunk(state, np.bool(done == 0))
            pieces.append(jax.tree.map(np.asarray, piece))
            done += STEPS
            progress(STEPS)
        except KeyboardInterrupt:
            done = STEPS * len(pieces)
            if done <= settings.warmup:
                raise
            break
    kept = slice(settings.warmup, settings.warmup + settings.draws)
    return jax.tree.map(lambda *parts: np.concatenate(parts)[kept], *pieces)


def compile_ahead(density: Density, settings: NUTS, key: jax.Array) -> None:
    """Compiles what `run` will call; meant for a thread, while the optimum is sought.

    The way to have a program compiled is to call it: with a density that is NaN, every trajectory ends at once.
    """
    n = len(density.space.kinds)
    frame = Whitened(np.zeros(n), np.eye(n), np.array(np.nan))
    keys = _side_by_side(settings, key)[0]
    state = _no_state(density, frame, settings, keys)
    jax.block_until_ready(_chunk(density, frame, settings, keys, state, np.bool(True)))


def _no_state(density: Density, frame: Whitened, settings: NUTS, keys: jax.Array) -> Any:
    return no_state(lambda d, f, k: kernel(d, f, settings, k)[0], density, frame, keys)


def no_state(first: Any, *arguments: Any) -> Any:
    """A state of the shapes of what `first` gives, for the first chunk, which does not read it; the last is a key."""

    def blank(leaf: Any) -> Any:
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return jnp.broadcast_to(arguments[-1].ravel()[0], leaf.shape)
        return np.zeros(leaf.shape, leaf.dtype)

    return jax.tree.map(blank, jax.eval_shape(first, *arguments))
