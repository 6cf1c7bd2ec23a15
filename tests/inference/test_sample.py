"""Samplers against the reference, against each other, and against a Gaussian approximation of the posterior."""

import dataclasses
import re
import sys
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import special, stats

from jaxspec import NUTS, Model, Observation, PointSource, Problem, Response, UltraNest, progress, sample
from jaxspec.inference import _nested
from jaxspec.spectra import PowerLaw


def other_of_the_same_structure(problem, draw=0):
    """Other data, other prior numbers, other names."""
    rng = np.random.default_rng(draw)
    observations = [
        dataclasses.replace(each, counts=rng.poisson(each.counts + 1.0), name=f"o{each.name}").assign(
            f"x{each.sources[0]}"
        )
        for each in problem.observations
    ]
    model = Model(*(dataclasses.replace(source, name=f"x{source.name}") for source in problem.model.sources))
    priors = {f"x{name}": jax.tree.map(lambda leaf: 1.05 * leaf, prior) for name, prior in problem.model.priors.items()}
    model = model.with_priors(priors).link("xsrc1.blackbody.kT", to="xsrc2.blackbody.kT")
    return Problem(model, observations)


# -- NUTS --------------------------------------------------------------------------------------------------------------


def test_nuts_has_the_means_and_deviations_of_the_reference(seed_posterior, reference):
    table = seed_posterior.table()
    for name, (mean, sd) in reference.mean_and_sd.items():
        assert abs(table.loc[name, "mean"] - mean) < 0.15 * sd, name
        assert_allclose(table.loc[name, "sd"], sd, rtol=0.07)


def test_nuts_has_the_correlations_of_the_reference(seed_posterior):
    # shared with the fluxes: 4 x 1000 draws of a whitened sampler, written down with two digits.
    pairs = {
        ("src1.blackbody.K", "src2.blackbody.kT"): -0.91,
        ("src2.blackbody.K", "src2.blackbody.kT"): -0.887,
        ("src1.blackbody.K", "src2.blackbody.K"): 0.803,
        ("src2.powerlawflux.F", "src2.powerlawflux.index"): -0.858,
    }
    for (first, second), exact in pairs.items():
        found = np.corrcoef(seed_posterior.draws(first), seed_posterior.draws(second))[0, 1]
        assert_allclose(found, exact, atol=0.03)


def test_nuts_mixes(seed_posterior):
    assert min(seed_posterior.ess.values()) > 2000
    assert max(seed_posterior.r_hat.values()) < 1.01
    assert seed_posterior.statistics["divergences"] == 0
    assert seed_posterior.statistics["steps_per_draw"] < 12
    assert seed_posterior.troubles == []


def test_draws_of_a_linked_parameter_follow_those_it_is_linked_to(seed_posterior):
    assert_array_equal(seed_posterior.draws("src1.blackbody.kT"), seed_posterior.draws("src2.blackbody.kT"))


def test_frozen_parameters_have_their_value_in_every_draw(seed_posterior):
    assert_array_equal(np.unique(seed_posterior.draws("src2.powerlawflux.b")), [500.0])


def test_the_log_likelihood_of_each_draw_is_that_of_the_problem(seed_posterior, seed_problem):
    values = {name: seed_posterior.draws(name)[17] for name in seed_problem.names}
    assert_allclose(seed_posterior.log_likelihood[0, 17], seed_problem.log_likelihood(values), rtol=1e-12)


def test_the_same_key_gives_the_same_draws_and_another_key_others(seed_problem, seed_posterior, compilations):
    with compilations.none():
        again = sample(seed_problem, NUTS(), key=jax.random.key(7))
        other = sample(seed_problem, NUTS(), key=jax.random.key(8))
    assert_array_equal(again.samples, seed_posterior.samples)
    assert (other.samples != seed_posterior.samples)[..., 0].mean() > 0.99


def test_a_key_of_the_old_kind_is_taken(seed_problem, seed_posterior):
    again = sample(seed_problem, NUTS(), key=jax.random.PRNGKey(7))
    assert_array_equal(again.samples, seed_posterior.samples)


