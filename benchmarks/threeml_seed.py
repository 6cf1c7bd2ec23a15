"""The seed analysis in 3ML: two simulated spectra, two sources with a linked temperature, UltraNest, fluxes.

Runs in the environment made by `setup_threeml.sh` and prints one line of JSON at the end:
`seconds` (wall and CPU of each stage), `values` (what was computed, to be checked) and `versions`.

    python threeml_seed.py all --seed-json data/seed_spectra.json --response ../notebooks/data/demo.rsp
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import astropy.units as u
import numpy as np
from stopwatch import Seconds, stopwatch, time_calls, time_process
from threeml_quiet import VERSIONS, threeML

HERE = Path(__file__).parent
LIKELIHOOD_CALLS = 5000
SIMULATION_SEED = 1234
FLUX_DRAWS = 10_000
GOODNESS_SIMULATIONS = 30

# The free parameters in 3ML's order, under the names of seed_spectra.json.
PARAMETERS = {
    "src1 K": "src1.spectrum.main.Blackbody.K",
    "src2 K": "src2.spectrum.main.composite.K_1",
    "kT": "src2.spectrum.main.composite.kT_1",
    "src2 F": "src2.spectrum.main.composite.F_2",
    "src2 index": "src2.spectrum.main.composite.index_2",
}

FLUX_TABLES: dict[str, dict[str, Any]] = {
    "erg_1keV_1MeV_68": {"ene_min": 1 * u.keV, "ene_max": 1 * u.MeV, "flux_unit": "erg / (cm2 s)"},
    "erg_1keV_1MeV_sum_95": {
        "ene_min": 1 * u.keV,
        "ene_max": 1 * u.MeV,
        "flux_unit": "erg / (cm2 s)",
        "confidence_level": 0.95,
        "sum_sources": True,
    },
    "photons_10_500keV_68": {
        "ene_min": 10 * u.keV,
        "ene_max": 0.5 * u.MeV,
        "flux_unit": "1 / (cm2 s)",
        "use_components": True,
    },
    "erg2_10_500keV_68": {
        "ene_min": 10 * u.keV,
        "ene_max": 0.5 * u.MeV,
        "flux_unit": "erg2 / (cm2 s)",
        "use_components": True,
        "components_to_use": ["Blackbody"],
    },
}


class Benchmark:
    """Measurements of one process, gathered in `seconds` and `values`."""

    def __init__(self, seed: dict[str, Any], response: Path) -> None:
        self.seed = seed
        self.response = response
        self.seconds: dict[str, Seconds] = {}
        self.values: dict[str, Any] = {}

    def import_threeml(self) -> None:
        """A process that imports 3ML and nothing else."""
        self.seconds["import"], _ = time_process([sys.executable, "-c", "import threeML"])

    def likelihood(self) -> None:
        """One log-likelihood of both spectra at new parameter values, as a sampler of 3ML computes it."""
        model, data = build_model(), observed_data(self.seed, self.response)
        threeML.BayesianAnalysis(model, data)
        parameters = [model[path] for path in PARAMETERS.values()]

        def log_likelihood(values: np.ndarray) -> float:
            for parameter, value in zip(parameters, values, strict=True):
                parameter.value = value
            return sum(spectrum.get_log_like() for spectrum in data.values())

        best = np.array([self.seed["maximum_likelihood"]["values"][name] for name in PARAMETERS])
        points = best * np.random.default_rng(0).normal(1.0, 0.01, (LIKELIHOOD_CALLS, len(best)))
        with threeML.use_astromodels_memoization(False):  # as 3ML does where it runs UltraNest
            total = log_likelihood(best)
            self.values["minus_lnL"] = {spectrum.name: -spectrum.get_log_like() for spectrum in data.values()}
            self.seconds["likelihood"] = time_calls(log_likelihood, points)
        self.values["minus_lnL"]["total"] = -total
        check_log_likelihood(self.values["minus_lnL"], self.seed["maximum_likelihood"]["minus_lnL"])

    def fit(self) -> None:
        """Maximum likelihood by Minuit from the values the data were simulated with, then profile errors."""
        model, data = build_model(), observed_data(self.seed, self.response)
        truth = {"src1 K": 5e-8, "src2 K": 1e-7, "kT": 500.0, "src2 F": 200.0, "src2 index": -1.5}
        for name in ("fit_first", "fit_again"):
            for parameter, value in truth.items():
                model[PARAMETERS[parameter]].value = value
            joint = threeML.JointLikelihood(model, data)
            with stopwatch(self.seconds, name):
                joint.fit(quiet=True)
        with stopwatch(self.seconds, "profile_errors"):
            joint.get_errors(quiet=True)
        self.values["maximum_likelihood"] = {name: model[path].value for name, path in PARAMETERS.items()}

    def goodness(self) -> None:
        """Goodness of fit by simulation, each simulated pair of spectra fitted again by Minuit."""
        keep_assignments()
        joint = threeML.JointLikelihood(build_model(), observed_data(self.seed, self.response))
        for parameter, value in self.seed["maximum_likelihood"]["values"].items():
            joint.likelihood_model[PARAMETERS[parameter]].value = value
        joint.fit(quiet=True)
        goodness = threeML.GoodnessOfFit(joint)
        with stopwatch(self.seconds, "goodness"):
            shares, _, fits = goodness.by_mc(GOODNESS_SIMULATIONS, continue_on_failure=True)
        self.seconds["goodness_each"] = {
            clock: value / GOODNESS_SIMULATIONS for clock, value in self.seconds["goodness"].items()
        }
        totals = fits.xs("total", level=1)["-log(likelihood)"]
        self.values["p_value"] = shares["total"]
        self.values["minus_lnL_of_simulated"] = [float(totals.mean()), float(totals.std())]

    def simulate(self) -> Any:
        """Both spectra by `DispersionSpectrumLike.from_function`; this seed draws those of the file."""
        np.random.seed(SIMULATION_SEED)  # noqa: NPY002 (3ML draws from numpy's global generator)
        with stopwatch(self.seconds, "simulate"):
            spectra = [simulated_spectrum(name, self.response) for name in ("s1", "s2")]
        return threeML.DataList(*spectra)

    def sample(self, data: Any) -> Any:
        """Posterior by UltraNest as the seed's notebook sets it up, without the live plot of the points."""
        analysis = threeML.BayesianAnalysis(build_model(), data)
        analysis.set_sampler("ultranest")
        analysis.sampler.setup(frac_remain=0.5, viz_callback=False)
        with stopwatch(self.seconds, "sample"):
            analysis.sample(quiet=True)
        results = analysis.results
        draws = results.samples
        self.values["draws"] = draws.shape[1]
        self.values["likelihood_calls"] = analysis.sampler._sampler.results["ncall"]
        # 3ML hands out the evidence as a decimal logarithm.
        self.values["lnZ_error"] = analysis.sampler._sampler.results["logzerr"]
        self.values["lnZ"] = results.statistical_measures["log(Z)"] * np.log(10.0)
        self.values["mean_and_sd"] = {
            name: [draw.mean(), draw.std()] for name, draw in zip(PARAMETERS, draws, strict=True)
        }
        return results

    def flux(self, results: Any, integrator: str) -> None:
        """The four flux tables of the seed, with the integrator "trapz" (3ML's default) or "quad"."""
        threeML.threeML_config.point_source.integrate_flux_method = integrator
        tables = {}
        with stopwatch(self.seconds, f"flux_{integrator}"):
            for name, arguments in FLUX_TABLES.items():
                with stopwatch(self.seconds, f"flux_{integrator}_{name}"):
                    tables[name] = results.get_flux(**arguments)
        self.values[f"flux_{integrator}"] = {name: rows_of(table) for name, table in tables.items()}

    def analysis(self) -> None:
        """Simulate, sample, compute every flux table: the seed's notebook without its plots."""
        data = self.simulate()
        self.values["simulated_as_in_file"] = all(
            np.array_equal(spectrum.observed_counts, self.seed["spectra"][spectrum.name]["counts"])
            and np.array_equal(spectrum.background_counts, self.seed["spectra"][spectrum.name]["background"])
            for spectrum in data.values()
        )
        self.flux(self.sample(data), "trapz")

    def whole_process(self, arguments: list[str]) -> None:
        """`analysis` in a process of its own, timed from its start to its end."""
        seconds, output = time_process([sys.executable, __file__, "analysis", *arguments])
        report = json.loads(output.splitlines()[-1])
        self.seconds |= {f"analysis_{stage}": elapsed for stage, elapsed in report["seconds"].items()}
        self.seconds["analysis_process"] = seconds
        self.values["analysis"] = report["values"]


