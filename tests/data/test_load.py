import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from ogip_files import MATRIX, bounds_table, matrix_series, matrix_table, save, spectrum_table, table

from jaxspec.data import Background, Observation, RepairWarning, Response


def with_background(build, change=None, header=None, name="b.bak"):
    keywords = {"RESPFILE": "none", "EXPOSURE": 40.0, "HDUCLAS2": "BKG", "BACKSCAL": 2.0} | (header or {})
    return save(build.folder / name, spectrum_table({"COUNTS": ("J", [8, 1, 2, 9])} | (change or {}), keywords))


def test_named_files_are_followed(build):
    with_background(build)
    build.arf()
    observation = Observation.from_ogip(build.pha(header={"BACKFILE": "b.bak", "ANCRFILE": "a.arf"}))
    assert_array_equal(observation.background.counts, [8, 1, 2, 9])
    assert observation.background.exposure == 40
    assert_array_equal(observation.response.matrix.toarray(), MATRIX * [10, 20, 40])
    assert observation.statistic == "wstat"


def test_info_names_the_arf_and_says_where_no_instrument_is_stated(build):
    build.arf()
    path = build.pha(header={"ANCRFILE": "a.arf", "TELESCOP": "none", "INSTRUME": "none"})
    text = Observation.from_ogip(path).info()
    assert "a.rmf with a.arf': 4 channels" in text
    assert "instrument   not stated" in text


def test_named_files_are_looked_for_beside_the_spectrum_first(build, monkeypatch):
    elsewhere = build.folder / "elsewhere"
    elsewhere.mkdir()
    save(elsewhere / "a.rmf", matrix_table(header={"HDUCLAS3": "REDIST"}), bounds_table())
    path = build.pha()
    monkeypatch.chdir(elsewhere)
    assert Observation.from_ogip(path).response.name == str(build.folder / "a.rmf")


def test_a_path_of_another_machine_is_found_by_its_last_part(build):
    assert Observation.from_ogip(build.pha(header={"RESPFILE": "/home/someone/a.rmf"})).counts.size == 4


def test_a_named_file_that_was_compressed_is_found(build):
    with_background(build, name="c.bak.gz")
    assert Observation.from_ogip(build.pha(header={"BACKFILE": "c.bak"})).background is not None


def test_a_named_file_that_was_unpacked_is_found(build):
    with_background(build, name="c.bak")
    assert Observation.from_ogip(build.pha(header={"BACKFILE": "c.bak.gz"})).background is not None


def test_a_file_of_another_ending_is_not_taken_for_the_named_one(build):
    with_background(build, name="lost")
    with pytest.raises(FileNotFoundError, match="neither beside the file"):
        Observation.from_ogip(build.pha(header={"BACKFILE": "lost.bak"}))


def test_a_correction_file_is_said_to_be_left_out(build):
    with pytest.warns(RepairWarning, match=r"the correction file some\.cor is not subtracted"):
        Observation.from_ogip(build.pha(header={"CORRFILE": "some.cor", "CORRSCAL": 1.0}))


@pytest.mark.parametrize("word", ["none", "NONE", "", "%match%", " None "])
def test_words_for_no_file_are_understood(build, word):
    assert Observation.from_ogip(build.pha(header={"BACKFILE": word, "ANCRFILE": word})).background is None


def test_arguments_take_the_place_of_named_files(build):
    other = build.rmf(name="b.rmf", header={"HDUCLAS3": "FULL"})
    path = build.pha(header={"RESPFILE": "lost.rmf", "BACKFILE": "lost.bak", "ANCRFILE": "lost.arf"})
    observation = Observation.from_ogip(path, with_background(build), other, "none")
    assert_array_equal(observation.background.counts, [8, 1, 2, 9])
    assert observation.response.name == str(other)


