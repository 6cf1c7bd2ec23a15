"""Maximum likelihood, on the seed's data, on real data, and where it cannot work."""

import dataclasses
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import optax
import pytest
import scipy
from numpy.testing import assert_allclose

from jaxspec import Model, Observation, PointSource, Problem, Response, fit, load
from jaxspec.inference import _curvature, _optimum
from jaxspec.quadrature import Bins
from jaxspec.spectra import BandPeak, Blackbody, CutoffPowerLawPeak, EnergyFlux, GaussianLine, LogParabola, PowerLaw

# -- the seed ----------------------------------------------------------------------------------------------------------


def test_the_best_values_of_the_seed_are_those_of_the_reference(seed_fit, reference):
    for name, value in reference.values.items():
        sigma = 0.5 * np.subtract(*reference.errors.get(name, (seed_fit.errors[name], -seed_fit.errors[name]))[::-1])
        assert abs(seed_fit.values[name] - value) < 0.02 * abs(sigma), name


def test_the_errors_of_the_seed_are_those_of_the_reference(seed_fit, reference):
    # MINOS gives both sides of the profile; their mean is that of a parabola.
    for name, (low, high) in reference.errors.items():
        assert_allclose(seed_fit.errors[name], 0.5 * (high - low), rtol=0.05)


def test_the_linked_parameter_has_the_best_value_of_what_it_follows(seed_fit):
    assert seed_fit.values["src1.blackbody.kT"] == seed_fit.values["src2.blackbody.kT"]
    assert_allclose(seed_fit.errors["src1.blackbody.kT"], seed_fit.errors["src2.blackbody.kT"], rtol=0.01)


def test_the_maximum_is_that_of_the_reference(seed_fit, reference):
    assert_allclose(seed_fit.log_likelihood, -reference.minus_log_likelihood["total"], atol=2e-4, rtol=0)


def test_no_point_around_the_maximum_is_higher(seed_fit, seed_problem):
    rng = np.random.default_rng(0)
    errors = np.array([seed_fit.errors[name] for name in seed_problem.names])
    for scale in (1e-3, 1e-2, 0.1):
        theta = seed_fit.theta + scale * rng.normal(size=(5, 5)) * errors
        assert all(seed_problem.log_likelihood_and_gradient(jnp.asarray(t))[0] < seed_fit.log_likelihood for t in theta)


def test_the_fit_converged_from_most_starts(seed_fit):
    assert seed_fit.converged
    assert seed_fit.troubles == ()
    assert seed_fit.starts_agreeing > seed_fit.n_starts // 2


def test_statistic_and_degrees_of_freedom_are_those_of_the_data(seed_fit):
    assert seed_fit.degrees_of_freedom == 256 - 5
    apart = seed_fit.problem.statistics(dict(zip(seed_fit.problem.names, seed_fit.theta)))
    assert_allclose(seed_fit.statistic, sum(apart.values()), rtol=1e-12)


def test_information_criteria_come_from_the_likelihood_alone(seed_fit):
    # 3ML's Bayesian AIC of these data is 50 lower, because it adds the prior, and that once per data set.
    assert_allclose(seed_fit.aic, 2 * 5 + 2 * 1315.0973, atol=1e-3, rtol=0)
    assert_allclose(seed_fit.bic, 5 * np.log(256) + 2 * 1315.0973, atol=1e-3, rtol=0)


def test_the_covariance_is_the_inverse_of_the_second_derivatives(seed_fit, seed_problem):
    steps = np.diag(1e-3 * np.array([seed_fit.errors[name] for name in seed_problem.names]))
    ends = [
        [seed_problem.log_likelihood_and_gradient(jnp.asarray(seed_fit.theta + sign * step))[1] for step in steps]
        for sign in (1, -1)
    ]
    hessian = np.subtract(*ends) / (2 * np.diag(steps))[:, None]
    assert_allclose(seed_fit.covariance.to_numpy(), np.linalg.inv(-hessian), rtol=1e-3)


def test_correlations_are_those_of_the_covariance(seed_fit):
    table = seed_fit.correlations
    assert list(table.index) == list(table.columns) == list(seed_fit.problem.names)
    assert_allclose(np.diag(table), 1, rtol=1e-12)
    # The posterior of the reference: -0.91 between src1's scale and the temperature, -0.858 between flux and index.
    assert_allclose(table.loc["src1.blackbody.K", "src2.blackbody.kT"], -0.91, atol=0.02)
    assert_allclose(table.loc["src2.powerlawflux.F", "src2.powerlawflux.index"], -0.858, atol=0.02)


