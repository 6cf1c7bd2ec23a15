"""Spectra as the model has them before the instrument."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes

from jaxspec import units

from ._style import (
    COLOURS,
    DATA,
    Picture,
    dashes,
    energy_axis,
    energy_unit,
    legend_above,
    log_limits,
    styled,
    with_unit,
)

# How far below the maximum a picture reaches for N(E), E N(E), E^2 N(E).
_DECADES = (8.0, 6.0, 5.0)
_MARKERS = ("o", "s", "^", "D", "v")
_NAMES = ("$N(E)$", r"$E\,N(E)$", r"$E^2\,N(E)$")


@dataclass(frozen=True)
class Curve:
    """A spectrum with its band; `values`, `low`, `high` are (n_energies,) in the unit of the picture."""

    label: str
    values: np.ndarray
    low: np.ndarray
    high: np.ndarray
    colour: int
    dash: int = 0  # 0 is drawn through, with its band


@dataclass(frozen=True)
class Points:
    """Measured fluxes; energies in keV, the rest in the unit of the picture, (n,) each."""

    label: str
    energy: np.ndarray
    energy_low: np.ndarray
    energy_high: np.ndarray
    values: np.ndarray
    below: np.ndarray
    above: np.ndarray
    limits: np.ndarray


@styled
def spectra(
    energy: np.ndarray,
    curves: Sequence[Curve],
    points: Sequence[Points] = (),
    *,
    unit: str,
    moment: int,
    level: float,
    unit_of_energy: str | None,
    figsize: tuple[float, float] | None,
) -> Picture:
    """E^moment N(E) against energy in keV, both axes logarithmic."""
    figure = Picture(figsize=figsize or (7.0, 4.8), layout="constrained")
    ax = figure.add_subplot()
    name = unit_of_energy or energy_unit(energy, energy)[0]
    x = _converted(energy, name)
    for curve in curves:
        colour = COLOURS[curve.colour % len(COLOURS)]
        label = curve.label
        if curve.dash == 0:
            label = f"{curve.label}, {100 * level:g} %"
            ax.fill_between(x, curve.low, curve.high, color=colour, alpha=0.25, linewidth=0, label=label)
        ax.plot(x, curve.values, color=colour, linestyle=dashes(curve.dash), linewidth=1.5, label=label)
    for k, each in enumerate(points):
        _draw_points(ax, each, name, _MARKERS[k % len(_MARKERS)])
    ax.set_xscale("log")
    energy_axis(ax.xaxis, x.min(), x.max())
    ax.set_xlim(x.min(), x.max())
    ax.set_xlabel(with_unit(_axis_name(name), name))
    ax.set_ylabel(with_unit(_NAMES[moment], unit))
    # Each curve is seen where it matters; one that dies out runs off the picture.
    faintest = np.min([curve.low for curve in curves], axis=0)
    brightest = np.max([curve.values for curve in curves], axis=0)
    highest = np.concatenate(
        [np.max([curve.high for curve in curves], axis=0), *(each.values + each.above for each in points)]
    )
    measured = np.concatenate([np.zeros(0), *(each.values[each.values > 0] for each in points)])
    top = np.max(highest, where=np.isfinite(highest), initial=0.0)
    decades = max(_DECADES[moment], np.log10(2 * top / measured.min()) if measured.size and top > 0 else 0.0)
    log_limits(ax, np.append(np.maximum(faintest, 0.1 * brightest.min()), measured), highest, decades)
    legend_above(figure, [ax])
    return figure


def _draw_points(ax: Axes, points: Points, unit: str, marker: str) -> None:
    """Fluxes with their errors and bands; an upper limit is an arrow downwards."""
    x, *ends = (_converted(energy, unit) for energy in (points.energy, points.energy_low, points.energy_high))
    wings = [np.abs(end - x) for end in (np.minimum(*ends), np.maximum(*ends))]
    # An error that reaches below zero ends at the edge of a logarithmic picture.
    errors = [np.clip(points.below, 0, np.maximum(points.values, 0) * (1 - 1e-6)), points.above]
    label: str | None = points.label
    for chosen, limit in ((~points.limits, False), (points.limits, True)):
        if chosen.any():
            ax.errorbar(
                x[chosen],
                points.values[chosen],
                0.35 * points.values[chosen] if limit else [error[chosen] for error in errors],
                [wing[chosen] for wing in wings],
                uplims=limit,
                label=label,
                color=DATA,
                fmt=marker,
                markersize=4,
                elinewidth=0.9,
                zorder=5,
            )
            label = None


def _converted(energy: np.ndarray, unit: str) -> np.ndarray:
    import astropy.units as u

    try:
        return np.asarray(units.quantity(energy, "keV").to_value(units.unit(unit), equivalencies=u.spectral()))
    except u.UnitConversionError as error:
        raise ValueError(f"energy_unit must be of an energy, a frequency or a wavelength, got {unit!r}") from error


def _axis_name(unit: str) -> str:
    kinds = {"frequency": "Frequency", "length": "Wavelength"}
    return kinds.get(str(units.unit(unit).physical_type), "Energy")
