"""The problem of a fit: a model and observations, by name."""

from __future__ import annotations

import copy
import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jaxspec import parameters
from jaxspec.data import with_background_regions
from jaxspec.density import Density, Packed
from jaxspec.programs import on_all_processors

if TYPE_CHECKING:
    from jaxspec.data import Observation
    from jaxspec.model import Model


_TOGETHER = 50  # vectors side by side: more leave a core's cache


@jax.tree_util.register_pytree_node_class
class Problem:
    """A model and the observations it is to explain.

    Args:
        model: sources with parameters, priors and links.
        observations: what was seen, each with a name of its own. One that is assigned to sources sees those; one that
            is not sees all. One whose background has a model is followed by its background region, as an observation.

    It is a pytree: under `jax.jit` and `jax.vmap` it carries data, priors and frozen values as arrays, and names as
    static parts.

    Raises `ValueError` for no observations, two of one name, an empty selection, a model without free parameters and a
    source that no observation sees, `KeyError` for a source name that the model has not and for a calibration of an
    observation that is not there.
    """

    def __init__(self, model: Model, observations: Observation | Sequence[Observation]) -> None:
        given = observations if isinstance(observations, Sequence) else (observations,)
        self.model, self.observations = model, with_background_regions(given)
        check(model, self.observations)
        self.selections = tuple(observation.selection() for observation in self.observations)
        self.names = model.free
        self.start = np.array([float(model.values[name]) for name in self.names])
        self._packed = Packed(Density.of(model, self.observations, self.selections))

    @functools.cached_property
    def density(self) -> Density:
        """Likelihood and prior as functions of a vector: what compiled programs take."""
        return self._packed.open()

    def tree_flatten(self) -> tuple[tuple[Packed], _Notebook]:
        return (self._packed,), _Notebook(self)

    @classmethod
    def tree_unflatten(cls, notebook: _Notebook, children: tuple[Packed]) -> Problem:
        problem = copy.copy(notebook.problem)
        problem.__dict__.pop("density", None)
        (problem._packed,) = children
        return problem

    def vector(self, values: Mapping[str, Any] | None = None) -> jax.Array:
        """The vector of free parameters, in the order of `names`.

        Args:
            values: by name; free parameters it does not name have the model's values.

        Raises `KeyError` for a name that is no free parameter.
        """
        values = values or {}
        for name in values:
            if name not in self.names:
                raise parameters.unknown(name, self.names, "free parameter")
        start = self.start
        if isinstance(self._packed.leaves[0], Tracer):  # `start` is that of the first problem compiled
            layout = self.density.layout
            start = [layout.values[i] for i in layout.free]
        numbers = [values.get(name, number) for name, number in zip(self.names, start)]
        if any(isinstance(number, jax.Array) for number in numbers):
            return jnp.stack([jnp.asarray(number, float) for number in numbers])
        return jnp.asarray(np.array(numbers, float))

    def log_likelihood(self, values: Mapping[str, Any] | None = None) -> jax.Array:
        """The normalised log-likelihood of all data (natural logarithm, factorials included)."""
        return _log_likelihood(self._packed, self.vector(values))

    def log_likelihood_and_gradient(self, vector: Any) -> tuple[Any, Any]:
        """The log-likelihood and its gradient at a vector of free parameters (see `vector`), or at many of them.

        At many, of shape (m, n), all processors work, and the results are numpy arrays of shapes (m,) and (m, n).
        """
        if np.ndim(vector) == 2 and not isinstance(vector, Tracer):
            return on_all_processors(lambda some: _at_each(self._packed, some), np.asarray(vector), _TOGETHER)
        return _log_likelihood_and_gradient(self._packed, vector)

    def log_prior(self, values: Mapping[str, Any] | None = None) -> jax.Array:
        """The log-density of the priors of the free parameters. Raises `ValueError` where one has none."""
        self.require_priors()
        return _log_prior(self._packed, self.vector(values))

    def statistics(self, values: Mapping[str, Any] | None = None) -> dict[str, jax.Array]:
        """The fit statistic of each observation, by its name."""
        return {name: jnp.sum(bins) for name, bins in self.statistic_per_bin(values).items()}

    def log_likelihoods(self, values: Mapping[str, Any] | None = None) -> dict[str, jax.Array]:
        """The normalised log-likelihood of each observation, by its name."""
        saturated = dict(zip(self.labels, self.density.split(self.density.saturated)))
        return {name: jnp.sum(saturated[name]) - 0.5 * value for name, value in self.statistics(values).items()}

    def statistic_per_bin(self, values: Mapping[str, Any] | None = None) -> dict[str, jax.Array]:
        """The fit statistic in each fitted bin, by observation."""
        return dict(zip(self.labels, _bins(self._packed, self.vector(values))[1]))

    def expected_counts(self, values: Mapping[str, Any] | None = None) -> dict[str, jax.Array]:
        """The expected counts of sources, and of backgrounds with a model, in each fitted bin, by observation."""
        return dict(zip(self.labels, _bins(self._packed, self.vector(values))[0]))

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the observations."""
        return tuple(observation.name for observation in self.observations)

    @property
    def n_bins(self) -> int:
        """How many bins are fitted: after selection and grouping."""
        return sum(len(selection.counts) for selection in self.selections)

    @property
    def degrees_of_freedom(self) -> int:
        """Fitted bins minus free parameters."""
        return self.n_bins - len(self.names)

    def spectra_seen_by(self, index: int) -> tuple[str, ...]:
        """The names of the sources, and of the models of backgrounds, that an observation sees."""
        observation = self.observations[index]
        sources = tuple(source.name for source in self.model.sources)
        assigned = sources if observation.sources is None else observation.sources
        return (*assigned, *(name for name, _ in observation.background_models))

    def require_priors(self) -> None:
        """Raises `ValueError` where a free parameter has no prior, and says how to give one."""
        self.model.require_priors()

    def __repr__(self) -> str:
        rows = [
            f"  {o.name}: {len(s.counts)} bins, {s.channel_low.min():.4g}-{s.channel_high.max():.4g} keV, "
            f"{s.statistic}, sees {', '.join(self.spectra_seen_by(i))}"
            for i, (o, s) in enumerate(zip(self.observations, self.selections))
        ]
        head = f"Problem: {len(self.names)} free parameters, {self.n_bins} bins"
        return "\n".join([head, *rows])


@dataclasses.dataclass(frozen=True, eq=False)
class _Notebook:
    """The named side of a problem, as the static part of a pytree: equal where names agree."""

    problem: Problem

    def _key(self) -> tuple:
        return self.problem.names, self.problem.labels

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Notebook) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())


@jax.jit
def _log_likelihood(packed: Packed, theta: jax.Array) -> jax.Array:
    return packed.open().log_likelihood(theta)


@jax.jit
def _log_likelihood_and_gradient(packed: Packed, theta: jax.Array) -> tuple[jax.Array, jax.Array]:
    return jax.value_and_grad(packed.open().log_likelihood)(theta)


@jax.jit
def _at_each(packed: Packed, thetas: jax.Array) -> tuple[jax.Array, jax.Array]:
    return jax.lax.map(jax.value_and_grad(packed.open().log_likelihood), thetas, batch_size=_TOGETHER)


@jax.jit
def _log_prior(packed: Packed, theta: jax.Array) -> jax.Array:
    return packed.open().log_prior(theta)


@jax.jit
def _bins(packed: Packed, theta: jax.Array) -> tuple[list[jax.Array], list[jax.Array]]:
    """Expected counts and statistic in each bin, by observation."""
    density = packed.open()
    expected = density.expected_counts(density.layout.fill(theta))
    return density.split(expected), density.split(density.statistic_per_bin(expected))


def check(model: Model, observations: tuple[Observation, ...]) -> None:
    """Raises what `Problem` raises for observations that do not belong to the model."""
    if not observations:
        raise ValueError("a problem needs at least one observation")
    names = [observation.name for observation in observations]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"two observations are called {twice[0]!r}; give them names of their own with name=")
    if not model.free:
        raise ValueError("the model has no free parameter; thaw one with model.thaw(name)")
    for calibration in model.calibrations:
        if calibration.name not in names:
            raise parameters.unknown(calibration.name, names, "observation (of which the model has a Calibration)")
    known = [source.name for source in model.sources]
    for observation in observations:
        for name in observation.sources or ():
            if name not in known:
                raise parameters.unknown(name, known, f"source (to which observation {observation.name!r} is assigned)")
    seen = {name for o in observations for name in (known if o.sources is None else o.sources)}
    unseen = [name for name in known if name not in seen]
    if unseen:
        raise ValueError(
            f"no observation sees the source {unseen[0]!r}: assign one to it, or leave it out of the model"
        )
    _check_backgrounds(model, observations)


def _check_backgrounds(model: Model, observations: tuple[Observation, ...]) -> None:
    known = [background.name for background in model.backgrounds]
    wanted = {name: o.name for o in reversed(observations) for name, _ in o.background_models}
    for name, observation in wanted.items():
        if name not in known:
            raise parameters.unknown(name, known, f"BackgroundModel (which observation {observation!r} sees)")
    for name in known:
        if name not in wanted:
            raise ValueError(
                f"no observation sees the background {name!r}: give it to one by with_background_model({name!r}), or "
                "leave it out of the model"
            )
