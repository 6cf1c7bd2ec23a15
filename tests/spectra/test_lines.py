"""Lines: photons are kept however narrow the line, under factors and redshift too."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from jaxspec.quadrature import Bins
from jaxspec.spectra import (
    Constant,
    CutoffPowerLaw,
    GaussianLine,
    LorentzLine,
    PowerLaw,
    Redshift,
    VoigtLine,
)
from jaxspec.spectra._base import AbstractMultiplicative

EDGES = np.geomspace(0.5, 20.0, 80)
BINS = Bins.fine_enough(EDGES[:-1], EDGES[1:])


class Steep(AbstractMultiplicative):
    """A smooth factor that changes by several per cent over a bin."""

    def evaluate(self, energy):
        return jnp.exp(-30.0 / energy**2)


def gaussian(sigma):
    return GaussianLine(K=2.0, energy=6.4, sigma=sigma)


def fine(spectrum, moment, pieces=400):
    """The integral over each bin from many pieces of it."""
    edges = np.geomspace(EDGES[0], EDGES[-1], (len(EDGES) - 1) * pieces + 1)
    bins = Bins.of(edges[:-1], edges[1:], 5)
    values = spectrum(bins.energy) * bins.weight * bins.energy**moment
    return np.asarray(values).sum(axis=0).reshape(-1, pieces).sum(axis=1)


@pytest.mark.parametrize("sigma", [0.0, 1e-9, 1e-4, 0.01, 0.1, 0.5])
def test_a_line_far_from_the_ends_keeps_all_its_photons(sigma):
    assert_allclose(gaussian(sigma).integral(BINS).sum(), 2.0, rtol=1e-12)
    assert_allclose((Constant(factor=0.5) * gaussian(sigma)).integral(BINS).sum(), 1.0, rtol=1e-12)
    assert_allclose(Redshift(z=0.3)(gaussian(sigma)).integral(BINS).sum(), 2 / 1.3, rtol=1e-12)


@pytest.mark.parametrize("line", [GaussianLine(sigma=0.0), LorentzLine(gamma=0.0), VoigtLine(sigma=0.0, gamma=0.0)])
def test_a_line_without_width_is_in_one_bin_with_its_energy(line):
    where = np.searchsorted(EDGES, 6.5) - 1
    for moment in (0, 1, 2):
        photons = np.asarray(line.integral(BINS, moment))
        assert_allclose(photons[where], 1e-3 * 6.5**moment, rtol=1e-6)
        assert_allclose(np.delete(photons, where), 0.0, atol=1e-7)


def test_the_limits_of_a_voigt_line_are_a_gaussian_and_a_lorentz_line():
    bins = Bins.of(EDGES[:-1], EDGES[1:])
    for moment in (0, 1, 2):
        assert_allclose(
            VoigtLine(sigma=0.3, gamma=0.0).integral(bins, moment),
            GaussianLine(sigma=0.3).integral(bins, moment),
            rtol=1e-9,
            atol=1e-13,
        )
        assert_allclose(
            VoigtLine(sigma=0.0, gamma=0.3).integral(bins, moment),
            LorentzLine(gamma=0.3).integral(bins, moment),
            rtol=1e-6,
        )


def test_lorentz_and_voigt_lines_hold_k_photons_above_zero():
    bins = Bins.of(np.array([1e-9, 2.0]), np.array([2.0, 1e9]))
    for line in (LorentzLine(energy=1.0, gamma=0.5), VoigtLine(energy=1.0, sigma=0.3, gamma=0.5)):
        assert_allclose(line.integral(bins).sum(), 1e-3, rtol=1e-8)


@pytest.mark.parametrize("moment", [0, 1, 2])
@pytest.mark.parametrize(
    "line", [gaussian(0.03), gaussian(0.3), LorentzLine(energy=3.0, gamma=0.4), VoigtLine(energy=5.0, sigma=0.2)]
)
def test_an_absorbed_line_agrees_with_fine_integration(line, moment):
    absorbed = Steep() * line
    expected = fine(absorbed, moment)
    # The two points of a bin carry the mean and the variance of the line's photons: an error of third order.
    assert_allclose(absorbed.integral(BINS, moment), expected, rtol=2e-5, atol=1e-6 * expected.max())


@pytest.mark.parametrize("sigma", [0.0, 1e-6, 1e-3])
def test_a_narrow_absorbed_line_is_the_line_times_the_factor_at_its_energy(sigma):
    factor = np.exp(-30 / 6.4**2)
    for spectrum in (Steep() * gaussian(sigma), Steep() * (gaussian(sigma) + PowerLaw(K=0.0))):
        assert_allclose(spectrum.integral(BINS).sum(), 2 * factor, rtol=1e-6)
    shifted = Steep() * Redshift(z=1.0)(gaussian(sigma))
    assert_allclose(shifted.integral(BINS).sum(), np.exp(-30 / 3.2**2), rtol=2e-6)


def test_lines_and_continua_in_one_product_share_the_nodes_of_the_continua():
    spectrum = Steep() * (CutoffPowerLaw() + PowerLaw() + gaussian(0.01) + LorentzLine())
    assert [energy.shape for energy, _ in spectrum.points(BINS)] == [BINS.energy.shape, (2, 79), (2, 79)]
    separate = sum(part.integral(BINS) for part in spectrum.parts().values())
    assert_allclose(spectrum.integral(BINS), separate, rtol=1e-12)


def test_the_derivatives_of_an_absorbed_line_agree_with_finite_differences():
    def photons(values):
        line = GaussianLine().with_fields(K=values[0], energy=values[1], sigma=values[2])
        return (Steep() * line).integral(BINS)

    start, step = np.array([2.0, 6.4, 0.1]), 1e-6
    gradient = jax.jit(jax.jacfwd(photons))(start)
    function = jax.jit(photons)
    for i in range(3):
        unit = step * (np.arange(3) == i)
        expected = (function(start + unit) - function(start - unit)) / (2 * step)
        assert_allclose(gradient[:, i], expected, rtol=1e-5, atol=1e-7)


def test_second_derivatives_of_an_absorbed_line_are_finite_far_from_it():
    # 27 standard deviations away a line has 1e-160 of its photons in a bin, the third power of which is 0.
    edges = np.linspace(6.0, 6.8, 270)
    bins = Bins.of(edges[:-1], edges[1:])

    def photons(values):
        return (Steep() * GaussianLine().with_fields(K=values[0], energy=values[1], sigma=values[2])).integral(bins)

    assert np.all(np.isfinite(jax.jit(jax.hessian(photons))(np.array([1e-3, 6.4, 0.00305]))))
