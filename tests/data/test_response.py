import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from jaxspec.data import Response

EDGES = np.array([1.0, 2.0, 4.0])
GOOD = {
    "energy_low": EDGES[:-1],
    "energy_high": EDGES[1:],
    "channels": [1, 2, 3],
    "channel_low": [0.0, 1.0, 2.0],
    "channel_high": [1.0, 2.0, 3.0],
    "matrix": np.arange(6.0).reshape(3, 2),
}


def test_matrix_is_kept_sparse_with_channels_as_rows():
    response = Response(**GOOD)
    assert response.matrix.shape == (3, 2)
    assert_array_equal(response.matrix.toarray(), GOOD["matrix"])


def test_area_is_the_sum_over_channels():
    assert_array_equal(Response(**GOOD).area, [6.0, 9.0])


def test_arrays_cannot_be_written():
    response = Response(**GOOD)
    for array in (response.energy_low, response.channels, response.channel_high, response.matrix.data):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 5


def test_arrays_of_the_caller_stay_his_own():
    matrix = GOOD["matrix"].copy()
    response = Response(**(GOOD | {"matrix": matrix}))
    matrix[0, 1] = 99
    assert response.matrix[0, 1] == 1


def test_big_endian_input_becomes_native():
    assert Response(**(GOOD | {"energy_low": EDGES[:-1].astype(">f4")})).energy_low.dtype == np.dtype("f8")


def test_diagonal_maps_each_bin_onto_its_channel():
    response = Response.diagonal(EDGES, area=2.0)
    assert_array_equal(response.matrix.toarray(), 2 * np.eye(2))
    assert_array_equal(response.channel_high, [2.0, 4.0])
    assert_array_equal(response.channels, [1, 2])


def test_repr_tells_channels_bins_and_peak_area():
    text = repr(Response(**GOOD, name="mine"))
    for part in ("mine", "3 channels 0-3 keV", "2 photon bins 1-4 keV", "peak area 9 cm2"):
        assert part in text


def test_restricted_keeps_the_chosen_channels():
    part = Response(**GOOD).restricted(np.array([False, True, True]))
    assert_array_equal(part.channels, [2, 3])
    assert_array_equal(part.matrix.toarray(), GOOD["matrix"][1:])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"energy_high": [2.0]}, "energy_high has 1 elements, expected 2"),
        ({"channel_low": [0.0, 1.0]}, "channel_low has 2 elements, expected 3"),
        ({"matrix": np.ones((2, 3))}, r"shape \(2, 3\), expected .* \(3, 2\); transpose"),
        ({"matrix": -np.ones((3, 2))}, "finite and not negative, got -1.0 at channel 1"),
        ({"matrix": np.full((3, 2), np.nan)}, "finite and not negative, got nan"),
        ({"energy_low": [0.0, 2.0]}, "energy_low must be positive; bin 0"),
        ({"energy_high": [1.0, 4.0]}, "energy_high must be above energy_low; bin 0"),
        ({"energy_low": [2.0, 1.0], "energy_high": [4.0, 2.0]}, "energy_low must increase"),
        ({"energy_high": [3.0, 4.0]}, "photon bins overlap; bin 0"),
        ({"energy_low": [np.nan, 2.0]}, r"energy_low\[0\] is not a finite number"),
        ({"energy_low": [[1.0, 2.0]]}, "must have one dimension"),
        ({"channels": [1, 3, 2]}, "channel numbers must increase; bin 1"),
        ({"channels": [1, 2, 2.5]}, "channel numbers must be whole; bin 2"),
        ({"channel_high": [1.0, 0.5, 3.0]}, "channel_high must not be below channel_low; bin 1"),
    ],
)
def test_wrong_arrays_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        Response(**(GOOD | change))


def test_text_in_place_of_numbers_is_refused():
    with pytest.raises(TypeError, match="energy_low must be an array of numbers, got list"):
        Response(**(GOOD | {"energy_low": ["a", "b"]}))


def test_diagonal_needs_two_edges():
    with pytest.raises(ValueError, match="at least two energies, got 1"):
        Response.diagonal([1.0])


def test_energies_that_touch_only_to_single_precision_pass():
    low = np.array([1.0, np.nextafter(np.float32(2), np.float32(0))])
    assert_allclose(Response(**(GOOD | {"energy_low": low})).energy_low[1], 2.0, rtol=1e-6)
