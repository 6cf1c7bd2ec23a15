"""Measured fluxes beside counts in one fit."""

import astropy.units as u
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats

from jaxspec import Calibration, FluxPoints, Model, Observation, PointSource, Problem, Response, fit, load
from jaxspec.spectra import CutoffPowerLaw, PowerLaw

K, INDEX = 3.0, -1.7
ERG = 1.602176634e-9  # of a keV
PLANCK = 4.135667696e-18  # keV s


@pytest.fixture(scope="module")
def model():
    return Model(PointSource("a", PowerLaw(K=K, index=INDEX)))


def expected(model, points):
    return np.asarray(Problem(model, points).expected_counts()[points.name])


ENERGIES = np.array([1e-8, 2e-3, 1.0, 1.0, 50.0, 2e9])


@pytest.mark.parametrize(
    ("unit", "moment", "factor"),
    [
        ("1 / (cm2 s keV)", 0, 1.0),
        ("1 / (cm2 s TeV)", 0, 1e9),
        ("keV / (cm2 s keV)", 1, 1.0),
        ("erg / (cm2 s)", 2, ERG),
        # 1 Jy is 1e-23 erg / (cm2 s Hz).
        ("Jy", 1, ERG * PLANCK / 1e-23),
    ],
)
def test_points_are_the_spectrum_in_their_unit(model, unit, moment, factor):
    points = FluxPoints.at(ENERGIES, np.ones(6), 1.0, unit)
    assert_allclose(expected(model, points), factor * K * ENERGIES ** (INDEX + moment), rtol=1e-7)


def test_fluxes_over_bands_that_overlap_are_integrals(model):
    low, high = np.array([1.0, 1.0, 3.0, 10.0, 20.0]), np.array([10.0, 100.0, 30.0, 100.0, 1e4])
    for unit, moment, factor in (("1 / (cm2 s)", 0, 1.0), ("erg / (cm2 s)", 1, ERG)):
        points = FluxPoints.over(low, high, np.ones(5), 1.0, unit)
        power = INDEX + moment + 1
        assert_allclose(expected(model, points), factor * K * (high**power - low**power) / power, rtol=1e-4)


def test_frequencies_and_wavelengths_and_quantities_are_taken(model):
    # 1 keV is 2.417989e17 Hz and 12.39842 Angstrom (CODATA).
    values = [1.0, 2.0] * u.mJy
    by_frequency = FluxPoints.at([2.417989242e17, 4.835978484e17] * u.Hz, values, [0.1, 0.1] * u.mJy)
    by_wavelength = FluxPoints.at([12.3984198, 6.1992099] * u.AA, 1e-3 * values.value * u.Jy, 1e-4, "Jy")
    assert_allclose(by_frequency.response.channel_low, by_wavelength.response.channel_low, rtol=1e-7)
    assert_allclose(by_frequency.counts, 1e3 * by_wavelength.counts, rtol=1e-12)
    assert_allclose(expected(model, by_frequency), 1e3 * expected(model, by_wavelength), rtol=1e-6)
    band = FluxPoints.over([12.3984198] * u.AA, [6.1992099] * u.AA, [1.0], [0.1], "1 / (cm2 s)")
    assert_allclose(band.response.channel_high, 2.0, rtol=1e-7)


def test_magnitudes_become_janskys():
    # Oke & Gunn 1983: 3631 Jy at magnitude 0; a brighter magnitude is smaller.
    points = FluxPoints.at([2e-3, 3e-3], [16.4, 20.0], ([0.1, 0.1], [0.2, 0.2]), "mag(AB)")
    assert points.unit == "Jy"
    assert_allclose(points.counts, [3631 * 10**-6.56, 3631e-8], rtol=1e-12)
    assert_allclose(points.errors[1], 3631e-8 - 3631 * 10 ** (-0.4 * 20.2), rtol=1e-9)
    assert_allclose(points.errors_above[1], 3631 * 10 ** (-0.4 * 19.9) - 3631e-8, rtol=1e-9)


