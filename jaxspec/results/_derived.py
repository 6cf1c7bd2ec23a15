"""Derived quantities for each draw of a result."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from jaxspec import units
from jaxspec.density import Layout
from jaxspec.quantities import AbstractQuantity
from jaxspec.rules import AbstractRule

if TYPE_CHECKING:
    from jaxspec.model import Model

_BATCH = 1024  # draws at once; their number is padded to a multiple, so that few shapes are compiled


@jax.jit
def _outcomes(layout: Layout, rule: AbstractRule, points: jax.Array, deviates: jax.Array) -> jax.Array:
    def one(point: tuple[jax.Array, jax.Array]) -> jax.Array:
        values, deviate = point
        return rule(layout.sources_at(values), values, deviate)

    return jax.lax.map(one, (points, deviates), batch_size=_BATCH)


def at_points(model: Model, layout: Layout, quantity: AbstractQuantity, points: np.ndarray) -> np.ndarray:
    """The quantity at values of all parameters, shape (n_points, n_parameters).

    Errors of distances are spread over the points: the first has none.
    """
    if not isinstance(quantity, AbstractQuantity):
        raise TypeError(f"a derived quantity is a Flux, a Luminosity, Derived(function, names) ..., got {quantity!r}")
    padded = np.concatenate([points, np.broadcast_to(points[:1], (-len(points) % _BATCH, points.shape[1]))])
    # Always the same, so that the same result gives the same numbers.
    deviates = np.random.default_rng(0).standard_normal((len(padded), len(model.sources)))
    deviates[0] = 0.0
    arrays = jax.device_put(padded), jax.device_put(deviates)
    return np.asarray(_outcomes(layout, quantity.bind(model), *arrays))[: len(points)]


def table(rows: dict[str, tuple[Any, Any, Any]], unit_of: dict[str, str]) -> Any:
    """A pandas table of quantities: columns "value", "low bound", "hi bound"."""
    import pandas as pd

    return pd.DataFrame.from_dict(
        {row: [units.quantity(float(x), unit_of[row]) for x in numbers] for row, numbers in rows.items()},
        orient="index",
        columns=("value", "low bound", "hi bound"),
        dtype=object,
    )
