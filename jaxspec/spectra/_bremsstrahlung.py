"""Thermal bremsstrahlung."""

from __future__ import annotations

from math import inf
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxspec.parameters import Scalar, parameter
from jaxspec.spectra._base import AbstractAdditive


class Bremsstrahlung(AbstractAdditive):
    r"""Thermal bremsstrahlung of hydrogen and helium.

    $$N(E) = K \, \frac{e^{-E / kT}}{E \, \sqrt{kT}} \, [g_1(E, kT) + 4 \, h \, g_2(E, kT)]$$

    with E and kT in keV, the Gaunt factors g_Z of ions of charge Z, and h the number of helium ions per hydrogen ion.
    K is 3.02e-15 / (4 pi D^2) times the integral of n_e n_H dV, all in cm. The Gaunt factors are XSPEC's: polynomials
    that jump by up to 1 % where E / kT is 0.03, 0.3, 1, 5 and 15 (tables below kT = 0.136 Z^2 keV), and 0 above 50 kT.

    **Reference:** Kellogg, Baldwin & Koch 1975, ApJ 199, 299 (Gaunt factors after Karzas & Latter 1961, ApJS 6, 167);
    XSPEC's `bremss` (h = 0.085) and `vbremss`.
    """

    K: Scalar = parameter(1.0, unit="keV(1/2) / (cm2 s)", bounds=(0, inf), doc="scale: 3.02e-15 / (4 pi D^2) EM")
    kT: Scalar = parameter(7.0, unit="keV", bounds=(1e-3, 200), doc="temperature of the plasma")
    helium: Scalar = parameter(0.085, bounds=(0, 100), doc="helium ions per hydrogen ion", free=False)

    def evaluate(self, energy: jax.Array) -> jax.Array:
        u = energy / self.kT
        gaunt = _gaunt(u, 0.01358 / self.kT) + 4 * self.helium * _gaunt(u, 4 * 0.01358 / self.kT)
        return self.K * gaunt * jnp.exp(-u) / (energy * jnp.sqrt(self.kT))


def _numbers(text: str) -> np.ndarray:
    return np.array(text.split(), float)


# Coefficients of the Born approximation's corrections in powers of u: (power, gamma^2 column, u range).
_CORRECTIONS = _numbers(
    """1.001 1.004 1.017 1.036 1.056 1.121  1.001 1.005 1.017 1.046 1.073 1.115  .9991 1.005 1.03 1.055 1.102 1.176
    .997 1.005 1.035 1.069 1.134 1.186  .9962 1.004 1.042 1.1 1.193 1.306  .9874 .9962 1.047 1.156 1.327 1.485
    .9681 .9755 1.020 1.208 1.525 1.965
    .3029 .1616 .04757 .013 .0049 -.0032  .4905 .2155 .08357 .02041 .00739 .00029
    .654 .2833 .08057 .03257 .00759 -.00151  1.029 .391 .1266 .05149 .01274 .00324
    .9569 .4891 .1764 .05914 .01407 -.00024  1.236 .7579 .326 .1077 .028 .00548  1.327 1.017 .6017 .205 .0605 .00187
    -1.323 -.254 -.01571 -.001 -.000184 .00008  -4.762 -.3386 -.03571 -.001786 -.0003 .00001
    -6.349 -.4206 -.02571 -.003429 -.000234 .00005  -13.231 -.59 -.04571 -.005714 -.000445 -.00004
    -7.672 -.6852 -.0643 -.005857 -.00042 .00004  -7.143 -.9947 -.12 -.01007 -.000851 -.00004
    -3.175 -1.116 -.2270 -.01821 -.001729 .00023"""
).reshape(3, 7, 6)
_RANGES = np.array([0.03, 0.3, 1.0, 5.0, 15.0])  # of u
_COLUMNS = np.array([1.0, 1.7783, 3.0, 5.6234, 10.0, 30.0, 100.0])  # 1000 gamma^2
# Gaunt factors at low temperature: half decades of u from 1e-4, half decades of gamma^2 from 0.1.
_COLD = _numbers(
    """5.40 5.25 5.00 4.69 4.48 4.16 3.85  4.77 4.63 4.40 4.13 3.87 3.52 3.27  4.15 4.02 3.80 3.57 3.27 2.98 2.70
    3.54 3.41 3.22 2.97 2.70 2.45 2.20  2.94 2.81 2.65 2.44 2.21 2.01 1.81  2.41 2.32 2.19 2.02 1.84 1.67 1.50
    1.95 1.90 1.80 1.68 1.52 1.41 1.30  1.55 1.56 1.51 1.42 1.33 1.25 1.17  1.17 1.30 1.32 1.30 1.20 1.15 1.11
    0.86 1.00 1.15 1.18 1.15 1.11 1.08  0.59 0.76 0.97 1.09 1.13 1.10 1.08  0.38 0.53 0.76 0.96 1.08 1.09 1.09"""
).reshape(12, 7)
# Abramowitz & Stegun 9.8.1, 9.8.5 and 9.8.6, lowest power first.
_I0 = (1.0, 3.5156229, 3.089942, 1.2067492, 0.2659732, 0.0360768, 0.0045813)
_K0_NEAR = (-0.57721566, 0.4227842, 0.23069756, 0.0348859, 0.00262698, 0.0001075, 0.0000074)
_K0_FAR = (1.25331414, -0.07832358, 0.02189568, -0.01062446, 0.00587872, -0.0025154, 0.00053208)


