"""Profile errors against MINOS, closed forms and published contours; what they say where there is no interval."""

import dataclasses
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import optimize
from scipy.interpolate import RectBivariateSpline

from jaxspec import (
    Derived,
    Flux,
    Model,
    Observation,
    PointSource,
    Problem,
    Response,
    contour,
    fit,
    lower_limit,
    profile_errors,
    upper_limit,
)
from jaxspec.inference import _fit, _optimum, _profile
from jaxspec.spectra import CutoffPowerLaw, CutoffPowerLawPeak, GaussianLine, LogParabola, PowerLaw


@pytest.fixture(scope="module")
def line():
    """Ten channels of 1 keV and 1 cm2 with 85 counts."""
    return Observation(np.arange(4.0, 14.0), Response.diagonal(np.arange(1.0, 12.0)), 1.0)


def flat(observation):
    """A scale alone: 10 K counts are expected."""
    model = Model(PointSource("a", PowerLaw(index=0.0))).freeze("a.powerlaw.index")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return fit(Problem(model, observation))


def scale_ends(counts, delta):
    """The roots of 2 [s - n - n ln(s / n)] = delta, with s = 10 K."""

    def rise(s):
        return 2 * (s - counts - counts * np.log(s / counts)) - delta

    return np.array([optimize.brentq(rise, 1e-3, counts), optimize.brentq(rise, counts, 5 * counts)]) / 10


# -- against others ----------------------------------------------------------------------------------------------------


def test_profile_errors_of_the_seed_are_those_of_minos(seed_fit, reference):
    table = profile_errors(seed_fit, delta=1.0).table
    for name, (minus, plus) in reference.errors.items():
        assert_allclose(table.loc[name, ["minus", "plus"]].to_numpy(float), [minus, plus], rtol=0.01)
    assert set(table["status"]) == {"ok"}


def test_profile_errors_of_a_burst_are_those_of_minos(gbm):
    best = fit(Problem(Model(PointSource("grb", CutoffPowerLawPeak())), list(gbm.values())))
    table = profile_errors(best, delta=1.0).table
    # 3ML 2.6.1 with iminuit 2.33, benchmarks/threeml_gbm.py.
    minos = {"K": (-0.082093, 0.089183), "index": (-0.026505, 0.027124), "peak": (-30.8242, 34.0033)}
    for name, ends in minos.items():
        assert_allclose(table.loc[f"grb.cutoffpowerlawpeak.{name}", ["minus", "plus"]].to_numpy(float), ends, rtol=0.01)


@pytest.mark.parametrize("delta", [1.0, 2.706, 9.0])
def test_the_profile_of_a_scale_crosses_where_the_closed_form_does(line, delta):
    row = profile_errors(flat(line), "a.powerlaw.K", delta=delta).table.loc["a.powerlaw.K"]
    assert_allclose([row["low"], row["high"]], scale_ends(85, delta), rtol=1e-4)
    assert row["status"] == "ok"


def test_a_level_is_the_rise_that_holds_it(line):
    assert_allclose(profile_errors(flat(line), level=0.9).delta, 2.705543, rtol=1e-6)


def test_bracketing_finds_the_same_ends(line, monkeypatch):
    best = flat(line)
    found = _profile.crossings

    def lost(*arguments):
        return found(*arguments)._replace(reached=jnp.zeros(2, bool))

    monkeypatch.setattr(_profile, "crossings", lost)
    row = profile_errors(best, delta=1.0).table.loc["a.powerlaw.K"]
    assert_allclose([row["low"], row["high"]], scale_ends(85, 1.0), rtol=1e-3)
    assert row["status"] == "ok"


def test_the_profile_of_a_flux_is_that_of_the_parameter_that_is_this_flux(seed_fit):
    photons = Flux(10, 500, "1 / (cm2 s)", source="src2", component="powerlawflux")
    square = Derived(lambda flux: flux**2, photons)
    found = profile_errors(seed_fit, quantities={"flux": photons, "square": square})
    ours, normal = found.table, seed_fit.derived({"flux": photons})
    assert list(found.derived.columns) == list(normal.columns)
    assert found.derived.loc["flux", "hi bound"] == ours.loc["flux", "high"] * normal.loc["flux", "value"].unit
    theirs = profile_errors(seed_fit, "src2.powerlawflux.F").table.loc["src2.powerlawflux.F"]
    assert_allclose(ours.loc["flux", ["value", "low", "high"]].to_numpy(float), list(theirs[:3]), rtol=1e-4)
    assert_allclose(
        ours.loc["square", ["value", "low", "high"]].to_numpy(float), np.square(list(theirs[:3])), rtol=2e-4
    )


