"""Parameters and links: the only file that knows what a parameter's name looks like."""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax
import numpy as np
from jax.core import Tracer

from jaxspec import units

if TYPE_CHECKING:
    from numpyro.distributions import Distribution

Scalar = float | jax.Array


@dataclasses.dataclass(frozen=True)
class Declaration:
    """What a component says of one of its parameters: unit, hard bounds, one line of doc, free at the start or not."""

    unit: str
    bounds: tuple[float, float]
    doc: str
    free: bool


def parameter(
    default: float,
    *,
    unit: str = "",
    bounds: tuple[float, float] = (-math.inf, math.inf),
    doc: str = "",
    free: bool = True,
) -> Any:
    """Declares a field of a component as a parameter.

    Args:
        default: its value in `unit`.
        unit: an astropy unit string; a `Quantity` given for the field is converted to it.
        bounds: the smallest and the largest value for which the component is defined.
        doc: one line on what it is.
        free: whether a fit varies it unless the user says otherwise (pivots and band edges are not free).
    """
    declaration = Declaration(unit, (float(bounds[0]), float(bounds[1])), doc, free)

    def convert(value: Any) -> Any:
        value = units.number(value, unit, f"the parameter ({doc})")
        # An integer leaf could not be differentiated.
        return float(value) if isinstance(value, int) else value

    return eqx.field(
        default=float(default),
        converter=convert,
        metadata={"declaration": declaration},
    )


def declarations(component: Any) -> dict[str, Declaration]:
    """The declared parameters of a component, by field name, in order; with its own `limits`, where it has some."""
    declared = {
        field.name: field.metadata["declaration"]
        for field in dataclasses.fields(component)
        if "declaration" in field.metadata
    }
    limits = {} if isinstance(component, type) else getattr(component, "limits", {})
    return {**declared, **{name: dataclasses.replace(declared[name], bounds=both) for name, both in limits.items()}}


def check_fields(component: Any) -> None:
    """Raises `ValueError` where a parameter of a new component lies outside the bounds that its class declares."""
    for field, declared in declarations(component).items():
        value = getattr(component, field)
        low, high = declared.bounds
        if isinstance(value, (int, float)) and not low <= value <= high:
            raise ValueError(
                f"{type(component).__name__}: {field} = {value:g} {declared.unit} lies outside its bounds "
                f"({low:g}, {high:g}) ({declared.doc})"
            )


def with_fields(component: Any, fields: Mapping[str, Any]) -> Any:
    """The same component with other fields, unchecked and unconverted: they may be traced."""
    new = object.__new__(type(component))
    for field in dataclasses.fields(component):
        object.__setattr__(new, field.name, fields.get(field.name, getattr(component, field.name)))
    return new


def full_name(source: str, component: str, field: str) -> str:
    """The name of a parameter in a model: `source.component.parameter`."""
    return f"{source}.{component}.{field}"


def check_name(name: Any, what: str) -> str:
    """`name` where it can be part of a parameter's name; raises `ValueError` or `TypeError` where it can not."""
    if not isinstance(name, str):
        raise TypeError(f"the name of a {what} is a string, got {name!r}")
    if not name or "." in name or ":" in name or name != name.strip():
        raise ValueError(
            f"a {what} cannot be called {name!r}: a name is not empty and has no '.', no ':', no outer space"
        )
    return name


def unknown(name: str, known: Iterable[str], what: str) -> KeyError:
    """The error for a name that nothing has: it offers the nearest one, or lists them all."""
    known = list(known)
    near = difflib.get_close_matches(str(name), known, n=1)
    every = "known: " + ", ".join(map(repr, known)) if known else "there is none"
    hint = f"did you mean {near[0]!r}?" if near else every
    return KeyError(f"no {what} is called {name!r}; {hint}")


def _check_takes(function: Callable[..., Any], inputs: tuple[str, ...]) -> None:
    """Raises `TypeError` where a law cannot be called with a value for each input."""
    try:
        signature = inspect.signature(function)
    except ValueError:  # of a function of another language nothing is known
        return
    try:
        signature.bind(*inputs)
    except TypeError as error:
        text = f"a law is called with a value for each of its parameters, {len(inputs)} here, written with jax.numpy"
        raise TypeError(f"{text}; this function does not take them: {error}") from None


