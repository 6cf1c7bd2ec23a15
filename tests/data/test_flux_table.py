"""Tables with columns called as by gamma-astro-data-formats (v0.3, spectra, SED)."""

import numpy as np
import pytest
from astropy.table import QTable, Table
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import norm

from jaxspec import FluxPoints, RepairWarning

UNITS = {"e_ref": "TeV", "e_min": "TeV", "e_max": "TeV", "dnde": "cm-2 s-1 TeV-1", "e2dnde": "erg cm-2 s-1"}
UNITS |= {"flux": "cm-2 s-1", "eflux": "erg cm-2 s-1"}


def table(columns, meta=None):
    """With the units that belong to each column."""
    made = Table(columns, meta=meta)
    for name in made.colnames:
        kind = name.lower().split("_err")[0].removesuffix("_ul").removeprefix("ref_")
        if kind in UNITS:
            made[name].unit = UNITS[kind]
    return made


def sed(**changes):
    """Two measurements and a limit, which is known by its having no error."""
    columns = {
        "e_ref": [1.0, 3.0, 10.0],
        "dnde": [1e-11, 1e-12, np.nan],
        "dnde_err": [1e-12, 2e-13, np.nan],
        "dnde_ul": [1.2e-11, np.nan, 4e-14],
    } | changes
    return table({name: values for name, values in columns.items() if values is not None})


def same(points, exact):
    for name in ("counts", "errors", "errors_above", "upper_limits"):
        assert_allclose(getattr(points, name), getattr(exact, name), rtol=1e-12)
    assert_allclose(points.response.channel_low, exact.response.channel_low, rtol=1e-12)
    assert_allclose(points.response.area, exact.response.area, rtol=1e-9)


@pytest.fixture
def exact():
    """What `sed` means: a limit of 95 %, one-sided, is one of 1.645 standard deviations."""
    errors = [1e-12, 2e-13, 4e-14 / norm.ppf(0.95)]
    return FluxPoints.at([1e9, 3e9, 1e10], [1e-11, 1e-12, 4e-14], errors, "1 / (cm2 s TeV)", upper_limits=[0, 0, 1])


@pytest.mark.parametrize("ending", ["ecsv", "fits", "fits[1]"])
def test_points_are_read_from_files(exact, tmp_path, ending):
    sed().write(tmp_path / f"crab.{ending.removesuffix('[1]')}")
    points = FluxPoints.from_table(f"{tmp_path}/crab.{ending}")
    assert points.name == "crab"
    assert "2 fluxes and 1 upper limits in 1 / (TeV s cm2)" in points.info()
    same(points, exact)


@pytest.mark.parametrize("kind", [QTable, lambda given: Table(given, masked=True), lambda given: dict(given.items())])
def test_points_are_taken_from_tables_of_every_kind(exact, kind):
    points = FluxPoints.from_table(kind(sed()), name="mine")
    assert points.name == "mine"
    same(points, exact)


def test_masked_rows_are_empty(exact):
    masked = Table(sed(dnde=[1e-11, 1e-12, 7e-12]), masked=True)
    masked["dnde"].mask = masked["dnde_err"].mask = [False, False, True]
    same(FluxPoints.from_table(masked), exact)


def test_names_in_capitals_and_the_middle_of_a_band_are_understood(exact):
    given = sed(e_ref=None, e_min=[0.5, 2.0, 5.0], e_max=[2.0, 4.5, 20.0])
    for name in given.colnames:
        given.rename_column(name, name.upper())
    same(FluxPoints.from_table(given), exact)


def test_errors_of_two_sides_come_before_the_mean_one():
    given = sed(dnde_errn=[-1.0, 1e-13, np.nan], dnde_errp=[3e-12, np.nan, np.nan])
    points = FluxPoints.from_table(given)
    assert_allclose(points.errors[:2], [1e-12, 1e-13], rtol=1e-12)  # a negative one stands for none
    assert_allclose(points.errors_above[:2], [3e-12, 2e-13], rtol=1e-12)


def test_a_column_says_which_rows_are_limits():
    points = FluxPoints.from_table(sed(is_ul=[True, False, True]))
    assert_array_equal(points.upper_limits, [1, 0, 1])
    assert_allclose(points.counts, [1.2e-11, 1e-12, 4e-14], rtol=1e-12)