def build_model() -> Any:
    """The seed's model with its priors and its linked temperature."""
    first = threeML.Blackbody()
    first.K.prior = threeML.Log_normal(mu=np.log(1e-7), sigma=1)
    first.kT.prior = threeML.Log_normal(mu=np.log(300), sigma=2)

    second = threeML.Blackbody() + threeML.Powerlaw_flux(a=10, b=500)
    second.K_1.prior = threeML.Log_normal(mu=np.log(1e-6), sigma=1)
    second.kT_1.prior = threeML.Log_normal(mu=np.log(300), sigma=2)
    second.F_2.prior = threeML.Log_normal(mu=np.log(1e2), sigma=1)
    second.F_2.bounds = (None, None)
    second.index_2.prior = threeML.Gaussian(mu=-1.0, sigma=1)
    second.index_2.bounds = (None, None)

    model = threeML.Model(
        threeML.PointSource("src1", ra=1, dec=20, spectral_shape=first),
        threeML.PointSource("src2", ra=2, dec=-10, spectral_shape=second),
    )
    model.link(model.src1.spectrum.main.Blackbody.kT, model.src2.spectrum.main.composite.kT_1)
    return model


def keep_assignments() -> None:
    """3ML's simulated spectra forget which source they see, and would be fitted with the sum of both."""
    plugin = threeML.DispersionSpectrumLike
    simulated = plugin.get_simulated_dataset

    def assigned(self: Any, *arguments: Any, **settings: Any) -> Any:
        spectrum = simulated(self, *arguments, **settings)
        spectrum.assign_to_source(self._source_name)
        return spectrum

    plugin.get_simulated_dataset = assigned


