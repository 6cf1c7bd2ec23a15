"""Quantities and unit strings become plain floats here, at the border; everything inside works in keV, cm2, s."""

from __future__ import annotations

import functools
import itertools
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from astropy.units import Quantity

# astropy.units takes 0.4 s to import: a session that types plain numbers never pays for it.


@functools.cache  # astropy parses a text anew each time, in a quarter of a millisecond
def unit(text: Any) -> Any:
    """The astropy unit that `text` names; a `Unit` passes through.

    Raises `ValueError` where no unit has that name.
    """
    import astropy.units as u

    if isinstance(text, str):
        text = text.strip()
    try:
        return u.Unit(text)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{text!r} is not a unit: {error}. Write it as astropy does, like 'erg / (cm2 s)'.") from error


def energy(value: Any, what: str = "energy") -> float:
    """`value` as a photon energy in keV.

    A plain number is taken to be in keV. A quantity may be an energy, a frequency or a wavelength.

    Raises `ValueError` for any other kind of quantity and for one that is not positive and finite.
    """
    import numpy as np

    if hasattr(value, "unit"):
        import astropy.units as u

        try:
            number = float(value.to_value(u.keV, equivalencies=u.spectral()))
        except (u.UnitConversionError, TypeError) as error:
            raise ValueError(f"{what} {value} is no energy, frequency or wavelength of one photon") from error
    else:
        try:
            number = float(value)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{what} must be a number in keV or a quantity like 8 * u.keV, got {value!r}") from error
    if not (np.isfinite(number) and number > 0):
        raise ValueError(f"{what} must be positive and finite, got {value}")
    return number


def band(low: Any, high: Any) -> tuple[float, float]:
    """The band between two photon energies, in keV.

    Raises `ValueError` where the first is not below the second, or where one is no energy.
    """
    a, b = energy(low, "lower energy"), energy(high, "upper energy")
    if not a < b:
        hint = "; wavelengths run the other way: give the longer one first" if hasattr(low, "unit") else ""
        raise ValueError(f"the lower energy must be below the upper one, got {low} and {high}{hint}")
    return a, b


def number(value: Any, unit_name: str, what: str) -> Any:
    """`value` in the unit called `unit_name`; anything without a unit (a number, an array, a tracer) passes as it is.

    Raises `ValueError` where the units do not convert into each other.
    """
    if not hasattr(value, "unit"):
        return value
    import astropy.units as u

    try:
        return float(value.to_value(unit(unit_name) if unit_name else u.dimensionless_unscaled))
    except u.UnitConversionError as error:
        raise ValueError(f"{what} is in {unit_name or 'no unit'}, which {value.unit} does not convert to") from error


def seconds(value: Any, what: str = "exposure") -> float:
    """`value` as a time in seconds, positive and finite; raises `ValueError` where it is not."""
    import numpy as np

    result = float(number(value, "s", what))
    if not (np.isfinite(result) and result > 0):
        raise ValueError(f"{what} must be a positive number of seconds, got {value}")
    return result


@functools.cache
def flux_moment(unit_name: Any) -> tuple[int, float]:
    """Which integral has this unit, and the factor from its value in keV, cm2 and s.

    The integral of E^m N(E) over a band has the unit keV^m / (cm2 s): m = 0 is the photon flux, 1 the energy flux,
    2 what some call the E F(E) flux. Returns (m, factor).

    Raises `ValueError` for a unit that is none of the three.
    """
    import astropy.units as u

    wanted = _without_photons(unit(unit_name))
    # erg / (cm2 s keV) has the dimension of a photon flux, but counts no photons.
    counts = not any(base.is_equivalent(u.keV) for base in wanted.bases)
    for moment in (0, 1, 2) if counts else (1, 2):
        native: Any = u.keV**moment / (u.cm**2 * u.s)
        if native.is_equivalent(wanted):
            return moment, float(native.to(wanted))
    raise ValueError(
        f"{unit_name!r} is not a flux. Give a photon flux like '1 / (cm2 s)', an energy flux like 'erg / (cm2 s)', "
        "or the integral of E^2 N(E) like 'erg2 / (cm2 s)'."
    )


@functools.cache
def spectrum_moment(unit_name: str) -> tuple[int, float]:
    """The same for a spectrum: E^m N(E) has the unit keV^m / (cm2 s keV), or per Hz (Jy). Returns (m, factor)."""
    import astropy.units as u

    wanted = _without_photons(unit(unit_name))
    hertz: Any = u.Quantity(1.0, u.Hz)
    per_hertz = float(hertz.to_value(u.keV, equivalencies=u.spectral()))
    for (per, factor), moment in itertools.product(((u.keV, 1.0), (u.Hz, per_hertz)), (0, 1, 2)):
        native: Any = u.keV**moment / (u.cm**2 * u.s * per)
        if native.is_equivalent(wanted):
            return moment, factor * float(native.to(wanted))
    raise ValueError(
        f"{unit_name!r} is not a unit of a spectrum. Give photons like '1 / (cm2 s keV)', "
        "E F(E) per energy like 'keV / (cm2 s keV)', or E^2 F(E) like 'erg2 / (cm2 s keV)' = 'erg / (cm2 s)'."
    )


def _without_photons(given: Any) -> Any:
    """ "ph / (cm2 s)" as "1 / (cm2 s)": what is counted has no unit here."""
    import astropy.units as u

    return given / u.ph if dict(zip(given.bases, given.powers)).get(u.ph) == 1 else given


def quantity(value: Any, unit_name: str) -> Quantity:
    """`value` with a unit, shown with four digits in tables (its `value` has them all)."""
    return _quantity_class()(value, unit(unit_name))


@functools.cache
def _quantity_class() -> Any:
    import astropy.units as u

    class Flux(u.Quantity):
        """A quantity that prints as a reader wants it."""

        def __str__(self) -> str:
            return f"{self.value:.4g} {self.unit}" if self.isscalar else super().__str__()

        def __reduce__(self) -> Any:
            return u.Quantity, (self.value, self.unit)  # a class made in a function cannot be pickled

    return Flux
