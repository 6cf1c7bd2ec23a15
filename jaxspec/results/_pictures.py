"""From a result to the arrays that the pictures draw."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxspec import density as densities
from jaxspec import parameters, statistics
from jaxspec.density import Density, Layout

if TYPE_CHECKING:
    from jaxspec.data import Selection
    from jaxspec.problem import Problem
    from jaxspec.results._result import Result

_N_COUNTS = 400  # draws that make the band of folded models
_BATCH = 50


class _Components(Layout):
    """A layout whose spectra are the additive components of all sources, one after the other."""

    def spectra_at(self, values: Any) -> tuple[Any, ...]:
        return tuple(part for spectrum in super().spectra_at(values) for part in spectrum.parts().values())


@functools.partial(jax.jit, static_argnames=("seen", "by_component"))
def _contributions(
    density: Density, points: jax.Array, seen: tuple[tuple[tuple[int, int], ...], ...], by_component: bool
) -> jax.Array:
    """Expected counts of each source, or component, in each fitted bin, shape (n_points, n, n_bins).

    `seen` are the sources that each observation sees, or their components, by place of the source and place among
    either. The k-th of n is the k-th that an observation sees, or its last one where it sees fewer.
    """
    layout = density.layout
    if by_component:
        layout = _Components(**{field.name: getattr(layout, field.name) for field in dataclasses.fields(layout)})
    alone = [
        density.of_one_each([places[min(k, len(places) - 1)] for places in seen], layout)
        for k in range(max(map(len, seen)))
    ]

    def one(values: jax.Array) -> jax.Array:
        return jnp.stack([single.expected_counts(values) for single in alone])

    return jax.lax.map(one, points, batch_size=_BATCH)


@functools.partial(jax.jit, static_argnames="statistic")
def _background(statistic: str, expected: jax.Array, data: tuple[jax.Array, ...]) -> jax.Array:
    """Expected background counts in the source region; `data` as the statistic has them."""
    if statistic == "wstat":
        return data[2] * statistics.profiled_background(expected, *data)
    return data[3] * statistics.profiled_gaussian_background(expected, *data)


@functools.partial(jax.jit, static_argnames="statistic")
def _statistic(statistic: str, expected: jax.Array, data: tuple[jax.Array, ...]) -> jax.Array:
    return densities.STATISTICS[statistic].function(expected, *data)


class _Part(NamedTuple):
    """One line of a picture: a source, or a component of it."""

    label: str
    position: int  # among the sources, or components, of the model
    colour: int  # that of the source: its place among sources
    dash: int  # 0 for what is drawn through


def _parts(result: Result, by_component: bool, sources: Sequence[str]) -> list[_Part]:
    """The sources and backgrounds, or their components, that are wanted; one of one component goes by its own name."""
    found, index = [], 0
    model = result.problem.model
    for colour, source in enumerate((*model.sources, *model.backgrounds)):
        names = list(source.spectrum.parts()) if by_component else [source.name]
        for k, name in enumerate(names):
            alone = len(names) == 1
            if source.name in sources:
                found.append(
                    _Part(
                        source.name if alone else f"{source.name}: {name}",
                        index,
                        colour,
                        0 if alone else k + 1,
                    )
                )
            index += 1
    return found


def _thinned(result: Result, n: int) -> jax.Array:
    """Some of a result's points: what is quoted and about `n` of its draws, evenly spaced."""
    everything = np.arange(len(result.points))
    draws = result.spread(everything)
    chosen = draws[np.unique(np.linspace(0, len(draws) - 1, n).round().astype(int))]
    return jnp.asarray(result.points[np.concatenate([np.setdiff1d(everything, draws), chosen])])