def load_response(path: Path) -> Any:
    """A response of its own for each spectrum: 3ML folds the wrong source where two share one."""
    return threeML.utils.OGIP.response.OGIPResponse(str(path))


def observed_data(seed: dict[str, Any], response: Path) -> Any:
    """3ML's data list of the two spectra of the file, each assigned to its source."""
    return threeML.DataList(*(observed_spectrum(seed, name, response) for name in ("s1", "s2")))


def observed_spectrum(seed: dict[str, Any], name: str, response_path: Path) -> Any:
    """The 3ML plugin of one spectrum of the file, "s1" for source "src1"."""
    binned = threeML.utils.spectrum.binned_spectrum
    response = load_response(response_path)
    observation = binned.BinnedSpectrumWithDispersion(
        np.array(seed["spectra"][name]["counts"]),
        exposure=seed["exposure_s"],
        response=response,
        is_poisson=True,
    )
    background = binned.BinnedSpectrum(
        np.array(seed["spectra"][name]["background"]),
        exposure=seed["background_exposure_s"],
        ebounds=response.ebounds,
        scale_factor=seed["background_scale"],
        is_poisson=True,
    )
    spectrum = threeML.DispersionSpectrumLike(name, observation, background, verbose=False)
    spectrum.assign_to_source(name.replace("s", "src"))
    return spectrum