@dataclasses.dataclass(frozen=True, eq=False)
class Link:
    """One parameter as a function of others.

    `function` takes as many values as `inputs` has names. `None` is equality. Two links are equal where they join the
    same parameters by functions of the same code, so that typing the same lambda again does not compile again.
    """

    inputs: tuple[str, ...]
    function: Callable[..., Any] | None = None
    _key: tuple = dataclasses.field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.function is not None:
            _check_takes(self.function, self.inputs)
        # Taken down now: a global variable that the function sees may have another value when links are compared.
        object.__setattr__(self, "_key", (self.inputs, _code_key(self.function)))

    def __call__(self, *values: Any) -> Any:
        return values[0] if self.function is None else self.function(*values)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Link) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self.inputs)

    def __str__(self) -> str:
        if self.function is None:
            return f"= {self.inputs[0]}"
        name = getattr(self.function, "__name__", type(self.function).__name__)
        return f"= {'f' if name == '<lambda>' else name}({', '.join(self.inputs)})"


def _code_key(function: Any) -> Any:
    """What makes two functions the same: their code, and everything it sees around itself."""
    code = getattr(function, "__code__", None)
    if code is None:
        return function
    cells = [cell.cell_contents for cell in function.__closure__ or ()]
    seen = [function.__globals__.get(name) for name in code.co_names]
    values = (*code.co_consts, *cells, *seen, *(function.__defaults__ or ()))
    return code.co_code, code.co_names, *map(_value_key, values)


def _value_key(value: Any) -> Any:
    if isinstance(value, (int, float, str, type(None))):
        return type(value), repr(value)
    return id(value), value  # kept, so that no other object gets its id


def link_order(links: Mapping[str, Link]) -> tuple[str, ...]:
    """The linked parameters in an order in which each comes after those it depends on.

    Raises `ValueError` where the links form a ring, and shows it.
    """
    done: list[str] = []

    def visit(name: str, path: tuple[str, ...]) -> None:
        if name in path:
            ring = " -> ".join((*path[path.index(name) :], name))
            raise ValueError(f"the links form a ring: {ring}. Unlink one of these parameters.")
        if name in links and name not in done:
            for needed in links[name].inputs:
                visit(needed, (*path, name))
            done.append(name)

    for name in links:
        visit(name, ())
    return tuple(done)


class JointPrior(eqx.Module):
    """The prior distribution of several parameters together, in the order of their names."""

    distribution: Distribution
    names: tuple[str, ...] = eqx.field(static=True)


@dataclasses.dataclass(frozen=True)
class Parameter:
    """One row of a model's table: what a parameter is and what the fit does with it."""

    name: str
    value: Any
    unit: str
    bounds: tuple[float, float]
    doc: str
    prior: Distribution | JointPrior | None
    free: bool
    link: Link | None

    @property
    def state(self) -> str:
        """'free', 'frozen' or the link, as text."""
        if self.link is not None:
            return str(self.link)
        return "free" if self.free else "frozen"

    @property
    def support(self) -> tuple[float, float]:
        """Where the parameter can be: inside its bounds and where its prior is not zero."""
        low, high = self.bounds
        a, b = prior_support(self.prior, self.name) if self.prior is not None else (low, high)
        return max(low, a), min(high, b)

    def check_value(self, value: Any) -> None:
        """Raises `ValueError` where a plain number is not inside the bounds; a traced value passes."""
        if isinstance(value, Tracer):
            return
        low, high = self.bounds
        if not low <= float(value) <= high:
            raise ValueError(
                f"{self.name} = {float(value):g} {self.unit} lies outside its bounds ({low:g}, {high:g}); "
                "give a value inside, or other bounds with model.with_bounds"
            )


def prior_support(prior: Any, name: str) -> tuple[float, float]:
    """The interval on which a prior of one number, or a joint one for the parameter of that name, is not zero."""
    if not isinstance(prior, JointPrior):
        support = prior.support
        return float(getattr(support, "lower_bound", -math.inf)), float(getattr(support, "upper_bound", math.inf))
    support = prior.distribution.support.base_constraint  # pyright: ignore
    edges = getattr(support, "lower_bound", -math.inf), getattr(support, "upper_bound", math.inf)
    low, high = (np.broadcast_to(edge, len(prior.names))[prior.names.index(name)] for edge in edges)
    return float(low), float(high)


def prior_text(prior: Distribution | JointPrior | None) -> str:
    """A prior as one reads it: its name and numbers, or the parameters that it joins."""
    if prior is None:
        return ""
    if isinstance(prior, JointPrior):
        return f"{type(prior.distribution).__name__}({', '.join(prior.names)})"
    numbers = [
        f"{getattr(prior, name):.4g}" for name in prior.arg_constraints if _is_number(getattr(prior, name, None))
    ]
    return f"{type(prior).__name__}({', '.join(numbers)})"


def _is_number(value: Any) -> bool:
    return value is not None and getattr(value, "ndim", 0) == 0
