import warnings

import numpy as np
import pytest
from astropy.io import fits
from numpy.testing import assert_allclose, assert_array_equal
from ogip_files import ragged, save, spectrum_table, table

from jaxspec.data import Observation, RepairWarning

COUNTS = [3, 0, 5, 2]


def test_counts_and_exposure_are_read(build):
    observation = Observation.from_ogip(build.pha())
    assert_array_equal(observation.counts, COUNTS)
    assert observation.exposure == 10
    assert observation.statistic == "cstat"


def test_a_spectrum_is_found_by_class_where_the_name_is_another(build):
    build.rmf()
    path = save(build.folder / "b.pha", spectrum_table(name="ISGR-EVTS-SPE"))
    assert_array_equal(Observation.from_ogip(path).counts, COUNTS)


def test_an_extension_is_chosen_by_its_number(build):
    build.rmf()
    second = spectrum_table({"COUNTS": ("J", [1, 1, 1, 1])})
    path = save(build.folder / "b.pha", spectrum_table(), second)
    assert_array_equal(Observation.from_ogip(f"{path}[2]").counts, [1, 1, 1, 1])


def test_an_extension_is_chosen_by_its_name(build):
    build.rmf()
    second = spectrum_table({"COUNTS": ("J", [1, 1, 1, 1])}, name="OTHER")
    path = save(build.folder / "b.pha", spectrum_table(), second)
    assert_array_equal(Observation.from_ogip(f"{path}[other]").counts, [1, 1, 1, 1])


def test_rates_become_counts_with_errors(build):
    change = {"COUNTS": None, "RATE": ("D", [0.31, 0.02, -0.1, 0.2]), "STAT_ERR": ("D", [0.1, 0.1, 0.2, 0.1])}
    observation = Observation.from_ogip(build.pha(change, {"POISSERR": False}))
    assert_allclose(observation.counts, [3.1, 0.2, -1, 2])
    assert_allclose(observation.errors, [1, 1, 2, 1])
    assert observation.statistic == "chi2"


def test_rates_of_whole_counts_that_say_poisson_are_said(build):
    change = {"COUNTS": None, "RATE": ("E", np.array(COUNTS) / 10), "STAT_ERR": ("E", np.sqrt(COUNTS) / 10)}
    with pytest.warns(RepairWarning, match="RATE with POISSERR = T is whole counts per exposure: read as Poisson"):
        observation = Observation.from_ogip(build.pha(change))
    assert_array_equal(observation.counts, COUNTS)
    assert observation.errors is None


@pytest.mark.parametrize("errors", [np.sqrt(COUNTS), 1 + np.sqrt(np.array(COUNTS) + 0.75), [3**0.5, 1, 5**0.5, 2**0.5]])
def test_whole_counts_whose_errors_are_a_formula_are_poisson(build, errors):
    # Chandra: POISSERR = F and STAT_ERR = sqrt(N) or Gehrels' formula.
    observation = Observation.from_ogip(build.pha({"STAT_ERR": ("D", errors)}, {"POISSERR": False}))
    assert observation.errors is None
    assert any("POISSERR = F, but the counts are whole" in text for text in observation.repairs)


@pytest.mark.parametrize("stated", [False, "False", "F"])
def test_errors_of_their_own_are_gaussian_in_any_spelling_of_poisserr(build, stated):
    observation = Observation.from_ogip(build.pha({"STAT_ERR": ("D", [2, 2, 3, 3])}, {"POISSERR": stated}))
    assert_array_equal(observation.errors, [2, 2, 3, 3])


@pytest.mark.parametrize("stated", [True, "True", "T"])
def test_poisserr_overrules_errors_beside_whole_counts(build, stated):
    observation = Observation.from_ogip(build.pha({"STAT_ERR": ("D", [2, 2, 3, 3])}, {"POISSERR": stated}))
    assert observation.errors is None


