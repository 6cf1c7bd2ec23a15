"""Component classes that are made while the program runs: of a table of parameters, or of a plain function."""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable, Mapping
from typing import Any

from jaxspec.parameters import Declaration, Scalar, parameter
from jaxspec.spectra._base import AbstractAdditive, AbstractComponent, AbstractMultiplicative

BASES: dict[str, type[AbstractComponent]] = {"additive": AbstractAdditive, "multiplicative": AbstractMultiplicative}


def make_class(
    name: str,
    bases: tuple[type, ...],
    table: Mapping[str, tuple[float, Declaration]],
    module: str,
    doc: str,
    **members: Any,
) -> type[Any]:
    """A component class with a field for each parameter of `table`: name to default and declaration."""
    fields = {
        field: parameter(value, unit=d.unit, bounds=d.bounds, doc=d.doc, free=d.free)
        for field, (value, d) in table.items()
    }

    def fill(namespace: dict[str, Any]) -> None:
        annotations = dict.fromkeys(fields, Scalar)
        namespace.update(__module__=module, __doc__=doc, __annotations__=annotations, **fields, **members)

    return types.new_class(name, bases, exec_body=fill)


def from_function(
    function: Callable[..., Any], parameters: Mapping[str, Any], kind: str = "additive", name: str | None = None
) -> type[Any]:
    r"""A component of your own from a plain function and a table of its parameters.

    $$N(E) = \mathrm{function}(E, \ldots) \quad \text{in photons / (cm2 s keV), or a factor}$$

    ```python
    def cut(energy, K, cutoff):
        return K / energy * jnp.exp(-energy / cutoff)

    Cut = from_function(cut, {"K": parameter(1.0, unit="1 / (cm2 s keV)", bounds=(0, inf)),
                              "cutoff": parameter(100.0, unit="keV", bounds=(1, 1e5))})
    source = PointSource("grb", Cut(cutoff=300) + Blackbody())
    ```

    Args:
        function: takes one energy in keV and then the parameters by name; written with jax.numpy.
        parameters: a `parameter(...)` for each name, in the order in which tables show them.
        kind: "additive" or "multiplicative".
        name: of the class, and in lower case of the component; by default that of the function.

    A result with such a component is saved with the formula, where it consists of elementary functions; otherwise the
    function must be defined again, or imported, before the result is loaded.

    Raises `ValueError` for another kind, for a function without a name, and where the table does not name the
    function's arguments; `TypeError` for an entry that is no `parameter(...)`.
    """
    if kind not in BASES:
        raise ValueError(f"kind is 'additive' or 'multiplicative', got {kind!r}")
    name = str(name or getattr(function, "__name__", ""))
    if not name.isidentifier():
        raise ValueError(f"{function!r} has no name that a component could have: give name=...")
    takes = list(inspect.signature(function).parameters)[1:]
    if sorted(takes) != sorted(parameters):
        raise ValueError(f"{name} takes the energy and {takes}, but the table has {list(parameters)}")
    table = {}
    for field, entry in parameters.items():
        if "declaration" not in getattr(entry, "metadata", {}):
            raise TypeError(f"the table of {name} must have a parameter(...) for {field!r}, got {entry!r}")
        table[field] = (entry.default, entry.metadata["declaration"])
    doc = inspect.getdoc(function) or f"The function {name} of the energy and {', '.join(parameters)}."
    return function_class(function, tuple(table.items()), kind, name, getattr(function, "__module__", ""), doc)


@functools.cache
def function_class(
    function: Callable[..., Any],
    table: tuple[tuple[str, tuple[float, Declaration]], ...],
    kind: str,
    name: str,
    module: str,
    doc: str,
) -> type[Any]:
    """The class of `from_function`; one and the same for equal arguments, so that nothing is compiled again."""

    def evaluate(self: Any, energy: Any) -> Any:
        return function(energy, **{field: getattr(self, field) for field, _ in table})

    return make_class(
        name, (BASES[kind],), dict(table), module, doc, function=staticmethod(function), evaluate=evaluate
    )
