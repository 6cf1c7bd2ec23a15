"""Prior distributions: whether they suit their parameters, and as compiled programs take them, by family."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jaxspec import parameters
from jaxspec.parameters import JointPrior, Parameter

if TYPE_CHECKING:
    from numpyro.distributions import Distribution

# A prior with more than this probability outside the bounds is taken for a mistake.
_MASS_OUTSIDE = 1e-4
# What the members of a family stand for in the vector of free parameters: one, or several that have one prior together.
Place = int | tuple[int, ...]


class Priors(eqx.Module):
    """Prior distributions of one family, evaluated together: each on its own would be compiled on its own.

    Their numbers are kept in the order of their names. numpyro flattens a distribution in an order that changes from
    process to process (that of a set of strings), so a program that took it as it is would not be found on disk again.
    """

    numbers: tuple[jax.Array, ...]  # each with a leading axis over members
    structure: Any = eqx.field(static=True)  # of one distribution
    order: tuple[int, ...] = eqx.field(static=True)  # which of its leaves each of `numbers` is
    members: tuple[Place, ...] = eqx.field(static=True)  # the free parameters that have them

    @classmethod
    def of(cls, free: Sequence[Parameter]) -> tuple[Priors, ...]:
        """Those of the free parameters, grouped by family; a parameter may have none."""
        names = [parameter.name for parameter in free]
        priors: dict[Place, Distribution] = {}
        for place, parameter in enumerate(free):
            prior = parameter.prior
            if isinstance(prior, JointPrior):
                priors[tuple(map(names.index, prior.names))] = prior.distribution
            elif prior is not None:
                priors[place] = prior
        return cls.groups(priors)

    @classmethod
    def groups(cls, priors: Mapping[Place, Distribution]) -> tuple[Priors, ...]:
        """Priors by the place of what they are of, grouped by family."""
        families: dict[Any, list[Place]] = {}
        for place, prior in priors.items():
            leaves, structure = jax.tree.flatten(prior)
            families.setdefault((structure, *map(np.shape, leaves)), []).append(place)
        groups = []
        for (structure, *_), members in families.items():
            order = jax.tree.leaves(_by_name(jax.tree.unflatten(structure, range(structure.num_leaves))))
            # Normal(0, 1) and Normal(0, 0.5) are one program, though the numbers of the first are integers.
            leaves = [np.array(column, float) for column in zip(*(jax.tree.leaves(priors[i]) for i in members))]
            groups.append(cls(tuple(jax.device_put(leaves[i]) for i in order), structure, tuple(order), tuple(members)))
        return tuple(groups)

    @property
    def joint(self) -> bool:
        """Whether each is of several parameters together."""
        return isinstance(self.members[0], tuple)

    def distribution(self, numbers: Sequence[jax.Array]) -> Distribution:
        """One distribution of the family, from its numbers."""
        return jax.tree.unflatten(self.structure, [numbers[self.order.index(i)] for i in range(len(self.order))])

    def log_density(self, theta: jax.Array) -> jax.Array:
        """The sum of the log-densities of the members at their places in the vector of free parameters."""
        one = jax.vmap(lambda numbers, value: self.distribution(numbers).log_prob(value))
        return jnp.sum(one(self.numbers, theta[jnp.array(self.members)]))


def joint_quantiles(prior: Any, probabilities: jax.Array) -> Any:
    """A vector from independent uniform numbers, such that it has a distribution of several numbers.

    Raises `ValueError` for one for which no such map is known.
    """
    try:
        return _mapped(prior, probabilities)
    except (NotImplementedError, ImportError) as error:  # numpyro wants another library for some
        raise ValueError(
            f"a {type(prior).__name__} has no known map from independent numbers, which nested sampling and "
            "predictions need: sample with NUTS(...)"
        ) from error


def _mapped(prior: Any, probabilities: jax.Array) -> Any:
    import numpyro.distributions as dist

    ndtri, ndtr = jax.scipy.special.ndtri, jax.scipy.special.ndtr
    if isinstance(prior, dist.MultivariateNormal):
        return prior.loc + jnp.asarray(prior.scale_tril) @ ndtri(probabilities)
    if isinstance(prior, dist.GaussianCopula):
        return prior.marginal_dist.icdf(ndtr(prior.base_dist.scale_tril @ ndtri(probabilities)))
    if isinstance(prior, dist.Independent):
        return prior.base_dist.icdf(probabilities)
    if not isinstance(prior, dist.TransformedDistribution):
        raise NotImplementedError(f"no formula for the quantiles of a {type(prior).__name__} is known here")
    values = _mapped(prior.base_dist, probabilities)
    for transform in prior.transforms:
        values = transform(values)
    return values


def check_joint(names: tuple[str, ...], prior: Any) -> None:
    """Raises where `prior` is not a distribution of as many numbers as there are names, each in a range of its own."""
    import numpyro.distributions as dist

    if len(set(names)) < max(len(names), 2):
        raise ValueError(f"a joint prior is of two or more different parameters, got {names}")
    if not isinstance(prior, dist.Distribution) or prior.batch_shape != () or prior.event_shape != (len(names),):
        raise TypeError(
            f"the prior of {', '.join(names)} must be a numpyro distribution of a vector of {len(names)} numbers, "
            f"got {prior!r}"
        )
    base: Any = getattr(prior.support, "base_constraint", None)
    if base is None or base.event_dim:
        raise ValueError(
            f"under a {type(prior).__name__} the range of one parameter depends on the others; give a prior whose "
            "parameters have ranges of their own"
        )


def check_prior(parameter: Parameter, prior: Any) -> None:
    """Raises where `prior` is not a continuous distribution, of one number or joint, inside the parameter's bounds."""
    import numpyro.distributions as dist

    joint = isinstance(prior, JointPrior)
    distribution: Any = prior.distribution if joint else prior
    if not joint and not (isinstance(prior, dist.Distribution) and prior.batch_shape == prior.event_shape == ()):
        raise TypeError(
            f"the prior of {parameter.name} must be a numpyro distribution of one number, got {prior!r}; one of "
            "several parameters together is given for a tuple of their names"
        )
    if distribution.is_discrete:
        raise TypeError(f"the prior of {parameter.name} must be continuous, got {type(distribution).__name__}")
    low, high = parameter.bounds
    first, last = parameters.prior_support(prior, parameter.name)
    if low <= first and last <= high:
        return
    if isinstance(prior, dist.Normal):
        normal = statistics.NormalDist(*(np.asarray(number).item() for number in (prior.loc, prior.scale)))
        outside = normal.cdf(low) + 1 - normal.cdf(high)
    else:
        draws = np.asarray(distribution.sample(jax.random.key(0), (20_000,)))
        draws = draws[:, prior.names.index(parameter.name)] if joint else draws
        outside = float(np.mean((draws < low) | (draws > high)))
    if outside > _MASS_OUTSIDE:
        raise ValueError(
            f"{outside:.2g} of the prior {parameters.prior_text(prior)} of {parameter.name} lies outside the bounds "
            f"({low:g}, {high:g}) {parameter.unit}: truncate it (dist.TruncatedNormal(..., low=, high=), dist.Uniform) "
            "or widen the bounds with model.with_bounds"
        )


def _by_name(value: Any) -> Any:
    """A distribution as a dictionary of what it is made of, which has a fixed order."""
    names = getattr(type(value), "gather_pytree_data_fields", None)
    return {name: _by_name(vars(value).get(name)) for name in names()} if names else value
