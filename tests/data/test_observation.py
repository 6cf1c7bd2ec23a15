import dataclasses

import astropy.units as u
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from jaxspec.data import Background, Observation, Response


def test_an_exposure_may_have_a_unit(response):
    assert Observation(np.ones(10), response, 2 * u.min).exposure == 120
    assert Background(np.ones(10), 2 * u.ms).exposure == 0.002


def test_arrays_are_copies_that_cannot_be_written(response):
    counts = np.ones(10)
    observation = Observation(counts, response, 1.0)
    counts[0] = 9
    assert observation.counts[0] == 1
    with pytest.raises(ValueError, match="read-only"):
        observation.counts[0] = 2


def test_poisson_counts_alone_take_cstat(response):
    observation = Observation(np.ones(10), response, 1.0)
    assert observation.statistic == "cstat"
    assert "cstat: Poisson counts without background" in observation.info()


def test_poisson_counts_and_background_take_wstat(observation):
    assert observation.statistic == "wstat"
    assert "wstat: Poisson counts and Poisson background" in observation.info()


def test_poisson_counts_and_gaussian_background_take_pgstat(response):
    background = Background(np.ones(10), 1.0, errors=np.ones(10))
    observation = Observation(np.ones(10), response, 1.0, background)
    assert observation.statistic == "pgstat"
    assert "background with Gaussian errors" in observation.info()


def test_gaussian_counts_take_chi2(response):
    observation = Observation(-np.ones(10), response, 1.0, errors=np.ones(10))
    assert observation.statistic == "chi2"
    assert "chi2: the counts have Gaussian errors" in observation.info()


def test_the_statistic_can_be_chosen(observation):
    changed = observation.with_statistic("pstat")
    assert changed.selection().statistic == "pstat"
    assert "pstat: chosen by the user" in changed.info()


def test_other_data_get_the_statistic_that_they_demand(response, observation):
    alone = Observation(observation.counts, response, 10.0)
    assert dataclasses.replace(alone, background=observation.background).statistic == "wstat"
    assert dataclasses.replace(observation, background=None).statistic == "cstat"
    assert dataclasses.replace(observation, errors=np.ones(10)).statistic == "chi2"


def test_a_chosen_statistic_is_kept_with_other_data_and_says_what_it_leaves_out(response, observation):
    alone = Observation(observation.counts, response, 10.0).with_statistic("cstat")
    seen = dataclasses.replace(alone, background=observation.background)
    assert seen.statistic == "cstat"
    assert "note         cstat leaves the background out" in seen.info()
    assert dataclasses.replace(observation, statistic="cstat").statistic == "cstat"
    with pytest.raises(ValueError, match="wstat needs a background; without one use 'cstat'"):
        dataclasses.replace(observation.with_statistic("wstat"), background=None)


def test_the_reason_for_the_statistic_survives_other_changes(observation):
    assert "Poisson background" in observation.notice("3-5 keV").info()
    assert "chosen by the user" in observation.with_statistic("pstat").notice("3-5 keV").info()


def test_sources_are_assigned(observation):
    assert observation.sources is None
    assert observation.assign("src1", "src2").sources == ("src1", "src2")


def test_repr_tells_counts_exposure_channels_and_statistic(observation):
    text = repr(observation.notice("3-5 keV"))
    assert text == "Observation('observation': 36 counts in 10 s, 2 of 10 channels, wstat)"
    assert repr(observation.background) == "Background('background': 45 counts (Poisson) in 20 s)"


