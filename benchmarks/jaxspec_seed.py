"""The seed analysis in jaxspec: the counterpart of `threeml_seed.py`, with the same sub-commands and report.

Runs in an environment that has jaxspec and prints one line of JSON at the end: `seconds` (wall and CPU of each
stage), `values` (what was computed, to be checked, and how many programs were compiled) and `versions`.

    python jaxspec_seed.py all
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import astropy.units as u
import jax
import numpy as np
import numpyro.distributions as dist
from stopwatch import Seconds, median_of, stopwatch, time_calls, time_process

from jaxspec import (
    NUTS,
    Background,
    Model,
    Observation,
    PointSource,
    Posterior,
    Problem,
    Response,
    fit,
    sample,
    simulate,
)
from jaxspec.spectra import Blackbody, PowerLaw, PowerLawFlux

HERE = Path(__file__).parent
LIKELIHOOD_CALLS = 5000
BATCH = 1000
BATCH_CALLS = 100
IMPORTS = 5
FLUX_DRAWS = 10_000
FLUX_CALLS = 30

# The free parameters under the names of seed_spectra.json.
PARAMETERS = {
    "src1 K": "src1.blackbody.K",
    "src2 K": "src2.blackbody.K",
    "kT": "src2.blackbody.kT",
    "src2 F": "src2.powerlawflux.F",
    "src2 index": "src2.powerlawflux.index",
}

# The arguments of `flux`, under the names that threeml_seed.py has for the same tables.
FLUX_TABLES: dict[str, tuple[tuple[Any, Any, str], dict[str, Any]]] = {
    "erg_1keV_1MeV_68": ((1 * u.keV, 1 * u.MeV, "erg / (cm2 s)"), {}),
    "erg_1keV_1MeV_sum_95": (
        (1 * u.keV, 1 * u.MeV, "erg / (cm2 s)"),
        {"level": 0.95, "sum_sources": True},
    ),
    "photons_10_500keV_68": ((10 * u.keV, 0.5 * u.MeV, "1 / (cm2 s)"), {"components": True}),
    "erg2_10_500keV_68": ((10 * u.keV, 0.5 * u.MeV, "erg2 / (cm2 s)"), {"components": ["blackbody"]}),
}


class Benchmark:
    """Measurements of one process, gathered in `seconds` and `values`."""

    def __init__(self, seed: dict[str, Any], response: Path) -> None:
        self.seed = seed
        self.response = response
        self.seconds: dict[str, Seconds] = {}
        self.values: dict[str, Any] = {}

    def imports(self) -> None:
        """Processes that import jaxspec, and in turn with them some that import jax and numpyro alone."""
        runs: dict[str, list[Seconds]] = {"import": [], "import_jax_numpyro": []}
        for _ in range(IMPORTS):
            runs["import"].append(time_process([sys.executable, "-P", "-c", "import jaxspec"])[0])
            bare = time_process([sys.executable, "-P", "-c", "import jax, numpyro"])[0]
            runs["import_jax_numpyro"].append(bare)
        self.seconds |= {name: median_of(times) for name, times in runs.items()}

    def likelihood(self) -> None:
        """The log-likelihood of both spectra at new values in each call: alone, with gradient, in batches."""
        problem = observed_problem(self.seed, self.response)
        best = {name: self.seed["maximum_likelihood"]["values"][short] for short, name in PARAMETERS.items()}
        self.values["minus_lnL"] = {name: -float(value) for name, value in problem.log_likelihoods(best).items()} | {
            "total": -float(problem.log_likelihood(best))
        }
        check_log_likelihood(self.values["minus_lnL"], self.seed["maximum_likelihood"]["minus_lnL"])

        normal = np.random.default_rng(0).normal
        points = np.array([best[name] for name in problem.names]) * normal(1.0, 0.01, (LIKELIHOOD_CALLS, len(best)))
        by_name = [dict(zip(problem.names, point, strict=True)) for point in points]
        vectors = [jax.device_put(point) for point in points]
        batches = [points[start : start + BATCH] for start in range(0, LIKELIHOOD_CALLS, BATCH)]
        loop = jax.jit(lambda density, thetas: jax.lax.map(jax.value_and_grad(density.log_likelihood), thetas))
        self.time_ready("likelihood_value", problem.log_likelihood, by_name)
        self.time_ready("likelihood_gradient", problem.log_likelihood_and_gradient, vectors)
        repeated = batches * (BATCH_CALLS // len(batches))
        for name, function in (
            ("likelihood_batch", problem.log_likelihood_and_gradient),
            ("likelihood_loop", lambda thetas: loop(problem.density, thetas)),
        ):
            self.time_ready(name, function, repeated)
            self.seconds[f"{name}_each"] = {clock: time / BATCH for clock, time in self.seconds[name].items()}

    def time_ready(self, name: str, function: Any, inputs: list[Any]) -> None:
        """Store the seconds per call until its result is there, after one call that compiles."""
        jax.block_until_ready(function(inputs[0]))
        self.seconds[name] = time_calls(lambda value: jax.block_until_ready(function(value)), inputs)

    def fit(self) -> None:
        """Maximum likelihood, first and again; errors and covariance are part of it."""
        problem = observed_problem(self.seed, self.response)
        for name in ("fit_first", "fit_again"):
            with stopwatch(self.seconds, name), self.compilations(name):
                best = fit(problem)
        self.values["maximum_likelihood"] = values_by_short_name(problem, best.theta)

    def sample(self) -> None:
        """The posterior by NUTS, first and again on new data of the same shape."""
        problem = observed_problem(self.seed, self.response)
        posterior = self.timed_sample("sample_first", problem)
        self.values["mean_and_sd"] = {
            short: [posterior.draws(name).mean(), posterior.draws(name).std()] for short, name in PARAMETERS.items()
        }
        again = [
            self.timed_sample(f"sample_again_{i}", Problem(build_model(), self.simulated(1000 + i))) for i in range(3)
        ]
        names = [f"sample_again_{i}" for i in range(len(again))]
        self.seconds["sample_again"] = median_of([self.seconds.pop(name) for name in names])
        self.values["compilations"]["sample_again"] = max(self.values["compilations"].pop(name) for name in names)
        self.values["ess_min"] = min(min(posterior.ess.values()) for posterior in again)

    def timed_sample(self, name: str, problem: Problem) -> Posterior:
        """A posterior of 4 x 1000 draws, its time under `name`."""
        with stopwatch(self.seconds, name), self.compilations(name):
            return sample(problem, NUTS(), key=jax.random.key(0), progress=False)

    def simulated(self, number: int) -> list[Observation]:
        """Both spectra of the seed, drawn by this random number."""
        response = Response.from_ogip(self.response)
        background = PowerLaw(K=1, index=-1.5, pivot=1e3)
        spectra = {
            "s1": Blackbody(K=5e-8, kT=500.0),
            "s2": Blackbody(K=1e-7, kT=500.0) + PowerLawFlux(F=200.0, index=-1.5, a=10, b=500),
        }
        return [
            simulate(spectrum, response, 1 * u.s, background, key=jax.random.key(number + i), name=name)
            .assign(name.replace("s", "src"))
            for i, (name, spectrum) in enumerate(spectra.items())
        ]  # fmt: skip

    def flux(self, posterior: Posterior, suffix: str = "") -> None:
        """The four flux tables of the seed, once each."""
        tables = {}
        with stopwatch(self.seconds, f"flux{suffix}"), self.compilations(f"flux{suffix}"):
            for name, (band, options) in FLUX_TABLES.items():
                with stopwatch(self.seconds, f"flux{suffix}_{name}"):
                    tables[name] = posterior.flux(*band, **options)
        self.values["flux"] = {name: rows_of(table) for name, table in tables.items()}

    def flux_warm(self) -> None:
        """Flux tables of 10,000 draws, many times each after the first."""
        problem = observed_problem(self.seed, self.response)
        posterior = approximate_posterior(problem, self.seed)
        self.flux(posterior, "_first")
        with self.compilations("flux_warm"):
            for name, (band, options) in FLUX_TABLES.items():
                self.seconds[f"flux_{name}"] = time_calls(
                    lambda _, band=band, options=options: posterior.flux(*band, **options), range(FLUX_CALLS)
                )

    def analysis(self) -> None:
        """Simulate, sample, compute every flux table: the seed's notebook without its plots."""
        with stopwatch(self.seconds, "simulate"), self.compilations("simulate"):
            observations = self.simulated(1234)
        with stopwatch(self.seconds, "build"), self.compilations("build"):
            problem = Problem(build_model(), observations)
        posterior = self.timed_sample("sample", problem)
        self.flux(posterior)
        self.values["ess_min"] = min(posterior.ess.values())

    def whole_processes(self, arguments: list[str]) -> None:
        """`analysis` in processes of their own, from start to end: with an empty compile cache and with its cache."""
        with tempfile.TemporaryDirectory() as folder:
            for cache in ("cold", "warm"):
                command = [sys.executable, __file__, "analysis", "--cache", folder, *arguments]
                seconds, output = time_process(command, JAXSPEC_CACHE_DIR=folder)
                report = json.loads(output.splitlines()[-1])
                self.seconds |= {f"analysis_{cache}_{stage}": elapsed for stage, elapsed in report["seconds"].items()}
                self.seconds[f"analysis_{cache}_process"] = seconds
                self.values[f"analysis_{cache}"] = report["values"]

    @contextmanager
    def compilations(self, name: str) -> Iterator[None]:
        """Store how many programs the block compiled, or read from the cache on disk."""
        before = len(_compiled)
        yield
        self.values.setdefault("compilations", {})[name] = len(_compiled) - before


