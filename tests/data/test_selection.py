import astropy.units as u
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from jaxspec import chi_squared
from jaxspec.data import Background, Observation, Response

# `observation` has channels 1 to 10 of 1 keV from 1 to 11 keV.


def kept(observation):
    """The channel numbers that the likelihood sees."""
    return list(observation.response.channels[observation.selection().groups >= 0])


def test_everything_is_noticed_at_first(observation):
    selection = observation.selection()
    assert_array_equal(selection.groups, np.arange(10))
    assert_array_equal(selection.counts, observation.counts)
    assert_array_equal(selection.background, np.arange(10.0))
    assert_array_equal(selection.channel_low, np.arange(1.0, 11.0))


@pytest.mark.parametrize(
    ("given", "channels"),
    [
        ("3-5 keV", [3, 4]),
        ("3-5", [3, 4]),
        ("3 to 5 keV", [3, 4]),
        ("3000-5000 eV", [3, 4]),
        ("3e-3-5e-3 MeV", [3, 4]),
        ("**-2.5", [1, 2]),
        ("9.5-**", [9, 10]),
        ("0-2 keV", [1]),
        ("2.4797-4.1328 Angstrom", [3, 4]),
        ("ch 3-5", [3, 4, 5]),
        ("channels 3-5", [3, 4, 5]),
        ("ch **-2", [1, 2]),
        ((3, 5), [3, 4]),
        ([3.0, 5.0], [3, 4]),
        ((None, 2.5), [1, 2]),
        ((9.5, None), [9, 10]),
        ((0, 2), [1]),
        ((3 * u.keV, 5000 * u.eV), [3, 4]),
        ((4.1328 * u.AA, 2.4797 * u.AA), [3, 4]),
    ],
)
def test_ranges_are_understood_in_every_way_of_writing_them(observation, given, channels):
    assert kept(observation.notice(given)) == channels


def test_numbers_are_channels_on_request(observation):
    assert kept(observation.notice((3, 5), "8-9", channels=True)) == [3, 4, 5, 8, 9]


def test_ranges_of_one_call_are_united(observation):
    assert kept(observation.notice("1-3 keV", (9, 11))) == [1, 2, 9, 10]


def test_a_channel_counts_as_noticed_if_a_part_of_it_is(observation):
    assert kept(observation.notice("2.5-4.5 keV")) == [2, 3, 4]


def test_a_channel_counts_as_noticed_only_as_a_whole_on_request(observation):
    assert kept(observation.notice("2.5-4.5 keV", partial=False)) == [3]


def test_a_channel_is_ignored_if_a_part_of_it_is(observation):
    assert kept(observation.ignore("2.5-9.5 keV")) == [1, 10]


def test_a_channel_is_ignored_only_as_a_whole_on_request(observation):
    assert kept(observation.ignore("2.5-9.5 keV", partial=False)) == [1, 2, 9, 10]


def test_edges_that_only_touch_do_not_overlap(observation):
    assert kept(observation.notice("3-4 keV")) == [3]


def test_single_precision_edges_touch_too():
    edges = np.array([0.29, 0.3, 0.31], dtype=np.float32)
    observation = Observation([1, 1], Response.diagonal(edges), 1.0)
    assert kept(observation.notice("0.3-0.31 keV")) == kept(observation.notice("0.3-0.31 keV", partial=False)) == [2]


def test_bad_channels_are_ignored_by_word(response):
    observation = Observation(np.ones(10), response, 1.0, quality=[0, 1, 0, 0, 2, 0, 5, 0, 0, 0])
    assert kept(observation.ignore("bad")) == [1, 3, 4, 6, 8, 9, 10]
    assert len(kept(observation)) == 10


def test_notice_all_forgets_every_range(observation):
    assert len(kept(observation.notice("3-5 keV").ignore("4-5 keV").notice_all())) == 10


STEPS = [
    lambda o: o.notice("2-8 keV"),
    lambda o: o.notice("9-10 keV"),
    lambda o: o.ignore("4-5 keV"),
    lambda o: o.ignore("bad"),
    lambda o: o.group("min_counts", 4),
]


@settings(max_examples=20, deadline=None)
@given(st.permutations(STEPS))
def test_the_order_of_calls_does_not_matter(steps):
    background = Background(np.arange(10.0), 20.0)
    response = Response.diagonal(np.arange(1.0, 12.0))
    observation = Observation([4, 0, 3, 6, 1, 2, 8, 0, 5, 7], response, 1.0, background, quality=[0] * 9 + [1])
    for step in steps:
        observation = step(observation)
    # Channels 2, 3 | 5, 6, 7 | 9 with counts 0 3 | 1 2 8 | 5.
    assert_array_equal(observation.selection().groups, [-1, 0, 0, -1, 1, 1, 1, -1, 2, -1])


