"""Components with settings, and what the generic tests do not see of the newer ones."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from jaxspec.quadrature import Bins
from jaxspec.spectra import (
    CompTT,
    DustExtinction,
    GaussianLine,
    GaussianLineWavelength,
    NthComp,
    PowerLawFactor,
    Redshift,
    Synchrotron,
)


def test_an_unknown_law_of_extinction_is_named():
    with pytest.raises(KeyError, match="no law of extinction is called 'mww'; did you mean 'mw'"):
        DustExtinction(law="mww")


def test_unknown_soft_photons_and_geometries_are_named():
    with pytest.raises(KeyError, match="no spectrum of soft photons is called 'disc'; did you mean 'disk'"):
        NthComp(seed="disc")
    with pytest.raises(KeyError, match="no geometry is called 'disc'; did you mean 'disk'"):
        CompTT(geometry="disc")


def test_dust_extinction_at_redshift_is_that_of_the_rest_frame():
    energy = np.array([1e-3, 3e-3])
    assert_allclose(DustExtinction(z=1.0)(energy), DustExtinction()(2 * energy), rtol=1e-12)


def test_a_comptonised_spectrum_has_its_slope_between_the_two_temperatures():
    spectrum = NthComp(K=2.0, index=-2.2, kTe=200.0, kTb=1e-3)
    assert_allclose(spectrum(1.0), 2.0, rtol=1e-12)
    energy = jnp.array([0.1, 0.3, 1.0])
    slopes = jax.vmap(jax.grad(lambda x: jnp.log(spectrum(jnp.exp(x)))))(jnp.log(energy))
    assert_allclose(slopes, -2.2, atol=0.02)


def test_synchrotron_radiation_has_the_slopes_of_its_electrons():
    # Rybicki & Lightman 1979, eqs. 6.21 and 6.23: -(p + 1) / 2 in photons, and 1 / 3 - 1 below the slowest electrons.
    spectrum = Synchrotron(p=3.0, Emin=1e-3, Ec=1e5, pivot=1.0)
    slope = jax.vmap(jax.grad(lambda x: jnp.log(spectrum(jnp.exp(x)))))
    assert_allclose(slope(jnp.log(jnp.array([1.0, 10.0]))), -2.0, atol=0.02)
    assert_allclose(slope(jnp.log(jnp.array([1e-7, 1e-6]))), -2 / 3, atol=0.01)
    assert_allclose(Synchrotron(p=3.0, Emin=0.0, Ec=1e7)(10.0), 0.01, rtol=0.02)


@pytest.mark.parametrize("sigma", [0.0, 1e-4, 0.3])
def test_a_line_by_wavelength_keeps_its_photons(sigma):
    edges = np.geomspace(0.3, 12.0, 41)
    bins = Bins.of(edges[:-1], edges[1:])
    line = GaussianLineWavelength(K=3.0, wavelength=6.0, sigma=sigma)
    assert_allclose(line.integral(bins).sum(), 3.0, rtol=1e-12)
    absorbed = (PowerLawFactor(K=1.0, index=-1.0) * line).integral(bins).sum()
    assert_allclose(absorbed, 3.0 * 6.0 / 12.39841984, rtol=1e-4 if sigma else 1e-7)
    assert_allclose(Redshift(z=1.0)(line).integral(bins).sum(), 1.5, rtol=1e-12)


def test_a_narrow_line_is_the_same_by_wavelength_and_by_energy():
    edges = np.geomspace(1.0, 3.0, 201)
    bins = Bins.of(edges[:-1], edges[1:])
    energy, sigma = 12.39841984 / 6.0, 2e-4
    by_wavelength = GaussianLineWavelength(K=1.0, wavelength=6.0, sigma=sigma * 6.0 / energy)
    for moment in (0, 1, 2):
        expected = GaussianLine(K=1.0, energy=energy, sigma=sigma).integral(bins, moment)
        assert_allclose(by_wavelength.integral(bins, moment), expected, atol=1e-3 * np.max(expected))
