"""What every spectral component is, and the algebra that joins components into a spectrum."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable, Collection, Iterator
from typing import Any, ClassVar, Self

import equinox as eqx
import jax
import jax.numpy as jnp

from jaxspec import parameters, quadrature
from jaxspec.quadrature import Bins, Points


class AbstractSpectrum(eqx.Module):
    """A function of photon energy built of components: one component, or several joined by + and *.

    It is a pytree whose leaves are the parameters: it can be called, differentiated, vectorised as it stands.
    """

    kind: ClassVar[str]  # "additive", "multiplicative" or "convolution"

    @abc.abstractmethod
    def evaluate(self, energy: jax.Array) -> jax.Array:
        """The value at one energy in keV."""

    @abc.abstractmethod
    def components(self) -> dict[str, AbstractComponent]:
        """The components by name, in the order in which they are written."""

    @abc.abstractmethod
    def map_components(self, function: Callable[[AbstractComponent], AbstractComponent]) -> AbstractSpectrum:
        """The same spectrum with each component replaced by `function(component)`."""

    def parts(self) -> dict[str, AbstractSpectrum]:
        """What each additive component contributes: with all that multiplies and convolves it. By component name."""
        return {name: component for name, component in self.components().items() if component.kind == "additive"}

    def without(self, names: Collection[str]) -> AbstractSpectrum:
        """The spectrum as it would be without these factors and convolutions."""
        kept = _without(self, names)
        if kept is None:
            raise ValueError(f"nothing is left of {self!r} without {', '.join(names)}")
        return kept

    def __call__(self, energy: Any) -> jax.Array:
        """The value at any array of energies: keV, or a `Quantity`.

        For an additive spectrum this is N(E) in photons / (cm2 s keV).
        """
        if hasattr(energy, "unit"):
            import astropy.units as u

            energy = energy.to_value(u.keV, equivalencies=u.spectral())
        energy = jnp.asarray(energy)
        if not jnp.issubdtype(energy.dtype, jnp.inexact):
            energy = energy.astype(jnp.zeros(()).dtype)
        return jnp.vectorize(self.evaluate)(energy)

    def integral(self, bins: Bins, moment: Any = 0) -> jax.Array:
        """The integral of E^moment N(E) dE over each bin: photons / (cm2 s) for moment 0, keV / (cm2 s) for 1.

        Args:
            bins: n of them.
            moment: 0, 1 or 2; it may be traced.

        A component overrides it where it has a closed form.
        """
        return quadrature.integrate(self, bins, moment)

    def points(self, bins: Bins) -> tuple[Points, ...]:
        """Energies and photons / (cm2 s), each of shape (m, n), that stand for the photons in each of n bins.

        The sum over m of f(energy) photons is the integral of f(E) N(E) dE over the bin for every smooth f: this is how
        factors and convolutions see a spectrum. These are the nodes of the bins' quadrature, except for lines, which
        may be narrower than a bin: their points move with the line, so that an absorbed line keeps its photons.
        """
        return ((bins.energy, self(bins.energy) * bins.weight),)

    def __add__(self, other: Any) -> AbstractSpectrum:
        return Sum(self, other)

    def __mul__(self, other: Any) -> AbstractSpectrum:
        return Product(self, other)

    def __radd__(self, other: Any) -> AbstractSpectrum:
        raise _no_spectrum(other, "+")

    def __rmul__(self, other: Any) -> AbstractSpectrum:
        raise _no_spectrum(other, "*")


class AbstractComponent(AbstractSpectrum):
    """One term of a spectrum. A subclass declares its parameters with `parameter` and defines `evaluate`.

    Args:
        name: what it is called in parameter names and tables; without one, its class name in lower case.

    Raises `ValueError` where a parameter lies outside the bounds that the component declares.
    """

    name: str | None = eqx.field(static=True, default=None, kw_only=True)

    def __check_init__(self) -> None:
        if self.name is not None:
            parameters.check_name(self.name, "component")
        parameters.check_fields(self)

    @property
    def label(self) -> str:
        """The component's name in a spectrum."""
        return self.name or type(self).__name__.lower()

    @property
    def limits(self) -> dict[str, tuple[float, float]]:
        """Bounds of parameters that this component alone has, in place of those of its class."""
        return {}

    def components(self) -> dict[str, AbstractComponent]:
        return {self.label: self}

    def map_components(self, function: Callable[[AbstractComponent], AbstractComponent]) -> AbstractComponent:
        return function(self)

    def with_fields(self, **fields: Any) -> Self:
        """The same component with other fields, unchecked and unconverted: they may be traced."""
        return parameters.with_fields(self, fields)

    def __repr__(self) -> str:
        fields = [f"{field}={_short(getattr(self, field))}" for field in parameters.declarations(self)]
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.metadata.get("static") and value != field.default:
                fields.append(f"{field.name}={value!r}")
        return f"{type(self).__name__}({', '.join(fields)})"