def test_methods_leave_the_observation_as_it_was(observation):
    observation.notice("3-5 keV")
    observation.group("constant", 2)
    assert len(kept(observation)) == 10


def test_bins_sum_counts_and_span_energies(observation):
    selection = observation.group("constant", 4).selection()
    assert_array_equal(selection.counts, [13, 11, 12])
    assert_array_equal(selection.background, [6, 22, 17])
    assert_array_equal(selection.channel_low, [1, 5, 9])
    assert_array_equal(selection.channel_high, [5, 9, 11])


def test_the_ratio_holds_exposure_area_and_region(observation):
    # Source 10 s, background 20 s and twice the region: 10 / (20 * 2).
    assert_array_equal(observation.selection().ratio, np.full(10, 0.25))


def test_the_ratio_follows_scalings_of_single_channels(response):
    background = Background(np.ones(10), 2.0, area_scale=np.arange(1.0, 11.0), back_scale=4.0)
    observation = Observation(np.ones(10), response, 1.0, background, area_scale=0.5, back_scale=np.full(10, 3.0))
    assert_allclose(observation.selection().ratio, 0.5 * 3 / (2 * np.arange(1, 11) * 4))


def test_the_ratio_of_a_bin_is_the_mean_of_its_channels(response):
    background = Background(np.ones(10), 1.0, back_scale=np.array([1.0, 2.0] * 5))
    selection = Observation(np.ones(10), response, 1.0, background).group("constant", 2).selection()
    assert_array_equal(selection.ratio, np.full(5, 0.75))


def test_the_ratio_of_equal_channels_is_theirs_to_the_last_digit(response):
    background = Background(np.ones(10), 30.0)
    selection = Observation(np.ones(10), response, 0.1, background).group("constant", 7).selection()
    assert_array_equal(selection.ratio, np.full(2, 0.1 / 30.0))


def test_where_the_background_sees_nothing_none_is_expected(response):
    background = Background(np.zeros(10), 1.0, area_scale=np.array([0.0, *np.ones(9)]))
    ratio = Observation(np.ones(10), response, 1.0, background).selection().ratio
    assert_array_equal(ratio, [0, *np.ones(9)])


def test_the_area_scale_is_given_for_every_channel(response):
    observation = Observation(np.ones(10), response, 1.0, area_scale=2.5).notice("3-5 keV")
    assert_array_equal(observation.selection().area_scale, np.full(10, 2.5))


def test_only_chi_squared_carries_errors_of_the_counts(observation):
    assert observation.selection().errors is None
    assert_allclose(observation.with_statistic("chi2").group("constant", 5).selection().errors ** 2, [14, 22])


def test_pgstat_carries_errors_of_the_background(response):
    background = Background(np.ones(10), 1.0, errors=np.full(10, 2.0))
    selection = Observation(np.ones(10), response, 1.0, background).group("constant", 5).selection()
    assert selection.statistic == "pgstat"
    assert_allclose(selection.background_errors, np.sqrt([20, 20]))


def test_cstat_leaves_the_background_out(observation):
    selection = observation.with_statistic("cstat").selection()
    assert selection.background is None
    assert selection.ratio is None


def test_empty_bins_have_xspec_s_variance():
    # XSPEC: N <= 0 counts as 1; with both empty the smaller of 1 and ratio^2; with one empty the other term.
    response = Response.diagonal(np.arange(1.0, 6.0))
    background = Background([0, 4, 0, 4], 2.0)
    selection = Observation([0, 0, 9, 9], response, 1.0, background, statistic="chi2").selection()
    assert_allclose(selection.errors**2 + (0.5 * selection.background_errors) ** 2, [0.25, 1, 9, 10])
    alone = Observation([0, 0, 9, 9], response, 1.0, statistic="chi2").selection()
    assert_allclose(alone.errors**2, [1, 1, 9, 9])


