"""Many spectra at once: each row is the fit of that spectrum alone, whatever the others are."""

import dataclasses
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from numpy.testing import assert_allclose

import jaxspec
from jaxspec import BackgroundModel, Calibration, Model, Observation, PointSource, Problem, fit, fit_each, simulate_each
from jaxspec.density import STATISTICS, Density
from jaxspec.inference import _population
from jaxspec.spectra import PowerLaw
from jaxspec.stack import _NOTHING, padded, with_data

N = 24
NAMES = ("src.powerlaw.K", "src.powerlaw.index")
FLUX = {"F": (100, 1e4, "erg / (cm2 s)")}


@pytest.fixture(scope="module")
def model():
    return Model(PointSource("src", PowerLaw(K=1e-3, index=-1.6, pivot=1000)))


@pytest.fixture(scope="module")
def truth():
    rng = np.random.default_rng(5)
    return {NAMES[0]: 2e-3 * np.exp(rng.normal(0, 0.5, N)), NAMES[1]: rng.normal(-1.8, 0.2, N)}


@pytest.fixture(scope="module")
def observations(model, truth, demo):
    return simulate_each(model, truth, demo, 10, np.full(128, 20.0), key=jax.random.key(1))


@pytest.fixture(scope="module")
def catalogue(model, observations):
    return fit_each(model, observations, flux=FLUX)


def alone(model, observations):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return fit(Problem(model, observations))


def assert_row_is(catalogue, name, best):
    row = catalogue.table().loc[name]
    assert_allclose([row[n] for n in NAMES], [best.values[n] for n in NAMES], rtol=1e-6)
    errors = [best.errors.get(n, np.nan) for n in NAMES]
    assert_allclose([row[f"{n} error"] for n in NAMES], errors, rtol=1e-6)
    assert_allclose(row["statistic"], best.statistic, rtol=1e-9)
    assert_allclose([row["ln L"], row["AIC"], row["BIC"]], [best.log_likelihood, best.aic, best.bic], rtol=1e-9)
    assert row["degrees of freedom"] == best.degrees_of_freedom
    assert row["converged"] == best.converged


def test_a_row_is_the_fit_of_that_spectrum_alone(catalogue, model, observations):
    for observation in observations[:4]:
        best = alone(model, observation)
        assert_row_is(catalogue, observation.name, best)
        flux = best.flux(*FLUX["F"])["flux"].iloc[0].value
        assert_allclose(catalogue.table().loc[observation.name, "F"], flux, rtol=1e-9)


def test_a_row_opens_as_an_ordinary_best_fit(catalogue, model, observations):
    best, expected = catalogue["3"], alone(model, observations[3])
    assert isinstance(best, jaxspec.BestFit)
    assert_allclose(list(best.values.values()), list(expected.values.values()), rtol=1e-6)
    assert_allclose(best.covariance.to_numpy(), expected.covariance.to_numpy(), rtol=1e-5)
    assert_allclose(best.statistic, expected.statistic, rtol=1e-9)
    assert best.expected_statistic is not None


def test_the_error_of_a_flux_is_that_of_its_draws(catalogue):
    draws = catalogue["5"].flux_draws(*FLUX["F"])["src: total"]
    assert_allclose(catalogue.table().loc["5", "F error"], draws.std(), rtol=0.05)


def test_channels_responses_and_statistics_may_differ(model, observations, demo):
    other = dataclasses.replace(demo, matrix=1.2 * demo.matrix, name="other")
    plain = Observation(observations[4].counts, demo, 10, name="no background")
    changed = [
        observations[0].notice("200-20000 keV"),
        observations[1].group("min_counts", 15),
        Observation(observations[2].counts, other, 10, observations[2].background, name="other response"),
        plain,
        observations[3].with_statistic("chi2").group("min_counts", 20),
    ]
    catalogue = fit_each(model, changed)
    for observation in changed:
        assert_row_is(catalogue, observation.name, alone(model, observation))


def test_observations_under_one_name_are_fitted_together(model, observations):
    pairs = {"a": observations[:2], "b": [observations[2], observations[3].notice("300-10000 keV")]}
    catalogue = fit_each(model, pairs)
    for name, pair in pairs.items():
        assert_row_is(catalogue, name, alone(model, pair))
    assert catalogue["b"].problem.labels == ("2", "3")


