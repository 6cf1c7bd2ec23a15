"""Photons of a spectrum in each bin, with derivatives that are cheap in both directions."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero

from jaxspec.calibration import Rescaled
from jaxspec.quadrature import Bins
from jaxspec.spectra import AbstractComponent, AbstractSpectrum


@jax.custom_jvp
def photons_in(spectrum: AbstractSpectrum | Rescaled, bins: Bins) -> jax.Array:
    """Photons / (cm2 s) in each bin.

    Its derivative is a matrix of forward derivatives, so that going backwards through it is a product with a matrix:
    reverse mode would sum over all nodes of the quadrature for each parameter, in scalar code, ten times slower.
    """
    return spectrum.integral(bins)


@functools.partial(photons_in.defjvp, symbolic_zeros=True)  # pyright: ignore[reportFunctionMemberAccess]
def _(primals: Any, tangents: Any) -> tuple[jax.Array, jax.Array]:
    leaves, structure = jax.tree.flatten(primals)
    directions = jax.tree.leaves(tangents, is_leaf=lambda leaf: isinstance(leaf, SymbolicZero))
    moving = {i for i, direction in enumerate(directions) if not isinstance(direction, SymbolicZero)}
    scalars = {i for i in moving if leaves[i].ndim == 0}

    def photons(changed: dict[int, jax.Array]) -> jax.Array:
        spectrum, bins = jax.tree.unflatten(structure, [changed.get(i, leaf) for i, leaf in enumerate(leaves)])
        return spectrum.integral(bins)

    value: Any = None
    slope: Any = 0.0
    # One component at a time: derivatives by its parameters do not pass through the formulas of the others.
    for group in (sorted(group & scalars) for group in _leaves_by_component(primals)):
        if group:
            start = jnp.stack([leaves[i] for i in group])
            push = functools.partial(jax.jvp, lambda vector, group=group: photons(dict(zip(group, vector))), (start,))
            units = jnp.eye(len(group), dtype=start.dtype)
            value, matrix = jax.vmap(lambda unit, push=push: push((unit,)), out_axes=(None, 0))(units)
            slope = slope + jnp.stack([directions[i] for i in group]) @ matrix
    arrays = moving - scalars
    if arrays or not scalars:
        value, along = jax.jvp(photons, ({i: leaves[i] for i in arrays},), ({i: directions[i] for i in arrays},))
        slope = slope + along
    return value, slope


def _leaves_by_component(tree: Any) -> Iterator[set[int]]:
    """The places among a pytree's leaves that belong to one component, or to none."""
    start = 0
    for part in jax.tree.leaves(tree, is_leaf=lambda node: isinstance(node, AbstractComponent)):
        end = start + len(jax.tree.leaves(part))
        yield set(range(start, end))
        start = end
