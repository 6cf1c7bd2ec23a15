"""Simulated counts: their mean is what was asked for."""

import astropy.units as u
import jax
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from jaxspec import Model, PointSource, simulate
from jaxspec.quadrature import Bins
from jaxspec.spectra import Blackbody, Constant, PowerLaw

SOURCE, BACKGROUND = Blackbody(K=5e-8, kT=500.0), PowerLaw(K=1.0, index=-1.5, pivot=1e3)
KEYS = [jax.random.key(i) for i in range(20)]


def source_counts(demo, spectrum=SOURCE):
    return demo.matrix @ np.asarray(spectrum.integral(Bins.of(demo.energy_low, demo.energy_high)))


def background_counts(demo):
    """The integral of (E / 1 MeV)^-1.5 over each channel, in closed form."""
    return 2e3 * (np.sqrt(1e3 / demo.channel_low) - np.sqrt(1e3 / demo.channel_high))


def assert_poisson(draws, mean):
    """Draws of counts (n, n_channels) have this mean within 4.5 standard errors, in each channel and in all."""
    draws = np.asarray(draws)
    assert_allclose(np.abs(draws.mean(axis=0) - mean) / np.sqrt(mean / len(draws)) < 4.5, True)
    assert_allclose(draws.sum(axis=1).mean(), mean.sum(), atol=4.5 * np.sqrt(mean.sum() / len(draws)), rtol=0)
    draws, mean = draws[:, mean > 1], mean[mean > 1]
    assert_allclose(np.mean((draws - mean) ** 2 / mean), 1.0, atol=4.5 * np.sqrt(3 / draws.size))


def test_counts_are_poisson_around_the_folded_spectrum(demo):
    draws = [simulate(SOURCE, demo, 100 * u.s, key=key).counts for key in KEYS]
    assert_poisson(draws, 100 * source_counts(demo))


@pytest.mark.parametrize(
    ("exposure", "time", "scale"), [(1.0, None, 1.0), (10.0, 10.0, 1.0), (2.0, 8.0, 3.0), (10, 1, 1)]
)
def test_the_background_is_as_bright_as_asked_for(demo, exposure, time, scale):
    # 3ML's is too low by 1 / (1 + ratio): 2,826 to 2,880 counts in place of 5,629 in 1 s of this spectrum.
    settings = {"background": BACKGROUND, "background_exposure": time, "background_scale": scale}
    draws = [simulate(SOURCE, demo, exposure, key=key, **settings) for key in KEYS]
    inside = exposure * background_counts(demo)
    assert_allclose(background_counts(demo).sum(), 5629, rtol=1e-3)
    region = background_counts(demo) * (exposure if time is None else time) * scale
    assert_poisson([draw.background.counts for draw in draws], region)
    assert_poisson([draw.counts for draw in draws], exposure * source_counts(demo) + inside)


def test_source_and_background_region_are_drawn_independently(demo):
    draws = [simulate(SOURCE, demo, 1.0, BACKGROUND, key=key) for key in KEYS]
    on = np.array([draw.counts for draw in draws], float).ravel()
    off = np.array([draw.background.counts for draw in draws], float).ravel()
    on -= np.tile(on.reshape(len(draws), -1).mean(axis=0), len(draws))
    off -= np.tile(off.reshape(len(draws), -1).mean(axis=0), len(draws))
    assert abs(np.corrcoef(on, off)[0, 1]) < 0.1


def test_the_background_region_keeps_exposure_and_scale(demo):
    made = simulate(SOURCE, demo, 10.0, BACKGROUND, key=KEYS[0], background_exposure=1 * u.ks, background_scale=3.0)
    assert made.background.exposure == 1000
    assert made.background.back_scale == 3
    assert_allclose(made.selection().ratio, 10 / 3000, rtol=1e-13)


def test_a_background_may_come_through_the_response(demo):
    settings = {"background": PowerLaw(K=20.0, index=-1.5), "background_through_response": True}
    draws = [simulate(SOURCE, demo, 1.0, key=key, **settings).background.counts for key in KEYS]
    assert_poisson(draws, source_counts(demo, settings["background"]))


def test_a_background_may_be_given_as_expected_counts(demo):
    asked = np.linspace(5, 50, 128)
    draws = [simulate(SOURCE, demo, 2.0, asked, key=key, background_exposure=4.0) for key in KEYS]
    assert_poisson([draw.background.counts for draw in draws], 2 * asked)
    assert_poisson([draw.counts for draw in draws], 2 * source_counts(demo) + asked)


