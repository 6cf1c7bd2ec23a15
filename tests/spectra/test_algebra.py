"""The algebra of spectra: what joins, what does not, and what a joined spectrum is."""

import astropy.units as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from jaxspec.quadrature import Bins
from jaxspec.spectra import Blackbody, Constant, CutoffPowerLaw, PowerLaw, Redshift

ENERGY = np.geomspace(1.0, 300.0, 9)
BINS = Bins.of(np.geomspace(1.0, 300.0, 20)[:-1], np.geomspace(1.0, 300.0, 20)[1:])
PLANCK, POWER, HALF = Blackbody(K=1e-3, kT=20.0), PowerLaw(K=2.0, index=-1.5), Constant(factor=0.5)


def test_a_sum_is_the_sum_of_values_and_integrals():
    both = PLANCK + POWER
    assert_allclose(both(ENERGY), PLANCK(ENERGY) + POWER(ENERGY), rtol=1e-14)
    assert_allclose(both.integral(BINS, 1), PLANCK.integral(BINS, 1) + POWER.integral(BINS, 1), rtol=1e-14)


def test_a_product_does_not_depend_on_the_order_of_its_factors():
    assert_allclose((HALF * PLANCK)(ENERGY), 0.5 * PLANCK(ENERGY), rtol=1e-14)
    assert_allclose((PLANCK * HALF).integral(BINS), (HALF * PLANCK).integral(BINS), rtol=1e-14)
    assert (PLANCK * HALF).kind == (HALF * PLANCK).kind == "additive"
    assert (HALF * Constant(name="other")).kind == "multiplicative"


def test_a_product_distributes_over_a_sum():
    assert_allclose(
        (HALF * (PLANCK + POWER)).integral(BINS, 2),
        0.5 * PLANCK.integral(BINS, 2) + 0.5 * POWER.integral(BINS, 2),
        rtol=1e-7,
    )


def test_redshift_moves_values_and_keeps_photons_times_the_time_dilation():
    shifted = Redshift(z=1.0)(POWER)
    assert_allclose(shifted(ENERGY), POWER(2 * ENERGY), rtol=1e-14)
    assert_allclose(shifted.integral(BINS), POWER.integral(Bins.of(2 * BINS.low, 2 * BINS.high)) / 2, rtol=1e-13)
    inside = HALF * Redshift(z=1.0)(POWER)
    assert_allclose(inside.integral(BINS, 1), 0.5 * shifted.integral(BINS, 1), rtol=1e-8)


def test_parts_carry_all_that_acts_on_them_and_add_up():
    spectrum = HALF * (Redshift(z=0.3)(PLANCK + POWER) + CutoffPowerLaw())
    parts = spectrum.parts()
    assert list(parts) == ["blackbody", "powerlaw", "cutoffpowerlaw"]
    assert_allclose(sum(part(ENERGY) for part in parts.values()), spectrum(ENERGY), rtol=1e-14)
    assert list(spectrum.components()) == ["constant", "redshift", "blackbody", "powerlaw", "cutoffpowerlaw"]


def test_map_components_reaches_every_component():
    spectrum = Constant() * Redshift(z=0.0)(PLANCK + POWER)
    doubled = spectrum.map_components(
        lambda c: c.with_fields(K=2 * c.K) if hasattr(c, "K") else c.with_fields(name=f"{c.label}2")
    )
    assert_allclose(doubled(ENERGY), 2 * spectrum(ENERGY), rtol=1e-14)
    assert list(doubled.components()) == ["constant2", "redshift2", "blackbody", "powerlaw"]


def test_a_spectrum_is_a_pytree_that_can_be_differentiated_and_vectorised():
    gradient = jax.grad(lambda spectrum: spectrum(100.0))(PLANCK)
    assert_allclose(gradient.K, PLANCK(100.0) / PLANCK.K, rtol=1e-14)
    many = Blackbody().with_fields(K=jnp.ones(3), kT=jnp.array([1.0, 2.0, 3.0]))
    assert jax.vmap(lambda spectrum: spectrum(5.0))(many).shape == (3,)


def test_energies_may_be_quantities_whole_numbers_and_of_any_shape():
    assert_allclose(POWER(2 * u.MeV), POWER(2000.0))
    assert_allclose(POWER(12.398419843320026 * u.angstrom), 2.0, rtol=1e-12)
    assert_allclose(POWER(2), POWER(2.0))
    assert POWER(np.ones((2, 3))).shape == (2, 3)


def test_parameters_may_be_quantities():
    assert_allclose(Blackbody(kT=1 * u.MeV).kT, 1000.0)
    assert isinstance(PowerLaw(index=-2).index, float)


def test_a_spectrum_shows_itself_as_it_is_typed():
    spectrum = Constant() * (Blackbody(kT=2.0) + PowerLaw(name="tail"))
    assert repr(spectrum) == (
        "Constant(factor=1) * (Blackbody(K=0.0001, kT=2) + PowerLaw(K=1, index=-2, pivot=1, name='tail'))"
    )
    assert repr(Redshift(z=1)(POWER)) == "Redshift(z=1)(PowerLaw(K=2, index=-1.5, pivot=1))"


@pytest.mark.parametrize(
    ("join", "message"),
    [
        (lambda: PLANCK + 1, r"1 is not a spectrum, so '\+' cannot join it to one\.$"),
        (lambda: 1 + PLANCK, r"1 is not a spectrum, so '\+' cannot join it to one\.$"),
        (lambda: 2 * PLANCK, r"2 is not a spectrum, so '\*' .* written Constant\(factor=\.\.\.\) \* spectrum"),
        (lambda: PLANCK * 2, r"2 is not a spectrum, so '\*' .* written Constant\(factor=\.\.\.\) \* spectrum"),
        (lambda: PLANCK + HALF, r"is multiplicative; only additive spectra can be added\. Did you mean '\*'"),
        (lambda: PLANCK * POWER, "both additive: one factor of a product is multiplicative"),
        (lambda: Redshift() * PLANCK, r"is a convolution: write redshift\(spectrum\)"),
        (lambda: Redshift()(3.0), r"redshift\(\.\.\.\) acts on an additive or multiplicative spectrum, got 3"),
        (lambda: Redshift().evaluate(1.0), r"Redshift acts on a spectrum: write redshift\(spectrum\)"),
        (lambda: Blackbody(name=3), "the name of a component is a string, got 3"),
    ],
)
def test_what_cannot_be_joined_is_a_type_error_that_says_why(join, message):
    with pytest.raises(TypeError, match=message):
        join()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: PLANCK + Blackbody(),
            r"called 'blackbody': name one of them, like Blackbody\(\.\.\., name='blackbody2'",
        ),
        (lambda: HALF * (HALF * PLANCK), "two components of one spectrum are called 'constant'"),
        (lambda: Redshift()(PowerLaw(name="redshift")), "two components of one spectrum are called 'redshift'"),
        (lambda: Blackbody(kT=-1), r"Blackbody: kT = -1 keV lies outside its bounds \(0, inf\) \(temperature\)"),
        (lambda: Blackbody(name="a.b"), "a component cannot be called 'a.b'"),
    ],
)
def test_what_has_a_wrong_value_is_a_value_error_that_says_which(make, message):
    with pytest.raises(ValueError, match=message):
        make()
