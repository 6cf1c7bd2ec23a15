"""Synchrotron radiation."""

from __future__ import annotations

from math import inf, log

import jax
import jax.numpy as jnp
import numpy as np

from jaxspec.parameters import Scalar, parameter
from jaxspec.quadrature import interpolate_evenly
from jaxspec.spectra._base import AbstractAdditive

_STEP, _N = log(10.0) / 24, 360  # of the grid in ln E, from 1000 (Ec + Emin) down over 15 decades


class Synchrotron(AbstractAdditive):
    r"""Synchrotron radiation of electrons with a power law of energies that is cut off at both ends.

    $$N(E) = K \, \frac{S(E)}{S(E_0)}, \qquad
    S(E) = \frac{1}{E} \int_{\gamma_\mathrm{min}}^\infty \gamma^{-p} \, e^{-\gamma / \gamma_c} \,
        G\left(\frac{E}{E_c (\gamma / \gamma_c)^2}\right) d\gamma, \qquad
    \frac{\gamma_\mathrm{min}}{\gamma_c} = \sqrt{\frac{E_\mathrm{min}}{E_c}}$$

    where an electron of Lorentz factor gamma_c in the magnetic field B has the critical energy
    $E_c = 3 e \hbar B \gamma_c^2 / 2 m c$ = 1.736e-11 keV (B / G) gamma_c^2, and G is the emission of electrons of all
    pitch angles (a fit, exact to 0.2 %). Between E_min and E_c the spectrum is a power law of index -(p + 1) / 2, below
    E_min one of index -2/3. The number of electrons and the field follow from K and E_c for a known distance.

    **Reference:** Aharonian, Kelner & Prosekin 2010, PRD 82, 043002, eqs. D1 to D7; astromodels' `Synchrotron`, by
    naima, has the same G.
    """

    K: Scalar = parameter(1.0, unit="1 / (cm2 s keV)", bounds=(0, inf), doc="N at the pivot energy")
    p: Scalar = parameter(2.5, bounds=(1.01, 6), doc="steepness of the electrons' power law")
    Emin: Scalar = parameter(1.0, unit="keV", bounds=(0, inf), doc="critical energy of the slowest electrons")
    Ec: Scalar = parameter(100.0, unit="keV", bounds=(1e-4, 1e8), doc="critical energy at the electrons' cut-off")
    pivot: Scalar = parameter(1.0, unit="keV", bounds=(1e-10, inf), doc="pivot energy", free=False)

    def evaluate(self, energy: jax.Array) -> jax.Array:
        # Where the slowest electrons are beyond the cut-off, it is they that end the spectrum.
        top = log(1e3) + jax.lax.stop_gradient(jnp.log1p(self.Emin / jnp.asarray(self.Ec, energy.dtype)))
        log_ratio = _STEP * (jnp.arange(_N, dtype=energy.dtype) - (_N - 1)) + top
        log_photons = self._log_emission(log_ratio) - log_ratio
        places = jnp.stack([jnp.log(energy / self.Ec), jnp.log(self.pivot / jnp.asarray(self.Ec, energy.dtype))])
        shape = interpolate_evenly(log_photons, top, _STEP, places)
        return self.K * jnp.exp(shape[0] - shape[1])

    def _log_emission(self, log_ratio: jax.Array) -> jax.Array:
        """ln of E S(E) to a factor, at ln E / E_c."""
        bounded = self.Emin > 1e-15
        slowest = jnp.where(bounded, 0.5 * jnp.log(jnp.where(bounded, self.Emin, 1.0) / self.Ec), -60.0)
        # From where the electrons begin to reach this energy to where there are none any more, in ln gamma / gamma_c.
        low = jnp.maximum(slowest, 0.5 * (log_ratio - log(60.0)))[:, None]
        high = jnp.log(jnp.exp(low) + 60.0)
        nodes, weights = (jnp.asarray(each, log_ratio.dtype) for each in (_NODES, _WEIGHTS))
        log_gamma = low + (high - low) * nodes
        exponent = (
            (1.0 - self.p) * log_gamma - jnp.exp(log_gamma) + _log_one_electron(log_ratio[:, None] - 2 * log_gamma)
        )
        largest = jax.lax.stop_gradient(jnp.max(exponent, axis=1))
        return largest + jnp.log((jnp.exp(exponent - largest[:, None]) * (high - low)) @ weights)


def _composite(pieces: int, order: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights of an integral from 0 to 1 by Gauss-Legendre quadratures in equal pieces."""
    nodes, weights = np.polynomial.legendre.leggauss(order)
    return (np.arange(pieces)[:, None] + 0.5 + 0.5 * nodes).ravel() / pieces, np.tile(0.5 * weights, pieces) / pieces


_NODES, _WEIGHTS = _composite(20, 8)


def _log_one_electron(log_y: jax.Array) -> jax.Array:
    """ln G: what an electron of any pitch angle emits at y times its critical energy."""
    square = jnp.exp(2 / 3 * log_y)
    rational = jnp.log1p(square * (2.21 + 0.347 * square)) - jnp.log1p(square * (1.353 + 0.217 * square))
    return log(1.808) + log_y / 3 - 0.5 * jnp.log1p(3.4 * square) + rational - jnp.exp(log_y)
