"""XSPEC's components: its names, parameters and norms, each made of components of ours."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import equinox as eqx
import jax

from jaxspec import parameters
from jaxspec.quadrature import Bins, Points
from jaxspec.spectra import _absorption as absorption
from jaxspec.spectra import (
    _bremsstrahlung,
    _broken,
    _bursts,
    _comptonization,
    _curved,
    _disks,
    _extinction,
    _lines,
    _powerlaws,
    _thermal,
    _wavelength_lines,
)
from jaxspec.spectra import _convolutions as convolutions
from jaxspec.spectra import _factors as factors
from jaxspec.spectra import _redistribution as redistribution
from jaxspec.spectra._abundances import ELEMENTS
from jaxspec.spectra._atomdb import NOTHING, Emission
from jaxspec.spectra._base import (
    AbstractAdditive,
    AbstractComponent,
    AbstractConvolution,
    AbstractMultiplicative,
    AbstractSpectrum,
)
from jaxspec.spectra._made import make_class
from jaxspec.spectra._plasma import Apec, VariableApec
from jaxspec.spectra._scales import Constant, Redshift
from jaxspec.spectra._variable_tbabs import VariableTBabs
from jaxspec.spectra._xspec_mapping import Form, Is


def _of(make: Callable[..., AbstractSpectrum], **named: str | Is) -> Form:
    return Form(make, named)


def _switched(
    switch: str, choices: Mapping[float, str], make: Callable[[str], AbstractSpectrum], **named: str | Is
) -> Form:
    return Form(make, named, switch=switch, choices=choices)


def _absorbing(make: Callable[[str, str], AbstractSpectrum], **named: str | Is) -> Form:
    return Form(make, named, absorbs=True)


def _plasma(cls: type[Apec | VariableApec], kT: float, **named: str | Is) -> Form:
    named = {"kT": "kT", **named, "Redshift": "z", "norm": "norm"}
    return Form(lambda abundances, table: cls(kT=kT, abundances=abundances, table=table), named, reads=True)


def _broadened(form: Form) -> Form:
    """The same plasma, whose particles move with a Gaussian distribution of velocities."""
    named = dict(form.parameters)
    norm = {"norm": named.pop("norm")}

    def make(abundances: str, table: Emission | None) -> AbstractSpectrum:
        return redistribution.GaussianSmoothing(width=0, index=1)(form.make(abundances, table))

    velocity = Is("width", 6.0 / convolutions.LIGHT_KM_PER_S, unit="km / s", free=False)
    return Form(make, {**named, "Velocity": velocity, **norm}, reads=True)


def _shifted(form: Form, first: bool = False) -> Form:
    """The same at a redshift, which XSPEC puts before the norm, or first of all."""
    named = {**({"Redshift": "z"} if first else {}), **form.parameters}
    norm = {"norm": named.pop("norm")} if "norm" in named else {}

    def make(*settings: str) -> AbstractSpectrum:
        return Redshift()(form.make(*settings))

    return dataclasses.replace(form, make=make, parameters={**named, "Redshift": "z", **norm})


def _phabs(abundances: str, cross_sections: str) -> AbstractSpectrum:
    return absorption.Phabs(abundances=abundances, cross_sections=cross_sections)


def _partly_covered(abundances: str, cross_sections: str) -> AbstractSpectrum:
    return absorption.Phabs(covering=0.5, abundances=abundances, cross_sections=cross_sections)


def _vphabs(abundances: str, cross_sections: str) -> AbstractSpectrum:
    return absorption.VariablePhabs(abundances=abundances, cross_sections=cross_sections)


def _columns(abundances: str, cross_sections: str) -> AbstractSpectrum:
    return absorption.VariablePhabs(nH=1, abundances=abundances, cross_sections=cross_sections)


def _all_gas(abundances: str, cross_sections: str, H2: float = 0.2) -> AbstractSpectrum:
    return VariableTBabs(abundances=abundances, H2=H2, **{f"gas_{name}": 1.0 for name in _ELEMENTS})


_COVERED = Is("covering", free=True)
_ELEMENTS = {
    name: name
    for name in ("He", "C", "N", "O", "Ne", "Na", "Mg", "Al", "Si", "S", "Cl", "Ar", "Ca", "Cr", "Fe", "Co", "Ni")
}
_METALS = ("He", "C", "N", "O", "Ne", "Mg", "Al", "Si", "S", "Ar", "Ca", "Fe", "Ni")
_COLUMNS = {name: Is(name, unit="1e22 / cm2", free=True) for name in ("H", *_ELEMENTS)}  # times the abundance
_ADDITIVE: dict[str, Form] = {
    "agauss": _of(
        lambda: _wavelength_lines.GaussianLineWavelength(K=1, wavelength=10, sigma=1),
        LineE="wavelength", Sigma="sigma", norm="K",
    ),
    "apec": _plasma(Apec, 1.0, Abundanc="abundance"),
    "bbody": _of(lambda: _thermal.BlackbodyLuminosity(K=1, kT=3), kT="kT", norm="K"),
    "bbodyrad": _of(lambda: _thermal.BlackbodyRadius(K=1, kT=3), kT="kT", norm="K"),
    "bknpower": _of(
        lambda: _broken.BrokenPowerLaw(K=1, alpha=-1, energy_break=5, beta=-2),
        PhoIndx1="-alpha", BreakE="energy_break", PhoIndx2="-beta", norm="K",
    ),
    "bkn2pow": _of(
        lambda: _broken.DoublyBrokenPowerLaw(K=1, alpha=-1, energy_break1=5, beta=-2, energy_break2=10, gamma=-3),
        PhoIndx1="-alpha", BreakE1="energy_break1", PhoIndx2="-beta", BreakE2="energy_break2", PhoIndx3="-gamma",
        norm="K",
    ),
    "bremss": _of(lambda: _bremsstrahlung.Bremsstrahlung(K=1, kT=7), kT="kT", norm="K"),
    "comptt": _shifted(
        _switched(
            "approx", {1: "disk", 2: "sphere"}, lambda geometry: _comptonization.CompTT(geometry=geometry),
            T0="kTb", kT="kTe", taup="tau", norm="K",
        ),
        first=True,
    ),
    "cutoffpl": _of(
        lambda: _powerlaws.CutoffPowerLaw(K=1, index=-1, cutoff=15), PhoIndex="-index", HighECut="cutoff", norm="K"
    ),
    "diskbb": _of(lambda: _disks.DiskBlackbody(K=1, T=1), Tin="T", norm="K"),
    "diskpbb": _of(lambda: _disks.DiskPowerLawBlackbody(K=1, T=1, p=0.75), Tin="T", p="p", norm="K"),
    "eplogpar": _of(lambda: _curved.LogParabolaPeak(K=1, peak=0.1, beta=0.2), Ep="peak", beta="beta", norm="K"),
    "expdec": _of(lambda: _powerlaws.ExponentialDecay(K=1, w=1), factor="w", norm="K"),
    "gaussian": _of(lambda: _lines.GaussianLine(K=1, energy=6.5, sigma=0.1), LineE="energy", Sigma="sigma", norm="K"),
    "grbm": _of(
        lambda: _bursts.Band(K=1, alpha=-1, beta=-2, cutoff=300), alpha="alpha", beta="beta", tem="cutoff", norm="K"
    ),
    "logpar": _of(
        lambda: _curved.LogParabola10(K=1, alpha=-1.5, beta=0.2, pivot=1),
        alpha="-alpha", beta="beta", pivotE="pivot", norm="K",
    ),
    "lorentz": _of(lambda: _lines.LorentzLine(K=1, energy=6.5, gamma=0.1), LineE="energy", Width="gamma", norm="K"),
    "nthcomp": _switched(
        "inp_type", {0: "blackbody", 1: "disk"}, lambda seed: _comptonization.NthComp(seed=seed),
        Gamma="-index", kT_e="kTe", kT_bb="kTb", Redshift="z", norm="K",
    ),
    "pegpwrlw": _of(
        lambda: _powerlaws.PowerLawEnergyFlux(F=1e-12, index=-1, a=2, b=10),
        PhoIndex="-index", eMin="a", eMax="b", norm=Is("F", 1e-12, unit="1e-12 erg / (cm2 s)"),
    ),
    "powerlaw": _of(lambda: _powerlaws.PowerLaw(K=1, index=-1), PhoIndex="-index", norm="K"),
    "vapec": _plasma(VariableApec, 6.5, **{name: name for name in _METALS}),
    "vbremss": _of(
        lambda: _bremsstrahlung.Bremsstrahlung(K=1, kT=3, helium=1), kT="kT", HeovrH=Is("helium", free=True), norm="K"
    ),
    "vvapec": _plasma(VariableApec, 6.5, **{name: name for name in ELEMENTS}),
    "zlorentz": _shifted(
        _of(lambda: _lines.LorentzLine(K=1, energy=6.5, gamma=0.01), LineE="energy", Width="gamma", norm="K")
    ),
    "voigt": _of(
        lambda: _lines.VoigtLine(K=1, energy=6.5, sigma=0.01, gamma=0.01),
        LineE="energy", Sigma="sigma", Gamma="gamma", norm="K",
    ),
}  # fmt: skip
_MULTIPLICATIVE: dict[str, Form] = {
    "cabs": _of(factors.ComptonScattering, nH="nH"),
    "constant": _of(Constant, factor="factor"),
    "cyclabs": _of(
        lambda: factors.CyclotronAbsorption(energy=30, depth1=2, width1=10, depth2=0, width2=20),
        Depth0="depth1", E0="energy", Width0="width1", Depth2=Is("depth2", free=False), Width2=Is("width2", free=False),
    ),
    "edge": _of(factors.Edge, edgeE="energy", MaxTau="depth"),
    "expabs": _of(lambda: factors.LowEnergyCutoff(cutoff=2), LowECut="cutoff"),
    "expfac": _of(factors.ExponentialFactor, Ampl="amplitude", Factor="factor", StartE="start"),
    "gabs": _of(
        lambda: factors.GaussianAbsorption(energy=1, sigma=0.01, strength=1),
        LineE="energy", Sigma="sigma", Strength="strength",
    ),
    "highecut": _of(factors.HighEnergyCutoff, cutoffE="cutoff", foldE="fold"),
    "pcfabs": _absorbing(_partly_covered, nH="nH", CvrFract=_COVERED),
    "phabs": _absorbing(_phabs, nH="nH"),
    "plabs": _of(factors.PowerLawFactor, index="-index", coef="K"),
    "redden": _of(_extinction.GalacticExtinction, E_BmV="E_BV"),
    "smedge": _of(factors.SmearedEdge, edgeE="energy", MaxTau="depth", index="index", width="width"),
    "spexpcut": _of(factors.SuperExponentialCutoff, Ecut="cutoff", alpha="alpha"),
    "tbabs": _absorbing(lambda a, _: absorption.TBabs(abundances=a), nH="nH"),
    "tbfeo": _absorbing(
        lambda a, _: VariableTBabs(abundances=a), nH="nH", O="O", Fe="Fe", redshift="z"
    ),
    "tbgas": _absorbing(lambda a, c: _all_gas(a, c, H2=0.0), nH="nH", redshift="z"),
    "tbgrain": _absorbing(
        lambda a, _: VariableTBabs(abundances=a), nH="nH", h2="H2", rho="rho", amin="amin", amax="amax", PL="slope"
    ),
    "tbpcf": _absorbing(
        lambda a, _: absorption.TBabs(covering=0.5, abundances=a), nH="nH", pcf=_COVERED, redshift="z"
    ),
    "tbvarabs": Form(
        _all_gas,
        {
            "nH": "nH", **_ELEMENTS, "H2": "H2", "rho": "rho", "amin": "amin", "amax": "amax", "PL": "slope",
            **{f"{name}_dep": f"gas_{name}" for name in _ELEMENTS}, "Redshift": "z",
        },
        absorbs=True, switch="H_dep", choices={1: ""},
    ),
    "varabs": _absorbing(_columns, **_COLUMNS),
    "vphabs": _absorbing(_vphabs, nH="nH", **_ELEMENTS),
    "wabs": _of(absorption.Wabs, nH="nH"),
    "zdust": _switched(
        "method", {1: "mw", 2: "lmc", 3: "smc"}, lambda law: _extinction.DustExtinction(law=law),
        E_BmV="E_BV", Rv="R_V", Redshift="z",
    ),
    "zpcfabs": _absorbing(_partly_covered, nH="nH", CvrFract=_COVERED, Redshift="z"),
    "zphabs": _absorbing(_phabs, nH="nH", Redshift="z"),
    "zredden": _of(_extinction.GalacticExtinction, E_BmV="E_BV", Redshift="z"),
    "ztbabs": _absorbing(lambda a, _: absorption.TBabs(abundances=a, grains=False), nH="nH", Redshift="z"),
    "zvarabs": _absorbing(_columns, **_COLUMNS, Redshift="z"),
    "zvphabs": _absorbing(_vphabs, nH="nH", **_ELEMENTS, Redshift="z"),
    "zwabs": _of(absorption.Wabs, nH="nH", Redshift="z"),
}  # fmt: skip
_CONVOLUTION: dict[str, Form] = {
    "cflux": _of(lambda: convolutions.EnergyFlux(log_flux=-12), Emin="a", Emax="b", lg10Flux="log_flux"),
    "cglumin": _of(
        convolutions.Luminosity, Emin="a", Emax="b", Distance=Is("distance", 1e-3, unit="kpc"),
        lg10Lum="log_luminosity",
    ),
    "cpflux": _of(convolutions.PhotonFlux, Emin="a", Emax="b", Flux="flux"),
    "gsmooth": _of(lambda: redistribution.GaussianSmoothing(width=1), Sig_6keV="width", Index="index"),
    "lsmooth": _of(lambda: redistribution.LorentzSmoothing(width=1), Sig_6keV="width", Index="index"),
    "partcov": _of(convolutions.PartialCovering, CvrFract="covering"),
    "simpl": _of(
        redistribution.PowerLawComptonization, Gamma="gamma", FracSctr="fraction", UpScOnly=Is("down", -1.0, 1.0)
    ),
    "thcomp": _switched(
        "z", {0: ""}, lambda _: _comptonization.ThermalComptonization(),
        Gamma_tau="gamma", kT_e="kTe", cov_frac="covering",
    ),
    "vashift": _of(convolutions.VelocityShift, Velocity=Is("velocity", free=False)),
    "vmshift": _of(convolutions.VelocityShift, Velocity=Is("velocity", free=False)),
    "zashift": _of(Redshift, Redshift="z"),
    "zmshift": _of(Redshift, Redshift="z"),
}  # fmt: skip
FORMS: dict[str, Form] = {
    **_ADDITIVE,
    **{f"b{name}": _broadened(_ADDITIVE[name]) for name in ("apec", "vapec", "vvapec")},
    **{
        name: _shifted(_ADDITIVE[plain])
        for name, plain in {
            "zagauss": "agauss", "zbbody": "bbody", "zbknpower": "bknpower", "zbremss": "bremss",
            "zcutoffpl": "cutoffpl", "zgauss": "gaussian", "zlogpar": "logpar",
            "zpowerlw": "powerlaw", "zvoigt": "voigt",
        }.items()
    },
    **_MULTIPLICATIVE,
    **{
        name: _shifted(_MULTIPLICATIVE[plain])
        for name, plain in {"zedge": "edge", "zgabs": "gabs", "zhighect": "highecut"}.items()
    },
    **_CONVOLUTION,
}  # fmt: skip


class AbstractForm(AbstractComponent):
    """A component with XSPEC's parameters that hands on to components of ours."""

    form: ClassVar[Form]
    abundances: str = eqx.field(static=True, default="", kw_only=True)
    cross_sections: str = eqx.field(static=True, default="", kw_only=True)
    choice: str = eqx.field(static=True, default="", kw_only=True)  # of the form's switch
    template: AbstractSpectrum | None = eqx.field(default=None, kw_only=True, metadata={"saved": False})  # holds tables

    def __post_init__(self) -> None:
        if self.template is None:
            self.template = self.form.made(self.abundances, self.cross_sections, self.choice)

    @property
    def limits(self) -> dict[str, tuple[float, float]]:
        assert self.template is not None  # for the type checker
        ours = {field: both for part in self.template.components().values() for field, both in part.limits.items()}
        return {name: ours[to] for name, to in self.form.parameters.items() if isinstance(to, str) and to in ours}

    def ours(self) -> Any:
        """The same made of components of ours."""
        assert self.template is not None  # for the type checker
        values = {Is.of(to).field: Is.of(to).ours(getattr(self, name)) for name, to in self.form.parameters.items()}

        def replace(component: AbstractComponent) -> AbstractComponent:
            mine = values.keys() & parameters.declarations(component).keys()
            return component.with_fields(**{field: values[field] for field in mine})

        return self.template.map_components(replace)

    def evaluate(self, energy: jax.Array) -> jax.Array:
        return self.ours().evaluate(energy)

    def integral(self, bins: Bins, moment: Any = 0) -> jax.Array:
        return self.ours().integral(bins, moment)

    def points(self, bins: Bins) -> tuple[Points, ...]:
        return self.ours().points(bins)