@pytest.mark.parametrize(("number", "said"), [(0, 0), (1, 1), (2, 1)])
def test_spectra_of_polarised_flux_are_said(build, number, said):
    # IXPE: rates with errors of Stokes I, Q and U, and for Q and U a modulation response in place of the ARF.
    build.rmf(header={"HDUCLAS3": "REDIST"})
    change = {"COUNTS": None, "RATE": ("D", [0.3, 0.1, -0.1, 0.2]), "STAT_ERR": ("D", [0.1] * 4)}
    path = build.pha(
        change, {"POISSERR": False, "XFLT0001": f"Stokes:{number}", "ANCRFILE": build.arf(name="a.mrf").name}
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        observation = Observation.from_ogip(path)
    assert len(caught) == said
    assert ("polarised flux" in observation.info()) == bool(said)
    assert_allclose(observation.counts, [3, 1, -1, 2])


def test_errors_that_are_all_zero_are_none(build):
    observation = Observation.from_ogip(build.pha({"STAT_ERR": ("D", np.zeros(4))}, {"POISSERR": None}))
    assert observation.statistic == "cstat"
    assert any("STAT_ERR is 0 throughout, left out" in text for text in observation.repairs)


def test_fractional_counts_with_errors_are_gaussian_whatever_poisserr_says(build):
    change = {"COUNTS": ("D", [2.5, 0.5, 5, 2]), "STAT_ERR": ("D", [2, 2, 3, 3])}
    observation = Observation.from_ogip(build.pha(change))
    assert observation.statistic == "chi2"
    assert any("not whole: Gaussian" in text for text in observation.repairs)


def test_fractional_counts_without_errors_that_say_poisson_are_said(build):
    with pytest.warns(RepairWarning, match="not whole, taken as Poisson all the same"):
        observation = Observation.from_ogip(build.pha({"COUNTS": ("D", [2.5, 0.5, 5, 2])}))
    assert_array_equal(observation.counts, [2.5, 0.5, 5, 2])


def test_missing_channels_are_numbered_as_the_bounds(build):
    build.rmf()
    bounds = table("EBOUNDS", {"CHANNEL": ("I", [1, 2, 3, 4]), "E_MIN": ("D", np.ones(4)), "E_MAX": ("D", np.ones(4))})
    observation = Observation.from_ogip(build.pha({"CHANNEL": None}, extra=[bounds]))
    assert_array_equal(observation.counts, COUNTS)


def test_missing_channels_without_bounds_are_said(build):
    with pytest.warns(RepairWarning, match="no column CHANNEL, numbered from 1"):
        Observation.from_ogip(build.pha({"CHANNEL": None}))


def test_scalings_are_read_from_keywords(build):
    observation = Observation.from_ogip(build.pha(header={"AREASCAL": 0.5, "BACKSCAL": 3.0}))
    assert (observation.area_scale, observation.back_scale) == (0.5, 3.0)


def test_scalings_are_read_from_columns(build):
    change = {"AREASCAL": ("D", [1, 0, 1, 0.5]), "BACKSCAL": ("D", [1, 2, 3, 4])}
    observation = Observation.from_ogip(build.pha(change))
    assert_array_equal(observation.area_scale, [1, 0, 1, 0.5])
    assert_array_equal(observation.back_scale, [1, 2, 3, 4])


def test_a_scaling_of_zero_is_said(build):
    with pytest.warns(RepairWarning, match="BACKSCAL is 0, taken as 1"):
        assert Observation.from_ogip(build.pha(header={"BACKSCAL": 0.0})).back_scale == 1


def test_systematic_errors_are_read_from_column_or_keyword(build):
    assert_array_equal(Observation.from_ogip(build.pha(header={"SYS_ERR": 0.1})).systematic, [0.1] * 4)
    change = {"SYS_ERR": ("D", [0, 0.1, 0, 0])}
    assert_array_equal(Observation.from_ogip(build.pha(change)).systematic, [0, 0.1, 0, 0])


def test_flags_are_read(build):
    change = {"QUALITY": ("I", [0, 0, 2, 5]), "GROUPING": ("I", [1, -1, 1, 0])}
    observation = Observation.from_ogip(build.pha(change))
    assert_array_equal(observation.quality, [0, 0, 2, 5])
    assert_array_equal(observation.grouping, [1, -1, 1, 0])


def test_flags_that_say_nothing_are_none(build):
    observation = Observation.from_ogip(build.pha({"GROUPING": ("I", [1, 1, 1, 1])}, {"QUALITY": 0}))
    assert observation.quality is None
    assert observation.grouping is None


def two_rows(build, header=None, **change):
    columns = {
        "SPEC_NUM": ("I", [1, 2]),
        "CHANNEL": ("4I", [[1, 2, 3, 4]] * 2),
        "COUNTS": ("4J", [COUNTS, [1, 1, 1, 1]]),
        "EXPOSURE": ("D", [10.0, 20.0]),
        "QUALITY": ("I", [0, 1]),
    }
    columns = {key: value for key, value in (columns | change).items() if value is not None}
    build.rmf()
    return save(build.folder / "two.pha", table("SPECTRUM", columns, RESPFILE="a.rmf", **(header or {})))


def test_a_row_is_chosen_by_argument_or_suffix(build):
    path = two_rows(build)
    for observation in (Observation.from_ogip(path, row=2), Observation.from_ogip(f"{path}{{2}}")):
        assert_array_equal(observation.counts, [1, 1, 1, 1])
        assert observation.exposure == 20
        assert_array_equal(observation.quality, [1, 1, 1, 1])


def test_all_rows_are_read_as_a_list(build):
    observations = Observation.all_from_ogip(two_rows(build))
    assert [observation.counts.sum() for observation in observations] == [10, 4]
    assert [observation.name for observation in observations] == ["two_1", "two_2"]


def test_a_single_spectrum_is_a_list_of_one(build):
    assert len(Observation.all_from_ogip(build.pha())) == 1


def test_rows_share_their_response(build):
    first, second = Observation.all_from_ogip(two_rows(build))
    assert first.response is second.response


def test_variable_length_rows_are_read(build):
    path = two_rows(build, COUNTS=("PJ()", ragged([COUNTS, [1, 1, 1, 1]], np.int32)))
    assert_array_equal(Observation.from_ogip(path, row=1).counts, COUNTS)


def test_rows_without_exposure_are_left_out_of_the_list_and_said(build):
    # Fermi GBM's CSPEC series of GRB 080916C has one row with EXPOSURE = -0.014.
    with pytest.warns(RepairWarning, match=r"1 rows without positive EXPOSURE left out \(2\)"):
        observations = Observation.all_from_ogip(two_rows(build, EXPOSURE=("D", [10.0, -0.1])))
    assert len(observations) == 1


def test_background_strips_of_a_grating_are_summed(build):
    strips = {"BACKGROUND_UP": ("J", [1, 0, 0, 0]), "BACKGROUND_DOWN": ("J", [0, 2, 0, 0])}
    observation = Observation.from_ogip(build.pha(strips, {"BACKSCUP": 4.0, "BACKSCDN": 5.0}))
    assert_array_equal(observation.background.counts, [1, 2, 0, 0])
    assert observation.background.back_scale == 9


@pytest.mark.parametrize(
    ("change", "header", "message"),
    [
        ({"COUNTS": ("D", [1, np.nan, 1, 1])}, {}, "column COUNTS, row 2: not a finite number"),
        (
            {"COUNTS": ("J", [1, 1, -1, 1])},
            {},
            "column COUNTS, row 3: negative counts without errors",
        ),
        ({"COUNTS": ("4A", list("abcd"))}, {}, "column COUNTS does not hold numbers"),
        (
            {"COUNTS": ("D", [0.5] * 4)},
            {"POISSERR": False},
            "does not hold whole counts, and there is no column STAT_ERR",
        ),
        ({"STAT_ERR": ("D", [1, -1, 1, 1])}, {"POISSERR": False}, "column STAT_ERR, row 2: negative error"),
        (
            {"COUNTS": ("J", [4, 1, -3, 9]), "STAT_ERR": ("D", [2, 1, 1, 3])},
            {"POISSERR": False},
            "column COUNTS, row 3: negative counts, where the errors are those of Poisson counts",
        ),
        ({"CHANNEL": ("I", [1, 2, 2, 3])}, {}, "column CHANNEL, row 3: channel numbers must increase"),
        ({"CHANNEL": ("D", [1, 2, 2.5, 3])}, {}, "column CHANNEL, row 3: 2.5 is not a whole number"),
        ({"CHANNEL": ("2I", np.ones((4, 2)))}, {}, "column CHANNEL"),
        ({"GROUPING": ("I", [1, 7, 1, 1])}, {}, "column GROUPING, row 2: 7, expected 1, 0 or -1"),
        ({"QUALITY": ("2I", np.ones((4, 2)))}, {}, "column QUALITY has 8 elements, expected 4"),
        ({"BACKSCAL": ("D", [1, 1, -1, 1])}, {}, "BACKSCAL is negative in row 3"),
        ({"SYS_ERR": ("D", [1, 1, -1, 1])}, {}, "SYS_ERR is negative in row 3"),
        ({}, {"EXPOSURE": None}, "no EXPOSURE, neither as keyword nor as column"),
        ({}, {"EXPOSURE": -3.0}, "EXPOSURE is -3 s, must be positive"),
        (
            {"COUNTS": None},
            {},
            "no spectrum: no extension is called SPECTRUM and has a column COUNTS or RATE",
        ),
    ],
)
def test_a_wrong_spectrum_is_refused_with_file_column_and_row(build, change, header, message):
    with pytest.raises(ValueError, match=message) as caught:
        Observation.from_ogip(build.pha(change, header))
    assert "a.pha" in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "the file holds 2 spectra: choose one by row=1 to 2, or read all"),
        ({"row": 3}, "no row 3; the file holds 2 spectra"),
        ({"row": 0}, "no row 0; the file holds 2 spectra"),
    ],
)
def test_a_row_that_is_not_there_is_refused(build, options, message):
    with pytest.raises(ValueError, match=message):
        Observation.from_ogip(two_rows(build), **options)


