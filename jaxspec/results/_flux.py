"""Fluxes of sources and components over a band, one for each draw of the parameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxspec import parameters, units
from jaxspec.density import Layout
from jaxspec.programs import on_all_processors, program
from jaxspec.quadrature import Bins

if TYPE_CHECKING:
    from jaxspec.model import Model

_PIECES = 24  # of the band, each with its own quadrature where a component has no closed form: 1e-7 over 15 decades
_BATCH = 1024  # draws at once; their number is padded to a multiple, so that few shapes are compiled


@program
def _band_integrals(layout: Layout, draws: jax.Array, low: jax.Array, high: jax.Array, moment: jax.Array) -> jax.Array:
    """The integral of E^moment N(E) over the band for each draw and each part of each source, (n_draws, n_parts)."""
    bins = Bins.dividing(low, high, _PIECES)

    def one(values: jax.Array) -> jax.Array:
        parts = [part for spectrum in layout.sources_at(values) for part in spectrum.parts().values()]
        return jnp.stack([jnp.sum(part.integral(bins, moment)) for part in parts])

    return jax.lax.map(one, draws, batch_size=_BATCH)


def part_fluxes(layout: Layout, draws: np.ndarray, low: float, high: float, unit: str) -> np.ndarray:
    """The same in `unit`, for draws of all parameters, shape (n_draws, n_parameters).

    Band and moment are arguments of one compiled program, called in a thread for each processor: another band or
    another unit compiles nothing.
    """
    moment, factor = units.flux_moment(unit)
    band = np.float64(low), np.float64(high), np.float64(moment)
    return factor * on_all_processors(lambda some: np.asarray(_band_integrals(layout, some, *band)), draws, _BATCH)


def rows(
    model: Model,
    fluxes: np.ndarray,
    components: bool | Sequence[str],
    sources: Sequence[str] | None,
    sum_sources: bool,
) -> dict[str, np.ndarray]:
    """The parts of each source joined into the rows of a flux table.

    Args:
        fluxes: of the parts of all sources, shape (n_draws, n_parts).
        components: False for a row "source: total" each; True for a row each component (a source of one component
            keeps its "total"); or names of the components wanted.
        sources: names of those wanted; None for all.
        sum_sources: one row "total", the sum of everything chosen, in place of the others.

    Raises `KeyError` for a source or component that the model has not.
    """
    parts = [(source.name, part) for source in model.sources for part in source.spectrum.parts()]
    for name in sources or ():
        if name not in {source for source, _ in parts}:
            raise parameters.unknown(name, [source.name for source in model.sources], "source")
    names = sorted({part for _, part in parts})
    wanted = names if isinstance(components, bool) else [components] if isinstance(components, str) else components
    for name in wanted:
        if name not in names:
            raise parameters.unknown(name, names, "additive component")
    table: dict[str, np.ndarray] = {}
    for i, (source, part) in enumerate(parts):
        if part not in wanted or (sources is not None and source not in sources):
            continue
        alone = sum(other == source for other, _ in parts) == 1
        row = f"{source}: total" if components is False or alone else f"{source}: {part}"
        row = "total" if sum_sources else row
        table[row] = table.get(row, 0.0) + fluxes[:, i]
    if not table:
        raise ValueError(f"none of the sources {sources} has a component {' or '.join(wanted)}")
    return table


def table(values: dict[str, tuple[Any, Any, Any]], unit: str) -> Any:
    """A pandas table of quantities: columns "flux", "low bound", "hi bound"."""
    import pandas as pd

    columns = ("flux", "low bound", "hi bound")
    return pd.DataFrame.from_dict(
        {row: [units.quantity(float(number), unit) for number in numbers] for row, numbers in values.items()},
        orient="index",
        columns=columns,
        dtype=object,
    )
