"""A population and its members sampled together: what each spectrum says, and what they have in common."""

from __future__ import annotations

import concurrent.futures
import functools
import hashlib
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxspec import parameters
from jaxspec import progress as progress_bar
from jaxspec.density import Density
from jaxspec.inference import _nuts, _optimum
from jaxspec.inference._hyper import (
    Hyper,
    Local,
    best_hyper,
    coordinates_at,
    log_classes,
    members_at,
    own_of,
    parameters_at,
)
from jaxspec.inference._population import cores, entries_of, fingerprint
from jaxspec.inference._task import Sampling, Task
from jaxspec.inference._together import in_pieces, maxima
from jaxspec.methods import NUTS
from jaxspec.populations import Population
from jaxspec.priors import Priors
from jaxspec.programs import program
from jaxspec.results._catalogue import observations_of
from jaxspec.results._checkpoint import Journal, NoJournal
from jaxspec.results._population import PopulationPosterior
from jaxspec.space import Space
from jaxspec.stack import Stacked, Stacker

if TYPE_CHECKING:
    from numpyro.distributions import Distribution

    from jaxspec.data import Observation
    from jaxspec.model import Model


def sample_population(
    model: Model,
    observations: Sequence[Observation] | Mapping[str, Observation | Sequence[Observation]],
    population: Mapping[str, Population | tuple[Population, Population]],
    method: NUTS | None = None,
    *,
    key: jax.Array,
    correlated: bool = False,
    fraction: Distribution | None = None,
    shared: Sequence[str] = (),
    file: Any = None,
    progress: bool | None = None,
) -> PopulationPosterior:
    """Samples what many spectra have in common, together with the parameters of each.

    A member's parameters are drawn from normal distributions (of the parameter or its logarithm) with unknown means and
    widths, and so each is pulled towards the others as far as its own data leave it open. All is sampled at once by
    NUTS. Its coordinates are, for each member, standard deviations from where its data and the present population
    together expect it: centred where the data decide, non-centred where the population does.

    Args:
        model: of each spectrum. Free parameters that are not in `population` need a prior.
        observations: as for `fit_each`.
        population: how parameters scatter, by their names. Two populations are a mixture: each member belongs to the
            first or to the second, the same for all parameters that have two. The second is the one with the larger
            mean of the first such parameter, in the order of the model.
        method: settings of NUTS.
        key: a JAX random key; the same key gives the same draws.
        correlated: whether the parameters that scatter may be correlated (flat prior over correlation matrices; the
            same in both populations of a mixture).
        fraction: the prior of the fraction of the members in the first population; flat from 0 to 1 by default.
        shared: free parameters that are the same for all members, like the calibration of their instrument.
        file: where what has been drawn is kept, some steps at a time, as for `sample`: the same call with the same file
            goes on where an earlier one was stopped.
        progress: a progress bar; by default on a terminal and in a notebook.

    Raises `KeyError` for an unknown parameter, `ValueError` for one that is not free, for a logarithm of one that may
    be negative, for one that scatters and is shared, for a mixture of a logarithm and a value, for a missing prior, and
    for a file of another run.

    **Reference:** on the choice of coordinates Papaspiliopoulos, Roberts & Skoeld 2007, Stat. Sci. 22, 59.
    """
    method = NUTS() if method is None else method
    entries = entries_of(observations)
    classes = {name: each if isinstance(each, tuple) else (each,) for name, each in population.items()}
    hyper, spread_model = _hyper(model, classes, correlated, fraction, shared)
    stacker = Stacker(spread_model)
    seen = [stacker.seen(observations_of(entry)) for entry in entries.values()]
    groups = [(jnp.asarray(places), stacked) for places, stacked in stacker.stacks(seen, {})]
    local = _local(groups, hyper, len(entries))
    arguments = tuple(groups), hyper, local, best_hyper(hyper, local)
    numbers, journal = np.asarray(jax.random.key_data(key)), NoJournal()
    if file is not None:
        task = Task(spread_model, tuple(entries.values()), {}, (), "sampled", Sampling(method, numbers))
        journal = Journal(file, _fingerprint(task, classes, hyper))
    total = method.chains * (method.warmup + method.draws)
    with progress_bar.bar(total, f"NUTS, {method.chains} chains", progress) as advance:
        phi, samples, in_first, diverging = _chains(arguments, method, key, journal, advance)
    posterior = PopulationPosterior(
        model=model,
        observations=entries,
        population=classes,
        hyper=_natural(hyper, phi),
        shared=tuple(name for name in model.free if name in shared),
        samples=samples,
        in_first=in_first.mean(axis=(0, 1)),
        method=method,
        key=numbers,
        divergences=int(diverging.sum()),
    )
    for trouble in posterior.troubles:
        warnings.warn(f"sample_population: {trouble}", stacklevel=2)
    return posterior