def test_the_same_fit_gives_the_same_numbers(seed_fit, seed_problem):
    again = fit(seed_problem)
    assert np.array_equal(again.theta, seed_fit.theta)
    assert np.array_equal(again.points, seed_fit.points)


def test_priors_are_used_only_where_asked_for(seed_problem, seed_fit, reference):
    best = fit(seed_problem, use_priors=True)
    assert best.use_priors
    values = dict(zip(seed_problem.names, best.theta))
    at_maximum = dict(zip(seed_problem.names, seed_fit.theta))

    def posterior(values):
        return float(seed_problem.log_likelihood(values) + seed_problem.log_prior(values))

    assert posterior(values) > posterior(at_maximum)
    assert best.log_likelihood < seed_fit.log_likelihood
    assert_allclose(best.log_likelihood, float(seed_problem.log_likelihood(values)), rtol=1e-12)
    assert "Maximum of the posterior density" in repr(best)


def test_using_priors_needs_them(seed_problem):
    model = Model(PointSource("a", PowerLaw(K=50.0, index=-1.5)))
    problem = Problem(model, dataclasses.replace(seed_problem.observations[0], sources=None))
    with pytest.raises(ValueError, match=r"no prior for a.powerlaw.K, a.powerlaw.index"):
        fit(problem, use_priors=True)