@pytest.mark.parametrize(
    ("meta", "options", "deviations"),
    [
        ({"UL_CONF": 0.99}, {"level": 0.9}, norm.ppf(0.99)),
        ({"n_sigma_ul": 2}, {}, 2.0),  # gammapy
        ({}, {"level": 0.9}, norm.ppf(0.9)),
    ],
)
def test_the_confidence_of_limits_is_stated_by_the_table_or_the_user(meta, options, deviations):
    given = sed()
    given.meta |= meta
    assert_allclose(FluxPoints.from_table(given, **options).errors[2], 4e-14 / deviations, rtol=1e-12)


def test_norms_are_in_units_of_their_reference(exact):
    reference = [2e-11, 4e-12, 1e-13]
    columns = {"norm": [0.5, 0.25, np.nan], "norm_err": [0.05, 0.05, np.nan], "norm_ul": [np.nan, np.nan, 0.4]}
    given = table({"e_ref": [1.0, 3.0, 10.0], "ref_dnde": reference, **columns}, {"SED_TYPE": "likelihood"})
    same(FluxPoints.from_table(given), exact)


def test_a_flux_over_bands_is_taken_on_request_or_where_the_table_is_of_that_type():
    bands = {"e_min": [1.0, 2.0, 5.0], "e_max": [2.0, 4.0, 20.0]}
    given = sed(**bands, eflux=[1e-10, 2e-10, 3e-10], eflux_err=[1e-11, 1e-11, 1e-11])
    points = FluxPoints.from_table(given, "eflux")
    exact = FluxPoints.over([1e9, 2e9, 5e9], [2e9, 4e9, 2e10], [1e-10, 2e-10, 3e-10], 1e-11, "erg / (cm2 s)")
    same(points, exact)
    given.meta["SED_TYPE"] = "eflux"
    same(FluxPoints.from_table(given), exact)
    assert FluxPoints.from_table(given, "dnde").counts[0] == 1e-11


def test_rows_with_nothing_in_them_are_left_out_and_said():
    given = sed(dnde=[1e-11, np.nan, np.nan], dnde_ul=[np.nan, np.nan, 4e-14])
    with pytest.warns(RepairWarning, match=r"1 rows with neither dnde and its error nor a limit left out \(row 2\)"):
        points = FluxPoints.from_table(given)
    assert_array_equal(points.upper_limits, [0, 1])


WRONG = {
    "no column dnde, e2dnde, flux, eflux, nor norm with ref_dnde; it has e_ref, dnde_err": {"dnde": None},
    "dnde needs the columns e_ref, or e_min and e_max; there are dnde, dnde_err": {"e_ref": None},
    "column e_ref, row 2: an energy must be positive": {"e_ref": [1.0, -3.0, 10.0]},
    "column dnde_err does not hold numbers in 1 / ": {"dnde_err": ["a", "b", "c"]},
    "column dnde_err must hold one number a row": {"dnde_err": np.ones((3, 2))},
    "no row has a value of dnde with its error, or a limit dnde_ul": {"dnde_err": None, "dnde_ul": None},
}


@pytest.mark.parametrize("message", WRONG)
def test_a_wrong_table_is_refused_with_the_column(message):
    with pytest.raises(ValueError, match=f"the table: {message}"):
        FluxPoints.from_table(sed(**WRONG[message]))


def test_a_column_needs_a_unit_of_its_kind():
    given = sed()
    given["dnde"].unit = None
    with pytest.raises(ValueError, match=r"dnde has no unit; read it by astropy and set table\['dnde'\]\.unit"):
        FluxPoints.from_table(given)
    given["dnde"].unit = "m"
    with pytest.raises(ValueError, match="column dnde_err does not hold numbers in m"):
        FluxPoints.from_table(given)


def test_wrong_options_are_refused():
    with pytest.raises(ValueError, match="no flux is called 'sed'; there are dnde, e2dnde, flux, eflux"):
        FluxPoints.from_table(sed(), "sed")
    with pytest.raises(ValueError, match=r"confidence level of limits lies between 0\.5 and 1, got 95"):
        FluxPoints.from_table(sed(), level=95)
    given = sed()
    given.meta["UL_CONF"] = "high"
    with pytest.raises(ValueError, match="the table: ul_conf is 'high', not a number"):
        FluxPoints.from_table(given)


def test_what_is_no_table_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"a\.fits: no such file"):
        FluxPoints.from_table(tmp_path / "a.fits")
    (tmp_path / "a.fits").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"a\.fits: no table that astropy reads"):
        FluxPoints.from_table(tmp_path / "a.fits")