def test_a_single_spectrum_has_no_second_row(build):
    with pytest.raises(ValueError, match="row 2 was asked for, but the file holds one spectrum"):
        Observation.from_ogip(build.pha(), row=2)


def test_a_series_without_any_exposure_is_refused(build):
    with pytest.raises(ValueError, match="no row has a positive EXPOSURE"):
        Observation.all_from_ogip(two_rows(build, EXPOSURE=("D", [0.0, -1.0])))


def test_rows_of_other_length_are_refused(build):
    path = two_rows(build, CHANNEL=("3I", [[1, 2, 3]] * 2))
    with pytest.raises(ValueError, match="row 1: column CHANNEL has 3 elements, expected 4"):
        Observation.from_ogip(path, row=1)


def test_a_wrong_number_in_a_row_is_refused_with_row_column_and_element(build):
    path = two_rows(build, COUNTS=("4D", [[3, 0, 5, 2], [1, 1, np.nan, 1]]))
    with pytest.raises(ValueError, match=r"two\.pha\[SPECTRUM\] row 2: column COUNTS, element 3: not a finite number"):
        Observation.from_ogip(path, row=2)


def test_an_empty_row_is_refused(build):
    path = two_rows(build, COUNTS=("PJ()", ragged([[], [1, 1, 1, 1]], np.int32)))
    with pytest.raises(ValueError, match="column COUNTS holds no channels"):
        Observation.from_ogip(path, row=1)


