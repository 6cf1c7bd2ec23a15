"""The model: sources and calibrations with priors, bounds, frozen parameters and links."""

from __future__ import annotations

import dataclasses
import functools
import html
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxspec import parameters, units
from jaxspec.calibration import Calibration
from jaxspec.parameters import JointPrior, Link, Parameter
from jaxspec.priors import check_joint, check_prior
from jaxspec.sources import BackgroundModel, Member, PointSource, components_of, replace_values

if TYPE_CHECKING:
    from numpyro.distributions import Distribution


@dataclasses.dataclass(frozen=True, eq=False, init=False)
class Model:
    """Sources, and what the fit may do with their parameters. Immutable: each `with_...` returns a new one.

    A parameter is called `source.component.parameter`. Every name is checked on the spot.

    Args:
        members: the point sources, each with a name of its own, models of backgrounds, calibrations of observations.
    """

    sources: tuple[PointSource, ...]
    backgrounds: tuple[BackgroundModel, ...]
    calibrations: tuple[Calibration, ...]
    priors: Mapping[str, Distribution | JointPrior]
    links: Mapping[str, Link]
    _bounds: Mapping[str, tuple[float, float]]
    _freedom: Mapping[str, bool]

    def __init__(self, *members: Member) -> None:
        for member in members:
            if not isinstance(member, Member):
                raise TypeError(
                    f"a model is made of PointSource, BackgroundModel and Calibration objects, got {member!r}"
                )
        sources = tuple(member for member in members if isinstance(member, PointSource))
        backgrounds = tuple(member for member in members if isinstance(member, BackgroundModel))
        calibrations = tuple(member for member in members if isinstance(member, Calibration))
        for kind, what in (((*sources, *backgrounds), "source"), (calibrations, "calibration")):
            names = [member.name for member in kind]
            twice = {name for name in names if names.count(name) > 1}
            if twice:
                raise ValueError(f"two {what}s are called {sorted(twice)[0]!r}; every {what} needs a name of its own")
        if not sources:
            raise ValueError("a model needs at least one source: Model(PointSource('name', spectrum))")
        kinds = {"sources": sources, "backgrounds": backgrounds, "calibrations": calibrations}
        self._set(**kinds, priors={}, links={}, _bounds={}, _freedom={})

    def _set(self, **fields: Any) -> Model:
        for name, value in fields.items():
            object.__setattr__(self, name, MappingProxyType(dict(value)) if isinstance(value, dict) else value)
        return self

    def _with(self, **changes: Any) -> Model:
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return object.__new__(Model)._set(**{**fields, **changes})

    # -- reading ---------------------------------------------------------------------------------------------------

    @property
    def _members(self) -> tuple[Member, ...]:
        return (*self.sources, *self.backgrounds, *self.calibrations)

    def __getitem__(self, name: str) -> PointSource:
        """The source of that name; raises `KeyError` where there is none."""
        for source in self.sources:
            if source.name == name:
                return source
        raise parameters.unknown(name, [source.name for source in self.sources], "source")

    @functools.cached_property
    def parameters(self) -> Mapping[str, Parameter]:
        """Every parameter by name, in the order of sources, components and fields."""
        table = {}
        for member in self._members:
            for label, component in components_of(member).items():
                for field, declared in parameters.declarations(component).items():
                    name = parameters.full_name(member.name, label, field)
                    link = self.links.get(name)
                    table[name] = Parameter(
                        name=name,
                        value=getattr(component, field),
                        unit=declared.unit,
                        bounds=self._bounds.get(name, declared.bounds),
                        doc=declared.doc,
                        prior=self.priors.get(name),
                        free=link is None and self._freedom.get(name, declared.free),
                        link=link,
                    )
        return MappingProxyType(table)

    @property
    def free(self) -> tuple[str, ...]:
        """The names of the parameters that a fit varies."""
        return tuple(name for name, parameter in self.parameters.items() if parameter.free)

    @property
    def values(self) -> dict[str, Any]:
        """The value of every parameter by name, links followed."""
        values = {name: parameter.value for name, parameter in self.parameters.items()}
        return self._follow_links(values)

    def _follow_links(self, values: dict[str, Any]) -> dict[str, Any]:
        for name in parameters.link_order(self.links):
            values[name] = self.links[name](*(values[needed] for needed in self.links[name].inputs))
        return values

    def at(self, values: Mapping[str, Any]) -> Model:
        """The model with other values; those of linked parameters follow, whatever `values` says of them.

        Works on traced values: `jax.grad(lambda k: model.at({"src.powerlaw.K": k})["src"].spectrum(1.0))`.
        """
        known = self.parameters
        for name in values:
            self._check(name, known)
        merged = self._follow_links({**{name: p.value for name, p in known.items()}, **values})
        kinds = {"sources": self.sources, "backgrounds": self.backgrounds, "calibrations": self.calibrations}
        return self._with(
            **{kind: tuple(replace_values(member, merged) for member in members) for kind, members in kinds.items()}
        )

    def columns(self, values: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Values of parameters for many models at once: arrays of one length, in the parameter's unit.

        Raises `KeyError` for an unknown name, `ValueError` for a linked parameter, for values outside the bounds, and
        for arrays of different lengths.
        """
        known = self.parameters
        columns = {}
        for name, given in values.items():
            parameter = self._check(name, known, changing="value")
            columns[name] = np.asarray(units.number(given, parameter.unit, name), float)
            if columns[name].ndim != 1 or len(columns[name]) != len(next(iter(columns.values()))):
                lengths = ", ".join(f"{name}: {column.shape}" for name, column in columns.items())
                raise ValueError(f"values are one for each spectrum, arrays of one length, got shapes {lengths}")
            for extreme in (columns[name].min(), columns[name].max()):
                parameter.check_value(extreme)
        return columns

    def require_priors(self) -> None:
        """Raises `ValueError` where a free parameter has no prior, and says how to give one."""
        rows = self.parameters
        missing = [name for name in self.free if rows[name].prior is None]
        if missing:
            raise ValueError(
                f"no prior for {', '.join(missing)}: sampling needs one for every free parameter. Give them with "
                f"model.with_priors({{{missing[0]!r}: numpyro.distributions.…}}) or freeze the parameter"
            )

    # -- changing --------------------------------------------------------------------------------------------------

    def with_values(self, values: Mapping[str, Any]) -> Model:
        """Sets values (numbers in the parameter's unit, or quantities): where fits start, where frozen ones are held.

        Raises `KeyError` for an unknown name, `ValueError` outside the bounds and for a linked parameter.
        """
        known = self.parameters
        numbers = {}
        for name, value in values.items():
            parameter = self._check(name, known, changing="value")
            numbers[name] = units.number(value, parameter.unit, name)
            parameter.check_value(numbers[name])
        return self.at(numbers)

    def with_priors(self, priors: Mapping[str | tuple[str, ...], Distribution]) -> Model:
        """Sets prior distributions (numpyro, in the parameter's unit).

        The name of a parameter stands for a distribution of one number, a tuple of names for one of a vector, like
        `{("a.powerlaw.K", "a.powerlaw.index"): dist.MultivariateNormal(mean, covariance)}`.

        Raises `KeyError` for an unknown name, `TypeError` for something that is no distribution, and `ValueError` for
        a frozen or linked parameter and for a prior with probability outside the parameter's bounds.
        """
        known = self.parameters
        new: dict[str, Any] = {}
        for given, prior in priors.items():
            names = given if isinstance(given, tuple) else (given,)
            for name in names:
                if not self._check(name, known, changing="prior").free:
                    raise ValueError(f"{name} is frozen, so a prior would be ignored; call model.thaw({name!r}) first")
            if isinstance(given, tuple):
                check_joint(names, prior)
                prior = JointPrior(prior, names)
            for name in names:
                check_prior(known[name], prior)
                new[name] = prior
        # Whoever shared a prior with one of these has none now.
        gone = {other for name in new if isinstance(old := self.priors.get(name), JointPrior) for other in old.names}
        return self._with(priors={**{name: p for name, p in self.priors.items() if name not in gone}, **new})

    def with_bounds(self, bounds: Mapping[str, tuple[Any, Any]]) -> Model:
        """Sets the smallest and largest value of parameters, inside those that the component declares.

        Raises `KeyError` for an unknown name, `ValueError` where they are not in order, wider than the component is
        defined for, or exclude the present value or the prior.
        """
        known = self.parameters
        numbers = {}
        for name, (low, high) in bounds.items():
            parameter = self._check(name, known, changing="bounds")
            low, high = (float(units.number(value, parameter.unit, name)) for value in (low, high))
            declared = self._with(_bounds={}).parameters[name].bounds
            if not (low < high and declared[0] <= low and high <= declared[1]):
                raise ValueError(
                    f"bounds of {name} must rise and lie within ({declared[0]:g}, {declared[1]:g}) {parameter.unit}, "
                    f"got ({low:g}, {high:g})"
                )
            numbers[name] = (low, high)
        changed = self._with(_bounds={**self._bounds, **numbers})
        for name, parameter in changed.parameters.items():
            if name in numbers:
                parameter.check_value(parameter.value)
                if parameter.prior is not None:
                    check_prior(parameter, parameter.prior)
        return changed

    def freeze(self, *names: str) -> Model:
        """Holds parameters at their values. Raises `KeyError` for an unknown name, `ValueError` for a linked one."""
        return self._with_freedom(names, False)

    def thaw(self, *names: str) -> Model:
        """Lets a fit vary parameters. Raises `KeyError` for an unknown name, `ValueError` for a linked one."""
        return self._with_freedom(names, True)

    def _with_freedom(self, names: Iterable[str], free: bool) -> Model:
        known = self.parameters
        for name in names:
            parameter = self._check(name, known, changing="freedom")
            if not free:
                _require_own_prior(parameter)
        return self._with(_freedom={**self._freedom, **dict.fromkeys(names, free)})

    def link(self, name: str, to: str | Iterable[str], function: Callable[..., Any] | None = None) -> Model:
        """Makes a parameter equal to another one, or a function of others.

        Args:
            name: the parameter that follows. Its own prior, if it has one, sleeps until it is unlinked.
            to: what it follows: one name, or several.
            function: takes the values of `to` in order; written with jax.numpy. Without it, equality.

        Raises `KeyError` for an unknown name, `ValueError` for a ring of links, for units that differ under equality
        and for a function that gives no finite number at the present values.
        """
        inputs = (to,) if isinstance(to, str) else tuple(to)
        known = self.parameters
        for each in (name, *inputs):
            self._check(each, known)
        _require_own_prior(known[name])
        if function is None and len(inputs) != 1:
            raise ValueError(f"a link of {name} to {len(inputs)} parameters needs function=...")
        if function is None and known[name].unit != known[inputs[0]].unit:
            raise ValueError(
                f"{name} is in {known[name].unit or 'no unit'}, {inputs[0]} in {known[inputs[0]].unit or 'no unit'}: "
                "give the law that joins them as function=..."
            )
        linked = self._with(links={**self.links, name: Link(inputs, function)})
        parameters.link_order(linked.links)
        value = linked.values[name]
        if not (np.ndim(value) == 0 and np.isfinite(value)):
            raise ValueError(f"the link of {name} gives {value!r} at the present values, not one finite number")
        return linked.at({})

    def unlink(self, *names: str) -> Model:
        """Frees parameters of their links, at their present values. Raises `ValueError` where one is not linked."""
        known = self.parameters
        for name in names:
            self._check(name, known)
            if name not in self.links:
                raise ValueError(f"{name} is not linked; linked are: {', '.join(self.links) or 'none'}")
        return self._with(links={name: link for name, link in self.links.items() if name not in names})

    def _check(self, name: str, known: Mapping[str, Parameter], changing: str | None = None) -> Parameter:
        """The parameter of that name; raises where there is none, or where it is linked and may not be changed."""
        if name not in known:
            raise parameters.unknown(name, known, "parameter")
        if changing and known[name].link is not None:
            raise ValueError(
                f"{name} is linked ({known[name].link}), so it has no {changing} of its own; unlink it first"
            )
        return known[name]

    # -- showing ---------------------------------------------------------------------------------------------------

    def _rows(self) -> list[tuple[str, ...]]:
        values = self.values
        return [
            (name, f"{float(values[name]):.6g}", p.unit, "({:g}, {:g})".format(*p.bounds),
             parameters.prior_text(p.prior) if p.link is None else "", p.state)
            for name, p in self.parameters.items()
        ]  # fmt: skip

    def __repr__(self) -> str:
        rows = [_COLUMNS, *self._rows()]
        widths = [max(len(row[i]) for row in rows) for i in range(len(_COLUMNS))]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
        lines.insert(1, "  ".join("-" * width for width in widths))
        return "\n".join([*map(repr, self._members), "", *lines])

    def _repr_html_(self) -> str:
        members = "<br>".join(html.escape(repr(member)) for member in self._members)
        head = "".join(f"<th>{column}</th>" for column in _COLUMNS)
        body = "".join(
            "<tr>" + "".join(f'<td style="text-align:left">{html.escape(cell)}</td>' for cell in row) + "</tr>"
            for row in self._rows()
        )
        return f"<p>{members}</p><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


_COLUMNS = ("parameter", "value", "unit", "bounds", "prior", "state")


def _require_own_prior(parameter: Parameter) -> None:
    """Raises where a parameter that is to be frozen or linked has a prior together with others."""
    if isinstance(parameter.prior, JointPrior):
        others = ", ".join(name for name in parameter.prior.names if name != parameter.name)
        raise ValueError(
            f"{parameter.name} has a prior together with {others}: give it one of its own first, by model.with_priors"
        )
