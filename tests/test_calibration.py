"""Cross-calibration factors, gains and energy scales: parameters of an observation beside those of the sources."""

import jax
import numpy as np
import numpyro.distributions as dist
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats

from jaxspec import Calibration, Model, Observation, PointSource, Problem, Response, fit, load
from jaxspec.results import _pictures
from jaxspec.spectra import GaussianLine, PowerLaw

EDGES = np.linspace(1.0, 11.0, 101)


@pytest.fixture(scope="module")
def two():
    """Two observations with a response that is a diagonal, of 1 cm2 and 2 cm2."""
    return [
        Observation(np.full(100, 9.0), Response.diagonal(EDGES, area=1.0), 50.0, name="one"),
        Observation(np.full(100, 9.0), Response.diagonal(EDGES, area=2.0), 25.0, name="other"),
    ]


def power_law(low, high, K=3.0, index=-1.5):
    """The integral of K E^index from low to high."""
    return K * (high ** (index + 1) - low ** (index + 1)) / (index + 1)


def model(*calibrations):
    return Model(PointSource("a", PowerLaw(K=3.0, index=-1.5)), *calibrations)


def test_parameters_are_called_by_the_observation_and_frozen_at_the_start():
    calibrated = model(Calibration("one"))
    names = [f"one.calibration.{field}" for field in ("factor", "gain_slope", "gain_offset", "energy_scale")]
    assert list(calibrated.parameters)[3:] == names
    assert calibrated.free == model().free
    assert [calibrated.values[name] for name in names] == [1, 1, 0, 1]
    assert calibrated.parameters[names[2]].unit == "keV"
    assert "Calibration('one', factor=1" in repr(calibrated)


def test_the_factor_multiplies_the_counts_of_its_observation_alone(two):
    expected = Problem(model(Calibration("other", factor=0.9)), two).expected_counts()
    counts = 50 * power_law(EDGES[:-1], EDGES[1:])
    assert_allclose(expected["one"], counts, rtol=1e-9)
    assert_allclose(expected["other"], 0.9 * counts, rtol=1e-9)


@pytest.mark.parametrize(("slope", "offset"), [(1.0, 0.03), (0.98, 0.0), (1.03, -0.21)])
def test_a_gain_takes_counts_from_the_true_energies_of_the_channels(two, slope, offset):
    # XSPEC's gain: E' = E / slope - offset. Between edges a smooth curve takes the place of the spectrum.
    expected = Problem(model(Calibration("one", gain_slope=slope, gain_offset=offset)), two).expected_counts()["one"]
    low, high = (edges / slope - offset for edges in (EDGES[:-1], EDGES[1:]))
    inside = (low > EDGES[1]) & (high < EDGES[-2])
    assert_allclose(expected[inside], 50 * power_law(low, high)[inside], rtol=2e-3)


def test_a_gain_of_a_line_is_that_of_the_instrument_made_anew():
    # A Gaussian redistribution of 0.3 keV, filed under channels that are off by 0.07 keV.
    width, energy = 0.3, np.linspace(0.5, 12, 116)
    centres = 0.5 * (energy[1:] + energy[:-1])

    def matrix(edges):
        return np.diff(stats.norm.cdf(edges[:, None], centres, width), axis=0)

    def counts(edges, *calibrations):
        response = Response(energy[:-1], energy[1:], np.arange(100), EDGES[:-1], EDGES[1:], matrix(edges))
        line = Model(PointSource("a", GaussianLine(K=1.0, energy=6.4, sigma=0.01)), *calibrations)
        return Problem(line, Observation(np.ones(100), response, 1e3, name="one")).expected_counts()["one"]

    moved = counts(EDGES, Calibration("one", gain_slope=1.01, gain_offset=0.07))
    assert_allclose(moved, counts(EDGES / 1.01 - 0.07), atol=2e-3 * moved.max())
    assert abs(moved - counts(EDGES)).max() > 0.1 * moved.max()