def test_a_fit_of_the_same_structure_compiles_nothing(seed_problem, seed_fit, seed_model, compilations):
    observations = [
        dataclasses.replace(each, counts=each.counts[::-1] + 3, name=f"other {each.name}")
        for each in seed_problem.observations
    ]
    renamed = Model(*(dataclasses.replace(source, name=f"x{source.name}") for source in seed_model.sources))
    renamed = renamed.link("xsrc1.blackbody.kT", to="xsrc2.blackbody.kT").with_priors(
        {f"x{name}": jax.tree.map(lambda number: 1.1 * number, prior) for name, prior in seed_model.priors.items()}
    )
    observations = [each.assign(f"x{each.sources[0]}") for each in observations]
    problem = Problem(renamed, observations)
    with compilations.none(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit(problem)


# -- where it cannot work ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def line():
    """Ten channels of 1 keV with 4 to 13 counts each."""
    return Observation(np.arange(4.0, 14.0), Response.diagonal(np.arange(1.0, 12.0)), 1.0)


def test_a_fit_that_did_not_converge_says_so(line, monkeypatch):
    monkeypatch.setattr(_optimum, "MAX_STEPS", 2)
    problem = Problem(Model(PointSource("a", PowerLaw(K=1e6) + Blackbody(kT=1.0))), line)
    with pytest.warns(UserWarning, match="fit: the climb stopped after 2 steps with ln L still rising by"):
        best = fit(problem)
    assert not best.converged
    assert "NOT CONVERGED" in repr(best)
    assert any("still rising" in trouble for trouble in best.troubles)


def test_a_parameter_at_its_bound_is_named(line):
    model = Model(PointSource("a", PowerLaw())).with_bounds({"a.powerlaw.index": (-5, -1)})
    with pytest.warns(UserWarning, match="a.powerlaw.index lies at its bound"):
        best = fit(Problem(model, line))
    assert_allclose(best.values["a.powerlaw.index"], -1, rtol=1e-5)
    # It has no error of a normal distribution; the scale has that of Poisson counts, with the index held.
    assert np.isnan(best.errors["a.powerlaw.index"])
    relative = best.errors["a.powerlaw.K"] / best.values["a.powerlaw.K"]
    assert_allclose(relative, line.counts.sum() ** -0.5, rtol=1e-4)


def test_a_source_that_is_not_there_lies_at_the_bound_zero(line):
    dark = dataclasses.replace(line, counts=np.zeros(10))
    with pytest.warns(UserWarning, match="a.powerlaw.K lies at its bound"):
        best = fit(Problem(Model(PointSource("a", PowerLaw(index=-2.0))).freeze("a.powerlaw.index"), dark))
    assert best.values["a.powerlaw.K"] < 1e-6


def test_parameters_that_the_data_cannot_tell_apart_are_named(line):
    model = Model(PointSource("a", PowerLaw() + PowerLaw(name="same"))).freeze("a.powerlaw.index", "a.same.index")
    problem = Problem(model, line)
    with pytest.warns(UserWarning, match=r"the data cannot tell a\.powerlaw\.K and a\.same\.K apart"):
        best = fit(problem)
    assert best.troubles


def test_a_density_that_is_finite_nowhere_is_refused(line):
    model = Model(PointSource("a", PowerLaw())).link(
        "a.powerlaw.pivot", to="a.powerlaw.index", function=lambda index: jnp.where(index == -2.0, 1.0, jnp.nan)
    )
    with pytest.raises(ValueError, match="the likelihood is not finite at any starting point: set values nearer"):
        fit(Problem(model.at({"a.powerlaw.index": -3.0}), line))


def test_many_counts_recover_the_spectrum_that_made_them():
    response = Response.diagonal(np.geomspace(1, 100, 60), area=1e4)
    truth = PowerLaw(K=5.0, index=-1.7)
    mean = 1e4 * np.asarray(truth.integral(Bins.of(response.energy_low, response.energy_high)))
    best = fit(Problem(Model(PointSource("a", PowerLaw())), Observation(mean, response, 1.0)))
    assert_allclose([best.values["a.powerlaw.K"], best.values["a.powerlaw.index"]], [5.0, -1.7], rtol=1e-6)
    assert_allclose(best.statistic, 0, atol=1e-6)


def test_the_error_of_a_scale_is_that_of_poisson_counts(line):
    # One free scale: its relative error is 1 / sqrt(N).
    best = fit(Problem(Model(PointSource("a", PowerLaw(index=-1.0))).freeze("a.powerlaw.index"), line))
    assert_allclose(best.errors["a.powerlaw.K"] / best.values["a.powerlaw.K"], line.counts.sum() ** -0.5, rtol=1e-4)


# -- real data ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def burst(gbm):
    """GRB 090217 with three detectors, as a cut-off power law."""
    return fit(Problem(Model(PointSource("grb", CutoffPowerLawPeak())), list(gbm.values())))


def test_a_burst_has_the_values_of_3ml_or_better(burst):
    # 3ML 2.6.1 with Minuit: ln L lower than 2284.1583 plus its constants at these values.
    values = {"K": (0.795155, 0.0855), "index": (-0.824654, 0.0268), "peak": (617.08, 32.4)}
    theirs = burst.problem.log_likelihood({f"grb.cutoffpowerlawpeak.{name}": v for name, (v, _) in values.items()})
    assert burst.log_likelihood >= theirs
    for name, (value, sigma) in values.items():
        assert abs(burst.values[f"grb.cutoffpowerlawpeak.{name}"] - value) < 0.05 * sigma, name
        assert_allclose(burst.errors[f"grb.cutoffpowerlawpeak.{name}"], sigma, rtol=0.05)


def test_a_burst_has_the_energy_flux_of_3ml(burst):
    row = burst.flux(10, 1000).loc["grb: total"]
    # 1.479e-6 (1.456e-6, 1.502e-6) erg / (cm2 s)
    assert_allclose([cell.value for cell in row], [1.479e-6, 1.456e-6, 1.502e-6], rtol=0.01)


def test_the_band_function_is_at_least_as_good_as_the_cut_off_power_law_that_it_contains(burst, gbm):
    problem = Problem(Model(PointSource("grb", BandPeak())), list(gbm.values()))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its high-energy index runs to the bound
        band = fit(problem)
    # At beta = -10 it differs from the cut-off power law by next to nothing.
    assert band.log_likelihood > burst.log_likelihood - 0.01
    assert band.values["grb.bandpeak.beta"] < -3
    for name, value, sigma in (("K", 0.017846, 0.00046), ("alpha", -0.8239, 0.027), ("peak", 615.4, 34.0)):
        assert abs(band.values[f"grb.bandpeak.{name}"] - value) < 0.1 * sigma, name


def test_one_detector_gives_the_power_law_of_3mls_own_test(gbm):
    best = fit(Problem(Model(PointSource("grb", PowerLaw())), gbm["n6"]))
    assert_allclose(best.values["grb.powerlaw.index"], -1.18316, rtol=0.1)
    assert_allclose(best.values["grb.powerlaw.K"], 2.531, rtol=0.1)


def test_the_crab_by_fermi_is_that_of_the_reference(files):
    # Nigro et al. 2019, A&A 625, A10 (run): the curvature is quoted for log10; amplitudes in 1 / (TeV cm2 s).
    observation = Observation.from_ogip(files / "joint_crab/fermi/pha_obs0.fits")
    observation = observation.ignore("bad").notice("0.03-2 TeV", partial=False)
    best = fit(Problem(Model(PointSource("crab", LogParabola(K=1e-20, pivot=1e9))), observation))
    assert_allclose(best.statistic, 33.67463, atol=1e-3, rtol=0)
    found = np.array([best.values[f"crab.logparabola.{name}"] for name in ("K", "alpha", "beta")])
    assert_allclose(found, [4.0438e-20, -2.37153, 0.13653 / np.log(10)], rtol=2e-3)


# Every real observation that a power law describes at least roughly. A peer's fit from default values gives NaN errors.
DEFAULTS = {
    "chandra": ("chandra_3c273/3c273.pi", {}),
    "swift": (
        "swift_xrt/xrt_src.pha",
        {"response": "swift_xrt/xrt.rmf.gz", "arf": "swift_xrt/xrt.arf", "background": "swift_xrt/xrt_bkg.pha.gz"},
    ),
    "exosat": ("exosat/s54405.pha", {"response": "exosat/s54405.rsp"}),
    "gbm": ("gbm_bn090217206/bn090217206_n9_srcspectra.pha", {}),
    "magic": ("joint_crab/magic/pha_obs5029747.fits", {}),
    "fact": ("joint_crab/fact/pha_stacked.fits", {}),
}


@pytest.mark.parametrize("name", DEFAULTS)
def test_a_fit_from_default_values_converges_on_real_data(files, name):
    path, others = DEFAULTS[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # repairs of the files
        observation = Observation.from_ogip(files / path, **{key: files / other for key, other in others.items()})
    if observation.quality is not None:
        observation = observation.ignore("bad")
    best = fit(Problem(Model(PointSource("a", PowerLaw())), observation))
    assert best.converged
    assert best.starts_agreeing > 1
    assert all(np.isfinite(error) and error > 0 for error in best.errors.values())
    assert -4 < best.values["a.powerlaw.index"] < -0.5


@pytest.mark.parametrize("numbers", [(0, 1), (0.0, 1.0), (np.float64(0), np.float32(1))])
def test_the_kind_of_number_makes_no_other_program(line, numbers):
    # Integers in Normal(0, 1) and values from numpy: each had its own types, and compiled again.
    def leaves(prior, value):
        problem = Problem(Model(PointSource("a", PowerLaw(index=value))).with_priors({"a.powerlaw.index": prior}), line)
        return [(leaf.dtype, leaf.weak_type) for leaf in jax.tree.leaves(problem)]

    assert leaves(dist.Normal(*numbers), numbers[0]) == leaves(dist.Normal(0.5, 1.5), -1.5)


@pytest.mark.parametrize("last", [-1.0, np.nan])
def test_a_curvature_that_is_not_positive_gives_no_reliable_errors(last):
    covariance, doubtful, mixed = _curvature._inverse(np.diag([1.0, last])[None], np.diag([1.0, 4.0])[None])
    assert_allclose(covariance[0], np.diag([1.0, 0.25]), rtol=1e-12)
    assert doubtful
    assert not mixed.any()


# -- other optimisers, other maxima ------------------------------------------------------------------------------------


def test_an_optimiser_of_optax_finds_the_same_maximum(line):
    problem = Problem(Model(PointSource("a", PowerLaw())), line)
    best, other = fit(problem), fit(problem, method=optax.lbfgs())
    assert other.converged
    assert_allclose(other.theta, best.theta, rtol=1e-6)
    assert_allclose(list(other.errors.values()), list(best.errors.values()), rtol=1e-5)


def test_a_method_that_is_no_optimiser_is_refused(line):
    with pytest.raises(TypeError, match=r"method='adam' is not an optimiser of optax, like optax\.lbfgs"):
        fit(Problem(Model(PointSource("a", PowerLaw())), line), method="adam")


def test_lesser_maxima_are_reported(tmp_path):
    # Two lines are there, the greater at 29.5 keV, and one is in the model.
    counts = np.full(40, 20.0)
    counts[[9, 10, 11]] += [4, 12, 4]
    counts[[27, 28, 29]] += [9, 30, 9]
    model = Model(PointSource("a", PowerLaw(K=20, index=0.0) + GaussianLine(energy=11.5, sigma=1.0, K=20.0)))
    model = model.freeze("a.powerlaw.index", "a.gaussianline.sigma").with_bounds({"a.gaussianline.energy": (1, 41)})
    best = fit(Problem(model, Observation(counts, Response.diagonal(np.linspace(1.0, 41.0, 41)), 1.0)))
    assert_allclose(best.values["a.gaussianline.energy"], 29.4, atol=0.2)
    place = 1 + best.problem.names.index("a.gaussianline.energy")
    assert any(abs(other[place] - 11.5) < 0.3 and other[0] > 5 for other in best.lesser_maxima)
    assert "a lesser maximum, ln L lower by" in repr(best)
    best.save(tmp_path / "best.nc")
    assert np.array_equal(load(tmp_path / "best.nc").lesser_maxima, best.lesser_maxima)


def test_a_line_that_few_climbs_find_is_not_lost():
    # The first three climbs end elsewhere, 10 in ln L below the line at 17 keV; that of the model is narrower.
    edges = np.geomspace(1.0, 100.0, 201)

    def expected(sigma, K, tilt, scale, energy):  # E^(tilt - 1)
        power_law = np.log(edges) if tilt == 0 else edges**tilt / tilt
        return 10 * np.diff(K * power_law + scale * scipy.special.ndtr((edges - energy) / sigma))

    truth = np.array([30.0, 0.0, 5.1, 17.0])
    counts = np.random.default_rng(1).poisson(expected(0.85, *truth)).astype(float)
    model = Model(PointSource("a", PowerLaw(K=1.0, index=-1.0) + GaussianLine(energy=6.4, sigma=0.3, K=1.0)))
    model = model.freeze("a.gaussianline.sigma").with_bounds({"a.gaussianline.energy": (1.5, 80)})
    best = fit(Problem(model, Observation(counts, Response.diagonal(edges), 10.0)))

    def minus_log_likelihood(vector):
        return -scipy.stats.poisson.logpmf(counts, expected(0.3, *vector)).sum()

    at_the_line = scipy.optimize.minimize(minus_log_likelihood, truth, method="Nelder-Mead")
    assert_allclose(best.log_likelihood, -at_the_line.fun, atol=0.01, rtol=0)
    assert_allclose(best.values["a.gaussianline.energy"], at_the_line.x[3], atol=0.02)


@pytest.mark.parametrize("energy", [2.2, 25.0])
def test_a_line_far_from_where_it_was_put_is_found(energy):
    # Its norm vanishes at the end of all first climbs, which agree: 20 in ln L are lost.
    edges = np.geomspace(1.0, 100.0, 201)
    centres = np.sqrt(edges[1:] * edges[:-1])
    counts = np.round(300 * np.diff(np.log(edges)))
    counts[np.argmin(np.abs(centres - energy))] += 25
    model = Model(PointSource("a", PowerLaw(K=1.0, index=-1.0) + GaussianLine(energy=6.4, sigma=0.3, K=1.0)))
    model = model.freeze("a.gaussianline.sigma").with_bounds({"a.gaussianline.energy": (1.5, 80)})
    best = fit(Problem(model, Observation(counts, Response.diagonal(edges), 10.0)))
    assert_allclose(best.values["a.gaussianline.energy"], energy, rtol=0.01)


def test_a_single_climb_starts_at_the_present_values(line):
    best = fit(Problem(Model(PointSource("a", PowerLaw())), line), starts=1)
    assert best.n_starts == 1


def test_a_last_step_that_leaves_the_maximum_is_taken_back():
    # Slope and curvature are next to nothing: Newton's step is 50 long, a small part of an error, and ends at a cliff.
    def derivatives(index, u):
        slope = np.where(u < 1, 1e-14 * (u - 50), 100.0)
        slope[index == 1] = 4.0 * (u[index == 1] - 0.001)
        return slope, np.where(index == 1, 4.0, 1e-14)[:, None, None]

    u, exact = _curvature.refined(derivatives, np.zeros((2, 1)))
    assert_allclose(u[:, 0], [0.0, 0.001], rtol=1e-12)
    assert_allclose(exact[:, 0, 0], [1e-14, 4.0])


def test_a_parameter_without_effect_is_not_at_its_bound(line):
    spectrum = EnergyFlux(log_flux=-8.0, a=10.0, b=100.0)(PowerLaw(index=-1.0))
    with pytest.warns(UserWarning, match=r"the data do not constrain a\.powerlaw\.K"):
        best = fit(Problem(Model(PointSource("a", spectrum)), line))
    assert np.isnan(best.errors["a.powerlaw.K"])
    assert best.errors["a.energyflux.log_flux"] > 0
    assert not any("bound" in trouble for trouble in best.troubles)
