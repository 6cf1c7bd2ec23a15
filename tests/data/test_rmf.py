import gzip
import shutil
import time

import numpy as np
import pytest
from astropy.io import fits
from numpy.testing import assert_allclose, assert_array_equal
from ogip_files import MATRIX, area_table, bounds_table, matrix_series, matrix_table, ragged, save

from jaxspec.data import RepairWarning, Response


def matrix(path, *arguments, **options):
    return Response.from_ogip(path, *arguments, **options).matrix.toarray()


def test_variable_length_groups_are_read(build):
    assert_array_equal(matrix(build.rmf()), MATRIX)


def test_energies_and_channels_are_read(build):
    response = Response.from_ogip(build.rmf())
    assert_array_equal(response.energy_low, [1, 2, 3])
    assert_array_equal(response.channels, [1, 2, 3, 4])
    assert_array_equal(response.channel_high, [1.5, 2.5, 3.5, 4.5])
    assert response.repairs == ()


def test_fixed_width_groups_are_read_up_to_their_number(build):
    # What lies behind the announced groups and elements is padding.
    change = {
        "F_CHAN": ("3I", [[1, 9, 9], [2, 9, 9], [1, 4, 9]]),
        "N_CHAN": ("3I", [[2, 9, 9], [2, 9, 9], [1, 1, 9]]),
        "MATRIX": ("3D", [[0.5, 0.25, np.nan], [0.5, 0.5, 7], [0.125, 0.75, 7]]),
    }
    assert_array_equal(matrix(build.rmf(change)), MATRIX)


def test_scalar_groups_are_read(build):
    change = {
        "N_GRP": ("I", [1, 0, 1]),
        "F_CHAN": ("I", [1, 0, 3]),
        "N_CHAN": ("I", [2, 0, 1]),
        "MATRIX": ("2D", [[0.5, 0.25], [7, 7], [0.75, 7]]),
    }
    expected = [[0.5, 0, 0], [0.25, 0, 0], [0, 0, 0.75], [0, 0, 0]]
    assert_array_equal(matrix(build.rmf(change)), expected)


def test_a_matrix_without_any_group_is_empty(build):
    assert_array_equal(matrix(build.rmf({"N_GRP": ("I", [0, 0, 0])})), np.zeros((4, 3)))


def test_gzipped_files_are_read(build):
    path = build.rmf()
    with open(path, "rb") as plain, gzip.open(f"{path}.gz", "wb") as packed:
        shutil.copyfileobj(plain, packed)
    assert_array_equal(matrix(f"{path}.gz"), MATRIX)


def test_a_damaged_gzip_file_is_refused(build):
    # astropy reads on forever where the sum behind the content is wrong.
    path, packed = build.rmf(), bytearray(gzip.compress(build.rmf().read_bytes(), mtime=0))
    packed[-6] ^= 1
    path.write_bytes(packed)
    with pytest.raises(ValueError, match=r"a\.rmf: the file is damaged or no FITS file \(BadGzipFile"):
        Response.from_ogip(path)


def test_matrix_times_area_is_the_response(build):
    assert_array_equal(matrix(build.rmf(), build.arf()), MATRIX * [10, 20, 40])


@pytest.mark.parametrize("stated", [0, "0", 0.0])
def test_channels_from_zero_are_read_with_any_kind_of_tlmin(build, stated):
    change = {"F_CHAN": ("PI()", ragged([[0], [1], [0, 3]], np.int16))}
    assert_array_equal(matrix(build.rmf(change, {"TLMIN4": stated}, first=0)), MATRIX)


def test_channels_from_zero_are_recognised_without_tlmin(build):
    change = {"F_CHAN": ("PI()", ragged([[0], [1], [0, 3]], np.int16))}
    assert_array_equal(matrix(build.rmf(change, {"TLMIN4": None}, first=0)), MATRIX)


def test_groups_from_one_over_channels_from_zero_are_recognised_without_tlmin(build):
    # Fermi GBM's rsp2 files: EBOUNDS 0 to 127, F_CHAN 1 to 128.
    response = Response.from_ogip(build.rmf(None, {"TLMIN4": None}, first=0))
    assert_array_equal(response.matrix.toarray(), MATRIX)
    assert any("F_CHAN counts from 1" in text for text in response.repairs)


def test_groups_and_channels_one_apart_follow_tlmin(build):
    assert_array_equal(matrix(build.rmf(None, {"TLMIN4": 1}, first=0)), MATRIX)


