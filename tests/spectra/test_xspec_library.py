"""Our components against XSPEC's own library, with many values of their parameters: where PyPI's wheel is installed."""

import importlib.util
import json
import os
import subprocess
import sys
import zlib
from pathlib import Path

import jax
import numpy as np
import pytest
from numpy.testing import assert_allclose
from references import tolerance

from jaxspec import parameters
from jaxspec.quadrature import Bins
from jaxspec.spectra._xspec_bins import XspecBins, factor
from jaxspec.spectra._xspec_forms import FORMS, form_class

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("xspectrampoline") is None,
    reason="XSPEC's library is not installed: pip install xspectrampoline (test only, Linux on x86-64)",
)

N = 4  # sets of parameters of each component
EDGES = np.exp(np.arange(np.log(0.12), np.log(90.0), 0.004))
BINS, MIDDLE = Bins.of(EDGES[:-1], EDGES[1:], 5), np.sqrt(EDGES[1:] * EDGES[:-1])
# XSPEC cuts the wings of lines that velocities broaden (`test_plasma` has a sum of Gaussians).
NAMES = [
    name for name in FORMS if form_class(name).kind != "convolution" and not (FORMS[name].reads and name[0] == "b")
]

# Place among XSPEC's parameters, and default.
SWITCHES = {"comptt": (4, 1.0), "nthcomp": (3, 0.0), "tbvarabs": (23, 1.0), "zdust": (0, 1.0)}


def draw(name, random):
    """Values around the defaults, inside the bounds."""
    component = form_class(name)()
    values = []
    for field, declared in parameters.declarations(component).items():
        start = getattr(component, field)
        if field.lower() == "redshift":
            value = random.choice([0.0, 0.3, 2.0])
        elif field == "norm":
            value = 1.0
        elif field == "PL":
            value = random.uniform(2.5, 3.9)  # from 4, XSPEC ends the process
        else:
            start = 0.1 if name.endswith("gabs") and field == "Sigma" else start  # wider than a bin, narrower than E
            value = start * random.uniform(0.75, 1.45) if start else random.uniform(0, 0.5)
        low, high = declared.bounds
        values.append(float(np.clip(value, low, high)))
    return values


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """For each component: sets of parameters, and XSPEC's values in each bin."""
    # A seed for each name: another name does not change the values of the others.
    seeds = {name: np.random.default_rng(zlib.crc32(name.encode())) for name in NAMES}
    sets = [(name, draw(name, seeds[name])) for name in NAMES for _ in range(N)]
    answer = tmp_path_factory.mktemp("xspec") / "answer.json"
    # XSPEC multiplies by the norm elsewhere.
    plain = [(name, values[:-1] if form_class(name).kind == "additive" else [*values]) for name, values in sets]
    for name, values in plain:
        if name in SWITCHES:
            values.insert(*SWITCHES[name])
    subprocess.run(
        [sys.executable, str(Path(__file__).parent / "call_xspec.py")],
        input=json.dumps(
            {"edges": list(EDGES), "runs": plain, "answer": str(answer), "plasma": f"{os.environ['ATOMDB']}/apec"}
        ),
        text=True,
        check=True,
        capture_output=True,
    )
    table = {}
    for (name, values), found in zip(sets, json.loads(answer.read_text())):
        table.setdefault(name, []).append((values, np.array(found)))
    return table


@jax.jit
def _in_bins(spectrum):
    return XspecBins()(spectrum).integral(BINS) if spectrum.kind == "additive" else factor(spectrum, BINS, MIDDLE)


@pytest.mark.parametrize("name", NAMES)
def test_values_agree_with_xspec(name, runs):
    for values, expected in runs[name]:
        found = np.asarray(_in_bins(form_class(name)(*values)))
        seen = expected > 1e-6 * expected.max()
        ratio = found[seen] / expected[seen] - 1
        # One bin in two hundred may hold a threshold, where the rules for bins differ.
        worst = np.sort(np.abs(ratio))[: len(ratio) - len(ratio) // 200 - 2]
        assert_allclose(worst, 0.0, atol=tolerance(name, 1), err_msg=f"{name} {values}")
