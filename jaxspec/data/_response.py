"""The instrument's response: how many cm2 turn photons of each energy into counts of each channel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ._fits import OgipError, Repair, address, say
from ._series import shares_of
from ._split import WHOLE, added, is_split

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from ._rmf import Matrix, ResponseFile


@dataclass(frozen=True, eq=False, repr=False)
class Response:
    """Redistribution times effective area, from photon bins to channels.

    - `energy_low`, `energy_high`: (n_energies,) photon bins in keV, increasing, without overlap.
    - `channels`: (n_channels,) channel numbers, increasing.
    - `channel_low`, `channel_high`: (n_channels,) nominal energies of the channels in keV.
    - `matrix`: (n_channels, n_energies) in cm2, dense or sparse; kept sparse.
    - `name`: where it came from; `repairs`: what was put right in the files.
    - `single`: the matrix is stored in single precision (`in_single_precision`).

    Raises `ValueError` where sizes disagree, energies are out of order, or anything is negative or not
    finite.
    """

    energy_low: np.ndarray
    energy_high: np.ndarray
    channels: np.ndarray
    channel_low: np.ndarray
    channel_high: np.ndarray
    matrix: csr_array
    name: str = "response"
    repairs: tuple[str, ...] = ()
    single: bool = False

    def __post_init__(self) -> None:
        from scipy import sparse

        for field in ("energy_low", "energy_high", "channels", "channel_low", "channel_high"):
            object.__setattr__(self, field, _vector(getattr(self, field), f"{self.name}: {field}"))
        _refuse(self.channels % 1 != 0, f"{self.name}: channel numbers must be whole", self.channels)
        object.__setattr__(self, "channels", frozen(self.channels.astype(np.int64)))
        matrix = sparse.csr_array(self.matrix, dtype=np.float32 if self.single else np.float64, copy=True)
        matrix.sum_duplicates()
        matrix.eliminate_zeros()
        for array in (matrix.data, matrix.indices, matrix.indptr):
            array.flags.writeable = False
        object.__setattr__(self, "matrix", matrix)
        _check(self)

    @classmethod
    def from_ogip(
        cls,
        path: Any,
        arf: Any = None,
        *,
        number: int | None = None,
        time: float | tuple[float, float] | None = None,
        weights: Sequence[float] | None = None,
    ) -> Response:
        """Read an RSP file, or an RMF file and its ARF file; gzip too.

        Matrices that are parts of one response (XRISM's split RMF) are added up. A file with several whole ones (RSP2)
        needs one of: `number`, counted from 1; `time` in seconds of the
        mission's clock, which picks the matrix valid then; `time=(start, stop)`, which weights every matrix
        by its share of that exposure; `weights`, one for each matrix (counts or exposures), scaled to the
        sum 1.

        Raises `FileNotFoundError` for a missing file and `ValueError` for one that is no response, is
        damaged, or has another energy grid than the ARF.

        **Reference:** OGIP memos CAL/GEN/92-002 and 92-002a.
        """
        repairs: list[Repair] = []
        response = load_response(path, arf, repairs, number=number, time=time, weights=weights)
        say(path, repairs)
        return response

    @classmethod
    def diagonal(cls, edges: Any, area: float = 1.0, name: str = "diagonal response") -> Response:
        """A response that maps each photon bin onto one channel: `edges` (n + 1,) in keV, `area` in cm2."""
        from scipy import sparse

        edges = _vector(edges, f"{name}: edges")
        if edges.size < 2:
            raise ValueError(f"{name}: edges must hold at least two energies, got {edges.size}")
        low, high = edges[:-1], edges[1:]
        matrix = sparse.csr_array(sparse.diags_array(np.full(low.size, float(area))))
        return cls(low, high, np.arange(1, low.size + 1), low, high, matrix, name=name)

    @property
    def area(self) -> np.ndarray:
        """(n_energies,) effective area in cm2: the sum over the channels."""
        return np.ones(len(self.channels)) @ self.matrix

    def restricted(self, keep: np.ndarray) -> Response:
        """The response of some of the channels: `keep` is a mask or indices."""
        return replace(
            self,
            channels=self.channels[keep],
            channel_low=self.channel_low[keep],
            channel_high=self.channel_high[keep],
            matrix=self.matrix[keep],
        )

    def in_single_precision(self) -> Response:
        """The same with its matrix stored in half the memory; what it folds is added up in double precision."""
        return replace(self, single=True)

    def to_ogip(self, path: Any, arf: Any = None, *, overwrite: bool = False) -> None:
        """Write an RSP file, or an RMF file and, to the path `arf`, the effective area split off.

        Raises `FileExistsError` for a file that is there already, unless told to overwrite it.
        """
        from ._write import write_response

        write_response(self, path, arf, overwrite)

    def plot(self, *, figsize: tuple[float, float] | None = None) -> Any:
        """Effective area, and the matrix as an image. Returns a matplotlib figure."""
        from ..plots._response import response

        matrix = self.matrix.tocoo()
        energy, channel = (self.energy_low, self.energy_high), (self.channel_low, self.channel_high)
        title = self.name.rsplit("/", 1)[-1]
        return response(title, energy, channel, (matrix.row, matrix.col, matrix.data), figsize=figsize)

    def __repr__(self) -> str:
        return (
            f"Response({self.name!r}: {self.channels.size} channels {self.channel_low.min():.4g}-"
            f"{self.channel_high.max():.4g} keV, {self.energy_low.size} photon bins {self.energy_low[0]:.4g}-"
            f"{self.energy_high[-1]:.4g} keV, peak area {self.area.max():.4g} cm2)"
        )


def frozen(array: np.ndarray) -> np.ndarray:
    """`array`, from now on read-only."""
    array.flags.writeable = False
    return array


def _vector(values: Any, what: str) -> np.ndarray:
    try:
        result = np.array(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{what} must be an array of numbers, got {type(values).__name__}") from error
    if result.ndim != 1 or result.size == 0:
        raise ValueError(f"{what} must have one dimension and not be empty, got shape {result.shape}")
    if not np.isfinite(result).all():
        raise ValueError(f"{what}[{np.argmin(np.isfinite(result))}] is not a finite number")
    return frozen(result)


def _check(response: Response) -> None:
    name, n_channels, n_energies = response.name, response.channels.size, response.energy_low.size
    sizes = {"channel_low": n_channels, "channel_high": n_channels, "energy_high": n_energies}
    for field, size in sizes.items():
        if getattr(response, field).size != size:
            raise ValueError(f"{name}: {field} has {getattr(response, field).size} elements, expected {size}")
    if response.matrix.shape != (n_channels, n_energies):
        raise ValueError(
            f"{name}: the matrix has shape {response.matrix.shape}, expected (channels, photon bins) = "
            f"({n_channels}, {n_energies}); transpose it if it is the other way round"
        )
    low, high = response.energy_low, response.energy_high
    _refuse(low <= 0, f"{name}: energy_low must be positive", low)
    _refuse(high <= low, f"{name}: energy_high must be above energy_low", high)
    _refuse(np.diff(low) <= 0, f"{name}: energy_low must increase from bin to bin", low[1:])
    # Single-precision files round the two edges of a boundary differently.
    overlap = low[1:] < high[:-1] - 1e-3 * (high - low)[:-1] - 1e-6 * high[:-1]
    _refuse(overlap, f"{name}: photon bins overlap", low[1:])
    _refuse(np.diff(response.channels) <= 0, f"{name}: channel numbers must increase", response.channels[1:])
    _refuse(
        response.channel_high < response.channel_low,
        f"{name}: channel_high must not be below channel_low",
        response.channel_high,
    )
    if not np.isfinite(response.matrix.data).all() or (response.matrix.data < 0).any():
        wrong = response.matrix.tocoo()
        at = np.argmax(~np.isfinite(wrong.data) | (wrong.data < 0))
        raise ValueError(
            f"{name}: the matrix must be finite and not negative, got {wrong.data[at]} "
            f"at channel {response.channels[wrong.row[at]]}, photon bin {wrong.col[at]}"
        )


def _refuse(wrong: np.ndarray, text: str, values: np.ndarray) -> None:
    if wrong.any():
        index = int(np.argmax(wrong))
        raise ValueError(f"{text}; bin {index} has {values[index]:.6g}")


def load_response(
    path: Any,
    arf: Any,
    repairs: list[Repair],
    *,
    number: int | None = None,
    time: float | tuple[float, float] | None = None,
    weights: Sequence[float] | None = None,
) -> Response:
    """`Response.from_ogip` without the warning; what was repaired is added to `repairs`."""
    from ._rmf import read_response_file

    file = address(path)
    number = file.number if number is None else number
    if sum(choice is not None for choice in (number, time, weights)) > 1:
        raise ValueError(f"{path}: give only one of number, time and weights")
    content = read_response_file(file, repairs, number)
    name = str(file.path)
    chosen = time is not None or weights is not None
    return response_of(content, name, shares_of(content, name, time, weights) if chosen else None, arf, repairs)


def response_of(
    content: ResponseFile, name: str, shares: np.ndarray | None, arf: Any, repairs: list[Repair]
) -> Response:
    """The matrices of a file with these weights, and an ARF; without weights there is one, or parts of one.

    `repairs` holds what was repaired in the file already, and gets what is repaired here.
    """
    if shares is None and is_split(content):
        first, values = added(content)
        repairs.append(Repair(f"{name}: {len(content.matrices)} matrices are parts of one response, added up"))
    else:
        shares = shares_of(content, name, None, None) if shares is None else shares
        first, values = _mixed(content, shares)
    if arf is not None:
        values = _with_area(values, first, arf, repairs)
        name = f"{name} with {str(arf).rsplit('/', 1)[-1]}"
    elif first.kind == "REDIST":
        repairs.append(Repair(f"{first.where} says that it holds no effective area, and no ARF was given", loud=True))
    low, high, values = _ordered(first.energy_low, first.energy_high, values, first.where, repairs)
    texts = tuple(dict.fromkeys(repair.text for repair in repairs))
    bounds = content.channel_low, content.channel_high
    return Response(low, high, content.channels, *bounds, values.T.tocsr(), name, texts)


def _mixed(content: ResponseFile, shares: np.ndarray) -> tuple[Matrix, Any]:
    """The matrix with the largest share, and the weighted sum of those that have one."""
    used = [matrix for matrix, share in zip(content.matrices, shares) if share > 0]
    for matrix in used[1:]:
        if not np.array_equal(matrix.energy_low, used[0].energy_low):
            raise ValueError(f"{matrix.where}: photon bins differ between the matrices; choose one by number=")
    values = sum(share * matrix.values for share, matrix in zip(shares, content.matrices) if share > 0)
    return content.matrices[int(np.argmax(shares))], values


def _with_area(values: Any, matrix: Matrix, arf: Any, repairs: list[Repair]) -> Any:
    """The redistribution times the area of an ARF on the same photon bins, in either order."""
    from scipy import sparse

    from ._rmf import read_area

    low, high, area, where = read_area(address(arf), repairs)
    rows = np.argsort(matrix.energy_low, kind="stable")
    order = np.argsort(low, kind="stable")
    _check_bins(low[order], high[order], order, where, matrix, rows)
    total = np.asarray(values.sum(axis=1)).ravel()
    if total.max(initial=0.0) > WHOLE:
        text = f"{matrix.where}: column MATRIX, row {np.argmax(total) + 1}: the sum {total.max():.4g} is above 1, and "
        repairs.append(Repair(text + "an ARF is applied: the matrix may hold the effective area already", loud=True))
    elif matrix.kind == "FULL":
        repairs.append(
            Repair(f"{matrix.where} says that it holds the effective area, and an ARF is applied", loud=True)
        )
    factors = np.empty(rows.size)
    factors[rows] = area[order]
    return sparse.csr_array(sparse.diags_array(factors) @ values)


def _check_bins(
    low: np.ndarray, high: np.ndarray, order: np.ndarray, where: str, matrix: Matrix, rows: np.ndarray
) -> None:
    """Raises where the bins of an ARF, sorted by energy from the rows `order`, are not those of the matrix."""
    advice = "they must have the same bins: make the ARF for this RMF"
    if low.size != rows.size:
        start, stop = matrix.energy_low.min(), matrix.energy_high.max()
        raise OgipError(
            f"{where}: {low.size} bins from {low.min():.6g} to {high.max():.6g} keV, but {matrix.where} has "
            f"{rows.size} from {start:.6g} to {stop:.6g}; {advice}"
        )
    width = np.abs(matrix.energy_high - matrix.energy_low)[rows]
    for name, ours, theirs in (("ENERG_LO", low, matrix.energy_low), ("ENERG_HI", high, matrix.energy_high)):
        apart = np.abs(ours - theirs[rows]) > 1e-2 * width
        if apart.any():
            at = int(np.argmax(apart))
            raise OgipError(
                f"{where}: column {name}, row {order[at] + 1}: {ours[at]:.6g} keV, but {theirs[rows[at]]:.6g} in row "
                f"{rows[at] + 1} of {matrix.where}; {advice}"
            )


def _ordered(
    low: np.ndarray, high: np.ndarray, values: Any, where: str, repairs: list[Repair]
) -> tuple[np.ndarray, np.ndarray, Any]:
    """Photon bins with increasing energies, and the rows of the matrix to match."""
    rows = np.arange(low.size)
    empty = np.diff(values.indptr) == 0
    wrong = low >= high
    if (wrong & empty).any() and not wrong.all():
        repairs.append(Repair(f"{where}: {(wrong & empty).sum()} photon bins without width or response left out"))
        rows = rows[~(wrong & empty)]
    if (low > high)[rows].any():
        repairs.append(Repair(f"{where}: ENERG_LO above ENERG_HI in {(low > high)[rows].sum()} rows, exchanged"))
        low, high = np.minimum(low, high), np.maximum(low, high)
    if (np.diff(low[rows]) < 0).any():
        repairs.append(Repair(f"{where}: photon energies do not increase, sorted"))
        rows = rows[np.argsort(low[rows], kind="stable")]
    low, high, values = low[rows], high[rows], values[rows]
    if low.size and low[0] == 0:
        # A power law cannot be integrated from 0; what lies below a thousandth of the edge is never seen.
        low = low.copy()
        low[0] = 1e-3 * high[0]
        repairs.append(Repair(f"{where}: the first photon bin starts at 0, taken to start at {low[0]:.3g} keV"))
    return low, high, values