def test_a_parameter_linked_by_a_law_has_the_interval_of_the_law(line):
    model = Model(PointSource("a", PowerLaw(index=0.0)), PointSource("b", PowerLaw(index=0.0)))
    model = model.link("b.powerlaw.K", to="a.powerlaw.K", function=lambda K: 4 * K)
    model = model.freeze("a.powerlaw.index", "b.powerlaw.index")
    table = profile_errors(fit(Problem(model, line)), delta=1.0).table
    assert_allclose(table.loc["b.powerlaw.K", ["low", "high"]].to_numpy(float), scale_ends(85, 1.0) * 0.8, rtol=1e-4)


def test_profiles_of_other_data_compile_nothing(line, compilations):
    profile_errors(flat(line))
    other = dataclasses.replace(line, counts=line.counts[::-1] + 2)
    best = flat(other)
    with compilations.none():
        profile_errors(best, delta=4.0)


# -- without an interval -----------------------------------------------------------------------------------------------


def test_no_counts_give_an_upper_limit_and_a_lower_end_at_the_bound(line):
    dark = flat(dataclasses.replace(line, counts=np.zeros(10)))
    # The statistic is twice the expected counts.
    row = profile_errors(dark, delta=1.0).table.loc["a.powerlaw.K"]
    assert_allclose(row["high"], 1.0 / 20, rtol=1e-3)
    assert row["low"] == 0
    assert row["status"] == "low: at bound"
    assert_allclose(upper_limit(dark, "a.powerlaw.K"), 2.705543 / 20, rtol=1e-3)
    # 10 keV wide, so the photon flux is 10 K.
    assert_allclose(upper_limit(dark, Flux(1, 11, "1 / (cm2 s)"), level=0.99), 5.411894 / 2, rtol=1e-3)


def test_limits_are_the_ends_of_the_two_sided_interval(line):
    best = flat(line)
    ends = scale_ends(85, 2.705543)
    assert_allclose([lower_limit(best, "a.powerlaw.K"), upper_limit(best, "a.powerlaw.K")], ends, rtol=1e-4)


def test_a_parameter_without_an_end_is_unconstrained(line):
    counts = 200 * np.arange(1.5, 11) ** -0.5
    model = Model(PointSource("a", CutoffPowerLaw(index=-0.5, cutoff=100.0)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        best = fit(Problem(model, dataclasses.replace(line, counts=counts)))
    row = profile_errors(best, "a.cutoffpowerlaw.cutoff", delta=1.0).table.loc["a.cutoffpowerlaw.cutoff"]
    assert 5 < row["low"] < 200
    assert row["high"] == best.problem.model.parameters["a.cutoffpowerlaw.cutoff"].bounds[1]
    assert row["status"] in ("high: unconstrained", "high: at bound")


def test_two_that_cannot_be_told_apart_reach_from_zero_to_their_sum(line):
    model = Model(PointSource("a", PowerLaw(index=0.0) + PowerLaw(index=0.0, name="same")))
    model = model.freeze("a.powerlaw.index", "a.same.index")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        best = fit(Problem(model, line))
    row = profile_errors(best, "a.same.K", delta=1.0).table.loc["a.same.K"]
    assert_allclose(row["high"], scale_ends(85, 1.0)[1], rtol=1e-3)
    assert (row["low"], row["status"]) == (0, "low: at bound")


def test_a_better_minimum_on_the_way_is_taken_and_told():
    # Two lines are there and one is in the model: at the lesser, with the greater beyond the level.
    response = Response.diagonal(np.linspace(1.0, 41.0, 41))
    counts = np.full(40, 20.0)
    counts[[9, 10, 11]] += [4, 12, 4]
    counts[[27, 28, 29]] += [9, 30, 9]
    model = Model(PointSource("a", PowerLaw(K=20, index=0.0) + GaussianLine(energy=11.5, sigma=1.0, K=20.0)))
    model = model.freeze("a.powerlaw.index", "a.gaussianline.sigma").with_bounds({"a.gaussianline.energy": (1, 41)})
    problem = Problem(model, Observation(counts, response, 1.0))
    start = problem.density.space.point(jnp.asarray(problem.start))
    climbs = _optimum.climb(problem.density, jnp.tile(start, (8, 1)), "likelihood", 200, 8)
    lesser = _fit.result_at(problem, "likelihood", jax.tree.map(lambda array: np.asarray(array[0]), climbs), 8, 8)
    assert_allclose(lesser.values["a.gaussianline.energy"], 11.5, atol=0.3)
    with pytest.warns(UserWarning, match=r"profile_errors: a better minimum was found on the way \(ln L higher by"):
        found = profile_errors(lesser, "a.gaussianline.energy", delta=25.0)
    assert_allclose(found.best.values["a.gaussianline.energy"], 29.5, atol=0.3)
    assert found.best.statistic < lesser.statistic - 5
    assert "! a better minimum was found" in repr(found)


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"names": "a.powerlaw.k"}, KeyError, "no parameter is called 'a.powerlaw.k'; did you mean 'a.powerlaw.K'"),
        ({"names": "a.powerlaw.index"}, ValueError, "a.powerlaw.index is frozen: it has no error; thaw it"),
        ({"level": 68}, ValueError, "level is a probability between 0 and 1"),
        ({"delta": -1.0}, ValueError, "delta is the rise of the statistic, so it must be positive, got -1"),
    ],
)
def test_what_cannot_be_profiled_is_refused(line, arguments, error, match):
    with pytest.raises(error, match=match):
        profile_errors(flat(line), **arguments)