def _hyper(
    model: Model,
    classes: Mapping[str, tuple[Population, ...]],
    correlated: bool,
    fraction: Distribution | None,
    shared: Sequence[str],
) -> tuple[Hyper, Model]:
    """The hyper-parameters, and the model with priors as wide as the population may be."""
    import numpyro.distributions as dist

    _check(model, classes, shared)
    if any(isinstance(prior, parameters.JointPrior) for prior in model.priors.values()):
        raise ValueError("sample_population knows no joint priors: give each parameter one of its own")
    wide = {}
    for name, each in classes.items():
        deviation = float(np.sqrt(max(c.mean.variance + c.width.variance + c.width.mean**2 for c in each)))
        family = dist.LogNormal if each[0].log else dist.Normal
        wide[name] = family(
            float(np.mean([c.mean.mean for c in each])), deviation + float(np.ptp([c.mean.mean for c in each]))
        )
    # Unchecked: they may reach beyond the bounds, since they only say where to look.
    spread = model._with(priors={**model.priors, **wide})
    spread.require_priors()
    members = [name for name in model.free if name in classes]
    mixed = [i for i, name in enumerate(members) if len(classes[name]) > 1]
    common = [name for name in model.free if name in shared]
    by_class = [
        {i: classes[name][c] for i, name in enumerate(members) if c < len(classes[name])}
        for c in range(1 + bool(mixed))
    ]
    support = np.array([model.parameters[name].support for name in common]).reshape(-1, 2)
    return Hyper(
        means=tuple(Priors.groups({i: each.mean for i, each in one.items()}) for one in by_class),
        widths=tuple(Priors.groups({i: each.width for i, each in one.items()}) for one in by_class),
        fraction=Priors.groups({0: dist.Uniform(0, 1) if fraction is None else fraction}) if mixed else (),
        shared_priors=Priors.of([model.parameters[name] for name in common]),
        shared_space=Space.between(support[:, 0], support[:, 1]),
        log=tuple(classes[name][0].log for name in members),
        members=tuple(map(model.free.index, members)),
        mixed=tuple(mixed),
        shared=tuple(map(model.free.index, common)),
        correlated=correlated and len(members) > 1,
    ), spread


def _check(model: Model, classes: Mapping[str, tuple[Population, ...]], shared: Sequence[str]) -> None:
    rows = model.parameters
    if not classes:
        raise ValueError("population={...} says which parameters scatter: give at least one")
    for name in (*classes, *shared):
        if name not in rows:
            raise parameters.unknown(name, rows, "parameter")
        if not rows[name].free:
            raise ValueError(f"{name} is {rows[name].state}, so it cannot scatter or be shared; thaw or unlink it")
    for name, each in classes.items():
        if name in shared:
            raise ValueError(f"{name} scatters, so it cannot be shared: take it out of population or of shared")
        if len(each) not in (1, 2) or len({c.log for c in each}) > 1:
            raise ValueError(f"a mixture for {name} is of two populations, both of the value or both of its logarithm")
        if any(c.log for c in each) and rows[name].bounds[0] < 0:
            raise ValueError(f"the logarithm of {name} cannot scatter: its bounds {rows[name].bounds} reach below 0")


