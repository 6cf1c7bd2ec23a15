"""Absorption: tables, edges, abundances as parameters."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from jaxspec.photons import photons_in
from jaxspec.quadrature import Bins
from jaxspec.spectra import Phabs, PowerLaw, TBabs, VariablePhabs, Wabs


@pytest.mark.parametrize(
    ("component", "depth"),
    [
        (Phabs(), 2.50249),
        (Phabs(abundances="wilm"), 1.69592),
        (Phabs(abundances="lodd"), 1.65105),
        (Phabs(abundances="aspl"), 1.72008),
        (Phabs(abundances="grsa"), 2.08118),
        (Phabs(cross_sections="bcmc"), 2.59124),
        (Phabs(abundances="wilm", cross_sections="bcmc"), 1.77096),
        (TBabs(abundances="angr"), 2.53233),
        (TBabs(), 1.73755),
        (TBabs(abundances="lodd"), 1.68320),
        (TBabs(abundances="aspl"), 1.75449),
        (TBabs(abundances="grsa"), 2.11231),
        (TBabs(abundances="angr", grains=False), 2.56024),
        (Phabs(abundances="feld"), 2.40369),
        (TBabs(abundances="aneb"), 2.28055),
        (TBabs(abundances="lpgp"), 1.83690),
        (Phabs(abundances="lpgs"), 2.03747),
        (Wabs(), 2.42199),
    ],
)
def test_the_optical_depth_at_1_kev_is_that_of_xspec_12(component, depth):
    assert_allclose(-np.log(component(1.0)), depth, rtol=5e-5)


def test_both_sides_of_the_iron_edge_are_kept():
    # Verner et al. 1996: the K shell of neutral iron begins at 7124 eV.
    depths = -np.log(Phabs(nH=100.0)(np.array([7.1238, 7.1239, 7.1241, 7.1242])))
    assert_allclose(depths[1] / depths[0], depths[3] / depths[2], rtol=1e-4)
    assert depths[2] > 2 * depths[1]


def test_far_beyond_the_table_the_cross_section_goes_on_as_a_power_law():
    depth = -np.log1p(np.asarray(TBabs(nH=100.0)(np.array([50.0, 100.0, 200.0]))) - 1)
    assert_allclose(depth[1] / depth[2], depth[0] / depth[1], rtol=2e-2)


def test_equal_abundances_are_those_of_the_plain_component():
    energy = np.geomspace(0.1, 50, 40)
    assert_allclose(VariablePhabs()(energy), Phabs()(energy), rtol=1e-9)


def test_an_abundance_has_the_derivative_of_its_element():
    def depth(iron):
        return -jnp.log(VariablePhabs().with_fields(Fe=iron)(7.2))

    assert_allclose(jax.grad(depth)(1.0), depth(2.0) - depth(1.0), rtol=1e-4)
    assert_allclose(depth(0.0), -np.log(VariablePhabs(Fe=0.0)(7.2)), rtol=1e-14)


def test_partial_covering_and_redshift():
    energy = np.array([0.5, 2.0])
    full = TBabs(nH=3.0)(energy)
    assert_allclose(TBabs(nH=3.0, covering=0.25)(energy), 0.75 + 0.25 * full, rtol=1e-14)
    assert_allclose(TBabs(nH=3.0, z=1.0)(energy / 2), full, rtol=1e-12)


def test_tables_are_arguments_of_compiled_programs():
    bins = Bins.of(np.array([1.0, 2.0]), np.array([2.0, 3.0]))
    spectrum = jax.tree.map(jnp.asarray, TBabs() * PowerLaw())
    text = jax.jit(photons_in).lower(spectrum, bins).as_text()
    assert len(text) < 200_000
    other = jax.tree.map(jnp.asarray, TBabs(abundances="wilm", nH=2.0) * PowerLaw())
    program = jax.jit(photons_in)
    program(spectrum, bins)
    before = program._cache_size()  # other tests have programs of the same function
    program(other, bins)
    assert program._cache_size() == before


def test_a_set_of_abundances_is_shown_and_an_unknown_one_named():
    assert repr(TBabs(nH=2, abundances="angr")) == "TBabs(nH=2, z=0, covering=1, abundances='angr')"
    with pytest.raises(KeyError, match="no set of abundances is called 'wilms'; did you mean 'wilm'"):
        TBabs(abundances="wilms")
    with pytest.raises(KeyError, match="no set of cross-sections is called 'obcm'; did you mean 'bcmc'"):
        Phabs(cross_sections="obcm")


@pytest.mark.parametrize("component", [TBabs(), Phabs()])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_guided_search_finds_the_interval_of_every_energy(component, dtype):
    knots, values, _ = component.table
    rng = np.random.default_rng(1)
    once, counts = np.unique(knots, return_counts=True)
    margin = 3e-6 if dtype is np.float32 else 1e-12  # a knot that is there twice is an edge
    between = np.concatenate([once[:-1] + margin, once[1:] - margin, rng.uniform(knots[0], knots[-1], 20_000)])
    steep = np.min(np.abs(between[:, None] - once[counts > 1]), axis=1, initial=np.inf)
    x = between[steep >= 0.5 * margin].astype(dtype)
    tolerance = 1e-3 if dtype is np.float32 else 1e-11
    assert_allclose(component.log_cross_section(jnp.asarray(x)), np.interp(x, knots, values), rtol=0, atol=tolerance)


def test_the_other_cross_sections_are_those_of_xspec_at_all_energies():
    # XSPEC 12.15's library (PyPI xspectrampoline 0.1.5): phabs with abund angr, xsect bcmc; 1e-22 cm2.
    energy = np.array([0.031, 0.1, 0.3, 0.7, 2.0, 8.0, 30.0, 95.0])
    expected = np.array([11594.2, 609.261, 29.3971, 5.14942, 0.455256, 0.0209482, 0.000415327, 1.24493e-05])
    component = Phabs(cross_sections="bcmc")
    assert_allclose(np.exp(component.log_cross_section(jnp.log(energy))), expected, rtol=1e-4)
    one = VariablePhabs(cross_sections="bcmc")
    assert_allclose(np.exp(one.log_cross_section(jnp.log(energy))), expected, rtol=1e-4)
