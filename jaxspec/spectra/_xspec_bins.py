"""Bins as XSPEC integrates over them, for its numbers to the last digit."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxspec.quadrature import Bins, Points, join_points
from jaxspec.spectra import _absorption, _bremsstrahlung, _bursts, _comptonization, _factors, _thermal
from jaxspec.spectra._base import AbstractConvolution, AbstractSpectrum, Convolved, Product, Sum
from jaxspec.spectra._xspec_forms import AbstractForm

# XSPEC takes the mean of their values at the edges of a bin.
_AT_EDGES = (
    _absorption.Wabs,
    _bremsstrahlung.Bremsstrahlung,
    _bursts.Band,
    _comptonization.CompTT,
    _comptonization.NthComp,
    _factors.CyclotronAbsorption,
    _factors.Edge,
    _factors.HighEnergyCutoff,
    _factors.LowEnergyCutoff,
    _factors.SmearedEdge,
    _factors.SuperExponentialCutoff,
    _thermal.BlackbodyLuminosity,
    _thermal.BlackbodyRadius,
)


class XspecBins(AbstractConvolution):
    r"""A spectrum with its photons in each bin as XSPEC has them.

    $$\int_a^b N(E) \, dE \to e^{-n_H (\sigma(a) + \sigma(b)) / 2} \int_a^b N_0(E) \, dE$$

    for absorption; of black bodies, bremsstrahlung and what else is in `_AT_EDGES` it is the mean of the values at a
    and b, times b - a.

    **Reference:** what XSPEC's library gives in wide bins.
    """

    def transform(self, spectrum: AbstractSpectrum, energy: jax.Array) -> jax.Array:
        return spectrum.evaluate(energy)

    def transform_points(self, spectrum: AbstractSpectrum, bins: Bins) -> tuple[Points, ...]:
        if isinstance(spectrum, AbstractForm):
            return self.transform_points(spectrum.ours(), bins)
        if isinstance(spectrum, Sum):
            left, right = (self.transform_points(each, bins) for each in (spectrum.left, spectrum.right))
            return join_points(left + right)
        if isinstance(spectrum, Product):
            inside = self.transform_points(spectrum.right, bins)
            return tuple((energy, factor(spectrum.left, bins, energy) * photons) for energy, photons in inside)
        if isinstance(spectrum, Convolved):
            return spectrum.convolution.transform_points(self(spectrum.spectrum), bins)
        if isinstance(spectrum, _AT_EDGES):
            edges = jnp.stack([bins.low, bins.high])
            return ((edges, spectrum(edges) * 0.5 * (bins.high - bins.low)),)
        return spectrum.points(bins)


def factor(spectrum: AbstractSpectrum, bins: Bins, energy: jax.Array) -> jax.Array:
    """A factor at these energies, or what XSPEC takes for it in the whole bin."""
    if isinstance(spectrum, AbstractForm):
        return factor(spectrum.ours(), bins, energy)
    if isinstance(spectrum, Product):
        return factor(spectrum.left, bins, energy) * factor(spectrum.right, bins, energy)
    if any(isinstance(component, _AT_EDGES) for component in spectrum.components().values()):
        return 0.5 * (spectrum(bins.low) + spectrum(bins.high))
    if isinstance(spectrum, _absorption.AbstractAbsorption):
        return spectrum.transmitted(0.5 * (spectrum.depth(bins.low) + spectrum.depth(bins.high)))
    return spectrum(energy)