def _band(result: Result, outcomes: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
    # Draws of a parameter that the data leave open may give infinite spectra, and a picture without that band.
    with np.errstate(invalid="ignore"):
        return result.interval(result.spread(outcomes), level)


def _named(given: str | Sequence[str] | None, known: Sequence[str], what: str) -> list[str]:
    """The names that are wanted, all by default; raises `KeyError` for one that is not known."""
    wanted = known if given is None else [given] if isinstance(given, str) else given
    for name in wanted:
        if name not in known:
            raise parameters.unknown(name, known, what)
    return list(wanted)


class _Folded(NamedTuple):
    """What an observation was expected to show, (n_points, n_parts, n_bins), and what it showed."""

    parts: list[_Part]
    expected: np.ndarray
    selection: Selection


def _folded(result: Result, by_component: bool) -> dict[str, _Folded]:
    """By observation."""
    problem = result.problem
    parts = [_parts(result, by_component, problem.spectra_seen_by(i)) for i in range(len(problem.observations))]
    seen = tuple(tuple((part.colour, part.position) for part in group) for group in parts)
    table = np.asarray(_contributions(problem.density, _thinned(result, _N_COUNTS), seen, by_component))
    ends = np.cumsum(problem.density.sizes)
    pieces = zip(problem.labels, parts, problem.density.sizes, ends, problem.selections)
    return {
        label: _Folded(group, table[:, : len(group), end - size : end], selection)
        for label, group, size, end, selection in pieces
    }


def _runs(selection: Selection) -> np.ndarray:
    """(n_bins,) the number of the run of neighbouring bins that each belongs to."""
    used = np.flatnonzero(selection.groups >= 0)
    first = used[np.unique(selection.groups[used], return_index=True)[1]]
    last = used[::-1][np.unique(selection.groups[used][::-1], return_index=True)[1]]
    return np.cumsum(np.append(0, first[1:] - last[:-1] > 1))


def _scaled_background(selection: Selection) -> tuple[np.ndarray, np.ndarray]:
    """Background measured for the source region, and its variance; zeros without one."""
    if selection.background is None or selection.ratio is None:
        return np.zeros_like(selection.counts), np.zeros_like(selection.counts)
    errors = selection.background_errors
    variance = selection.background if errors is None else errors**2
    return selection.ratio * selection.background, selection.ratio**2 * variance


def grouped(selection: Selection, labels: np.ndarray) -> Selection:
    """The selection with its bins joined for display."""
    from jaxspec.plots import _rebin

    if len(np.unique(labels)) == len(labels):
        return selection

    def total(values: np.ndarray | None) -> Any:
        return None if values is None else _rebin.summed(labels, values)

    def quadratic(values: np.ndarray | None) -> Any:
        return None if values is None else np.sqrt(_rebin.summed(labels, values**2))

    ratio = selection.ratio
    if ratio is not None and selection.background is not None:
        # The scaled background adds up exactly; where there is none, any mean does.
        scaled, behind = total(ratio * selection.background), total(selection.background)
        mean = total(ratio) / np.bincount(labels)
        ratio = np.divide(scaled, behind, out=mean, where=behind > 0)
    low, high = _rebin.edges(labels, selection.channel_low, selection.channel_high)
    return dataclasses.replace(
        selection,
        groups=np.where(selection.groups >= 0, labels[selection.groups], -1),
        counts=total(selection.counts),
        errors=quadratic(selection.errors),
        background=total(selection.background),
        background_errors=quadratic(selection.background_errors),
        ratio=ratio,
        channel_low=low,
        channel_high=high,
    )


def _expected_background(selection: Selection, expected: np.ndarray) -> np.ndarray | None:
    """Background expected in the source region, together with `expected` source counts (..., n_bins)."""
    if selection.background is None:
        return None
    if selection.statistic not in ("wstat", "pgstat"):
        return np.broadcast_to(_scaled_background(selection)[0], expected.shape)
    data = densities.STATISTICS[selection.statistic].data(selection)
    return np.asarray(_background(selection.statistic, jnp.asarray(expected), tuple(map(jnp.asarray, data))))


def _residuals(selection: Selection, expected: np.ndarray) -> np.ndarray:
    """The signed root of the fit statistic in each bin: the deviation of the data in sigma."""
    # The L statistic of a perfect fit is not 0.
    name = "wstat" if selection.statistic == "lstat" else selection.statistic
    data = densities.STATISTICS[name].data(selection)
    values = _statistic(name, jnp.asarray(expected), tuple(map(jnp.asarray, data)))
    excess = selection.counts - expected - _scaled_background(selection)[0]
    return np.sign(excess) * np.sqrt(np.maximum(np.asarray(values), 0.0))


def counts(
    result: Result,
    observations: str | Sequence[str] | None,
    components: bool,
    min_counts: float | None,
    min_significance: float | None,
    rate: bool,
    level: float,
    figsize: tuple[float, float] | None,
) -> Any:
    """The picture of `Result.plot_counts`."""
    from jaxspec.plots import _counts, _rebin

    wanted = with_counts(result.problem, observations)
    folded = _folded(result, components)
    panels = []
    for name in wanted:
        parts, expected, selection = folded[name]
        labels = display_bins(selection, min_counts, min_significance)
        expected, selection = _rebin.summed(labels, expected), grouped(selection, labels)
        panels.append(_panel(result, name, parts, expected, selection, level))
    return _counts.fitted(panels, level=level, rate=rate, figsize=figsize)


def with_counts(problem: Problem, observations: str | Sequence[str] | None) -> list[str]:
    """The names of the observations that are wanted, all that have counts by default."""
    labels = problem.labels
    pairs = zip(labels, problem.selections)
    bare = [label for label, selection in pairs if selection.statistic == "flux points"]
    given = [label for label in labels if label not in bare] if observations is None else observations
    wanted = _named(given, labels, "observation")
    for name in wanted or bare:
        if name in bare:
            raise ValueError(f"{name} holds flux points, which have no counts: plot_spectrum shows them")
    return wanted


def display_bins(selection: Selection, min_counts: float | None, min_significance: float | None) -> np.ndarray:
    """(n_bins,) the number of the bin of the picture that each bin is joined to."""
    from jaxspec.plots import _rebin

    background, uncertainty = _scaled_background(selection)
    variance = selection.counts if selection.errors is None else selection.errors**2
    return _rebin.display_bins(
        _runs(selection),
        selection.channel_low,
        selection.channel_high,
        selection.counts,
        selection.counts - background,
        variance + uncertainty,
        min_counts,
        min_significance,
    )


def _panel(
    result: Result, title: str, parts: list[_Part], expected: np.ndarray, selection: Selection, level: float
) -> Any:
    from jaxspec.plots import _counts

    source = expected.sum(axis=1)
    background = _expected_background(selection, source)
    total = source if background is None else source + background
    low, high = _band(result, total, level)
    # The only line there is would be drawn twice.
    shown = parts if len(parts) > 1 or background is not None else []
    curves = [
        _counts.Curve(part.label, result.centre(expected[:, k]), part.colour, part.dash) for k, part in enumerate(shown)
    ]
    return _counts.Panel(
        title=title,
        low=selection.channel_low,
        high=selection.channel_high,
        counts=selection.counts,
        errors=selection.errors,
        exposure=selection.exposure,
        total=result.centre(total),
        total_low=low,
        total_high=high,
        curves=tuple(curves),
        background=None if background is None else result.centre(background),
        residuals=_residuals(selection, result.centre(source)),
    )


def corner(result: Result, names: Sequence[str] | None, level: float, figsize: tuple[float, float] | None) -> Any:
    """The picture of `Result.corner`."""
    from jaxspec.plots import _corner

    rows = result.problem.model.parameters
    columns = []
    for name in _named(result.problem.names if names is None else names, list(rows), "parameter"):
        if name not in result.varied:
            raise ValueError(f"{name} is frozen: it has one value, no distribution; leave it out, or thaw it and fit")
        values = result.points[:, list(rows).index(name)]
        low, high = result.interval(result.spread(values), level)
        centre = float(result.centre(values))
        columns.append(_corner.Column(name, rows[name].unit, result.spread(values), centre, float(low), float(high)))
    return _corner.corner(columns, figsize=figsize)


def qq(
    result: Result,
    observations: str | Sequence[str] | None,
    level: float,
    figsize: tuple[float, float] | None,
) -> Any:
    """The picture of `Result.plot_qq`."""
    from jaxspec.plots import _qq

    wanted = with_counts(result.problem, observations)
    folded = _folded(result, by_component=False)
    panels = []
    for name in wanted:
        _, expected, selection = folded[name]
        source = expected.sum(axis=1)
        background = _expected_background(selection, source)
        total = source if background is None else source + background
        order = np.argsort(selection.channel_low, kind="stable")
        sums = np.cumsum(total[:, order], axis=1)
        low, high = _band(result, sums, level)
        panels.append(_qq.Sums(name, np.cumsum(selection.counts[order]), result.centre(sums), low, high))
    return _qq.qq(panels, level=level, figsize=figsize)