# The errors of net counts that XSPEC 12.10.1m gives, from Sherpa's tests (sherpa/stats/tests/test_stats.py): exposures
# and BACKSCAL of source and background, errors for these counts.
XSPEC_SOURCE, XSPEC_BACKGROUND = [0, 0, 0, 1, 3, 1, 1, 3, 3], [0, 1, 3, 0, 0, 1, 3, 1, 3]
XSPEC_ERRORS = {
    (1, 1, 1, 1): [1, 1, 1.73205078, 1, 1.73205078, 1.41421354, 2, 2, 2.44948983],
    (1, 10, 1, 1): [0.1, 0.1, 0.173205078, 1, 1.73205078, 1.0049876, 1.01488912, 1.73493516, 1.74068952],
    (1, 0.1, 1, 1): [1, 10, 17.320507, 1, 1.73205078, 10.0498753, 17.3493519, 10.1488914, 17.4068947],
    (100, 10, 0.1, 0.1): [1, 10, 17.3205078, 1, 1.73205081, 10.0498758, 17.3493519, 10.1488918, 17.4068958],
    (100, 10, 0.1, 0.2): [1, 5, 8.66025388, 1, 1.73205081, 5.09901941, 8.7177977, 5.29150255, 8.83176103],
    (100, 50, 0.1, 0.4): [0.5, 0.5, 0.866025407, 1, 1.73205081, 1.11803403, 1.32287564, 1.80277564, 1.93649177],
    (100, 200, 0.1, 0.2): [0.25, 0.25, 0.433012703, 1, 1.73205081, 1.03077637, 1.08972471, 1.75, 1.78535711],
}


@pytest.mark.parametrize(("exposure", "other", "scale", "other_scale"), XSPEC_ERRORS)
def test_errors_of_few_counts_are_those_of_xspec(exposure, other, scale, other_scale):
    background = Background(XSPEC_BACKGROUND, other, back_scale=other_scale)
    response = Response.diagonal(np.arange(1.0, 11.0))
    source = Observation(XSPEC_SOURCE, response, exposure, background, back_scale=scale, statistic="chi2").selection()
    errors = np.hypot(source.errors, source.ratio * source.background_errors)
    assert_allclose(errors, XSPEC_ERRORS[exposure, other, scale, other_scale], rtol=1e-6)
    variance = chi_squared.data_variance(XSPEC_SOURCE, XSPEC_BACKGROUND, source.ratio)
    assert_allclose(np.sqrt(variance), errors, rtol=1e-12)


def test_errors_of_empty_channels_of_different_scalings_are_those_of_xspec():
    # From the same tests of Sherpa.
    response, counts = Response.diagonal(np.arange(1.0, 6.0)), np.zeros(4)
    background = Background(counts, 125.0, back_scale=[0.1, 0.1, 4, 20])
    source = Observation(counts, response, 100.0, background, back_scale=[0.1, 0.2, 2, 5], statistic="chi2").selection()
    assert_allclose(np.hypot(source.errors, source.ratio * source.background_errors), [0.8, 1.0, 0.4, 0.2], rtol=1e-12)


def test_gehrels_errors_are_upper_limits_of_the_counts_in_a_bin(observation):
    selection = observation.with_statistic("chi2", variance="gehrels").group("constant", 5).selection()
    # counts 14 and 22, background 10 and 35
    assert_allclose(selection.errors, 1 + np.sqrt([14.75, 22.75]), rtol=1e-12)
    assert_allclose(selection.background_errors, 1 + np.sqrt([10.75, 35.75]), rtol=1e-12)


def test_churazov_errors_are_those_of_the_mean_over_neighbours(observation):
    selection = observation.with_statistic("chi2", variance="churazov").selection()
    # counts 4 0 3 6 1 2 8 0 5 7; background 0 to 9
    assert_allclose(selection.errors[[0, 4, 9]] ** 2, [7 / 3, 4, 4], rtol=1e-12)
    assert_allclose(selection.background_errors[[0, 4, 9]] ** 2, [1, 4, 8], rtol=1e-12)


def test_the_variance_of_the_model_holds_background_and_systematic_errors(response):
    background = Background(np.full(10, 8.0), 2.0, systematic=np.full(10, 0.25))
    observation = Observation(np.full(10, 20.0), response, 1.0, background, systematic=np.full(10, 0.1))
    changed = observation.with_statistic("chi2", variance="model", systematic=0.02)
    selection = changed.selection()
    assert selection.statistic == "chi2 model"
    assert selection.systematic == 0.02
    # 0.5 * 8 in the source region; 0.25 * (8 + (0.25 * 8)^2) of what is subtracted; (0.1 * 20)^2
    assert_allclose(selection.added_variance, 4 + 3 + 4, rtol=1e-12)
    assert "chi2: chosen by the user, variance model, systematic error 0.02 of the model" in changed.info()