def test_no_background_gives_no_background(demo):
    assert simulate(SOURCE, demo, 1.0, key=KEYS[0]).background is None


def test_the_same_key_draws_the_same_counts(demo):
    first, second, other = (simulate(SOURCE, demo, 1.0, BACKGROUND, key=key) for key in (KEYS[3], KEYS[3], KEYS[4]))
    assert_array_equal(first.counts, second.counts)
    assert_array_equal(first.background.counts, second.background.counts)
    assert (first.counts != other.counts).any()


def test_a_key_of_the_old_kind_is_taken(demo):
    old, new = (
        simulate(SOURCE, demo, 1.0, key=jax.random.PRNGKey(5)),
        simulate(SOURCE, demo, 1.0, key=jax.random.key(5)),
    )
    assert_array_equal(old.counts, new.counts)


def test_the_state_of_numpy_is_left_alone(demo):
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    simulate(SOURCE, demo, 1.0, BACKGROUND, key=KEYS[0])
    assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


def test_the_sources_of_a_model_are_added_up_with_links_followed(demo):
    model = Model(PointSource("a", SOURCE), PointSource("b", PowerLaw(K=20.0, index=-1.5)))
    model = model.link("a.blackbody.kT", to="b.powerlaw.K", function=lambda K: 10 * K)
    mean = source_counts(demo, Blackbody(K=5e-8, kT=200.0)) + source_counts(demo, model["b"].spectrum)
    assert_poisson([simulate(model, demo, 10.0, key=key).counts for key in KEYS], 10 * mean)


def test_a_source_may_stand_for_its_spectrum(demo):
    first = simulate(PointSource("a", SOURCE), demo, 1.0, key=KEYS[0], name="s")
    assert_array_equal(first.counts, simulate(SOURCE, demo, 1.0, key=KEYS[0]).counts)
    assert first.name == "s"


@pytest.mark.parametrize("spectrum", [Constant(), 3.0, None])
def test_what_is_no_additive_spectrum_is_refused(demo, spectrum):
    with pytest.raises(TypeError, match="simulate takes an additive spectrum, a PointSource or a Model, got"):
        simulate(spectrum, demo, 1.0, key=KEYS[0])


@pytest.mark.parametrize("exposure", [0, -1, np.nan, 1 * u.keV])
def test_an_exposure_that_is_none_is_refused(demo, exposure):
    with pytest.raises(ValueError, match="exposure"):
        simulate(SOURCE, demo, exposure, key=KEYS[0])


@pytest.mark.parametrize("background", [Constant(), "flat", 5.0])
def test_a_background_that_is_none_is_refused(demo, background):
    with pytest.raises(TypeError, match="background must be an additive spectrum or an array of expected counts"):
        simulate(SOURCE, demo, 1.0, background, key=KEYS[0])


def test_a_background_of_the_wrong_shape_is_refused(demo):
    with pytest.raises(ValueError, match=r"background has shape \(5,\), but the response has 128 channels"):
        simulate(SOURCE, demo, 1.0, np.ones(5), key=KEYS[0])


def test_a_background_of_negative_counts_is_refused(demo):
    with pytest.raises(ValueError, match="the expected background counts of channel 0 are -1: check the spectrum"):
        simulate(SOURCE, demo, 1.0, -np.ones(128), key=KEYS[0])


def test_a_spectrum_that_overflows_is_refused(demo):
    with pytest.raises(ValueError, match=r"the expected source counts of channel .* check the spectrum"):
        simulate(PowerLaw(K=1e30), demo, 1.0, key=KEYS[0])


@pytest.mark.parametrize("scale", [0, -2])
def test_a_background_scale_is_positive(demo, scale):
    with pytest.raises(ValueError, match="background_scale is the ratio of two areas, so it must be positive"):
        simulate(SOURCE, demo, 1.0, BACKGROUND, key=KEYS[0], background_scale=scale)


def test_a_background_exposure_is_positive(demo):
    with pytest.raises(ValueError, match="background_exposure must be a positive number of seconds"):
        simulate(SOURCE, demo, 1.0, BACKGROUND, key=KEYS[0], background_exposure=0)