def test_a_gain_at_one_and_zero_changes_nothing_but_the_program(two):
    plain = Problem(model(), two[0].group("constant", 3).ignore((2.0, 3.0)))
    thawed = model(Calibration("one")).thaw("one.calibration.gain_slope", "one.calibration.gain_offset")
    gained = Problem(thawed, plain.observations[0])
    assert_allclose(gained.expected_counts()["one"], plain.expected_counts()["one"], rtol=1e-10)


def test_channels_may_run_against_energy(two):
    turned = Response.diagonal(EDGES, area=1.0)
    turned = Response(
        turned.energy_low, turned.energy_high, turned.channels, EDGES[:-1][::-1], EDGES[1:][::-1], np.eye(100)[::-1]
    )
    gain = model(Calibration("one", gain_offset=0.05))
    reverse = Problem(gain, Observation(np.ones(100), turned, 50.0, name="one")).expected_counts()["one"]
    assert_allclose(reverse[::-1], Problem(gain, two[0]).expected_counts()["one"], rtol=1e-12)


def test_the_energy_scale_gives_a_bin_the_photons_of_the_true_energies(two):
    expected = Problem(model(Calibration("other", energy_scale=1.1)), two).expected_counts()
    assert_allclose(expected["other"], 50 * power_law(EDGES[:-1] / 1.1, EDGES[1:] / 1.1), rtol=1e-9)
    assert_allclose(expected["one"], 50 * power_law(EDGES[:-1], EDGES[1:]), rtol=1e-9)


@pytest.fixture(scope="module")
def thawed(two):
    everything = [f"other.calibration.{field}" for field in ("factor", "gain_slope", "gain_offset", "energy_scale")]
    return Problem(model(Calibration("other")).thaw(*everything), two)


@pytest.mark.parametrize("place", [0.0, 0.037])
def test_gradients_are_those_of_finite_differences(thawed, place):
    theta = np.array(thawed.start) + place
    gradient = np.asarray(thawed.log_likelihood_and_gradient(jax.numpy.asarray(theta))[1])
    for i, slope in enumerate(gradient):
        step = 1e-5 * np.eye(len(theta))[i]
        ends = [thawed.log_likelihood_and_gradient(jax.numpy.asarray(theta + sign * step))[0] for sign in (1, -1)]
        assert_allclose((ends[0] - ends[1]) / 2e-5, slope, rtol=1e-4, atol=1e-3)


def test_gradients_stay_finite_where_channels_expect_nothing():
    blind = np.diag(np.arange(100) % 7 > 2).astype(float)
    response = Response(EDGES[:-1], EDGES[1:], np.arange(100), EDGES[:-1], EDGES[1:], blind)
    free = model(Calibration("one", gain_offset=0.02)).thaw("one.calibration.gain_offset")
    problem = Problem(free, Observation(np.ones(100), response, 50.0, name="one"))
    assert np.isfinite(jax.tree.leaves(problem.log_likelihood_and_gradient(problem.vector()))[0])
    assert np.isfinite(problem.log_likelihood_and_gradient(problem.vector())[1]).all()


def test_a_calibration_frozen_at_what_changes_nothing_is_not_computed(two):
    idle = Problem(model(Calibration("one"), Calibration("other")), two).density
    assert all(term.effects is None and term.shift is None for term in idle.terms)


def test_another_name_of_the_observation_compiles_nothing(two, compilations):
    def value(name):
        observation = Observation(np.full(100, 9.0), Response.diagonal(EDGES), 50.0, name=name)
        free = model(Calibration(name)).thaw(f"{name}.calibration.factor")
        return float(Problem(free, observation).log_likelihood())

    first = value("one")
    with compilations.none():
        assert value("nai3") == first


@pytest.fixture(scope="module")
def calibrated_fit(two):
    """Counts that a power law makes, with 20 % more in the second observation."""
    counts = 50 * power_law(EDGES[:-1], EDGES[1:], K=40.0)
    seen = [
        Observation(factor * counts, each.response, each.exposure, name=each.name)
        for factor, each in zip((1.0, 1.2), two)
    ]
    free = model(Calibration("other")).thaw("other.calibration.factor")
    free = free.with_priors({"other.calibration.factor": dist.Normal(1.0, 0.2)})
    return fit(Problem(free, seen))


