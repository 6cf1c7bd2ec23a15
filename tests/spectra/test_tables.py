"""Table models: values by an interpolation in numpy, files as OGIP memo 92-009 has them, huge ones, saved ones."""

import itertools
import tracemalloc

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from astropy.io import fits
from numpy.testing import assert_allclose

from jaxspec import Model, Observation, PointSource, Problem, Response, fit, load, parameters
from jaxspec.quadrature import Bins
from jaxspec.spectra import PowerLaw, TBabs, table_from_arrays, table_from_ogip, xspec
from jaxspec.spectra._factors import LowEnergyCutoff

KT, TAU = np.array([0.5, 1.0, 2.0, 8.0]), np.array([0.1, 0.3, 1.0])
EDGES = np.geomspace(0.3, 12.0, 41)
RANDOM = np.random.default_rng(3)
PHOTONS = RANDOM.uniform(0.5, 2.0, (4, 3, 40)) * np.diff(EDGES) * EDGES[:-1] ** -1.5
ADDED = RANDOM.uniform(0.0, 0.2, (4, 3, 40)) * np.diff(EDGES)
BINS = Bins.of(np.geomspace(0.2, 15.0, 31)[:-1], np.geomspace(0.2, 15.0, 31)[1:])


def write(path, rows, n_axes, edges, columns, header, values):
    """A table model: `rows` of PARAMETERS are (name, method, initial, delta, values or limits)."""
    longest = max(len(row[4]) for row in rows)
    padded = np.zeros((len(rows), longest), "f4")
    for i, row in enumerate(rows):
        padded[i, : len(row[4])] = row[4]
    column = fits.Column
    table = fits.BinTableHDU.from_columns(
        [
            column("NAME", "12A", array=[row[0] for row in rows]),
            column("METHOD", "J", array=[row[1] for row in rows]),
            column("INITIAL", "E", array=[row[2] for row in rows]),
            column("DELTA", "E", array=[row[3] for row in rows]),
            *(column(key, "E", array=[row[4][0] for row in rows]) for key in ("MINIMUM", "BOTTOM")),
            *(column(key, "E", array=[row[4][-1] for row in rows]) for key in ("TOP", "MAXIMUM")),
            column("NUMBVALS", "J", array=[len(row[4]) for row in rows]),
            column("VALUE", f"{longest}E", array=padded),
        ],
        name="PARAMETERS",
    )
    table.header.update(NINTPARM=n_axes, NADDPARM=len(rows) - n_axes)
    energies = fits.BinTableHDU.from_columns(
        [column("ENERG_LO", "E", array=edges[:-1]), column("ENERG_HI", "E", array=edges[1:])], name="ENERGIES"
    )
    spectra = fits.BinTableHDU.from_columns(
        [
            column("PARAMVAL", f"{n_axes}E", array=values),
            *(column(name, f"{len(edges) - 1}E", array=array.reshape(len(values), -1)) for name, array in columns),
        ],
        name="SPECTRA",
    )
    primary = fits.PrimaryHDU()
    primary.header.update({"MODLNAME": "my model", "MODLUNIT": "photons/cm^2/s", "ADDMODEL": True, **header})
    fits.HDUList([primary, table, energies, spectra]).writeto(path, overwrite=True)
    return path


ROWS = (("kT", 0, 1.0, 0.1, KT), ("log(tau)", 1, 0.3, -0.1, TAU), ("Fe", 0, 0.0, 0.1, np.array([0.0, 5.0])))
VALUES = np.array(list(itertools.product(KT, TAU)))


@pytest.fixture
def make(tmp_path):
    def make(rows=ROWS, columns=(("INTPSPEC", PHOTONS), ("ADDSP001", ADDED)), values=VALUES, **header):
        return write(tmp_path / "table.fits", rows, 2, EDGES, columns, header, values)

    return make


def interpolated(table, kT, tau):
    """Linear in kT, linear in ln tau, worked out in numpy."""
    i, j = np.searchsorted(KT, kT, "right") - 1, np.searchsorted(TAU, tau, "right") - 1
    u = (kT - KT[i]) / (KT[i + 1] - KT[i])
    v = np.log(tau / TAU[j]) / np.log(TAU[j + 1] / TAU[j])
    low = (1 - v) * table[i, j] + v * table[i, j + 1]
    high = (1 - v) * table[i + 1, j] + v * table[i + 1, j + 1]
    return (1 - u) * low + u * high


