"""Programs kept on disk are found again by another process, and no others."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import numpyro.distributions as dist
import pytest

from jaxspec import Model, Observation, PointSource, Problem, Response, programs
from jaxspec.spectra import AbstractAdditive, Band, Blackbody, PowerLaw, xspec

ROOT = Path(__file__).parents[2]

PROGRAM = """
import hashlib, jax, numpy as np
import numpyro.distributions as dist
from jaxspec import Model, Observation, PointSource, Problem, Response
from jaxspec.inference import _optimum
from jaxspec.spectra import PowerLaw

response = Response.diagonal(np.geomspace(1.0, 10.0, 9), area=10.0)
model = Model(PointSource("src", PowerLaw())).with_priors(
    {"src.powerlaw.K": dist.LogNormal(0.0, 1.0), "src.powerlaw.index": dist.TruncatedNormal(-2, 1, low=-5, high=0)})
density = Problem(model, Observation(np.ones(8), response, 1.0)).density
print(hashlib.sha256(_optimum.climb.lower(density, np.zeros((8, 2)), "sampled", 200, 8).as_text().encode()).hexdigest())
"""


def test_the_order_of_strings_in_a_process_does_not_change_the_program():
    # numpyro lists the fields of a distribution in the order of a set of strings, which these seeds make differ.
    runs = [
        subprocess.run(
            [sys.executable, "-c", PROGRAM],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        for seed in ("11", "12")
    ]
    assert all(run.returncode == 0 for run in runs), runs[0].stderr + runs[1].stderr
    assert runs[0].stdout == runs[1].stdout


AGAIN = """
import warnings
import numpy as np
import numpyro.distributions as dist
from jaxspec import Model, NUTS, Observation, PointSource, Problem, Response, fit, programs, sample
from jaxspec.spectra import PowerLaw
import jax, sys

if len(sys.argv) > 1:  # the second process: to compile is an error
    programs.Program._compiled = None
warnings.simplefilter("ignore")
model = Model(PointSource("src", PowerLaw())).with_priors(
    {"src.powerlaw.K": dist.LogNormal(0.0, 1.0), "src.powerlaw.index": dist.TruncatedNormal(-2, 1, low=-5, high=0)})
problem = Problem(model, Observation(np.arange(8.0), Response.diagonal(np.geomspace(1.0, 10.0, 9)), 1.0))
posterior = sample(problem, NUTS(warmup=50, draws=50, chains=1), key=jax.random.key(0))
print(list(fit(problem).values.values()), posterior.table().to_json())
"""


def test_a_second_process_neither_traces_nor_compiles_the_large_programs(tmp_path):
    environment = {**os.environ, "JAXSPEC_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    runs = [
        subprocess.run(
            [sys.executable, "-c", AGAIN, *more],
            env={**environment, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=False,
        )
        for seed, more in (("11", []), ("12", ["again"]))
    ]
    assert all(run.returncode == 0 for run in runs), runs[0].stderr + runs[1].stderr
    assert runs[0].stdout == runs[1].stdout != ""


def words(model):
    density = Problem(model, Observation(np.ones(8), Response.diagonal(np.geomspace(1.0, 10.0, 9)), 1.0)).density
    return list(programs._described({"density": density}))


def test_a_program_is_known_by_structure_not_by_numbers():
    plain = Model(PointSource("a", PowerLaw() + Blackbody()))
    index, temperature = "a.powerlaw.index", "a.blackbody.kT"
    same = Model(PointSource("b", PowerLaw(K=3.0, name="other") + Blackbody(kT=7.0)))
    others = [
        Model(PointSource("a", Band() + Blackbody())),
        plain.freeze(index),
        plain.with_bounds({temperature: (1.0, 90.0)}),
        plain.with_priors({temperature: dist.LogNormal(0.0, 1.0)}),
        plain.with_priors({temperature: dist.LogUniform(1.0, 2.0)}),
        plain.with_priors({index: dist.Normal(0.0, 1.0)}),
        Model(PointSource("a", xspec("powerlaw + bbody"))),
        plain.link(temperature, index, lambda x: -x),
        plain.link(temperature, index, lambda x: -2 * x),
    ]
    assert words(same) == words(plain)
    assert len({tuple(words(model)) for model in (plain, *others)}) == 10


def test_arrays_of_numpy_and_of_jax_are_one_program():
    assert programs._kind(np.ones(3)) == programs._kind(jax.numpy.ones(3))
    assert programs._kind(np.True_) == programs._kind(jax.numpy.asarray(True))
    assert programs._kind(1.0) != programs._kind(np.float64(1.0))  # which JAX traces apart


def test_code_that_is_not_ours_is_not_known_by_its_name():
    class Flat(AbstractAdditive):
        """A user's own."""

        K: float = 1.0

        def evaluate(self, energy):
            return self.K * jax.numpy.ones_like(energy)

    with pytest.raises(programs._CannotTellError):
        words(Model(PointSource("a", PowerLaw() + Flat())))
