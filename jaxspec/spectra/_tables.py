"""Spectra interpolated in a table: XSPEC's table models, and a grid of the user's own arrays."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jaxspec import parameters
from jaxspec.parameters import Declaration
from jaxspec.quadrature import Bins, Points, two_points
from jaxspec.spectra._base import AbstractAdditive, AbstractComponent, AbstractMultiplicative
from jaxspec.spectra._made import make_class


@dataclasses.dataclass(frozen=True)
class Layout:
    """What of a table is no array: names, defaults and declarations of its parameters, and what its numbers are."""

    name: str
    kind: str  # "additive", "multiplicative", "exponential": exp(-table); or see `BASES`
    axes: tuple[tuple[str, float, Declaration], ...]  # the interpolated parameters, in the order of the table's axes
    logarithmic: tuple[bool, ...]  # interpolated in the logarithm of the parameter
    added: tuple[tuple[str, float, Declaration], ...] = ()  # those that a spectrum is added in proportion to
    shift: tuple[str, ...] = ()  # "escale": the table's energies are multiplied; "z": a redshift
    outside: tuple[float, float] = (1.0, 1.0)  # the factor below and above the table's energies


class AbstractTable(AbstractComponent):
    """A spectrum interpolated in a table, whose arrays are leaves: arguments of compiled programs, not part of them."""

    layout: ClassVar[Layout]
    edges: Any  # (n + 1,) keV
    grid: tuple[Any, ...]  # the values of each interpolated parameter
    spectra: tuple[Any, ...]  # (..., n) in the n bins: the table, and what the added parameters multiply

    def contents(self, dtype: Any) -> jax.Array:
        """The interpolated table, (n,)."""
        starts, weights = zip(*map(self._place, range(len(self.grid)))) if self.grid else ((), ())
        factors = [1.0, *(getattr(self, name) for name, *_ in self.layout.added)]
        total: Any = 0.0
        for factor, spectra in zip(factors, self.spectra):
            block = _block(spectra, starts).astype(dtype)
            for weight in weights:
                block = block[0] if block.shape[0] == 1 else (1 - weight) * block[0] + weight * block[1]
            total = total + factor * block
        return total

    def _place(self, axis: int) -> tuple[Any, Any]:
        """The last tabulated value at or below the parameter's, and how far it is on the way to the next."""
        grid, value = self.grid[axis], getattr(self, self.layout.axes[axis][0])
        if len(grid) == 1:
            return 0, 0.0
        xp = jnp if isinstance(value, Tracer) or isinstance(grid, jax.Array) else np
        start = xp.clip(xp.searchsorted(xp.asarray(grid), value, side="right") - 1, 0, len(grid) - 2)
        low, high = xp.asarray(grid)[start], xp.asarray(grid)[start + 1]
        if self.layout.logarithmic[axis]:
            low, high, value = xp.log(low), xp.log(high), xp.log(value)
        return start, (value - low) / (high - low)

    def _stretch(self) -> tuple[Any, Any]:
        """By what energies are multiplied before they are looked up, and what N is multiplied by."""
        scale = 1 / self.escale if "escale" in self.layout.shift else 1.0  # pyright: ignore[reportAttributeAccessIssue]
        stretch = 1 + self.z if "z" in self.layout.shift else 1.0  # pyright: ignore[reportAttributeAccessIssue]
        return scale * stretch, scale

    def _bin_of(self, energy: jax.Array) -> jax.Array:
        where = jnp.searchsorted(jnp.asarray(self.edges), energy, side="right") - 1  # a loop: quick to compile
        return jnp.clip(where, 0, len(self.edges) - 2)