def test_info_tells_selection_grouping_flags_and_sources(response):
    observation = Observation(
        np.ones(10),
        response,
        3.0,
        quality=[1] + [0] * 9,
        systematic=[0.1] * 10,
        mission="XMM",
        instrument="EPN",
    )
    info = observation.ignore("ch 9-10").group("constant", 3).assign("a").info()
    for part in (
        "XMM EPN",
        "3 s",
        "8 of 10 used, 1 of them flagged bad",
        "grouping constant 3",
        "sources      a",
    ):
        assert part in info
    assert "systematic errors are not used by cstat" in info


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"counts": np.ones(9)}, "9 counts, but the response has 10 channels"),
        ({"counts": np.ones((2, 5))}, r"got shape \(2, 5\)"),
        ({"counts": [np.nan] + [1] * 9}, r"counts\[0\] is not a finite number"),
        (
            {"counts": [1, -2] + [1] * 8},
            r"Poisson counts \(give errors= .* must not be negative, got -2 at index 1",
        ),
        ({"exposure": -1.0}, "exposure must be a positive number of seconds, got -1.0"),
        ({"exposure": 3 * u.keV}, "exposure is in s, which keV does not convert to"),
        ({"errors": [-1.0] * 10}, "errors must not be negative"),
        ({"errors": [1.0] * 9}, r"errors must be an array with one element per channel \(10\)"),
        ({"area_scale": -1.0}, "area_scale must not be negative"),
        ({"back_scale": np.inf}, "back_scale must be finite, got inf"),
        ({"back_scale": np.ones(3)}, "back_scale must be an array with one element per channel"),
        ({"quality": [0, 1]}, "quality must be an array with one element per channel"),
        ({"grouping": [1, 3] + [1] * 8}, "grouping must hold 1, 0 and -1 only"),
        ({"background": Background(np.ones(9), 1.0)}, "10 channels, but the background has 9"),
        ({"statistic": "chi"}, "no statistic is called 'chi'; there are cstat, wstat"),
        ({"statistic": "wstat"}, "wstat needs a background; without one use 'cstat'"),
        (
            {"statistic": "cstat", "errors": np.ones(10)},
            "cstat needs Poisson counts, but these have Gaussian errors",
        ),
        (
            {"statistic": "wstat", "background": Background(np.ones(10), 1.0, errors=np.ones(10))},
            "wstat needs Poisson background counts, but these have errors: use 'pgstat'",
        ),
        (
            {"statistic": "lstat", "background": Background(np.ones(10), 1.0, errors=np.ones(10))},
            "lstat needs Poisson background counts, but these have errors: use 'pgstat'",
        ),
        ({"statistic": "lstat"}, "lstat needs a background; without one use 'cstat'"),
        ({"statistic": "chi2", "variance": "gauss"}, "no variance is called 'gauss'; there are data, model, gehrels"),
        ({"variance": "gehrels"}, "only chi2 takes a variance or a systematic error, not cstat"),
        ({"model_systematic": 0.1}, "only chi2 takes a variance or a systematic error, not cstat"),
        ({"statistic": "chi2", "model_systematic": -0.1}, "a fraction of the model, 0 or more, got -0.1"),
        (
            {"variance": "gehrels", "errors": np.ones(10)},
            "'gehrels' is that of Poisson counts, but these have Gaussian errors: use 'data'",
        ),
    ],
)
def test_wrong_values_are_refused(response, change, message):
    with pytest.raises(ValueError, match=message):
        Observation(**({"counts": np.ones(10), "response": response, "exposure": 1.0} | change))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"counts": ["many"] * 10}, "counts must be an array of numbers, got list"),
        ({"response": np.eye(10)}, "response must be a Response, got ndarray"),
        ({"background": np.ones(10)}, "background must be a Background, got ndarray"),
    ],
)
def test_wrong_kinds_are_refused(response, change, message):
    with pytest.raises(TypeError, match=message):
        Observation(**({"counts": np.ones(10), "response": response, "exposure": 1.0} | change))


@pytest.mark.parametrize("sources", [(), (3,), (["a", "b"],)])
def test_sources_must_be_names(observation, sources):
    with pytest.raises(TypeError, match="assign takes names of sources"):
        observation.assign(*sources)


def test_a_background_without_exposure_is_refused():
    with pytest.raises(ValueError, match="background: exposure must be a positive number of seconds"):
        Background(np.ones(3), 0.0)


def test_a_diagonal_response_makes_an_observation_of_flux_points():
    observation = Observation([2.0], Response.diagonal([1.0, 2.0]), 1.0, errors=[0.5])
    assert_array_equal(observation.selection().errors, [0.5])


# -- significance


def detection(response, *, counts, background, **options):
    """`counts` in the first channel over `background` counts there, nothing else in the others."""
    rest = np.zeros(9)
    behind = None if background is None else Background(np.append(background, rest), 1.0, **options)
    return Observation(np.append(counts, rest), response, 1.0, behind)