def test_objects_take_the_place_of_named_files(build):
    response, background = Response.from_ogip(build.rmf()), Background(np.ones(4), 3.0)
    observation = Observation.from_ogip(build.pha(header={"RESPFILE": "lost.rmf"}), background, response)
    assert observation.response is response
    assert observation.background is background


def test_the_word_none_does_without_a_named_background(build):
    with_background(build)
    path = build.pha(header={"BACKFILE": "b.bak"})
    assert Observation.from_ogip(path, background="none").background is None


def test_a_row_of_a_background_file_is_chosen_by_suffix(build):
    columns = {"COUNTS": ("4J", [[1, 1, 1, 1], [2, 2, 2, 2]]), "CHANNEL": ("4I", [[1, 2, 3, 4]] * 2)}
    save(build.folder / "two.bak", table("SPECTRUM", columns, EXPOSURE=1.0))
    observation = Observation.from_ogip(build.pha(header={"BACKFILE": "two.bak{2}"}))
    assert_array_equal(observation.background.counts, [2, 2, 2, 2])


def test_each_row_takes_the_background_of_its_own_row(build):
    columns = {"COUNTS": ("4J", [[1, 1, 1, 1], [2, 2, 2, 2]]), "CHANNEL": ("4I", [[1, 2, 3, 4]] * 2)}
    build.rmf()
    save(build.folder / "two.bak", table("SPECTRUM", columns, EXPOSURE=1.0))
    header = {"EXPOSURE": 1.0, "BACKFILE": "two.bak", "RESPFILE": "a.rmf"}
    path = save(build.folder / "two.pha", table("SPECTRUM", columns, **header))
    first, second = Observation.all_from_ogip(path)
    assert (first.background.counts.sum(), second.background.counts.sum()) == (4, 8)


def test_a_background_file_of_several_rows_needs_a_choice(build):
    columns = {"COUNTS": ("4J", [[1, 1, 1, 1], [2, 2, 2, 2]]), "CHANNEL": ("4I", [[1, 2, 3, 4]] * 2)}
    save(build.folder / "two.bak", table("SPECTRUM", columns, EXPOSURE=1.0))
    with pytest.raises(ValueError, match=r"the file holds 2 spectra; name one as <file>\{n\}"):
        Observation.from_ogip(build.pha(header={"BACKFILE": "two.bak"}))


def test_a_background_in_the_file_of_the_spectrum_is_found(build):
    # Chandra's source catalogue: BACKFILE is the file itself, and the second extension is the background.
    second = spectrum_table({"COUNTS": ("J", [9, 9, 9, 9])}, {"HDUCLAS2": "BKG"})
    path = build.pha(header={"BACKFILE": "a.pha"}, extra=[second])
    observation = Observation.from_ogip(path)
    assert_array_equal(observation.counts, [3, 0, 5, 2])
    assert_array_equal(observation.background.counts, [9, 9, 9, 9])


def test_a_spectrum_is_not_its_own_background(build):
    with pytest.raises(ValueError, match="BACKFILE names the spectrum itself"):
        Observation.from_ogip(build.pha(header={"BACKFILE": "a.pha"}))


def test_a_spectrum_with_a_part_of_the_channels_gets_that_part_of_the_response(build):
    change = {"CHANNEL": ("I", [2, 4]), "COUNTS": ("J", [7, 9])}
    observation = Observation.from_ogip(build.pha(change))
    assert_array_equal(observation.response.matrix.toarray(), MATRIX[[1, 3]])
    assert any("2 of the 4 channels" in text for text in observation.repairs)


def test_channels_one_off_the_response_are_matched_by_position_and_said(build):
    with pytest.warns(RepairWarning, match="matched by position"):
        observation = Observation.from_ogip(build.pha({"CHANNEL": ("I", [0, 1, 2, 3])}))
    assert_array_equal(observation.response.matrix.toarray(), MATRIX)


