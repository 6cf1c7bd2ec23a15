import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from jaxspec.data import Background, Observation, Response
from jaxspec.data._grouping import optimal, optimal_sizes, resolution


def bins(counts, *, method="file", number=None, background=None, **options):
    """The label of each channel, after grouping."""
    counts = np.asarray(counts, dtype=float)
    response = Response.diagonal(np.arange(1.0, counts.size + 2))
    behind = None if background is None else Background(background, 1.0)
    observation = Observation(counts, response, 1.0, behind, **options).group(method, number)
    return observation.selection().groups.tolist()


def test_the_grouping_of_the_file_is_in_use_at_first():
    response = Response.diagonal(np.arange(1.0, 6.0))
    observation = Observation(np.ones(4), response, 1.0, grouping=[1, -1, -1, 1])
    assert observation.selection().groups.tolist() == [0, 0, 0, 1]
    assert observation.group(None).selection().groups.tolist() == [0, 1, 2, 3]
    assert observation.group(None).group("file").selection().groups.tolist() == [0, 0, 0, 1]


def test_an_undefined_flag_is_a_bin_of_its_own():
    assert bins(np.ones(5), grouping=[0, 0, 1, -1, 0]) == [0, 1, 2, 2, 3]


def test_a_first_channel_that_continues_nothing_starts_a_bin():
    assert bins(np.ones(3), grouping=[-1, -1, 1]) == [0, 0, 1]


def test_bins_of_the_file_end_where_the_quality_changes():
    # XSPEC's rule (ASCA s0_mar24: 71 bins, Sherpa merges to 70): a good -1 behind a bad one starts a bin.
    grouping, quality = [1, -1, -1, -1, -1, 1], [0, 0, 2, 2, 0, 0]
    assert bins(np.ones(6), grouping=grouping, quality=quality) == [0, 0, 1, 1, 2, 3]


def test_ignoring_bad_channels_keeps_the_good_parts_apart():
    response = Response.diagonal(np.arange(1.0, 7.0))
    observation = Observation(np.ones(5), response, 1.0, grouping=[1, -1, -1, -1, -1], quality=[0, 0, 5, 0, 0])
    assert observation.ignore("bad").selection().groups.tolist() == [0, 0, -1, 1, 1]


def test_ranges_act_on_whole_bins_of_the_file():
    response = Response.diagonal(np.arange(1.0, 7.0))
    observation = Observation(np.ones(5), response, 1.0, grouping=[1, -1, 1, -1, 1])
    assert observation.notice("2.5-3.5 keV").selection().groups.tolist() == [0, 0, 1, 1, -1]
    assert observation.ignore("2.5-2.7 keV").selection().groups.tolist() == [-1, -1, 0, 0, 1]
    assert observation.notice("2-4.5 keV", partial=False).group(None).selection().groups.tolist() == [
        -1,
        0,
        1,
        -1,
        -1,
    ]


def test_channel_ranges_act_on_whole_bins_of_the_file():
    response = Response.diagonal(np.arange(1.0, 7.0))
    observation = Observation(np.ones(5), response, 1.0, grouping=[1, -1, 1, -1, 1])
    assert observation.notice("ch 2-4").selection().groups.tolist() == [0, 0, 1, 1, -1]
    assert observation.notice("ch 2-4", partial=False).selection().groups.tolist() == [-1, -1, 0, 0, -1]


def test_minimum_counts_makes_the_shortest_bins():
    assert bins([5, 1, 1, 3, 9, 5], method="min_counts", number=5) == [0, 1, 1, 1, 2, 3]


def test_a_rest_joins_the_bin_before_it():
    assert bins([5, 5, 1, 1], method="min_counts", number=5) == [0, 1, 1, 1]


def test_too_few_counts_make_one_bin():
    assert bins([1, 1, 1], method="min_counts", number=5) == [0, 0, 0]


def test_bins_never_reach_across_a_gap():
    response = Response.diagonal(np.arange(1.0, 8.0))
    observation = Observation([1, 1, 1, 9, 1, 1], response, 1.0).ignore("ch 4-4").group("min_counts", 2)
    assert observation.selection().groups.tolist() == [0, 0, 0, -1, 1, 1]


def test_bins_never_mix_good_and_bad():
    assert bins([1, 1, 1, 1], method="constant", number=4, quality=[0, 0, 1, 1]) == [0, 0, 1, 1]


def test_minimum_background_counts_looks_at_the_background():
    assert bins([9, 9, 9, 9], method="min_background_counts", number=2, background=[1, 1, 0, 2]) == [
        0,
        0,
        1,
        1,
    ]


def test_constant_leaves_a_shorter_last_bin():
    assert bins(np.ones(7), method="constant", number=3) == [0, 0, 0, 1, 1, 1, 2]


def test_significance_without_background_is_the_root_of_the_counts():
    # 9 counts are 3 sigma.
    assert bins([9, 4, 5, 8, 1], method="significance", number=3) == [0, 1, 1, 2, 2]


