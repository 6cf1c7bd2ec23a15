"""Plasmas of AtomDB's files: made-up files, against sums over their lines and pieces of continuum one by one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from astropy.io import fits
from atomdb_files import KT, LINES, photons, write
from numpy.testing import assert_allclose

from jaxspec import Model, Observation, PointSource, Problem, Response, fit, load, parameters
from jaxspec.quadrature import Bins
from jaxspec.spectra import Apec, LowEnergyCutoff, Redshift, VariableApec, xspec

EDGES = np.geomspace(0.3, 12.0, 101)
BINS = Bins.of(EDGES[:-1], EDGES[1:])
# Abundances of oxygen and iron in the sets, over those of Anders & Grevesse 1989.
WILM = {8: 4.90e-4 / 8.51e-4, 26: 2.69e-5 / 4.68e-5}


@jax.jit
def photons_of(spectrum):
    return spectrum.integral(BINS)


@pytest.mark.parametrize(("kT", "metals", "z"), [(0.4, 1.0, 0.0), (0.55, 0.3, 0.4), (1.3, 0.0, 0.0), (6.0, 2.0, 0.1)])
def test_photons_are_those_of_the_lines_and_pieces_one_by_one(kT, metals, z):
    expected = photons(kT, EDGES, {8: metals, 26: metals}, z)
    assert_allclose(photons_of(Apec(kT=kT, abundance=metals, z=z)), expected, rtol=1e-9)
    assert_allclose(photons_of(VariableApec(kT=kT, O=metals, Fe=metals, z=z, norm=2.0)), 2 * expected, rtol=1e-9)


def test_abundances_are_those_of_the_set_times_the_parameters():
    assert_allclose(photons_of(Apec(kT=0.9, abundances="wilm")), photons(0.9, EDGES, WILM), rtol=1e-10)
    iron = {8: WILM[8], 26: 3 * WILM[26]}
    assert_allclose(photons_of(VariableApec(kT=0.9, Fe=3.0, abundances="wilm")), photons(0.9, EDGES, iron), rtol=1e-10)
    with pytest.raises(KeyError, match="no set of abundances is called 'willm'; did you mean 'wilm'"):
        Apec(abundances="willm")


@pytest.mark.parametrize("n", [1, 7, 5000])
def test_lines_keep_their_photons_in_bins_of_any_width(n):
    edges = np.geomspace(0.005, 100.0, n + 1)
    total = Apec(kT=1.3).integral(Bins.of(edges[:-1], edges[1:])).sum()
    assert_allclose(total, photons(1.3, np.array([0.005, 100.0]))[0], rtol=1e-12)


def test_redshift_is_that_of_any_spectrum():
    assert_allclose(photons_of(Apec(z=0.3)), photons_of(Redshift(z=0.3)(Apec())), rtol=1e-12)
    assert_allclose(Apec(z=0.3)(1.0), Apec()(1.3), rtol=1e-12)


def test_the_spectrum_itself_holds_the_photons_of_the_bins():
    edges = np.geomspace(0.3, 12.0, 200_001)
    middle = np.sqrt(edges[1:] * edges[:-1])
    assert_allclose(np.sum(np.asarray(Apec()(middle)) * np.diff(edges)), photons_of(Apec()).sum(), rtol=2e-3)


def test_moments_and_factors_see_the_lines_where_they_are():
    fine = np.geomspace(0.3, 12.0, 100 * 40 + 1)
    middle, each = np.sqrt(fine[1:] * fine[:-1]), photons(0.9, fine)
    for moment in (1, 2):
        expected = (each * middle**moment).reshape(100, 40).sum(axis=1)
        assert_allclose(Apec(kT=0.9).integral(BINS, moment), expected, rtol=1e-3)
        assert_allclose(Apec(kT=0.9).integral(BINS, jnp.asarray(float(moment))), expected, rtol=1e-3)
    absorbed = (LowEnergyCutoff(cutoff=2.0) * Apec(kT=0.9)).integral(BINS)
    assert_allclose(absorbed, (each * np.exp(-2.0 / middle)).reshape(100, 40).sum(axis=1), rtol=5e-3)


def test_the_slope_by_redshift_is_that_of_lines_spread_over_their_bins():
    weights = jnp.exp(-(((0.5 * (BINS.low + BINS.high) - 0.8) / 0.2) ** 2))
    seen = jax.jit(jax.value_and_grad(lambda z: Apec(kT=1.3, z=z).integral(BINS) @ weights))
    slopes = [seen(z)[1] for z in np.linspace(0.0, 0.2, 41)]
    assert_allclose(slopes, (seen(0.2)[0] - seen(0.0)[0]) / 0.2, rtol=0.4)
    assert_allclose(np.mean(slopes), (seen(0.2)[0] - seen(0.0)[0]) / 0.2, rtol=0.1)


def test_velocities_broaden_the_lines():
    spectrum = xspec("bapec", {"bapec.kT": 0.9, "bapec.Velocity": 500.0, "bapec.Redshift": 0.05})
    expected = photons(0.9, EDGES, z=0.05, width=lambda element, kT: 500 / 299792.458)
    assert_allclose(photons_of(spectrum), expected, rtol=2e-3)
    assert_allclose(photons_of(spectrum).sum(), expected.sum(), rtol=1e-5)


def test_temperatures_outside_of_a_range_are_not_read(tmp_path):
    part = Apec.from_atomdb(write(tmp_path), within=(0.8, 1.2), kT=0.9)
    assert_allclose(part.table.kT, [0.7, 1.3])
    assert len(part.table.line_energy) == sum(len(LINES[i][0]) for i in (1, 2))
    assert_allclose(photons_of(part), photons_of(Apec(kT=0.9)), rtol=1e-13)
    assert parameters.declarations(part)["kT"].bounds == (0.7, 1.3)
    assert parameters.declarations(Apec)["kT"].bounds == (1e-4, 1e3)


def test_the_table_is_an_argument_of_compiled_programs(tmp_path, compilations):
    spectrum = jax.tree.map(jnp.asarray, xspec("apec", {"apec.kT": 0.9}))
    assert len(photons_of.lower(spectrum).as_text()) < 100_000
    photons_of(Apec.from_atomdb(write(tmp_path, "first") / "first", kT=0.5))
    with compilations.none():
        photons_of(Apec.from_atomdb(write(tmp_path, "second") / "second", kT=2.0))


def test_files_that_are_missing_or_others_are_an_error(tmp_path, monkeypatch):
    monkeypatch.setenv("ATOMDB", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"there is no file .*apec_line\.fits of AtomDB's$"):
        Apec()
    write(tmp_path, "apec_v9")
    with pytest.raises(
        FileNotFoundError, match=r"there is no file .*apec_line\.fits of AtomDB's; give one of .*apec_v9'"
    ):
        xspec("tbabs*apec")
    assert Apec.from_atomdb(tmp_path / "apec_v9").table.within == (KT[0], KT[-1])
    monkeypatch.delenv("ATOMDB")
    with pytest.raises(ValueError, match=r"the environment variable ATOMDB to their folder, or give it: Apec\.from_"):
        Apec()
    write(tmp_path, "nei", stage=3)
    with pytest.raises(ValueError, match="has a row for each ion: it is made for plasmas out of equilibrium"):
        Apec.from_atomdb(tmp_path / "nei")
    fits.PrimaryHDU().writeto(tmp_path / "apec_v9_line.fits", overwrite=True)
    with pytest.raises(ValueError, match="is no file of AtomDB's: it has no extension PARAMETERS with a column kT"):
        Apec.from_atomdb(tmp_path / "apec_v9", within=(1.0, 2.0))


def test_temperatures_that_the_files_do_not_have_are_an_error(tmp_path):
    with pytest.raises(
        ValueError, match=r"Apec: kT = 20 keV lies outside its bounds \(0\.4, 10\) \(temperature, inside"
    ):
        Apec(kT=20.0)
    with pytest.raises(ValueError, match=r"apec: kT = 0.1 keV lies outside its bounds \(0\.4, 10\)"):
        xspec("apec", {"apec.kT": 0.1})
    with pytest.raises(ValueError, match=r"has temperatures from 0\.4 to 10 keV, not \(0\.1, 2\)"):
        Apec.from_atomdb(within=(0.1, 2.0))
    write(tmp_path)
    with fits.open(tmp_path / "apec_line.fits", mode="update") as hdus:
        hdus["PARAMETERS"].data["kT"][1] = 0.8
    with pytest.raises(ValueError, match=r"_line\.fits and .*_coco\.fits are for different temperatures"):
        Apec.from_atomdb(tmp_path)


def test_plasmas_are_fitted_and_saved_with_their_tables(tmp_path, monkeypatch):
    edges = np.geomspace(0.4, 9.0, 41)
    response = Response.diagonal(edges, area=500.0)
    truth = xspec("vapec", {"vapec.kT": 4.0, "vapec.Fe": 2.0}) + Apec.from_atomdb(within=(0.4, 0.7), kT=0.5)
    counts = np.round(500 * 1e5 * np.asarray(truth.integral(Bins.of(edges[:-1], edges[1:]))))
    model = Model(PointSource("s", truth)).thaw("s.vapec.Fe").freeze("s.apec.norm")
    model = model.with_values({"s.apec.kT": 0.6, "s.vapec.Fe": 1.0})
    assert model.parameters["s.apec.kT"].bounds == (0.4, 0.7)
    best = fit(Problem(model, [Observation(counts, response, 1e5, name="o")]))
    for name, value in {"s.apec.kT": 0.5, "s.vapec.kT": 4.0, "s.vapec.Fe": 2.0}.items():
        assert_allclose(best.values[name], value, atol=4 * best.errors[name])
    best.save(tmp_path / "best.nc")
    monkeypatch.delenv("ATOMDB")
    back = load(tmp_path / "best.nc")
    at = {name: best.values[name] for name in model.free}
    assert_allclose(back.problem.log_likelihood(at), best.problem.log_likelihood(at), rtol=1e-12)
    assert repr(back.problem.model) == repr(best.problem.model)
