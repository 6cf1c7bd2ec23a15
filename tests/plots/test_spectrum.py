"""`Result.plot_spectrum`: the drawn lines are the model's spectra, in the unit of the label."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from jaxspec.plots._spectrum import Curve, spectra


def drawn(figure, label):
    (line,) = [line for line in figure.axes[0].lines if line.get_label() == label]
    return np.asarray(line.get_xdata()), np.asarray(line.get_ydata())


def test_photon_spectrum_is_that_of_the_best_values(best):
    energy, heights = drawn(best.plot_spectrum(), "star, 68 %")
    K, index = (best.values[f"star.powerlaw.{name}"] for name in ("K", "index"))
    assert_allclose(heights, K * energy**index, rtol=1e-3)


@pytest.mark.parametrize(
    ("unit", "moment", "factor", "label"),
    [
        ("keV / (cm2 s keV)", 1, 1.0, r"$E\,N(E)$"),
        ("erg / (cm2 s)", 2, 1.602176634e-9, r"$E^2\,N(E)$"),
    ],
)
def test_units_choose_the_power_of_the_energy(best, unit, moment, factor, label):
    energy, photons = drawn(best.plot_spectrum(5, 50), "star, 68 %")
    figure = best.plot_spectrum(5, 50, unit)
    heights = drawn(figure, "star, 68 %")[1]
    assert_allclose(heights, factor * energy**moment * photons, rtol=1e-3)
    assert figure.axes[0].get_ylabel().startswith(label + " [$")


def test_line_of_a_posterior_is_the_median_and_its_band_the_interval(posterior):
    figure = posterior.plot_spectrum(level=0.9, sources=["star"])
    energy, heights = drawn(figure, "star, 90 %")
    K, index = (posterior.draws(f"star.powerlaw.{name}")[:, None] for name in ("K", "index"))
    spectra = K * energy**index
    assert_allclose(heights, np.median(spectra, axis=0), rtol=1e-3)
    (band,) = figure.axes[0].collections
    edge = band.get_paths()[0].vertices[:, 1]
    assert_allclose(edge.max(), np.quantile(spectra, 0.95, axis=0).max(), rtol=1e-3)
    assert_allclose(edge.min(), np.quantile(spectra, 0.05, axis=0).min(), rtol=1e-3)


def test_components_are_dashed_and_add_up_to_their_source(best):
    figure = best.plot_spectrum(components=True)
    parts = [drawn(figure, f"pulsar: {name}")[1] for name in ("powerlaw", "blackbody")]
    assert_allclose(sum(parts), drawn(figure, "pulsar, 68 %")[1], rtol=1e-9)
    styles = {line.get_label(): line.get_linestyle() for line in figure.axes[0].lines}
    assert styles["star, 68 %"] == "-"
    assert styles["pulsar: powerlaw"] == "--"


def test_default_band_is_that_of_the_fitted_channels(best):
    low, high = best.plot_spectrum().axes[0].get_xlim()
    assert_allclose([low, high], [1.0, 100.0], rtol=0.02)


def test_component_that_dies_out_does_not_stretch_the_axis(best):
    bottom, top = best.plot_spectrum(1, 1e4, "erg / (cm2 s)", components=True).axes[0].get_ylim()
    assert 1 < np.log10(top / bottom) < 6


def test_energy_unit_may_be_a_frequency(best):
    figure = best.plot_spectrum(energy_unit="Hz")
    assert figure.axes[0].get_xlabel() == r"Frequency [$\mathrm{Hz}$]"
    # 1 keV is 2.417989e17 Hz (CODATA).
    assert_allclose(figure.axes[0].get_xlim()[0], 2.417989e17, rtol=0.02)


def test_energies_of_the_highest_photons_are_in_tev(best):
    figure = best.plot_spectrum(1e9, 3e10)
    assert figure.axes[0].get_xlabel() == r"Energy [$\mathrm{TeV}$]"


def test_wrong_arguments_are_errors(best):
    with pytest.raises(ValueError, match="'erg' is not a unit of a spectrum"):
        best.plot_spectrum(unit="erg")
    with pytest.raises(ValueError, match="the lower energy must be below"):
        best.plot_spectrum(10, 1)
    with pytest.raises(ValueError, match="energy_unit must be of an energy, a frequency or a wavelength, got 's'"):
        best.plot_spectrum(energy_unit="s")
    with pytest.raises(KeyError, match="no source is called 'sta'; did you mean 'star'"):
        best.plot_spectrum(sources=["sta"])


def test_arrays_are_enough_to_draw():
    energy = np.geomspace(1, 10, 5)
    curve = Curve("a", 1 / energy, 0.9 / energy, 1.1 / energy, colour=0)
    figure = spectra(energy, [curve], unit="1 / (cm2 s keV)", moment=0, level=0.68, unit_of_energy=None, figsize=None)
    assert_allclose(figure.axes[0].lines[0].get_ydata(), 1 / energy)


def test_sources_have_the_same_colour_in_counts_and_spectrum(best):
    def colour(figure, label):
        return next(line.get_color() for line in figure.axes[0].lines if line.get_label().startswith(label))

    assert colour(best.plot_spectrum(sources=["pulsar"]), "pulsar") == colour(best.plot_counts("bare"), "pulsar")
