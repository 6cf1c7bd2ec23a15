"""The seed analysis, fitted and sampled once for all tests; the real files; a counter of compilations."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from types import SimpleNamespace

# Most of the time of the tests is compilation, which this halves (see `jaxspec.programs.program`).
_FLAGS = "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
os.environ["XLA_FLAGS"] = f"{_FLAGS} {os.environ.get('XLA_FLAGS', '')}"

import jax
import numpy as np
import numpyro.distributions as dist
import pytest

import jaxspec
import jaxspec.programs
from jaxspec import NUTS, Background, Model, Observation, PointSource, Problem, Response, UltraNest
from jaxspec.spectra import Blackbody, PowerLawFlux

jaxspec.programs.keeping = False  # a test that changes a constant of the package would leave its program to others

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared" / "data"
SEED = json.loads((ROOT / "benchmarks/data/seed_spectra.json").read_text())
NAMES = {  # of the seed's free parameters, by the names that the reference uses
    "src1 K": "src1.blackbody.K",
    "src2 K": "src2.blackbody.K",
    "kT": "src2.blackbody.kT",
    "src2 F": "src2.powerlawflux.F",
    "src2 index": "src2.powerlawflux.index",
}


def pytest_collection_modifyitems(items):
    """Notebooks first: they take longest, and the worker that has them last would work alone."""
    items.sort(key=lambda item: "test_notebooks" not in item.nodeid)


@pytest.fixture(scope="session")
def reference():
    """The seed's answers (3ML 2.6.1 with Minuit, reproduced by an independent script), with our parameter names."""
    best, posterior = SEED["maximum_likelihood"], SEED["posterior"]
    return SimpleNamespace(
        values={NAMES[key]: value for key, value in best["values"].items()},
        errors={NAMES[key]: value for key, value in best["profile_errors_1sigma"].items()},
        minus_log_likelihood=best["minus_lnL"],
        mean_and_sd={NAMES[key]: value for key, value in posterior["mean_and_sd"].items()},
        log_evidence=posterior["lnZ"],
    )


@pytest.fixture(scope="session")
def files():
    """The folder of real files that are not part of the repository."""
    if not SHARED.is_dir():
        pytest.skip(f"the real files are not at {SHARED}")
    return SHARED


@pytest.fixture(scope="session")
def demo():
    """The response of the seed analysis: 128 channels, 140 photon bins."""
    return Response.from_ogip(ROOT / "notebooks/data/demo.rsp")


@pytest.fixture(scope="session")
def seed_observations(demo):
    def observation(name, source):
        spectrum = SEED["spectra"][name]
        background = Background(np.array(spectrum["background"], float), SEED["background_exposure_s"])
        counts = np.array(spectrum["counts"], float)
        return Observation(counts, demo, SEED["exposure_s"], background, name=name).assign(source)

    return [observation("s1", "src1"), observation("s2", "src2")]


@pytest.fixture(scope="session")
def seed_priors():
    return {
        "src1.blackbody.K": dist.LogNormal(np.log(1e-7), 1),
        "src2.blackbody.K": dist.LogNormal(np.log(1e-6), 1),
        "src2.blackbody.kT": dist.LogNormal(np.log(300), 2),
        "src2.powerlawflux.F": dist.LogNormal(np.log(100), 1),
        "src2.powerlawflux.index": dist.Normal(-1, 1),
    }


@pytest.fixture(scope="session")
def seed_model(seed_priors):
    return (
        Model(
            PointSource("src1", Blackbody(), ra=1, dec=20),
            PointSource("src2", Blackbody() + PowerLawFlux(a=10, b=500), ra=2, dec=-10),
        )
        .with_priors(seed_priors)
        .link("src1.blackbody.kT", to="src2.blackbody.kT")
    )


@pytest.fixture(scope="session")
def seed_problem(seed_model, seed_observations):
    return Problem(seed_model, seed_observations)


@pytest.fixture(scope="session")
def seed_fit(seed_problem):
    return jaxspec.fit(seed_problem)


@pytest.fixture(scope="session")
def seed_posterior(seed_problem):
    return jaxspec.sample(seed_problem, NUTS(), key=jax.random.key(7))


@pytest.fixture(scope="session")
def seed_nested(seed_problem):
    """Sampled with the settings of the seed's notebook."""
    return jaxspec.sample(seed_problem, UltraNest(frac_remain=0.5), key=jax.random.key(7))


@pytest.fixture(scope="session")
def gbm(files):
    """GRB 090217 as the reference selects it: two NaI detectors and one BGO."""

    def load(detector):
        path = files / f"gbm_bn090217206/bn090217206_{detector}_srcspectra.pha"
        ranges = ["250-43000 keV"] if detector == "b1" else ["10-30 keV", "40-950 keV"]
        return Observation.from_ogip(path, name=detector).notice(*ranges)

    return {detector: load(detector) for detector in ("n6", "n9", "b1")}


class Compilations:
    """How many programs JAX has compiled, or read from its cache on disk, since the start of the tests."""

    def __init__(self):
        self.count = 0
        jax.monitoring.register_event_duration_secs_listener(self._heard)

    def _heard(self, event, duration, **_):
        self.count += event == "/jax/core/compile/backend_compile_duration"

    @contextlib.contextmanager
    def none(self):
        """Fails where something is compiled inside."""
        before = self.count
        yield
        assert self.count == before, f"{self.count - before} programs were compiled"


@pytest.fixture(scope="session")
def compilations():
    return Compilations()