class _ConvolutionForm(AbstractForm, AbstractConvolution):
    def transform(self, spectrum: AbstractSpectrum, energy: jax.Array) -> jax.Array:
        return self.ours().transform(spectrum, energy)

    def transform_integral(self, spectrum: AbstractSpectrum, bins: Bins, moment: Any) -> jax.Array:
        return self.ours().transform_integral(spectrum, bins, moment)

    def transform_points(self, spectrum: AbstractSpectrum, bins: Bins) -> tuple[Points, ...]:
        return self.ours().transform_points(spectrum, bins)

    def transform_parts(self, spectrum: AbstractSpectrum) -> dict[str, AbstractSpectrum]:
        return self.ours().transform_parts(spectrum)


class _AdditiveForm(AbstractForm, AbstractAdditive):
    pass


class _MultiplicativeForm(AbstractForm, AbstractMultiplicative):
    pass


@functools.cache
def form_class(name: str) -> type[AbstractForm]:
    """The component class of XSPEC's name, in lower case."""
    form = FORMS[name]
    template = form.made(table=NOTHING)
    bases = {"additive": _AdditiveForm, "multiplicative": _MultiplicativeForm, "convolution": _ConvolutionForm}
    table = {}
    for theirs, to in form.parameters.items():
        to = Is.of(to)
        for component in template.components().values():
            declared = parameters.declarations(component)
            if to.field in declared:
                table[theirs] = to.declare(getattr(component, to.field), declared[to.field])
    members: dict[str, Any] = {"form": form}
    if isinstance(template, AbstractConvolution):
        members["acts_on"] = template.acts_on
    return make_class(name, (bases[template.kind],), table, __name__, f"XSPEC's `{name}`: {template!r}.", **members)


def __getattr__(name: str) -> Any:
    """The classes of XSPEC's names, as if they stood here: they are found by their names when a result is loaded."""
    if name in FORMS:
        return form_class(name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
