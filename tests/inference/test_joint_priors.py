"""Priors of several parameters together: sampled by all methods, kept in files, refused where they cannot be."""

import jax
import numpy as np
import numpyro.distributions as dist
import pytest
from numpy.testing import assert_allclose
from numpyro.distributions import transforms
from scipy import special, stats

from jaxspec import (
    NUTS,
    Model,
    NestedSlice,
    Observation,
    PointSource,
    Population,
    Posterior,
    Problem,
    Response,
    UltraNest,
    fit,
    load,
    prior_predictive,
    sample,
    sample_population,
)
from jaxspec.spectra import PowerLaw

K, INDEX = NAMES = ("a.powerlaw.K", "a.powerlaw.index")
MEAN, COVARIANCE = np.array([8.0, 0.3]), np.array([[1.0, -0.36], [-0.36, 0.16]])  # correlated by -0.9
PRIOR = dist.MultivariateNormal(MEAN, COVARIANCE)
COUNTS = np.arange(4.0, 14.0)
SEEN = Observation(COUNTS, Response.diagonal(np.arange(1.0, 12.0)), 1.0, name="seen")
MODEL = Model(PointSource("a", PowerLaw(pivot=5.0)))


@pytest.fixture(scope="module")
def problem():
    return Problem(MODEL.with_priors({NAMES: PRIOR}), SEEN)


@pytest.fixture(scope="module")
def exact():
    """ln Z, and the mean and covariance of the posterior, by sums over a grid, with scipy alone."""
    scale, index = np.meshgrid(np.linspace(4.0, 12.0, 401), np.linspace(-1.5, 2.1, 401), indexing="ij")
    edges, power = np.arange(1.0, 12.0) / 5.0, index[..., None] + 1
    expected = scale[..., None] * 5.0 * np.diff(edges**power / np.where(power == 0, 1e-9, power), axis=-1)
    points = np.stack([scale, index], axis=-1)
    logs = stats.poisson.logpmf(COUNTS, expected).sum(axis=-1)
    logs += stats.multivariate_normal(MEAN, COVARIANCE).logpdf(points)
    cell = (scale[1, 0] - scale[0, 0]) * (index[0, 1] - index[0, 0])
    weights, flat = special.softmax(logs).ravel(), points.reshape(-1, 2)
    mean = weights @ flat
    return special.logsumexp(logs) + np.log(cell), mean, (flat - mean).T @ (weights[:, None] * (flat - mean))


@pytest.mark.parametrize(
    "method", [NUTS(), NestedSlice(live_points=600), UltraNest()], ids=["nuts", "slices", "ultranest"]
)
def test_the_posterior_under_a_joint_prior_is_that_of_quadrature(method, problem, exact):
    log_evidence, mean, covariance = exact
    posterior = sample(problem, method, key=jax.random.key(2))
    draws = np.stack([posterior.draws(name) for name in NAMES])
    deviations = np.sqrt(np.diag(covariance))
    assert_allclose(draws.mean(axis=1) / deviations, mean / deviations, atol=0.12, rtol=0)
    assert_allclose(
        np.cov(draws) / np.outer(deviations, deviations), covariance / np.outer(deviations, deviations), atol=0.1
    )
    if posterior.log_evidence is not None:
        assert_allclose(posterior.log_evidence[0], log_evidence, atol=2.5 * posterior.log_evidence[1], rtol=0)
    assert posterior.corner().axes


def test_the_maximum_under_a_joint_prior_is_where_its_slope_vanishes(problem):
    best = fit(problem, use_priors=True)
    theta = np.array(best.theta)

    def log_density(theta):
        values = dict(zip(NAMES, theta))
        return float(problem.log_likelihood(values)) + stats.multivariate_normal(MEAN, COVARIANCE).logpdf(theta)

    for step in np.diag([1e-3, 1e-3]):
        assert log_density(theta) > max(log_density(theta + step), log_density(theta - step)) - 1e-12
    assert_allclose(
        problem.log_prior(dict(zip(NAMES, theta))), stats.multivariate_normal(MEAN, COVARIANCE).logpdf(theta)
    )


