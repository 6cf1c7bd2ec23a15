"""What may be wrong with an observation's instrument: parameters of their own, fitted like any other."""

from __future__ import annotations

import dataclasses
from math import inf
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jaxspec import parameters
from jaxspec.parameters import Scalar, parameter
from jaxspec.quadrature import Bins
from jaxspec.spectra import AbstractSpectrum

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jaxspec.data import Response, Selection
    from jaxspec.parameters import Parameter

LABEL = "calibration"  # stands where a component's name does in `bgo.calibration.factor`


class Calibration(eqx.Module):
    r"""How the instrument of one observation differs from its response.

    It stands in a model beside the sources: `Model(PointSource(...), Calibration("bgo"))`. Its parameters are called
    `bgo.calibration.factor` and so on. All are frozen at what changes nothing; thaw those that are to be fitted.

    - `factor` multiplies the expected source counts (cross-calibration).
    - `gain_slope` $g$ and `gain_offset` $o$ move the edges of the channels: what is filed under the channel energy $E$
      in truth has $E' = E / g - o$. Counts are taken to be spread smoothly within channels, and to go on beyond the
      first and the last one as they are there.
    - `energy_scale` $s$ is the energy that the instrument assigns to a photon over its true one, before redistribution:
      a photon bin $(a, b)$ holds the photons of $(a / s, b / s)$.

    They act on sources, not on backgrounds that have a model of their own. Fluxes and spectra are those of the sources
    themselves, without them.

    Args:
        name: of the observation.

    Raises `ValueError` where a value lies outside the bounds of its parameter.

    **Reference:** XSPEC manual, command gain (there it moves the energies of the response, which is the same);
    Nigro et al. 2019, A&A 625, A10, sect. 5.2 (energy scale, there 1 + z).
    """

    name: str = eqx.field(static=True)
    factor: Scalar = parameter(1.0, bounds=(0, inf), doc="expected over nominal source counts", free=False)
    gain_slope: Scalar = parameter(1.0, bounds=(0.1, 10), doc="nominal over true channel width", free=False)
    gain_offset: Scalar = parameter(0.0, unit="keV", doc="subtracted from the channel energies", free=False)
    energy_scale: Scalar = parameter(1.0, bounds=(0.1, 10), doc="assigned over true photon energy", free=False)

    def __check_init__(self) -> None:
        parameters.check_name(self.name, "calibrated observation")
        parameters.check_fields(self)

    def components(self) -> dict[str, Calibration]:
        """Itself, by the name that its parameters have in common."""
        return {LABEL: self}

    def with_fields(self, **fields: Any) -> Self:
        """The same with other fields, unchecked: they may be traced."""
        return parameters.with_fields(self, fields)

    def __repr__(self) -> str:
        fields = parameters.declarations(self)
        return f"Calibration({self.name!r}, {', '.join(f'{field}={getattr(self, field):.6g}' for field in fields)})"


NEUTRAL = {field.name: field.default for field in dataclasses.fields(Calibration) if "declaration" in field.metadata}


class Effects(NamedTuple):
    """Which parts of a calibration a program has to compute, and its place among those of the model."""

    place: int
    factor: bool
    gain: bool
    energy_scale: bool

    @classmethod
    def of(cls, calibration: Calibration, place: int, rows: Mapping[str, Parameter]) -> Effects:
        """All but those whose parameters are frozen at what changes nothing."""

        def active(field: str) -> bool:
            row = rows[parameters.full_name(calibration.name, LABEL, field)]
            return row.free or row.link is not None or float(row.value) != NEUTRAL[field]

        return cls(place, active("factor"), active("gain_slope") or active("gain_offset"), active("energy_scale"))


class Rescaled(eqx.Module):
    """A spectrum as an instrument sees it that assigns `scale` times their energy to photons."""

    spectrum: AbstractSpectrum
    scale: Scalar

    def integral(self, bins: Bins) -> jax.Array:
        """Photons / (cm2 s) in each bin of assigned energy."""
        return self.spectrum.integral(bins.stretched(1 / self.scale))