def test_the_statistic_has_the_error_on_the_side_of_the_model_and_the_probability_below_a_limit(model):
    values, below, above = np.array([2.0, 4.0, 2.0, 4.0]), np.full(4, 0.5), np.full(4, 0.25)
    points = FluxPoints.at(np.ones(4), values, (below, above), "1 / (cm2 s keV)", upper_limits=[0, 0, 1, 1])
    problem = Problem(model, points)
    found = problem.statistic_per_bin()["flux points"]
    limits = -2 * stats.norm.logcdf([(2 - K) / 0.25, (4 - K) / 0.5])
    assert_allclose(found, [16, 4, *limits], rtol=1e-6)
    # Two halves of normal distributions, and probabilities.
    peak = -np.log(np.sqrt(np.pi / 2) * 0.75)
    assert_allclose(problem.log_likelihood(), 2 * peak - 0.5 * np.sum(found), rtol=1e-7)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_gradients_are_finite_far_from_a_limit(model, scale):
    points = FluxPoints.at([1.0, 2.0], [1.0, 1.0], 0.3, "1 / (cm2 s keV)", upper_limits=[1, 0])
    problem = Problem(model, points)
    theta = problem.vector({"a.powerlaw.K": scale})
    value, gradient = problem.log_likelihood_and_gradient(theta)
    step = 1e-5 * scale
    ends = [float(problem.log_likelihood_and_gradient(theta.at[0].add(sign * step))[0]) for sign in (1, -1)]
    assert np.isfinite(value)
    assert_allclose(gradient[0], (ends[0] - ends[1]) / (2 * step), rtol=1e-4, atol=1e-8 / step)


@pytest.fixture(scope="module")
def best(model):
    """Counts of a power law from 1 to 20 keV, and its spectrum at 1 MeV and 5 eV, without noise."""
    edges = np.geomspace(1, 20, 21)
    counts = 1e3 * K * (edges[1:] ** (INDEX + 1) - edges[:-1] ** (INDEX + 1)) / (INDEX + 1)
    seen = Observation(counts, Response.diagonal(edges), 1e3, name="xrt")
    energies = np.array([5e-3, 1e3, 2e3])
    fluxes = ERG * K * energies ** (INDEX + 2)
    points = FluxPoints.at(energies, fluxes * [1, 1, 2], 0.05 * fluxes, "erg / (cm2 s)", upper_limits=[0, 0, 1])
    return fit(Problem(model, [seen, points]), starts=2)


def test_they_join_a_fit_of_counts(best):
    assert_allclose([best.values["a.powerlaw.K"], best.values["a.powerlaw.index"]], [K, INDEX], rtol=1e-5)
    assert best.problem.n_bins == 23
    # A lever of five decades: the index by two points of 5 % alone has this error.
    alone = np.hypot(0.05, 0.05) / np.log(1e3 / 5e-3)
    assert 0.5 * alone < best.errors["a.powerlaw.index"] < alone


def test_pictures_of_spectra_show_them_and_pictures_of_counts_do_not(best):
    assert [ax.get_title() for ax in best.plot_counts().axes[::2]] == ["xrt"]
    ax = best.plot_spectrum(1e-3, 1e4, unit="erg / (cm2 s)").axes[0]
    drawn = {c.get_label(): c for c in ax.containers if c.get_label() == "flux points"}
    data = drawn["flux points"].lines[0].get_xydata()
    assert_allclose(data[:, 0], [5e-3, 1e3], rtol=1e-6)
    assert_allclose(data[:, 1], ERG * K * np.array([5e-3, 1e3]) ** (INDEX + 2), rtol=1e-5)
    photons = best.plot_spectrum(1e-3, 1e4, unit="1 / (cm2 s keV)").axes[0]
    lines = next(c for c in photons.containers if c.get_label() == "flux points").lines[0]
    assert_allclose(lines.get_ydata(), K * np.array([5e-3, 1e3]) ** INDEX, rtol=1e-5)
    with pytest.raises(ValueError, match="flux points holds flux points, which have no counts: plot_spectrum shows"):
        best.plot_counts("flux points")


