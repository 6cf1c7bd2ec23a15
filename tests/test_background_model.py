"""Backgrounds with a spectrum of their own, fitted together with the sources."""

import dataclasses

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from jaxspec import Background, BackgroundModel, Model, Observation, PointSource, Problem, Response, fit, load
from jaxspec.results import _pictures
from jaxspec.spectra import Blackbody, Constant, GaussianLine, PowerLaw

EDGES = np.geomspace(1.0, 20.0, 41)
LOW, HIGH = EDGES[:-1], EDGES[1:]
# A background region three times as large, seen for half of the time: 1.5 times as many background counts.
EXPOSURE, OFF_EXPOSURE, RATIO = 400.0, 200.0, 1 / 3


def flat(K):
    return K * (HIGH - LOW)


def steep(K):
    """The integral of K E^-2."""
    return K * (1 / LOW - 1 / HIGH)


@pytest.fixture(scope="module")
def observation():
    response = Response.diagonal(EDGES, area=10.0)
    rng = np.random.default_rng(11)
    source = EXPOSURE * 10 * (steep(0.05) + RATIO * flat(0.02))
    behind = Background(rng.poisson(OFF_EXPOSURE * 10 * flat(0.02)), OFF_EXPOSURE, back_scale=3.0)
    return Observation(rng.poisson(source), response, EXPOSURE, behind, name="one", area_scale=1.0)


@pytest.fixture(scope="module")
def model():
    return Model(PointSource("star", PowerLaw(K=0.05, index=-2.0)), BackgroundModel("sky", PowerLaw(K=0.02, index=0.0)))


@pytest.fixture(scope="module")
def best(model, observation):
    return fit(Problem(model, observation.with_background_model("sky")))


def test_the_source_region_holds_the_background_scaled_to_it(model, observation):
    problem = Problem(model, observation.with_background_model("sky"))
    assert problem.labels == ("one", "one background")
    expected = problem.expected_counts()
    assert_allclose(expected["one"], EXPOSURE * 10 * (steep(0.05) + RATIO * flat(0.02)), rtol=1e-9)
    assert_allclose(expected["one background"], OFF_EXPOSURE * 10 * flat(0.02), rtol=1e-9)


def test_area_and_region_scale_channel_by_channel(model, observation):
    area, region = np.linspace(0.5, 1, 40), np.linspace(2, 3, 40)
    behind = dataclasses.replace(observation.background, area_scale=0.5 * area, back_scale=region)
    seen = dataclasses.replace(observation, background=behind, area_scale=area, back_scale=2.0)
    expected = Problem(model, seen.group("constant", 2).with_background_model("sky")).expected_counts()
    inside = EXPOSURE * 10 * area * (steep(0.05) + 2.0 / region * flat(0.02))
    assert_allclose(expected["one"], inside.reshape(-1, 2).sum(axis=1), rtol=1e-9)
    outside = OFF_EXPOSURE * 10 * 0.5 * area * flat(0.02)
    assert_allclose(expected["one background"], outside.reshape(-1, 2).sum(axis=1), rtol=1e-9)


def test_both_regions_are_fitted_by_the_c_statistic(model, observation):
    problem = Problem(model, observation.with_background_model("sky"))
    means = (EXPOSURE * 10 * (steep(0.05) + RATIO * flat(0.02)), OFF_EXPOSURE * 10 * flat(0.02))
    for counts, mean, found in zip(
        (observation.counts, observation.background.counts), means, problem.statistics().values()
    ):
        log = np.log(np.maximum(counts, 1) / mean)
        assert_allclose(found, 2 * np.sum(mean - counts + counts * log), rtol=1e-9)
    assert problem.n_bins == 80
    assert problem.degrees_of_freedom == 76


def test_without_a_response_it_is_a_function_of_channel_energy(model, observation):
    seen = observation.with_background_model("sky", response="none")
    expected = Problem(model, seen).expected_counts()
    assert_allclose(expected["one background"], OFF_EXPOSURE * flat(0.02), rtol=1e-9)
    assert_allclose(expected["one"], EXPOSURE * (10 * steep(0.05) + RATIO * flat(0.02)), rtol=1e-9)


def test_a_response_of_its_own_may_have_other_photon_bins(model, observation):
    own = Response.diagonal(EDGES, area=4.0)
    edges = np.append(LOW, HIGH[-1])
    half = Response(*(np.sqrt(edges[:-1] * edges[1:]), edges[1:], own.channels, LOW, HIGH), matrix=own.matrix)
    expected = Problem(model, observation.with_background_model("sky", response=half)).expected_counts()
    above = 0.02 * (HIGH - np.sqrt(LOW * HIGH))
    assert_allclose(expected["one background"], OFF_EXPOSURE * 4 * above, rtol=1e-9)