def test_the_level_of_a_limit_is_one_sided(line):
    with pytest.raises(ValueError, match=r"the level of a limit is a probability between 0\.5 and 1"):
        upper_limit(flat(line), "a.powerlaw.K", level=0.4)


# -- contours ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def crab(files):
    observation = Observation.from_ogip(files / "joint_crab/fermi/pha_obs0.fits")
    observation = observation.ignore("bad").notice("0.03-2 TeV", partial=False)
    return fit(Problem(Model(PointSource("crab", LogParabola(K=1e-20, pivot=1e9))), observation))


def published_contour(files, pair):
    """Points of a contour in the answers, whose lines are 'contour_a_b:', '  a:', '  - number'."""
    columns = {}
    inside = False
    for text in (files / "joint_crab/answers/contours_fermi.yaml").read_text().splitlines():
        if not text.startswith(" "):
            inside = text == f"contour_{pair}:"
        elif inside and text.endswith(":"):
            column = columns.setdefault(text.strip()[:-1], [])
        elif inside:
            column.append(float(text.strip()[1:]))
    return columns


def test_published_contours_of_the_crab_are_where_the_statistic_has_risen_by_2_30(crab, files):
    # Nigro et al. 2019, A&A 625, A10: amplitude per TeV, falling index, curvature for log10.
    ours = {"amplitude": ("K", 1e-9), "alpha": ("alpha", -1.0), "beta": ("beta", 1 / np.log(10))}
    for pair in ("amplitude_alpha", "amplitude_beta", "alpha_beta"):
        published = published_contour(files, pair)
        (first, x), (second, y) = (
            (f"crab.logparabola.{ours[name][0]}", np.array(values) * ours[name][1])
            for name, values in published.items()
        )
        found = contour(crab, first, second, points=15, span=2.5)
        rise = RectBivariateSpline(np.sort(found.y), np.sort(found.x), found.rise).ev(y, x)
        assert_allclose(rise, 2.30, atol=0.05, rtol=0)


def test_a_contour_touches_the_profile_interval(line):
    # The least rise along one axis of the grid is the profile of the other parameter.
    best = fit(Problem(Model(PointSource("a", PowerLaw())), line))
    found = contour(best, "a.powerlaw.K", "a.powerlaw.index", points=41)
    ends = profile_errors(best, "a.powerlaw.K", delta=1.0).table.loc["a.powerlaw.K", ["low", "high"]]
    least = found.rise.min(axis=0)
    assert_allclose(np.interp(ends.to_numpy(float), found.x, least), 1.0, atol=0.05)


def test_a_contour_is_drawn_around_the_best_values(line):
    best = fit(Problem(Model(PointSource("a", PowerLaw())), line))
    found = contour(best, "a.powerlaw.K", "a.powerlaw.index", points=11, ranges=((1, 300), (-1, 1)))
    assert (found.x[0], found.x[-1]) == pytest.approx((1, 300))
    figure = found.plot()
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert labels == ["+2.3", "+6.18", "+11.83", "best fit"]
    assert figure.axes[0].get_xlabel().startswith("a powerlaw K [")


@pytest.mark.parametrize(
    ("names", "error", "match"),
    [
        (("a.powerlaw.K", "a.powerlaw.pivot"), KeyError, "no free parameter is called 'a.powerlaw.pivot'"),
        (("a.powerlaw.K", "a.powerlaw.K"), ValueError, "a contour needs two parameters, got a.powerlaw.K twice"),
    ],
)
def test_a_contour_needs_two_free_parameters(line, names, error, match):
    with pytest.raises(error, match=match):
        contour(fit(Problem(Model(PointSource("a", PowerLaw())), line)), *names)


def test_a_contour_of_a_parameter_without_error_needs_a_range(line):
    model = Model(PointSource("a", PowerLaw())).with_bounds({"a.powerlaw.index": (-5, -1)})
    with pytest.warns(UserWarning, match="a.powerlaw.index lies at its bound"):
        best = fit(Problem(model, line))
    with pytest.raises(ValueError, match="has no error to span a grid by: give ranges="):
        contour(best, "a.powerlaw.K", "a.powerlaw.index")
