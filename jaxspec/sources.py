"""What a model is made of: point sources and models of backgrounds."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from jaxspec import parameters, units
from jaxspec.calibration import LABEL, Calibration
from jaxspec.spectra import AbstractComponent, AbstractSpectrum


@dataclasses.dataclass(frozen=True, eq=False)
class PointSource:
    """A point on the sky with a spectrum.

    Args:
        name: what the source is called in parameter names, tables and pictures.
        spectrum: an additive spectrum.
        ra, dec: ICRS position in degrees, or quantities; kept for the record.

    Raises `TypeError` where the spectrum is not an additive one, `ValueError` for a bad name or position.
    """

    name: str
    spectrum: AbstractSpectrum
    ra: float | None = None
    dec: float | None = None

    def __post_init__(self) -> None:
        _check_member(self, "source")
        for field, limit in (("ra", 360.0), ("dec", 90.0)):
            value = getattr(self, field)
            if value is None:
                continue
            degrees = float(units.number(value, "deg", field))
            if not -limit <= degrees <= limit:
                raise ValueError(
                    f"{field} of {self.name!r} must lie between -{limit:g} and {limit:g} degrees, got {value}"
                )
            object.__setattr__(self, field, degrees)

    def __repr__(self) -> str:
        place = "" if self.ra is None and self.dec is None else f", ra={self.ra}, dec={self.dec}"
        return f"PointSource({self.name!r}, {self.spectrum!r}{place})"


@dataclasses.dataclass(frozen=True, eq=False)
class BackgroundModel:
    """A spectrum of the background, fitted together with the sources.

    Observations see it that name it: `observation.with_background_model("bkg")`. Several may share it. It is no source:
    tables of fluxes do not list it.

    Args:
        name: what it is called in parameter names and pictures.
        spectrum: an additive spectrum: photons / (cm2 s keV) in the background region, or counts / (s keV) where an
            observation sees it through no response.

    Raises `TypeError` where the spectrum is not an additive one, `ValueError` for a bad name.
    """

    name: str
    spectrum: AbstractSpectrum

    def __post_init__(self) -> None:
        _check_member(self, "background")

    def __repr__(self) -> str:
        return f"BackgroundModel({self.name!r}, {self.spectrum!r})"


Member = PointSource | BackgroundModel | Calibration


def components_of(member: Member) -> Mapping[str, AbstractComponent | Calibration]:
    """The components of a source or background, or the one of a calibration, by name."""
    return member.components() if isinstance(member, Calibration) else member.spectrum.components()


def replace_values(member: Any, values: Mapping[str, Any]) -> Any:
    """The member with the values that its parameters have in `values`, unchecked: they may be traced."""

    def replace(component: Any, label: str) -> Any:
        fields = parameters.declarations(component)
        names = {field: parameters.full_name(member.name, label, field) for field in fields}
        return component.with_fields(**{field: values[name] for field, name in names.items()})

    if isinstance(member, Calibration):
        return replace(member, LABEL)
    return dataclasses.replace(member, spectrum=member.spectrum.map_components(lambda c: replace(c, c.label)))


def _check_member(member: PointSource | BackgroundModel, what: str) -> None:
    """Raises where the name or the spectrum of a source or background is none."""
    parameters.check_name(member.name, what)
    if not isinstance(member.spectrum, AbstractSpectrum):
        raise TypeError(
            f"the spectrum of {member.name!r} must be made of jaxspec.spectra components, got {member.spectrum!r}"
        )
    if member.spectrum.kind != "additive":
        raise TypeError(
            f"the spectrum of {member.name!r} is {member.spectrum.kind}: a {what} needs something that emits"
        )
