"""What a population has in common: recovered from simulations, and against a closed form."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from jaxspec import (
    NUTS,
    Calibration,
    Model,
    Observation,
    PointSource,
    Population,
    Posterior,
    Response,
    fit_each,
    sample_population,
    simulate_each,
)
from jaxspec.inference import _hierarchy, _hyper
from jaxspec.priors import Priors
from jaxspec.space import Space
from jaxspec.spectra import PowerLaw

K, INDEX = "src.powerlaw.K", "src.powerlaw.index"
SCATTER = {
    K: Population(dist.Normal(-8, 3), dist.HalfNormal(2), log=True),
    INDEX: Population(dist.Normal(-2, 1), dist.HalfNormal(1)),
}
TRUTH = {"mean K": np.log(1e-4), "width K": 0.7, "mean index": -1.8, "width index": 0.25, "correlation": 0.6}


@pytest.fixture(scope="module")
def model():
    return Model(PointSource("src", PowerLaw(K=1e-4, index=-1.6, pivot=1000)))


@pytest.fixture(scope="module")
def truth():
    deviates = np.random.default_rng(4).normal(size=(2, 40))
    tilted = TRUTH["correlation"] * deviates[0] + 0.8 * deviates[1]
    return {
        K: np.exp(TRUTH["mean K"] + TRUTH["width K"] * deviates[0]),
        INDEX: TRUTH["mean index"] + TRUTH["width index"] * tilted,
    }


@pytest.fixture(scope="module")
def observations(model, truth, demo):
    return simulate_each(model, truth, demo, 2, np.full(128, 4.0), key=jax.random.key(1))


@pytest.fixture(scope="module")
def posterior(model, observations):
    method = NUTS(draws=400, warmup=200, chains=2)
    return sample_population(model, observations, SCATTER, method, key=jax.random.key(0), correlated=True)


def test_the_population_is_recovered(posterior):
    table = posterior.hyper_table()
    assert not posterior.troubles
    for row, true in zip(
        table.index, [TRUTH[k] for k in ("mean K", "width K", "mean index", "width index", "correlation")]
    ):
        half = 0.5 * (table.loc[row, "high"] - table.loc[row, "low"])
        assert abs(table.loc[row, "median"] - true) < 4 * half
    assert (table["ess"] > 200).all()


def test_members_are_pulled_together_and_closer_to_the_truth(posterior, model, observations, truth):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        alone = fit_each(model, observations).table()
    shrunk = posterior.table()
    assert np.std(shrunk[INDEX]) < np.std(alone[INDEX])
    assert np.mean((shrunk[INDEX] - truth[INDEX]) ** 2) < np.mean((alone[INDEX] - truth[INDEX]) ** 2)
    pulls = (shrunk[INDEX] - truth[INDEX]) / shrunk[f"{INDEX} error"]
    assert 0.6 < np.std(pulls) < 1.4


def test_a_member_opens_as_an_ordinary_posterior(posterior):
    member = posterior["3"]
    assert isinstance(member, Posterior)
    assert_allclose(np.median(member.draws(INDEX)), posterior.table().loc["3", INDEX])
    assert posterior.plot_population(K).axes[0].get_xscale() == "log"
    assert "mean of src.powerlaw.index" in repr(posterior)
    with pytest.raises(KeyError, match="no scattering parameter is called"):
        posterior.draws("src.powerlaw.pivot")
    with pytest.raises(KeyError, match="no spectrum is called"):
        posterior["nobody"]


def test_many_counts_of_few_members_give_the_textbook_posterior():
    # With counts so many that each logarithm of K is known, the mean given a flat prior follows Student's t.
    response = Response.diagonal(np.arange(1.0, 3.0))
    rates = np.array([1.0, 2.0, 1.5, 3.0, 0.7, 1.1, 2.2, 1.8])
    seen = [Observation(np.full(1, 1e6 * rate), response, 1e6, name=str(i)) for i, rate in enumerate(rates)]
    flat = Model(PointSource("a", PowerLaw(K=1.0, index=0.0))).freeze("a.powerlaw.index")
    scatter = {"a.powerlaw.K": Population(dist.Normal(0, 100), dist.Uniform(0, 10), log=True)}
    found = sample_population(flat, seen, scatter, NUTS(draws=2000, chains=2), key=jax.random.key(2))
    x = np.log(rates)
    # A flat prior of the width: n - 2 degrees of freedom (Gelman et al., Bayesian Data Analysis, 3rd ed., sect. 3.2).
    scale = np.sqrt(np.sum((x - x.mean()) ** 2) / (len(x) - 2) / len(x))
    draws = found.draws("a.powerlaw.K")
    assert_allclose(draws.mean(), x.mean(), atol=0.15 * scale)
    low, high = np.quantile(draws, [0.16, 0.84])
    assert_allclose(high - low, 2 * 1.0909 * scale, rtol=0.1)  # t with 6 degrees of freedom at 84 %: 1.0909


def test_a_mixture_and_a_calibration_that_all_share_are_recovered():
    # Counts in 8 bins of 1 keV, drawn here: integrals of K E^index, seen by two instruments of 1 cm2, one off by 0.85.
    rng, edges, many, factor, fraction = np.random.default_rng(3), np.arange(1.0, 10.0), 60, 0.85, 0.3
    first = rng.random(many) < fraction
    index = np.where(first, rng.normal(-2.6, 0.15, many), rng.normal(-1.4, 0.25, many))
    scale = np.exp(rng.normal(5, 0.5, many))
    power = index[:, None] + 1
    expected = scale[:, None] * (edges[1:] ** power - edges[:-1] ** power) / power
    response = Response.diagonal(edges)
    seen = {
        str(i): [
            Observation(rng.poisson(off * each), response, 1.0, name=name) for name, off in (("a", 1.0), ("b", factor))
        ]
        for i, each in enumerate(expected)
    }
    model = Model(PointSource("src", PowerLaw(K=100.0, index=-2)), Calibration("b")).thaw("b.calibration.factor")
    model = model.with_priors({"b.calibration.factor": dist.LogNormal(0, 0.5)})
    one = Population(dist.Normal(-2, 1), dist.HalfNormal(0.5))
    scatter = {K: Population(dist.Normal(5, 2), dist.HalfNormal(1), log=True), INDEX: (one, one)}
    method = NUTS(draws=400, warmup=300, chains=2)
    found = sample_population(
        model, seen, scatter, method, key=jax.random.key(0), shared=["b.calibration.factor"], fraction=dist.Beta(2, 2)
    )
    table = found.hyper_table()
    truth = {
        f"mean of ln {K}": 5,
        f"width of ln {K}": 0.5,
        f"mean of {INDEX}": -2.6,
        f"width of {INDEX}": 0.15,
        f"second mean of {INDEX}": -1.4,
        f"second width of {INDEX}": 0.25,
        "fraction of the first": first.mean(),
        "b.calibration.factor": factor,
    }
    assert list(table.index) == list(truth)
    pulls = (table["median"] - pd.Series(truth)) / (0.5 * (table["high"] - table["low"]))
    assert (abs(pulls) < 3.5).all()
    # Counts of b alone tell the factor to 1 / sqrt(counts of b), those of a add as much again.
    least = np.sqrt(1 / expected.sum() + 1 / (factor * expected.sum())) * factor
    row = table.loc["b.calibration.factor"]
    assert_allclose(0.5 * (row["high"] - row["low"]), least, rtol=0.15)
    assert len(np.unique(found["0"].draws("b.calibration.factor") - found["7"].draws("b.calibration.factor"))) == 1
    assert np.mean((found.table()["in first"] > 0.5) == first) > 0.95
    assert found.draws(INDEX, second=True).mean() > found.draws(INDEX).mean()
    assert found.plot_population(INDEX).axes


def test_the_prior_of_correlations_is_flat():
    # The integral of a flat density over 3 x 3 correlation matrices is pi^2 / 2 (Joe 2006, J. Multiv. Anal. 97, 2177).
    one = Priors.groups(dict.fromkeys(range(3), dist.Normal(0, 1)))
    nothing = Space.between(np.zeros(0), np.zeros(0))
    hyper = _hyper.Hyper((one,), (one,), (), (), nothing, (False,) * 3, (0, 1, 2), (), (), True)
    grid = np.linspace(-6, 6, 41)
    points = np.stack(np.meshgrid(grid, grid, grid), axis=-1).reshape(-1, 3)
    volumes = jax.vmap(lambda p: hyper.split(jnp.concatenate([jnp.zeros(6), p])).volume)(points)
    assert_allclose(np.sum(np.exp(volumes)) * (grid[1] - grid[0]) ** 3, np.pi**2 / 2, rtol=1e-3)


def test_a_run_that_was_stopped_goes_on_with_the_same_draws(posterior, model, observations, tmp_path, monkeypatch):
    left, steps = iter(range(7)), _hierarchy._steps

    def stopped(*arguments, **settings):
        if next(left, None) is None:
            raise InterruptedError
        return steps(*arguments, **settings)

    def run(seed=0):
        path = tmp_path / "run.jsonl"
        return sample_population(
            model, observations, SCATTER, posterior.method, key=jax.random.key(seed), correlated=True, file=path
        )

    stopped.__wrapped__ = steps.__wrapped__
    monkeypatch.setattr(_hierarchy, "_steps", stopped)
    with pytest.raises(InterruptedError):
        run()
    monkeypatch.undo()
    assert_array_equal(run().samples, posterior.samples)
    with pytest.raises(ValueError, match="is not of this run"):
        run(seed=1)


def test_wrong_populations_are_told(model, observations):
    def run(scatter, model=model):
        sample_population(model, observations[:2], scatter, key=jax.random.key(0))

    with pytest.raises(ValueError, match="says which parameters scatter"):
        run({})
    with pytest.raises(KeyError, match="no parameter is called"):
        run({"src.powerlaw.k": SCATTER[K]})
    with pytest.raises(ValueError, match="is frozen, so it cannot scatter or be shared"):
        run({"src.powerlaw.pivot": SCATTER[K]})
    with pytest.raises(ValueError, match=r"src\.powerlaw\.index cannot scatter: its bounds .* reach below 0"):
        run({INDEX: SCATTER[K]})
    with pytest.raises(ValueError, match=r"no prior for src\.powerlaw\.K"):
        run({INDEX: SCATTER[INDEX]})
    with pytest.raises(ValueError, match="scatters, so it cannot be shared"):
        sample_population(model, observations[:2], SCATTER, key=jax.random.key(0), shared=[K])
    with pytest.raises(ValueError, match="is of two populations, both of the value or both of its logarithm"):
        run({K: (SCATTER[K], SCATTER[INDEX])})
    with pytest.raises(TypeError, match="the mean needs a prior"):
        Population(0.0, dist.HalfNormal(1))
    with pytest.raises(ValueError, match="the prior of a width must be zero below 0"):
        Population(dist.Normal(0, 1), dist.Normal(0, 1))