def test_instruments_of_all_spectra_may_be_off_by_a_factor(model, observations):
    def pair(i):
        return [dataclasses.replace(observations[i + j], name=name) for j, name in enumerate(["first", "other"])]

    calibrated = Model(*model.sources, Calibration("other", factor=0.8)).thaw("other.calibration.factor")
    catalogue = fit_each(calibrated, {"a": pair(0), "b": pair(2)})
    best = alone(calibrated, pair(2))
    assert_row_is(catalogue, "b", best)
    factor = catalogue.table().loc["b", "other.calibration.factor"]
    assert_allclose(factor, best.values["other.calibration.factor"], rtol=1e-6)


def test_gains_are_fitted_for_each_spectrum(model, observations):
    shifted = Model(*model.sources, Calibration("seen")).thaw("seen.calibration.gain_offset")
    shifted = shifted.with_bounds({"seen.calibration.gain_offset": (-20, 20)})
    seen = {str(i): dataclasses.replace(observations[i], name="seen").notice("300-20000 keV") for i in range(2)}
    catalogue, best = fit_each(shifted, seen), alone(shifted, seen["1"])
    assert_row_is(catalogue, "1", best)
    offset = catalogue.table().loc["1", "seen.calibration.gain_offset"]
    assert_allclose(offset, best.values["seen.calibration.gain_offset"], rtol=1e-5)


def test_backgrounds_with_a_model_are_fitted_for_each_spectrum(model, observations):
    both = Model(*model.sources, BackgroundModel("sky", PowerLaw(K=1e-2, index=-0.5, pivot=1000)))
    both = both.freeze("sky.powerlaw.index")
    seen = [o.with_background_model("sky", response="none").notice("300-20000 keV") for o in observations[:2]]
    catalogue, best = fit_each(both, seen), alone(both, seen[1])
    assert_row_is(catalogue, "1", best)
    assert_allclose(catalogue.table().loc["1", "sky.powerlaw.K"], best.values["sky.powerlaw.K"], rtol=1e-6)
    assert catalogue["1"].problem.labels == ("1", "1 background")


def test_a_spectrum_assigned_to_no_source_of_the_model_spoils_no_other(model, observations, catalogue):
    mixed = fit_each(model, [observations[0], observations[1].assign("nobody"), observations[2]])
    table = mixed.table()
    assert "no source" in table.loc["1", "trouble"]
    assert_allclose(table[NAMES[1]].iloc[[0, 2]], catalogue.table()[NAMES[1]].iloc[[0, 2]], rtol=1e-9)


def test_values_hold_frozen_parameters_of_each_spectrum(model, observations):
    held = model.freeze(NAMES[1])
    catalogue = fit_each(held, observations[:3], values={NAMES[1]: [-1.5, -1.8, -2.1]})
    for observation, index in zip(observations[:3], [-1.5, -1.8, -2.1]):
        assert_row_is(catalogue, observation.name, alone(held.with_values({NAMES[1]: index}), observation))
    assert catalogue["2"].values[NAMES[1]] == -2.1


def test_priors_take_part_where_asked_for(model, observations):
    informed = model.with_priors({NAMES[0]: dist.LogNormal(-6, 0.1), NAMES[1]: dist.Normal(-1, 0.05)})
    catalogue = fit_each(informed, observations[:2], use_priors=True)
    for observation in observations[:2]:
        best = fit(Problem(informed, observation), use_priors=True)
        assert_row_is(catalogue, observation.name, best)


def test_a_spectrum_that_fails_says_so_and_spoils_no_other(model, observations, demo, catalogue):
    wrong = Observation(np.ones(128), demo, 10, errors=np.zeros(128), name="wrong")
    mixed = fit_each(model, [*observations[:2], wrong, *observations[2:4]])
    row = mixed.table().loc["wrong"]
    assert not row["converged"]
    assert "error" in row["trouble"]
    assert np.isnan(row["statistic"])
    with pytest.raises(ValueError, match="wrong has no result: ValueError"):
        mixed["wrong"]
    values = [each.table().loc["3", list(NAMES)].astype(float) for each in (mixed, catalogue)]
    assert_allclose(*values, rtol=1e-9)


