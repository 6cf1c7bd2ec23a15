"""Optically thin plasmas in collisional equilibrium, from the user's AtomDB files."""

from __future__ import annotations

import abc
from math import inf
from typing import Any, ClassVar, Self

import equinox as eqx
import jax
import jax.numpy as jnp

from jaxspec.parameters import Scalar, parameter
from jaxspec.quadrature import Bins, Points, pick_moment, two_points
from jaxspec.spectra._abundances import ELEMENTS
from jaxspec.spectra._atomdb import Emission, Groups, read_emission
from jaxspec.spectra._base import AbstractAdditive

_NODES = (-(3**-0.5), 3**-0.5)  # of a quadrature that is exact for cubics
_SHOWN = 1e-3  # half width of a line, in parts of its energy, where N(E) itself is asked for


class AbstractPlasma(AbstractAdditive):
    """Lines and continua of groups of elements, interpolated between tabulated temperatures.

    The table is a leaf: an argument of compiled programs, not part of them.
    """

    kT: eqx.AbstractVar[Scalar]
    z: eqx.AbstractVar[Scalar]
    norm: eqx.AbstractVar[Scalar]
    abundances: eqx.AbstractVar[str]
    table: eqx.AbstractVar[Emission | None]

    groups: ClassVar[Groups]

    def __post_init__(self) -> None:
        if self.table is None:
            self.table = read_emission(None, None, self.abundances, self.groups)

    @classmethod
    def from_atomdb(cls, path: Any = None, within: tuple[float, float] | None = None, **fields: Any) -> Self:
        """The component with the files of a path, and the temperatures of a range alone.

        Args:
            path: of the folder of apec_line.fits and apec_coco.fits, or what their names begin with, like
                "/data/apec_v3.0.9"; None for $ATOMDB.
            within: the range of kT in keV; other temperatures are neither read nor saved, and kT stays inside.
            **fields: parameters and settings.

        Raises `FileNotFoundError`, `ValueError` for files that are not AtomDB's or have not these temperatures.
        """
        return cls(**fields, table=read_emission(path, within, fields.get("abundances", "angr"), cls.groups))

    @property
    def limits(self) -> dict[str, tuple[float, float]]:
        return {"kT": self._table.within}

    @property
    def _table(self) -> Emission:
        assert self.table is not None  # for the type checker
        return self.table

    @abc.abstractmethod
    def relative(self) -> list[Any]:
        """The abundance of each group, relative to the table."""

    def evaluate(self, energy: jax.Array) -> jax.Array:
        rest = jnp.reshape(energy * (1 + self.z), (1,))
        segments, factors = self._segments(energy.dtype)
        ends = jnp.concatenate([rest * (1 - _SHOWN), rest * (1 + _SHOWN)])
        lines = _above_lines(self._table, segments, ends, _SHOWN * ends)[..., 0]
        width = rest * jnp.log((1 + _SHOWN) / (1 - _SHOWN))  # with which a line keeps its photons
        density = _density(self._table, segments, rest)[..., 0] + (lines[..., 0] - lines[..., 1]) / width
        return jnp.reshape(jnp.sum(factors * density), jnp.shape(energy))

    def integral(self, bins: Bins, moment: Any = 0) -> jax.Array:
        return pick_moment(moment, self._moments(bins))

    def points(self, bins: Bins) -> tuple[Points, ...]:
        """Two points in each bin with the mean energy and the variance of the photons there."""
        return (two_points(bins, 0.0, self._moments(bins)),)

    def _moments(self, bins: Bins) -> tuple[jax.Array, jax.Array, jax.Array]:
        """The integrals over each bin of N(E) E^0, E^1 and E^2."""
        stretch, n = 1 + self.z, len(bins.low)
        segments, factors = self._segments(bins.low.dtype)
        edges = stretch * jnp.concatenate([bins.low, bins.high])
        # Of an edge alone, and not of the bins beside it: what leaves one enters the other.
        reach = edges * jnp.mean((bins.high - bins.low) / (bins.high + bins.low))
        # Each by itself: above a faint continuum there may be bright lines.
        lines = _above_lines(self._table, segments, edges, reach)
        smooth = _above_continuum(self._table, segments, edges)
        within = lines[..., :n, :] - lines[..., n:, :] + jnp.maximum(smooth[..., :n, :] - smooth[..., n:, :], 0.0)
        within = jnp.einsum("tg,tgxm->mx", factors, within)
        return within[0] / stretch, within[1] / stretch**2, within[2] / stretch**3

    def _segments(self, dtype: Any) -> tuple[jax.Array, jax.Array]:
        """The segments of the table that are needed, (2, groups), and what each is multiplied by."""
        grid, kT = jnp.asarray(self._table.kT, dtype), jnp.asarray(self.kT, dtype)
        i = jnp.clip(jnp.searchsorted(grid, jax.lax.stop_gradient(kT), side="right") - 1, 0, len(grid) - 2)
        upper = (kT - grid[i]) / (grid[i + 1] - grid[i])
        relative = jnp.stack([jnp.asarray(each, dtype) for each in self.relative()])
        segments = (i + jnp.arange(2))[:, None] * len(relative) + jnp.arange(len(relative))
        return segments, self.norm * jnp.stack([1 - upper, upper])[:, None] * relative


