"""Comptonisation by a thermal plasma."""

from __future__ import annotations

from math import inf, log
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from jaxspec import parameters
from jaxspec.parameters import Scalar, parameter
from jaxspec.quadrature import interpolate_evenly
from jaxspec.spectra._base import AbstractAdditive
from jaxspec.spectra._disks import disk_occupation
from jaxspec.spectra._factors import klein_nishina
from jaxspec.spectra._thermal import bose

_STEP, _N = 0.02 * log(10.0), 600  # of the grid in ln E, as XSPEC has it; from 40 kTe down over 12 decades
_REST = 510.99895  # keV


class NthComp(AbstractAdditive):
    r"""Soft photons scattered up by thermal electrons, by the slope of the power law that they make.

    $$N(E) = K \, \frac{x^2 \, p(x) \, n(x)}{[x^2 \, p \, n]_{1\,\mathrm{keV}}}, \qquad
    \frac{1}{x^2} \frac{d}{dx} \left[\frac{x^4}{1 + 4.6 x + 1.1 x^2} \left(\theta \frac{dn}{dx} + n\right)\right]
    = p \, n - n_0$$

    with x = E / 511 keV, theta = kTe / 511 keV, the photons per mode n of the scattered and n_0 of the soft photons (a
    black body of temperature kTb, or a disc of that inner temperature), and the rate of escape

    $$p = \frac{1}{\tau \, (1 + \tau \, \sigma(x) \, f(x) / 3)}, \qquad
    \tau = \sqrt{\frac{9}{4} + \frac{3}{\theta \, [(\Gamma + 1/2)^2 - 9/4]}} - \frac{3}{2}, \qquad \Gamma = -\gamma$$

    with the Klein-Nishina cross-section sigma over that of Thomson, and f falling from 1 at x = 0.1 to 0 at x = 1. The
    equation is solved on a grid of 0.02 dex, as in XSPEC; a finer grid changes the spectrum by up to 0.5 % below 5 kTe.

    Args:
        seed: "blackbody" or "disk".

    **Reference:** Zdziarski, Johnson & Magdziarz 1996, MNRAS 283, 193; Zycki, Done & Smith 1999, MNRAS 309, 561;
    Lightman & Zdziarski 1987, ApJ 319, 643; XSPEC's `nthComp` (there the index is positive; z is `Redshift`).
    """

    K: Scalar = parameter(1.0, unit="1 / (cm2 s keV)", bounds=(0, inf), doc="N at 1 keV")
    index: Scalar = parameter(-1.7, bounds=(-10, -1.1), doc="index of the power law between kTb and kTe")
    kTe: Scalar = parameter(100.0, unit="keV", bounds=(1, 1000), doc="temperature of the electrons")
    kTb: Scalar = parameter(0.1, unit="keV", bounds=(1e-3, 10), doc="temperature of the soft photons")
    seed: str = eqx.field(static=True, default="blackbody", kw_only=True)

    def __post_init__(self) -> None:
        if self.seed not in SEEDS:
            raise parameters.unknown(self.seed, SEEDS, "spectrum of soft photons")

    def evaluate(self, energy: jax.Array) -> jax.Array:
        log_top = jnp.log(40.0 * jnp.asarray(self.kTe, energy.dtype))
        log_energy = log_top + _STEP * (jnp.arange(_N, dtype=energy.dtype) - (_N - 1))
        photons = self._log_photons(log_energy)
        shape = interpolate_evenly(photons, log_top, _STEP, jnp.stack([jnp.log(energy), jnp.zeros_like(energy)]))
        return self.K * jnp.exp(shape[0] - shape[1])

    def _log_photons(self, log_energy: jax.Array) -> jax.Array:
        """ln of the photons that escape per energy, on the grid."""
        x, theta = jnp.exp(log_energy) / _REST, self.kTe / _REST
        gamma = 0.5 - self.index
        tau = jnp.sqrt(2.25 + 3 / (theta * (gamma**2 - 2.25))) - 1.5
        relativistic = jnp.clip((x - 0.1) / 0.9, 0.0, 1.0)
        escape = 1 / (tau * (1 + tau * klein_nishina(x) / 3 * (1 - relativistic)))
        soft = jnp.exp(log_energy) / self.kTb
        # The rough course of n is divided out before it is solved for: n itself would underflow in 32 bits.
        rough = jax.lax.stop_gradient(-x / theta - jnp.log(soft) - (1 - self.index) * jnp.log1p(soft / 3))
        shining = jnp.minimum(soft, 60.0)
        source = jnp.where(soft < 60.0, SEEDS[self.seed](shining) * jnp.exp(-jnp.where(soft < 60.0, rough, 0.0)), 0.0)
        rest = _scattered(x, theta, escape, source, rough)
        least = float(jnp.finfo(x.dtype).tiny) ** 0.4  # its square is still a number, which the Hessian needs
        return 2 * log_energy + jnp.log(escape) + rough + jnp.log(jnp.maximum(rest, least))


SEEDS = {"blackbody": bose, "disk": disk_occupation}


def _scattered(x: jax.Array, theta: Any, escape: jax.Array, source: jax.Array, rough: jax.Array) -> jax.Array:
    """n / exp(rough) in equilibrium of scattering, escape and a source in the same unit, for x evenly spaced in ln x.

    The flux of photons through ln x is taken half-way between the points; none passes the lower end, and nothing is
    beyond the upper one. Each row is divided by x^3.
    """
    half = x * jnp.exp(0.5 * jnp.asarray(_STEP, x.dtype))
    rate = 1 / (_STEP * (1 + 4.6 * half + 1.1 * half**2))
    diffusion, recoil = theta / _STEP, 0.5 * half
    up, down = rate * (diffusion + recoil), rate * (diffusion - recoil)  # times n of the upper, and of the lower point
    grow, shrink = (jnp.exp(jnp.asarray(sign * 1.5 * _STEP, x.dtype)) for sign in (1, -1))
    nothing, rise = jnp.zeros(1, x.dtype), jnp.exp(jnp.diff(rough))
    diagonal = escape + grow * down + shrink * jnp.concatenate([nothing, up[:-1]])
    lower = -shrink * jnp.concatenate([nothing, down[:-1] / rise])
    upper = -grow * jnp.concatenate([up[:-1] * rise, nothing])
    return jax.lax.linalg.tridiagonal_solve(lower, diagonal, upper, source[:, None])[:, 0]
