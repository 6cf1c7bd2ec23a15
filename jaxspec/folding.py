"""From photons per bin to expected counts: a response matrix as compiled code likes it."""

from __future__ import annotations

import abc
import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from jaxspec.data import Response, Selection

_SMALL = 100_000  # elements up to which one dense product is fastest
_TILE = 32  # channels: the grain at which cuts between blocks are sought
_MAX_BLOCKS = 12  # more blocks compile longer than they save
_PAD = 32  # photon bins: ranges are rounded up to it, so that neighbouring selections share a compiled program


class AbstractFold(eqx.Module):
    """A response matrix (bins fitted, photon bins): called with photons per bin in 1 / (cm2 s), gives counts / s.

    A matrix in single precision is added up in that of the photons.
    """

    @abc.abstractmethod
    def __call__(self, photons: jax.Array) -> jax.Array:
        """Counts per second in each bin, shape (n_bins,), from photons of shape (n_energies,)."""


class DenseFold(AbstractFold):
    """The whole matrix in one product."""

    matrix: jax.Array

    def __call__(self, photons: jax.Array) -> jax.Array:
        return _product(self.matrix, photons)


class BlockFold(AbstractFold):
    """Contiguous blocks of channels, each a dense matrix over the photon bins that it needs."""

    blocks: tuple[jax.Array, ...]
    starts: tuple[int, ...] = eqx.field(static=True)

    def __call__(self, photons: jax.Array) -> jax.Array:
        return jnp.concatenate(
            [_product(block, photons[start : start + block.shape[1]]) for block, start in zip(self.blocks, self.starts)]
        )


class BandedFold(AbstractFold):
    """Blocks of one size, each over a window of photon bins of one width: for responses with very many channels."""

    slabs: jax.Array  # (n_blocks, channels in a block, window)
    starts: jax.Array  # (n_blocks,)
    n_bins: int = eqx.field(static=True)

    def __call__(self, photons: jax.Array) -> jax.Array:
        window = self.slabs.shape[2]
        cut = jax.vmap(lambda start: jax.lax.dynamic_slice(photons, (start,), (window,)))(self.starts)
        if self.slabs.dtype == photons.dtype:
            found = jnp.einsum("bcw,bw->bc", self.slabs, cut)
        else:
            found = _piecewise(lambda slab, window: slab.astype(window.dtype) @ window, self.slabs, cut)
        return found.reshape(-1)[: self.n_bins]


def _product(matrix: jax.Array, photons: jax.Array) -> jax.Array:
    if matrix.dtype == photons.dtype:
        return matrix @ photons
    return _piecewise(lambda row: row.astype(photons.dtype) @ photons, matrix, batch_size=2 * _TILE)


def _piecewise(function: Callable[..., jax.Array], *arrays: jax.Array, batch_size: int | None = None) -> jax.Array:
    """`function` along the leading axes: a whole matrix turned to double precision would be kept, backwards too."""
    return jax.lax.map(jax.checkpoint(lambda pieces: function(*pieces)), arrays, batch_size=batch_size)


def fitted_matrix(response: Response, selection: Selection) -> csr_array:
    """The rows of a response that belong to the fitted bins, channels of a bin added up, shape (n_bins, n_energies)."""
    from scipy.sparse import csr_array

    channels = np.flatnonzero(selection.groups >= 0)
    shape = (len(selection.counts), len(selection.groups))
    join = csr_array((selection.area_scale[channels], (selection.groups[channels], channels)), shape=shape)
    return csr_array((join @ response.matrix).astype(response.matrix.dtype, copy=False))


def _shape(matrix: csr_array) -> tuple[int, int]:
    return matrix.shape  # pyright: ignore[reportReturnType]