class AbstractAdditive(AbstractComponent):
    """A component that emits: `evaluate` is N(E) in photons / (cm2 s keV)."""

    kind = "additive"

    @property
    def norm_field(self) -> str | None:
        """The parameter that the spectrum is proportional to, by what it is called: K, F or norm."""
        return next((field for field in ("K", "F", "norm") if field in parameters.declarations(self)), None)


class AbstractMultiplicative(AbstractComponent):
    """A component that multiplies others: `evaluate` is a factor without unit."""

    kind = "multiplicative"


class AbstractConvolution(AbstractComponent):
    """A component that acts on a spectrum: `redshift(powerlaw)`. It defines `transform` in place of `evaluate`."""

    kind = "convolution"
    acts_on: ClassVar[tuple[str, ...]] = ("additive",)  # what it can be applied to

    @abc.abstractmethod
    def transform(self, spectrum: AbstractSpectrum, energy: jax.Array) -> jax.Array:
        """The value at one energy in keV of what becomes of `spectrum`."""

    def transform_integral(self, spectrum: AbstractSpectrum, bins: Bins, moment: Any) -> jax.Array:
        """The integral of E^moment N(E) dE over each bin of what becomes of `spectrum`."""
        return quadrature.sum_points(self.transform_points(spectrum, bins), moment)

    def transform_points(self, spectrum: AbstractSpectrum, bins: Bins) -> tuple[Points, ...]:
        """The `points` of what becomes of `spectrum`; a convolution that keeps lines narrow overrides it."""
        photons = jnp.vectorize(lambda energy: self.transform(spectrum, energy))(bins.energy) * bins.weight
        return ((bins.energy, photons),)

    def transform_parts(self, spectrum: AbstractSpectrum) -> dict[str, AbstractSpectrum]:
        """What becomes of each of the `parts` of `spectrum`; one that does not act on each alone overrides it."""
        return {name: Convolved(self, part) for name, part in spectrum.parts().items()}

    def evaluate(self, energy: jax.Array) -> jax.Array:
        raise TypeError(f"{type(self).__name__} acts on a spectrum: write {self.label}(spectrum)")

    def __call__(self, spectrum: Any) -> Convolved:  # pyright: ignore[reportIncompatibleMethodOverride]
        """What becomes of a spectrum."""
        return Convolved(self, spectrum)


class Sum(AbstractSpectrum):
    """The sum of two additive spectra."""

    kind = "additive"
    left: AbstractSpectrum
    right: AbstractSpectrum

    def __check_init__(self) -> None:
        for term in (self.left, self.right):
            if not isinstance(term, AbstractSpectrum):
                raise _no_spectrum(term, "+")
            if term.kind != "additive":
                raise TypeError(f"{term!r} is {term.kind}; only additive spectra can be added. Did you mean '*'?")
        self.components()

    def evaluate(self, energy: jax.Array) -> jax.Array:
        return self.left.evaluate(energy) + self.right.evaluate(energy)

    def integral(self, bins: Bins, moment: Any = 0) -> jax.Array:
        return self.left.integral(bins, moment) + self.right.integral(bins, moment)

    def points(self, bins: Bins) -> tuple[Points, ...]:
        return quadrature.join_points(self.left.points(bins) + self.right.points(bins))

    def components(self) -> dict[str, AbstractComponent]:
        return _join(self.left, self.right)

    def map_components(self, function: Callable[[AbstractComponent], AbstractComponent]) -> Sum:
        return Sum(self.left.map_components(function), self.right.map_components(function))

    def parts(self) -> dict[str, AbstractSpectrum]:
        return {**self.left.parts(), **self.right.parts()}

    def __repr__(self) -> str:
        return f"{self.left!r} + {self.right!r}"