def test_chunks_change_no_number(monkeypatch, model, observations, catalogue):
    monkeypatch.setattr(_population, "CHUNK", 9)
    pieces = fit_each(model, observations, flux=FLUX)
    assert_allclose(pieces.rows.values, catalogue.rows.values, rtol=1e-9)
    assert list(pieces) == [observation.name for observation in observations]


def test_a_second_population_compiles_nothing(model, truth, demo, catalogue, compilations):
    again = simulate_each(model, truth, demo, 10, np.full(128, 20.0), key=jax.random.key(2))
    with compilations.none():
        fit_each(model, again, flux=FLUX)


def test_values_and_fluxes_scatter_as_their_errors_say(model, demo):
    rng = np.random.default_rng(0)
    truth = {NAMES[0]: 4e-3 * np.exp(rng.normal(0, 0.3, 500)), NAMES[1]: rng.normal(-1.8, 0.1, 500)}
    observations = simulate_each(model, truth, demo, 10, np.full(128, 20.0), key=jax.random.key(3))
    table = fit_each(model, observations, flux={"F": (100, 1e4, "1 / (cm2 s)")}).table()
    assert table["converged"].all()
    fluxes = (
        truth[NAMES[0]] * 1000 / (truth[NAMES[1]] + 1) * (10 ** (truth[NAMES[1]] + 1) - 0.1 ** (truth[NAMES[1]] + 1))
    )
    for name, true in (*truth.items(), ("F", fluxes)):
        pulls = (table[name] - true) / table[f"{name} error"]
        assert abs(pulls.mean()) < 4 / np.sqrt(500)
        assert abs(pulls.std() - 1) < 4 / np.sqrt(1000)


@pytest.mark.parametrize("statistic", list(STATISTICS))
def test_a_bin_that_is_not_there_adds_nothing(statistic):
    data = [jnp.full((3, 2) if statistic == "lstat" else 3, number) for number in _NOTHING[statistic]]
    function = STATISTICS[statistic].function
    if statistic == "lstat":
        data = [jnp.zeros((3, 2))]
    values = function(jnp.zeros(3), *data)
    slopes = jax.grad(lambda expected: jnp.sum(function(expected, *data)))(jnp.zeros(3))
    assert np.all(np.asarray(values) == 0.0)
    assert np.all(np.isfinite(slopes))


def test_stacks_know_every_field_of_a_density():
    known = {"layout", "space", "priors", "grids", "folds", "terms", "fitted", "saturated", "sizes", "grid_of"}
    assert {field.name for field in dataclasses.fields(Density)} == known


@pytest.mark.parametrize("n", [1, 7, 100, 128, 129, 1000, 4096])
def test_padding_adds_at_most_an_eighth(n):
    assert n <= padded(n) <= max(1.125 * n, n + 7)


def test_one_density_with_many_sets_of_data_gives_their_likelihoods(model, observations):
    problem = Problem(model, observations[0])
    counts, behind = (np.stack(arrays) for arrays in zip(*((o.counts, o.background.counts) for o in observations[:2])))
    data = [(counts, behind, np.ones_like(counts))]
    stacked = with_data(problem.density, data)
    values = stacked.each(lambda d, theta: d.log_likelihood(theta), jnp.tile(problem.vector(), (2, 1)))
    expected = [float(Problem(model, o).log_likelihood()) for o in observations[:2]]
    assert_allclose(np.asarray(values) + stacked.saturated, expected, rtol=1e-10)


def test_wrong_input_is_told(model, observations):
    with pytest.raises(ValueError, match="there is no observation to fit"):
        fit_each(model, [])
    with pytest.raises(ValueError, match="two observations are called '0'"):
        fit_each(model, [observations[0], observations[0]])
    with pytest.raises(TypeError, match="takes many observations"):
        fit_each(model, observations[0])
    with pytest.raises(TypeError, match="given by name"):
        fit_each(model, [observations])
    with pytest.raises(ValueError, match=r"there are 2 values of src\.powerlaw\.index for 3"):
        fit_each(model, observations[:3], values={NAMES[1]: [-1, -2]})
    with pytest.raises(KeyError, match="no spectrum is called"):
        fit_each(model, observations[:2])["nobody"]
    with pytest.raises(ValueError, match="no prior for"):
        fit_each(model, observations[:2], use_priors=True)
