"""Derived quantities against closed forms."""

import contextlib

import astropy.units as u
import numpy as np
import pytest
from astropy.cosmology import FlatLambdaCDM
from numpy.testing import assert_allclose

from jaxspec import (
    Derived,
    EquivalentWidth,
    Flux,
    Luminosity,
    Model,
    Observation,
    PointSource,
    Problem,
    Response,
    fit,
)
from jaxspec.spectra import Constant, GaussianLine, PowerLaw, TBabs

ERG = 1.602176634e-9  # per keV


@pytest.fixture(scope="module")
def best():
    """A power law N = 2 E^-1.5 with a narrow line behind an absorber, and a second source, fitted in their scales."""
    absorbed = TBabs(nH=0.3) * (PowerLaw(K=2.0, index=-1.5) + GaussianLine(energy=6.4, sigma=1e-3, K=0.01))
    model = Model(PointSource("a", absorbed), PointSource("b", Constant(factor=1.0) * PowerLaw(K=1.0, index=-2.0)))
    model = model.freeze(
        "a.tbabs.nH", "a.powerlaw.index", "a.gaussianline.energy", "a.gaussianline.sigma", "a.gaussianline.K"
    )
    model = model.freeze("b.constant.factor", "b.powerlaw.index")
    response = Response.diagonal(np.geomspace(0.5, 20.0, 30), area=100.0)
    bare = Observation(np.zeros(29), response, 10.0)
    truth = {name: np.asarray(c) for name, c in Problem(model, bare).expected_counts().items()}
    return fit(Problem(model, Observation(truth["observation"], response, 10.0)))


def value(best, quantity):
    return float(best.derived({"row": quantity})["value"]["row"].value)


def power_flux(K, index, low, high, moment):
    s = index + moment + 1
    return K * (high**s - low**s) / s


def test_a_flux_is_that_of_the_flux_table(best):
    table = best.flux(1, 10, "erg / (cm2 s)")
    row = best.derived({"b": Flux(1 * u.keV, 10, source="b")}).loc["b"]
    assert_allclose([cell.value for cell in row], [cell.value for cell in table.loc["b: total"]], rtol=1e-12)
    parts = best.flux(1, 10, "1 / (cm2 s)", components=True)["flux"]
    assert_allclose(
        value(best, Flux(1, 10, "1 / (cm2 s)", component="gaussianline")), parts["a: gaussianline"].value, rtol=1e-12
    )
    assert_allclose(value(best, Flux(1, 10)), sum(cell.value for cell in table["flux"]), rtol=1e-12)


def test_an_unabsorbed_flux_is_that_of_the_spectrum_behind_the_absorber(best):
    found = value(best, Flux(1, 10, source="a", component="powerlaw", without="tbabs"))
    assert_allclose(found, ERG * power_flux(2.0, -1.5, 1, 10, 1), rtol=1e-4)
    assert value(best, Flux(1, 10, source="a", component="powerlaw")) < 0.95 * found


def test_a_fluence_is_the_flux_times_the_duration(best):
    found = best.derived({"row": Flux(1, 10, "erg / cm2", duration=2 * u.min)})["value"]["row"]
    assert found.unit == u.erg / u.cm**2
    assert_allclose(found.value, 120 * value(best, Flux(1, 10)), rtol=1e-12)


def test_a_luminosity_has_the_k_correction_of_a_power_law(best):
    # 4 pi d^2 F (1 + z)^(Gamma - 2) for the same band, with Gamma the photon index: 2.0 changes nothing.
    cosmology = FlatLambdaCDM(H0=70, Om0=0.3)
    z = 0.8
    sphere = 4 * np.pi * cosmology.luminosity_distance(z).to_value("cm") ** 2
    flat = value(best, Luminosity(2, 10, redshift=z, cosmology=cosmology, source="b"))
    assert_allclose(flat, sphere * value(best, Flux(2, 10, source="b")), rtol=1e-6)
    part = {"source": "a", "component": "powerlaw", "without": "tbabs"}
    hard = value(best, Luminosity(2, 10, redshift=z, cosmology=cosmology, **part))
    assert_allclose(hard, sphere * value(best, Flux(2, 10, **part)) * (1 + z) ** -0.5, rtol=1e-6)
    photons = value(best, Luminosity(2, 10, "1 / s", redshift=z, cosmology=cosmology, source="b"))
    band = power_flux(best.values["b.powerlaw.K"], -2.0, 2 / (1 + z), 10 / (1 + z), 0)
    assert_allclose(photons, sphere * band / (1 + z), rtol=1e-6)


def test_a_luminosity_by_distance_has_its_error(best):
    near = {"exact": Luminosity(2, 10, distance=40 * u.Mpc, source="b")}
    near["rough"] = Luminosity(2, 10, distance=(40 * u.Mpc, 4 * u.Mpc), source="b")
    near["redshift"] = Luminosity(2, 10, redshift=(0.1, 0.01), source="b")
    exact, rough, redshift = (best.derived_draws(quantity) for quantity in near.values())
    distance = (40 * u.Mpc).to_value("cm")
    assert_allclose(
        value(best, near["exact"]), 4 * np.pi * distance**2 * value(best, Flux(2, 10, source="b")), rtol=1e-9
    )
    relative = [draws.std() / draws.mean() for draws in (exact, rough, redshift)]
    assert_allclose(relative[1] ** 2, relative[0] ** 2 + 0.2**2, rtol=0.1)
    # d_L grows as z (1 + z / 2 ...): a tenth of the redshift is a little more than a fifth of the luminosity.
    assert 0.2 < relative[2] < 0.23


