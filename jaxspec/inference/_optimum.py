"""The maximum of a density: damped Gauss-Newton steps from several starts, all in one compiled program."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxspec.density import Density
from jaxspec.programs import program

MAX_STEPS = 200
TOLERANCE = 1e-8  # of ln L: what another Newton step would gain
ENOUGH = 5  # climbs that agree
SAME = 0.01  # of ln L: climbs that end so close have found the same maximum
FAR_BELOW = 50.0  # of ln L: a lesser maximum that nobody asks for
_HOPELESS = 0.02  # of how far below the best a climb is: what Newton's step promises
_KNOWN = 0.1  # of ln L: what is left to climb to a maximum that is known
SPREAD = 2.0  # of starting points, in e-folds of a parameter's distance to its bound
_PARALLEL, _SLOW = 0.95, (0.3, 0.97)  # squared cosine, and ratio, of steps that are added up
_LONGEST_STEP, _LONGEST_SUM = 2.0, 5.0  # in the unbounded space, where a scale moves by e-folds; of steps added up
_NEAR = 0.1, 0.5  # gain of ln L, and length of a step, from which it tells how the gradient changes at the maximum


class Optimum(NamedTuple):
    """Where a climb ended; each array has a leading axis over starts where several climb at once, of jax or numpy."""

    u: Any  # in the unbounded space, (n,)
    cost: Any  # minus the log-density
    gain: Any  # of ln L, expected of another Newton step
    curvature: Any  # of the cost, never negative, (n, n)
    steps: Any


class Local(NamedTuple):
    """The target around a point."""

    cost: jax.Array
    gradient: jax.Array
    curvature: jax.Array

    def newton(self) -> tuple[jax.Array, Callable[[jax.Array], jax.Array]]:
        """The gain that Newton's step promises, and the step for a damping (Marquardt's, of scaled parameters)."""
        diagonal = jnp.diag(self.curvature)
        scale = 1 / jnp.sqrt(jnp.maximum(diagonal, 1e-20 * jnp.max(diagonal) + 1e-300))
        curvature = self.curvature * jnp.outer(scale, scale)
        slopes = scale * self.gradient

        def solved(damping: Any) -> jax.Array:
            # The least damping is for what the data do not constrain at all.
            return solve_positive(curvature + (damping + 1e-10) * jnp.eye(len(slopes)), slopes)

        return 0.5 * slopes @ solved(0.0), lambda damping: -scale * solved(damping)


class State(NamedTuple):
    u: jax.Array
    at: Local
    step: jax.Array  # to be taken next
    gain: jax.Array
    damping: jax.Array
    steps: jax.Array
    lacking: jax.Array  # by the climb's curvature, (n, n), as steps have shown


def solve_positive(matrix: jax.Array, vector: jax.Array) -> jax.Array:
    """The solution x of matrix x = vector, for a positive definite matrix, (n, n).

    Gauss and Jordan's elimination, which needs no pivots there: for thousands of small matrices at once LAPACK is slow.
    """

    def eliminate(k: jax.Array, both: jax.Array) -> jax.Array:
        row = both[k] / both[k, k]
        return (both - jnp.outer(both[:, k], row)).at[k].set(row)

    return jax.lax.fori_loop(0, len(vector), eliminate, jnp.column_stack([matrix, vector]))[:, -1]


def cost(density: Density, u: jax.Array, target: str) -> jax.Array:
    """Minus the logarithm of the `target`, at a point of the unbounded space.

    "likelihood": the likelihood; "posterior": times the prior; "sampled": times the volume of the space as well, which
    is the density that a sampler sees.
    """
    return -density.log_likelihood(density.space.values(u)) + _prior_cost(density, u, target)


def _prior_cost(density: Density, u: jax.Array, target: str) -> jax.Array:
    if target == "likelihood":
        return jnp.zeros(())
    volume = density.space.log_volume(u) if target == "sampled" else 0.0
    return -density.log_prior(density.space.values(u)) - volume


def measure(density: Density, u: jax.Array, target: str) -> Local:
    """Cost, gradient, and a curvature that is never negative.

    The statistic's second derivative in the expected counts is positive, so J^T S'' J is; of what bends the map from
    u to the parameters and of the priors only the positive part is taken. Where far more counts are expected than
    seen, S'' vanishes and would send the climb anywhere; with the slope S' / counts in its place the step divides the
    counts by e and leaves the shape alone.
    """

    def expected(u):
        counts = density.expected_counts(density.layout.fill(density.space.values(u)))
        return counts, counts

    def misfit(counts):
        return 0.5 * jnp.sum(density.statistic_per_bin(counts))

    jacobian, counts = jax.jacfwd(expected, has_aux=True)(u)
    (value, slope), (_, bend) = jax.jvp(jax.value_and_grad(misfit), (counts,), (jnp.ones_like(counts),))
    gradient = slope @ jacobian
    lacking = jnp.maximum(slope / jnp.where(counts > 0, counts, 1.0) - bend, 0.0)
    curvature = jacobian.T @ ((bend + lacking)[:, None] * jacobian)
    # Without this the Newton step towards a bound, where dx/du vanishes, never gets shorter.
    added = lacking @ jacobian**2
    diagonal = jnp.maximum(gradient * jax.grad(density.space.log_volume)(u) - added, 0.0)
    if target != "likelihood":
        prior_cost = functools.partial(_prior_cost, density, target=target)
        (prior, prior_slope), (_, prior_bend) = jax.jvp(jax.value_and_grad(prior_cost), (u,), (jnp.ones_like(u),))
        value, gradient = value + prior, gradient + prior_slope
        if any(group.joint for group in density.priors):
            bends, directions = jnp.linalg.eigh(jax.hessian(prior_cost)(u))
            curvature = curvature + (directions * jnp.maximum(bends, 0.0)) @ directions.T
        else:
            diagonal = diagonal + jnp.maximum(prior_bend, 0.0)
    return Local(value - jnp.sum(density.saturated), gradient, curvature + jnp.diag(diagonal))


class Pull(NamedTuple):
    """What draws a climb to a surface on which quantities have given values: 1/2 weight (quantity - value)^2 each.

    Where the climb ends, the quantities are not quite as asked for; but the target is highest there among all points
    where they are as they are, so it is a point of the profile.
    """

    aims: Any  # pytrees called with (density, u)
    values: jax.Array
    weights: jax.Array


def _pulled(density: Density, u: jax.Array, at: Local, pull: Pull) -> Local:
    def all_aims(u: jax.Array) -> jax.Array:
        return jnp.stack([aim(density, u) for aim in pull.aims])

    away = all_aims(u) - pull.values
    slopes = jax.jacfwd(all_aims)(u)
    return Local(
        at.cost + 0.5 * jnp.sum(pull.weights * away**2),
        at.gradient + (pull.weights * away) @ slopes,
        at.curvature + slopes.T @ (pull.weights[:, None] * slopes),
    )


def advance(density: Density, target: str, pull: Pull | None, state: State) -> State:
    u = state.u + state.step
    at = measure(density, u, target)
    if pull is not None:
        at = _pulled(density, u, at, pull)
    better = (at.cost <= state.at.cost) & jnp.all(jnp.isfinite(at.gradient))
    predicted = -(state.at.gradient @ state.step + 0.5 * state.step @ state.at.curvature @ state.step)
    agrees = (state.at.cost - at.cost) > 0.25 * predicted
    damping = jnp.where(better & agrees, state.damping / 5, jnp.where(better, state.damping, 4 * state.damping + 1e-3))
    lacking = _learned(state, at)
    u, at = jax.tree.map(lambda new, old: jnp.where(better, new, old), (u, at), (state.u, state.at))
    gain, step_for = at._replace(curvature=_whole(at.curvature, lacking)).newton()
    step, longest = _farther(at.curvature, state.step, step_for(damping), better, gain < _NEAR[0])
    step = step * jnp.minimum(1.0, longest / jnp.maximum(jnp.max(jnp.abs(step)), 1e-300))
    return State(u, at, step, gain, damping, state.steps + 1, lacking)


def _learned(state: State, at: Local) -> jax.Array:
    """What the climb's curvature lacks, so that it explains how the last step has changed the gradient.

    Gauss-Newton steps leave out how the counts bend; near the maximum they then halve the distance again and again.

    **Reference:** Conn, Gould & Toint 1991, Math. Program. 50, 177 (symmetric rank one); Dennis, Gay & Welsch 1981, ACM
    Trans. Math. Softw. 7, 348 (of what Gauss and Newton leave out).
    """
    step = state.step
    rest = at.gradient - state.at.gradient - (at.curvature + state.lacking) @ step
    part = rest @ step
    near = (state.gain < _NEAR[0]) & (jnp.max(jnp.abs(step)) < _NEAR[1])
    tells = near & (part**2 > 1e-12 * (rest @ rest) * (step @ step))
    more = jnp.outer(rest, rest) / jnp.where(tells, part, 1.0)
    return jnp.where(near, state.lacking + jnp.where(tells, more, 0.0), 0.0)


def _whole(curvature: jax.Array, lacking: jax.Array) -> jax.Array:
    """The curvature with what it lacks, if that is the curvature of a maximum."""
    whole = curvature + lacking
    scale = 1 / jnp.sqrt(jnp.maximum(jnp.abs(jnp.diag(whole)), 1e-300))
    root = jnp.linalg.cholesky(whole * jnp.outer(scale, scale) - 1e-4 * jnp.eye(len(scale)))
    return jnp.where(jnp.all(jnp.isfinite(root)), whole, curvature)


def _farther(
    curvature: jax.Array, last: jax.Array, step: jax.Array, better: jax.Array, near: jax.Array
) -> tuple[jax.Array, Any]:
    """The sum of the steps to come where each is a like fraction of the one before (Aitken), else the step itself.

    Along what the data hardly constrain, and on the way to a bound, steps never seem to end. With the longest that is
    allowed: far from the maximum a long one leads into other valleys.
    """
    along, before, now = (a @ curvature @ b for a, b in ((last, step), (last, last), (step, step)))
    ratio = along / jnp.where(before > 0, before, 1.0)
    alike = better & (along > 0) & (along**2 > _PARALLEL * before * now) & (ratio > _SLOW[0])
    alike &= near | (ratio < _SLOW[1])
    added = step / (1 - jnp.where(alike, jnp.minimum(ratio, _SLOW[1]), 0.0))
    return added, jnp.where(alike & near, _LONGEST_SUM, _LONGEST_STEP)


@functools.partial(program, static_argnames="target")
def climb(density: Density, starts: jax.Array, target: str, limit: Any, n_climbs: Any) -> Optimum:
    """Climbs to a maximum of `target` (see `cost`) from starts, shape (n_starts, n), of `limit` steps at most.

    On a CPU one after the other, no more than `n_climbs` and no more where the first five agree: the others have an
    infinite cost and no steps.
    """
    if jax.default_backend() != "cpu":
        return jax.vmap(functools.partial(climb_from, density, target, None, limit=limit))(starts)

    def next_one(carry: tuple[jax.Array, Optimum]) -> tuple[jax.Array, Optimum]:
        i, found = carry
        best = jax.tree.map(lambda every: every[jnp.argmin(found.cost)], found)
        reached = climb_from(density, target, None, starts[i], best, limit)
        return i + 1, jax.tree.map(lambda every, new: every.at[i].set(new), found, reached)

    def wanted(carry: tuple[jax.Array, Optimum]) -> jax.Array:
        i, found = carry
        return (i < n_climbs) & ((i != ENOUGH) | ~agree(found))

    state = first_state(starts)
    none = Optimum(starts, state.at.cost, state.gain, state.at.curvature, state.steps)
    return jax.lax.while_loop(wanted, next_one, (jnp.asarray(0), none))[1]


def agree(found: Optimum) -> Any:
    """Whether the first five climbs, from starts far apart, have ended at the same maximum."""
    costs = found.cost[:ENOUGH]
    return (costs.max() < costs.min() + SAME) & (found.gain[:ENOUGH] < TOLERANCE).all()


@functools.partial(program, static_argnames="target")
def climb_held(density: Density, starts: jax.Array, target: str, pulls: Pull) -> tuple[Optimum, jax.Array]:
    """The same with quantities pulled to values that differ from climb to climb, shape (n_starts, n_aims)."""

    def one(start: tuple[jax.Array, jax.Array]) -> tuple[Optimum, jax.Array]:
        return climb_held_from(density, target, pulls._replace(values=start[1]), start[0])

    return each(one)((starts, pulls.values))


def first_state(starts: Any) -> State:
    """The state before climbs from `starts`, (n_starts, n); numpy or jax.

    Its first step has length zero: measuring before the loop would compile the density twice.
    """
    xp: Any = jnp if isinstance(starts, jax.Array) else np
    many, n = starts.shape
    nowhere = Local(xp.full(many, xp.inf), xp.zeros_like(starts), xp.tile(xp.eye(n), (many, 1, 1)))
    gain, damping, steps = xp.full(many, xp.inf), xp.full(many, 1e-2), xp.zeros(many, int)
    return State(starts, nowhere, xp.zeros_like(starts), gain, damping, steps, xp.zeros((many, n, n)))


def climb_held_from(density: Density, target: str, pull: Pull, u: jax.Array) -> tuple[Optimum, jax.Array]:
    """One climb with a pull, inside a compiled program: its end, with the cost without the pull, and the quantities."""
    found = climb_from(density, target, pull, u)
    reached = jnp.stack([aim(density, found.u) for aim in pull.aims])
    return found._replace(cost=found.cost - 0.5 * jnp.sum(pull.weights * (reached - pull.values) ** 2)), reached


def climb_from(
    density: Density, target: str, pull: Pull | None, u: jax.Array, best: Optimum | None = None, limit: Any = MAX_STEPS
) -> Optimum:
    """One climb, inside a compiled program.

    With the `best` optimum known so far it gives up on its way to a lesser one, and ends there where it comes so near
    that it would end there.
    """
    first = jax.tree.map(lambda array: array[0], first_state(u[None]))

    def is_lost(state: State) -> Any:
        return False if best is None else state.gain < jnp.minimum(1.0, _HOPELESS * (state.at.cost - best.cost))

    def is_near(state: State) -> Any:
        if best is None:
            return False
        away = state.u - best.u
        left = jnp.abs(state.at.cost - state.gain - best.cost)
        within = (away @ best.curvature @ away < 1.0) & (state.gain < 1.0) & (left < _KNOWN)
        return within & (best.gain < TOLERANCE) & (best.cost < state.at.cost)

    def wanted(state: State) -> Any:
        return (state.steps < limit) & ~((state.gain < TOLERANCE) | is_lost(state) | is_near(state))

    last = jax.lax.while_loop(wanted, functools.partial(advance, density, target, pull), first)
    found = Optimum(last.u, last.at.cost, last.gain, last.at.curvature, last.steps)
    if best is None:
        return found
    near = is_near(last)
    return jax.tree.map(lambda known, new: jnp.where(near, known, new), best._replace(steps=last.steps), found)


_BETWEEN_LOOKS = 25  # steps of a first-order method from one look at the curvature to the next


@functools.partial(program, static_argnames=("target", "method"))
def climb_by(density: Density, starts: jax.Array, target: str, method: Any) -> Optimum:
    """The same by an optimiser of optax."""
    import optax

    method = optax.with_extra_args_support(method)

    def to_climb(u: jax.Array) -> jax.Array:
        return cost(density, u, target)

    def step(carry: Any, _: Any) -> tuple[Any, None]:
        u, state = carry
        value, gradient = jax.value_and_grad(to_climb)(u)
        updates, state = method.update(gradient, state, u, value=value, grad=gradient, value_fn=to_climb)
        return (optax.apply_updates(u, updates), state), None

    def advance(carry: Any) -> Any:
        (u, state), _ = jax.lax.scan(step, carry[:2], length=_BETWEEN_LOOKS)
        at = measure(density, u, target)
        return u, state, at, at.newton()[0], carry[4] + _BETWEEN_LOOKS

    def one(u: jax.Array) -> Optimum:
        nowhere = Local(jnp.asarray(jnp.inf), jnp.zeros_like(u), jnp.eye(len(u)))
        first = (u, method.init(u), nowhere, jnp.asarray(jnp.inf), jnp.asarray(0))
        u, _, at, gain, steps = jax.lax.while_loop(
            lambda carry: (carry[4] < MAX_STEPS * _BETWEEN_LOOKS) & ~(carry[3] < TOLERANCE), advance, first
        )
        return Optimum(u, at.cost, gain, at.curvature, steps)

    return each(one)(starts)


def each(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` for each element along the leading axis of its argument: side by side, but one by one on a CPU.

    A CPU gains nothing from loops in step: all wait for the longest, and tracing and compiling take half as long again.
    """
    return functools.partial(jax.lax.map, function) if jax.default_backend() == "cpu" else jax.vmap(function)


@jax.jit
def starting_points(density: Density, offsets: jax.Array) -> jax.Array:
    """Points around the model's present values, in the unbounded space, one per row of normal `offsets`.

    Parameters that have one sign move by e-folds of their distance to a bound, others by their size, if that is
    less.
    """
    present = density.layout.values[jnp.asarray(density.layout.free, int)]
    space = density.space
    u = space.point(present)
    real = jnp.array([kind == "real" for kind in space.kinds])
    between = jnp.array([kind == "interval" for kind in space.kinds])
    stretch = jax.jvp(space.values, (u,), (jnp.ones_like(u),))[1]
    size = jnp.maximum(jnp.abs(present), 1.0) / jnp.where(real, 1.0, stretch)
    signed = between & (space.low < 0) & (space.high > 0)
    return u + jnp.where(real, size, jnp.where(signed, jnp.minimum(size, SPREAD), SPREAD)) * offsets