def test_sampling_other_data_with_other_priors_and_names_compiles_nothing(seed_problem, seed_posterior, compilations):
    seed_posterior.flux(1, 1000)
    other = other_of_the_same_structure(seed_problem)
    with compilations.none(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        posterior = sample(other, NUTS(), key=jax.random.key(1))
        posterior.table()
        posterior.flux(30, 80, "1 / (cm2 s)")


@pytest.fixture(scope="module")
def counts():
    """Ten channels of 1 keV and 1 cm2 that saw four to thirteen counts."""
    return Observation(np.arange(4.0, 14.0), Response.diagonal(np.arange(1.0, 12.0)), 1.0)


@pytest.fixture(scope="module")
def scale(counts):
    """A scale alone, with a Gamma prior: the posterior is Gamma(shape 2 + N, rate 0.5 + area)."""
    model = Model(PointSource("a", PowerLaw(index=0.0))).freeze("a.powerlaw.index")
    return Problem(model.with_priors({"a.powerlaw.K": dist.Gamma(2.0, 0.5)}), counts)


EXACT = stats.gamma(2 + 85, scale=1 / (0.5 + 10))


def test_nuts_draws_from_a_posterior_known_in_closed_form(scale):
    draws = sample(scale, NUTS(), key=jax.random.key(3)).draws("a.powerlaw.K")
    assert_allclose(draws.mean(), EXACT.mean(), atol=0.08 * EXACT.std(), rtol=0)
    assert_allclose(draws.std(), EXACT.std(), rtol=0.05)
    assert_allclose(np.quantile(draws, [0.025, 0.975]), EXACT.ppf([0.025, 0.975]), rtol=0.02)


def test_bad_diagnostics_warn_and_stay_in_the_result(scale):
    with pytest.warns(UserWarning, match=r"sample: few effective draws: .* for a.powerlaw.K \(under 400\)"):
        posterior = sample(scale, NUTS(draws=10, warmup=20, chains=2), key=jax.random.key(0))
    assert posterior.troubles
    assert "! few effective draws" in repr(posterior)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        ({"divergences": 3}, "3 divergent trajectories: .* NUTS\\(target_accept=0.95\\)"),
        ({"at_max_depth": 0.5}, "trajectories were cut at max_tree_depth"),
        ({"misplaced": True}, "UltraNest's test of insertion orders fails"),
        ({"forgotten": 0.3}, "walks start \\(the correlation is 0.70\\): .* NestedSlice\\(moves="),
    ],
)
def test_what_the_sampler_says_of_itself_is_trouble(seed_posterior, spoil, said):
    spoilt = dataclasses.replace(seed_posterior, statistics=spoil)
    (trouble,) = spoilt.troubles
    assert re.search(said, trouble)


def test_chains_that_disagree_are_trouble(seed_posterior):
    shifted = seed_posterior.samples.copy()
    shifted[0] *= 1.3
    (trouble, *_) = dataclasses.replace(seed_posterior, samples=shifted).troubles
    assert trouble.startswith("the chains disagree: R-hat is ")


def test_sampling_needs_a_prior_for_every_free_parameter(counts):
    model = Model(PointSource("a", PowerLaw())).with_priors({"a.powerlaw.index": dist.Normal(-2, 1)})
    match = r"no prior for a.powerlaw.K: sampling needs one .*model.with_priors\({'a.powerlaw.K': "
    with pytest.raises(ValueError, match=match):
        sample(Problem(model, counts), key=jax.random.key(0))


@pytest.mark.parametrize("method", ["NUTS", NUTS, 3])
def test_what_is_no_method_is_refused(scale, method):
    with pytest.raises(
        TypeError, match=r"no sampler is described by .*: give NUTS\(...\), NestedSlice\(...\) or UltraNest\(...\)"
    ):
        sample(scale, method, key=jax.random.key(0))


# -- UltraNest ---------------------------------------------------------------------------------------------------------


def test_ultranest_agrees_with_nuts(seed_nested, seed_posterior):
    ours, theirs = seed_nested.table(), seed_posterior.table()
    # About 2,000 and 400 effective draws: means to 4 standard errors of the fewer.
    assert (abs(ours["mean"] - theirs["mean"]) / theirs["sd"]).max() < 0.2
    assert_allclose(ours["sd"], theirs["sd"], rtol=0.15)


def log_evidence_by_importance(problem, n=20_000):
    """ln Z from draws of a broadened normal approximation of the posterior in the unbounded space."""
    density = problem.density
    from jaxspec.inference._search import N_STARTS, best_optimum

    optimum, _ = best_optimum(density, "sampled", N_STARTS)
    root = np.linalg.cholesky(np.linalg.inv(optimum.curvature))
    z = np.random.default_rng(0).standard_t(5, size=(n, len(optimum.u)))
    proposal = stats.t.logpdf(z, 5).sum(axis=1) - np.log(np.diag(root)).sum()

    @jax.jit
    def target(u):
        x = density.space.values(u)
        return density.log_likelihood(x) + density.log_prior(x) + density.space.log_volume(u)

    logs = np.asarray(jax.lax.map(target, jnp.asarray(np.asarray(optimum.u) + z @ root.T), batch_size=1000))
    return special.logsumexp(logs - proposal) - np.log(n)