def test_channels_without_width_or_from_zero_or_falling_have_no_response_too():
    low, high = np.array([3.0, 1.0, 0.0, 0.0]), np.array([5.0, 3.0, 1.0, 0.0])
    response = Response([1.0], [5.0], [1, 2, 3, 4], low, high, np.ones((4, 1)))
    seen = Observation([1, 1, 1, 1], response, 2.0, name="a").with_background_model("sky", response="none")
    flat_sky = Model(PointSource("a", PowerLaw(K=0.0)), BackgroundModel("sky", PowerLaw(K=1.0, index=0.0)))
    assert_allclose(Problem(flat_sky, seen).expected_counts()["a"], [4, 4, 2 * 0.999, 0], rtol=1e-12)


def test_without_a_background_region_it_is_fitted_in_the_source_region(model, observation):
    alone = dataclasses.replace(observation, background=None, statistic=None).with_background_model("sky")
    problem = Problem(model, alone)
    assert problem.labels == ("one",)
    assert_allclose(problem.expected_counts()["one"], EXPOSURE * 10 * (steep(0.05) + flat(0.02)), rtol=1e-9)


def test_several_models_add_up_each_through_its_own_response(observation):
    sky = BackgroundModel("sky", PowerLaw(K=0.02, index=0.0))
    particles = BackgroundModel("particles", Constant(0.5) * PowerLaw(K=0.1, index=-2.0))
    seen = observation.with_background_model("sky").with_background_model("particles", response="none")
    expected = Problem(Model(PointSource("star", PowerLaw()), sky, particles), seen).expected_counts()
    assert_allclose(expected["one background"], OFF_EXPOSURE * (10 * flat(0.02) + steep(0.05)), rtol=1e-9)


def test_observations_share_a_background(model, observation):
    other = dataclasses.replace(observation, name="other")
    shared = [each.with_background_model("sky") for each in (observation, other)]
    problem = Problem(model, shared)
    assert problem.labels == ("one", "one background", "other", "other background")
    expected = problem.expected_counts({"sky.powerlaw.K": 0.04})
    for name in ("one background", "other background"):
        assert_allclose(expected[name], OFF_EXPOSURE * 10 * flat(0.04), rtol=1e-9)


def test_the_region_has_the_selection_of_its_source(observation):
    chosen = observation.notice((2, 10)).group("min_background_counts", 4).with_background_model("sky")
    model = Model(PointSource("star", PowerLaw()), BackgroundModel("sky", PowerLaw()))
    source, region = Problem(model, chosen).selections
    assert_array_equal(source.groups, region.groups)
    used = region.groups >= 0
    assert_array_equal(region.counts, np.bincount(region.groups[used], observation.background.counts[used]))


def test_a_problem_may_be_made_of_the_observations_of_another(model, observation):
    problem = Problem(model, observation.with_background_model("sky"))
    assert Problem(model, problem.observations).labels == problem.labels


def test_gaussian_counts_are_fitted_by_chi_squared(model, observation):
    behind = dataclasses.replace(observation.background, errors=np.full(40, 2.0))
    gaussian = dataclasses.replace(observation, background=behind, errors=np.full(40, 3.0), statistic=None)
    problem = Problem(model, gaussian.with_background_model("sky"))
    assert [selection.statistic for selection in problem.selections] == ["chi2", "chi2"]
    off = OFF_EXPOSURE * 10 * flat(0.02)
    assert_allclose(problem.statistics()["one background"], np.sum((behind.counts - off) ** 2) / 4, rtol=1e-9)
    on = EXPOSURE * 10 * (steep(0.05) + RATIO * flat(0.02))
    assert_allclose(problem.statistics()["one"], np.sum((gaussian.counts - on) ** 2) / 9, rtol=1e-9)


def test_a_fit_finds_source_and_background(best):
    for name, truth in (("star.powerlaw.K", 0.05), ("sky.powerlaw.K", 0.02)):
        assert abs(best.values[name] - truth) < 3 * best.errors[name]
    assert best.converged
    assert best.statistic_deviation is not None
    assert abs(best.statistic_deviation) < 3


def test_it_constrains_the_source_better_than_an_unknown_background_of_each_bin(best, observation):
    # With W each bin has a background of its own; a model of two parameters is known better.
    alone = fit(Problem(Model(PointSource("star", PowerLaw(K=0.05, index=-2.0))), observation))
    for name in ("star.powerlaw.K", "star.powerlaw.index"):
        assert best.errors[name] < alone.errors[name]
        assert abs(best.values[name] - alone.values[name]) < alone.errors[name]