def _local(groups: Sequence[tuple[jax.Array, Stacked]], hyper: Hyper, total: int) -> Local:
    """The normal approximations of the likelihoods, at each member's best fit within the widest population."""
    precision = linear = None
    for places, stacked in groups:
        best = maxima(stacked, "posterior")
        found = in_pieces(functools.partial(_approximation, hyper=hyper), stacked, np.asarray(best.u))
        if precision is None or linear is None:
            precision, linear = (np.zeros((total, *array.shape[1:])) for array in found)
        precision[places], linear[places] = found
    return Local(jnp.asarray(precision), jnp.asarray(linear))


@program
def _approximation(stacked: Stacked, u: jax.Array, hyper: Hyper) -> tuple[jax.Array, jax.Array]:
    def one(density: Density, u: jax.Array) -> tuple[jax.Array, jax.Array]:
        def coordinates(u: jax.Array) -> jax.Array:
            return coordinates_at(density, hyper, density.space.values(u), u)

        x, stretch = jax.jvp(coordinates, (u,), (jnp.ones_like(u),))
        at = _optimum.measure(density, u, "likelihood")
        alone = jnp.diag(jnp.ones(len(u)).at[jnp.array(hyper.members)].set(0.0)) * 1e-2
        precision = at.curvature / jnp.outer(stretch, stretch) + alone
        return precision, precision @ x - at.gradient / stretch

    return stacked.each(one, u)


def _potential(stacks: Any, hyper: Hyper, local: Local, position: dict[str, jax.Array]) -> jax.Array:
    """Minus the logarithm of the joint density of members and population, in the sampler's coordinates."""
    phi = position["phi"]
    at = hyper.split(phi)
    x, volume = members_at(hyper, local, at, position["z"])
    total = hyper.log_prior(phi) + jnp.sum(jax.scipy.special.logsumexp(log_classes(hyper, at, x), axis=0)) + volume

    def member(density: Density, x: jax.Array) -> jax.Array:
        theta, inside = parameters_at(density, hyper, x)
        prior = _log_prior_of_others(density, hyper, theta, x)
        return jnp.where(inside, density.log_likelihood(theta) + prior, -jnp.inf)

    for places, stacked in stacks:
        # Chains run in threads of their own: programs of theirs that wait for several devices might wait for ever.
        total = total + jnp.sum(stacked.each(member, x[places], spread=False))
    return -total


def _log_prior_of_others(density: Density, hyper: Hyper, theta: jax.Array, x: jax.Array) -> jax.Array:
    """Of a member's own parameters that do not scatter, with the volume of their coordinates."""
    total, others = jnp.zeros(()), [i for i in own_of(hyper, len(theta)) if i not in hyper.members]
    for group in density.priors:
        for place, i in enumerate(group.members):
            if i in others:
                total = total + group.distribution([numbers[place] for numbers in group.numbers]).log_prob(theta[i])
    if others:
        slope = jax.jvp(density.space.values, (x,), (jnp.ones_like(x),))[1]
        total = total + jnp.sum(jnp.log(jnp.abs(slope[jnp.array(others)])))
    return total


