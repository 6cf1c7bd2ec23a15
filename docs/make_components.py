"""Writes `docs/components/`: a page for each spectral component from its docstring, with a picture, and a table of all.

    python docs/make_components.py              # pages, and pictures that are missing
    python docs/make_components.py --pictures   # all pictures again

Run it after a docstring or a parameter changes; a test compares the pages with what it would write.
"""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np

import jaxspec.spectra as spectra
from jaxspec import parameters
from jaxspec.spectra import AbstractComponent
from jaxspec.spectra._atomdb import NOTHING
from jaxspec.spectra._plasma import AbstractPlasma
from jaxspec.spectra._xspec_forms import FORMS

FOLDER = Path(__file__).parent / "components"
KINDS = {
    "additive": ("Additive", "They emit: N(E) in photons / (cm2 s keV). They are added."),
    "multiplicative": ("Multiplicative", "They are factors without unit: `TBabs() * PowerLaw()`."),
    "convolution": ("Convolutions", "They act on a spectrum: `Redshift(z=0.1)(PowerLaw())`."),
}
# What a picture shows, in keV, where 0.1 to 1000 keV would not.
RANGES = {
    **dict.fromkeys(("GaussianLine", "LorentzLine", "VoigtLine"), (5.5, 7.5)),
    **dict.fromkeys(("TBabs", "VariableTBabs", "Phabs", "VariablePhabs", "Wabs"), (0.1, 10.0)),
    **dict.fromkeys(("GalacticExtinction", "DustExtinction"), (1e-4, 1.2e-2)),
    **dict.fromkeys(("Edge", "GaussianAbsorption", "ExponentialFactor"), (0.3, 30.0)),
    **dict.fromkeys(("GaussianSmoothing", "LorentzSmoothing"), (5.0, 8.0)),
    **dict.fromkeys(("PartialCovering", "PowerLawComptonization"), (0.1, 30.0)),
    "CyclotronAbsorption": (3.0, 300.0),
    "ThermalComptonization": (1e-2, 500.0),
    "GaussianLineWavelength": (0.6, 3.0),
}


def exported() -> dict[str, type[AbstractComponent]]:
    """Every component that a user can make, by name."""
    found = ((name, getattr(spectra, name)) for name in spectra.__all__)
    return {
        name: value
        for name, value in found
        if isinstance(value, type) and issubclass(value, AbstractComponent) and not inspect.isabstract(value)
    }


def reads_files(cls: type[AbstractComponent]) -> bool:
    """Whether it is nothing without files of the user's."""
    return issubclass(cls, AbstractPlasma)


def text_of(cls: type[AbstractComponent]) -> str:
    """The docstring as Markdown: its `Args` as a list."""
    text = inspect.getdoc(cls) or ""
    lines, inside = [], False
    for line in text.splitlines():
        if line == "Args:":
            inside = True
            lines += ["Settings:", ""]
        elif inside and re.match(r"    \w+: ", line):
            name, rest = line.strip().split(": ", 1)
            lines.append(f"- `{name}`: {rest}")
        else:
            inside = inside and (not line or line.startswith(" "))
            lines.append(f"  {line.strip()}".rstrip() if inside else line)
    return "\n".join(lines)


def named_by(cls: type[AbstractComponent], program: str) -> set[str]:
    """What another program calls the component, by its docstring."""
    reference = re.sub(r"\([^)]*\)", "", " ".join((inspect.getdoc(cls) or "").split("**Reference:**")[-1].split()))
    places = re.findall(rf"{program}' ?s? (`.*?)(?:;|\. |\.$|XSPEC|astromodels|gdt| with | has |$)", reference)
    return {name for place in places for name in re.findall(r"`(\w+)`", place)}


def xspec_names() -> dict[str, set[str]]:
    """What `xspec("...")` knows, by the component that it is made of."""
    names: dict[str, set[str]] = {}
    for name in FORMS:
        classes = {type(component).__name__ for component in FORMS[name].made(table=NOTHING).components().values()}
        for cls in classes - {"Redshift", "PartialCovering", "Constant", "GaussianSmoothing"} or classes:
            names.setdefault(cls, set()).add(name)
    return names


def code(names: set[str]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(names, key=str.lower))