def test_tables_of_fluxes_list_sources_alone(best):
    flux = best.flux(2, 10, "1 / (cm2 s)", components=True)
    assert list(flux.index) == ["star: total"]
    K, index = (best.values[f"star.powerlaw.{name}"] for name in ("K", "index"))
    assert_allclose(flux["flux"].iloc[0].value, K * (10 ** (index + 1) - 2 ** (index + 1)) / (index + 1), rtol=1e-6)
    with pytest.raises(KeyError, match="no source is called 'sky'"):
        best.flux(2, 10, sources=["sky"])


def test_pictures_show_it_in_both_regions(best):
    folded = _pictures._folded(best, by_component=False)
    assert [part.label for part in folded["one"].parts] == ["star", "sky"]
    assert [part.label for part in folded["one background"].parts] == ["sky"]
    expected = best.problem.expected_counts(dict(zip(best.problem.names, best.theta)))
    for name, counts in expected.items():
        assert_allclose(folded[name].expected[0].sum(axis=0), counts, rtol=1e-9)
    off = folded["one background"].expected[0, 0]
    assert_allclose(folded["one"].expected[0, 1], RATIO * EXPOSURE / OFF_EXPOSURE * off, rtol=1e-9)
    figure = best.plot_counts()
    assert [ax.get_title() for ax in figure.axes[::2]] == ["one", "one background"]


def test_pictures_show_its_components(observation):
    sky = BackgroundModel("sky", PowerLaw(K=0.01, index=0.0) + GaussianLine(K=0.01, energy=8.0))
    model = Model(PointSource("star", PowerLaw(K=0.05) + Blackbody(K=1e-3, kT=1.0)), sky)
    result = fit(Problem(model.freeze(*model.free[1:]), observation.with_background_model("sky")), starts=1)
    folded = _pictures._folded(result, by_component=True)
    labels = ["star: powerlaw", "star: blackbody", "sky: powerlaw", "sky: gaussianline"]
    assert [part.label for part in folded["one"].parts] == labels
    counts = result.problem.expected_counts(dict(zip(result.problem.names, result.theta)))["one"]
    assert_allclose(folded["one"].expected[0].sum(axis=0), counts, rtol=1e-9)


def test_a_saved_result_keeps_it(best, tmp_path):
    best.save(tmp_path / "a.nc")
    back = load(tmp_path / "a.nc")
    assert back.problem.labels == best.problem.labels
    assert back.values == best.values
    assert repr(back.problem.model) == repr(best.problem.model.at({}))
    assert back.problem.observations[0].background_models[0][1] is back.problem.observations[0].response
    values = dict(zip(best.problem.names, best.theta))
    for name, counts in back.problem.expected_counts(values).items():
        assert_array_equal(counts, best.problem.expected_counts(values)[name])


def test_info_says_what_models_the_background(observation):
    text = observation.with_background_model("sky", response="none").info()
    assert "modelled     background 'sky' through Response('channels of diagonal response'" in text
    assert "cstat: Poisson counts, with a model of their background" in text


# -- errors ------------------------------------------------------------------------------------------------------------


def test_a_background_that_the_model_has_not_is_refused(model, observation):
    with pytest.raises(KeyError, match=r"no BackgroundModel \(which observation 'one' sees\) is called 'sly'; did you"):
        Problem(model, observation.with_background_model("sly"))


def test_a_background_that_nothing_sees_is_refused(model, observation):
    with pytest.raises(ValueError, match=r"no observation sees the background 'sky': give it to one by with_backgr"):
        Problem(model, observation)


def test_a_source_and_a_background_need_names_of_their_own():
    with pytest.raises(ValueError, match="two sources are called 'a'"):
        Model(PointSource("a", PowerLaw()), BackgroundModel("a", PowerLaw()))


def test_a_background_emits():
    with pytest.raises(TypeError, match="the spectrum of 'a' is multiplicative: a background needs something that"):
        BackgroundModel("a", Constant())


def test_a_response_must_be_one_and_fit(observation):
    with pytest.raises(TypeError, match="the response of a background model must be a Response, 'none', or nothing"):
        observation.with_background_model("sky", response=3)
    with pytest.raises(ValueError, match="40 channels, but the response of the background model has 2"):
        observation.with_background_model("sky", response=Response.diagonal([1.0, 2.0, 3.0]))


def test_a_statistic_that_takes_the_measured_background_is_refused(observation):
    with pytest.raises(ValueError, match="wstat takes the background from its counts, but 'sky' is a model of it"):
        observation.with_statistic("wstat").with_background_model("sky")
    assert observation.with_statistic("cstat").with_background_model("sky").statistic == "cstat"
