"""Prior distributions as compiled programs take them: by family, their numbers in a fixed order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

if TYPE_CHECKING:
    from numpyro.distributions import Distribution


class Priors(eqx.Module):
    """Prior distributions of one family, evaluated together: each on its own would be compiled on its own.

    Their numbers are kept in the order of their names. numpyro flattens a distribution in an order that changes from
    process to process (that of a set of strings), so a program that took it as it is would not be found on disk again.
    """

    numbers: tuple[jax.Array, ...]  # each with a leading axis over members
    structure: Any = eqx.field(static=True)  # of one distribution
    order: tuple[int, ...] = eqx.field(static=True)  # which of its leaves each of `numbers` is
    members: tuple[int, ...] = eqx.field(static=True)  # the free parameters that have them

    @classmethod
    def groups(cls, priors: Sequence[Distribution | None]) -> tuple[Priors, ...]:
        """The priors of the free parameters, by family; None where a parameter has none."""
        families: dict[Any, list[int]] = {}
        for i, prior in enumerate(priors):
            if prior is not None:
                families.setdefault(jax.tree.structure(prior), []).append(i)
        groups = []
        for structure, members in families.items():
            order = jax.tree.leaves(_by_name(jax.tree.unflatten(structure, range(structure.num_leaves))))
            # Normal(0, 1) and Normal(0, 0.5) are one program, though the numbers of the first are integers.
            leaves = [np.array(column, float) for column in zip(*(jax.tree.leaves(priors[i]) for i in members))]
            groups.append(cls(tuple(jax.device_put(leaves[i]) for i in order), structure, tuple(order), tuple(members)))
        return tuple(groups)

    def distribution(self, numbers: Sequence[jax.Array]) -> Distribution:
        """One distribution of the family, from its numbers."""
        return jax.tree.unflatten(self.structure, [numbers[self.order.index(i)] for i in range(len(self.order))])

    def log_density(self, theta: jax.Array) -> jax.Array:
        """The sum of the log-densities of the members at their places in the vector of free parameters."""
        one = jax.vmap(lambda numbers, value: self.distribution(numbers).log_prob(value))
        return jnp.sum(one(self.numbers, theta[jnp.array(self.members)]))


def _by_name(value: Any) -> Any:
    """A distribution as a dictionary of what it is made of, which has a fixed order."""
    names = getattr(type(value), "gather_pytree_data_fields", None)
    return {name: _by_name(vars(value).get(name)) for name in names()} if names else value
