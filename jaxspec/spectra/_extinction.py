"""Extinction by dust, from the infrared to the far ultraviolet; X-rays are not affected."""

from __future__ import annotations

from math import inf, log

import equinox as eqx
import jax
import jax.numpy as jnp

from jaxspec import parameters
from jaxspec.parameters import Scalar, parameter
from jaxspec.spectra._base import AbstractMultiplicative
from jaxspec.spectra._curved import LN10

_PER_MICRON = 1.239841984e-3  # h c: the energy in keV of a photon of one micrometre


class GalacticExtinction(AbstractMultiplicative):
    r"""Extinction by the dust of the Milky Way, for any ratio of total to selective extinction.

    $$M(E) = 10^{-0.4 A(\lambda)}, \qquad A(\lambda) = E_{B-V} \, [R_V \, a(1 / \lambda) + b(1 / \lambda)]$$

    with the polynomials a and b for wavenumbers below 11 per micrometre; the factor is 1 above 13.6 eV. XSPEC's
    magnitudes are 0.46 % smaller.

    **Reference:** Cardelli, Clayton & Mathis 1989, ApJ 345, 245, eqs. 1 to 5; XSPEC's `redden` and `zredden`.
    """

    E_BV: Scalar = parameter(0.05, unit="mag", bounds=(0, 10), doc="colour excess E(B - V)")
    R_V: Scalar = parameter(3.1, bounds=(1, 10), doc="total extinction A(V) over E(B - V)", free=False)
    z: Scalar = parameter(0.0, bounds=(-0.999, inf), doc="redshift of the dust", free=False)

    def evaluate(self, energy: jax.Array) -> jax.Array:
        wavenumber = energy * (1 + self.z) / _PER_MICRON
        a, b = _cardelli(wavenumber)
        extinction = self.E_BV * jnp.where(wavenumber > 11.0, 0.0, self.R_V * a + b)
        return jnp.exp(-0.4 * LN10 * extinction)


class DustExtinction(AbstractMultiplicative):
    r"""Extinction by the dust of the Milky Way or of one of the Magellanic clouds, also in another galaxy.

    $$M(E) = 10^{-0.4 A(\lambda)}, \qquad A(\lambda) = E_{B-V} \, (1 + R_V) \sum_{i=1}^6
        \frac{a_i}{(\lambda / \lambda_i)^{n_i} + (\lambda_i / \lambda)^{n_i} + b_i}$$

    with lambda in the rest frame; the factor is 1 below 800 Angstrom. XSPEC's magnitudes are 0.46 % smaller.

    Args:
        law: "mw", "lmc" or "smc"; the mean R_V are 3.08, 3.16 and 2.93.

    **Reference:** Pei 1992, ApJ 395, 130, eq. 20 and table 4; XSPEC's `zdust`, astromodels' `ZDust`.
    """

    E_BV: Scalar = parameter(0.1, unit="mag", bounds=(0, 100), doc="colour excess E(B - V)")
    R_V: Scalar = parameter(3.08, bounds=(0, 10), doc="total extinction A(V) over E(B - V)", free=False)
    z: Scalar = parameter(0.0, bounds=(-0.999, inf), doc="redshift of the dust", free=False)
    law: str = eqx.field(static=True, default="mw", kw_only=True)

    def __post_init__(self) -> None:
        if self.law not in _PEI:
            raise parameters.unknown(self.law, _PEI, "law of extinction")

    def evaluate(self, energy: jax.Array) -> jax.Array:
        wavenumber = energy * (1 + self.z) / _PER_MICRON
        seen = wavenumber < 12.5
        log_wavelength = -jnp.log(jnp.where(seen, wavenumber, 1.0))
        terms = []
        for a, wavelength, b, n in _PEI[self.law]:
            ratio = jnp.exp(n * (log_wavelength - log(wavelength)))
            terms.append(a / (ratio + 1 / ratio + b))
        extinction = self.E_BV * (1 + self.R_V) * jnp.where(seen, jnp.sum(jnp.stack(terms), axis=0), 0.0)
        return jnp.exp(-0.4 * LN10 * extinction)


# Of each law: strength, wavelength in micrometres, b and n of the terms for the background, the far ultraviolet, the
# features at 2175 Angstrom, 9.7 and 18 micrometres, and the far infrared.
_PEI = {
    "mw": (
        *((165, 0.047, 90, 2), (14, 0.08, 4.0, 6.5), (0.045, 0.22, -1.95, 2)),
        *((0.002, 9.7, -1.95, 2), (0.002, 18, -1.8, 2), (0.012, 25, 0, 2)),
    ),
    "lmc": (
        *((175, 0.046, 90, 2), (19, 0.08, 5.5, 4.5), (0.023, 0.22, -1.95, 2)),
        *((0.005, 9.7, -1.95, 2), (0.006, 18, -1.8, 2), (0.020, 25, 0, 2)),
    ),
    "smc": (
        *((185, 0.042, 90, 2), (27, 0.08, 5.5, 4.0), (0.005, 0.22, -1.95, 2)),
        *((0.010, 9.7, -1.95, 2), (0.012, 18, -1.8, 2), (0.030, 25, 0, 2)),
    ),
}


def _cardelli(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """a and b at wavenumbers in 1 / micrometre."""
    power = jnp.exp(1.61 * jnp.log(jnp.minimum(x, 1.1)))
    y = jnp.clip(x, 1.1, 3.3) - 1.82
    u = jnp.clip(x, 3.3, 8.0)
    bend = jnp.maximum(u - 5.9, 0.0)
    d = jnp.clip(x, 8.0, 11.0) - 8.0
    ranges = [x < 1.1, x < 3.3, x < 8.0]
    a = (
        0.574 * power,
        jnp.polyval(jnp.asarray(_OPTICAL_A, x.dtype), y),
        1.752 - 0.316 * u - 0.104 / ((u - 4.67) ** 2 + 0.341) - 0.04473 * bend**2 - 0.009779 * bend**3,
        -1.073 + d * (-0.628 + d * (0.137 - 0.070 * d)),
    )
    b = (
        -0.527 * power,
        jnp.polyval(jnp.asarray(_OPTICAL_B, x.dtype), y),
        -3.090 + 1.825 * u + 1.206 / ((u - 4.62) ** 2 + 0.263) + 0.2130 * bend**2 + 0.1207 * bend**3,
        13.670 + d * (4.257 + d * (-0.420 + 0.374 * d)),
    )
    return jnp.select(ranges, list(a[:3]), a[3]), jnp.select(ranges, list(b[:3]), b[3])


_OPTICAL_A = (0.32999, -0.77530, 0.01979, 0.72085, -0.02427, -0.50447, 0.17699, 1.0)
_OPTICAL_B = (-2.09002, 5.30260, -0.62251, -5.38434, 1.07233, 2.28305, 1.41338, 0.0)
