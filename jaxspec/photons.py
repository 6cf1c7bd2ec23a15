"""Photons of a spectrum in each bin, with derivatives that are cheap in both directions."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero

from jaxspec.calibration import Rescaled
from jaxspec.quadrature import Bins
from jaxspec.spectra import AbstractSpectrum


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
    if scalars:
        # One parameter at a time: its derivative does not pass through the formulas that it does not enter.
        columns = []
        for i in sorted(scalars):
            value, column = jax.jvp(lambda x, i=i: photons({i: x}), (leaves[i],), (jnp.ones_like(leaves[i]),))
            columns.append(column)
        slope = jnp.stack([directions[i] for i in sorted(scalars)]) @ jnp.stack(columns)
    arrays = moving - scalars
    if arrays or not scalars:
        value, along = jax.jvp(photons, ({i: leaves[i] for i in arrays},), ({i: directions[i] for i in arrays},))
        slope = slope + along
    return value, slope
