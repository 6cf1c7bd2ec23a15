"""Spectra as the model has them before the instrument."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from jaxspec import units

from ._style import (
    COLOURS,
    DASHES,
    Picture,
    energy_axis,
    energy_unit,
    legend_above,
    log_limits,
    styled,
    with_unit,
)

# How far below the maximum a picture reaches for N(E), E N(E), E^2 N(E).
_DECADES = (8.0, 6.0, 5.0)
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


@styled
def spectra(
    energy: np.ndarray,
    curves: Sequence[Curve],
    *,
    unit: str,
    moment: int,
    unit_of_energy: str | None,
    figsize: tuple[float, float] | None,
) -> Picture:
    """E^moment N(E) against energy in keV, both axes logarithmic."""
    figure = Picture(figsize=figsize or (7.0, 4.8), layout="constrained")
    ax = figure.add_subplot()
    name = unit_of_energy or energy_unit(energy, energy)[0]
    x = units.quantity(energy, "keV")
    import astropy.units as u

    x = x.to_value(units.unit(name), equivalencies=u.spectral())
    for curve in curves:
        colour = COLOURS[curve.colour % len(COLOURS)]
        if curve.dash == 0:
            ax.fill_between(x, curve.low, curve.high, color=colour, alpha=0.25, linewidth=0)
        style = "solid" if curve.dash == 0 else DASHES[(curve.dash - 1) % len(DASHES)]
        ax.plot(x, curve.values, color=colour, linestyle=style, linewidth=1.5, label=curve.label)
    ax.set_xscale("log")
    energy_axis(ax.xaxis, x.min(), x.max())
    ax.set_xlim(x.min(), x.max())
    ax.set_xlabel(with_unit(_axis_name(name), name))
    ax.set_ylabel(with_unit(_NAMES[moment], unit))
    largest = max(float(np.nanmax(curve.high)) for curve in curves)
    brightest = np.max([curve.values for curve in curves], axis=0)
    # Each curve is seen where it matters; one that dies out runs off the picture.
    log_limits(ax, max(float(brightest.min()) / 10, largest * 10 ** -_DECADES[moment]), largest)
    legend_above(figure, [ax])
    return figure


def _axis_name(unit: str) -> str:
    kinds = {"energy": "Energy", "frequency": "Frequency", "length": "Wavelength"}
    kind = str(units.unit(unit).physical_type).split("/")[0]
    return kinds.get(kind, "Energy")
