"""Numbers derived from the parameters of a model: fluxes, luminosities, widths, and any function of them."""

from __future__ import annotations

import abc
import operator
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from jaxspec import parameters, rules, units
from jaxspec.parameters import Link
from jaxspec.rules import AbstractRule

if TYPE_CHECKING:
    from jaxspec.model import Model

_REACH = 6.0  # standard deviations of a redshift that its table of distances covers
_NODES = 64


class AbstractQuantity(abc.ABC):
    """A number that follows from the parameters, to be computed for each draw or profiled.

    Quantities can be added, subtracted, multiplied, divided by each other and by numbers, and raised to a power:
    `(hard - soft) / (hard + soft)`.
    """

    unit: str

    @abc.abstractmethod
    def bind(self, model: Model) -> AbstractRule:
        """The rule that computes it from arrays; raises `KeyError` for names that the model has not."""

    def __add__(self, other: Any) -> Derived:
        return _joined(operator.add, self, other)

    def __sub__(self, other: Any) -> Derived:
        return _joined(operator.sub, self, other)

    def __mul__(self, other: Any) -> Derived:
        return _joined(operator.mul, self, other)

    def __truediv__(self, other: Any) -> Derived:
        return _joined(operator.truediv, self, other)

    def __radd__(self, other: Any) -> Derived:
        return _joined(operator.add, other, self)

    def __rsub__(self, other: Any) -> Derived:
        return _joined(operator.sub, other, self)

    def __rmul__(self, other: Any) -> Derived:
        return _joined(operator.mul, other, self)

    def __rtruediv__(self, other: Any) -> Derived:
        return _joined(operator.truediv, other, self)

    def __pow__(self, power: float) -> Derived:
        unit = units.unit(self.unit) ** power if self.unit else ""
        return Derived(operator.pow, self, _Number(float(power), ""), unit=str(unit))


class Derived(AbstractQuantity):
    """Any function of parameters and other quantities.

    Args:
        function: written with `jax.numpy`; takes as many numbers as there are inputs.
        inputs: names of parameters, or quantities.
        unit: of the result, for the table.
    """

    def __init__(self, function: Callable[..., Any], *inputs: str | AbstractQuantity, unit: str = "") -> None:
        for each in inputs:
            if not isinstance(each, (str, AbstractQuantity)):
                raise TypeError(f"a derived quantity takes names of parameters and quantities, got {each!r}")
        self.function, self.inputs, self.unit = function, inputs, unit

    def bind(self, model: Model) -> AbstractRule:
        names = list(model.parameters)
        made: list[AbstractRule] = []
        for each in self.inputs:
            if isinstance(each, AbstractQuantity):
                made.append(each.bind(model))
                continue
            if each not in names:
                raise parameters.unknown(each, names, "parameter")
            made.append(rules.Value(jax.device_put(np.array(names.index(each)))))
        return rules.Function(Link(("",) * len(made), self.function), tuple(made))


class _Number(AbstractQuantity):
    """A constant."""

    def __init__(self, value: float, unit: str) -> None:
        self.value, self.unit = value, unit

    def bind(self, model: Model) -> AbstractRule:
        return rules.Constant(jax.device_put(np.array(self.value)))


class Flux(AbstractQuantity):
    """The flux of a source, or of a part of it, in a band.

    Args:
        low, high: the band: energies, frequencies or wavelengths as quantities, or numbers in keV.
        unit: of a photon flux ("1 / (cm2 s)"), an energy flux ("erg / (cm2 s)"), or the integral of E^2 N(E); times a
            `duration` also of a fluence ("erg / cm2").
        source: the name of the source; the sum of all by default.
        component: the name of the additive component; all of the source by default.
        without: names of factors and convolutions to leave out: without its absorber a flux is the unabsorbed one.
        duration: seconds or a quantity; gives the fluence.

    Raises `ValueError` for a unit that is no flux and a band in the wrong order.
    """

    def __init__(
        self,
        low: Any,
        high: Any,
        unit: Any = "erg / (cm2 s)",
        *,
        source: str | None = None,
        component: str | None = None,
        without: str | Sequence[str] = (),
        duration: Any = None,
    ) -> None:
        self.low, self.high = units.band(low, high)
        self.unit, self.source, self.component = str(unit), source, component
        self.without = (without,) if isinstance(without, str) else tuple(without)
        if duration is None:
            self.moment, self.factor = units.flux_moment(unit)
        else:
            self.moment, self.factor = units.flux_moment(units.unit(unit) / units.unit("s"))
            self.factor *= units.seconds(duration, "duration")

    def bind(self, model: Model) -> rules.BandFlux:
        chosen = _parts(model, self.source, self.component)
        low, high, moment, weights = _on_device(self.low, self.high, float(self.moment), self.factor * chosen)
        return rules.BandFlux(low, high, moment, weights, _dropped(model, self.without, self.source))