def test_a_tlmin_that_cannot_be_true_is_said(build):
    # F_CHAN 1 to 4 in channels 1 to 4, but TLMIN claims 0: the last group would lie in channel 5.
    with pytest.warns(RepairWarning, match="F_CHAN counts from 1, or groups would leave the channels"):
        assert_array_equal(matrix(build.rmf(None, {"TLMIN4": 0})), MATRIX)


def test_a_missing_tlmin_that_leaves_doubt_is_said(build):
    change = {"F_CHAN": ("PI()", ragged([[1], [1], [1]], np.int16)), "N_GRP": ("I", [1, 1, 1])}
    change |= {
        "N_CHAN": ("PI()", ragged([[1], [1], [1]], np.int16)),
        "MATRIX": ("PD()", ragged([[1], [1], [1]])),
    }
    with pytest.warns(RepairWarning, match="TLMIN of F_CHAN is missing"):
        assert_array_equal(matrix(build.rmf(change, {"TLMIN4": None}, first=0))[1], [1, 1, 1])


def test_elements_beyond_the_channels_are_left_out_and_said(build):
    change = {"F_CHAN": ("PI()", ragged([[1], [2], [1, 7]], np.int16))}
    expected = MATRIX.copy()
    expected[3, 2] = 0
    with pytest.warns(RepairWarning, match=r"1 elements lie in channels that EBOUNDS does not list \(such as 7"):
        found = matrix(build.rmf(change))
    assert_array_equal(found, expected)


def test_descending_energies_are_sorted(build):
    change = {"ENERG_LO": ("D", [3.0, 2.0, 1.0], "keV"), "ENERG_HI": ("D", [4.0, 3.0, 2.0], "keV")}
    response = Response.from_ogip(build.rmf(change))
    assert_array_equal(response.energy_low, [1, 2, 3])
    assert_array_equal(response.matrix.toarray(), MATRIX[:, ::-1])
    assert any("sorted" in text for text in response.repairs)


def test_an_arf_is_matched_by_energy_where_the_matrix_descends(build):
    change = {"ENERG_LO": ("D", [3.0, 2.0, 1.0], "keV"), "ENERG_HI": ("D", [4.0, 3.0, 2.0], "keV")}
    assert_array_equal(matrix(build.rmf(change), build.arf()), MATRIX[:, ::-1] * [10, 20, 40])


def test_exchanged_energies_of_a_row_are_put_right(build):
    change = {"ENERG_LO": ("D", [2.0, 2.0, 3.0], "keV"), "ENERG_HI": ("D", [1.0, 3.0, 4.0], "keV")}
    response = Response.from_ogip(build.rmf(change))
    assert_array_equal(response.energy_low, [1, 2, 3])
    assert any("exchanged" in text for text in response.repairs)


def test_a_photon_bin_from_zero_gets_a_positive_edge(build):
    response = Response.from_ogip(build.rmf({"ENERG_LO": ("D", [0.0, 2.0, 3.0], "keV")}))
    assert_allclose(response.energy_low, [0.002, 2, 3])
    assert any("starts at 0" in text for text in response.repairs)


@pytest.mark.parametrize(("unit", "factor"), [("eV", 1e-3), ("MeV", 1e3), ("TeV", 1e9), ("J", 6.241509074460763e15)])
def test_energies_in_other_units_become_kev(build, unit, factor):
    change = {"ENERG_LO": ("D", [1.0, 2.0, 3.0], unit), "ENERG_HI": ("D", [2.0, 3.0, 4.0], unit)}
    assert_allclose(Response.from_ogip(build.rmf(change)).energy_high, factor * np.array([2, 3, 4]), rtol=1e-12)


def test_an_area_in_square_metres_becomes_cm2(build):
    arf = build.arf({"SPECRESP": ("D", [10.0, 20.0, 40.0], "m2")})
    assert_allclose(matrix(build.rmf(), arf), MATRIX * [1e5, 2e5, 4e5], rtol=1e-14)


def test_an_unknown_unit_is_said(build):
    with pytest.warns(RepairWarning, match="unit 'furlong-ish' of column ENERG_LO is unknown, taken as keV"):
        Response.from_ogip(build.rmf({"ENERG_LO": ("D", [1.0, 2.0, 3.0], "furlong-ish")}))


def test_bounds_the_wrong_way_round_are_exchanged(build):
    bounds = {"E_MIN": ("D", [1.5, 2.5, 3.5, 4.5]), "E_MAX": ("D", [0.5, 1.5, 2.5, 3.5])}
    assert_array_equal(Response.from_ogip(build.rmf(bounds=bounds)).channel_low, [0.5, 1.5, 2.5, 3.5])


