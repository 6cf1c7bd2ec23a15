"""Tables sampled at energies: closed forms that interpolation gives exactly."""

import astropy.units as u
import jax
import numpy as np
import pytest
from numpy.testing import assert_allclose

from jaxspec import Model, Observation, PointSource, Problem, Response, fit, load, parameters
from jaxspec.spectra import PowerLaw, dark_matter_from_arrays, ebl_from_arrays

TEV = 1e9  # keV
ENERGIES, REDSHIFTS = np.geomspace(0.01, 30.0, 12), np.array([0.05, 0.1, 0.3, 1.0])
# A power law in both: straight lines between the logarithms.
DEPTHS = 2 * REDSHIFTS[:, None] ** 1.2 * ENERGIES**0.7
MASSES, X = np.array([10.0, 100.0, 1000.0]), np.geomspace(1e-6, 1.0, 13)
# Straight lines in ln m and ln x, falling to zero at E = m.
SPECTRA = -(1 + 0.2 * np.log10(MASSES))[:, None] * np.log10(X)


def test_attenuation_has_the_values_of_a_law_that_the_table_holds():
    ebl = ebl_from_arrays(ENERGIES * u.TeV, REDSHIFTS, DEPTHS)
    assert list(parameters.declarations(ebl)) == ["z", "strength"]
    assert parameters.declarations(ebl)["z"].bounds == (0.05, 1.0)
    at = np.array([0.013, 0.4, 7.7])
    for z, strength in ((0.05, 1.0), (0.17, 1.0), (0.8, 0.4)):
        expected = np.exp(-strength * 2 * z**1.2 * at**0.7)
        assert_allclose(ebl.with_fields(z=z, strength=strength)(at * TEV), expected, rtol=1e-12)
    assert_allclose(ebl(np.array([1e-3, 300.0]) * TEV), [1.0, np.exp(-2 * 0.3**1.2 * 30**0.7)], rtol=1e-12)
    slope = jax.grad(lambda z: ebl.with_fields(z=z)(1.0 * TEV))(0.2)
    assert_allclose(slope, -2.4 * 0.2**0.2 * np.exp(-2 * 0.2**1.2), rtol=1e-12)


def test_dark_matter_has_the_values_of_a_law_that_the_table_holds():
    photons = dark_matter_from_arrays(MASSES, X, SPECTRA)
    assert list(parameters.declarations(photons)) == ["mass", "sigmav", "J"]
    energy = np.array([2.0, 31.0, 299.0])  # GeV
    found = photons.with_fields(mass=300.0, sigmav=2e-26, J=5e19)(energy * u.GeV)
    # By hand: 2e-26 * 5e19 / (8 pi 300^2) = 4.4210e-13 / (cm2 s).
    spectrum = -(1 + 0.2 * np.log10(300)) * np.log10(energy / 300) / (energy * 1e6 * np.log(10))
    assert_allclose(found, 4.420971e-13 * spectrum, rtol=1e-6)
    assert_allclose(photons.with_fields(mass=300.0)(np.array([301.0, 1e-5]) * u.GeV), 0.0)
    single = jax.jit(lambda component, energy: component(energy))(
        jax.tree.map(np.float32, photons.with_fields(mass=300.0)), (energy * 1e6).astype(np.float32)
    )
    assert_allclose(single, photons.with_fields(mass=300.0)(energy * 1e6), rtol=1e-3)  # ln 299 / 300 in 32 bits


def test_both_are_fitted_and_saved(tmp_path):
    edges = np.geomspace(1.0, 200.0, 31) * 1e6
    response = Response.diagonal(edges, area=1e9)
    source = ebl_from_arrays(ENERGIES * u.TeV, REDSHIFTS, DEPTHS).with_fields(z=0.1) * PowerLaw(
        K=1e-14, index=-2, pivot=1e7
    ) + dark_matter_from_arrays(MASSES, X, SPECTRA).with_fields(mass=250.0, sigmav=1e-22)
    model = Model(PointSource("s", source)).freeze("s.powerlaw.index")
    expected = Problem(model, [Observation(np.ones(30), response, 1e4, name="o")]).expected_counts()["o"]
    seen = Observation(np.round(np.asarray(expected)), response, 1e4, name="o")
    best = fit(Problem(model, [seen]))
    assert_allclose(best.values["s.annihilation.mass"], 250.0, rtol=0.05)
    best.save(tmp_path / "best.nc")
    back = load(tmp_path / "best.nc")
    assert repr(back.problem.model.sources) == repr(best.problem.model.sources)
    assert_allclose(back.statistic, best.statistic, rtol=1e-12)


@pytest.mark.parametrize(
    ("make", "arrays", "message"),
    [
        (ebl_from_arrays, (ENERGIES, REDSHIFTS, DEPTHS.T), r"shape \(12, 4\); redshifts and energies make \(4, 12\)"),
        (ebl_from_arrays, (ENERGIES, REDSHIFTS, 0 * DEPTHS), "redshifts and optical depths must be positive"),
        (ebl_from_arrays, (ENERGIES, REDSHIFTS[::-1], DEPTHS), "redshifts must be finite numbers that rise"),
        (dark_matter_from_arrays, (MASSES, X, SPECTRA[:2]), r"shape \(2, 13\); masses and x make \(3, 13\)"),
    ],
)
def test_arrays_that_do_not_fit_are_an_error(make, arrays, message):
    with pytest.raises(ValueError, match=message):
        make(*arrays)
