"""Model comparison against what is known in closed form."""

import dataclasses

import jax
import numpy as np
import numpyro.distributions as dist
import pytest
from numpy.testing import assert_allclose
from scipy import special, stats

from jaxspec import NUTS, Model, Observation, PointSource, Problem, Response, sample
from jaxspec.spectra import PowerLaw

COUNTS = np.arange(4.0, 14.0)


@pytest.fixture(scope="module")
def posterior():
    """A scale with a Gamma prior: the posterior is Gamma(2 + 85, 0.5 + 10), all predictions negative binomial."""
    model = Model(PointSource("a", PowerLaw(index=0.0))).freeze("a.powerlaw.index")
    model = model.with_priors({"a.powerlaw.K": dist.Gamma(2.0, 0.5)})
    problem = Problem(model, Observation(COUNTS, Response.diagonal(np.arange(1.0, 12.0)), 1.0))
    return sample(problem, NUTS(draws=8000), key=jax.random.key(3))


def test_loo_is_exact_leave_one_out(posterior):
    # What the other nine bins predict for each: negative binomial with shape 2 + 85 - n and rate 0.5 + 9.
    exact = stats.nbinom.logpmf(COUNTS, 87 - COUNTS, 9.5 / 10.5)
    found = posterior.loo()
    assert_allclose(found.elpd, exact.sum(), atol=0.05)
    assert_allclose(found.error, np.sqrt(10 * exact.var()), rtol=0.05)
    assert found.worst_k < 0.7


def test_waic_is_that_of_the_gamma_posterior(posterior):
    exact = stats.gamma(87, scale=1 / 10.5)
    K = exact.ppf((np.arange(20_000) + 0.5) / 20_000)
    logs = stats.poisson.logpmf(COUNTS[:, None], K)
    expected = np.log(np.exp(logs).mean(axis=1)) - logs.var(axis=1)
    found = posterior.waic()
    assert_allclose(found.elpd, expected.sum(), atol=0.05)
    assert_allclose(found.effective_parameters, logs.var(axis=1).sum(), rtol=0.1)


def test_dic_is_that_of_the_gamma_posterior(posterior):
    # The mean of ln K is the digamma function.
    mean = 87 / 10.5
    constant = -special.gammaln(COUNTS + 1).sum()
    best = 85 * np.log(mean) - 10 * mean + constant
    average = 85 * (special.digamma(87) - np.log(10.5)) - 10 * mean + constant
    assert_allclose(posterior.dic, -2 * best + 4 * (best - average), atol=0.1)


def test_a_bin_far_from_the_others_spoils_loo_and_is_told(posterior, monkeypatch):
    from jaxspec.results import _arviz

    monkeypatch.setattr(_arviz, "loo", lambda result: (-30.0, 2.0, 1.0, 0.9))
    with pytest.warns(UserWarning, match="loo: the Pareto k of a bin is 0.90, over 0.7"):
        posterior.loo()


def test_a_bayes_factor_is_the_difference_of_evidences(posterior):
    first, second = (dataclasses.replace(posterior, log_evidence=pair) for pair in ((-10.0, 0.3), (-12.5, 0.4)))
    assert first.log_bayes_factor(second) == (2.5, 0.5)
    with pytest.raises(ValueError, match="a Bayes factor needs two evidences: sample with NestedSlice"):
        first.log_bayes_factor(posterior)
