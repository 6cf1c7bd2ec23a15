"""Convolutions: photons are kept, parts add up, factors can be shifted and covered partially; against XSPEC."""

import astropy.units as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose
from references import tolerance

from jaxspec.quadrature import Bins
from jaxspec.spectra import (
    CutoffPowerLaw,
    DiskBlackbody,
    Edge,
    EnergyFlux,
    GaussianLine,
    GaussianSmoothing,
    LorentzSmoothing,
    LowEnergyCutoff,
    Luminosity,
    PartialCovering,
    Phabs,
    PhotonFlux,
    PowerLaw,
    PowerLawComptonization,
    Redshift,
    ThermalComptonization,
    VelocityShift,
)

EDGES = np.geomspace(0.5, 20.0, 80)
BINS = Bins.fine_enough(EDGES[:-1], EDGES[1:])
ENERGY = np.geomspace(1.0, 15.0, 9)
BOTH = PowerLaw(index=-1.7) + CutoffPowerLaw(index=0.5, cutoff=1.0)


@pytest.mark.parametrize("width", [0.0, 1e-4, 0.01, 0.1])
def test_a_smoothed_line_keeps_all_its_photons(width):
    line = GaussianLine(K=2.0, energy=6.4, sigma=0.0)
    for index in (0.0, 1.0):
        smoothed = GaussianSmoothing(width=width, index=index)(line)
        assert_allclose(smoothed.integral(BINS).sum(), 2.0, rtol=1e-12)


def test_a_line_smoothed_with_a_gaussian_is_a_wider_gaussian():
    line = GaussianLine(K=2.0, energy=6.4, sigma=0.3)
    wide = GaussianLine(K=2.0, energy=6.4, sigma=0.5)
    for moment in (0, 1, 2):
        found = GaussianSmoothing(width=0.4)(line).integral(BINS, moment)
        assert_allclose(found, wide.integral(BINS, moment), rtol=4e-3, atol=1e-5 * 6.4**moment)


def test_the_mean_and_variance_of_a_line_without_width_are_those_of_the_kernel():
    smoothed = GaussianSmoothing(width=0.3, index=1)(GaussianLine(K=1.0, energy=3.0, sigma=0.0))
    bins = Bins.of(np.array([0.5]), np.array([8.0]))
    photons, mean, square = (float(smoothed.integral(bins, moment)[0]) for moment in (0, 1, 2))
    assert_allclose([photons, mean, square - mean**2], [1.0, 3.0, 0.15**2], rtol=1e-6)


def test_scattering_keeps_the_photons():
    wide = Bins.of(np.geomspace(1e-3, 1e6, 500)[:-1], np.geomspace(1e-3, 1e6, 500)[1:])
    seed = CutoffPowerLaw(index=1.0, cutoff=2.0)
    for down in (0.0, 1.0):
        # Above 1e6 keV there are (1e6)^(1 - gamma) of them.
        scattered = PowerLawComptonization(gamma=3.0, fraction=1.0, down=down)(seed)
        assert_allclose(scattered.integral(wide).sum(), seed.integral(wide).sum(), rtol=1e-6)
    scattered = ThermalComptonization(gamma=2.0, kTe=50.0, covering=0.8)(seed)
    assert_allclose(scattered.integral(wide).sum(), seed.integral(wide).sum(), rtol=1e-5)


def test_scattered_photons_of_a_line_have_the_slopes_of_cool_electrons_far_above_them():
    # Sunyaev & Titarchuk 1980: of a line far below kTe, N(E) is E^-Gamma above and E^(Gamma + 1) below.
    spectrum = ThermalComptonization(gamma=2.4, kTe=0.5)(GaussianLine(K=1.0, energy=1e-3, sigma=0.0))
    energy = np.array([1e-4, 2e-4, 5e-3, 1e-2])
    low, _, high = np.diff(np.log(jax.jit(lambda spectrum: spectrum(energy))(spectrum))) / np.diff(np.log(energy))
    assert_allclose([low, high], [3.4, -2.4], atol=0.02)


def test_a_spectrum_scaled_by_its_flux_has_that_flux():
    band = Bins.dividing(jnp.asarray(2.0), jnp.asarray(10.0), 30)
    in_erg = 1.602176634e-9
    assert_allclose(EnergyFlux(log_flux=-10.3, a=2, b=10)(BOTH).integral(band, 1).sum() * in_erg, 10**-10.3, rtol=1e-10)
    assert_allclose(PhotonFlux(flux=0.3, a=2, b=10)(BOTH).integral(band).sum(), 0.3, rtol=1e-10)
    rest = Luminosity(log_luminosity=45.0, a=4, b=20, z=1.0, distance=1 * u.Gpc)(BOTH).integral(band, 1).sum()
    sphere = 4 * np.pi * (3.0856775814913673e27) ** 2
    assert_allclose(rest * in_erg * sphere, 1e45, rtol=1e-10)


