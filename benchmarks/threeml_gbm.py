"""GRB 090217 in 3ML: a cut-off power law on two NaI detectors and one BGO of Fermi GBM, by Minuit.

Runs in the environment made by `setup_threeml.sh` and prints one line of JSON at the end, in the form of
`threeml_seed.py`. The spectra are those that come with 3ML, or those of the folder given by `--data`.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import astropy.units as u
from stopwatch import stopwatch
from threeml_quiet import VERSIONS, threeML

# Channels by energy, in keV; the gap leaves out the K edge of iodine.
SELECTIONS = {"n6": ("10-30", "40-950"), "n9": ("10-30", "40-950"), "b1": ("250-43000",)}

# The best fit of 3ML 2.6.1, to see that the times are those of a fit that arrived.
EXPECTED_MINUS_LNL = 2284.1583


def gbm_data(folder: Path) -> Any:
    """3ML's data list of the three detectors: Poisson source, Gaussian background."""
    return threeML.DataList(*(detector_spectrum(folder, detector) for detector in SELECTIONS))


def detector_spectrum(folder: Path, detector: str) -> Any:
    """The 3ML plugin of one detector with its channels selected."""
    stem = folder / f"bn090217206_{detector}"
    spectrum = threeML.OGIPLike(
        detector,
        observation=f"{stem}_srcspectra.pha",
        background=f"{stem}_bkgspectra.bak",
        response=f"{stem}_weightedrsp.rsp",
        spectrum_number=1,
        verbose=False,
    )
    spectrum.set_active_measurements(*SELECTIONS[detector])
    return spectrum


def build_model() -> Any:
    """A cut-off power law by its peak energy, at values a user would start from."""
    shape = threeML.Cutoff_powerlaw_Ep(K=1.0, index=-1.0, xp=500.0)
    return threeML.Model(threeML.PointSource("grb", ra=204.9, dec=-8.4, spectral_shape=shape))


def measure(folder: Path) -> dict[str, Any]:
    """Read, fit twice (the first loads what numba compiled), profile errors, flux."""
    seconds: dict[str, dict[str, float]] = {}
    with stopwatch(seconds, "read"):
        data = gbm_data(folder)
    for name in ("fit_first", "fit_again"):
        joint = threeML.JointLikelihood(build_model(), data)
        with stopwatch(seconds, name):
            joint.fit(quiet=True)
    with stopwatch(seconds, "profile_errors"):
        errors = joint.get_errors(quiet=True)
    with stopwatch(seconds, "flux"):
        flux = joint.results.get_flux(10 * u.keV, 1 * u.MeV, flux_unit="erg / (cm2 s)")
    if joint.current_minimum > EXPECTED_MINUS_LNL + 0.01:
        raise SystemExit(f"3ML stopped at -lnL = {joint.current_minimum}, expected {EXPECTED_MINUS_LNL}")
    values = {
        "minus_lnL": joint.current_minimum,
        "best_value_and_errors": {
            path.rsplit(".", 1)[-1]: [row["value"], row["negative_error"], row["positive_error"]]
            for path, row in errors.iterrows()
        },
        "flux_10keV_1MeV": [flux[column].iloc[0].value for column in ("flux", "low bound", "hi bound")],
    }
    return {"seconds": seconds, "values": values, "versions": VERSIONS}


def main() -> None:
    """Read the command line, measure, print the report."""
    packaged = Path(threeML.__file__).parent / "data" / "datasets" / "bn090217206"
    raw_text = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw_text)
    parser.add_argument("--data", type=Path, default=packaged, help="folder of spectra (default: 3ML's own)")
    print(json.dumps(measure(parser.parse_args().data), default=float))


if __name__ == "__main__":
    main()
