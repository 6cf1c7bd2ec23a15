"""`Observation.plot_counts` and `Response.plot`."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from jaxspec.data import Background, Observation, Response
from jaxspec.plots import _bins, _rebin, _style


@pytest.fixture
def observation(problem):
    return problem.observations[0]


def steps(ax, colour, n):
    """Counts in the steps of one colour."""
    (line,) = [line for line in ax.lines if line.get_color() == colour and len(line.get_xdata()) >= 3 * n]
    x, y = np.asarray(line.get_xdata()), np.asarray(line.get_ydata())
    return y[::3] * (x[1::3] - x[::3])


def test_counts_of_used_and_of_ignored_channels_are_drawn(observation):
    ax = observation.plot_counts().axes[0]
    used = observation.selection().groups >= 0
    assert_allclose(np.nansum(steps(ax, _style.DATA, 3)), observation.counts[used].sum(), rtol=1e-9)
    assert_allclose(np.nansum(steps(ax, _style.IGNORED, 3)), observation.counts[~used].sum(), rtol=1e-9)


def test_background_is_scaled_to_the_source(observation):
    ax = observation.plot_counts().axes[0]
    (line,) = [line for line in ax.lines if line.get_label() == "background, scaled"]
    x, y = np.asarray(line.get_xdata()), np.asarray(line.get_ydata())
    used = observation.selection().groups >= 0
    assert_allclose(y[::3] * (x[1::3] - x[::3]), observation.background.counts[used] / 3, rtol=1e-9)


def test_a_background_far_below_the_counts_is_in_the_picture():
    response = Response.diagonal(np.geomspace(1, 10, 6))
    observation = Observation(np.full(5, 1e4), response, 10.0, Background(np.full(5, 10.0), 1e6))
    (ax,) = observation.plot_counts().axes
    (line,) = [line for line in ax.lines if line.get_label() == "background, scaled"]
    assert ax.get_ylim()[0] < np.nanmax(np.asarray(line.get_ydata()))


def test_single_counts_of_ignored_channels_are_drawn_as_their_mean():
    # One count in each tenth of 100 channels of 10 eV, beside channels of 1 keV.
    response = Response.diagonal([1.0, 2.0, 3.0, *np.linspace(3.01, 4.0, 100)])
    counts = np.append([50.0, 40.0], np.arange(100) % 10 == 5)
    (ax,) = Observation(counts, response, 10.0).notice("1-3 keV").plot_counts().axes
    ignored = [line for line in ax.lines if line.get_color() == _style.IGNORED and len(line.get_xdata()) > 2]
    assert np.nanmax(np.asarray(ignored[0].get_ydata())) < 15


def test_arrows_of_upper_limits_have_the_colour_of_the_counts():
    (ax,) = Observation([5.0, 0.0], Response.diagonal([1.0, 2.0, 3.0]), 10.0).plot_counts().axes
    arrows = [line for line in ax.lines if line.get_marker() not in ("None", "", None)]
    assert arrows
    assert {line.get_markerfacecolor() for line in arrows} == {_style.DATA}


def test_joining_bins_keeps_counts(observation):
    ax = observation.plot_counts(min_counts=60).axes[0]
    joined = steps(ax, _style.DATA, 1)
    assert_allclose(joined.sum(), observation.selection().counts.sum(), rtol=1e-9)
    assert len(joined) < len(observation.selection().counts)


def test_labels_have_units_and_name(observation):
    (ax,) = observation.plot_counts().axes
    assert ax.get_title() == "with background"
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("Channel energy [keV]", "Counts per keV")
    (ax,) = observation.plot_counts(rate=True).axes
    assert ax.get_ylabel() == r"Counts [$\mathrm{s}^{-1}\,\mathrm{keV}^{-1}$]"


def test_tev_energies_are_labelled_so():
    response = Response.diagonal(np.geomspace(5e8, 5e10, 11))
    (ax,) = Observation(np.arange(10.0), response, 100.0, name="H.E.S.S.").plot_counts().axes
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("Channel energy [TeV]", "Counts per TeV")
    assert ax.get_xlim()[1] < 100


def test_gaussian_counts_below_zero_can_be_drawn():
    response = Response.diagonal(np.geomspace(1, 10, 6))
    counts, errors = np.array([30.0, 12.0, 3.0, -1.0, 0.5]), np.full(5, 2.0)
    observation = Observation(counts, response, 10.0, errors=errors, name="net")
    figure = observation.plot_counts()
    figure.savefig("/dev/null", format="png")
    assert figure.axes[0].get_ylim()[0] > 0


def test_observation_without_counts_can_be_drawn():
    response = Response.diagonal(np.geomspace(1, 10, 6))
    Observation(np.zeros(5), response, 10.0, Background(np.zeros(5), 10.0)).plot_counts()._repr_png_()


def test_response_shows_area_and_matrix(problem):
    figure = Response.diagonal(np.geomspace(1, 100, 1001), area=10.0, name="a/b.rsp").plot()
    upper, lower, colours = figure.axes
    assert upper.get_title() == "b.rsp"
    assert_allclose(upper.patches[0].get_data().values, 10.0)
    assert upper.get_ylabel() == r"Effective area [$\mathrm{cm}^2$]"
    assert (lower.get_xlabel(), lower.get_ylabel()) == ("Photon energy [keV]", "Channel energy [keV]")
    assert colours.get_ylabel() == r"$\mathrm{cm^{2}\,keV^{-1}}$"
    # 1000 channels become 334 rows of pixels; each holds its channels' cm2 over their width.
    image = lower.collections[0].get_array()
    assert image.shape == (334, 334)


def test_poisson_intervals_are_those_of_the_tables():
    # Gehrels 1986, ApJ 303, 336, tables 1 and 2, S = 1.
    low, high = _bins.interval(np.array([0.0, 1.0, 10.0]), None)
    assert_allclose(high, [1.841, 3.300, 14.27], rtol=5e-4)
    assert_allclose(low, [0.0, 0.173, 6.891], rtol=2e-3)


@pytest.mark.parametrize(
    ("unit", "text"),
    [
        ("", ""),
        ("keV", r"$\mathrm{keV}$"),
        ("1 / (cm2 s keV)", r"$\mathrm{cm}^{-2}\,\mathrm{s}^{-1}\,\mathrm{keV}^{-1}$"),
        ("keV / (cm2 s keV)", r"$\mathrm{keV}\,\mathrm{cm}^{-2}\,\mathrm{s}^{-1}\,\mathrm{keV}^{-1}$"),
        ("erg2 / s", r"$\mathrm{erg}^{2}\,\mathrm{s}^{-1}$"),
        ("1e22 / cm2", r"$10^{22}\,\mathrm{cm}^{-2}$"),
        ("1e-12 cm2", r"$\mathrm{1 \times 10^{-12}\,cm^{2}}$"),
    ],
)
def test_units_stand_in_labels_as_the_user_ordered_them(unit, text):
    assert _style.unit_text(unit) == text


@pytest.mark.parametrize(
    ("low", "high", "unit"),
    [(0.3, 10, "keV"), (250, 43000, "keV"), (2e4, 3e5, "MeV"), (1e5, 1e8, "GeV"), (6e8, 3e10, "TeV"), (0, 10, "keV")],
)
def test_energy_unit_follows_the_instrument(low, high, unit):
    assert _style.energy_unit(np.array([low]), np.array([high]))[0] == unit


@pytest.mark.parametrize(("n", "layout"), [(1, (1, 1)), (4, (1, 4)), (5, (2, 3)), (10, (3, 4))])
def test_panels_stand_at_most_four_side_by_side(n, layout):
    assert _style.rows_and_columns(n) == layout


def rebinned(run=None, **thresholds):
    n = 8
    low = 10 + np.arange(n) / 10
    counts = np.array([5.0, 1, 4, 0, 9, 2, 2, 2])
    run = np.zeros(n, int) if run is None else run
    given = {"min_counts": None, "min_significance": None, **thresholds}
    return _rebin.display_bins(run, low, low + 0.1, counts, counts, counts, **given).tolist()


def test_bins_end_when_they_have_enough_counts():
    assert rebinned() == list(range(8))
    assert rebinned(min_counts=5) == [0, 1, 1, 2, 2, 3, 3, 3]


def test_bins_end_when_they_are_significant():
    # n counts without background are sqrt(n) deviations.
    assert rebinned(min_significance=2.2) == [0, 1, 1, 2, 2, 3, 3, 3]


def test_no_bin_crosses_a_gap():
    assert rebinned(np.repeat([0, 1], [2, 6]), min_counts=7) == [0, 0, 1, 1, 1, 2, 2, 2]


def test_bins_without_signal_stay_narrower_than_half_their_energy():
    low = np.geomspace(1, 100, 101)[:-1]
    zeros = np.zeros(100)
    labels = _rebin.display_bins(zeros, low, low * 100**0.01, zeros, zeros, zeros, 10, None)
    first, last = _rebin.edges(labels, low, low * 100**0.01)
    assert (last / first).max() <= 1.5
    assert labels[-1] == 12