@pytest.mark.parametrize(
    "convolution", [EnergyFlux(), PhotonFlux(), GaussianSmoothing(), PowerLawComptonization(), VelocityShift()]
)
def test_the_parts_of_what_is_convolved_add_up(convolution):
    spectrum = Edge() * convolution(BOTH)
    parts = spectrum.parts()
    assert list(parts) == ["powerlaw", "cutoffpowerlaw"]
    assert_allclose(sum(part(ENERGY) for part in parts.values()), spectrum(ENERGY), rtol=1e-12)
    # A factor is seen at the mean energies of the photons of each part.
    assert_allclose(sum(part.integral(BINS) for part in parts.values()), spectrum.integral(BINS), rtol=1e-5)
    doubled = parts["powerlaw"].map_components(lambda c: c.with_fields(K=2 * c.K) if hasattr(c, "K") else c)
    assert list(doubled.components()) == list(parts["powerlaw"].components())


def test_factors_can_be_shifted_and_covered_partially():
    shifted = Redshift(z=1.0)(Edge())
    assert shifted.kind == "multiplicative"
    assert_allclose(shifted(ENERGY), Edge()(2 * ENERGY), rtol=1e-14)
    assert_allclose(VelocityShift(velocity=3000.0)(Edge())(ENERGY), Edge()(ENERGY / (1 - 3000 / 299792.458)))
    covered = PartialCovering(covering=0.4)(Phabs(nH=2.0))
    assert_allclose(covered(ENERGY), Phabs(nH=2.0, covering=0.4)(ENERGY), rtol=1e-13)
    product = PartialCovering(covering=0.4)(Phabs() * Edge()) * BOTH
    assert product.kind == "additive"
    assert list(product.components())[:3] == ["partialcovering", "phabs", "edge"]


def test_a_convolution_says_what_it_acts_on():
    with pytest.raises(TypeError, match=r"partialcovering\(\.\.\.\) acts on a multiplicative spectrum, got PowerLaw"):
        PartialCovering()(PowerLaw())
    with pytest.raises(TypeError, match=r"redshift\(\.\.\.\) acts on an additive or multiplicative spectrum, got 3"):
        Redshift()(3.0)
    with pytest.raises(TypeError, match=r"energyflux\(\.\.\.\) acts on an additive spectrum, got Edge"):
        EnergyFlux()(Edge())


def test_the_flux_of_a_scaled_spectrum_does_not_depend_on_its_norm():
    def photons(K):
        return EnergyFlux()(PowerLaw().with_fields(K=K)).integral(BINS)

    value, slope = jax.jvp(photons, (2.0,), (1.0,))
    assert_allclose(slope, 0.0, atol=1e-12 * float(value.max()))


# Photons / (cm2 s keV) in those of 6000 bins from 0.01 to 300 keV, equal in ln E, that hold five energies: XSPEC
# 12.15's library (PyPI xspectrampoline 0.1.5) on our bin integrals of the spectrum inside.
DISK, ABSORBED = DiskBlackbody(T=1.5), LowEnergyCutoff() * PowerLaw(index=-1.7)
XSPEC = {
    "simpl [2.1, 0.3, 1]": (
        PowerLawComptonization(gamma=2.1, fraction=0.3)(DISK),
        [0.02236645, 0.01302359, 0.003840117, 0.0004455986, 4.577557e-05],
    ),
    "simpl [2.1, 0.3, 0]": (
        PowerLawComptonization(gamma=2.1, fraction=0.3, down=1)(DISK),
        [0.02276856, 0.01317327, 0.003759097, 0.0003901241, 3.611735e-05],
    ),
    "gsmooth [0.5, 1]": (
        GaussianSmoothing(width=0.5, index=1)(DISK),
        [0.02393861, 0.0137408, 0.003671861, 0.000220391, 2.124268e-07],
    ),
    "lsmooth [0.3, 1]": (
        LorentzSmoothing(width=0.3, index=1)(ABSORBED),
        [0.06334327, 0.1347176, 0.07852527, 0.02263498, 0.005576748],
    ),
}


@pytest.mark.parametrize("name", XSPEC)
def test_values_agree_with_xspec(name):
    spectrum, expected = XSPEC[name]
    edges = np.geomspace(0.01, 300, 6001)
    where = np.searchsorted(edges, [0.5, 1.0, 3.0, 8.0, 20.0]) - 1
    bins = Bins.of(edges[where], edges[where + 1])
    assert_allclose(spectrum.integral(bins) / (bins.high - bins.low), expected, rtol=tolerance(name.split()[0], 0))
