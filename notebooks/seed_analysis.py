"""Two simulated spectra, two sources that share a temperature, a posterior, its fluxes: from counts to a saved result.

    python notebooks/seed_analysis.py [--output FOLDER]

Source 1 is a black body; source 2 is a black body of the same temperature and a power law. Each has a spectrum of its
own. The response is in this repository; nothing else is read.
"""

import argparse
from pathlib import Path

import astropy.units as u
import jax
import numpy as np
import numpyro.distributions as dist

from jaxspec import NUTS, Model, PointSource, Problem, Response, load, sample, simulate
from jaxspec.spectra import Blackbody, PowerLaw, PowerLawFlux

RESPONSE = Path(__file__).parent / "data" / "demo.rsp"


def simulated_spectra():
    """One second of each source, with a background of 5,600 counts that falls as E^-1.5 over the channels."""
    response = Response.from_ogip(RESPONSE)
    background = PowerLaw(K=1, index=-1.5, pivot=1e3)
    first = Blackbody(K=5e-8, kT=500.0)
    second = Blackbody(K=1e-7, kT=500.0) + PowerLawFlux(F=200.0, index=-1.5, a=10, b=500)
    keys = jax.random.split(jax.random.key(1234))
    return [
        simulate(spectrum, response, 1 * u.s, background, key=key, name=name).assign(source)
        for name, source, spectrum, key in zip(("s1", "s2"), ("src1", "src2"), (first, second), keys)
    ]


def two_sources():
    """The model to fit: what is known beforehand of each parameter, and one temperature for both sources."""
    model = Model(
        PointSource("src1", Blackbody(), ra=1, dec=20),
        PointSource("src2", Blackbody() + PowerLawFlux(a=10, b=500), ra=2, dec=-10),
    )
    priors = {
        "src1.blackbody.K": dist.LogNormal(np.log(1e-7), 1),
        "src2.blackbody.K": dist.LogNormal(np.log(1e-6), 1),
        "src2.blackbody.kT": dist.LogNormal(np.log(300), 2),
        "src2.powerlawflux.F": dist.LogNormal(np.log(100), 1),
        "src2.powerlawflux.index": dist.Normal(-1, 1),
    }
    return model.with_priors(priors).link("src1.blackbody.kT", to="src2.blackbody.kT")


def flux_tables(posterior):
    """The flux tables by title."""
    wide, narrow = (1 * u.keV, 1 * u.MeV), (10 * u.keV, 0.5 * u.MeV)
    return {
        "Energy flux, 1 keV - 1 MeV, 68 %": posterior.flux(*wide, "erg / (cm2 s)"),
        "Energy flux of both sources together, 1 keV - 1 MeV, 95 %": posterior.flux(
            *wide, "erg / (cm2 s)", level=0.95, sum_sources=True
        ),
        "Photon flux by component, 10 - 500 keV, 68 %": posterior.flux(*narrow, "1 / (cm2 s)", components=True),
        "Integral of E^2 N(E) of the black bodies, 10 - 500 keV, 68 %": posterior.flux(
            *narrow, "erg2 / (cm2 s)", components=["blackbody"]
        ),
    }


def text(table):
    """A table with four digits of every number, units kept."""
    return table.map(lambda entry: entry if isinstance(entry, str) else f"{entry:.4g}").to_string()


def main():
    """Simulate, sample, print the tables, draw the pictures, save, load again."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("seed_analysis_output"), help="folder, made if missing")
    output = parser.parse_args().output
    output.mkdir(parents=True, exist_ok=True)

    model = two_sources()
    print(model, end="\n\n")
    posterior = sample(Problem(model, simulated_spectra()), NUTS(), key=jax.random.key(0))
    print("Parameters: median, 68 % interval, mean, standard deviation", text(posterior.table()), sep="\n")
    for title, table in flux_tables(posterior).items():
        print("", title, text(table), sep="\n")

    posterior.plot_counts().savefig(output / "counts.png")
    posterior.corner().savefig(output / "corner.png")
    posterior.plot_spectrum(unit="erg / (cm2 s)", components=True).savefig(output / "spectrum.png")
    posterior.save(output / "posterior.nc")
    names = ("counts.png", "corner.png", "spectrum.png", "posterior.nc")
    print("\nWritten:", *(output.resolve() / name for name in names), sep="\n  ")

    again = load(output / "posterior.nc")
    table = again.flux(20 * u.keV, 200 * u.keV, "1 / (cm2 s)", level=0.9)
    print("\nFrom the file: photon flux, 20 - 200 keV, 90 %", text(table), sep="\n")


if __name__ == "__main__":
    main()
