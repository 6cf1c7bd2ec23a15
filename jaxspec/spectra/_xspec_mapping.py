"""What an XSPEC component is in components of ours, and how its parameters give ours."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from jaxspec.parameters import Declaration
from jaxspec.spectra._atomdb import Emission
from jaxspec.spectra._base import AbstractSpectrum


@dataclasses.dataclass(frozen=True)
class Is:
    """How a parameter of XSPEC's gives one of ours: ours = offset + factor * XSPEC's."""

    field: str
    factor: float = 1.0
    offset: float = 0.0
    unit: str | None = None  # XSPEC's, where it differs from ours
    free: bool | None = None  # in XSPEC, where it differs from ours

    @classmethod
    def of(cls, text: str | Is) -> Is:
        """'index' is that parameter of ours, '-index' is minus it."""
        return text if isinstance(text, Is) else cls(text.removeprefix("-"), -1.0 if text.startswith("-") else 1.0)

    def ours(self, value: Any) -> Any:
        """Our parameter from XSPEC's."""
        value = value if self.factor == 1.0 else self.factor * value
        return value if self.offset == 0.0 else self.offset + value

    def declare(self, default: float, ours: Declaration) -> tuple[float, Declaration]:
        """XSPEC's default and declaration from ours."""

        def theirs(value: float) -> float:
            return (value - self.offset) / self.factor + 0.0  # no minus zero

        low, high = sorted(map(theirs, ours.bounds))
        unit = ours.unit if self.unit is None else self.unit
        same = self.factor == 1.0 and self.offset == 0.0
        doc = ours.doc if same else f"{self.field} = {self.offset or ''}{self.factor:+g} of it: {ours.doc}"
        return theirs(default), Declaration(unit, (low, high), doc, ours.free if self.free is None else self.free)


@dataclasses.dataclass(frozen=True)
class Form:
    """An XSPEC component: what it is in components of ours, and how its parameters are theirs."""

    make: Callable[..., AbstractSpectrum]  # takes what `made` gives it
    parameters: Mapping[str, str | Is]
    absorbs: bool = False
    reads: bool = False  # AtomDB's files
    switch: str = ""  # XSPEC's parameter that chooses between cases
    choices: Mapping[float, str] = dataclasses.field(default_factory=dict)  # by its values; the default first

    def made(
        self, abundances: str = "", cross_sections: str = "", choice: str = "", table: Emission | None = None
    ) -> AbstractSpectrum:
        """What it is, with these settings; without a table it is read."""
        if self.reads:
            return self.make(abundances or "angr", table)
        if self.absorbs:
            return self.make(abundances or "angr", cross_sections or "vern")
        return self.make(choice or next(iter(self.choices.values()))) if self.switch else self.make()

    def choose(self, name: str, value: Any) -> str:
        """What a value of the switch stands for."""
        if float(value) not in self.choices:
            cases = ", ".join(
                f"{number:g} ({what})" if what else f"{number:g}" for number, what in self.choices.items()
            )
            raise ValueError(f"{name} is one of {cases}; got {value}")
        return self.choices[float(value)]