FAMILIES = {
    "log-normal": dist.TransformedDistribution(
        dist.MultivariateNormal(np.array([2.0, -1.0]), COVARIANCE), transforms.ExpTransform()
    ),
    "independent": dist.LogUniform(np.array([1.0, 0.1]), np.array([20.0, 2.0])).to_event(1),
    "copula": dist.GaussianCopula(dist.Normal(np.array([9.0, 1.0]), 1.0), np.array([[1.0, 0.5], [0.5, 1.0]])),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_points_from_the_unit_cube_have_the_prior(name):
    problem = Problem(MODEL.with_priors({NAMES: FAMILIES[name]}), SEEN)
    found = np.asarray(jax.jit(jax.vmap(problem.density.prior_quantiles))(np.random.default_rng(0).random((20_000, 2))))
    drawn = np.asarray(FAMILIES[name].sample(jax.random.key(1), (20_000,)))
    for column, other in zip(found.T, drawn.T):
        assert stats.kstest(column, other).pvalue > 1e-3
    assert_allclose(stats.spearmanr(found).statistic, stats.spearmanr(drawn).statistic, atol=0.03)


@pytest.mark.parametrize("prior", [PRIOR, *FAMILIES.values()], ids=["normal", *FAMILIES])
def test_a_file_keeps_a_joint_prior(prior, tmp_path):
    problem = Problem(MODEL.with_priors({NAMES: prior}), SEEN)
    values = np.array([[list(problem.model.values.values())]], float)
    Posterior.of(problem, values, method=NUTS(), key=jax.random.key(0), statistics={}).save(tmp_path / "result.nc")
    found = load(tmp_path / "result.nc").problem.model.priors
    assert found[K] is found[INDEX]
    assert found[K].names == NAMES
    point = np.array([1.3, 0.7])
    assert_allclose(found[K].distribution.log_prob(point), prior.log_prob(point), rtol=1e-12)


def test_other_numbers_compile_nothing(problem, compilations):
    other = Problem(MODEL.with_priors({NAMES: dist.MultivariateNormal(MEAN + 1, 2 * COVARIANCE)}), SEEN)
    prior_predictive(problem, 10, key=jax.random.key(0))
    with compilations.none():
        prior_predictive(other, 10, key=jax.random.key(0))


def test_the_table_of_a_model_shows_who_shares_a_prior():
    assert repr(MODEL.with_priors({NAMES: PRIOR})).count(f"MultivariateNormal({K}, {INDEX})") == 2


def test_a_prior_of_its_own_ends_a_joint_one():
    model = MODEL.with_priors({NAMES: PRIOR}).with_priors({K: dist.LogNormal(0, 1)})
    assert list(model.priors) == [K]
    with pytest.raises(ValueError, match=f"no prior for {INDEX}"):
        model.require_priors()


def test_what_shares_a_prior_is_not_frozen_or_linked():
    model = Model(PointSource("a", PowerLaw()), PointSource("b", PowerLaw())).with_priors({NAMES: PRIOR})
    for change in (lambda: model.freeze(K), lambda: model.link(K, to="b.powerlaw.K")):
        with pytest.raises(ValueError, match=f"{K} has a prior together with {INDEX}: give it one of its own first"):
            change()


@pytest.mark.parametrize(
    ("names", "prior", "error", "match"),
    [
        ((K,), PRIOR, ValueError, "a joint prior is of two or more different parameters"),
        ((K, K), PRIOR, ValueError, "a joint prior is of two or more different parameters"),
        (NAMES, dist.Normal(0, 1), TypeError, "must be a numpyro distribution of a vector of 2 numbers"),
        (NAMES, dist.Dirichlet(np.ones(2)), ValueError, "under a Dirichlet the range of one parameter depends on"),
        (NAMES, dist.MultivariateNormal(np.zeros(2), np.eye(2)), ValueError, "of a.powerlaw.K lies outside the bounds"),
        (K, PRIOR, TypeError, "of one number, got .*; one of several parameters together is given for a tuple"),
        ((K, "a.powerlaw.pivot"), PRIOR, ValueError, "a.powerlaw.pivot is frozen, so a prior would be ignored"),
    ],
)
def test_a_joint_prior_that_cannot_be_is_refused(names, prior, error, match):
    with pytest.raises(error, match=match):
        MODEL.with_priors({names: prior})


def test_without_a_map_from_the_cube_an_error_says_so():
    student = dist.MultivariateStudentT(5.0, MEAN, np.linalg.cholesky(0.01 * COVARIANCE))
    problem = Problem(MODEL.with_priors({NAMES: student}), SEEN)
    with pytest.raises(ValueError, match="a MultivariateStudentT has no known map from independent numbers"):
        prior_predictive(problem, key=jax.random.key(0))


def test_populations_know_no_joint_priors():
    scatter = {K: Population(mean=dist.Normal(2, 1), width=dist.HalfNormal(1), log=True)}
    with pytest.raises(ValueError, match="sample_population knows no joint priors"):
        sample_population(MODEL.with_priors({NAMES: PRIOR}), [SEEN], scatter, key=jax.random.key(0))
