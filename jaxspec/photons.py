"""Photons of a spectrum in each bin, with derivatives that are cheap in both directions."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero
from jax.extend.core import ClosedJaxpr, Literal, jaxpr_as_fun

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
    scalars = tuple(sorted(i for i in moving if leaves[i].ndim == 0))
    arrays = sorted(moving.difference(scalars))
    value: Any = None
    slope: Any = 0.0
    if scalars:
        value, columns = _columns(primals, scalars)
        slope = jnp.stack([directions[i] for i in scalars]) @ columns
    if arrays or not scalars:

        def photons(changed: dict[int, jax.Array]) -> jax.Array:
            spectrum, bins = jax.tree.unflatten(structure, [changed.get(i, leaf) for i, leaf in enumerate(leaves)])
            return spectrum.integral(bins)

        value, along = jax.jvp(photons, ({i: leaves[i] for i in arrays},), ({i: directions[i] for i in arrays},))
        slope = slope + along
    return value, slope


@functools.partial(jax.jit, static_argnames="scalars")  # traced once, in however many programs it is
def _columns(spectrum_and_bins: Any, scalars: tuple[int, ...]) -> tuple[jax.Array, jax.Array]:
    """Photons in each bin, and their derivatives by some of the leaves, (n_scalars, n_bins).

    One at a time: a parameter's derivative does not pass through the formulas that it does not enter.
    """
    leaves, structure = jax.tree.flatten(spectrum_and_bins)

    def photons(leaves: Sequence[jax.Array], i: int, x: jax.Array) -> jax.Array:
        spectrum, bins = jax.tree.unflatten(structure, [*leaves[:i], x, *leaves[i + 1 :]])
        return spectrum.integral(bins)

    def columns(*leaves: jax.Array) -> list[jax.Array]:
        alone = {i: functools.partial(photons, leaves, i) for i in scalars}
        found = [jax.jvp(of, (leaves[i],), (jnp.ones_like(leaves[i]),)) for i, of in alone.items()]
        return [found[0][0], jnp.stack([column for _, column in found])]

    value, slopes = jaxpr_as_fun(_without_repeats(jax.make_jaxpr(columns)(*leaves)))(*leaves)
    return value, slopes


def _without_repeats(closed: ClosedJaxpr) -> ClosedJaxpr:
    """The same program, in which nothing is computed twice.

    The photons themselves are there once for each derivative. XLA sees that in a plain program, but not in a loop: it
    moves what the loop does not change out of it first, each copy by itself.
    """
    same: dict[Any, Any] = {}  # a result to the earlier one that it repeats
    done: dict[Any, Any] = {}
    kept = []
    for step in closed.jaxpr.eqns:
        takes = [each if isinstance(each, Literal) else same.get(each, each) for each in step.invars]
        what = [(repr(each.val), str(each.aval)) if isinstance(each, Literal) else each for each in takes]
        how = [(name, _hashable(value)) for name, value in sorted(step.params.items())]
        key = step.primitive, tuple(what), tuple(how)
        if key in done and not step.effects:
            same |= dict(zip(step.outvars, done[key]))
        else:
            done[key] = step.outvars
            kept.append(step.replace(invars=takes))
    results = [each if isinstance(each, Literal) else same.get(each, each) for each in closed.jaxpr.outvars]
    return ClosedJaxpr(closed.jaxpr.replace(eqns=kept, outvars=results), closed.consts)


def _hashable(value: Any) -> Any:
    """The value, or which object it is: programs inside a program are alike where JAX traced them once."""
    try:
        hash(value)
    except TypeError:
        return id(value)
    return value