def test_significance_is_net_of_the_background():
    # (16 - 7) / sqrt(16 + 7) = 1.88 and (32 - 14) / sqrt(32 + 14) = 2.65
    assert bins([16, 16, 16, 16], method="significance", number=2, background=[7] * 4) == [0, 0, 1, 1]


def test_significance_uses_gaussian_errors():
    response = Response.diagonal(np.arange(1.0, 4.0))
    observation = Observation([2.0, 2.0], response, 1.0, errors=[1.0, 1.0]).group("significance", 2)
    assert observation.selection().groups.tolist() == [0, 1]


def gaussian_response(fwhm):
    """200 channels of 0.1 keV, a Gaussian line of the given width in channels."""
    edges = np.linspace(1, 21, 201)
    centre = (edges[1:] + edges[:-1]) / 2
    sigma = fwhm * 0.1 / np.sqrt(8 * np.log(2))
    matrix = np.exp(-0.5 * ((centre[:, None] - centre) / sigma) ** 2)
    return Response(edges[:-1], edges[1:], np.arange(200), edges[:-1], edges[1:], matrix)


def test_resolution_of_a_gaussian_response_is_its_full_width_at_half_maximum():
    assert_allclose(resolution(gaussian_response(12.0))[30:170], 12.0, rtol=5e-3)


def test_resolution_is_never_below_a_channel():
    assert_array_equal(resolution(Response.diagonal(np.arange(1.0, 5.0))), np.ones(3))


def test_resolution_of_an_empty_response_is_a_channel():
    edges = np.arange(1.0, 4.0)
    empty = Response(edges[:-1], edges[1:], [1, 2], edges[:-1], edges[1:], np.zeros((2, 2)))
    assert_array_equal(resolution(empty), [1, 1])


def test_optimal_bins_are_one_width_where_there_are_few_counts():
    # Kaastra & Bleeker 2016: for x = ln(N_r (1 + 0.2 ln R)) <= 2.119 the bin is one full width.
    assert_array_equal(optimal_sizes(np.zeros(50), np.full(50, 7.0), np.ones(50, dtype=bool)), np.full(50, 7))


def test_optimal_bins_shrink_with_counts_as_the_paper_says():
    # R = 200 / 20 = 10, N_r = 1.314 * 20 * 1000, x = ln(26280 * (1 + 0.2 ln 10)) = 10.5558;
    # (0.08 x + 7 + 1.8 / x) / (x + 5.9) = 0.48701, of 20 channels 9.74.
    sizes = optimal_sizes(np.full(200, 1000.0), np.full(200, 20.0), np.ones(200, dtype=bool))
    assert sizes[100] == 9


def test_the_counts_of_a_resolution_element_are_more_than_those_in_its_half_maximum():
    # R = 1, 7.3125 counts within the width, N_r = 1.314 times that, x = ln(9.6086) = 2.2627 and the bin is
    # (0.08 x + 7 + 1.8 / x) / (x + 5.9) = 0.9772 of 20 channels; without the factor x = 1.99 and the bin 20.
    assert optimal_sizes(np.full(20, 0.375), np.full(20, 20.0), np.ones(20, dtype=bool))[10] == 19


def test_optimal_bins_are_no_longer_than_any_of_their_channels_wants():
    assert optimal([(0, 8)], np.array([4, 4, 1, 4, 4, 4, 4, 4])) == [0, 3, 7]


def test_optimal_bins_of_a_real_case_have_the_size_of_the_resolution():
    observation = Observation(np.full(200, 1000.0), gaussian_response(20.0), 1.0).group("optimal")
    lengths = np.bincount(observation.selection().groups)
    assert set(lengths[2:-3]) == {9}


def test_optimal_bins_are_joined_to_a_minimum_of_counts():
    counts = np.zeros(200)
    counts[::50] = 10
    observation = Observation(counts, gaussian_response(10.0), 1.0)
    selection = observation.group("optimal_min_counts", 15).selection()
    fine = observation.group("optimal").selection().groups
    assert selection.counts.min() >= 15
    # Every bin is made of whole optimal bins.
    assert all(np.unique(selection.groups[fine == label]).size == 1 for label in np.unique(fine))


@pytest.mark.parametrize(
    ("method", "number", "message"),
    [
        ("min_count", 20, "no grouping method is called 'min_count'; there are None, 'file', 'min_counts'"),
        ("min_counts", None, "needs a positive number of counts in a bin, got None"),
        ("min_counts", -1, "needs a positive number of counts in a bin, got -1"),
        ("significance", np.nan, "needs a positive number of standard deviations"),
        ("constant", 2.5, "needs a whole number of channels, got 2.5"),
        ("optimal", 3, "takes no number, got 3"),
        ("min_background_counts", 3, "needs a background"),
    ],
)
def test_a_grouping_that_cannot_be_made_is_refused(method, number, message):
    with pytest.raises(ValueError, match=message):
        bins(np.ones(3), method=method, number=number)