_compiled: list[float] = []


def _listen(event: str, duration: float, **_: Any) -> None:
    if event == "/jax/core/compile/backend_compile_duration":
        _compiled.append(duration)


jax.monitoring.register_event_duration_secs_listener(_listen)


def build_model() -> Model:
    """The seed's model with its priors and its linked temperature."""
    return (
        Model(
            PointSource("src1", Blackbody(), ra=1, dec=20),
            PointSource("src2", Blackbody() + PowerLawFlux(a=10, b=500), ra=2, dec=-10),
        )
        .with_priors(
            {
                "src1.blackbody.K": dist.LogNormal(np.log(1e-7), 1),
                "src2.blackbody.K": dist.LogNormal(np.log(1e-6), 1),
                "src2.blackbody.kT": dist.LogNormal(np.log(300), 2),
                "src2.powerlawflux.F": dist.LogNormal(np.log(1e2), 1),
                "src2.powerlawflux.index": dist.Normal(-1.0, 1),
            }
        )
        .link("src1.blackbody.kT", to="src2.blackbody.kT")
    )


def observed_problem(seed: dict[str, Any], response_path: Path) -> Problem:
    """The problem of the two spectra of the file, each assigned to its source."""
    response = Response.from_ogip(response_path)
    observations = []
    for name, spectrum in seed["spectra"].items():
        background = Background(
            np.array(spectrum["background"], float),
            seed["background_exposure_s"],
            back_scale=seed["background_scale"],
        )
        counts = np.array(spectrum["counts"], float)
        observation = Observation(counts, response, seed["exposure_s"], background, name=name)
        observations.append(observation.assign(name.replace("s", "src")))
    return Problem(build_model(), observations)