class Product(AbstractSpectrum):
    """The product of a multiplicative spectrum and another spectrum, which may be additive or multiplicative."""

    left: AbstractSpectrum
    right: AbstractSpectrum

    def __init__(self, left: Any, right: Any) -> None:
        for factor in (left, right):
            if not isinstance(factor, AbstractSpectrum):
                raise _no_spectrum(factor, "*")
            if isinstance(factor, AbstractConvolution):
                raise TypeError(f"{factor!r} is a convolution: write {factor.label}(spectrum)")
        if left.kind == right.kind == "additive":
            raise TypeError(f"{left!r} and {right!r} are both additive: one factor of a product is multiplicative")
        # The additive factor comes last, whichever way round the user wrote it.
        self.left, self.right = (right, left) if left.kind == "additive" else (left, right)
        self.components()

    @property
    def kind(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Additive where one factor is."""
        return self.right.kind

    def evaluate(self, energy: jax.Array) -> jax.Array:
        return self.left.evaluate(energy) * self.right.evaluate(energy)

    def integral(self, bins: Bins, moment: Any = 0) -> jax.Array:
        return quadrature.sum_points(self.points(bins), moment)

    def points(self, bins: Bins) -> tuple[Points, ...]:
        return tuple((energy, self.left(energy) * photons) for energy, photons in self.right.points(bins))

    def components(self) -> dict[str, AbstractComponent]:
        return _join(self.left, self.right)

    def map_components(self, function: Callable[[AbstractComponent], AbstractComponent]) -> Product:
        return Product(self.left.map_components(function), self.right.map_components(function))

    def parts(self) -> dict[str, AbstractSpectrum]:
        return {name: Product(self.left, part) for name, part in self.right.parts().items()}

    def __repr__(self) -> str:
        return " * ".join(f"({f!r})" if isinstance(f, Sum) else repr(f) for f in (self.left, self.right))


class Convolved(AbstractSpectrum):
    """What a convolution component makes of a spectrum, which is of the same kind."""

    convolution: AbstractConvolution
    spectrum: AbstractSpectrum

    def __check_init__(self) -> None:
        acts_on = self.convolution.acts_on
        if not isinstance(self.spectrum, AbstractSpectrum) or self.spectrum.kind not in acts_on:
            kinds = " or ".join(acts_on)
            article = "an" if kinds[0] == "a" else "a"
            raise TypeError(f"{self.convolution.label}(...) acts on {article} {kinds} spectrum, got {self.spectrum!r}")
        self.components()

    @property
    def kind(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        """That of the spectrum it acts on."""
        return self.spectrum.kind

    def evaluate(self, energy: jax.Array) -> jax.Array:
        return self.convolution.transform(self.spectrum, energy)

    def integral(self, bins: Bins, moment: Any = 0) -> jax.Array:
        return self.convolution.transform_integral(self.spectrum, bins, moment)

    def points(self, bins: Bins) -> tuple[Points, ...]:
        return self.convolution.transform_points(self.spectrum, bins)

    def components(self) -> dict[str, AbstractComponent]:
        return _join(self.convolution, self.spectrum)

    def map_components(self, function: Callable[[AbstractComponent], AbstractComponent]) -> Convolved:
        convolution = self.convolution.map_components(function)
        assert isinstance(convolution, AbstractConvolution)  # for the type checker: a component keeps its class
        return Convolved(convolution, self.spectrum.map_components(function))

    def parts(self) -> dict[str, AbstractSpectrum]:
        return self.convolution.transform_parts(self.spectrum)

    def __repr__(self) -> str:
        return f"{self.convolution!r}({self.spectrum!r})"


def _without(spectrum: AbstractSpectrum, names: Collection[str]) -> AbstractSpectrum | None:
    """None where nothing is left."""
    if isinstance(spectrum, AbstractComponent):
        return None if spectrum.label in names else spectrum
    if isinstance(spectrum, Convolved):
        inside = _without(spectrum.spectrum, names)
        return inside if inside is None or spectrum.convolution.label in names else spectrum.convolution(inside)
    assert isinstance(spectrum, (Sum, Product))
    left, right = _without(spectrum.left, names), _without(spectrum.right, names)
    return right if left is None else left if right is None else type(spectrum)(left, right)


def _join(left: AbstractSpectrum, right: AbstractSpectrum) -> dict[str, AbstractComponent]:
    """The components of both; raises `ValueError` where two have one name."""
    first, second = left.components(), right.components()
    for name in second:
        if name in first:
            cls = type(second[name]).__name__
            raise ValueError(
                f"two components of one spectrum are called {name!r}: name one of them, like {cls}(..., name='{name}2')"
            )
    return {**first, **second}


def _no_spectrum(value: Any, sign: str) -> TypeError:
    hint = " A factor is written Constant(factor=...) * spectrum." if sign == "*" else ""
    return TypeError(f"{value!r} is not a spectrum, so '{sign}' cannot join it to one.{hint}")


def _short(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, (int, float)) else str(value)


def walk_classes(cls: type[AbstractComponent]) -> Iterator[type[AbstractComponent]]:
    """Every concrete component class below `cls` that has been defined so far."""
    for child in cls.__subclasses__():
        if not getattr(child, "__abstractmethods__", None):
            yield child
        yield from walk_classes(child)
