"""Responses whose matrix is split into parts that add up, each on photon bins of its own (XRISM Resolve)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from ._rmf import Matrix, ResponseFile

WHOLE = 1.05  # a redistribution does not sum to more


def is_split(content: ResponseFile) -> bool:
    """Whether the matrices are parts of one: redistributions without times that sum to no more than one does."""
    matrices = content.matrices
    if len(matrices) < 2 or any(m.kind != "REDIST" or m.start is not None for m in matrices):
        return False
    finest, *others = sorted(matrices, key=lambda m: -m.energy_low.size)
    if not all(_covers(finest, other) for other in others):
        return False
    return float(np.max(added(content)[1].sum(axis=1))) <= WHOLE


def _covers(fine: Matrix, coarse: Matrix) -> bool:
    """Whether the photon bins of one matrix lie inside those of the other, up to rounding."""
    edges = np.unique(np.concatenate([coarse.energy_low, coarse.energy_high]))
    width = 1e-2 * (fine.energy_high - fine.energy_low).min()
    known = np.sort(np.concatenate([fine.energy_low, fine.energy_high]))
    inside = edges[(edges >= known[0] - width) & (edges <= known[-1] + width)]
    place = np.clip(np.searchsorted(known, inside), 1, len(known) - 1)
    return bool(np.all(np.minimum(np.abs(known[place] - inside), np.abs(known[place - 1] - inside)) <= width))


def added(content: ResponseFile) -> tuple[Matrix, Any]:
    """The matrix with the finest photon bins, and the sum of all on these bins."""
    from scipy import sparse

    finest = max(content.matrices, key=lambda matrix: matrix.energy_low.size)
    middle = 0.5 * (finest.energy_low + finest.energy_high)
    total: Any = 0.0
    for matrix in content.matrices:
        low, high = matrix.energy_low, matrix.energy_high
        order = np.argsort(low, kind="stable")
        place = order[np.clip(np.searchsorted(low[order], middle, side="right") - 1, 0, low.size - 1)]
        # A photon bin that a part does not cover has none of it.
        inside = (low[place] <= middle) & (middle < high[place])
        total = total + sparse.csr_array(sparse.diags_array(inside.astype(float)) @ matrix.values[place])
    return finest, sparse.csr_array(total)
