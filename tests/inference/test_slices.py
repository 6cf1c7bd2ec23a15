"""Nested slice sampling against closed forms and quadrature; interrupted samplers; what it says without its package."""

import sys
import warnings

import jax
import numpy as np
import numpyro.distributions as dist
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import special, stats

from jaxspec import NUTS, Model, NestedSlice, Observation, PointSource, Problem, Response, load, sample
from jaxspec.inference import _nuts, _slices
from jaxspec.spectra import PowerLaw


@pytest.fixture(scope="module")
def two():
    """Two parameters: scale and index, in ten channels with 85 counts."""
    model = Model(PointSource("a", PowerLaw(pivot=5.0)))
    priors = {"a.powerlaw.K": dist.LogNormal(2.0, 1.0), "a.powerlaw.index": dist.Normal(0.0, 1.0)}
    seen = Observation(np.arange(4.0, 14.0), Response.diagonal(np.arange(1.0, 12.0)), 1.0)
    return Problem(model.with_priors(priors), seen)


@pytest.fixture(scope="module")
def nested(two):
    return sample(two, NestedSlice(live_points=600), key=jax.random.key(1))


def quadrature(problem):
    """ln Z and the moments of the posterior by sums over a grid, by numpy and scipy alone."""
    counts = problem.observations[0].counts
    logs, index = np.meshgrid(np.linspace(0.5, 3.5, 401), np.linspace(-2.0, 3.5, 401), indexing="ij")
    edges = np.arange(1.0, 12.0) / 5.0
    powers = index[..., None] + 1
    primitive = np.where(abs(powers) < 1e-9, np.log(edges), edges ** np.where(powers == 0, 1, powers) / powers)
    mean = np.exp(logs)[..., None] * 5.0 * np.diff(primitive, axis=-1)
    log_likelihood = stats.poisson.logpmf(counts, mean).sum(axis=-1)
    log_posterior = log_likelihood + stats.norm.logpdf(logs, 2.0, 1.0) + stats.norm.logpdf(index)
    cell = (logs[1, 0] - logs[0, 0]) * (index[0, 1] - index[0, 0])
    weights = special.softmax(log_posterior)
    moments = [(np.sum(weights * x), np.sqrt(np.sum(weights * x**2) - np.sum(weights * x) ** 2)) for x in (logs, index)]
    return special.logsumexp(log_posterior) + np.log(cell), moments


def test_the_evidence_of_two_parameters_is_that_of_quadrature(two, nested):
    exact, _ = quadrature(two)
    others = [sample(two, NestedSlice(live_points=600), key=jax.random.key(key)) for key in (2, 3, 4)]
    values, errors = zip(*(each.log_evidence for each in (nested, *others)))
    assert_allclose(np.mean(values), exact, atol=0.1, rtol=0)
    assert 0.01 < min(errors) < max(errors) < 0.15


def test_its_posterior_and_that_of_nuts_are_those_of_quadrature(two, nested):
    _, moments = quadrature(two)
    for posterior in (nested, sample(two, NUTS(), key=jax.random.key(2))):
        draws = np.log(posterior.draws("a.powerlaw.K")), posterior.draws("a.powerlaw.index")
        for found, (mean, sd) in zip(draws, moments):
            assert abs(found.mean() - mean) < 0.1 * sd
            assert_allclose(found.std(), sd, rtol=0.06)


def test_the_evidence_of_the_seed_is_that_of_importance_sampling(seed_problem):
    # -1339.412 +- 0.003 by importance sampling, 200,000 draws from a broadened normal approximation.
    posterior = sample(seed_problem, NestedSlice(live_points=150, batch=30, moves=1), key=jax.random.key(3))
    value, error = posterior.log_evidence
    assert 0.2 < error < 0.6
    assert_allclose(value, -1339.412, atol=3 * error, rtol=0)
    assert posterior.statistics["ess"] > 400


def test_the_same_key_gives_the_same_draws_and_compiles_nothing(two, nested, compilations):
    with compilations.none():
        again = sample(two, NestedSlice(live_points=600), key=jax.random.key(1))
        other = sample(two, NestedSlice(live_points=600), key=jax.random.key(2))
    assert_array_equal(again.samples, nested.samples)
    assert other.log_evidence != nested.log_evidence


