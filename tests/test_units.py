"""The border between quantities and plain numbers. Constants: CODATA 2018, h c = 12.398419843320026 keV Angstrom."""

import astropy.units as u
import numpy as np
import pytest
from numpy.testing import assert_allclose

from jaxspec import units

KEV_IN_ERG = 1.602176634e-9  # exact in SI


@pytest.mark.parametrize(
    ("value", "kev"),
    [
        (5, 5.0),
        (np.float32(0.5), 0.5),
        (1 * u.MeV, 1e3),
        (2 * u.TeV, 2e9),
        (2.417989242084918e17 * u.Hz, 1.0),  # 1 keV / h
        (1 * u.EHz, 4.135667696923859),
        (12.398419843320026 * u.AA, 1.0),
        (1.2398419843320026 * u.nm, 1.0),
        (KEV_IN_ERG * u.erg, 1.0),
    ],
)
def test_energies_of_every_kind_become_kev(value, kev):
    assert_allclose(units.energy(value), kev, rtol=1e-12)


@pytest.mark.parametrize("value", [1 * u.s, 1 * u.kg, 3 * u.dimensionless_unscaled, 1 * u.keV / u.cm**2])
def test_other_kinds_of_quantity_are_no_energies(value):
    with pytest.raises(ValueError, match="no energy, frequency or wavelength of one photon"):
        units.energy(value)


@pytest.mark.parametrize("value", [0, -1.0, np.nan, np.inf, 0 * u.keV, -2 * u.keV])
def test_an_energy_is_positive_and_finite(value):
    with pytest.raises(ValueError, match="lower energy must be positive and finite, got"):
        units.energy(value, "lower energy")


def test_an_array_of_energies_is_no_energy():
    with pytest.raises((ValueError, TypeError)):
        units.energy([1, 2] * u.keV)


@pytest.mark.parametrize(("low", "high"), [(2, 1), (1, 1), (1 * u.MeV, 1 * u.keV), (1 * u.AA, 2 * u.AA)])
def test_a_band_in_the_wrong_order_is_refused(low, high):
    with pytest.raises(ValueError, match="the lower energy must be below the upper one, got"):
        units.band(low, high)


def test_a_band_of_wavelengths_in_the_wrong_order_is_told_so():
    with pytest.raises(ValueError, match="give the longer one first"):
        units.band(1 * u.AA, 2 * u.AA)


def test_a_band_may_mix_kinds():
    assert_allclose(units.band(12.398419843320026 * u.AA, 1 * u.MeV), (1.0, 1000.0), rtol=1e-12)


@pytest.mark.parametrize(
    ("unit", "moment", "factor"),
    [
        ("1 / (cm2 s)", 0, 1.0),
        ("1 / (m2 s)", 0, 1e4),
        ("ph / (cm2 s)", 0, 1.0),
        ("keV / (cm2 s)", 1, 1.0),
        ("erg / (cm2 s)", 1, KEV_IN_ERG),
        ("W / m2", 1, KEV_IN_ERG * 1e-3),
        ("Jy Hz", 1, KEV_IN_ERG * 1e-3 * 1e26),
        ("erg2 / (cm2 s)", 2, KEV_IN_ERG**2),
        ("TeV2 / (cm2 s)", 2, 1e-18),
    ],
)
def test_the_unit_of_a_flux_says_what_to_integrate(unit, moment, factor):
    found, scale = units.flux_moment(unit)
    assert found == moment
    assert_allclose(scale, factor, rtol=1e-12)


@pytest.mark.parametrize("unit", ["keV", "1 / s", "Jy", "erg / (cm2 s keV)", "erg3 / (cm2 s)", "m", ""])
def test_a_unit_that_is_no_flux_is_refused(unit):
    with pytest.raises(ValueError, match=r"is not a flux. Give a photon flux like '1 / "):
        units.flux_moment(unit)


@pytest.mark.parametrize("text", ["ergs per second", "bananas", "erg //", None])
def test_a_text_that_names_no_unit_is_refused(text):
    with pytest.raises(ValueError, match=r"is not a unit: .* Write it as astropy does, like 'erg /"):
        units.flux_moment(text)


@pytest.mark.parametrize(
    ("unit", "moment", "factor"),
    [
        ("1 / (cm2 s keV)", 0, 1.0),
        ("1 / (cm2 s MeV)", 0, 1e3),
        ("keV / (cm2 s keV)", 1, 1.0),
        ("erg / (cm2 s keV)", 1, KEV_IN_ERG),
        ("mJy", 1, 6.62607015e-27 * 1e26),  # keV / (cm2 s keV) = h / (cm2 s) = 6.62607015e-27 erg / (cm2 s Hz)
        ("erg / (cm2 s)", 2, KEV_IN_ERG),
    ],
)
def test_the_unit_of_a_spectrum_says_which_power_of_the_energy(unit, moment, factor):
    found, scale = units.spectrum_moment(unit)
    assert found == moment
    assert_allclose(scale, factor, rtol=1e-9)


@pytest.mark.parametrize("unit", ["keV", "1 / s", "m"])
def test_a_unit_that_is_no_spectrum_is_refused(unit):
    with pytest.raises(ValueError, match="is not a unit of a spectrum"):
        units.spectrum_moment(unit)


def test_numbers_take_the_unit_of_a_parameter():
    assert_allclose(units.number(0.5 * u.MeV, "keV", "x"), 500.0, rtol=1e-14)
    assert units.number(3, "keV", "x") == 3
    assert_allclose(units.number(50 * u.percent, "", "x"), 0.5, rtol=1e-14)


def test_a_quantity_of_another_kind_is_refused_by_name():
    with pytest.raises(ValueError, match=r"src.powerlaw.K is in 1 / s, which keV does not convert to"):
        units.number(1 * u.keV, "1 / s", "src.powerlaw.K")


def test_times_become_seconds():
    assert_allclose(units.seconds(2 * u.ks), 2000.0, rtol=1e-14)
    assert units.seconds(3) == 3.0


@pytest.mark.parametrize("value", [0, -1, np.nan, np.inf, -2 * u.s])
def test_an_exposure_is_positive_and_finite(value):
    with pytest.raises(ValueError, match="exposure must be a positive number of seconds, got"):
        units.seconds(value)


def test_an_exposure_is_a_time():
    with pytest.raises(ValueError, match="exposure is in s, which keV does not convert to"):
        units.seconds(1 * u.keV)