class Luminosity(AbstractQuantity):
    r"""The luminosity of a source in a band of its rest frame.

    $$L = 4 \pi d_L^2 \int_{E_1 / (1 + z)}^{E_2 / (1 + z)} E\, N(E)\, dE$$

    so that the k-correction is exact for the spectrum as fitted. With a distance and no redshift, z = 0.

    Args:
        low, high: the band in the rest frame, as for `Flux`.
        unit: "erg / s" and the like; "1 / s" for photons.
        redshift: with `cosmology` it gives the luminosity distance; a pair (z, standard deviation) has an error.
        distance: the luminosity distance, a quantity, or a pair of quantities: value and standard deviation.
        cosmology: of astropy; Planck 2018 by default.
        source, component, without: as for `Flux`.

    Errors of redshift and distance are Gaussian, one per source, and widen the intervals of `derived`; a profile takes
    them as exact. Raises `ValueError` where neither or not positive ones are given, `TypeError` for a distance without
    unit.
    """

    def __init__(
        self,
        low: Any,
        high: Any,
        unit: str = "erg / s",
        *,
        redshift: float | tuple[float, float] | None = None,
        distance: Any = None,
        cosmology: Any = None,
        source: str | None = None,
        component: str | None = None,
        without: str | Sequence[str] = (),
    ) -> None:
        flux_unit = units.unit(unit) / units.unit("cm2")
        self._flux = Flux(low, high, flux_unit, source=source, component=component, without=without)
        self.unit, self.source = unit, source
        z, self.redshift_error = redshift if isinstance(redshift, tuple) else (redshift or 0.0, 0.0)
        self.redshift = float(z)
        if distance is None and not self.redshift > 0:
            raise ValueError(f"a luminosity needs a positive redshift or a distance, got redshift={redshift}")
        self.distance = None if distance is None else _centimetres(distance)
        if self.distance is not None and self.distance[1] > 0 and self.redshift_error > 0:
            raise ValueError("give an error of the redshift or of the distance, not of both")
        self.cosmology = cosmology

    def bind(self, model: Model) -> AbstractRule:
        flux = self._flux.bind(model)
        names = [source.name for source in model.sources]
        if self.source is None and len(names) > 1:
            raise ValueError(f"the luminosity of which source? give source=, one of {', '.join(names)}")
        place = names.index(self.source) if self.source else 0
        width = max(self.redshift_error, 1e-3 * self.redshift, 1e-6)
        z = np.linspace(max(self.redshift - _REACH * width, 1e-8), self.redshift + _REACH * width, _NODES)
        if self.distance is None:
            logs = np.log(_luminosity_distances(z, self.cosmology))
            deviation = 0.0
        else:
            value, error = self.distance
            logs, deviation = np.full(_NODES, np.log(value)), error / value
        numbers = (z, logs, self.redshift, self.redshift_error, deviation, place)
        return rules.DistantFlux(flux, *_on_device(*numbers))


