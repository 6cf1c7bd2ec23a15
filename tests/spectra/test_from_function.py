"""A component from a plain function: what it does, where it works, what is refused."""

import json
import os
import subprocess
import sys
from math import inf
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

import jaxspec
from jaxspec import Model, Observation, PointSource, Problem, Response, fit, load
from jaxspec.quadrature import Bins
from jaxspec.spectra import CutoffPowerLaw, PowerLaw, from_function, parameter

EDGES = np.geomspace(1.0, 300.0, 31)
BINS = Bins.of(EDGES[:-1], EDGES[1:])
TABLE = {
    "K": parameter(1.0, unit="1 / (cm2 s keV)", bounds=(0, inf), doc="N at 1 keV"),
    "index": parameter(-1.0, bounds=(-10, 10), doc="index"),
    "cutoff": parameter(100.0, unit="keV", bounds=(1, 1e5), doc="e-fold energy", free=False),
}


def cut(energy, K, index, cutoff):
    """A power law with a cut-off."""
    return K * energy**index * jnp.exp(-energy / cutoff)


Cut = from_function(cut, TABLE)


def ramp(energy, height):
    """Not a formula of elementary functions."""
    return height * jnp.interp(energy, jnp.array([1.0, 300.0]), jnp.array([0.0, 1.0]))


Ramp = from_function(ramp, {"height": parameter(1.0, free=False)}, kind="multiplicative")


AT = {"a.cut.K": 1.5, "a.cut.index": -1.1}


def problem_of(spectrum, shift=0.0):
    counts = np.arange(40.0, 10.0, -1.0) + shift
    return Problem(
        Model(PointSource("a", spectrum)), [Observation(counts, Response.diagonal(EDGES, area=2.0), 9.0, name="o")]
    )


def test_it_is_a_component_like_any_other():
    spectrum = Cut(K=2.0, index=-1.3, cutoff=80.0)
    ours = CutoffPowerLaw(K=2.0, index=-1.3, cutoff=80.0)
    assert_allclose(spectrum(EDGES), ours(EDGES), rtol=1e-13)
    assert_allclose(spectrum.integral(BINS, 1), ours.integral(BINS, 1), rtol=1e-13)
    assert_allclose(jax.grad(lambda s: s(30.0))(spectrum).cutoff, jax.grad(lambda s: s(30.0))(ours).cutoff, rtol=1e-12)
    assert repr(spectrum) == "cut(K=2, index=-1.3, cutoff=80)"
    assert Cut.__doc__ == "A power law with a cut-off."
    rows = Model(PointSource("a", Cut() + PowerLaw())).parameters
    assert (rows["a.cut.cutoff"].unit, rows["a.cut.cutoff"].bounds, rows["a.cut.cutoff"].free) == (
        "keV",
        (1, 1e5),
        False,
    )
    with pytest.raises(ValueError, match=r"cut: cutoff = 0 keV lies outside its bounds \(1, 100000\)"):
        Cut(cutoff=0)


def test_it_may_multiply():
    assert_allclose((Ramp() * Cut())(np.array([150.5])), 0.5 * Cut()(np.array([150.5])), rtol=1e-12)


def test_a_lambda_needs_a_name():
    flat = from_function(lambda energy, K: K + 0 * energy, {"K": parameter(3.0)}, name="Flat")
    assert list((flat() + Cut()).components()) == ["flat", "cut"]


def test_the_same_function_is_the_same_class(compilations):
    fit(problem_of(Cut()))
    with compilations.none():
        fit(problem_of(from_function(cut, TABLE)(K=2.0), shift=1.0))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((cut, TABLE, "convolution"), ValueError, "kind is 'additive' or 'multiplicative', got 'convolution'"),
        ((lambda energy: energy, {}), ValueError, "has no name that a component could have: give name="),
        ((cut, {"K": TABLE["K"]}), ValueError, r"takes the energy and \['K', 'index', 'cutoff'\], but the table has"),
        ((ramp, {"height": 1.0}), TypeError, r"must have a parameter\(\.\.\.\) for 'height', got 1\.0"),
    ],
)
def test_what_cannot_be_a_component_is_an_error(arguments, error, message):
    with pytest.raises(error, match=message):
        from_function(*arguments)


def test_a_saved_result_needs_no_definition_of_an_elementary_function(tmp_path):
    best = fit(problem_of(Cut()))
    best.save(tmp_path / "best.nc")
    again = load(tmp_path / "best.nc")
    again.save(tmp_path / "again.nc")
    assert again.problem.model.parameters["a.cut.cutoff"].unit == "keV"
    code = f"""
import json, jaxspec
best = jaxspec.load({str(tmp_path / "again.nc")!r})
print(json.dumps([float(best.problem.log_likelihood({AT})), repr(best.problem.model)]))
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(jaxspec.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    value, text = json.loads(done.stdout.splitlines()[-1])
    assert_allclose(value, best.problem.log_likelihood(AT), rtol=1e-13)
    assert text == repr(best.problem.model)


def test_one_that_is_not_elementary_is_found_where_it_was_defined(tmp_path):
    problem = problem_of(Ramp() * Cut())
    best = fit(problem)
    best.save(tmp_path / "best.nc")
    back = load(tmp_path / "best.nc")
    assert_allclose(back.problem.log_likelihood(AT), problem.log_likelihood(AT), rtol=1e-13)
