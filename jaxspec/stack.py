"""Many densities of one structure side by side, as one compiled program takes them."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np

from jaxspec.calibration import Effects, Shift, channel_order
from jaxspec.data import region_ratio, with_background_regions
from jaxspec.density import STATISTICS, Density, Fitted, Packed
from jaxspec.folding import AbstractFold, DenseFold, fitted_matrix, fold_of, photon_range
from jaxspec.layout import Layout
from jaxspec.priors import Priors
from jaxspec.problem import check
from jaxspec.quadrature import Bins
from jaxspec.space import Space
from jaxspec.terms import Term, effects_of

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from jaxspec.data import Observation, Response, Selection
    from jaxspec.model import Model

_ENOUGH_TO_SHARE = 64  # spectra of one response: with fewer, responses are stacked rather than taken one after another
# Of each array that a statistic reads, in a bin that is not there: with no counts expected, it adds exactly nothing.
_NOTHING = {
    "cstat": (0.0,),
    "wstat": (0.0, 0.0, 1.0),
    "pgstat": (0.0, 0.0, 1.0, 1.0),
    "pstat": (0.0, 0.0),
    "lstat": (0.0,),
    "chi2": (0.0, 1.0, 0.0),
    "chi2 model": (0.0, 1.0, 0.0),
    "flux points": (0.0, 1.0, 1.0, 0.0),
}


@dataclasses.dataclass(frozen=True)
class _Rows:
    """Marks a leaf that has a leading axis over spectra."""

    array: np.ndarray


@jax.tree_util.register_pytree_node_class
class Stacked:
    """Densities of one structure: what differs has a leading axis over them, what they share is there once.

    `each` maps a function of a density over them. `saturated`, (n,), is the log-likelihood of a perfect fit, which the
    densities leave out; `sizes`, (n,), the number of bins that are really there. Both stay outside compiled programs.
    """

    def __init__(self, marked: Density, saturated: np.ndarray, sizes: np.ndarray) -> None:
        leaves, tree = jax.tree.flatten(marked, is_leaf=lambda leaf: isinstance(leaf, _Rows))
        self.axes = tuple(0 if isinstance(leaf, _Rows) else None for leaf in leaves)
        self.leaves = tuple(leaf.array if isinstance(leaf, _Rows) else jax.device_put(leaf) for leaf in leaves)
        self.structure = Packed(jax.tree.unflatten(tree, [0.0] * len(leaves))).structure
        self.saturated, self.sizes = saturated, sizes

    def __len__(self) -> int:
        return len(self.sizes)

    def rows(self, index: np.ndarray) -> Stacked:
        """Those of these numbers, in that order."""
        leaves = tuple(leaf if axis is None else leaf[index] for leaf, axis in zip(self.leaves, self.axes))
        return self._with(leaves, self.saturated[index], self.sizes[index])

    @property
    def own(self) -> tuple[Any, ...]:
        """What differs, with a leading axis over them."""
        return tuple(leaf for leaf, axis in zip(self.leaves, self.axes) if axis == 0)

    def with_own(self, own: Sequence[Any]) -> Stacked:
        """Others, which share the same, inside a compiled program."""
        rest = iter(own)
        return self._with(tuple(next(rest) if axis == 0 else leaf for leaf, axis in zip(self.leaves, self.axes)))

    def each(
        self, function: Callable[..., Any], *arguments: Any, mapping: Callable[..., Any] = jax.vmap, spread: bool = True
    ) -> Any:
        """`function(density, ...)` for each of them; the arguments have a leading axis over them too.

        `mapping` is `jax.vmap`, or what works on a function of one argument like it. Where there are several devices
        and their number divides that of the densities, each device takes its part, unless told not to `spread` them.
        """
        shared = tuple(None if axis == 0 else leaf for leaf, axis in zip(self.leaves, self.axes))
        own = self.own

        def part(shared: Any, own: Any) -> Any:
            def one(own: Any) -> Any:
                leaves, rest = iter(own[0]), own[1]
                whole = [next(leaves) if axis == 0 else leaf for leaf, axis in zip(shared, self.axes)]
                return function(jax.tree.unflatten(self.structure.tree, whole), *rest)

            return mapping(one)(own)

        devices = jax.local_devices()
        if not spread or len(devices) == 1 or len(own[0]) % len(devices):
            return part(shared, (own, arguments))
        from jax.sharding import Mesh, PartitionSpec

        rows = PartitionSpec("spectra")
        mesh = Mesh(np.array(devices), ("spectra",))
        specs = {"in_specs": (PartitionSpec(), rows), "out_specs": rows}
        return jax.shard_map(part, mesh=mesh, **specs, check_vma=False)(shared, (own, arguments))

    def _with(self, leaves: Any, saturated: Any = None, sizes: Any = None) -> Stacked:
        other = object.__new__(Stacked)
        other.axes, other.structure = self.axes, self.structure
        other.leaves, other.saturated, other.sizes = leaves, saturated, sizes
        return other

    def tree_flatten(self) -> tuple[Any, Any]:
        return self.leaves, (self.structure, self.axes)

    @classmethod
    def tree_unflatten(cls, static: Any, leaves: Any) -> Stacked:
        other = object.__new__(cls)
        (other.structure, other.axes), other.leaves = static, leaves
        return other


def with_data(density: Density, data: Sequence[tuple[np.ndarray, ...]]) -> Stacked:
    """One density with many sets of data: `data[i]` takes the place of `density.fitted[i].data`, (n_sets, n_bins)."""
    fitted = tuple(
        Fitted(tuple(_Rows(np.asarray(array)) for array in arrays), group.statistic, group.members)  # pyright: ignore[reportArgumentType]
        for group, arrays in zip(density.fitted, data)
    )
    marked = dataclasses.replace(density, fitted=fitted, saturated=np.zeros(1))
    n_sets = len(data[0][0])
    saturated = _saturated([(group.statistic, arrays) for group, arrays in zip(density.fitted, data)], None)
    return Stacked(marked, saturated, np.full(n_sets, sum(density.sizes)))


@dataclasses.dataclass(frozen=True, eq=False)
class _Folding:
    """How bins or channels see photons: of all observations with the same response and bins."""

    matrix: csr_array
    low: np.ndarray
    high: np.ndarray

    @functools.cached_property
    def n_rows(self) -> int:
        return self.matrix.shape[0]  # pyright: ignore[reportOptionalSubscript]

    @functools.cached_property
    def order(self) -> int:
        return len(Bins.fine_enough(self.low, self.high).energy)


class _SeenTerm(NamedTuple):
    """What an observation sees of some spectra."""

    folding: _Folding
    spectra: tuple[int, ...]
    effects: Effects | None
    shift: Shift | None  # of a gain, which needs all channels

    @property
    def n_rows(self) -> int:
        """Of the matrix, with those that are not there."""
        return self.folding.n_rows if self.shift is not None else padded(self.folding.n_rows)

    def kind(self) -> tuple:
        """What must agree in terms that are stacked."""
        return self.spectra, self.effects, self.n_rows, padded(len(self.folding.low)), self.folding.order


class Seen(NamedTuple):
    """An observation as numbers."""

    terms: tuple[_SeenTerm, ...]
    data: tuple[np.ndarray, ...]
    statistic: str
    exposure: float

    @property
    def n_bins(self) -> int:
        """How many bins are fitted."""
        return len(self.data[0])

    def kind(self) -> tuple:
        """What must agree in observations that are stacked."""
        shapes = tuple(array.shape[1:] for array in self.data)
        return self.statistic, shapes, padded(self.n_bins), tuple(term.kind() for term in self.terms)


class Stacker:
    """Stacks the densities of one model and many spectra."""

    def __init__(self, model: Model) -> None:
        rows = model.parameters
        support = np.array([rows[name].support for name in model.free])
        self.model = model
        self.sources = tuple(range(len(model.sources)))
        self.known = {member.name: place for place, member in enumerate((*model.sources, *model.backgrounds))}
        self.names = list(rows)
        self.layout = Layout.of(model)
        self.space = Space.between(support[:, 0], support[:, 1])
        self.priors = Priors.of([rows[name] for name in model.free])
        self.foldings: dict[tuple, tuple[Any, _Folding]] = {}

    def stacks(
        self, entries: Sequence[tuple[Seen, ...]], values: Mapping[str, np.ndarray]
    ) -> Iterator[tuple[np.ndarray, Stacked]]:
        """Stacks of those that have the same structure, with their places among the `entries`.

        Args:
            entries: what is `seen` of each spectrum.
            values: of parameters, one for each spectrum, by name: where fits start, where frozen ones are held.
        """
        kinds: dict[tuple, list[int]] = {}
        for i, entry in enumerate(entries):
            kinds.setdefault(tuple(each.kind() for each in entry), []).append(i)
        for places in kinds.values():
            for group in _sharing(entries, places):
                columns = {name: column[group] for name, column in values.items()}
                yield group, self._stack([entries[i] for i in group], columns)

    def seen(self, observations: Sequence[Observation]) -> tuple[Seen, ...]:
        """The observations of a spectrum as numbers; raises what `Problem` raises for them."""
        whole = with_background_regions(observations)
        check(self.model, whole)
        return tuple(self._seen(observation, observation.selection()) for observation in whole)

    def _seen(self, observation: Observation, selection: Selection) -> Seen:
        terms = []
        sources = self.sources if observation.sources is None else tuple(self.known[n] for n in observation.sources)
        response, area_scale = observation.response, selection.area_scale
        if sources:
            effects, shift = effects_of(self.model, observation.name), None
            if effects is not None and effects.gain:
                shift = Shift.of(response, selection, observation.name)
            folding = self._folding(response, selection, shift is not None)
            terms.append(_SeenTerm(folding, sources, effects, shift))
        for name, response in observation.background_models:
            inside = dataclasses.replace(selection, area_scale=area_scale * region_ratio(observation))
            terms.append(_SeenTerm(self._folding(response, inside, False), (self.known[name],), None, None))
        data = tuple(map(np.asarray, STATISTICS[selection.statistic].data(selection)))
        return Seen(tuple(terms), data, selection.statistic, float(selection.exposure))

    def _folding(self, response: Response, selection: Selection, all_channels: bool) -> _Folding:
        fitted = b"" if all_channels else selection.groups.tobytes() + selection.area_scale.tobytes()
        key = id(response), fitted
        if key not in self.foldings:
            if len(self.foldings) >= 4 * _ENOUGH_TO_SHARE:
                self.foldings.clear()
            matrix = response.matrix[channel_order(response)] if all_channels else fitted_matrix(response, selection)
            used = photon_range(matrix)
            folding = _Folding(matrix[:, used], response.energy_low[used], response.energy_high[used])
            self.foldings[key] = response, folding  # the response is kept, so that no other gets its id
        return self.foldings[key][1]

    def _stack(self, entries: list[tuple[Seen, ...]], values: Mapping[str, np.ndarray]) -> Stacked:
        columns = list(zip(*entries))  # by observation
        sizes = tuple(padded(column[0].n_bins) for column in columns)
        by_term = [
            (i, [seen.terms[k] for seen in column])
            for i, column in enumerate(columns)
            for k in range(len(column[0].terms))
        ]
        exposures = [_Rows(np.array([seen.exposure for seen in column])) for column in columns]
        grids, grid_of = [], []
        for _, column in by_term:
            same = [i for i, other in enumerate(grids) if _same_grids(other, column)]
            grid_of.append(same[0] if same else len(grids))
            if not same:
                grids.append(column)
        fitted = _fitted(columns, sizes)
        density = Density(
            layout=self._layout(len(entries), values),
            space=self.space,
            priors=self.priors,
            grids=tuple(_grid(column) for column in grids),
            folds=tuple(_fold(column) for _, column in by_term),
            terms=tuple(
                Term(exposures[i], _shift(column, sizes[i]), i, place, column[0].spectra, column[0].effects)  # pyright: ignore[reportArgumentType]
                for place, (i, column) in enumerate(by_term)
            ),
            fitted=fitted,
            saturated=np.zeros(1),  # pyright: ignore[reportArgumentType]
            sizes=sizes,
            grid_of=tuple(grid_of),
        )
        real = np.array([[each.n_bins for each in entry] for entry in entries])
        data = [(group.statistic, tuple(rows.array for rows in group.data)) for group in fitted]  # pyright: ignore[reportAttributeAccessIssue]
        there = [np.concatenate([np.arange(sizes[i]) < real[:, i, None] for i in g.members], axis=1) for g in fitted]
        return Stacked(density, _saturated(data, there), real.sum(axis=1))

    def _layout(self, n: int, values: Mapping[str, np.ndarray]) -> Layout:
        if not values:
            return self.layout
        table = np.tile(np.asarray(self.layout.values), (n, 1))
        for name, column in values.items():
            table[:, self.names.index(name)] = column
        return dataclasses.replace(self.layout, values=_Rows(table))


def padded(n: int) -> int:
    """A number of bins rounded up by at most an eighth, so that few shapes are compiled."""
    step = max(8, 2 ** max(0, n.bit_length() - 4))
    return -(-n // step) * step


def _sharing(seen: Sequence[tuple[Seen, ...]], places: list[int]) -> list[np.ndarray]:
    """Those with the same responses apart, where that leaves enough of them together: a product of matrices is fast."""
    groups: dict[tuple, list[int]] = {}
    for i in places:
        groups.setdefault(tuple(id(term.folding) for each in seen[i] for term in each.terms), []).append(i)
    large = [group for group in groups.values() if len(group) >= _ENOUGH_TO_SHARE or len(groups) == 1]
    rest = [i for group in groups.values() if not any(group is other for other in large) for i in group]
    return [np.array(group) for group in (*large, sorted(rest)) if len(group)]


def _is_shared(column: Sequence[_SeenTerm]) -> bool:
    return all(each.folding is column[0].folding for each in column)


def _same_grids(first: Sequence[_SeenTerm], second: Sequence[_SeenTerm]) -> bool:
    return all(
        a.folding is b.folding
        or (np.array_equal(a.folding.low, b.folding.low) and np.array_equal(a.folding.high, b.folding.high))
        for a, b in zip(first, second)
    )


def _grid(column: Sequence[_SeenTerm]) -> Bins:
    if _is_shared(column):
        return Bins.fine_enough(column[0].folding.low, column[0].folding.high)
    n = padded(max(len(each.folding.low) for each in column))
    # A photon bin that is not there is the last one again; no fitted bin sees it.
    edges = [
        [np.pad(edge, (0, n - len(edge)), mode="edge") for edge in (each.folding.low, each.folding.high)]
        for each in column
    ]
    low, high = np.array(edges).swapaxes(0, 1)
    bins = [Bins.of(a, b, column[0].folding.order) for a, b in zip(low, high)]
    return jax.tree.map(lambda *arrays: _Rows(np.stack([np.asarray(array) for array in arrays])), *bins)


def _shift(column: Sequence[_SeenTerm], size: int) -> Shift | None:
    shifts = [each.shift for each in column if each.shift is not None]
    if not shifts:
        return None
    n = padded(max(len(shift.low) for shift in shifts))

    def rows(name: str) -> Any:
        # A channel that is not there has no width, so it holds no counts.
        arrays = [np.asarray(getattr(shift, name)) for shift in shifts]
        return _Rows(np.stack([np.pad(array, (0, n - len(array))) for array in arrays]))

    edges: Any = _Rows(np.stack([np.asarray(shift.edges) for shift in shifts]))
    return Shift(edges, rows("low"), rows("high"), rows("bins"), rows("area_scale"), size)


def _fold(column: Sequence[_SeenTerm]) -> AbstractFold:
    size = column[0].n_rows
    if _is_shared(column):
        matrix = column[0].folding.matrix.copy()
        matrix.resize(size, matrix.shape[1])  # pyright: ignore[reportOptionalSubscript]
        return fold_of(matrix)
    n = padded(max(len(each.folding.low) for each in column))
    matrices = np.zeros((len(column), size, n))
    for stored, each in zip(matrices, column):
        stored[: each.folding.n_rows, : len(each.folding.low)] = each.folding.matrix.toarray()
    return DenseFold(_Rows(matrices))  # pyright: ignore[reportArgumentType]


def _fitted(columns: list[tuple[Seen, ...]], sizes: tuple[int, ...]) -> tuple[Fitted, ...]:
    kinds = [column[0].kind()[:2] for column in columns]
    groups = []
    for kind in sorted(set(kinds)):
        members = tuple(i for i, other in enumerate(kinds) if other == kind)
        data = []
        for place, nothing in enumerate(_NOTHING[kind[0]]):
            arrays = []
            for i in members:
                array = np.full((len(columns[i]), sizes[i], *kind[1][place]), nothing)
                for row, each in zip(array, columns[i]):
                    row[: len(each.data[place])] = each.data[place]
                arrays.append(array)
            data.append(_Rows(np.concatenate(arrays, axis=1)))
        groups.append(Fitted(tuple(data), kind[0], members))
    return tuple(groups)


def _saturated(data: list[tuple[str, tuple[np.ndarray, ...]]], there: list[np.ndarray] | None) -> np.ndarray:
    """The log-likelihood of a perfect fit of each spectrum, without the bins that are not there."""
    total: Any = 0.0
    for i, (statistic, arrays) in enumerate(data):
        flat = [array.reshape(-1, *array.shape[2:]) for array in arrays]
        values = np.concatenate([_saturated_piece(statistic, flat, k) for k in range(0, len(flat[0]), _PIECE)])
        values = values.reshape(arrays[0].shape[:2])
        total = total + np.sum(values if there is None else np.where(there[i], values, 0.0), axis=1)
    return np.asarray(total)


_PIECE = 1 << 15


def _saturated_piece(statistic: str, flat: Sequence[np.ndarray], start: int) -> np.ndarray:
    pieces = [array[start : start + _PIECE] for array in flat]
    n = len(pieces[0])
    full = [np.concatenate([piece, np.ones((_PIECE - n, *piece.shape[1:]))]) for piece in pieces]
    return np.asarray(_compiled[statistic](*full))[:n]


_compiled = {name: jax.jit(statistic.saturated) for name, statistic in STATISTICS.items()}