@functools.partial(program, static_argnames="settings")
def _steps(stacks: Any, hyper: Hyper, local: Local, start: Any, settings: NUTS, key: jax.Array, state: Any, begin: Any):
    """A chunk of steps of one chain; the first begins at the start."""
    centre, scale = start

    @jax.jit
    def potential(position: dict[str, jax.Array]) -> jax.Array:
        return _potential(stacks, hyper, local, {"z": position["z"], "phi": centre + scale @ position["phi"]})

    first_of, step = _nuts.sampler(potential, settings)
    many, n = local.linear.shape
    first = first_of({"z": jnp.zeros((many, len(own_of(hyper, n)))), "phi": jnp.zeros_like(centre)}, key)
    state = first if state is None else jax.tree.map(lambda a, b: jnp.where(begin, a, b), first, state)

    def body(state: Any, _: Any) -> Any:
        state = step(state)
        phi = centre + scale @ state.z["phi"]
        at = hyper.split(phi)
        x, _ = members_at(hyper, local, at, state.z["z"])
        return state, (phi, x, jax.nn.softmax(log_classes(hyper, at, x), axis=0)[0], state.diverging)

    state, (phi, x, in_first, diverging) = jax.lax.scan(body, state, length=_nuts.STEPS)
    values: Any = None
    for places, stacked in stacks:
        own = stacked.each(lambda d, x: _all_values(d, hyper, x), jnp.moveaxis(x[:, places], 1, 0), spread=False)
        values = jnp.zeros((x.shape[1], *own.shape[1:])) if values is None else values
        values = values.at[places].set(own)
    return state, (phi, jnp.moveaxis(values, 0, 1), in_first, diverging)


def _all_values(density: Density, hyper: Hyper, x: jax.Array) -> jax.Array:
    """All parameters of a member, (n_draws, n_parameters), from its coordinates."""
    return jax.vmap(lambda each: density.layout.all_values(parameters_at(density, hyper, each)[0]))(x)


def _chains(arguments: Any, settings: NUTS, key: jax.Array, journal: Journal, advance: Any) -> list[np.ndarray]:
    """What `_steps` gives of all chains, each (chains, draws, ...): a thread for each, some steps at a time."""
    keys = jax.random.split(key, settings.chains)
    first = functools.partial(_steps.__wrapped__, settings=settings, state=None, begin=True)
    state = _nuts.no_state(lambda *a: first(*a[:-1], key=a[-1])[0], *arguments, keys[0])
    with concurrent.futures.ThreadPoolExecutor(min(cores(), settings.chains)) as threads:

        def chunk(states: Any, begin: np.bool) -> Any:
            move = functools.partial(_steps, *arguments, settings, begin=begin)
            alone = int(begin)  # the first chain has the program compiled; side by side, each would
            first = [move(key, state) for key, state in zip(keys[:alone], states)]
            states, made = zip(*first, *threads.map(move, keys[alone:], states[alone:]))
            return states, jax.tree.map(lambda *chains: np.stack(chains, axis=1), *made)

        drawn = _nuts.in_chunks(
            lambda states, begin: journal.step((states, (0,) * 4), lambda: chunk(states, begin)),
            (state,) * settings.chains,
            settings,
            lambda steps: advance(steps * settings.chains),
        )
    return [array.swapaxes(0, 1) for array in drawn]


def _fingerprint(task: Task, classes: Mapping[str, tuple[Population, ...]], hyper: Hyper) -> str:
    """A number that differs where the draws would: of data, model, method and key (the task), and of the population."""
    families = [(name, [(type(c.mean), type(c.width)) for c in each]) for name, each in classes.items()]
    choices = families, hyper.log, hyper.members, hyper.mixed, hyper.shared, hyper.correlated
    # numpyro's order of the numbers of a prior changes from process to process.
    numbers = sorted(np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(hyper))
    return hashlib.sha256(repr((fingerprint(task), choices, numbers)).encode()).hexdigest()


def _natural(hyper: Hyper, phi: np.ndarray) -> dict[str, np.ndarray]:
    """The hyper-parameters by name, each (chains, draws, ...), from their vectors."""

    def one(phi: jax.Array) -> tuple[jax.Array, ...]:
        at = hyper.split(phi)
        return at.mean, at.width, at.fraction, at.factor @ at.factor.T, hyper.shared_space.values(at.shared)

    found = jax.jit(jax.vmap(jax.vmap(one)))(phi)
    return dict(zip(("mean", "width", "fraction", "correlation", "shared"), map(np.asarray, found)))
