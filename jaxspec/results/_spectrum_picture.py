"""The picture of spectra, with the flux points that they were fitted to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxspec import units
from jaxspec.density import Layout
from jaxspec.quadrature import Bins
from jaxspec.results import _pictures

if TYPE_CHECKING:
    from jaxspec.results._result import Result

_N_SPECTRUM = 1000  # draws that make the band: they are cheaper than folded ones
_N_ENERGIES = 300
_STEEP = 10.0  # how far a band's flux may place a point from where it lies for E^-2


@jax.jit
def _part_spectra(layout: Layout, points: jax.Array, bins: Bins, moment: jax.Array) -> jax.Array:
    """Means of E^moment N(E) over narrow bins for each component of each source, (n_points, n_parts, n_bins).

    A line narrower than the bins is seen by its mean, where values at single energies would miss it.
    """

    def one(values: jax.Array) -> jax.Array:
        parts = [part for spectrum in layout.sources_at(values) for part in spectrum.parts().values()]
        return jnp.stack([part.integral(bins, moment) / (bins.high - bins.low) for part in parts])

    return jax.lax.map(one, points, batch_size=_pictures._BATCH)


def spectrum(
    result: Result,
    low: Any,
    high: Any,
    unit: str,
    sources: Sequence[str] | None,
    components: bool,
    level: float,
    energy_unit: str | None,
    figsize: tuple[float, float] | None,
) -> Any:
    """The picture of `Result.plot_spectrum`."""
    from jaxspec.plots import _spectrum

    problem = result.problem
    wanted = _pictures._named(sources, [source.name for source in problem.model.sources], "source")
    first, last = _noticed(result)
    low, high = units.band(first if low is None else low, last if high is None else high)
    moment, factor = units.spectrum_moment(unit)
    edges = np.geomspace(low, high, _N_ENERGIES + 1)
    layout = problem.density.layout
    values = _part_spectra(
        layout, _pictures._thinned(result, _N_SPECTRUM), Bins.of(edges[:-1], edges[1:], 3), jnp.asarray(float(moment))
    )
    tables = _spectra_of(result, wanted, components, factor * np.asarray(values))
    curves = []
    for part, table in tables:
        band = _pictures._band(result, table, level)
        curves.append(_spectrum.Curve(part.label, result.centre(table), *band, part.colour, part.dash))
    return _spectrum.spectra(
        np.sqrt(edges[:-1] * edges[1:]),
        curves,
        _measured(result, wanted, jnp.asarray(float(moment)), factor),
        unit=unit,
        moment=moment,
        level=level,
        unit_of_energy=energy_unit,
        figsize=figsize,
    )


def _measured(result: Result, sources: Sequence[str], moment: jax.Array, factor: float) -> list[Any]:
    """Flux points that see some of the sources, each as its ratio to the model times the model at its energy."""
    from jaxspec.plots import _spectrum

    problem, found = result.problem, []
    pieces = _pictures._parts(result, True, [source.name for source in problem.model.sources])
    for i, selection in enumerate(problem.selections):
        above, limits, below = selection.errors_above, selection.upper_limits, selection.errors
        seen = problem.spectra_seen_by(i)
        if above is None or below is None or limits is None or not set(seen) & set(sources):
            continue
        low, high = selection.channel_low, selection.channel_high
        energy = np.sqrt(low * high)
        places = [piece.position for piece in pieces if problem.model.sources[piece.colour].name in seen]
        near = Bins.of(energy * (1 - 1e-4), energy * (1 + 1e-4), 3)
        table = _part_spectra(problem.density.layout, _pictures._thinned(result, _pictures._N_COUNTS), near, moment)
        expected = _pictures._folded(result, False)[problem.labels[i]].expected.sum(axis=1)
        model = factor * np.asarray(table)[:, places].sum(axis=1)
        scale = result.centre(np.divide(model, expected, out=np.zeros_like(model), where=expected > 0))
        # Where the model dies out inside a band, or has nothing there, a power law E^-2 stands for it.
        response = problem.observations[i].response
        band = response.matrix[selection.groups >= 0] @ (1 / response.energy_low - 1 / response.energy_high)
        plain = factor * energy ** (float(moment) - 2) / band
        scale = np.where((scale > plain / _STEEP) & (scale < plain * _STEEP), scale, plain)
        found.append(
            _spectrum.Points(
                problem.labels[i], energy, low, high, scale * selection.counts, scale * below, scale * above, limits > 0
            )
        )
    return found


def _noticed(result: Result) -> tuple[float, float]:
    """The band that the observations cover, in keV."""
    low = np.concatenate([selection.channel_low for selection in result.problem.selections])
    high = np.concatenate([selection.channel_high for selection in result.problem.selections])
    return float(np.min(np.where(low > 0, low, high / 2))), float(np.max(high))


def _spectra_of(
    result: Result, sources: Sequence[str], components: bool, values: np.ndarray
) -> list[tuple[_pictures._Part, np.ndarray]]:
    """The wanted sources, and their components, with their spectra (n_points, n_energies)."""
    pieces = _pictures._parts(result, True, sources)
    tables = []
    for source in _pictures._parts(result, False, sources):
        members = [piece for piece in pieces if piece.colour == source.colour]
        tables.append((source, values[:, [piece.position for piece in members]].sum(axis=1)))
        if components and len(members) > 1:
            tables += [(piece, values[:, piece.position]) for piece in members]
    return tables