def _gaunt(u: jax.Array, gamma2: Any) -> jax.Array:
    """The Gaunt factor at u = E / kT of ions with gamma^2 = Z^2 Ry / kT."""
    born = _born(u)
    hot = jnp.where(gamma2 < 1e-3, born, born * _correction(u, 1000 * gamma2))
    return jnp.where(u > 50.0, 0.0, jnp.where(gamma2 > 0.1, _cold(u, gamma2), hot))


def _born(u: jax.Array) -> jax.Array:
    """The Born approximation: sqrt(3) / pi exp(u / 2) K0(u / 2)."""
    x = 0.5 * u
    near, far = jnp.minimum(x, 2.0), jnp.maximum(x, 2.0)
    k0 = _polynomial(_K0_NEAR, (0.5 * near) ** 2) - jnp.log(0.5 * near) * _polynomial(_I0, (near / 3.75) ** 2)
    return 0.5513 * jnp.where(x <= 2.0, jnp.exp(near) * k0, _polynomial(_K0_FAR, 2.0 / far) / jnp.sqrt(far))


def _correction(u: jax.Array, column: Any) -> jax.Array:
    """What the Born approximation is multiplied with, linear between the columns of gamma^2."""
    columns = jnp.asarray(_COLUMNS, u.dtype)
    m = jnp.clip(jnp.searchsorted(columns, column) - 1, 0, 5)
    table = jnp.asarray(_CORRECTIONS, u.dtype)
    part = (column - columns[m]) / (columns[m + 1] - columns[m])
    blend = (1 - part) * table[:, m] + part * table[:, m + 1]
    low = jnp.maximum(u, 0.003)
    n = sum((u > edge).astype(int) for edge in _RANGES)
    return _polynomial([row[n] for row in blend], low)


def _cold(u: jax.Array, gamma2: Any) -> jax.Array:
    """The Gaunt factor at low temperature, linear in the logarithms of u and gamma^2."""
    x, y = 2 * jnp.log10(u) + 8, jnp.clip(2 * jnp.log10(gamma2) + 2, 0, 6)
    k, j = (jnp.clip(jnp.floor(each).astype(int), 0, top) for each, top in ((x, 10), (y, 5)))
    table = jnp.asarray(_COLD, u.dtype)
    row = (1 + j - y) * table[:, j] + (y - j) * table[:, j + 1]
    return jnp.where(x < 11, (1 + k - x) * row[k] + (x - k) * row[k + 1], 0.0)


def _polynomial(coefficients: Any, x: jax.Array) -> jax.Array:
    result = coefficients[-1]
    for coefficient in coefficients[-2::-1]:
        result = result * x + coefficient
    return result