def rebinned(photons, low, high, edges=EDGES):
    """XSPEC's rule: a bin of the table is shared by its overlap."""
    overlap = np.clip(np.minimum(high[:, None], edges[1:]) - np.maximum(low[:, None], edges[:-1]), 0, None)
    return (overlap / np.diff(edges)) @ photons


def test_an_additive_table_has_the_values_of_an_interpolation_in_numpy(make):
    table = table_from_ogip(make())
    assert list(parameters.declarations(table)) == ["kT", "log_tau", "Fe", "norm"]
    assert not parameters.declarations(table)["log_tau"].free
    assert repr(table) == "my_model(kT=1, log_tau=0.3, Fe=0, norm=1)"
    for kT, tau, iron in [(0.7, 0.2, 0.0), (1.0, 0.3, 2.0), (5.0, 0.9, 1.0)]:
        spectrum = table.with_fields(kT=kT, log_tau=tau, Fe=iron, norm=3.0)
        photons = 3 * (interpolated(PHOTONS, kT, tau) + iron * interpolated(ADDED, kT, tau))
        low, high = np.asarray(BINS.low), np.asarray(BINS.high)
        assert_allclose(spectrum.integral(BINS), rebinned(photons, low, high), rtol=2e-6)
        middle = np.sqrt(EDGES[:-1] * EDGES[1:])
        assert_allclose(spectrum(middle), photons / np.diff(EDGES), rtol=2e-6)
        assert_allclose(spectrum(np.array([0.1, 0.299, 12.1])), 0.0)


def test_moments_and_points_follow_from_the_values(make):
    table = table_from_ogip(make(), name="t")
    fine = np.geomspace(0.2, 15.0, 30 * 4000 + 1)
    energy = np.sqrt(fine[1:] * fine[:-1])
    for moment in (1, 2):
        expected = (np.asarray(table(energy)) * energy**moment * np.diff(fine)).reshape(30, -1).sum(axis=1)
        assert_allclose(table.integral(BINS, moment), expected, rtol=1e-3, atol=1e-9)
        assert_allclose(table.integral(BINS, jnp.asarray(float(moment))), table.integral(BINS, moment), rtol=1e-12)
    absorbed = (LowEnergyCutoff(cutoff=0.5) * table).integral(BINS)
    expected = (np.asarray(table(energy)) * np.exp(-0.5 / energy) * np.diff(fine)).reshape(30, -1).sum(axis=1)
    assert_allclose(absorbed, expected, rtol=3e-3, atol=1e-9)


def test_redshift_and_scale_move_the_energies(make):
    low, high = np.asarray(BINS.low), np.asarray(BINS.high)
    photons = interpolated(PHOTONS, 0.7, 0.2)
    shifted = table_from_ogip(make(REDSHIFT=True)).with_fields(kT=0.7, log_tau=0.2, z=0.5)
    assert_allclose(shifted.integral(BINS), rebinned(photons, 1.5 * low, 1.5 * high) / 1.5, rtol=2e-6)
    scaled = table_from_ogip(make(ESCALE=True)).with_fields(kT=0.7, log_tau=0.2, escale=1.3)
    assert_allclose(scaled.integral(BINS), rebinned(photons, low / 1.3, high / 1.3), rtol=2e-6)
    both = table_from_ogip(make(REDSHIFT=True, ESCALE=True)).with_fields(kT=0.7, log_tau=0.2, z=0.5, escale=1.3)
    # XSPEC 12.15's `tabint`, of a table with 1, 2 ... photons in (1, 2), (2, 3) ... keV and the parameters 2 and 0.5.
    xspec_says, at, edges = [2 / 3, 1, 3 / 2], np.array([2.0, 3.0, 4.0, 5.0]), np.arange(1.0, 12.0)
    assert_allclose(rebinned(edges[:-1], at[:-1] * 1.5 / 2, at[1:] * 1.5 / 2, edges) / 1.5, xspec_says, rtol=1e-12)
    assert_allclose(both.integral(BINS), rebinned(photons, low * 1.5 / 1.3, high * 1.5 / 1.3) / 1.5, rtol=2e-6)
    assert list(parameters.declarations(both))[-3:] == ["escale", "z", "norm"]
    assert_allclose(scaled(2.0), table_from_ogip(make()).with_fields(kT=0.7, log_tau=0.2)(2.0 / 1.3) / 1.3, rtol=1e-6)