def photon_range(matrix: csr_array) -> slice:
    """The photon bins that some fitted bin sees, rounded up to a multiple of 32 where there are as many."""
    seen = np.flatnonzero(np.bincount(matrix.indices, weights=np.abs(matrix.data), minlength=_shape(matrix)[1]))
    total = _shape(matrix)[1]
    if not seen.size:
        return slice(0, min(total, _PAD))
    width = min(total, -(-(seen[-1] + 1 - seen[0]) // _PAD) * _PAD)
    start = max(0, min(seen[0], total - width))
    return slice(int(start), int(start + width))


def fold_of(matrix: csr_array) -> AbstractFold:
    """The layout with the least work for this matrix.

    Dense where the matrix is small or over half full; otherwise uniform windows where they store at most 1.5 times
    what the best at most 12 blocks do, else those blocks.
    """
    rows, columns = _shape(matrix)
    if rows * columns <= _SMALL:
        return DenseFold(jax.device_put(matrix.toarray()))
    low, high = _windows(matrix)
    cuts = _cuts(low, high)
    area = sum((b - a) * (high[a:b].max() - low[a:b].min()) for a, b in itertools.pairwise(cuts))
    tiles = range(0, rows, 2 * _TILE)
    width = max(int(high[t : t + 2 * _TILE].max() - low[t : t + 2 * _TILE].min()) for t in tiles)
    banded_area = len(tiles) * 2 * _TILE * width
    if min(area, banded_area) > rows * columns / 2:
        return DenseFold(jax.device_put(matrix.toarray()))
    if banded_area <= 1.5 * area:
        return _banded(matrix, low, width)
    spans = [(a, b, int(low[a:b].min()), int(high[a:b].max())) for a, b in itertools.pairwise(cuts)]
    blocks = tuple(jax.device_put(matrix[a:b, first:last].toarray()) for a, b, first, last in spans)
    return BlockFold(blocks, tuple(first for _, _, first, _ in spans))


def _windows(matrix: csr_array) -> tuple[np.ndarray, np.ndarray]:
    """First and one past the last photon bin of each row; an empty row takes the middle of nowhere: (n, 0)."""
    rows, columns = _shape(matrix)
    filled = np.diff(matrix.indptr) > 0
    low, high = np.full(rows, columns), np.zeros(rows, int)
    low[filled] = np.minimum.reduceat(matrix.indices, matrix.indptr[:-1][filled])
    high[filled] = np.maximum.reduceat(matrix.indices, matrix.indptr[:-1][filled]) + 1
    # An empty row needs no photon bin; give it its neighbour's window so that no block grows for it.
    for i in np.flatnonzero(~filled):
        low[i], high[i] = (low[i - 1], high[i - 1]) if i and high[i - 1] else (0, 1)
    return low, high


def _cuts(low: np.ndarray, high: np.ndarray) -> list[int]:
    """Edges of at most 12 blocks of channels that store the fewest elements, by dynamic programming over tiles."""
    rows = len(low)
    edges = np.append(np.arange(0, rows, max(_TILE, -(-rows // 256))), rows)
    n = len(edges) - 1
    first = np.array([low[a:b].min() for a, b in itertools.pairwise(edges)])
    last = np.array([high[a:b].max() for a, b in itertools.pairwise(edges)])
    area = np.full((n + 1, n + 1), np.inf)
    for i in range(n):
        widths = np.maximum.accumulate(last[i:]) - np.minimum.accumulate(first[i:])
        area[i, i + 1 :] = widths * (edges[i + 1 :] - edges[i])
    best, path = np.full(n + 1, np.inf), []
    best[0] = 0.0
    totals = []
    for _ in range(min(_MAX_BLOCKS, n)):
        choice = best[:, None] + area
        path.append(choice.argmin(axis=0))
        best = choice.min(axis=0)
        totals.append(best[n])
    k, j, cuts = int(np.argmin(totals)), n, [rows]
    while k >= 0:
        j = int(path[k][j])
        cuts.append(int(edges[j]))
        k -= 1
    return cuts[::-1]


def _banded(matrix: csr_array, low: np.ndarray, width: int) -> BandedFold:
    rows, columns = _shape(matrix)
    height = 2 * _TILE
    tiles = range(0, rows, height)
    starts = np.array([min(int(low[t : t + height].min()), columns - width) for t in tiles])
    slabs = np.zeros((len(tiles), height, width), matrix.dtype)
    for i, t in enumerate(tiles):
        piece = matrix[t : t + height, starts[i] : starts[i] + width].toarray()
        slabs[i, : piece.shape[0]] = piece
    return BandedFold(jax.device_put(slabs), jax.device_put(starts), rows)