def li_and_ma(on, off, ratio):
    """Li & Ma 1983, eq. 17."""
    terms = on * np.log((1 + ratio) / ratio * on / (on + off)), off * np.log((1 + ratio) * off / (on + off))
    return np.sqrt(2 * sum(terms))


def test_a_significance_is_that_of_li_and_ma(response):
    # 140 counts over 880 in a region ten times as large
    observation = detection(response, counts=140.0, background=880.0, back_scale=10.0)
    assert_allclose(observation.significance(), li_and_ma(140, 880, 0.1), rtol=1e-12)
    assert_allclose(
        detection(response, counts=80.0, background=100.0).significance(), -li_and_ma(80, 100, 1), rtol=1e-12
    )


def test_a_significance_is_that_of_the_selected_channels(observation):
    # counts 3 and 6 over 2 and 3, ratio 1/4
    part = observation.notice("ch 3-4")
    assert_allclose(part.significance(), li_and_ma(9, 5, 0.25), rtol=1e-12)
    assert_allclose(part.group("constant", 2).significance(), part.significance(), rtol=1e-15)


def test_a_significance_with_different_ratios_has_the_right_background(response):
    background = Background(np.full(10, 4.0), 1.0, back_scale=np.array([1.0, 2.0] * 5))
    observation = Observation(np.full(10, 6.0), response, 1.0, background)
    assert_allclose(observation.significance(), li_and_ma(60, 40, 0.75), rtol=1e-12)


def test_the_significance_of_a_gaussian_background_is_vianellos(response):
    observation = detection(response, counts=30.0, background=24.0, errors=np.array([4.0] + [0.0] * 9), back_scale=2.0)
    n, B, sigma = 30.0, 12.0, 2.0  # scaled; Vianello 2018, ApJS 236, 17
    b = (B - sigma**2 + np.sqrt(B**2 - 2 * B * sigma**2 + 4 * n * sigma**2 + sigma**4)) / 2
    exact = np.sqrt(2 * (n * np.log(n / b) + (b - B) ** 2 / (2 * sigma**2) + b - n))
    assert_allclose(observation.significance(), exact, rtol=1e-10)


def test_the_significance_of_gaussian_counts_is_their_number_of_errors(response):
    observation = Observation(np.full(10, 3.0), response, 1.0, errors=np.full(10, 2.0))
    assert_allclose(observation.significance(), 30 / np.sqrt(40), rtol=1e-12)
    behind = Background(np.full(10, 1.0), 1.0, errors=np.full(10, 1.5))
    assert_allclose(dataclasses.replace(observation, background=behind).significance(), 20 / np.sqrt(62.5), rtol=1e-12)


def test_poisson_counts_without_background_have_no_significance(response):
    with pytest.raises(ValueError, match="observation: the significance of Poisson counts needs a background"):
        Observation(np.ones(10), response, 1.0).significance()


# -- where a background of its own in every bin biases


@pytest.mark.parametrize(
    ("counts", "empty", "ratio", "statistic", "biased"),
    [
        (1.0, 8, 1.0, "wstat", True),
        (1.0, 1, 1.0, "wstat", False),  # few bins
        (9.0, 8, 1.0, "wstat", False),  # bright
        (1.0, 8, 0.1, "wstat", False),  # a background of long exposure
        (1.0, 8, 0.1, "lstat", True),
        (1.0, 8, 1.0, "pstat", False),
        (1.0, 8, 1.0, "cstat", False),
    ],
)
def test_a_biased_statistic_is_noted_with_what_to_do(response, counts, empty, ratio, statistic, biased):
    background = Background(np.where(np.arange(10) < empty, 0.0, 2.0), 1.0, back_scale=1 / ratio)
    info = Observation(np.full(10, counts), response, 1.0, background, statistic=statistic).info()
    assert (
        f"note         {statistic} is biased here, faint sources come out too faint: 80% of the bins" in info
    ) == biased
    assert ("group('min_background_counts', 1)" in info) == biased


def test_grouping_by_background_counts_takes_the_bias_away(response):
    background = Background(np.array([0.0, 0.0, 1.0, 0.0, 1.0] * 2), 1.0)
    observation = Observation(np.ones(10), response, 1.0, background)
    assert "biased" in observation.info()
    assert "biased" not in observation.group("min_background_counts", 1).info()