def test_factors_and_exponentials(make):
    path = make(ADDMODEL=False, LOELIMIT=0.5)
    factor = table_from_ogip(path).with_fields(kT=0.7, log_tau=0.2)
    middle = np.sqrt(EDGES[:-1] * EDGES[1:])
    assert factor.kind == "multiplicative"
    assert_allclose(factor(middle), interpolated(PHOTONS, 0.7, 0.2), rtol=2e-6)
    assert_allclose(factor(np.array([0.1, 20.0])), [0.5, 1.0])
    exponential = table_from_ogip(path, "exponential").with_fields(kT=0.7, log_tau=0.2)
    assert_allclose(exponential(middle), np.exp(-interpolated(PHOTONS, 0.7, 0.2)), rtol=2e-6)
    assert (exponential * PowerLaw()).kind == "additive"


def test_outside_of_its_energies_a_factor_is_one_unless_the_file_says_otherwise(make):
    assert_allclose(table_from_ogip(make(ADDMODEL=False))(np.array([0.1, 20.0])), 1.0)


def test_xspec_reads_tables(make):
    path = make()
    spectrum = xspec(f"tbabs*(powerlaw + atable{{{path}}})", {"my_model.kT": 2.0})
    assert list(spectrum.components()) == ["tbabs", "powerlaw", "my_model"]
    ours = TBabs(abundances="angr") * (PowerLaw(index=-1) + table_from_ogip(path).with_fields(kT=2.0))
    assert_allclose(spectrum(np.array([1.0, 5.0])), ours(np.array([1.0, 5.0])), rtol=1e-12)


def test_a_part_of_a_table_is_the_table_there(make):
    path = make()
    part = table_from_ogip(path, within={"kT": (1.2, 1.9)})
    assert part.spectra[0].shape == (2, 3, 40)
    assert parameters.declarations(part)["kT"].bounds == (1.2, 1.9)
    assert_allclose(part.with_fields(kT=1.6)(3.0), table_from_ogip(path).with_fields(kT=1.6)(3.0), rtol=1e-12)
    with pytest.raises(KeyError, match="parameter of this table is called 'log_tao'; did you mean 'log_tau'"):
        table_from_ogip(path, within={"log_tao": (1, 2)})
    with pytest.raises(ValueError, match=r"kT is tabulated from 0\.5 to 8, not \(0\.1, 2\)"):
        table_from_ogip(path, within={"kT": (0.1, 2)})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"NXFLTEXP": 2}, "has 2 spectra for each set of parameters; one is supported"),
        ({"HIELIMIT": 1.0}, r"is not 0 outside of its energies \(LOELIMIT, HIELIMIT\)"),
        ({"values": VALUES[::-1]}, "are not in order: the last parameter must vary fastest"),
    ],
)
def test_a_file_that_is_not_supported_is_an_error(make, change, message):
    with pytest.raises(ValueError, match=message):
        table_from_ogip(make(**change))


