"""What each observation sees of the spectra: through which fold, for how long, and how its instrument is off."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import equinox as eqx
import jax
import numpy as np

from jaxspec.calibration import Calibration, Effects, Shift, channel_order
from jaxspec.data import region_ratio
from jaxspec.folding import AbstractFold, fitted_matrix, fold_of, photon_range

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from jaxspec.data import Observation, Response, Selection
    from jaxspec.model import Model

Edges = tuple[np.ndarray, np.ndarray]


class Term(eqx.Module):
    """Part of the expected counts of one observation: some spectra through one fold."""

    exposure: jax.Array
    shift: Shift | None  # of the channels, where a gain is fitted: the fold then gives all channels
    observation: int = eqx.field(static=True)
    fold: int = eqx.field(static=True)
    spectra: tuple[int, ...] = eqx.field(static=True)
    effects: Effects | None = eqx.field(static=True)

    @property
    def rescaled_by(self) -> int:
        """The calibration whose energy scale the spectra are seen with; -1 for none."""
        return self.effects.place if self.effects is not None and self.effects.energy_scale else -1

    def counts(self, rates: jax.Array, calibrations: Sequence[Calibration]) -> jax.Array:
        """Expected counts in each fitted bin, from what the fold gives."""
        if self.effects is None:
            return self.exposure * rates
        own = calibrations[self.effects.place]
        if self.shift is not None:
            rates = self.shift(rates, own.gain_slope, own.gain_offset)
        return self.exposure * (own.factor * rates if self.effects.factor else rates)


class _Folds:
    """Folds and grids of photon bins, gathered."""

    def __init__(self) -> None:
        self.folds: list[AbstractFold] = []
        self.grid_of: list[int] = []
        self.grids: list[Edges] = []

    def add(self, response: Response, matrix: csr_array) -> int:
        """The number of the fold with a response's matrix (n_rows, n_energies)."""
        used = photon_range(matrix)
        low, high = response.energy_low[used], response.energy_high[used]
        same = [i for i, (a, b) in enumerate(self.grids) if np.array_equal(a, low) and np.array_equal(b, high)]
        self.grid_of.append(same[0] if same else len(self.grids))
        if not same:
            self.grids.append((low, high))
        self.folds.append(fold_of(matrix[:, used]))
        return len(self.folds) - 1


def terms_of(
    model: Model, observations: Sequence[Observation], selections: Sequence[Selection]
) -> tuple[tuple[Term, ...], tuple[AbstractFold, ...], tuple[int, ...], tuple[Edges, ...]]:
    """The terms of all observations, the folds they use, the grid of each fold, and the grids."""
    sources = tuple(range(len(model.sources)))
    known = {member.name: place for place, member in enumerate((*model.sources, *model.backgrounds))}
    folds, terms = _Folds(), []
    for i, (observation, selection) in enumerate(zip(observations, selections)):
        exposure = jax.device_put(np.asarray(selection.exposure, float))
        seen = sources if observation.sources is None else tuple(known[name] for name in observation.sources)
        if seen:
            effects = effects_of(model, observation.name)
            shift = None
            matrix = fitted_matrix(observation.response, selection)
            if effects is not None and effects.gain:
                shift = Shift.of(observation.response, selection, observation.name)
                matrix = observation.response.matrix[channel_order(observation.response)]
            terms.append(Term(exposure, shift, i, folds.add(observation.response, matrix), seen, effects))
        for name, response in observation.background_models:
            inside = dataclasses.replace(selection, area_scale=selection.area_scale * region_ratio(observation))
            fold = folds.add(response, fitted_matrix(response, inside))
            terms.append(Term(exposure, None, i, fold, (known[name],), None))
    return tuple(terms), tuple(folds.folds), tuple(folds.grid_of), tuple(folds.grids)


def effects_of(model: Model, name: str) -> Effects | None:
    """What a program must compute of an observation's calibration; None where that changes nothing."""
    for place, calibration in enumerate(model.calibrations):
        if calibration.name == name:
            effects = Effects.of(calibration, place, model.parameters)
            return effects if any(effects[1:]) else None
    return None