class EquivalentWidth(AbstractQuantity):
    r"""The equivalent width of an additive component, in keV, positive for emission.

    $$W = \int \frac{N_\mathrm{line}(E)}{N_\mathrm{rest}(E)}\, dE$$

    over all energies between `low` and `high`, N_rest all other components of the source.

    Args:
        component: the name of the line.
        source: the name of its source; needed where the model has several.
        low, high: the band that holds the line.
        unit: of energy.
    """

    def __init__(
        self, component: str, *, low: Any = 0.01, high: Any = 1e5, source: str | None = None, unit: str = "keV"
    ) -> None:
        import astropy.units as u

        self.component, self.source, self.unit = component, source, unit
        self.low, self.high = units.band(low, high)
        one: Any = u.Quantity(1.0, u.keV)
        self.factor = float(one.to_value(units.unit(unit)))

    def bind(self, model: Model) -> AbstractRule:
        names = [source.name for source in model.sources]
        if self.source is None and len(names) > 1:
            raise ValueError(f"the equivalent width in which source? give source=, one of {', '.join(names)}")
        chosen = _parts(model, self.source, self.component)
        source = names.index(self.source) if self.source else 0
        if len(model.sources[source].spectrum.parts()) < 2:
            raise ValueError(f"{self.component} is all there is of its source: there is no continuum beside it")
        before = sum(len(each.spectrum.parts()) for each in model.sources[:source])
        low, high, factor = _on_device(self.low, self.high, self.factor)
        return rules.Width(low, high, factor, source, int(np.argmax(chosen)) - before)


def _on_device(*numbers: Any) -> list[jax.Array]:
    """Each as an array, by a way that compiles nothing."""
    return [jax.device_put(np.asarray(number)) for number in numbers]


def _joined(function: Callable[..., Any], left: Any, right: Any) -> Derived:
    """The result of arithmetic, with its unit."""
    pair = [each if isinstance(each, AbstractQuantity) else _Number(float(each), "") for each in (left, right)]
    if function in (operator.add, operator.sub):
        one, other = (each.unit or "no unit" for each in pair)
        if units.unit(pair[0].unit or "1") != units.unit(pair[1].unit or "1"):
            raise ValueError(f"a quantity in {one} and one in {other} do not add: give both one unit")
        return Derived(function, *pair, unit=pair[0].unit)
    unit = function(*(units.unit(each.unit or "1") for each in pair))
    return Derived(function, *pair, unit="" if unit == units.unit("1") else unit.to_string())


def _parts(model: Model, source: str | None, component: str | None) -> np.ndarray:
    """1 for each part of all sources that is chosen, 0 for the others."""
    names = [each.name for each in model.sources]
    if source is not None and source not in names:
        raise parameters.unknown(source, names, "source")
    pairs = [(each.name, part) for each in model.sources for part in each.spectrum.parts()]
    inside = [part for owner, part in pairs if source in (None, owner)]
    if component is not None and component not in inside:
        raise parameters.unknown(component, inside, "additive component")
    return np.array([float(source in (None, owner) and component in (None, part)) for owner, part in pairs])


def _dropped(model: Model, names: Sequence[str], source: str | None) -> tuple[str, ...]:
    """The numbers that stand for these components inside a density."""
    found, missing, count = [], list(names), 0
    for each in model.sources:
        for name, component in each.spectrum.components().items():
            if name in names and source in (None, each.name):
                if component.kind == "additive":
                    raise ValueError(f"{name} is additive: leave out factors and convolutions, or choose component=")
                found.append(str(count))
                missing = [other for other in missing if other != name]
            count += 1
    if missing:
        known = [name for each in model.sources for name in each.spectrum.components()]
        raise parameters.unknown(missing[0], known, "component")
    return tuple(found)


def _centimetres(given: Any) -> tuple[float, float]:
    pair = given if isinstance(given, tuple) else (given, 0 * given)
    if not all(hasattr(each, "unit") for each in pair):
        raise TypeError(f"distance is a quantity like 40 * u.Mpc, or a pair of them, got {given!r}")
    value, error = (float(units.number(each, "cm", "distance")) for each in pair)
    if not (value > 0 and error >= 0):
        raise ValueError(f"distance must be positive and its error not negative, got {given}")
    return value, error


def _luminosity_distances(z: np.ndarray, cosmology: Any) -> np.ndarray:
    """In cm."""
    if cosmology is None:
        from astropy.cosmology import Planck18 as cosmology  # noqa: N813
    return cosmology.luminosity_distance(z).to_value("cm")