def test_pictures_place_bands_where_the_model_has_nothing_by_a_power_law():
    edges = np.geomspace(10, 1000, 21)
    seen = Observation(np.full(20, 9.0), Response.diagonal(edges), 1.0, name="nai")
    points = FluxPoints.over([1e5, 1e7], [1e6, 1e8], [3e-6, 1e-6], [1e-6, 4e-7], "1 / (cm2 s)")
    model = Model(PointSource("a", CutoffPowerLaw(K=10.0, index=-1.0, cutoff=100.0)))
    ax = fit(Problem(model, [seen, points]), starts=1).plot_spectrum(10, 1e8, unit="erg / (cm2 s)").axes[0]
    data = next(c for c in ax.containers if c.get_label() == "flux points").lines[0].get_xydata()
    # Of N = k E^-2, k = F / (1 / a - 1 / b) is E^2 N.
    assert_allclose(data[:, 1], ERG * np.array([3e-6 / (1e-5 - 1e-6), 1e-6 / (1e-7 - 1e-8)]), rtol=1e-3)


def test_a_saved_result_keeps_them(best, tmp_path):
    best.save(tmp_path / "a.nc")
    back = load(tmp_path / "a.nc")
    points = back.problem.observations[1]
    assert isinstance(points, FluxPoints)
    assert_array_equal(points.upper_limits, [0, 0, 1])
    assert points.unit == "erg / (cm2 s)"
    values = dict(zip(best.problem.names, best.theta))
    assert float(back.problem.log_likelihood(values)) == float(best.problem.log_likelihood(values))


def test_points_can_be_left_out_and_scaled_and_assigned(model):
    points = FluxPoints.at([1.0, 10.0, 100.0], np.ones(3), 1.0, "1 / (cm2 s keV)", name="sed").notice((5, 200))
    problem = Problem(Model(*model.sources, Calibration("sed", factor=0.5)), points.assign("a"))
    assert_allclose(problem.expected_counts()["sed"], 0.5 * K * np.array([10.0, 100.0]) ** INDEX, rtol=1e-7)
    assert "3 fluxes and 0 upper limits in 1 / (cm2 s keV), 0.9999 to 100.01 keV, 2 used" in points.info()
    assert repr(points) == "FluxPoints('sed': 3 points in 1 / (cm2 s keV))"


def test_the_expected_statistic_is_that_of_chi_squared_without_limits(model):
    points = FluxPoints.at([1.0, 2.0, 4.0], [3.0, 1.0, 0.3], 0.1, "1 / (cm2 s keV)")
    result = fit(Problem(model, points), starts=1)
    assert_allclose(result.expected_statistic, (1.0, np.sqrt(2.0)), rtol=1e-6)


WRONG = [
    (([1.0], [1.0], [0.0], "Jy"), "errors must be positive, got 0 and 0"),
    (([1.0], [1.0], [1.0], "m"), "is not a unit of a spectrum"),
    (([1.0], [1.0], [1.0]), "flux points need a unit"),
    (([-1.0], [1.0], [1.0], "Jy"), "energies of flux points must be positive and finite"),
    (([1.0] * u.s, [1.0], [1.0], "Jy"), "s is no unit of an energy, a frequency or a wavelength"),
    (([1.0, 2.0], [1.0], [1.0], "Jy"), r"values must be an array with one element per channel \(2\), got shape \(1,\)"),
]


@pytest.mark.parametrize(("arguments", "message"), WRONG, ids=[message[:20] for _, message in WRONG])
def test_bad_points_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        FluxPoints.at(*arguments)


def test_a_band_has_a_width():
    with pytest.raises(ValueError, match=r"band 1 has no width: use FluxPoints\.at for a spectrum"):
        FluxPoints.over([1, 2], [2, 2], [1, 1], 1, "1 / (cm2 s)")


def test_what_makes_no_sense_for_points_says_so(tmp_path, best):
    points = best.problem.observations[1]
    for action, message in (
        (lambda: points.group("min_counts", 3), "flux points cannot be grouped"),
        (lambda: points.to_ogip(tmp_path), "flux points have no OGIP file"),
        (points.plot_counts, r"flux points have no counts; plot_spectrum of a result"),
        (points.significance, "flux points have no counts, so no significance"),
    ):
        with pytest.raises(ValueError, match=message):
            action()
