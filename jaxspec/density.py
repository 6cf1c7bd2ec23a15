"""Likelihood and prior as pure functions of a vector of numbers: what programs are compiled from."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jaxspec import chi_squared, marginal, statistics
from jaxspec.calibration import Rescaled
from jaxspec.folding import AbstractFold
from jaxspec.layout import Layout, as_leaf
from jaxspec.photons import photons_in
from jaxspec.priors import Priors, joint_quantiles
from jaxspec.quadrature import Bins
from jaxspec.space import Space
from jaxspec.terms import Term, terms_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpyro.distributions import Distribution

    from jaxspec.data import Observation, Selection
    from jaxspec.model import Model

Vector: TypeAlias = jax.Array


class Fitted(eqx.Module):
    """The bins of all observations that share a statistic: they are compared with their data in one go."""

    data: tuple[jax.Array, ...]  # arguments of the statistic after the expected counts, each (n_bins, ...)
    statistic: str = eqx.field(static=True)
    members: tuple[int, ...] = eqx.field(static=True)


class Density(eqx.Module):
    """Likelihood and prior as functions of the vector of free parameters: what compiled programs take as argument.

    All data, prior numbers and frozen values are array leaves; what is static compares by value and has no names, so
    two problems of the same structure share their compiled programs. A vector over bins holds the fitted bins of all
    observations, one observation after the other; `split` takes it apart.
    """

    layout: Layout
    space: Space
    priors: tuple[Priors, ...]
    grids: tuple[Bins, ...]  # of photons
    folds: tuple[AbstractFold, ...]
    terms: tuple[Term, ...]  # of the expected counts of each observation
    fitted: tuple[Fitted, ...]
    saturated: jax.Array  # (n_bins,): the log-likelihood of a perfect fit
    sizes: tuple[int, ...] = eqx.field(static=True)  # fitted bins of each observation
    grid_of: tuple[int, ...] = eqx.field(static=True)  # of each fold

    @classmethod
    def of(cls, model: Model, observations: Sequence[Observation], selections: Sequence[Selection]) -> Density:
        """The density of a model and the selected bins of observations, which are taken to be checked."""
        rows = model.parameters
        terms, folds, grid_of, grids = terms_of(model, observations, selections)
        support = np.array([rows[name].support for name in model.free])
        return cls(
            layout=Layout.of(model),
            space=Space.between(support[:, 0], support[:, 1]),
            priors=Priors.of([rows[name] for name in model.free]),
            grids=tuple(Bins.fine_enough(low, high) for low, high in grids),
            folds=folds,
            terms=terms,
            fitted=_fitted(selections),
            saturated=as_leaf(np.concatenate([_saturated(selection) for selection in selections])),
            sizes=tuple(len(selection.counts) for selection in selections),
            grid_of=grid_of,
        )

    def expected_counts(self, values: Sequence[jax.Array] | Vector) -> Vector:
        """Expected counts in each fitted bin, from the values of all parameters (`Layout.fill`).

        Of the sources, and of backgrounds that have a model; what a statistic makes of a measured one is not in it.
        """
        spectra, calibrations = self.layout.spectra_at(values), self.layout.calibrations_at(values)
        # Each spectrum is integrated once per grid of photon bins, however many observations share it.
        needed = sorted({(self.grid_of[term.fold], s, term.rescaled_by) for term in self.terms for s in term.spectra})
        photons = {
            (g, s, c): photons_in(spectra[s] if c < 0 else Rescaled(spectra[s], calibrations[c].energy_scale), grid)
            for (g, s, c), grid in ((key, self.grids[key[0]]) for key in needed)
        }
        counts: list[list[jax.Array]] = [[] for _ in self.sizes]
        for term in self.terms:
            seen = [photons[self.grid_of[term.fold], s, term.rescaled_by] for s in term.spectra]
            rates = self.folds[term.fold](functools.reduce(jnp.add, seen))
            counts[term.observation].append(term.counts(rates, calibrations))
        return jnp.concatenate(
            [functools.reduce(jnp.add, parts) if parts else jnp.zeros(n) for parts, n in zip(counts, self.sizes)]
        )

    def of_one_each(self, spectra: Sequence[tuple[int, int]], layout: Layout) -> Density:
        """The same where each observation sees one spectrum only, by its place here and its place in `layout`."""
        alone = tuple(
            dataclasses.replace(term, spectra=(new,))
            for term, (old, new) in ((term, spectra[term.observation]) for term in self.terms)
            if old in term.spectra
        )
        return dataclasses.replace(self, layout=layout, terms=alone)

    def statistic_per_bin(self, expected: Vector) -> Vector:
        """The fit statistic in each bin."""
        if len(self.fitted) == 1:  # the rule: nothing to take apart
            return STATISTICS[self.fitted[0].statistic].function(expected, *self.fitted[0].data)
        pieces = self.split(expected)
        results: dict[int, jax.Array] = {}
        for group in self.fitted:
            joined = jnp.concatenate([pieces[i] for i in group.members])
            values = STATISTICS[group.statistic].function(joined, *group.data)
            results.update(zip(group.members, _split(values, [self.sizes[i] for i in group.members])))
        return jnp.concatenate([results[i] for i in range(len(self.sizes))])

    def split(self, vector: Vector) -> list[jax.Array]:
        """A vector over the bins of all observations as one array per observation."""
        return _split(vector, self.sizes)

    def log_likelihood(self, theta: Vector) -> jax.Array:
        """The normalised log-likelihood of all data."""
        return self.log_likelihood_at(self.layout.fill(theta))

    def log_likelihood_at(self, values: Sequence[jax.Array] | Vector) -> jax.Array:
        """The same from the values of all parameters."""
        per_bin = self.saturated - 0.5 * self.statistic_per_bin(self.expected_counts(values))
        # A product with ones, not a sum: XLA would fuse the logarithms into the sum, and compute them one by one.
        return per_bin @ jnp.ones_like(per_bin)

    def log_prior(self, theta: Vector) -> jax.Array:
        """The log-density of the priors; a parameter without one adds nothing."""
        return functools.reduce(jnp.add, [group.log_density(theta) for group in self.priors], jnp.zeros(()))

    def prior_quantiles(self, probabilities: Vector) -> Vector:
        """The free parameters at these cumulative probabilities of their priors, which all have one."""
        values = jnp.zeros(len(self.space.kinds))
        for group in self.priors:
            for place, i in enumerate(group.members):
                prior = group.distribution([numbers[place] for numbers in group.numbers])
                if isinstance(i, tuple):
                    index = jnp.array(i)
                    values = values.at[index].set(joint_quantiles(prior, probabilities[index]))
                else:
                    values = values.at[i].set(self._quantile(prior, i, probabilities[i]))
        return self.space.clip(values)

    def _quantile(self, prior: Distribution, i: int, probability: jax.Array) -> jax.Array:
        """The inverse of the i-th parameter's cumulative distribution; by bisection where numpyro has no formula."""
        try:
            return prior.icdf(probability)
        except (NotImplementedError, ImportError):  # numpyro wants another library for some
            pass

        def value(u: jax.Array) -> jax.Array:
            return self.space.values(jnp.full(len(self.space.kinds), u))[i]

        def halve(_: int, edges: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
            middle = 0.5 * (edges[0] + edges[1])
            below = (prior.cdf(value(middle)) < probability) != (self.space.kinds[i] == "upper")
            return jnp.where(below, middle, edges[0]), jnp.where(below, edges[1], middle)

        low, high = jax.lax.fori_loop(0, 90, halve, (jnp.asarray(-1e6), jnp.asarray(1e6)))
        return value(0.5 * (low + high))


@jax.tree_util.register_pytree_node_class
class Packed:
    """A density whose leaves are at hand: JAX takes nested modules apart at every call, in 30 us, this in one."""

    def __init__(self, density: Density) -> None:
        leaves, structure = jax.tree.flatten(density)
        self.leaves = tuple(leaves)
        # One object for equal structures: comparing it is then a comparison of addresses.
        self.structure = _structures.setdefault(structure, _Structure(structure))

    def open(self) -> Density:
        """The density itself."""
        return jax.tree.unflatten(self.structure.tree, self.leaves)

    def tree_flatten(self) -> tuple[tuple[jax.Array, ...], _Structure]:
        return self.leaves, self.structure

    @classmethod
    def tree_unflatten(cls, structure: _Structure, leaves: tuple[jax.Array, ...]) -> Packed:
        packed = object.__new__(cls)
        packed.leaves, packed.structure = leaves, structure
        return packed


class _Structure:
    """A tree structure, compared by identity."""

    def __init__(self, tree: Any) -> None:
        self.tree = tree


_structures: dict[Any, _Structure] = {}


def _split(vector: Vector, sizes: Sequence[int]) -> list[jax.Array]:
    ends = np.cumsum(sizes)
    return [vector[end - size : end] for end, size in zip(ends, sizes)]


class _Statistic(NamedTuple):
    """How a statistic reads the data of a selection."""

    data: Callable[[Selection], tuple[np.ndarray | None, ...]]
    function: Callable[..., jax.Array]
    saturated: Callable[..., jax.Array]


def _net_counts(s: Selection) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Counts minus scaled background, their variance, and the systematic error as a fraction of the model."""
    assert s.errors is not None  # a selection for chi-squared has them
    systematic = np.full(len(s.counts), s.systematic)
    if s.background is None or s.ratio is None or s.background_errors is None:
        return s.counts, s.errors**2, systematic
    return s.counts - s.ratio * s.background, s.errors**2 + (s.ratio * s.background_errors) ** 2, systematic


@functools.partial(jax.jit, static_argnames="terms")
def _coefficients(counts: np.ndarray, background: np.ndarray, ratio: np.ndarray, terms: int) -> jax.Array:
    return marginal.lstat_coefficients(counts, background, ratio, terms=terms)


def _marginal(s: Selection) -> tuple[np.ndarray]:
    """The coefficients of the L statistic, (n_bins, terms): their number is a shape, so that it is static."""
    assert s.background is not None  # a selection for the L statistic has one
    assert s.ratio is not None
    return (np.asarray(_coefficients(s.counts, s.background, s.ratio, marginal.terms_for(s.counts))),)


STATISTICS = {
    "cstat": _Statistic(lambda s: (s.counts,), statistics.cstat, statistics.cstat_saturated),
    "wstat": _Statistic(
        lambda s: (s.counts, s.background, s.ratio),
        statistics.wstat,
        lambda counts, background, ratio: statistics.wstat_saturated(counts, background),
    ),
    "pgstat": _Statistic(
        lambda s: (s.counts, s.background, s.background_errors, s.ratio),
        statistics.pgstat,
        lambda counts, background, errors, ratio: statistics.pgstat_saturated(counts, errors),
    ),
    "pstat": _Statistic(
        lambda s: (s.counts, s.ratio * s.background),
        statistics.pstat,
        lambda counts, known: statistics.pstat_saturated(counts),
    ),
    "lstat": _Statistic(_marginal, marginal.lstat_of, lambda coefficients: jnp.zeros(len(coefficients))),
    "chi2": _Statistic(
        _net_counts,
        lambda expected, counts, variance, systematic: chi_squared.chi2(
            expected, counts, variance, systematic=systematic
        ),
        lambda counts, variance, systematic: chi_squared.chi2_saturated(variance),
    ),
    "flux points": _Statistic(
        lambda s: (s.counts, s.errors, s.errors_above, s.upper_limits),
        chi_squared.flux_points,
        lambda values, below, above, limit: chi_squared.flux_points_saturated(below, above, limit),
    ),
    "chi2 model": _Statistic(
        lambda s: (_net_counts(s)[0], s.added_variance, np.full(len(s.counts), s.systematic)),
        chi_squared.chi2_model,
        lambda counts, added_variance, systematic: jnp.zeros(len(counts)),
    ),
}


def _fitted(selections: Sequence[Selection]) -> tuple[Fitted, ...]:
    """The selections that share a statistic, joined, unless theirs differ in shape."""
    data = [tuple(map(np.asarray, STATISTICS[each.statistic].data(each))) for each in selections]
    kinds = [(each.statistic, tuple(a.shape[1:] for a in arrays)) for each, arrays in zip(selections, data)]
    groups = []
    for kind in sorted(set(kinds)):
        members = tuple(i for i, other in enumerate(kinds) if other == kind)
        joined = tuple(as_leaf(np.concatenate(arrays)) for arrays in zip(*(data[i] for i in members)))
        groups.append(Fitted(joined, kind[0], members))
    return tuple(groups)


def _saturated(selection: Selection) -> np.ndarray:
    statistic = STATISTICS[selection.statistic]
    return np.asarray(jax.jit(statistic.saturated)(*statistic.data(selection)))