def test_a_fit_finds_the_factor_and_its_error(calibrated_fit):
    values = calibrated_fit.values
    assert_allclose(values["other.calibration.factor"], 1.2, rtol=1e-6)
    assert_allclose(values["a.powerlaw.K"], 40.0, rtol=1e-6)
    # The ratio of two Poisson counts.
    total = calibrated_fit.problem.observations[0].counts.sum()
    relative = np.sqrt(1 / total + 1 / (1.2 * total))
    assert_allclose(calibrated_fit.errors["other.calibration.factor"] / 1.2, relative, rtol=1e-3)
    assert "other.calibration.factor" in calibrated_fit.table().index


def test_fluxes_are_those_of_the_source_without_the_factor(calibrated_fit):
    flux = calibrated_fit.flux(2.0, 10.0, "1 / (cm2 s)")
    assert list(flux.index) == ["a: total"]
    assert_allclose(flux["flux"]["a: total"].value, power_law(2.0, 10.0, K=40.0), rtol=1e-6)


def test_pictures_show_the_counts_with_the_factor(calibrated_fit):
    folded = _pictures._folded(calibrated_fit, by_component=False)
    for name, counts in calibrated_fit.problem.expected_counts(
        dict(zip(calibrated_fit.problem.names, calibrated_fit.theta))
    ).items():
        assert_allclose(folded[name].expected[0].sum(axis=0), counts, rtol=1e-9)


def test_a_saved_result_keeps_its_calibrations(calibrated_fit, tmp_path):
    calibrated_fit.save(tmp_path / "a.nc")
    back = load(tmp_path / "a.nc")
    assert back.values == calibrated_fit.values
    assert repr(back.problem.model) == repr(calibrated_fit.problem.model.at({}))
    values = dict(zip(back.problem.names, back.theta))
    assert_array_equal(
        back.problem.expected_counts(values)["other"], calibrated_fit.problem.expected_counts(values)["other"]
    )


def test_observations_of_one_instrument_share_a_factor_by_a_link(two):
    shared = model(Calibration("one"), Calibration("other")).thaw("one.calibration.factor")
    problem = Problem(shared.link("other.calibration.factor", to="one.calibration.factor"), two)
    half = problem.expected_counts({"one.calibration.factor": 0.5})
    whole = problem.expected_counts()
    for name in ("one", "other"):
        assert_allclose(half[name], 0.5 * whole[name], rtol=1e-12)


def test_a_calibration_of_no_observation_is_refused(two):
    with pytest.raises(KeyError, match=r"no observation .* is called 'ohter'; did you mean 'other'\?"):
        Problem(model(Calibration("ohter")), two)


def test_two_calibrations_of_one_observation_are_refused():
    with pytest.raises(ValueError, match="two calibrations are called 'one'"):
        model(Calibration("one"), Calibration("one"))


def test_values_outside_their_bounds_are_refused():
    with pytest.raises(ValueError, match=r"Calibration: factor = -1  lies outside its bounds \(0, inf\)"):
        Calibration("one", factor=-1)


def test_a_name_that_no_parameter_can_have_is_refused():
    with pytest.raises(ValueError, match=r"a calibrated observation cannot be called 'a\.b'"):
        Calibration("a.b")


def test_a_gain_needs_channels_that_touch():
    low = np.array([1.0, 2.0, 3.5])
    response = Response(low, low + 1, [1, 2, 3], low, low + 1, np.eye(3))
    with pytest.raises(ValueError, match=r"one: a gain moves .* channel 2 \(2 to 3 keV\) does not end where the next"):
        Problem(model(Calibration("one", gain_offset=0.1)), Observation([1, 2, 3], response, 1.0, name="one"))