def test_bounds_before_the_matrix_do_not_matter(build):
    path = save(build.folder / "b.rmf", bounds_table(), matrix_table())
    assert_array_equal(matrix(path), MATRIX)


def test_a_matrix_that_says_it_lacks_the_area_is_said(build):
    with pytest.warns(RepairWarning, match="holds no effective area, and no ARF was given"):
        Response.from_ogip(build.rmf(header={"HDUCLAS3": "REDIST"}))


def test_an_area_applied_twice_is_said(build):
    with pytest.warns(RepairWarning, match="holds the effective area, and an ARF is applied"):
        Response.from_ogip(build.rmf(header={"HDUCLAS3": "FULL"}), build.arf())


def test_rows_that_sum_to_more_than_one_are_said_where_an_arf_is_applied(build):
    change = {"MATRIX": ("PD()", ragged([[0.5, 0.25], [5.0, 5.0], [0.125, 0.75]]))}
    with pytest.warns(RepairWarning, match=r"MATRIX, row 2: the sum 10 is above 1, and an ARF is applied"):
        Response.from_ogip(build.rmf(change, {"HDUCLAS3": "FULL"}), build.arf())
    Response.from_ogip(build.rmf(change))


def several(build):
    """Matrices 1, 2 and 3 times MATRIX, valid from 0 to 10, 10 to 20 and 20 to 40 s."""
    return matrix_series(build.folder / "a.rsp2", [(0.0, 10.0), (10.0, 20.0), (20.0, 40.0)])


def test_a_matrix_is_chosen_by_number(build):
    assert_array_equal(matrix(several(build), number=2), 2 * MATRIX)
    assert_array_equal(matrix(f"{several(build)}{{3}}"), 3 * MATRIX)


def test_a_matrix_is_chosen_by_extension(build):
    assert_array_equal(matrix(f"{several(build)}[4]"), 3 * MATRIX)
    assert_array_equal(matrix(f"{build.rmf()}[MATRIX]"), MATRIX)


def test_a_matrix_is_chosen_by_time(build):
    assert_array_equal(matrix(several(build), time=10.0), 2 * MATRIX)


def test_matrices_are_weighted_by_exposure(build):
    # 5 to 25 s: 5, 10 and 5 s of 20.
    assert_allclose(matrix(several(build), time=(5, 25)), 2 * MATRIX)
    assert_allclose(matrix(several(build), time=(15, 25)), 2.5 * MATRIX)


def test_matrices_are_weighted_by_counts(build):
    assert_allclose(matrix(several(build), weights=[300, 0, 100]), 1.5 * MATRIX)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "the file has 3 matrices .*1: 0.0 to 10.0 s.*choose one by Response.from_ogip.*number=.* or time="),
        ({"number": 4}, "no matrix number 4; the file has 3"),
        ({"time": 50.0}, "no matrix is valid at 50.0 s; they cover 0.0 to 40.0 s"),
        ({"time": (9, 5)}, "time must run from earlier to later"),
        ({"weights": [1, 2]}, "weights must be 3 numbers"),
        ({"number": 1, "time": 3.0}, "give only one of number, time and weights"),
    ],
)
def test_a_choice_between_matrices_that_cannot_be_made_is_refused(build, options, message):
    with pytest.raises(ValueError, match=message):
        Response.from_ogip(several(build), **options)


def test_matrices_without_times_cannot_be_chosen_by_time(build):
    path = save(build.folder / "a.rsp2", bounds_table(), matrix_table(), matrix_table())
    with pytest.raises(ValueError, match="no TSTART and TSTOP"):
        Response.from_ogip(path, time=3.0)