def simulated_spectrum(name: str, response: Path) -> Any:
    """One spectrum of the seed, drawn by 3ML (with half of the background asked for, a defect of 3ML)."""
    sources = {
        "s1": lambda: threeML.Blackbody(K=5e-8, kT=500.0),
        "s2": lambda: threeML.Blackbody(K=1e-7, kT=500.0) + threeML.Powerlaw_flux(F=2e2, index=-1.5, a=10, b=500),
    }
    spectrum = threeML.DispersionSpectrumLike.from_function(
        name,
        source_function=sources[name](),
        background_function=threeML.Powerlaw(K=1, index=-1.5, piv=1e3),
        response=load_response(response),
    )
    spectrum.assign_to_source(name.replace("s", "src"))
    return spectrum


def approximate_posterior(seed: dict[str, Any]) -> Any:
    """A result with draws from the posterior's means and deviations, to time flux tables without sampling."""
    moments = np.array([seed["posterior"]["mean_and_sd"][name] for name in PARAMETERS])
    model = build_model()
    for path, mean in zip(PARAMETERS.values(), moments[:, 0], strict=True):
        model[path].value = mean
    return threeML.analysis_results.BayesianResults(
        model,
        samples=np.random.default_rng(0).normal(moments[:, 0], moments[:, 1], (FLUX_DRAWS, len(moments))),
        posterior_values={"s1": 0.0, "s2": 0.0},
        statistical_measures={},
        log_probabilty=np.zeros(FLUX_DRAWS),
    )


def rows_of(table: Any) -> dict[str, list[float]]:
    """Median, lower and upper bound of each row of a flux table of 3ML."""
    return {row: [table[column][row].value for column in ("flux", "low bound", "hi bound")] for row in table.index}


def check_log_likelihood(found: dict[str, float], expected: dict[str, float]) -> None:
    """Stop where 3ML does not compute the likelihood of the seed: its times would mean nothing."""
    wrong = {name: found[name] for name in expected if abs(found[name] - expected[name]) > 1e-3}
    if wrong:
        raise SystemExit(f"-lnL of 3ML at the best fit is {wrong}, expected {expected}")


def measure(command: str, benchmark: Benchmark, integrators: list[str], file_arguments: list[str]) -> None:
    """Run the measurements of one sub-command."""
    if command in ("import", "all"):
        benchmark.import_threeml()
    if command in ("fit", "all"):  # before all else, so that the first fit is the first use of 3ML
        benchmark.fit()
    if command in ("likelihood", "all"):
        benchmark.likelihood()
    if command == "goodness":
        benchmark.goodness()
    if command == "sample":
        benchmark.sample(observed_data(benchmark.seed, benchmark.response))
    if command in ("flux", "all"):
        results = approximate_posterior(benchmark.seed)
        for integrator in integrators:
            benchmark.flux(results, integrator)
    if command == "analysis":
        benchmark.analysis()
    if command == "all":
        benchmark.whole_process(file_arguments)


def main() -> None:
    """Read the command line, measure, print the report."""
    raw_text = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw_text)
    commands = ("import", "likelihood", "fit", "goodness", "sample", "flux", "analysis", "all")
    parser.add_argument("command", choices=commands)
    parser.add_argument("--seed-json", type=Path, default=HERE / "data" / "seed_spectra.json")
    parser.add_argument("--response", type=Path, default=HERE.parent / "notebooks" / "data" / "demo.rsp")
    parser.add_argument(
        "--integrators",
        nargs="+",
        choices=("trapz", "quad"),
        default=["trapz", "quad"],
        help="of the flux tables in 'flux' and 'all': 3ML's default, the accurate one (minutes), or both",
    )
    arguments = parser.parse_args()

    benchmark = Benchmark(json.loads(arguments.seed_json.read_text()), arguments.response)
    files = ["--seed-json", str(arguments.seed_json), "--response", str(arguments.response)]
    measure(arguments.command, benchmark, arguments.integrators, files)
    report = {"seconds": benchmark.seconds, "values": benchmark.values, "versions": VERSIONS}
    print(json.dumps(report, default=float))


if __name__ == "__main__":
    main()
