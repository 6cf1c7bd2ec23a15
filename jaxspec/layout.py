"""How the free parameters fill the spectra of a model."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jaxspec import parameters
from jaxspec.calibration import Calibration
from jaxspec.parameters import Link
from jaxspec.spectra import AbstractAdditive, AbstractSpectrum

if TYPE_CHECKING:
    from jaxspec.model import Model


class Layout(eqx.Module):
    """How the free parameters fill the spectra: everything but the names, which no compiled program needs."""

    spectra: tuple[AbstractSpectrum, ...]  # one per source, then one per model of a background, without names
    calibrations: tuple[Calibration, ...]
    values: jax.Array  # of all parameters: the frozen ones are read here
    positions: tuple[int, ...] = eqx.field(static=True)  # of the parameters among the leaves of both
    free: tuple[int, ...] = eqx.field(static=True)
    links: tuple[tuple[int, tuple[int, ...], Link], ...] = eqx.field(static=True)
    n_sources: int = eqx.field(static=True)
    # Additive components with a free positive norm: its place, and the places of the shape's, among the free ones.
    emitters: tuple[tuple[int, tuple[int, ...]], ...] = eqx.field(static=True)

    @classmethod
    def of(cls, model: Model) -> Layout:
        """The layout of a model's parameters."""
        names = list(model.parameters)
        index = {name: i for i, name in enumerate(names)}
        # Numbers in place of names: what the user calls a component must not make it another program.
        count, marks = itertools.count(), itertools.count()
        stripped = tuple(
            member.spectrum.map_components(lambda c: c.with_fields(name=str(next(count))))
            for member in (*model.sources, *model.backgrounds)
        )
        calibrations = tuple(calibration.with_fields(name="") for calibration in model.calibrations)
        marked = (
            tuple(spectrum.map_components(lambda c: _marked(c, marks)) for spectrum in stripped),
            tuple(_marked(calibration, marks) for calibration in calibrations),
        )
        leaves = [leaf.index if isinstance(leaf, _Mark) else None for leaf in jax.tree.leaves(marked)]
        links = tuple(
            (
                index[name],
                tuple(index[needed] for needed in link.inputs),
                Link(("",) * len(link.inputs), link.function),
            )
            for name, link in ((name, model.links[name]) for name in parameters.link_order(model.links))
        )
        return cls(
            spectra=jax.tree.map(as_leaf, stripped),
            calibrations=jax.tree.map(as_leaf, calibrations),
            values=as_leaf(np.array([float(value) for value in model.values.values()])),
            positions=tuple(leaves.index(i) for i in range(len(names))),
            free=tuple(index[name] for name in model.free),
            links=links,
            n_sources=len(model.sources),
            emitters=tuple(_emitters(model)),
        )

    def fill(self, theta: jax.Array) -> list[jax.Array]:
        """Every parameter, frozen and linked ones included, from the vector of free ones.

        Scalars, not a vector: so that a frozen one is known to have no derivative.
        """
        values = [self.values[i] for i in range(len(self.positions))]
        for place, i in enumerate(self.free):
            values[i] = theta[place]
        for target, inputs, function in self.links:
            values[target] = jnp.asarray(function(*(values[i] for i in inputs)), theta.dtype)
        return values

    def all_values(self, theta: jax.Array) -> jax.Array:
        """The same as a vector."""
        return jnp.stack(self.fill(theta))

    def spectra_at(self, values: Sequence[jax.Array] | jax.Array) -> tuple[AbstractSpectrum, ...]:
        """The spectra with these values of all parameters."""
        return self._filled(values)[0]

    def sources_at(self, values: Sequence[jax.Array] | jax.Array) -> tuple[AbstractSpectrum, ...]:
        """Those of the sources alone."""
        return self.spectra_at(values)[: self.n_sources]

    def calibrations_at(self, values: Sequence[jax.Array] | jax.Array) -> tuple[Calibration, ...]:
        """The calibrations with these values of all parameters."""
        return self._filled(values)[1]

    def _filled(self, values: Any) -> tuple[tuple[AbstractSpectrum, ...], tuple[Calibration, ...]]:
        leaves, structure = jax.tree.flatten((self.spectra, self.calibrations))
        for i, position in enumerate(self.positions):
            leaves[position] = values[i]
        return jax.tree.unflatten(structure, leaves)


def _emitters(model: Model) -> Iterator[tuple[int, tuple[int, ...]]]:
    place = {name: i for i, name in enumerate(model.free)}
    for member in (*model.sources, *model.backgrounds):
        for label, component in member.spectrum.components().items():
            norm = component.norm_field if isinstance(component, AbstractAdditive) else None
            own = {f: parameters.full_name(member.name, label, f) for f in parameters.declarations(component)}
            if norm and own[norm] in place and model.parameters[own[norm]].support[0] >= 0:
                yield place[own[norm]], tuple(place[n] for f, n in own.items() if f != norm and n in place)


@dataclasses.dataclass(frozen=True)
class _Mark:
    """Stands for a parameter while its place among the leaves is looked up."""

    index: int


def _marked(component: Any, marks: Iterator[int]) -> Any:
    return component.with_fields(**{field: _Mark(next(marks)) for field in parameters.declarations(component)})


def as_leaf(value: Any) -> jax.Array:
    """An array of one type whatever kind of number was given: JAX compiles again for a weak type.

    What JAX has not seen yet is put on the device as it is: `jnp.asarray` compiles a copy for each shape.
    """
    if isinstance(value, jax.Array):
        return jnp.asarray(value)
    array = np.asarray(value, float if isinstance(value, (int, float)) else None)
    return jax.device_put(array.astype(array.dtype.newbyteorder("="), copy=False))  # tables in files are big-endian