def test_matrices_on_different_photon_bins_cannot_be_mixed(build):
    other = matrix_table({"ENERG_LO": ("D", [1.1, 2.0, 3.0], "keV")})
    path = save(build.folder / "a.rsp2", bounds_table(), matrix_table(), other)
    with pytest.raises(ValueError, match="photon bins differ between the matrices"):
        Response.from_ogip(path, weights=[1, 1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"MATRIX": ("PD()", ragged([[0.5], [0.5, 0.5], [1, 1]]))},
            "column MATRIX, row 1: 1 elements where 2 are due",
        ),
        (
            {"MATRIX": ("PD()", ragged([[0.5, 1], [np.nan, 1], [1, 1]]))},
            "column MATRIX, row 2: nan is not a finite number",
        ),
        (
            {"MATRIX": ("PD()", ragged([[0.5, 1], [1, 1], [1, -2]]))},
            "column MATRIX, row 3: negative element -2",
        ),
        ({"F_CHAN": ("PI()", ragged([[1], [], [1, 4]]))}, "column F_CHAN, row 2: 0 elements where 1 are due"),
        (
            {"F_CHAN": ("PI()", ragged([[1], [2], [1, 1]]))},
            "F_CHAN and N_CHAN, row 3: channel groups overlap",
        ),
        ({"F_CHAN": ("PI()", ragged([[90], [91], [92, 95]]))}, "F_CHAN names no channel that EBOUNDS lists"),
        (
            {"F_CHAN": ("PD()", ragged([[1], [1], [1, 4.5]]))},
            "column F_CHAN, row 3: 4.5 is not a whole number",
        ),
        ({"N_CHAN": ("PI()", ragged([[-2], [2], [1, 1]]))}, "column N_CHAN, row 1: negative"),
        ({"N_CHAN": ("PJ()", ragged([[99999], [2], [1, 1]]))}, "more elements than channels times energies"),
        ({"N_GRP": ("I", [1, -1, 2])}, "column N_GRP, row 2: negative"),
        ({"N_GRP": ("2I", [[1, 1], [1, 1], [2, 2]])}, "must hold one number a row"),
        ({"ENERG_LO": ("D", [np.nan, 2, 3])}, "column ENERG_LO, row 1: not a finite number"),
        ({"ENERG_LO": ("4A", ["a", "b", "c"])}, "column ENERG_LO does not hold numbers"),
        ({"MATRIX": ("4A", ["a", "b", "c"])}, "column MATRIX does not hold numbers"),
        ({"ENERG_LO": None}, "no column ENERG_LO; it has ENERG_HI, N_GRP"),
        ({"ENERG_LO": ("D", [1.0, 1.0, 3.0], "keV")}, "energy_low must increase"),
        ({"ENERG_LO": ("D", [1.0, 2.0, 3.0], "cm")}, "column ENERG_LO is in cm, which is not keV"),
        ({"MATRIX": None}, "no response matrix"),
    ],
)
def test_a_wrong_matrix_is_refused_with_column_and_row(build, change, message):
    with pytest.raises(ValueError, match=message) as caught:
        Response.from_ogip(build.rmf(change))
    assert "a.rmf" in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"CHANNEL": ("I", [1, 2, 2, 3])}, "column CHANNEL, row 3: channel numbers must increase"),
        ({"E_MIN": ("D", [0.5, np.inf, 2.5, 3.5])}, "column E_MIN, row 2: not a finite number"),
        ({"E_MIN": ("2D", np.ones((4, 2)))}, "must hold one number a row"),
    ],
)
def test_wrong_bounds_are_refused(build, change, message):
    with pytest.raises(ValueError, match=rf"EBOUNDS\]: .*{message}"):
        Response.from_ogip(build.rmf(bounds=change))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"ENERG_LO": ("D", [1.0, 2.0, 3.3], "keV")},
            r"ENERG_LO, row 3: 3\.3 keV, but 3 in row 3 of .*they must have the same bins: make the ARF for this RMF",
        ),
        ({"SPECRESP": ("D", [1.0, -2.0, 3.0])}, "column SPECRESP, row 2: negative area"),
        ({"SPECRESP": ("D", [1.0, np.nan, 3.0])}, "column SPECRESP, row 2: not a finite number"),
        ({"SPECRESP": ("2D", np.ones((3, 2)))}, "must hold one number a row"),
    ],
)
def test_a_wrong_arf_is_refused(build, change, message):
    with pytest.raises(ValueError, match=message) as caught:
        Response.from_ogip(build.rmf(), build.arf(change))
    assert "a.arf" in str(caught.value)


def test_an_arf_with_other_rows_is_refused(build):
    path = save(build.folder / "b.arf", area_table())
    with fits.open(path, mode="update") as hdus:
        hdus[1].data = hdus[1].data[:2]
    with pytest.raises(ValueError, match=r"b\.arf\[SPECRESP\]: 2 bins from 1 to 3 keV, but .* has 3 from 1 to 4"):
        Response.from_ogip(build.rmf(), path)


def test_a_file_without_bounds_is_refused(build):
    path = save(build.folder / "b.rmf", matrix_table())
    with pytest.raises(ValueError, match="no EBOUNDS extension"):
        Response.from_ogip(path)


