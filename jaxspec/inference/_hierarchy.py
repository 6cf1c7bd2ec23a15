"""A population and its members sampled together: what each spectrum says, and what they have in common."""

from __future__ import annotations

import concurrent.futures
import functools
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxspec import parameters
from jaxspec import progress as progress_bar
from jaxspec._setup import program
from jaxspec.density import Density
from jaxspec.inference import _nuts, _optimum
from jaxspec.inference._hyper import (
    Hyper,
    Local,
    best_hyper,
    coordinates_at,
    log_population,
    members_at,
    parameters_at,
)
from jaxspec.inference._population import cores, entries_of, require_simple
from jaxspec.inference._together import climb_many, in_pieces, present_point
from jaxspec.methods import NUTS
from jaxspec.populations import Population
from jaxspec.priors import Priors
from jaxspec.results._catalogue import observations_of
from jaxspec.results._population import PopulationPosterior
from jaxspec.stack import Stacked, Stacker

if TYPE_CHECKING:
    from jaxspec.data import Observation
    from jaxspec.sources import Model


def sample_population(
    model: Model,
    observations: Sequence[Observation] | Mapping[str, Observation | Sequence[Observation]],
    population: Mapping[str, Population],
    method: NUTS | None = None,
    *,
    key: jax.Array,
    correlated: bool = False,
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
        population: how parameters scatter, by their names.
        method: settings of NUTS.
        key: a JAX random key; the same key gives the same draws.
        correlated: whether the parameters that scatter may be correlated (flat prior over correlation matrices).
        progress: a progress bar; by default on a terminal and in a notebook.

    Raises `KeyError` for an unknown parameter, `ValueError` for one that is not free, for a logarithm of one that may
    be negative, and for a missing prior.

    **Reference:** on the choice of coordinates Papaspiliopoulos, Roberts & Skoeld 2007, Stat. Sci. 22, 59.
    """
    method = NUTS() if method is None else method
    require_simple(model)
    entries = entries_of(observations)
    hyper, spread_model = _hyper(model, population, correlated)
    selected = [[(o, o.selection()) for o in observations_of(entry)] for entry in entries.values()]
    stacker = Stacker(spread_model, *zip(*selected[0]))
    groups = [(jnp.asarray(places), stacked) for places, stacked in stacker.stacks(selected, {})]
    local = _local(groups, hyper, len(entries))
    start = best_hyper(hyper, local)
    stacks = tuple(groups)
    keys = jax.random.split(key, method.chains)
    total = method.chains * (method.warmup + method.draws)
    with progress_bar.bar(total, f"NUTS, {method.chains} chains", progress) as advance:
        run = functools.partial(_chain, stacks, hyper, local, start, method, advance)
        with concurrent.futures.ThreadPoolExecutor(min(cores(), method.chains)) as pool:
            chains = list(pool.map(run, keys))
    phi, samples, diverging = (np.stack(arrays) for arrays in zip(*chains))
    posterior = PopulationPosterior(
        model=model,
        observations=entries,
        population=dict(population),
        hyper=_natural(hyper, phi),
        samples=samples,
        method=method,
        key=np.asarray(jax.random.key_data(key)),
        divergences=int(diverging.sum()),
    )
    for trouble in posterior.troubles:
        warnings.warn(f"sample_population: {trouble}", stacklevel=2)
    return posterior


def _hyper(model: Model, population: Mapping[str, Population], correlated: bool) -> tuple[Hyper, Model]:
    """The hyper-parameters, and the model with priors as wide as the population may be."""
    import numpyro.distributions as dist

    rows = model.parameters
    if not population:
        raise ValueError("population={...} says which parameters scatter: give at least one")
    for name, each in population.items():
        if name not in rows:
            raise parameters.unknown(name, rows, "parameter")
        if not rows[name].free:
            raise ValueError(f"{name} is {rows[name].state}, so it cannot scatter; model.thaw or unlink it")
        if each.log and rows[name].bounds[0] < 0:
            raise ValueError(f"the logarithm of {name} cannot scatter: its bounds {rows[name].bounds} reach below 0")
    if any(isinstance(prior, parameters.JointPrior) for prior in model.priors.values()):
        raise ValueError("sample_population knows no joint priors: give each parameter one of its own")
    wide = {}
    for name, each in population.items():
        deviation = float(np.sqrt(each.mean.variance + each.width.variance + each.width.mean**2))
        wide[name] = (dist.LogNormal if each.log else dist.Normal)(float(each.mean.mean), deviation)
    # Unchecked: they may reach beyond the bounds, since they only say where to look.
    spread = model._with(priors={**model.priors, **wide})
    spread.require_priors()
    members = [name for name in model.free if name in population]
    return Hyper(
        means=Priors.groups({i: population[name].mean for i, name in enumerate(members)}),
        widths=Priors.groups({i: population[name].width for i, name in enumerate(members)}),
        log=tuple(population[name].log for name in members),
        members=tuple(model.free.index(name) for name in members),
        correlated=correlated and len(members) > 1,
    ), spread


def _local(groups: Sequence[tuple[jax.Array, Stacked]], hyper: Hyper, total: int) -> Local:
    """The normal approximations of the likelihoods, at each member's best fit within the widest population."""
    precision = linear = None
    for places, stacked in groups:
        present = in_pieces(present_point, stacked)
        best = climb_many(stacked, np.arange(len(stacked)), present, "posterior")
        found = in_pieces(functools.partial(_approximation, hyper=hyper), stacked, np.asarray(best.u))
        if precision is None or linear is None:
            precision, linear = (np.zeros((total, *array.shape[1:])) for array in found)
        precision[places], linear[places] = found
    return Local(jnp.asarray(precision), jnp.asarray(linear))


@jax.jit
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
    x, volume = members_at(hyper, local, phi, position["z"])
    total = hyper.log_prior(phi) + log_population(hyper, phi, x) + volume

    def member(density: Density, x: jax.Array) -> jax.Array:
        theta, inside = parameters_at(density, hyper, x)
        prior = _log_prior_of_others(density, hyper, theta, x)
        return jnp.where(inside, density.log_likelihood(theta) + prior, -jnp.inf)

    for places, stacked in stacks:
        total = total + jnp.sum(stacked.each(member, x[places]))
    return -total


def _log_prior_of_others(density: Density, hyper: Hyper, theta: jax.Array, x: jax.Array) -> jax.Array:
    """Of the free parameters that do not scatter, with the volume of their coordinates."""
    total = jnp.zeros(())
    for group in density.priors:
        for place, i in enumerate(group.members):
            if i not in hyper.members:
                total = total + group.distribution([numbers[place] for numbers in group.numbers]).log_prob(theta[i])
    others = [i for i in range(len(theta)) if i not in hyper.members]
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
    first = first_of({"z": jnp.zeros_like(local.linear), "phi": jnp.zeros_like(centre)}, key)
    state = first if state is None else jax.tree.map(lambda a, b: jnp.where(begin, a, b), first, state)

    def body(state: Any, _: Any) -> Any:
        state = step(state)
        phi = centre + scale @ state.z["phi"]
        x, _ = members_at(hyper, local, phi, state.z["z"])
        return state, (phi, x, state.diverging)

    state, (phi, x, diverging) = jax.lax.scan(body, state, length=_nuts.STEPS)
    values: Any = None
    for places, stacked in stacks:
        own = stacked.each(lambda d, x: _all_values(d, hyper, x), jnp.moveaxis(x[:, places], 1, 0))
        values = jnp.zeros((x.shape[1], *own.shape[1:])) if values is None else values
        values = values.at[places].set(own)
    return state, (phi, jnp.moveaxis(values, 0, 1), diverging)


def _all_values(density: Density, hyper: Hyper, x: jax.Array) -> jax.Array:
    """All parameters of a member, (n_draws, n_parameters), from its coordinates."""
    return jax.vmap(lambda each: density.layout.all_values(parameters_at(density, hyper, each)[0]))(x)


def _chain(stacks: Any, hyper: Hyper, local: Local, start: Any, settings: NUTS, advance: Any, key: jax.Array) -> Any:
    arguments = stacks, hyper, local, start
    state = _nuts.no_state(lambda *a: _steps.__wrapped__(*a[:-1], settings, a[-1], None, True)[0], *arguments, key)
    return _nuts.in_chunks(
        lambda state, begin: _steps(*arguments, settings, key, state, begin), state, settings, advance
    )


def _natural(hyper: Hyper, phi: np.ndarray) -> dict[str, np.ndarray]:
    """Means, widths and correlations, each (chains, draws, ...), from the vectors of hyper-parameters."""

    def one(phi: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        mean, width, factor, _ = hyper.split(phi)
        return mean, width, factor @ factor.T

    found = jax.jit(jax.vmap(jax.vmap(one)))(phi)
    return dict(zip(("mean", "width", "correlation"), map(np.asarray, found)))
