"""Long runs of samplers that are stopped: what they give back, and how they go on."""

import itertools
import json
import signal
import warnings

import jax
import numpy as np
import numpyro.distributions as dist
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from jaxspec import NUTS, Model, NestedSlice, Observation, PointSource, Problem, Response, UltraNest, sample
from jaxspec.inference import _nested
from jaxspec.results import _checkpoint
from jaxspec.results._checkpoint import Journal
from jaxspec.spectra import PowerLaw

METHODS = {  # those of test_slices.py, which are compiled already
    "nuts": NUTS(),
    "slices": NestedSlice(live_points=600),
    "ultranest": UltraNest(live_points=60, frac_remain=0.5, min_ess=50, dlogz=2.0),
}


@pytest.fixture(scope="module")
def two():
    """Two parameters: scale and index, in ten channels with 85 counts."""
    model = Model(PointSource("a", PowerLaw(pivot=5.0)))
    priors = {"a.powerlaw.K": dist.LogNormal(2.0, 1.0), "a.powerlaw.index": dist.Normal(0.0, 1.0)}
    seen = Observation(np.arange(4.0, 14.0), Response.diagonal(np.arange(1.0, 12.0)), 1.0, name="seen")
    return Problem(model.with_priors(priors), seen)


@pytest.fixture(autouse=True)
def quiet():
    """Few draws have troubles."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def failing_after(function, calls, fail):
    """The function, which after so many calls does something else first, once."""
    number = itertools.count()

    def wrapped(*arguments, **settings):
        if next(number) == calls:
            fail()
        return function(*arguments, **settings)

    return wrapped


class Killed(BaseException):
    """What a process that is killed does not catch."""


def kill():
    raise Killed


@pytest.mark.parametrize("name", METHODS)
def test_a_run_that_was_killed_goes_on_and_changes_no_number(name, two, tmp_path, monkeypatch, compilations):
    file = tmp_path / "run.jsonl"
    whole = sample(two, METHODS[name], key=jax.random.key(1))
    with monkeypatch.context() as patch:
        patch.setattr(Journal, "step", failing_after(Journal.step, 2, kill))
        with pytest.raises(Killed):
            sample(two, METHODS[name], key=jax.random.key(1), file=file)
    assert len(file.read_text().splitlines()) == 3  # the head, and two steps
    with file.open("a") as stream:
        stream.write('[{"type": "<f8", "sha')  # what a killed process leaves
    with compilations.none():
        again = sample(two, METHODS[name], key=jax.random.key(1), file=file)
    assert_array_equal(again.samples, whole.samples)
    assert again.statistics == whole.statistics
    assert again.log_evidence == whole.log_evidence
    with monkeypatch.context() as patch:
        patch.setattr(_checkpoint, "_data", kill)  # of what is finished, nothing is made again
        assert_array_equal(sample(two, METHODS[name], key=jax.random.key(1), file=file).samples, whole.samples)


def test_a_file_of_another_run_is_refused(two, tmp_path):
    method, file = METHODS["slices"], tmp_path / "run.jsonl"
    sample(two, method, key=jax.random.key(1), file=file)
    other = two.model.with_priors({"a.powerlaw.index": dist.Normal(0.0, 1.1)})
    changed = {
        "key": (two, method, 2),
        "method": (two, NestedSlice(live_points=601), 1),
        "prior": (Problem(other, two.observations), method, 1),
        "data": (Problem(two.model, two.observations[0].ignore("1-2 keV")), method, 1),
    }
    for problem, settings, key in changed.values():
        with pytest.raises(ValueError, match=r"not of this run: model, settings or data differ\. Give another"):
            sample(problem, settings, key=jax.random.key(key), file=file)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        sample(two, method, key=jax.random.key(1), file=tmp_path / "nowhere/run.jsonl")
    (tmp_path / "notes.txt").write_text("not ours\n")
    with pytest.raises(ValueError, match="not of this run"):
        sample(two, method, key=jax.random.key(1), file=tmp_path / "notes.txt")


def test_likelihoods_of_other_points_are_not_taken(two, tmp_path):
    method, file = METHODS["ultranest"], tmp_path / "run.jsonl"
    sample(two, method, key=jax.random.key(1), file=file)
    head, first, second, *others = file.read_text().splitlines()
    assert json.loads(first) != json.loads(second)
    file.write_text("\n".join([head, second, first, *others]) + "\n")
    with pytest.raises(ValueError, match="UltraNest goes another way than when the file was begun"):
        sample(two, method, key=jax.random.key(1), file=file)


def test_an_interrupt_of_ultranest_gives_back_what_was_drawn(two, tmp_path, monkeypatch):
    method, file = METHODS["ultranest"], tmp_path / "run.jsonl"
    handler = signal.getsignal(signal.SIGINT)
    whole = sample(two, method, key=jax.random.key(1))
    with monkeypatch.context() as patch:
        interrupted = failing_after(_nested._log_likelihoods, 5, lambda: signal.raise_signal(signal.SIGINT))
        patch.setattr(_nested, "_log_likelihoods", interrupted)
        posterior = sample(two, method, key=jax.random.key(1), file=file)
    assert posterior.troubles[0].startswith("interrupted: these are the ")
    assert 30 < posterior.statistics["likelihood_calls"] < whole.statistics["likelihood_calls"]
    assert_allclose(posterior.log_evidence[0], whole.log_evidence[0], atol=5.0)
    assert signal.getsignal(signal.SIGINT) is handler
    assert_array_equal(sample(two, method, key=jax.random.key(1), file=file).samples, whole.samples)