def test_a_file_that_is_no_table_is_an_error(make, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no table model at none\.fits"):
        table_from_ogip("none.fits")
    fits.HDUList([fits.PrimaryHDU()]).writeto(tmp_path / "empty.fits")
    with pytest.raises(ValueError, match="is no XSPEC table model: it has no extension PARAMETERS and no ENERGIES"):
        table_from_ogip(tmp_path / "empty.fits")
    with pytest.raises(ValueError, match="is an additive table, not exponential"):
        table_from_ogip(make(), "exponential")
    with pytest.raises(ValueError, match="kind is 'additive', 'multiplicative' or 'exponential', got 'atable'"):
        table_from_ogip(make(), "atable")
    fewer = (("INTPSPEC", PHOTONS[:3]), ("ADDSP001", ADDED[:3]))
    with pytest.raises(ValueError, match="has 9 spectra; its parameters have 12 combinations"):
        table_from_ogip(make(columns=fewer, values=VALUES[:9]))


def test_a_huge_file_opens_without_being_read(tmp_path):
    """Two gigabytes, of which most was never written: the file system keeps them as a hole."""
    a, b, edges = np.linspace(1, 2, 100), np.linspace(0, 1, 50), np.geomspace(0.1, 100, 100_001)
    rows = (("a", 0, 1.5, 0.1, a), ("b", 0, 0.5, 0.1, b))
    values = np.array(list(itertools.product(a, b)))
    path = write(tmp_path / "huge.fits", rows, 2, edges, (("INTPSPEC", np.ones((1, 100_000), "f4")),), {}, values[:1])
    with fits.open(path, memmap=True) as hdus:
        hdus["SPECTRA"].header["NAXIS2"] = len(values)
        start, row = hdus["SPECTRA"]._data_offset, hdus["SPECTRA"].header["NAXIS1"]
        head = hdus["SPECTRA"].header.tostring()
        place = hdus["SPECTRA"]._header_offset
    with open(path, "r+b") as file:
        file.seek(place)
        file.write(head.encode())
        for i, each in enumerate(values):
            file.seek(start + i * row)
            file.write(each.astype(">f4").tobytes())
        file.truncate(start + -(-len(values) * row // 2880) * 2880)
    tracemalloc.start()
    table = table_from_ogip(path)
    assert table.with_fields(a=1.0, b=0.0)(3.0) == table.with_fields(a=1.0, b=0.0)(3.0)
    part = table_from_ogip(path, within={"a": (1.0, 1.005), "b": (0.0, 0.01)})
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert path.stat().st_size > 2e9
    assert peak < 2e7
    assert part.spectra[0].shape == (2, 2, 100_000)


GRID = table_from_arrays(EDGES, np.stack([EDGES[:-1] ** -1.0, EDGES[:-1] ** -2.0]), {"index": [1.0, 2.0]}, name="mine")


def test_a_grid_of_the_users_own():
    middle = np.sqrt(EDGES[:-1] * EDGES[1:])
    half = 0.5 * (EDGES[:-1] ** -1.0 + EDGES[:-1] ** -2.0)
    assert_allclose(GRID.with_fields(index=1.5, norm=2.0)(middle), 2 * half, rtol=1e-13)
    single = table_from_arrays(EDGES, half)
    assert_allclose(single(middle), half, rtol=1e-13)
    dust = table_from_arrays(EDGES, np.ones((3, 40)), {"a": [1.0, 10.0, 100.0]}, kind="exponential", logarithmic=["a"])
    assert_allclose(dust(middle), np.exp(-1))
    slope = jax.grad(lambda index: GRID.with_fields(index=index)(1.0))(1.4)
    assert_allclose(slope, GRID.with_fields(index=2.0)(1.0) - GRID.with_fields(index=1.0)(1.0), rtol=1e-9)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((EDGES, np.ones(41)), {}, r"spectra have the shape \(41,\); \[\] and the energy bins make \(40,\)"),
        ((EDGES[::-1], np.ones(40)), {}, "edges must be finite numbers that rise"),
        ((EDGES, np.ones((2, 40)), {"a": [2.0, 1.0]}), {}, "a must be finite numbers that rise"),
        ((EDGES, np.ones((2, 40)), {"norm": [1.0, 2.0]}), {}, "a parameter of a table cannot be called 'norm'"),
        ((EDGES, np.ones(40)), {"kind": "atable"}, "kind is 'additive', 'multiplicative' or 'exponential'"),
    ],
)
def test_arrays_that_do_not_fit_are_an_error(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        table_from_arrays(*arguments, **options)


def test_tables_are_fitted_share_programs_and_are_saved(make, tmp_path, compilations):
    response = Response.diagonal(np.geomspace(0.5, 10.0, 31), area=1000.0)
    bins = Bins.of(response.energy_low, response.energy_high)
    first = table_from_ogip(make(ESCALE=True, REDSHIFT=True))
    truth = first.with_fields(kT=1.6) + GRID.with_fields(index=1.3, norm=0.5)
    counts = np.round(1000 * 100 * np.asarray(truth.integral(bins)))

    def problem_of(table):
        model = Model(PointSource("s", table + GRID)).freeze("s.my_model.Fe")
        return Problem(model, [Observation(counts, response, 100.0, name="o")])

    problem = problem_of(first)
    best = fit(problem)
    assert_allclose(best.values["s.my_model.kT"], 1.6, atol=0.02)
    assert_allclose(best.values["s.mine.index"], 1.3, atol=0.02)
    at = {name: best.values[name] for name in problem.model.free}
    value = problem.log_likelihood(at)
    with compilations.none():
        other = problem_of(
            table_from_ogip(
                make(ESCALE=True, REDSHIFT=True, columns=(("INTPSPEC", 1.1 * PHOTONS), ("ADDSP001", ADDED)))
            )
        )
        assert float(other.log_likelihood(at)) != float(value)
    best.save(tmp_path / "best.nc")
    (tmp_path / "table.fits").unlink()
    back = load(tmp_path / "best.nc")
    assert repr(back.problem.model) == repr(best.problem.model)
    assert_allclose(back.problem.log_likelihood(at), value, rtol=1e-13)
