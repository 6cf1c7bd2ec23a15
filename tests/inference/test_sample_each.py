"""Posteriors of many spectra at once: each row is the posterior of that spectrum alone; evidences in closed form."""

import warnings

import jax
import numpy as np
import numpyro.distributions as dist
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import gammaln, logsumexp
from scipy.stats import gamma, nbinom, norm

from jaxspec import (
    NUTS,
    Model,
    NestedSlice,
    Observation,
    PointSource,
    Posterior,
    Problem,
    Response,
    compare,
    fit_each,
    sample,
    sample_each,
    simulate_each,
)
from jaxspec.inference import _population
from jaxspec.spectra import PowerLaw

K, INDEX = "src.powerlaw.K", "src.powerlaw.index"
FLUX = {"F": (100, 1e4, "erg / (cm2 s)")}
SHORT = NUTS(draws=300, warmup=150, chains=2)


@pytest.fixture(scope="module")
def model():
    plain = Model(PointSource("src", PowerLaw(K=1e-3, index=-1.6, pivot=1000)))
    return plain.with_priors({K: dist.LogNormal(-6, 2), INDEX: dist.Normal(-2, 1)})


@pytest.fixture(scope="module")
def observations(model, demo):
    rng = np.random.default_rng(5)
    truth = {K: 2e-4 * np.exp(rng.normal(0, 0.5, 12)), INDEX: rng.normal(-1.8, 0.2, 12)}
    return simulate_each(model, truth, demo, 10, np.full(128, 20.0), key=jax.random.key(1))


@pytest.fixture(scope="module")
def catalogue(model, observations):
    return sample_each(model, observations, SHORT, key=jax.random.key(0), flux=FLUX)


def test_a_row_is_the_posterior_of_that_spectrum_alone(catalogue, model, observations):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of few draws: a deviation of 600 is known to a fifteenth
        alone = sample(Problem(model, observations[3]), SHORT, key=jax.random.key(1))
    row = catalogue.table().loc["3"]
    for name in (K, INDEX):
        table = alone.table().loc[name]
        assert abs(row[name] - table["median"]) < 0.25 * table["sd"]
        assert_allclose(row[f"{name} error"], table["sd"], rtol=0.25)
    assert_allclose(row["F error"], alone.flux_draws(*FLUX["F"])["src: total"].std(), rtol=0.25)


def test_a_row_opens_as_an_ordinary_posterior(catalogue):
    posterior, row = catalogue["5"], catalogue.table().loc["5"]
    assert isinstance(posterior, Posterior)
    assert posterior.samples.shape == (2, 300, 3)
    assert_allclose([row[K], row[f"{K} error"]], [np.median(posterior.draws(K)), posterior.draws(K).std()], rtol=1e-12)
    assert_allclose(row["F"], np.median(posterior.flux_draws(*FLUX["F"])["src: total"]), rtol=1e-9)
    assert_allclose([row["R-hat"], row["ESS"]], [max(posterior.r_hat.values()), min(posterior.ess.values())], rtol=1e-9)
    assert row["trouble"] == "; ".join(posterior.troubles)
    assert posterior.log_evidence == (row["ln Z"], row["ln Z error"])


def test_chunks_and_what_they_are_drawn_with_change_no_number(monkeypatch, model, observations, catalogue):
    monkeypatch.setattr(_population, "CHUNK", 5)
    pieces = sample_each(model, observations, SHORT, key=jax.random.key(0), flux=FLUX)
    assert_array_equal(pieces.rows.draws, catalogue.rows.draws)
    assert_array_equal(pieces.rows.log_evidence, catalogue.rows.log_evidence)
    other = sample_each(model, observations[:2], SHORT, key=jax.random.key(3), flux=FLUX)
    assert np.all(other.rows.draws != catalogue.rows.draws[:2])


def test_other_data_compile_nothing(model, observations, catalogue, compilations):
    with compilations.none():
        sample_each(model, observations[::-1], SHORT, key=jax.random.key(7), flux=FLUX)


def test_a_run_goes_on_from_its_file_and_a_spectrum_that_fails_says_so(
    tmp_path, monkeypatch, model, observations, demo
):
    monkeypatch.setattr(_population, "CHUNK", 2)
    wrong = Observation(np.ones(128), demo, 10, errors=np.zeros(128), name="wrong")
    entries, file = [*observations[:3], wrong], tmp_path / "run.jsonl"
    whole = sample_each(model, entries, SHORT, key=jax.random.key(0), flux=FLUX, file=file)
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(lines[:2]))
    again = sample_each(model, entries, SHORT, key=jax.random.key(0), flux=FLUX, file=file)
    assert_array_equal(again.rows.draws, whole.rows.draws)
    assert len(file.read_text().splitlines()) == 3
    row = again.table().loc["wrong"]
    assert np.isnan(row["ln Z"])
    with pytest.raises(ValueError, match="wrong has no result: ValueError"):
        again["wrong"]
    with pytest.raises(ValueError, match="not of this run"):
        sample_each(model, entries, SHORT, key=jax.random.key(1), flux=FLUX, file=file)