def test_a_file_without_area_is_refused(build):
    with pytest.raises(ValueError, match="no effective area: no extension has a column SPECRESP"):
        Response.from_ogip(build.rmf(), build.rmf(name="b.rmf"))


def test_a_spectrum_is_no_response(build):
    with pytest.raises(ValueError, match="no response matrix"):
        Response.from_ogip(build.pha())


def test_a_missing_file_is_named(build):
    with pytest.raises(FileNotFoundError, match=r"nothing\.rmf: no such file"):
        Response.from_ogip(build.folder / "nothing.rmf")


def test_text_is_no_fits_file(build):
    path = build.folder / "text.rmf"
    path.write_text("energy matrix")
    with pytest.raises(ValueError, match=r"text\.rmf: the file is damaged or no FITS file"):
        Response.from_ogip(path)


def test_a_file_cut_short_is_refused(build):
    path = build.rmf()
    path.write_bytes(path.read_bytes()[:-2880])
    with pytest.raises(ValueError, match=r"a\.rmf: the file is damaged"):
        Response.from_ogip(path)


def test_a_million_groups_load_in_seconds(build):
    # 5000 rows of 200 groups; a loop over groups takes minutes.
    rows, groups = 5000, 200
    edges = np.linspace(1, 10, rows + 1)
    change = {
        "ENERG_LO": ("D", edges[:-1], "keV"),
        "ENERG_HI": ("D", edges[1:], "keV"),
        "N_GRP": ("I", np.full(rows, groups)),
        "F_CHAN": (f"{groups}I", np.tile(2 * np.arange(groups), (rows, 1))),
        "N_CHAN": (f"{groups}I", np.ones((rows, groups))),
        "MATRIX": (f"{groups}E", np.tile(np.arange(groups) + 1.0, (rows, 1))),
    }
    channels = {
        "CHANNEL": ("I", np.arange(2 * groups)),
        "E_MIN": ("D", np.arange(2 * groups) * 1.0),
        "E_MAX": ("D", np.arange(2 * groups) + 1.0),
    }
    path, start = build.rmf(change, {"TLMIN4": 0}, channels), time.process_time()
    response = Response.from_ogip(path)
    assert time.process_time() - start < 10
    assert response.matrix.nnz == rows * groups
    assert response.matrix[6, 17] == 4


# -- a matrix in parts, as that of XRISM -------------------------------------------------------------------------------


@pytest.fixture
def split(build):
    """A core on three photon bins, and a tail on two wider ones that do not reach as far."""

    def write(tail=(0.03125, 0.0625), header=None, high=(3.0, 4.0)):
        words = {"HDUCLAS3": "REDIST"} | (header or {})
        wide = {
            "ENERG_LO": ("D", [1.0, 3.0], "keV"),
            "ENERG_HI": ("D", list(high), "keV"),
            "N_GRP": ("I", [1, 1]),
            "F_CHAN": ("I", [1, 2]),
            "N_CHAN": ("I", [1, 1]),
            "MATRIX": ("D", list(tail)),
        }
        parts = matrix_table({}, words), matrix_table(wide, words)
        return save(build.folder / "split.rmf", bounds_table(), *parts)

    return write


def test_parts_of_a_matrix_are_added_on_the_finest_photon_bins(split):
    response = Response.from_ogip(split(), build_arf(split))
    expected = MATRIX + np.array([[0.03125, 0.03125, 0], [0, 0, 0.0625], [0, 0, 0], [0, 0, 0]])
    assert_array_equal(response.matrix.toarray(), expected * [10.0, 20.0, 40.0])
    assert any("2 matrices are parts of one response, added up" in text for text in response.repairs)


def build_arf(split):
    return save(split().with_name("split.arf"), area_table())


def test_one_part_can_still_be_chosen(split):
    with pytest.warns(RepairWarning, match="no effective area"):
        assert_array_equal(Response.from_ogip(split(), number=1).matrix.toarray(), MATRIX)


@pytest.mark.parametrize(
    "change",
    [{"tail": (0.5, 0.5)}, {"header": {"TSTART": 0.0, "TSTOP": 1.0}}, {"high": (2.5, 4.0)}],
    ids=["whole", "of a time", "other bins"],
)
def test_matrices_that_are_no_parts_are_not_added(split, change):
    with pytest.raises(ValueError, match=r"the file has 2 matrices .* choose one by Response.from_ogip"):
        Response.from_ogip(split(**change))