def test_a_file_keeps_the_method(nested, tmp_path):
    nested.save(tmp_path / "nested.nc")
    loaded = load(tmp_path / "nested.nc")
    assert loaded.method == NestedSlice(live_points=600)
    assert loaded.log_evidence == nested.log_evidence


def test_without_blackjax_the_error_names_the_extra(two, monkeypatch):
    monkeypatch.setitem(sys.modules, "blackjax", None)
    with pytest.raises(ImportError, match=r"NestedSlice is an extra: pip install 'jaxspec-engine\[blackjax\]'"):
        sample(two, NestedSlice(), key=jax.random.key(0))


# -- interrupts --------------------------------------------------------------------------------------------------------


def interrupted_after(function, calls):
    """The function, which is interrupted from the keyboard after so many calls."""
    left = iter(range(calls))

    def wrapped(*arguments, **settings):
        if next(left, None) is None:
            raise KeyboardInterrupt
        return function(*arguments, **settings)

    return wrapped


def test_an_interrupt_of_nuts_gives_back_what_was_drawn(two, monkeypatch):
    monkeypatch.setattr(_nuts, "compile_ahead", lambda *arguments: None)
    monkeypatch.setattr(_nuts, "_chunk", interrupted_after(_nuts._chunk, 8 * 4))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")  # so few draws have other troubles too
        posterior = sample(two, NUTS(warmup=300, draws=1000), key=jax.random.key(0))
    assert str(caught[0].message) == "sample: interrupted: these are the 100 draws made until then"
    assert posterior.samples.shape[:2] == (4, 100)
    assert np.isfinite(posterior.samples).all()


def test_an_interrupt_of_the_warm_up_is_passed_on(two, monkeypatch):
    monkeypatch.setattr(_nuts, "compile_ahead", lambda *arguments: None)
    monkeypatch.setattr(_nuts, "_chunk", interrupted_after(_nuts._chunk, 6 * 4))
    with pytest.raises(KeyboardInterrupt):
        sample(two, NUTS(warmup=300, draws=1000), key=jax.random.key(0))


def test_an_interrupt_of_nested_sampling_weighs_what_there_is(two, nested, monkeypatch):
    monkeypatch.setattr(_slices, "_go_on", interrupted_after(_slices._go_on, 1))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        posterior = sample(two, NestedSlice(live_points=600), key=jax.random.key(1))
    assert any("sample: interrupted" in str(each.message) for each in caught)
    assert_allclose(posterior.log_evidence[0], nested.log_evidence[0], atol=2.0)


def test_walks_forget_what_does_not_correlate_with_their_start(nested):
    rng = np.random.default_rng(0)
    starts, others = rng.normal(3.0, 2.0, (2, 4000, 2))
    ends = 3.0 + 0.6 * (starts - 3.0) + 0.8 * (others - 3.0)
    points, alive = np.append(starts, [[99.0, 99.0]], axis=0), np.arange(4001) < 4000
    assert_allclose(_slices._forgotten(starts, ends, points, alive), 0.4, atol=0.03)
    assert _slices._forgotten(starts, starts, points, alive) == 0.0
    assert 0.8 < nested.statistics["forgotten"] < 1.1


def test_weights_of_a_known_volume_give_the_known_evidence():
    # L = x in one dimension, x uniform: Z = 1/2. Points die in order, 100 alive, 10 at a time.
    settings = NestedSlice(live_points=100, batch=10)
    rng = np.random.default_rng(0)
    live, batches = np.sort(rng.random(100)), []
    for _ in range(60):
        batches.append(np.log(live[:10]))
        live = np.sort(np.concatenate([live[10:], rng.uniform(live[9], 1, 10)]))
    found = _slices._weighed(settings, np.zeros((700, 1)), batches, np.log(live), rng)
    assert_allclose(found.log_evidence, np.log(0.5), atol=3 * found.log_evidence_error)
    assert 0.01 < found.log_evidence_error < 0.1