def test_the_evidence_of_a_gamma_prior_is_the_negative_binomial():
    # Counts n of mean K t with a gamma prior (shape a, rate b) of K: a negative binomial with p = b / (b + t).
    shape, rate, seconds = 2.5, 0.5, 3.0
    counts = np.array([0, 1, 4, 30])
    response = Response.diagonal(np.array([1.0, 2.0]))
    seen = [Observation(np.array([n]), response, seconds, name=str(n)) for n in counts]
    flat = Model(PointSource("a", PowerLaw(K=1.0, index=0.0))).freeze("a.powerlaw.index")
    flat = flat.with_priors({"a.powerlaw.K": dist.Gamma(shape, rate)})
    table = sample_each(flat, seen, NUTS(draws=1000, chains=2), key=jax.random.key(0)).table()
    expected = nbinom.logpmf(counts, shape, rate / (rate + seconds))
    assert (table["ln Z error"] < 0.02).all()
    assert (np.abs(table["ln Z"] - expected) < 4 * table["ln Z error"]).all()
    assert_allclose(table["a.powerlaw.K"], gamma.median(counts + shape, scale=1 / (rate + seconds)), atol=0.1)


def test_the_evidence_of_few_counts_is_the_integral_over_a_grid():
    # 7 counts in 8 bins of width 1 keV: a posterior that is far from normal, and an index that is hardly known.
    edges = np.arange(1.0, 10.0)
    counts = np.array([4, 1, 0, 1, 0, 0, 1, 0])
    seen = Observation(counts, Response.diagonal(edges), 1.0, name="few")
    free = Model(PointSource("a", PowerLaw(K=1.0, index=-1.5)))
    free = free.with_priors({"a.powerlaw.K": dist.LogNormal(0, 2), "a.powerlaw.index": dist.Normal(-2, 1.5)})
    found = sample_each(free, [seen], NUTS(draws=2000, chains=2), key=jax.random.key(0)).table().loc["few"]
    log_k, index = np.linspace(-9, 7, 801), np.linspace(-9.99, 5.01, 801)
    powers = (edges[1:] ** (index[:, None] + 1) - edges[:-1] ** (index[:, None] + 1)) / (index[:, None] + 1)
    expected = np.exp(log_k)[:, None, None] * powers  # 1 cm2 s, integral of E^index over each bin
    terms = np.sum(counts * np.log(expected) - expected - gammaln(counts + 1), axis=2)
    terms += norm.logpdf(log_k, 0, 2)[:, None] + norm.logpdf(index, -2, 1.5)
    grid = logsumexp(terms) + np.log((log_k[1] - log_k[0]) * (index[1] - index[0]))
    assert found["ln Z error"] < 0.03
    assert abs(found["ln Z"] - grid) < 4 * found["ln Z error"]


def test_the_model_of_larger_evidence_is_chosen(catalogue, model, observations):
    steep = model.with_priors({INDEX: dist.Normal(-4, 0.1)})
    other = sample_each(steep, observations, SHORT, key=jax.random.key(0), flux=FLUX)
    chosen = compare({"wide": catalogue, "steep": other}, by="evidence")
    assert (chosen["best"] == "wide").all()
    row, one, two = chosen.loc["2"], catalogue["2"], other["2"]
    assert_allclose([row["margin"], row["margin error"]], one.log_bayes_factor(two), rtol=1e-9)
    assert_allclose(row[["ln B wide", "ln B steep"]].astype(float), [0, row["margin"]])
    with pytest.raises(ValueError, match="'evidence' is for catalogues of sample_each"):
        compare({"wide": catalogue, "steep": other})


def test_what_cannot_be_sampled_is_told(model, observations):
    with pytest.raises(ValueError, match="no prior for"):
        sample_each(Model(*model.sources), observations[:2], key=jax.random.key(0))
    with pytest.raises(TypeError, match="sample_each samples by NUTS"):
        sample_each(model, observations[:2], NestedSlice(), key=jax.random.key(0))  # pyright: ignore[reportArgumentType]
    nowhere = Observation(np.full(128, 5.0), observations[0].response, 10, errors=np.ones(128), name="0")
    absurd = Model(PointSource("src", PowerLaw(K=1e300, index=9, pivot=1e-9)))
    absurd = absurd.with_priors({K: dist.LogNormal(690, 1), INDEX: dist.Normal(9, 0.1)})
    row = sample_each(absurd, [nowhere], NUTS(draws=50, warmup=50, chains=2), key=jax.random.key(0)).table().loc["0"]
    assert "not finite anywhere near the start" in row["trouble"]
    assert np.isnan(row[K])


def test_fits_and_posteriors_share_their_pictures(catalogue, model, observations):
    assert catalogue.plot_pair(K, "F").axes
    assert catalogue.plot_pair(K, INDEX).axes
    fits = fit_each(model, observations, flux=FLUX)
    assert list(fits.table().columns[:4]) == list(catalogue.table().columns[:4])
    assert "PosteriorCatalogue of 12 spectra: " in repr(catalogue)