class AdditiveTable(AbstractTable, AbstractAdditive):
    """A table of photons / (cm2 s) in each bin; N(E) is constant inside a bin of the table, and 0 outside."""

    def _density(self, dtype: Any) -> tuple[jax.Array, jax.Array]:
        edges = jnp.asarray(self.edges, dtype)
        return edges, self.norm * self.contents(dtype) / jnp.diff(edges)  # pyright: ignore[reportAttributeAccessIssue]

    def evaluate(self, energy: jax.Array) -> jax.Array:
        stretch, scale = self._stretch()
        at = energy * stretch
        edges, density = self._density(energy.dtype)
        return jnp.where((at >= edges[0]) & (at < edges[-1]), scale * density[self._bin_of(at)], 0.0)

    def integral(self, bins: Bins, moment: Any = 0) -> jax.Array:
        return self._integrals(bins, [moment])[0]

    def points(self, bins: Bins) -> tuple[Points, ...]:
        """Two points in each bin: a table may be finer than the bins."""
        photons, first, second = self._integrals(bins, [0, 1, 2])
        return (two_points(bins, 0.0, (photons, first, second)),)

    def _integrals(self, bins: Bins, moments: Sequence[Any]) -> list[jax.Array]:
        stretch, scale = self._stretch()
        edges, density = self._density(bins.low.dtype)
        low, high = (jnp.clip(each * stretch, edges[0], edges[-1]) for each in (bins.low, bins.high))
        first, last = self._bin_of(jnp.stack([low, high]))
        in_first, in_last, first_end, last_start = density[first], density[last], edges[first + 1], edges[last]
        results = []
        for power in (moment + 1 for moment in moments):
            upto = jnp.concatenate([jnp.zeros(1, edges.dtype), jnp.cumsum(density * jnp.diff(edges**power))])
            # The ends by themselves: a difference of sums alone would lose the digits of a small bin.
            ends = in_first * (first_end**power - low**power) + in_last * (high**power - last_start**power)
            apart = ends + upto[last] - upto[first + 1]
            within = in_first * (high**power - low**power)
            results.append(jnp.where(first == last, within, apart) * scale / (power * stretch**power))
        return results


class MultiplicativeTable(AbstractTable, AbstractMultiplicative):
    """A table of factors, or of what stands in exp(-x), constant inside a bin of the table."""

    def evaluate(self, energy: jax.Array) -> jax.Array:
        at = energy * self._stretch()[0]
        factors = self.contents(energy.dtype)
        factors = jnp.exp(-factors) if self.layout.kind == "exponential" else factors
        below, above = self.layout.outside
        inside = jnp.where(at < self.edges[0], below, factors[self._bin_of(at)])
        return jnp.where(at >= self.edges[-1], above, inside)


BASES: dict[str, type[AbstractTable]] = {
    "additive": AdditiveTable,
    "multiplicative": MultiplicativeTable,
    "exponential": MultiplicativeTable,
}  # and those of `_sampled_tables`


def _block(spectra: Any, starts: tuple[Any, ...]) -> jax.Array:
    """The spectra at the corners of the cell that starts there, (2, ..., 2, n); 1 for an axis with one value."""
    sizes = tuple(min(2, size) for size in spectra.shape[:-1])
    if isinstance(spectra, np.ndarray):
        if not any(isinstance(start, Tracer) for start in starts):
            # Of a table in a file, nothing else is read.
            corner = spectra[tuple(slice(int(start), int(start) + size) for start, size in zip(starts, sizes))]
            return jnp.asarray(native(corner))
        spectra = native(spectra)
    places = [jnp.asarray(start, jnp.int32) for start in (*starts, 0)]
    return jax.lax.dynamic_slice(spectra, places, (*sizes, spectra.shape[-1]))


def native(array: np.ndarray) -> np.ndarray:
    """The array in the byte order of the machine, and in one piece: what JAX takes."""
    return np.ascontiguousarray(array, array.dtype.newbyteorder("="))


_SHIFTS = {
    "escale": (1.0, Declaration("", (1e-6, math.inf), "factor on the energies of the table", False)),
    "z": (0.0, Declaration("", (-0.999, math.inf), "redshift", False)),
}


@functools.cache
def table_class(layout: Layout) -> type[Any]:
    """The component class of tables of this layout; one and the same, so that they share compiled programs."""
    additive = layout.kind == "additive"
    table = {name: (default, declared) for name, default, declared in (*layout.axes, *layout.added)}
    table |= {name: _SHIFTS[name] for name in layout.shift}
    if additive:
        table["norm"] = (1.0, Declaration("", (0.0, math.inf), "factor on the table", True))
    doc = f"A table of a spectrum ({layout.kind}): {', '.join(table)}."
    return make_class(layout.name, (BASES[layout.kind],), table, __name__, doc, layout=layout)


def table_of(layout: Layout, edges: Any, grid: Sequence[Any], spectra: Sequence[Any]) -> Any:
    """The component with these arrays."""
    return table_class(layout)(edges=edges, grid=tuple(grid), spectra=tuple(spectra))