def test_the_equivalent_width_of_a_narrow_line_is_its_photons_over_the_continuum(best):
    continuum = 2.0 * 6.4**-1.5 * best.values["a.powerlaw.K"] / 2.0
    for unit, factor in (("keV", 1), ("eV", 1000)):
        width = value(best, EquivalentWidth("gaussianline", source="a", low=1, high=20, unit=unit))
        assert_allclose(width, factor * 0.01 / continuum, rtol=1e-4)


def test_the_hardness_of_a_power_law_is_that_of_its_integrals(best):
    soft, hard = (Flux(*band, "1 / (cm2 s)", source="b") for band in ((1, 2), (2, 10)))
    ratio = best.derived({"row": (hard - soft) / (hard + soft)})["value"]["row"]
    expected = np.array([power_flux(1, -2.0, *band, 0) for band in ((1, 2), (2, 10))])
    assert_allclose(ratio.value, (expected[1] - expected[0]) / expected.sum(), rtol=1e-6)
    assert ratio.unit == u.dimensionless_unscaled


def test_arithmetic_of_quantities_is_that_of_numbers_and_units(best):
    a, b = (Derived(lambda K: K, f"{source}.powerlaw.K", unit="keV") for source in "ab")
    c = Derived(lambda K: K, "a.powerlaw.K")
    x, y = (best.derived_draws(each) for each in (a, b))
    cases = {
        "keV2": (a * b, x * y),
        "keV": (2 * a - b * 3, 2 * x - 3 * y),
        "": (a / b, x / y),
        "1 / keV": (2 / a, 2 / x),
        "keV3": (a**3, x**3),
        "1": (1 + (2 - c - 1 + c**2), 2 - x + x**2),
    }
    for unit, (quantity, expected) in cases.items():
        assert_allclose(best.derived_draws(quantity), expected, rtol=1e-12)
        assert u.Unit(quantity.unit) == u.Unit(unit), unit


def test_a_function_of_parameters_is_computed_draw_by_draw(best):
    found = best.derived_draws(Derived(lambda a, b: a / b, "a.powerlaw.K", "b.powerlaw.K"))
    assert_allclose(found, best.draws("a.powerlaw.K") / best.draws("b.powerlaw.K"), rtol=1e-12)


def test_another_band_or_redshift_compiles_nothing(best, compilations):
    for low, z in ((1, 0.5), (1.5, 0.6)):
        with compilations.none() if low > 1 else contextlib.nullcontext():
            best.derived({"flux": Flux(low, 10), "luminosity": Luminosity(low, 10, redshift=z, source="b")})


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda: Flux(1, 10, "keV"), ValueError, "'keV' is not a flux"),
        (lambda: Flux(1, 10, source="c"), KeyError, "no source is called 'c'"),
        (lambda: Flux(1, 10, component="line"), KeyError, "no additive component is called 'line'"),
        (lambda: Flux(1, 10, without="phabs"), KeyError, "no component is called 'phabs'; did you mean 'tbabs'"),
        (lambda: Flux(1, 10, without="powerlaw"), ValueError, "powerlaw is additive: leave out factors"),
        (lambda: Flux(1, 10) + Flux(1, 10, "1 / (cm2 s)"), ValueError, "do not add: give both one unit"),
        (lambda: Luminosity(1, 10), ValueError, "needs a positive redshift or a distance, got redshift=None"),
        (
            lambda: Luminosity(1, 10, redshift=1.0),
            ValueError,
            "the luminosity of which source. give source=",
        ),
        (lambda: Luminosity(1, 10, distance=40.0), TypeError, "distance is a quantity like 40 . u.Mpc"),
        (lambda: Luminosity(1, 10, distance=-40 * u.Mpc), ValueError, "distance must be positive"),
        (
            lambda: Luminosity(1, 10, distance=(1 * u.Mpc, 1 * u.kpc), redshift=(0.1, 0.1)),
            ValueError,
            "an error of the redshift or of the distance, not of both",
        ),
        (lambda: EquivalentWidth("gaussianline"), ValueError, "the equivalent width in which source"),
        (lambda: EquivalentWidth("powerlaw", source="b"), ValueError, "powerlaw is all there is of its source"),
        (lambda: Derived(lambda x: x, 3.0), TypeError, "takes names of parameters and quantities, got 3.0"),
        (lambda: Derived(lambda x: x, "a.powerlaw.k"), KeyError, "no parameter is called 'a.powerlaw.k'"),
        (lambda: "flux", TypeError, "a derived quantity is a Flux, a Luminosity, Derived"),
    ],
)
def test_what_is_no_quantity_of_the_model_is_refused(best, make, error, match):
    with pytest.raises(error, match=match):
        best.derived({"row": make()})


def test_nothing_is_left_of_a_factor_alone():
    with pytest.raises(ValueError, match=r"nothing is left of Constant.* without constant"):
        Constant(factor=2.0).without(["constant"])