def test_channels_one_off_whose_energies_agree_are_no_warning(build):
    path = build.pha({"CHANNEL": ("I", [0, 1, 2, 3])}, extra=[bounds_table(first=0)])
    assert any("matched by position" in text for text in Observation.from_ogip(path).repairs)


def test_a_background_one_off_the_source_is_matched_by_position_and_said(build):
    with_background(build, {"CHANNEL": ("I", [0, 1, 2, 3])})
    with pytest.warns(RepairWarning, match=r"b\.bak.*matched by position"):
        observation = Observation.from_ogip(build.pha(header={"BACKFILE": "b.bak"}))
    assert_array_equal(observation.background.counts, [8, 1, 2, 9])


def test_a_background_with_more_channels_is_matched_by_number(build):
    with_background(build)
    change = {"CHANNEL": ("I", [2, 4]), "COUNTS": ("J", [7, 9])}
    observation = Observation.from_ogip(build.pha(change, {"BACKFILE": "b.bak"}))
    assert_array_equal(observation.background.counts, [1, 9])


def test_channels_that_do_not_match_the_response_are_refused(build):
    with pytest.raises(
        ValueError,
        match=r"CHANNEL runs from 3 to 6 .* row 3, channel 5, is none of those of the response .* from 1 to 4",
    ):
        Observation.from_ogip(build.pha({"CHANNEL": ("I", [3, 4, 5, 6])}))


def test_a_background_with_other_channels_is_refused(build):
    with_background(build, {"CHANNEL": ("I", [3, 4, 5, 6])})
    message = r"a\.pha\[SPECTRUM\]: column CHANNEL .* row 1, channel 1, is none of those of the background .*b\.bak\["
    with pytest.raises(ValueError, match=message):
        Observation.from_ogip(build.pha(header={"BACKFILE": "b.bak"}))


def test_a_lost_file_is_refused_with_the_argument_that_helps(build):
    with pytest.raises(
        FileNotFoundError, match=r"BACKFILE names 'lost\.bak'.*Give background=<path>, or background='none'"
    ):
        Observation.from_ogip(build.pha(header={"BACKFILE": "lost.bak"}))
    with pytest.raises(FileNotFoundError, match=r"RESPFILE names 'lost\.rmf'.*Give response=<path>$"):
        Observation.from_ogip(build.pha(header={"RESPFILE": "lost.rmf"}))


def test_a_spectrum_without_response_is_refused(build):
    with pytest.raises(ValueError, match="RESPFILE names no response; give response="):
        Observation.from_ogip(build.pha(header={"RESPFILE": "none"}))


def test_an_arf_beside_a_response_object_is_refused(build):
    with pytest.raises(TypeError, match="arf= goes with the path of an RMF file"):
        Observation.from_ogip(build.pha(), response=Response.from_ogip(build.rmf()), arf=build.arf())


def test_repairs_of_every_file_are_told_by_info_and_warned_of_once(build):
    with_background(build, {"CHANNEL": ("I", [0, 1, 2, 3])})
    build.rmf(header={"HDUCLAS3": "REDIST"})
    path = build.pha({"CHANNEL": ("I", [1, 2, 3, 4])}, {"BACKFILE": "b.bak", "TELESCOP": "XMM"})
    with pytest.warns(RepairWarning) as caught:
        observation = Observation.from_ogip(path)
    assert len(caught) == 1
    info = observation.info()
    for part in (
        "XMM",
        "exposure     10 s",
        "wstat: Poisson counts and Poisson background",
        "matched by position",
    ):
        assert part in info
    assert "no ARF was given" in info


# -- several backgrounds -----------------------------------------------------------------------------------------------