def _place(energies: Any, start: Any, halvings: int, segments: jax.Array, x: jax.Array) -> tuple[jax.Array, ...]:
    """First and last place of each segment, and the first place whose energy is above each x: (2, groups, len(x))."""
    energies, start = jnp.asarray(energies, x.dtype), jnp.asarray(start).astype(jnp.int32)
    first, last = start[segments][..., None], start[segments + 1][..., None]
    x = jax.lax.stop_gradient(x)

    def halve(_: Any, ends: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        low, high = ends
        middle = (low + high) // 2
        upwards = (low < high) & (energies[middle] <= x)
        return jnp.where(upwards, middle + 1, low), jnp.where(upwards, high, middle)

    shape = (*segments.shape, len(x))
    ends = jnp.broadcast_to(first, shape), jnp.broadcast_to(last, shape)
    return first, last, jax.lax.fori_loop(0, halvings, halve, ends)[0]


@jax.custom_jvp
def _above_lines(table: Emission, segments: jax.Array, x: jax.Array, reach: Any) -> jax.Array:
    """The photons of the lines above each x, times E^0, E^1 and E^2: (2, groups, len(x), 3).

    The derivative by x is that of lines spread over twice the reach: sharp ones have none.
    """
    del reach
    _, last, place = _place(table.line_energy, table.line_start, table.halvings[0], segments, x)
    rows = jnp.asarray(table.line_above, x.dtype)[jnp.minimum(place, len(table.line_energy) - 1)]
    return jnp.where((place < last)[..., None], rows, 0.0)


@_above_lines.defjvp  # pyright: ignore[reportFunctionMemberAccess]
def _(primals: Any, tangents: Any) -> tuple[jax.Array, jax.Array]:
    table, segments, x, reach = primals
    upper, lower = (_above_lines(table, segments, x + sign * reach, reach) for sign in (1, -1))
    return _above_lines(*primals), (upper - lower) * (tangents[2] / (2 * reach))[:, None]


def _piece(table: Emission, segments: jax.Array, x: jax.Array) -> tuple[jax.Array, ...]:
    """The piece of the continuum that x is in or next to; where its segment ends; its ends and the densities there."""
    first, last, place = _place(table.piece_low, table.piece_start, table.halvings[1], segments, x)
    piece = jnp.clip(place - 1, first, jnp.maximum(last - 1, 0))
    low, high, density = (
        jnp.asarray(each, x.dtype)[piece] for each in (table.piece_low, table.piece_high, table.piece_density)
    )
    # A segment may be empty.
    return piece, last, low, high, jnp.where((last > first)[..., None], density, 0.0)


def _density(table: Emission, segments: jax.Array, x: jax.Array) -> jax.Array:
    """N(E) of the continuum: (2, groups, len(x))."""
    _, _, low, high, density = _piece(table, segments, x)
    at = density[..., 0] + (density[..., 1] - density[..., 0]) * (x - low) / (high - low)
    return jnp.where((low <= x) & (x <= high), at, 0.0)


def _above_continuum(table: Emission, segments: jax.Array, x: jax.Array) -> jax.Array:
    """The integrals of the continuum above each x, times E^0, E^1 and E^2: (2, groups, len(x), 3)."""
    piece, last, low, high, density = _piece(table, segments, x)
    x = jnp.clip(x, low, high)
    half = 0.5 * (high - x)
    rows = jnp.asarray(table.piece_above, x.dtype)[jnp.minimum(piece + 1, len(table.piece_low) - 1)]
    total = jnp.where((piece + 1 < last)[..., None], rows, 0.0)
    for node in _NODES:
        at = x + (1 + node) * half
        content = half * (density[..., 0] + (density[..., 1] - density[..., 0]) * (at - low) / (high - low))
        total = total + jnp.stack([content, content * at, content * at**2], axis=-1)
    return total


_METAL_NAMES = ("C", "N", "O", "Ne", "Mg", "Al", "Si", "S", "Ar", "Ca", "Fe", "Ni")
_METALS = tuple(ELEMENTS.index(name) + 1 for name in _METAL_NAMES)
_OTHERS = tuple(z for z in range(1, len(ELEMENTS) + 1) if z not in _METALS)
_EACH = tuple((z,) for z in range(1, len(ELEMENTS) + 1))


class Apec(AbstractPlasma):
    r"""Optically thin plasma in collisional ionisation equilibrium, from AtomDB's files.

    $$N(E) = \mathrm{norm} \, \sum_Z A_Z \, \epsilon_Z(E (1 + z), kT), \qquad
    \mathrm{norm} = \frac{10^{-14}}{4 \pi [D_A (1 + z)]^2} \int n_e n_H \, dV$$

    with the emissivities of lines and continua, linear in kT between the tabulated temperatures and, for continua,
    linear in E between the tabulated energies; the angular diameter distance D_A in cm and the densities in cm-3. The
    abundance is that of C, N, O, Ne, Mg, Al, Si, S, Ar, Ca, Fe and Ni, relative to the set; other elements have that of
    the set. The files are the user's own (www.atomdb.org), in the folder that the environment variable ATOMDB names;
    `Apec.from_atomdb("/data/atomdb", within=(0.5, 8), kT=2)` reads others, and fewer temperatures.

    A line has no width: all its photons are in one bin. N(E) itself shows it as a box of 0.2 % of its energy. By z a
    bin's photons change in jumps; the derivative is that of lines as wide as the bin. Velocities of s km/s broaden
    lines, and the continuum, by `GaussianSmoothing(width=6 * s / 299792.458, index=1)(Apec())`; XSPEC's `bapec` adds
    the thermal velocity of each element's ions in quadrature: 42 (kT / keV)^(1/2) km/s for iron, 78 for oxygen.

    Args:
        abundances: "angr", "wilm", "aspl", "feld", "aneb", "grsa", "lodd", "lpgp" or "lpgs", as in XSPEC.

    **Reference:** Smith et al. 2001, ApJ 556, L91; Foster et al. 2012, ApJ 756, 128; XSPEC's `apec`.
    """

    kT: Scalar = parameter(1.0, unit="keV", bounds=(1e-4, 1e3), doc="temperature, inside those of the files")
    abundance: Scalar = parameter(1.0, bounds=(0, 1000), doc="of metals relative to the set", free=False)
    z: Scalar = parameter(0.0, bounds=(-0.999, inf), doc="redshift", free=False)
    norm: Scalar = parameter(1.0, unit="1e14 / cm5", bounds=(0, inf), doc="emission measure over distance squared")
    abundances: str = eqx.field(static=True, default="angr", kw_only=True)
    table: Emission | None = eqx.field(default=None, kw_only=True, metadata={"saved": False})  # as arrays

    groups: ClassVar[Groups] = (_OTHERS, _METALS)

    def relative(self) -> list[Any]:
        return [1.0, self.abundance]


class VariableApec(AbstractPlasma):
    r"""Optically thin plasma in collisional ionisation equilibrium of any composition, from AtomDB's files.

    $$N(E) = \mathrm{norm} \, \sum_Z a_Z \, A_Z \, \epsilon_Z(E (1 + z), kT), \qquad
    \mathrm{norm} = \frac{10^{-14}}{4 \pi [D_A (1 + z)]^2} \int n_e n_H \, dV$$

    as `Apec`, with the abundance a_Z of each element relative to the set's A_Z as a parameter.

    Args:
        abundances: "angr", "wilm", "aspl", "feld", "aneb", "grsa", "lodd", "lpgp" or "lpgs", as in XSPEC.

    **Reference:** as `Apec`; XSPEC's `vapec` and `vvapec`.
    """

    kT: Scalar = parameter(1.0, unit="keV", bounds=(1e-4, 1e3), doc="temperature, inside those of the files")
    H: Scalar = parameter(1.0, bounds=(0, 1000), doc="hydrogen relative to the set", free=False)
    He: Scalar = parameter(1.0, bounds=(0, 1000), doc="helium relative to the set", free=False)
    Li: Scalar = parameter(1.0, bounds=(0, 1000), doc="lithium relative to the set", free=False)
    Be: Scalar = parameter(1.0, bounds=(0, 1000), doc="beryllium relative to the set", free=False)
    B: Scalar = parameter(1.0, bounds=(0, 1000), doc="boron relative to the set", free=False)
    C: Scalar = parameter(1.0, bounds=(0, 1000), doc="carbon relative to the set", free=False)
    N: Scalar = parameter(1.0, bounds=(0, 1000), doc="nitrogen relative to the set", free=False)
    O: Scalar = parameter(1.0, bounds=(0, 1000), doc="oxygen relative to the set", free=False)  # noqa: E741
    F: Scalar = parameter(1.0, bounds=(0, 1000), doc="fluorine relative to the set", free=False)
    Ne: Scalar = parameter(1.0, bounds=(0, 1000), doc="neon relative to the set", free=False)
    Na: Scalar = parameter(1.0, bounds=(0, 1000), doc="sodium relative to the set", free=False)
    Mg: Scalar = parameter(1.0, bounds=(0, 1000), doc="magnesium relative to the set", free=False)
    Al: Scalar = parameter(1.0, bounds=(0, 1000), doc="aluminium relative to the set", free=False)
    Si: Scalar = parameter(1.0, bounds=(0, 1000), doc="silicon relative to the set", free=False)
    P: Scalar = parameter(1.0, bounds=(0, 1000), doc="phosphorus relative to the set", free=False)
    S: Scalar = parameter(1.0, bounds=(0, 1000), doc="sulphur relative to the set", free=False)
    Cl: Scalar = parameter(1.0, bounds=(0, 1000), doc="chlorine relative to the set", free=False)
    Ar: Scalar = parameter(1.0, bounds=(0, 1000), doc="argon relative to the set", free=False)
    K: Scalar = parameter(1.0, bounds=(0, 1000), doc="potassium relative to the set", free=False)
    Ca: Scalar = parameter(1.0, bounds=(0, 1000), doc="calcium relative to the set", free=False)
    Sc: Scalar = parameter(1.0, bounds=(0, 1000), doc="scandium relative to the set", free=False)
    Ti: Scalar = parameter(1.0, bounds=(0, 1000), doc="titanium relative to the set", free=False)
    V: Scalar = parameter(1.0, bounds=(0, 1000), doc="vanadium relative to the set", free=False)
    Cr: Scalar = parameter(1.0, bounds=(0, 1000), doc="chromium relative to the set", free=False)
    Mn: Scalar = parameter(1.0, bounds=(0, 1000), doc="manganese relative to the set", free=False)
    Fe: Scalar = parameter(1.0, bounds=(0, 1000), doc="iron relative to the set", free=False)
    Co: Scalar = parameter(1.0, bounds=(0, 1000), doc="cobalt relative to the set", free=False)
    Ni: Scalar = parameter(1.0, bounds=(0, 1000), doc="nickel relative to the set", free=False)
    Cu: Scalar = parameter(1.0, bounds=(0, 1000), doc="copper relative to the set", free=False)
    Zn: Scalar = parameter(1.0, bounds=(0, 1000), doc="zinc relative to the set", free=False)
    z: Scalar = parameter(0.0, bounds=(-0.999, inf), doc="redshift", free=False)
    norm: Scalar = parameter(1.0, unit="1e14 / cm5", bounds=(0, inf), doc="emission measure over distance squared")
    abundances: str = eqx.field(static=True, default="angr", kw_only=True)
    table: Emission | None = eqx.field(default=None, kw_only=True, metadata={"saved": False})  # as arrays

    groups: ClassVar[Groups] = _EACH

    def relative(self) -> list[Any]:
        return [getattr(self, element) for element in ELEMENTS]