def test_a_file_without_extensions_may_have_been_cut_off(build, tmp_path):
    whole = build.pha().read_bytes()
    cut = tmp_path / "cut.pha"
    cut.write_bytes(whole[: whole.index(b"XTENSION")])
    with pytest.raises(ValueError, match=r"cut\.pha: no spectrum.*may have been cut off"):
        Observation.from_ogip(cut)


def test_a_response_is_no_spectrum(build):
    with pytest.raises(ValueError, match=r"no spectrum.*its extensions: MATRIX, EBOUNDS"):
        Observation.from_ogip(build.rmf())


def test_a_missing_spectrum_is_named(build):
    with pytest.raises(FileNotFoundError, match=r"b\.pha: no such file"):
        Observation.from_ogip(build.folder / "b.pha")


def test_a_damaged_header_is_refused_with_the_file(build):
    path = build.pha()
    content = bytearray(path.read_bytes())
    with fits.open(path) as hdus:
        start = hdus[1].fileinfo()["hdrLoc"]
    content[start : start + 400] = b"?" * 400
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.pha"):
        Observation.from_ogip(path)


def test_negative_net_counts_with_errors_of_their_own_are_gaussian(build):
    change = {"COUNTS": ("J", [4, 1, -3, 9]), "STAT_ERR": ("D", [3.0, 2.5, 2.0, 3.5])}
    observation = Observation.from_ogip(build.pha(change, {"POISSERR": False}))
    assert_array_equal(observation.counts, [4, 1, -3, 9])
    assert observation.statistic == "chi2"