def test_several_background_files_are_pooled(build):
    rmf = build.rmf()
    first = build.pha({"COUNTS": ("J", [8, 0, 4, 2])}, {"EXPOSURE": 20.0, "BACKSCAL": 3.0}, name="b1.pha")
    second = build.pha({"COUNTS": ("J", [1, 1, 0, 5])}, {"EXPOSURE": 5.0, "BACKSCAL": 2.0}, name="b2.pha")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RepairWarning)
        seen = Observation.from_ogip(build.pha(), background=[first, second], response=rmf)
    assert_array_equal(seen.background.counts, [9, 1, 4, 7])
    # 10 s in a region of size 1, over 20 s in one of size 3 and 5 s in one of size 2.
    assert_allclose(seen.selection().ratio, 10 / (20 * 3 + 5 * 2), rtol=1e-14)
    assert seen.statistic == "wstat"
    assert "b1.pha" in seen.background.name
    assert "b2.pha" in seen.background.name


def test_errors_of_pooled_backgrounds_add_in_squares():
    poisson = Background([4.0, 9.0], 10.0, systematic=[0.5, 0.0])
    gaussian = Background([1.0, 2.0], 10.0, errors=[1.5, 4.0], area_scale=[1.0, 3.0])
    both = Background.pooled(poisson, gaussian)
    assert_allclose(both.errors, [2.5, 5.0], rtol=1e-14)
    assert_allclose(both.systematic, [2 / 5, 0.0], rtol=1e-14)
    assert_allclose(both.exposure * both.back_scale, [20.0, 40.0], rtol=1e-14)
    with pytest.raises(ValueError, match="have 2 and 1 channels: only those of the same channels can be pooled"):
        Background.pooled(poisson, Background([1.0], 1.0))
    with pytest.raises(ValueError, match="pooled takes backgrounds, and got none"):
        Background.pooled()


def time_series(build, times, matrices=((0.0, 10.0), (10.0, 20.0), (20.0, 20.0))):
    """A PHA file of type II with a row for each of `times`, and its RSP2."""
    matrix_series(build.folder / "a.rsp2", matrices)
    columns = {"COUNTS": ("4J", [[1, 2, 3, 4]] * len(times)), "CHANNEL": ("4I", [[1, 2, 3, 4]] * len(times))}
    columns |= {"TIME": ("D", [first for first, _ in times]), "ENDTIME": ("D", [last for _, last in times])}
    return save(build.folder / "a.pha", table("SPECTRUM", columns, EXPOSURE=1.0, RESPFILE="a.rsp2"))


def test_each_row_takes_the_matrices_of_its_own_time(build):
    path = time_series(build, times=((0.0, 4.0), (8.0, 12.0), (20.0, 21.0), (26.0, 27.0)))
    with pytest.warns(RepairWarning, match=r"from 26\.0+ to 27\.0+ s; number 3 is 6 s away, and taken"):
        observations = Observation.all_from_ogip(path)
    # The second row is half in the time of one matrix, half in that of the next; the third just after the last.
    scales = [each.response.matrix.toarray().sum() / MATRIX.sum() for each in observations]
    assert_allclose(scales, [1, 1.5, 3, 3], rtol=1e-12)
    assert "3 matrices in time; of this spectrum, 8.000000 to 12.000000 s: number 1 (0.5), 2 (0.5)" in (
        observations[1].info()
    )


def test_rows_of_one_matrix_share_a_response(build):
    first, second = Observation.all_from_ogip(time_series(build, times=((0.0, 4.0), (5.0, 8.0))))
    assert first.response is second.response


def test_times_of_another_clock_are_refused(build):
    with pytest.raises(ValueError, match=r"a\.rsp2: the matrices cover 0\.0 to 20\.0 s, the spectrum .*clocks differ"):
        Observation.from_ogip(time_series(build, times=((2.5e8, 2.5e8),)))


def test_matrices_without_times_need_a_choice(build):
    path = time_series(build, times=((0.0, 4.0), (4.0, 8.0)), matrices=(None, None))
    with pytest.raises(ValueError, match="the file has 2 matrices"):
        Observation.all_from_ogip(path)
    assert len(Observation.all_from_ogip(path, response=build.folder / "a.rsp2{2}")) == 2
