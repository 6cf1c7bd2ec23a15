"""Spectra as plain data, and back: components by class and values, functions by their formula, tables by arrays."""

from __future__ import annotations

import dataclasses
import functools
import importlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jaxspec import parameters, spectra
from jaxspec.parameters import Declaration
from jaxspec.results import _laws
from jaxspec.spectra import _base, _made, _tables
from jaxspec.spectra._atomdb import Emission
from jaxspec.spectra._plasma import AbstractPlasma

Arrays = list[np.ndarray]


def to_dict(spectrum: Any, arrays: Arrays) -> dict[str, Any]:
    """A spectrum as JSON can hold it, but for tables: their arrays are appended to `arrays`."""
    kind = type(spectrum).__name__
    if isinstance(spectrum, (_base.Sum, _base.Product)):
        return {"join": kind, "parts": [to_dict(spectrum.left, arrays), to_dict(spectrum.right, arrays)]}
    if isinstance(spectrum, _base.Convolved):
        return {"join": kind, "parts": [to_dict(each, arrays) for each in (spectrum.convolution, spectrum.spectrum)]}
    if isinstance(spectrum, _tables.AbstractTable):
        return _table_to_dict(spectrum, arrays)
    data = component_to_dict(spectrum)
    return {**data, "emission": _append(table.saved(), arrays)} if (table := _emission(spectrum)) else data


def _emission(component: Any) -> Emission | None:
    """The table of AtomDB's numbers that a component, or XSPEC's form of it, has."""
    parts = getattr(component, "template", component).components().values()
    return next((part.table for part in parts if isinstance(part, AbstractPlasma)), None)


def _append(new: Sequence[Any], arrays: Arrays) -> list[int]:
    """The places of arrays that are appended, if they are not there yet: two plasmas share a table."""
    places = []
    for array in new:
        place = next((i for i, each in enumerate(arrays) if each is array), len(arrays))
        if place == len(arrays):
            arrays.append(array)
        places.append(place)
    return places


def component_to_dict(component: Any) -> dict[str, Any]:
    """A component by its class and fields."""
    # A component that reads a table of ours reads it again when it is made.
    saved = [field.name for field in dataclasses.fields(component) if field.metadata.get("saved", True)]
    fields = {name: getattr(component, name) for name in saved}
    declared = parameters.declarations(component)
    data = {
        "class": type(component).__name__,
        "module": type(component).__module__,
        "fields": {name: float(value) if name in declared else value for name, value in fields.items()},
    }
    function = getattr(type(component), "function", None)
    return data if function is None else {**data, "function": _function_to_dict(component, function)}


def from_dict(data: dict[str, Any], arrays: Arrays) -> Any:
    """The spectrum of `to_dict` and its arrays. Raises `ValueError` for a component whose class is not to be found."""
    if "join" in data:
        return getattr(_base, data["join"])(*(from_dict(part, arrays) for part in data["parts"]))
    if "table" in data:
        return _table_from_dict(data, arrays)
    function = data.get("function")
    if function is not None and function["law"] is not None:
        table = tuple((name, (value, declared)) for name, value, declared in map(_declared, function["table"]))
        return _class_of_law(function["law"], table, function["kind"], data["class"], data["module"], function["doc"])(
            **data["fields"]
        )
    cls = _component_class(data["class"], data["module"])
    if "emission" not in data:
        return cls(**data["fields"])
    kT, *rest = (arrays[i] for i in data["emission"])
    table = Emission.of(kT, rest[:3], rest[3:])
    if issubclass(cls, AbstractPlasma):
        return cls(**data["fields"], table=table)
    return cls(**data["fields"], template=cls.form.made(data["fields"]["abundances"], table=table))


def _function_to_dict(component: Any, function: Callable[..., Any]) -> dict[str, Any]:
    """A plain function by its formula, where it is elementary, and the table of its parameters."""
    declared = parameters.declarations(component)
    defaults = {field.name: field.default for field in dataclasses.fields(component)}
    return {
        "law": _laws.write(lambda energy, *values: function(energy, **dict(zip(declared, values))), 1 + len(declared)),
        "kind": component.kind,
        "doc": type(component).__doc__,
        "table": [(name, defaults[name], dataclasses.astuple(d)) for name, d in declared.items()],
    }


def _declared(row: Any) -> tuple[str, float, Declaration]:
    name, value, (unit, bounds, doc, free) = row
    return name, value, Declaration(unit, tuple(bounds), doc, free)


def _table_to_dict(table: Any, arrays: Arrays) -> dict[str, Any]:
    start = len(arrays)
    arrays += [_tables.native(np.asarray(array)) for array in (table.edges, *table.grid, *table.spectra)]
    names = parameters.declarations(table)
    return {
        "table": dataclasses.asdict(table.layout),
        "arrays": list(range(start, len(arrays))),
        "fields": {"name": table.name, **{name: float(getattr(table, name)) for name in names}},
    }


def _table_from_dict(data: dict[str, Any], arrays: Arrays) -> Any:
    fields: dict[str, Any] = dict(data["table"])
    for key in ("axes", "added"):
        fields[key] = tuple(_declared((name, value, tuple(d.values()))) for name, value, d in fields[key])
    fields |= {key: tuple(fields[key]) for key in ("logarithmic", "shift", "outside")}
    layout = _tables.Layout(**fields)
    edges, *rest = (arrays[i] for i in data["arrays"])
    n = len(layout.axes)
    return _tables.table_class(layout)(edges, tuple(rest[:n]), tuple(rest[n:]), **data["fields"])


@functools.cache
def _class_of_law(text: str, table: tuple[Any, ...], kind: str, name: str, module: str, doc: str) -> type[Any]:
    law = _laws.Law(text)

    def function(energy: Any, **values: Any) -> Any:
        return law(energy, *(values[field] for field, _ in table))

    return _made.function_class(function, table, kind, name, module, doc)


def _component_class(name: str, module: str) -> Any:
    if module.startswith("jaxspec."):  # XSPEC's names are those of no public class
        return getattr(spectra, name, None) or getattr(importlib.import_module(module), name)
    known = [cls for cls in _base.walk_classes(_base.AbstractComponent) if cls.__name__ == name]
    # The last definition counts; a component of the user's may be called like one of ours.
    for cls in [cls for cls in reversed(known) if cls.__module__ == module] or known[-1:]:
        return cls
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ValueError(
            f"this result uses a component {name!r} of your own, defined in {module!r}: define or import it before load"
        ) from error