def table_from_arrays(
    edges: Any,
    spectra: Any,
    axes: Mapping[str, Any] | None = None,
    *,
    kind: str = "additive",
    logarithmic: Sequence[str] = (),
    units: Mapping[str, str] | None = None,
    name: str = "table",
) -> Any:
    r"""A component that interpolates in a grid of your own spectra.

    $$N(E) = \mathrm{norm} \sum_c w_c \, N_c(E)$$

    over the corners c of the cell in which the parameters lie, with the weights of multilinear interpolation. N is
    constant inside a bin and 0 outside.

    Args:
        edges: of n energy bins in keV, rising, n + 1 of them.
        spectra: the mean of N(E) in each bin, photons / (cm2 s keV), or factors; the last axis is energy, (..., n).
        axes: for each axis before it the name of the parameter and its values, rising.
        kind: "additive", "multiplicative" or "exponential" (the factor is exp(-spectra)).
        logarithmic: names of parameters in whose logarithm is interpolated.
        units: of parameters, where they have one.
        name: of the component.

    Raises `ValueError` where the shapes do not fit, or edges or values do not rise.
    """
    axes, units = dict(axes or {}), dict(units or {})
    check_kind(kind)
    edges, spectra = np.asarray(edges, float), np.asarray(spectra)
    grid = [np.asarray(values, float) for values in axes.values()]
    shape = (*map(len, grid), len(edges) - 1)
    if spectra.shape != shape:
        raise ValueError(f"spectra have the shape {spectra.shape}; {list(axes)} and the energy bins make {shape}")
    check_rising(edges=edges, **dict(zip(axes, grid)))
    declared = tuple(
        (axis, float(values[len(values) // 2]), Declaration(units.get(axis, ""), (values[0], values[-1]), axis, True))
        for axis, values in zip(axes, grid)
    )
    layout = Layout(name, kind, declared, tuple(axis in logarithmic for axis in axes))
    _check_names(layout)
    return table_of(layout, edges, grid, [spectra * np.diff(edges) if kind == "additive" else spectra])


TAKEN = frozenset({"name", "edges", "grid", "spectra", "layout", "z", "escale", "norm", "kind"})  # fields already


def check_kind(kind: str) -> None:
    """Raises `ValueError` for what is no kind of table."""
    if kind not in ("additive", "multiplicative", "exponential"):
        raise ValueError(f"kind is 'additive', 'multiplicative' or 'exponential', got {kind!r}")


def check_rising(**arrays: np.ndarray) -> None:
    """Raises `ValueError` for an array whose numbers do not rise."""
    for what, values in arrays.items():
        if not (np.all(np.isfinite(values)) and np.all(np.diff(values) > 0)):
            raise ValueError(f"{what} must be finite numbers that rise, got {values}")


def _check_names(layout: Layout) -> None:
    for name, *_ in (*layout.axes, *layout.added):
        if not name.isidentifier() or name in TAKEN:
            raise ValueError(f"a parameter of a table cannot be called {name!r}: choose another word")


def cut(table: Any, within: Mapping[str, tuple[float, float]]) -> Any:
    """The part of a table that is needed for parameters inside these ranges; it has those bounds.

    Raises `KeyError` for an unknown parameter, `ValueError` for a range outside the table.
    """
    layout, grid = table.layout, list(table.grid)
    names = [name for name, *_ in layout.axes]
    slices, axes = [slice(None)] * len(grid), list(layout.axes)
    for name, (low, high) in within.items():
        if name not in names:
            raise parameters.unknown(name, names, "interpolated parameter of this table")
        i = names.index(name)
        values = np.asarray(grid[i])
        if not values[0] <= low < high <= values[-1]:
            raise ValueError(f"{name} is tabulated from {values[0]:g} to {values[-1]:g}, not ({low:g}, {high:g})")
        first = int(np.searchsorted(values, low, side="right")) - 1
        last = int(np.searchsorted(values, high, side="left"))
        slices[i], grid[i] = slice(first, last + 1), values[first : last + 1]
        _, default, d = axes[i]
        bounds = (float(low), float(high))
        axes[i] = (name, min(max(default, low), high), Declaration(d.unit, bounds, d.doc, d.free))
    layout = dataclasses.replace(layout, axes=tuple(axes))
    return table_of(layout, table.edges, grid, [spectra[tuple(slices)] for spectra in table.spectra])