def approximate_posterior(problem: Problem, seed: dict[str, Any]) -> Posterior:
    """A posterior with draws from its means and deviations, to time flux tables without sampling."""
    moments = {PARAMETERS[short]: pair for short, pair in seed["posterior"]["mean_and_sd"].items()}
    mean, sd = np.array([moments[name] for name in problem.names]).T
    free = np.random.default_rng(0).normal(mean, sd, (FLUX_DRAWS, len(mean)))
    samples = np.asarray(jax.vmap(problem.density.layout.all_values)(free))[None]
    return Posterior.of(problem, samples, method=NUTS(), key=jax.random.key(0), statistics={})


def values_by_short_name(problem: Problem, theta: np.ndarray) -> dict[str, float]:
    """The free parameters under the names of seed_spectra.json."""
    values = dict(zip(problem.names, theta, strict=True))
    return {short: float(values[name]) for short, name in PARAMETERS.items()}


def rows_of(table: Any) -> dict[str, list[float]]:
    """Median, lower and upper bound of each row of a flux table."""
    return {row: [table[column][row].value for column in ("flux", "low bound", "hi bound")] for row in table.index}


def check_log_likelihood(found: dict[str, float], expected: dict[str, float]) -> None:
    """Stop where the likelihood of the seed is wrong: its times would mean nothing."""
    wrong = {name: found[name] for name in expected if abs(found[name] - expected[name]) > 1e-3}
    if wrong:
        raise SystemExit(f"-lnL of jaxspec at the best fit is {wrong}, expected {expected}")


def measure(command: str, benchmark: Benchmark, file_arguments: list[str]) -> None:
    """Run the measurements of one sub-command."""
    if command in ("import", "all"):
        benchmark.imports()
    if command in ("fit", "all"):  # before all else, so that the first fit is the first use of jaxspec
        benchmark.fit()
    if command in ("likelihood", "all"):
        benchmark.likelihood()
    if command in ("sample", "all"):
        benchmark.sample()
    if command in ("flux", "all"):
        benchmark.flux_warm()
    if command == "analysis":
        benchmark.analysis()
    if command in ("processes", "all"):
        benchmark.whole_processes(file_arguments)


def versions() -> dict[str, str]:
    """Of Python and the packages that do the work."""
    packages = ("jax", "jaxlib", "numpyro", "equinox", "numpy", "astropy")
    return {"python": sys.version.split()[0]} | {package: version(package) for package in packages}


def main() -> None:
    """Read the command line, measure, print the report."""
    raw_text = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw_text)
    commands = ("import", "likelihood", "fit", "sample", "flux", "analysis", "processes", "all")
    parser.add_argument("command", choices=commands)
    parser.add_argument("--seed-json", type=Path, default=HERE / "data" / "seed_spectra.json")
    parser.add_argument("--response", type=Path, default=HERE.parent / "notebooks" / "data" / "demo.rsp")
    parser.add_argument(
        "--cache", type=Path, help="folder of compiled programs; by default an empty one, so that 'first' is"
    )
    arguments = parser.parse_args()

    benchmark = Benchmark(json.loads(arguments.seed_json.read_text()), arguments.response)
    files = ["--seed-json", str(arguments.seed_json), "--response", str(arguments.response)]
    with tempfile.TemporaryDirectory() as empty:
        jax.config.update("jax_compilation_cache_dir", str(arguments.cache or empty))
        measure(arguments.command, benchmark, files)
    report = {"seconds": benchmark.seconds, "values": benchmark.values, "versions": versions()}
    print(json.dumps(report, default=float))


if __name__ == "__main__":
    main()