class Shift(eqx.Module):
    """Sorts the counts of all channels, in order of energy, into fitted bins whose channels lie elsewhere."""

    edges: jax.Array  # (n_channels + 1,) keV
    low: jax.Array  # (n_used,) keV: nominal edges of the channels that are fitted,
    high: jax.Array
    bins: jax.Array  # the bin of each,
    area_scale: jax.Array  # and its AREASCAL
    n_bins: int = eqx.field(static=True)

    @classmethod
    def of(cls, response: Response, selection: Selection, name: str) -> Shift:
        """For one observation, called `name`. Raises `ValueError` where channels leave gaps or overlap in energy."""
        order = channel_order(response)
        low, high = response.channel_low[order], response.channel_high[order]
        apart = np.append(np.abs(low[1:] - high[:-1]) > 1e-3 * (high - low)[1:] + 1e-6 * low[1:], False)
        wrong = np.flatnonzero(apart | (high <= low))
        if wrong.size:
            raise ValueError(
                f"{name}: a gain moves the edges between channels, but channel {response.channels[order][wrong[0]]} "
                f"({low[wrong[0]]:g} to {high[wrong[0]]:g} keV) does not end where the next one begins, or has no "
                "width: freeze gain_slope at 1 and gain_offset at 0"
            )
        used = np.flatnonzero(selection.groups >= 0)
        return cls(
            edges=jax.device_put(np.append(low, high[-1])),
            low=jax.device_put(response.channel_low[used]),
            high=jax.device_put(response.channel_high[used]),
            bins=jax.device_put(selection.groups[used]),
            area_scale=jax.device_put(selection.area_scale[used]),
            n_bins=len(selection.counts),
        )

    def __call__(self, counts: jax.Array, slope: Scalar, offset: Scalar) -> jax.Array:
        """Counts in each fitted bin, from those of all channels."""
        curve = _Cumulative.of(self.edges, counts)
        moved = curve(self.high / slope - offset) - curve(self.low / slope - offset)
        return jnp.zeros(self.n_bins).at[self.bins].add(self.area_scale * moved)


def channel_order(response: Response) -> np.ndarray:
    """The channels in order of energy, which those of gratings are not."""
    return np.argsort(response.channel_low, kind="stable")


class _Cumulative(NamedTuple):
    """Counts below an energy: exact at the edges of channels, monotonic and once differentiable, straight outside."""

    edges: jax.Array
    counts: jax.Array
    sums: jax.Array
    slopes: jax.Array  # counts / keV at the edges

    @classmethod
    def of(cls, edges: jax.Array, counts: jax.Array) -> _Cumulative:
        """Slopes by the harmonic means of Fritsch & Butland 1984, SIAM J. Sci. Stat. Comput. 5, 300."""
        width = jnp.diff(edges)
        density = counts / width
        left, right, a, b = density[:-1], density[1:], width[:-1], width[1:]
        both = (left > 0) & (right > 0)
        weighted = jnp.where(both, (2 * b + a) * right + (b + 2 * a) * left, 1.0)
        inner = jnp.where(both, 3 * (a + b) * left * right / weighted, 0.0)
        slopes = jnp.concatenate([density[:1], inner, density[-1:]])
        return cls(edges, counts, jnp.concatenate([jnp.zeros(1), jnp.cumsum(counts)]), slopes)

    def __call__(self, energy: jax.Array) -> jax.Array:
        i = jnp.clip(jnp.searchsorted(self.edges, energy, side="right") - 1, 0, len(self.counts) - 1)
        width = self.edges[i + 1] - self.edges[i]
        # Of two equal numbers `clip` takes half the derivative of each: at the ends the halves add up, below.
        t = (jnp.clip(energy, self.edges[0], self.edges[-1]) - self.edges[i]) / width
        bend = self.slopes[i] * (1 - t) - self.slopes[i + 1] * t
        inside = self.sums[i] + self.counts[i] * t**2 * (3 - 2 * t) + width * t * (1 - t) * bend
        below, above = jnp.minimum(energy - self.edges[0], 0.0), jnp.maximum(energy - self.edges[-1], 0.0)
        return inside + self.slopes[0] * below + self.slopes[-1] * above
