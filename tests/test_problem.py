"""The likelihood of a model of observations, against numbers made without it; and the problem as a pytree."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats

from jaxspec import Background, Model, Observation, PointSource, Problem, Response
from jaxspec.photons import photons_in
from jaxspec.quadrature import Bins
from jaxspec.spectra import (
    Band,
    BandPeak,
    Blackbody,
    Constant,
    CutoffPowerLaw,
    CutoffPowerLawPeak,
    LogParabola,
    PowerLaw,
    PowerLawFlux,
    Redshift,
)


@pytest.fixture(scope="module")
def simple(demo, seed_observations):
    """One power law, seen by both observations of the seed."""
    model = Model(PointSource("a", PowerLaw(K=50.0, index=-1.5)))
    return Problem(model, [dataclasses.replace(each, sources=None) for each in seed_observations])


# -- against other systems ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["s1", "s2"])
def test_the_likelihood_of_each_seed_spectrum_is_that_of_the_reference(seed_problem, reference, name):
    found = seed_problem.log_likelihoods(reference.values)
    assert_allclose(found[name], -reference.minus_log_likelihood[name], atol=1e-4, rtol=0)


def test_the_likelihood_of_all_seed_spectra_is_that_of_the_reference(seed_problem, reference):
    found = seed_problem.log_likelihood(reference.values)
    assert_allclose(found, -reference.minus_log_likelihood["total"], atol=2e-4, rtol=0)


def crab(files, folder, run, low, high):
    observation = Observation.from_ogip(files / f"joint_crab/{folder}/pha_{run}.fits")
    return observation.ignore("bad").notice(f"{low}-{high} TeV", partial=False)


def test_the_w_statistic_of_the_crab_by_fermi_is_that_of_the_reference(files):
    # joint_crab, Nigro et al. 2019, A&A 625, A10; the curvature is quoted for log10.
    spectrum = LogParabola(K=4.0438e-20, alpha=-2.37153, beta=0.13653 / np.log(10), pivot=1e9)
    problem = Problem(Model(PointSource("crab", spectrum)), crab(files, "fermi", "obs0", 0.03, 2))
    assert problem.n_bins == 36
    assert_allclose(sum(problem.statistics().values()), 33.67463, atol=1e-3, rtol=0)


def test_the_w_statistic_of_the_crab_by_hess_is_that_of_the_reference(files):
    # Run 23523, quoted from gammapy's tests: index 2.817, amplitude 5.142e-11 / (TeV cm2 s), W 38.343 in 41 bins.
    spectrum = PowerLaw(K=5.142e-20, index=-2.817, pivot=1e9)
    observation = Observation.from_ogip(files / "joint_crab/hess/pha_obs23523.fits").ignore("bad")
    problem = Problem(Model(PointSource("crab", spectrum)), observation)
    assert problem.n_bins == 41
    assert_allclose(sum(problem.statistics().values()), 38.343, atol=1e-3, rtol=0)


@pytest.mark.parametrize(("name", "minus_log_likelihood"), [("n6", 823.0223), ("n9", 732.0669), ("b1", 729.0691)])
def test_the_likelihood_of_a_burst_is_that_of_3ml(gbm, name, minus_log_likelihood):
    # GRB 090217 at 3ML's best values. 3ML takes the background after scaling it to the source's exposure.
    spectrum = CutoffPowerLawPeak(K=0.795155, index=-0.824654, peak=617.08)
    problem = Problem(Model(PointSource("grb", spectrum)), gbm[name])
    scaling = np.sum(np.log(problem.selections[0].ratio))
    assert_allclose(-problem.log_likelihood() + scaling, minus_log_likelihood, atol=1e-3, rtol=0)


@pytest.mark.parametrize(("grouped", "bins", "exact"), [(True, 35, 39.84715083397662), (False, 375, 416.0601496345599)])
def test_the_w_statistic_of_3c273_is_that_of_sherpa(files, grouped, bins, exact):
    # Sherpa's own tests: photon index 1.782, amplitude 1.622e-4 at 1 keV, below 0.5, 3 to 4 and above 7 keV ignored.
    observation = Observation.from_ogip(files / "chandra_3c273/3c273.pi").ignore((None, 0.5), (3, 4), (7, None))
    observation = observation if grouped else observation.group(None)
    problem = Problem(Model(PointSource("q", PowerLaw(K=1.622e-4, index=-1.782))), observation)
    assert problem.n_bins == bins
    assert_allclose(sum(problem.statistics().values()), exact, rtol=1e-9)


# -- folding ----------------------------------------------------------------------------------------------------------


def smooth(middle):
    """A spectrum of every smooth kind, whose features lie around an energy."""
    return {
        "blackbody": Blackbody(K=1.0, kT=middle / 4),
        "powerlaw": PowerLaw(index=-2.3),
        "powerlawflux": PowerLawFlux(index=-1.0, a=middle / 3, b=3 * middle),
        "cutoffpowerlaw": CutoffPowerLaw(index=-1.2, cutoff=middle / 2),
        "cutoffpowerlawpeak": CutoffPowerLawPeak(index=-0.8, peak=middle),
        "logparabola": LogParabola(alpha=-2.0, beta=0.15, pivot=middle),
        "redshift": Redshift(z=1.5)(CutoffPowerLaw(index=-1.2, cutoff=middle)),
        "constant": Constant(factor=3.0) * (Blackbody(K=1.0, kT=middle / 10) + PowerLaw()),
        "band": Band(alpha=-0.8, beta=-2.5, cutoff=min(middle / 2, 9e4), pivot=middle),
        "bandpeak": BandPeak(alpha=-0.8, beta=-2.5, peak=min(middle, 9e4), pivot=middle),
    }


INSTRUMENTS = {"demo": None, "n6": "gbm", "b1": "gbm", "fermi": "crab"}


@pytest.mark.parametrize("kind", smooth(100.0))
@pytest.mark.parametrize("instrument", INSTRUMENTS)
def test_folded_counts_agree_with_a_finer_integration(request, demo, instrument, kind):
    if instrument == "demo":
        response = demo
    elif instrument == "fermi":
        response = crab(request.getfixturevalue("files"), "fermi", "obs0", 0.03, 2).response
    else:
        response = request.getfixturevalue("gbm")[instrument].response
    low, high = response.energy_low, response.energy_high
    spectrum = smooth(np.sqrt(low[0] * high[-1]))[kind]
    parts = np.exp(np.linspace(np.log(low), np.log(high), 65))
    finer = Bins.of(parts[:-1].ravel(), parts[1:].ravel(), 7)
    # Closed forms are left aside here: every spectrum by quadrature.
    exact = np.sum(spectrum(finer.energy) * finer.weight, axis=0).reshape(64, -1).sum(axis=0)
    found = photons_in(spectrum, Bins.fine_enough(low, high))
    # A bend inside a bin is no smooth function there.
    rtol = 1e-5 if kind.startswith("band") else 1e-6
    counts = response.matrix @ exact
    # Twelve decades below the peak, where the spectrum falls by e^5 inside a bin, nobody counts.
    assert_allclose(response.matrix @ np.asarray(found), counts, rtol=rtol, atol=1e-12 * counts.max())


def test_cutting_photon_bins_changes_no_count(demo, seed_observations):
    spectrum = PowerLaw(K=50.0, index=-1.5)
    observation = dataclasses.replace(seed_observations[0], sources=None).notice((20e3, 50e3))
    problem = Problem(Model(PointSource("a", spectrum)), observation)
    assert problem.density.grids[0].low.size < demo.energy_low.size
    exact = demo.matrix @ np.asarray(spectrum.integral(Bins.of(demo.energy_low, demo.energy_high)))
    used = problem.selections[0].groups >= 0
    assert_allclose(problem.expected_counts()["s1"], exact[used], rtol=1e-12)


def test_a_response_shared_by_observations_of_different_sources_folds_each_its_own(seed_problem):
    # 3ML folds the last source set for both where two plugins share the response object (its counts 3334 -> 6669).
    alone = [
        Problem(Model(source) if source.name == "src2" else Model(PointSource("src1", Blackbody(kT=30.0))), observation)
        for source, observation in zip(seed_problem.model.sources, seed_problem.observations)
    ]
    together = seed_problem.expected_counts()
    for problem in alone:
        ((name, counts),) = problem.expected_counts().items()
        assert_allclose(together[name], counts, rtol=1e-12)


def test_an_observation_without_assignment_sees_all_sources(seed_problem, seed_model, seed_observations):
    open_to_all = Problem(seed_model, [dataclasses.replace(each, sources=None) for each in seed_observations])
    both, apart = open_to_all.expected_counts(), seed_problem.expected_counts()
    assert_allclose(both["s1"], apart["s1"] + apart["s2"], rtol=1e-12)
    assert open_to_all.spectra_seen_by(0) == ("src1", "src2")


def test_two_sources_on_one_observation_add_up(seed_model, seed_observations):
    observation = seed_observations[0].assign("src2", "src1")
    problem = Problem(seed_model, [observation, seed_observations[1]])
    apart = Problem(seed_model, seed_observations).expected_counts()
    assert_allclose(problem.expected_counts()["s1"], apart["s1"] + apart["s2"], rtol=1e-12)


def test_exposure_and_area_scale_multiply_the_model(demo):
    model = Model(PointSource("a", PowerLaw(K=1.0)))
    one = Problem(model, Observation(np.ones(128), demo, 1.0)).expected_counts()["observation"]
    more = Problem(model, Observation(np.ones(128), demo, 20.0, area_scale=3.0)).expected_counts()["observation"]
    assert_allclose(more, 60 * one, rtol=1e-12)


def test_grouping_adds_up_expected_counts_and_counts_in_the_degrees_of_freedom(demo):
    # 3ML's number of data points ignores rebinning, and its AIC and BIC with it.
    model, observation = Model(PointSource("a", PowerLaw(K=1.0))), Observation(np.ones(128), demo, 1.0)
    single = Problem(model, observation).expected_counts()["observation"]
    grouped = Problem(model, observation.group("constant", 8).ignore("ch 1-8"))
    assert_allclose(grouped.expected_counts()["observation"], single.reshape(16, 8).sum(axis=1)[1:], rtol=1e-12)
    assert grouped.n_bins == 15
    assert grouped.degrees_of_freedom == 13


# -- statistics and their sums -----------------------------------------------------------------------------------------


def test_statistics_add_up_over_bins_and_observations(simple):
    bins, totals = simple.statistic_per_bin(), simple.statistics()
    assert list(bins) == ["s1", "s2"]
    for name in bins:
        assert bins[name].shape == (128,)
        assert_allclose(bins[name].sum(), totals[name], rtol=1e-12)
    assert_allclose(sum(simple.log_likelihoods().values()), simple.log_likelihood(), rtol=1e-12)


def test_the_likelihood_is_normalised_over_poisson_counts():
    # Three channels of 1 cm2: the sum over all counts of the probability is 1.
    response = Response.diagonal([1.0, 2.0])
    model = Model(PointSource("a", PowerLaw(K=4.0, index=0.0)))
    logs = [float(Problem(model, Observation([float(n)], response, 1.0)).log_likelihood()) for n in range(5)]
    assert_allclose(logs, stats.poisson.logpmf(np.arange(5), 4.0), rtol=1e-12)


@pytest.mark.parametrize("statistic", ["cstat", "wstat", "pstat", "pgstat", "chi2"])
def test_every_statistic_is_used_as_the_observation_says(demo, statistic):
    background = Background(np.full(128, 9.0), 2.0, errors=np.full(128, 3.0) if statistic == "pgstat" else None)
    observation = Observation(np.full(128, 16.0), demo, 1.0, None if statistic == "cstat" else background)
    problem = Problem(Model(PointSource("a", PowerLaw(K=1.0))), observation.with_statistic(statistic))
    s = np.asarray(problem.expected_counts()["observation"])
    S, B, a = 16.0, 9.0, 0.5
    if statistic == "cstat":
        exact = stats.poisson.logpmf(S, s)
    elif statistic == "pstat":
        exact = stats.poisson.logpmf(S, s + a * B)
    elif statistic == "chi2":
        exact = stats.norm.logpdf(S - a * B, s, np.sqrt(S + a**2 * B))
    else:
        b = np.linspace(1e-6, 40, 200_001)[:, None]
        seen = stats.poisson.logpmf(B, b) if statistic == "wstat" else stats.norm.logpdf(B, b, 3.0)
        exact = np.max(stats.poisson.logpmf(S, s + a * b) + seen, axis=0)
    assert_allclose(problem.log_likelihood(), np.sum(exact), rtol=1e-7)


def test_observations_of_different_statistics_are_fitted_together(demo, seed_observations):
    poisson = Observation(np.full(128, 3.0), demo, 1.0, name="p")
    model = Model(PointSource("a", PowerLaw(K=50.0, index=-1.5)))
    first = dataclasses.replace(seed_observations[0], sources=None)
    together = Problem(model, [first, poisson, dataclasses.replace(first, name="again")])
    assert [s.statistic for s in together.selections] == ["wstat", "cstat", "wstat"]
    apart = sum(float(Problem(model, each).log_likelihood()) for each in together.observations)
    assert_allclose(together.log_likelihood(), apart, rtol=1e-13)
    assert_allclose(together.statistics()["p"], Problem(model, poisson).statistics()["p"], rtol=1e-12)


def test_the_prior_is_counted_once(seed_problem, seed_priors, reference):
    # 3ML adds it once per data set.
    exact = sum(float(prior.log_prob(reference.values[name])) for name, prior in seed_priors.items())
    assert_allclose(seed_problem.log_prior(reference.values), exact, rtol=1e-12)


def test_the_gradient_is_that_of_finite_differences(seed_problem, reference):
    theta = seed_problem.vector(reference.values) * 1.01
    value, gradient = seed_problem.log_likelihood_and_gradient(theta)
    assert_allclose(value, seed_problem.log_likelihood(dict(zip(seed_problem.names, theta))), rtol=1e-14)
    for i, step in enumerate(1e-5 * np.abs(theta)):
        ends = [seed_problem.log_likelihood_and_gradient(theta.at[i].add(sign * step))[0] for sign in (1, -1)]
        assert_allclose(gradient[i], (ends[0] - ends[1]) / (2 * step), rtol=1e-4)


@pytest.mark.parametrize("many", [1, 7])
def test_many_vectors_at_once_are_each_by_itself(seed_problem, reference, many):
    vectors = np.asarray(seed_problem.vector(reference.values)) * np.linspace(0.9, 1.1, many)[:, None]
    values, gradients = seed_problem.log_likelihood_and_gradient(vectors)
    assert values.shape == (many,)
    for vector, value, gradient in zip(vectors, values, gradients, strict=True):
        alone = seed_problem.log_likelihood_and_gradient(vector)
        assert_allclose(value, alone[0], rtol=1e-13)
        assert_allclose(gradient, alone[1], rtol=1e-9)


def test_values_not_named_are_those_of_the_model(seed_problem):
    vector = seed_problem.vector({"src2.powerlawflux.F": 7.0})
    exact = [7.0 if name == "src2.powerlawflux.F" else seed_problem.model.values[name] for name in seed_problem.names]
    assert_array_equal(vector, exact)


def test_a_problem_shows_what_it_is_made_of(seed_problem):
    shown = repr(seed_problem)
    assert "5 free parameters, 256 bins" in shown
    assert "s2: 128 bins" in shown
    assert "wstat, sees src2" in shown


# -- as a pytree -------------------------------------------------------------------------------------------------------


def with_counts(problem, factor):
    observations = [dataclasses.replace(each, counts=each.counts * factor) for each in problem.observations]
    return Problem(problem.model, observations)


@jax.jit
def likelihood_of(problem, theta):
    return problem.density.log_likelihood(theta)


def test_a_problem_is_an_argument_of_compiled_functions(simple, compilations):
    theta = simple.vector()
    assert_allclose(likelihood_of(simple, theta), simple.log_likelihood(), rtol=1e-13)
    other = with_counts(simple, 2.0)
    with compilations.none():
        found = likelihood_of(other, theta)
    assert_allclose(found, other.log_likelihood(), rtol=1e-13)


def test_problems_of_one_structure_are_stacked_and_mapped(simple):
    problems = [with_counts(simple, factor) for factor in (1.0, 2.0, 3.0)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *problems)
    found = jax.vmap(likelihood_of, in_axes=(0, None))(stacked, simple.vector())
    assert_allclose(found, [problem.log_likelihood() for problem in problems], rtol=1e-13)


def test_the_counts_of_a_problem_can_be_mapped_alone(simple):
    (fitted,) = simple.density.fitted
    counts = jnp.stack([fitted.data[0], 2 * fitted.data[0]])

    def one(counts):
        group = dataclasses.replace(fitted, data=(counts, *fitted.data[1:]))
        density = dataclasses.replace(simple.density, fitted=(group,))
        return jnp.sum(density.statistic_per_bin(density.expected_counts(density.layout.fill(simple.vector()))))

    found = jax.vmap(one)(counts)
    exact = [sum(with_counts(simple, factor).statistics().values()) for factor in (1.0, 2.0)]
    assert_allclose(found, exact, rtol=1e-12)


def test_inside_a_compiled_function_a_problem_has_its_own_values(simple):
    # Not those of the problem with which the function was compiled.
    function = jax.jit(lambda problem: problem.log_likelihood({"a.powerlaw.index": -1.6}))
    brighter = Problem(simple.model.with_values({"a.powerlaw.K": 70.0}), simple.observations)
    for problem in (simple, brighter):
        assert_allclose(function(problem), problem.log_likelihood({"a.powerlaw.index": -1.6}), rtol=1e-13)


def test_frozen_values_are_arguments_too(simple, compilations):
    def frozen(pivot):
        return Problem(simple.model.with_values({"a.powerlaw.pivot": pivot}), simple.observations)

    first, second = float(frozen(1.0).log_likelihood()), frozen(2.0)
    with compilations.none():
        found = float(second.log_likelihood())
    assert found != first


# -- errors ------------------------------------------------------------------------------------------------------------


def test_a_problem_needs_an_observation(seed_model):
    with pytest.raises(ValueError, match="a problem needs at least one observation"):
        Problem(seed_model, [])


def test_two_observations_of_one_name_are_refused(seed_model, seed_observations):
    with pytest.raises(ValueError, match="two observations are called 's1'; give them names of their own with name="):
        Problem(seed_model, [seed_observations[0], seed_observations[0]])


def test_a_source_name_that_no_model_has_is_refused(seed_model, seed_observations):
    with pytest.raises(
        KeyError, match=r"no source \(to which observation 's1' is assigned\) is called 'scr1'; did you"
    ):
        Problem(seed_model, [seed_observations[0].assign("scr1"), seed_observations[1]])


def test_a_source_that_nothing_sees_is_refused(seed_model, seed_observations):
    with pytest.raises(ValueError, match="no observation sees the source 'src2': assign one to it, or leave it out"):
        Problem(seed_model, seed_observations[:1])


def test_a_model_without_free_parameters_is_refused(simple):
    with pytest.raises(ValueError, match="the model has no free parameter; thaw one"):
        Problem(simple.model.freeze(*simple.model.free), simple.observations)


def test_a_missing_prior_is_named_where_the_prior_is_asked_for(simple):
    model = simple.model.with_priors({"a.powerlaw.index": dist.Normal(-2, 1)})
    with pytest.raises(ValueError, match=r"no prior for a.powerlaw.K: sampling needs one for every free parameter"):
        Problem(model, simple.observations).log_prior()


def test_a_value_for_what_is_no_free_parameter_is_refused(seed_problem):
    with pytest.raises(KeyError, match=r"no free parameter is called 'src1.blackbody.kT'; did you mean"):
        seed_problem.log_likelihood({"src1.blackbody.kT": 5.0})