def page(name: str, cls: type[AbstractComponent]) -> str:
    """The page of one component."""
    component: Any = cls(table=NOTHING) if reads_files(cls) else cls()
    shown = f"![{SHOWN.get(name, f'{name} with its default parameters')}](images/{name}.png)"
    rows = ["| parameter | default | unit | bounds | free | |", "|---|--:|---|---|---|---|"]
    for field, declared in parameters.declarations(component).items():
        low, high = (f"{bound:g}" for bound in declared.bounds)
        free = "yes" if declared.free else "no"
        numbers = f"{getattr(component, field):g} | {declared.unit} | {low} to {high}"
        rows.append(f"| `{field}` | {numbers} | {free} | {declared.doc} |")
    xspec = xspec_names().get(name, set()) | unknown_to_us(name, cls)
    theirs = {"XSPEC": xspec, "astromodels": named_by(cls, "astromodels")}
    also = [f"Called {code(names)} in {program}." for program, names in theirs.items() if names]
    return "\n".join(
        [
            f"# {name}",
            "",
            text_of(cls),
            "",
            "No picture: the numbers are in files of the user's." if reads_files(cls) else shown,
            "",
            *rows,
            "",
            *[line for sentence in also for line in (sentence, "")],
            f"`from jaxspec.spectra import {name}`; [all components](README.md)",
            "",
        ]
    )


def unknown_to_us(name: str, cls: type[AbstractComponent]) -> set[str]:
    """Names of XSPEC's in the docstring that `xspec("...")` does not know."""
    known = {each.lower() for each in FORMS}
    return {each for each in named_by(cls, "XSPEC") if each.lower() not in known}


def overview() -> str:
    """The table of all components."""
    known, components = xspec_names(), exported()
    lines = [
        "# Components",
        "",
        "Formula, units, reference, parameters and a picture of each are on its page. Of XSPEC's names, those in code",
        'are read by `xspec("...")`, with XSPEC\'s parameters and norms; those in italics are not.',
        "",
    ]
    for kind, (title, sentence) in KINDS.items():
        lines += [f"## {title}", "", sentence, "", "| component | | XSPEC | astromodels |", "|---|---|---|---|"]
        for name, cls in components.items():
            if cls.kind == kind:
                first = (inspect.getdoc(cls) or "").split("\n")[0]
                others = ", ".join(f"*{each}*" for each in sorted(unknown_to_us(name, cls), key=str.lower))
                theirs = ", ".join(filter(None, [code(known.get(name, set())), others]))
                lines.append(f"| [{name}]({name}.md) | {first} | {theirs} | {code(named_by(cls, 'astromodels'))} |")
        lines.append("")
    return "\n".join([*lines, *agreement(), *LEFT_OUT, ""])


LEFT_OUT = (
    "## Not here",
    "",
    "- `mekal` is a table, for which no data are shipped: `table_from_ogip` reads a file of XSPEC's format,",
    "  `table_from_arrays` takes arrays. So is attenuation by the extragalactic background light (`ebl_from_arrays`,",
    "  astromodels' `EBLattenuation`), and so are spectra of dark matter (`dark_matter_from_arrays`, `DMFitFunction`).",
    "- `pexrav`, `pexmon`: reflection has not been reproduced to 1 %. `table_from_ogip` reads tables of reflection, as",
    "  of xillver or MYTorus.",
    "- The thermal motion of ions, which in XSPEC's `bapec` and its kin broadens lines beside the velocity.",
    "- `srcut`: XSPEC's table differs from the integral that `Synchrotron` computes by 1 to 2 % for any cut-off.",
)


# XSPEC's names; relative difference of values at single energies, and of bins for parameters drawn at random; why.
# The tests take their tolerances from here. All others agree to 1e-4.
AGREEMENT = (
    ("diskbb", 1e-3, 5e-3, "XSPEC's own constant is 0.4 % off in parts of the spectrum"),
    ("diskpbb", 1e-2, 2e-2, "XSPEC's own constant is 0.8 % off"),
    ("comptt", 2e-4, 4e-3, "XSPEC's own quadrature, and a sum of few terms for small alpha"),
    ("nthcomp", 2e-3, 1e-2, "XSPEC's grid begins elsewhere, and is read off along straight lines"),
    ("thcomp", 3e-3, None, "coefficients that are fits; XSPEC shifts spectra by half a bin, which was taken out"),
    ("simpl", 2e-3, None, "XSPEC's kernel is cut into the bins of its grid"),
    ("lsmooth", 2e-2, None, "XSPEC's profile is 1 % too high, that of a line without width too"),
    ("pegpwrlw", 2e-4, 1e-3, "XSPEC's keV is 1.602e-9 erg"),
    ("bremss vbremss zbremss expdec logpar zlogpar eplogpar", 1e-4, 1e-3, "single precision in XSPEC"),
    ("highecut zhighect wabs zwabs", 1e-4, 5e-4, "single precision in XSPEC"),
    ("cabs", 1e-4, 4e-4, "XSPEC rounds the cross-section of Thomson"),
    ("gabs zgabs", 1e-4, 1e-2, "XSPEC takes the mean of the optical depth over a bin"),
    ("redden zdust zredden", 1e-3, None, "XSPEC's magnitudes are 0.46 % too small, which was taken out"),
    (
        "phabs zphabs pcfabs zpcfabs vphabs zvphabs varabs zvarabs",
        *(4e-4, 4e-3, "tables exact to 2e-5 in the optical depth (up to 18); in bins, means at the edges"),
    ),
    ("tbabs tbfeo tbgas tbgrain tbpcf tbvarabs ztbabs", 1e-3, 4e-3, "the same, and resonances narrower than bins"),
)