def test_the_evidence_is_natural_and_that_of_importance_sampling(seed_nested, seed_problem, reference):
    # 3ML prints log10 of it for UltraNest, -581.568, and calls both log(Z).
    value, error = seed_nested.log_evidence
    assert_allclose(value, reference.log_evidence[0], atol=3 * reference.log_evidence[1], rtol=0)
    assert_allclose(value, log_evidence_by_importance(seed_problem), atol=max(0.5, 2 * error), rtol=0)
    assert "(natural logarithm)" in repr(seed_nested)


def test_ultranest_has_the_evidence_known_in_closed_form(scale, counts):
    # A Gamma prior of shape k and rate r with N Poisson counts in 10 channels of the same mean: a ratio of Gammas.
    posterior = sample(scale, UltraNest(), key=jax.random.key(0))
    k, r, N, n = 2.0, 0.5, 85, 10
    exact = k * np.log(r) - special.gammaln(k) + special.gammaln(k + N) - (k + N) * np.log(r + n)
    exact -= special.gammaln(counts.counts + 1).sum()
    assert_allclose(posterior.log_evidence[0], exact, atol=0.5, rtol=0)
    assert_allclose(posterior.draws("a.powerlaw.K").mean(), EXACT.mean(), atol=0.15 * EXACT.std(), rtol=0)


def test_ultranest_is_reproduced_by_its_key_and_leaves_numpy_alone(scale):
    np.random.seed(5)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    first = sample(scale, UltraNest(live_points=100, frac_remain=0.5), key=jax.random.key(2))
    assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002
    np.random.random(3)  # noqa: NPY002
    second = sample(scale, UltraNest(live_points=100, frac_remain=0.5), key=jax.random.key(2))
    assert_array_equal(first.samples, second.samples)
    assert first.log_evidence == second.log_evidence


def test_ultranest_says_how_many_of_its_draws_count(seed_nested):
    assert set(seed_nested.ess.values()) == {seed_nested.statistics["ess"]}
    assert np.isnan(list(seed_nested.r_hat.values())).all()
    assert seed_nested.statistics["likelihood_calls"] > 1000


def test_without_ultranest_the_error_names_the_extra(scale, monkeypatch):
    monkeypatch.setitem(sys.modules, "ultranest", None)
    with pytest.raises(ImportError, match=r"UltraNest is an extra: pip install 'jaxspec-engine\[ultranest\]'"):
        sample(scale, UltraNest(), key=jax.random.key(0))


# -- progress ----------------------------------------------------------------------------------------------------------


def test_a_progress_bar_is_shown_where_it_is_wanted(scale, capsys):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sample(scale, NUTS(draws=10, warmup=20, chains=2), key=jax.random.key(0), progress=True)
        assert "NUTS, 2 chains: 100%" in capsys.readouterr().err
        sample(scale, UltraNest(live_points=60, frac_remain=0.5, min_ess=50), key=jax.random.key(0), progress=True)
        assert "UltraNest: 100%" in capsys.readouterr().err
        sample(scale, NUTS(draws=10, warmup=20, chains=2), key=jax.random.key(0), progress=False)
    assert capsys.readouterr().err == ""


def test_what_is_left_of_nested_sampling_is_that_of_a_normal_posterior():
    # Points spread evenly in a ball of radius 20 in 4 dimensions, ln L = -r^2 / 2; the volume falls as r^4.
    rng = np.random.default_rng(0)
    live = -0.5 * 20**2 * rng.random(2000) ** (2 / 4)
    innermost = np.sqrt(stats.chi2.ppf(0.01, 4))  # holds 1 % of the evidence
    assert_allclose(_nested.efolds_left(live, 4, 0.01), 4 * np.log(20 / innermost), atol=0.3)
    assert _nested.efolds_left(np.zeros(50), 4, 0.01) == 0.0


def test_a_bar_of_shares_does_not_go_back(capsys):
    with progress.share("shares", True) as reached:
        for part in (0.5, 0.2, 0.71):
            reached(part)
    assert "shares:  71%" in capsys.readouterr().err.splitlines()[-1].rsplit("\r", 1)[-1]
