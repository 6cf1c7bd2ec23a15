"""Programs kept on disk are found again by another process."""

import os
import subprocess
import sys
from pathlib import Path

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
print(hashlib.sha256(_optimum.climb.lower(density, np.zeros((8, 2)), "sampled").as_text().encode()).hexdigest())
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