def test_another_statistic_forgets_the_variance(observation):
    changed = observation.with_statistic("chi2", variance="gehrels").with_statistic("wstat")
    assert changed.variance == "data"
    assert changed.selection().statistic == "wstat"


def test_the_l_statistic_has_the_data_of_w(observation):
    selection = observation.with_statistic("lstat").selection()
    assert_array_equal(selection.background, np.arange(10.0))
    assert_array_equal(selection.ratio, np.full(10, 0.25))


def test_systematic_errors_count_in_chi_squared_only(response):
    observation = Observation(np.full(10, 100.0), response, 1.0, systematic=np.full(10, 0.1))
    assert_allclose(observation.with_statistic("chi2").selection().errors, np.sqrt(200))
    assert observation.selection().errors is None


def test_gaussian_errors_add_in_quadrature(response):
    observation = Observation(np.ones(10), response, 1.0, errors=np.full(10, 3.0)).group("constant", 5)
    assert_allclose(observation.selection().errors, np.sqrt([45, 45]))


def test_arrays_of_a_selection_cannot_be_written(observation):
    selection = observation.with_statistic("chi2").selection()
    for array in (
        selection.groups,
        selection.counts,
        selection.errors,
        selection.ratio,
        selection.channel_low,
    ):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1


@pytest.mark.parametrize("given", ["8 keV", "a-b", "", "8-", "3-5-7", "keV 3-5"])
def test_text_that_is_no_range_is_refused(observation, given):
    with pytest.raises(ValueError, match="is not a range: write '8-30 keV'"):
        observation.notice(given)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (8, TypeError, "8 is not a range: give pairs like"),
        ((1, 2, 3), TypeError, "is not a range: give pairs like"),
        ((5, 3), ValueError, "lower energy must be below the upper one, got 5 and 3"),
        ("5-3 keV", ValueError, "lower energy must be below the upper one"),
        ((3, np.nan), ValueError, "upper energy must be positive and finite, got nan"),
        (("a", 5), ValueError, "lower energy must be a number in keV or a quantity like 8 \\* u.keV, got 'a'"),
        ((-3, 5), ValueError, "lower energy must be positive and finite, got -3"),
        ((3 * u.s, 5 * u.s), ValueError, "no energy, frequency or wavelength"),
        ("3-5 kiloton", ValueError, "'kiloton' is not a unit"),
        ("3-5 s", ValueError, "no energy, frequency or wavelength"),
        ("ch 5-3", ValueError, "first channel must not be above the last, got 5.0 and 3.0"),
        ("ch 3-5 keV", ValueError, "channel numbers have no unit"),
        ("200-300 keV", ValueError, "no channel is left; channels run from 1 to 10 and from 1 to 11 keV"),
    ],
)
def test_ranges_that_make_no_sense_are_refused(observation, given, error, message):
    with pytest.raises(error, match=message):
        observation.notice(given)


def test_channels_with_units_are_refused(observation):
    with pytest.raises(TypeError, match="channel numbers must be plain numbers"):
        observation.notice((3 * u.keV, 5 * u.keV), channels=True)


def test_a_call_without_ranges_is_refused(observation):
    with pytest.raises(TypeError, match="give at least one range"):
        observation.notice()


def test_bad_is_no_range_to_notice(observation):
    with pytest.raises(ValueError, match="notice takes ranges"):
        observation.notice("bad")


def test_a_range_narrower_than_a_bin_of_the_file_is_refused_only_with_that_grouping(response):
    observation = Observation(np.ones(10), response, 1.0, grouping=[1] + [-1] * 9).notice("3-5 keV", partial=False)
    with pytest.raises(ValueError, match="no channel is left"):
        observation.selection()
    assert kept(observation.group(None)) == [3, 4]
    assert "0 of 10 used" in observation.info()


def test_ignoring_everything_is_refused(observation):
    with pytest.raises(ValueError, match="no channel is left"):
        observation.ignore("1-11 keV")


def test_chi_squared_with_an_error_of_zero_is_refused(response):
    observation = Observation(np.ones(10), response, 1.0, errors=[1, 1, 0, *[1] * 7])
    with pytest.raises(ValueError, match="the bin of channel 3 has the error 0"):
        observation.selection()
    assert "note         observation: the bin of channel 3 has the error 0" in observation.info()
    assert observation.ignore("ch 3-3").selection().errors.size == 9
