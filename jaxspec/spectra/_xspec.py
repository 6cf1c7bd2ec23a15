"""`xspec("tbabs*(powerlaw + diskbb)")`: spectra in XSPEC's words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from jaxspec import parameters, units
from jaxspec.spectra._base import AbstractComponent, AbstractConvolution, AbstractSpectrum
from jaxspec.spectra._table_files import table_from_ogip
from jaxspec.spectra._xspec_bins import XspecBins
from jaxspec.spectra._xspec_forms import FORMS, form_class
from jaxspec.spectra._xspec_names import full_name

_TOKEN = re.compile(r"\s*([ame]table\{[^}]*\}|[A-Za-z_]\w*|[()+*])")
_TABLES = {"atable": "additive", "mtable": "multiplicative", "etable": "exponential"}


def xspec(
    expression: str,
    values: Mapping[str, Any] | None = None,
    *,
    abundances: str = "angr",
    cross_sections: str = "vern",
    xspec_bins: bool = False,
) -> AbstractSpectrum:
    r"""A spectrum from XSPEC's expression, with XSPEC's parameter names, norms and conventions.

    $$\texttt{tbabs*(powerlaw + diskbb)}: \quad N(E) = e^{-n_H \sigma(E)} \, (N_1(E) + N_2(E))$$

    A component is called as XSPEC calls it, in lower case: `tbabs.nH`, `powerlaw.PhoIndex` (positive where the spectrum
    falls), `powerlaw.norm` (at 1 keV). The expression may abbreviate it, `pha*(po + ga)`: of several components that
    begin so, the first in XSPEC's list is meant, as in XSPEC. Of two alike, the second gets its place in the
    expression, as in PyXspec: `gaussian`, `gaussian_4`. A convolution acts on all that stands to its right in its
    product (`cflux*powerlaw`); `partcov`, `vmshift` and `zmshift` on the next factor. Values start at XSPEC's defaults.
    `atable{file}`, `mtable{file}`, `etable{file}` are tables (`table_from_ogip`), called by the name in the file.

    Args:
        expression: `+`, `*` and parentheses; `tbabs(powerlaw)` is `tbabs*powerlaw`.
        values: of parameters, by the names above; numbers in XSPEC's units, or quantities. Those that switch between
            cases are no parameters of the spectrum: `comptt.approx`, `nthcomp.inp_type`, `zdust.method`; nor is
            `thcomp.z`, which is 0 (put `zashift` around it), and `tbvarabs.H_dep`, which is 1.
        abundances: of absorbers and plasmas, as set by XSPEC's `abund`: "angr", "wilm", "aspl", "feld", "aneb", "grsa",
            "lodd", "lpgp" or "lpgs".
        cross_sections: of `phabs` and its kin, as set by XSPEC's `xsect`: "vern" or "bcmc".
        xspec_bins: False to integrate exactly over the photon bins of a response. True for what XSPEC does: it absorbs
            a bin by the mean optical depth at its two edges, and takes the mean of the edges for black bodies,
            bremsstrahlung and some others. Where bins are wide, its numbers come out to the last digit so only.

    Raises `KeyError` for an unknown component (it offers the nearest) or parameter, `ValueError` for an expression that
    cannot be read and a value outside its bounds.

    **Reference:** Arnaud 1996, ASP Conf. 101, 17; XSPEC's manual, chapter 6.
    """
    reader = _Reader(expression, dict(values or {}), abundances, cross_sections)
    spectrum = reader.sum()
    if reader.tokens:
        raise reader.error(f"{reader.tokens[0]!r} is not expected here")
    spectrum = _with_values(spectrum, reader.values)
    return XspecBins()(spectrum) if xspec_bins else spectrum


class _Reader:
    """Reads an expression from left to right."""

    def __init__(self, expression: str, values: dict[str, Any], *settings: str) -> None:
        self.expression, self.values, self.settings = expression, values, settings
        self.tokens = _tokens(expression)
        self.names: list[str] = []

    def error(self, what: str) -> ValueError:
        return ValueError(f"xspec({self.expression!r}): {what}; write it like 'tbabs*(powerlaw + diskbb)'")

    def sum(self) -> AbstractSpectrum:
        total = self.product()
        while self.tokens[:1] == ["+"]:
            self.tokens.pop(0)
            total = total + self.product()
        return total

    def product(self) -> AbstractSpectrum:
        factors = [self.factor()]
        while self.tokens[:1] in (["*"], ["("]):
            if self.tokens[0] == "*":
                self.tokens.pop(0)
            factors.append(self.factor())
        # From the right: a convolution takes what is there, or the next factor alone where it acts on factors.
        for i in range(len(factors) - 2, -1, -1):
            factor = factors[i]
            if isinstance(factor, AbstractConvolution):
                taken = 1 if type(factor).__name__ in ("partcov", "zmshift", "vmshift") else len(factors)
                rest = factors[i + 1 :]
                factors[i:] = [factor(_multiply(rest[:taken])), *rest[taken:]]
        return _multiply(factors)

    def factor(self) -> AbstractSpectrum:
        token = self.tokens.pop(0) if self.tokens else "the end"
        if token == "(":
            inner = self.sum()
            if self.tokens[:1] != [")"]:
                raise self.error("a parenthesis is not closed")
            self.tokens.pop(0)
            return inner
        if token.endswith("}"):
            kind, _, path = token[:-1].partition("{")
            self.names.append(kind)
            return table_from_ogip(path.strip(), _TABLES[kind])
        if not token.isidentifier():
            raise self.error(f"a component is expected in place of {token!r}")
        return self.component(full_name(token))

    def component(self, name: str) -> AbstractComponent:
        if name not in FORMS:
            raise parameters.unknown(name, FORMS, "XSPEC component known here")
        label = f"{name}_{len(self.names) + 1}" if name in self.names else None
        self.names.append(name)
        form, (abundances, cross_sections), choice = FORMS[name], self.settings, ""
        abundances = abundances if form.absorbs or form.reads else ""
        cross_sections = cross_sections if form.absorbs else ""
        if form.switch:
            switch = f"{label or name}.{form.switch}"
            choice = form.choose(switch, self.values.pop(switch, next(iter(form.choices))))
        return form_class(name)(name=label, abundances=abundances, cross_sections=cross_sections, choice=choice)


def _tokens(expression: str) -> list[str]:
    tokens, place = [], 0
    while expression[place:].strip():
        found = _TOKEN.match(expression, place)
        if found is None:
            raise ValueError(f"xspec({expression!r}): cannot read {expression[place:].strip()!r}")
        tokens.append(found[1])
        place = found.end()
    return tokens


def _multiply(factors: list[AbstractSpectrum]) -> AbstractSpectrum:
    product = factors[-1]
    for factor in factors[-2::-1]:
        product = factor * product
    return product


def _with_values(spectrum: AbstractSpectrum, values: Mapping[str, Any]) -> AbstractSpectrum:
    known = [
        f"{label}.{field}"
        for label, component in spectrum.components().items()
        for field in parameters.declarations(component)
    ]
    for name in values:
        if name not in known:
            raise parameters.unknown(name, known, "parameter")

    def replace(component: AbstractComponent) -> AbstractComponent:
        declared = parameters.declarations(component)
        given = {field: values[name] for field in declared if (name := f"{component.label}.{field}") in values}
        changed = component.with_fields(
            **{field: float(units.number(value, declared[field].unit, field)) for field, value in given.items()}
        )
        changed.__check_init__()
        return changed

    return spectrum.map_components(replace)
