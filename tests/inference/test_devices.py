"""Many fits on several devices of one process, which a CPU can pretend to have."""

import os
import subprocess
import sys

import numpy as np
from numpy.testing import assert_allclose

from jaxspec import Model, Observation, PointSource, Response, fit_each
from jaxspec.inference._together import starting_points
from jaxspec.spectra import PowerLaw
from jaxspec.stack import Stacker


def numbers():
    """Of 20 power laws in 8 channels of 1 keV: how many devices take part, and best values with their errors."""
    response = Response.diagonal(np.arange(1.0, 10.0))
    counts = np.random.default_rng(1).poisson(50.0, (20, 8))
    seen = [Observation(each, response, 1.0, name=str(i)) for i, each in enumerate(counts)]
    model = Model(PointSource("a", PowerLaw(K=50.0, index=-0.1)))
    stacker = Stacker(model)
    ((_, stacked),) = stacker.stacks([stacker.seen([observation]) for observation in seen], {})
    rows = fit_each(model, seen).rows
    return len(starting_points(stacked).sharding.device_set), np.concatenate([rows.values, rows.errors], axis=1)


if __name__ == "__main__":
    np.savez(sys.argv[1], *numbers())


def test_two_devices_give_the_numbers_of_one(tmp_path):
    path = tmp_path / "numbers.npz"
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=2"
    subprocess.run([sys.executable, __file__, str(path)], env={**os.environ, "XLA_FLAGS": flags}, check=True)
    (devices, values), there = numbers(), np.load(path)
    assert (devices, there["arr_0"]) == (1, 2)
    assert_allclose(there["arr_1"], values, rtol=1e-9)