def agreement() -> list[str]:
    """The table of what differs from XSPEC."""
    rows = [
        f"| {code(set(names.split()))} | {at:g} | {'' if swept is None else f'{swept:g}'} | {why} |"
        for names, at, swept, why in AGREEMENT
    ]
    return [
        "## Agreement with XSPEC",
        "",
        "The tests compare names with XSPEC 12.15: at single energies from 0.15 to 80 keV, and in bins with parameters",
        "drawn at random. Values agree to 1e-4 but for these.",
        "",
        "| XSPEC | energies | bins | why |",
        "|---|--:|--:|---|",
        *rows,
        "",
    ]


def pages() -> dict[str, str]:
    """File names and texts."""
    return {f"{name}.md": page(name, cls) for name, cls in exported().items()} | {"README.md": overview()}


def picture(name: str, cls: type[AbstractComponent], path: Path) -> None:
    """Draws the component with its defaults: N(E) or the factor; a convolution beside what it acts on."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    low, high = RANGES.get(name, (0.1, 1000.0))
    energy = np.geomspace(low, high, 500)
    component: Any = SHOWN.get(name) or cls()
    fig, axes = plt.subplots(figsize=(4.2, 2.8), dpi=80, layout="constrained")
    if component.kind == "convolution":
        base = ACTED_ON.get(name, spectra.Band(K=1.0))
        axes.plot(energy, base(energy), color="0.7", label="before")
        component = component(base)
    values = np.asarray(jax.jit(lambda component: component(energy))(component))
    axes.plot(energy, values, color="C0", label=name)
    narrow = high / low < 3
    axes.set_xscale("linear" if narrow else "log")
    if component.kind != "multiplicative":
        axes.set_ylabel("photons / (cm$^2$ s keV)")
        if not narrow:
            axes.set_yscale("log")
            axes.set_ylim(max(values[values > 0].min(), 1e-8 * values.max()), 3 * values.max())
    else:
        axes.set_ylabel("factor")
    axes.set_xlabel("energy (keV)")
    if axes.get_legend_handles_labels()[1] != [name]:
        axes.legend(frameon=False)
    fig.savefig(path, metadata={"Software": None})
    plt.close(fig)


# What a convolution acts on in its picture, where it is not a Band function.
ACTED_ON = {
    "GaussianSmoothing": spectra.GaussianLine(),
    "LorentzSmoothing": spectra.GaussianLine(),
    "PartialCovering": spectra.TBabs(),
    "PowerLawComptonization": spectra.DiskBlackbody(),
    "ThermalComptonization": spectra.DiskBlackbody(T=0.3),
    "EnergyFlux": spectra.PowerLaw(),
    "PhotonFlux": spectra.PowerLaw(),
}
# What is drawn, where it is not the component with its defaults.
SHOWN = {
    "Redshift": spectra.Redshift(z=3.0),
    "VelocityShift": spectra.VelocityShift(velocity=1e5),
    "EnergyFlux": spectra.EnergyFlux(log_flux=-8.0),
    "PhotonFlux": spectra.PhotonFlux(flux=10.0),
}


def main() -> None:
    """Writes every page, and removes what belongs to no component."""
    (FOLDER / "images").mkdir(parents=True, exist_ok=True)
    texts = pages()
    for old in (*FOLDER.glob("*.md"), *FOLDER.glob("images/*.png")):
        if old.name not in texts and f"{old.stem}.md" not in texts:
            old.unlink()
    for file, text in texts.items():
        (FOLDER / file).write_text(text)
    for name, cls in exported().items():
        path = FOLDER / "images" / f"{name}.png"
        if not reads_files(cls) and ("--pictures" in sys.argv or not path.exists()):
            picture(name, cls, path)


if __name__ == "__main__":
    main()
