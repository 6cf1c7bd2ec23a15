"""Emission lines. Their bin integrals are exact however narrow they are, also under factors and redshift."""

from __future__ import annotations

import abc
from math import inf, pi, sqrt
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import erf, erfc

from jaxspec.parameters import Scalar, parameter
from jaxspec.quadrature import Bins, Points, pick_moment, two_points
from jaxspec.spectra._base import AbstractAdditive

Moments = tuple[jax.Array, jax.Array, jax.Array]


class AbstractLine(AbstractAdditive):
    """A line with K photons / (cm2 s) in all, which may be narrower than a bin.

    A subclass has the fields `K` and `energy` and says how its photons are distributed in `profile_moments`.
    """

    K: eqx.AbstractVar[Scalar]
    energy: eqx.AbstractVar[Scalar]

    @abc.abstractmethod
    def profile_moments(self, bins: Bins) -> Moments:
        """The integrals over each bin of the normalised profile times (E - energy)^0, ^1 and ^2."""

    def integral(self, bins: Bins, moment: Any = 0) -> jax.Array:
        part, first, second = self.profile_moments(bins)
        raw = (
            part,
            self.energy * part + first,
            self.energy**2 * part + 2 * self.energy * first + second,
        )
        return self.K * pick_moment(moment, raw)

    def points(self, bins: Bins) -> tuple[Points, ...]:
        """Two points in each bin with the mean energy and the variance of the photons there."""
        energy, part = two_points(bins, self.energy, self.profile_moments(bins))
        return ((energy, self.K * part),)


def _width(width: Any, energy: jax.Array) -> jax.Array:
    """The width of a line, or of one far too narrow to be seen: zero would be divided by."""
    return jnp.maximum(width, float(jnp.finfo(energy.dtype).eps) ** 0.5 * energy)


def gaussian_moments(low: jax.Array, high: jax.Array, sigma: jax.Array) -> Moments:
    """The integrals from low to high of the normal distribution of width sigma around 0, times x^0, x^1 and x^2."""
    # Beyond 40 sigma nothing is left, and powers of the distance would overflow in the derivatives.
    a, b = (jnp.clip(edge / sigma, -40.0, 40.0) for edge in (low, high))
    right = a + b > 0
    near, far = jnp.where(right, a, -b), jnp.where(right, b, -a)
    part = 0.5 * (erfc(near / sqrt(2)) - erfc(far / sqrt(2)))
    at_a, at_b = (jnp.exp(-0.5 * x**2) / sqrt(2 * pi) for x in (a, b))
    return part, sigma * (at_a - at_b), sigma**2 * (part + a * at_a - b * at_b)


def lorentz_moments(low: jax.Array, high: jax.Array, half: jax.Array) -> Moments:
    """The same of the Lorentz distribution with this half width at half maximum."""
    a, b = low / half, high / half
    part = jnp.arctan2(b - a, 1 + a * b) / pi
    first = half / (2 * pi) * (jnp.log1p(b**2) - jnp.log1p(a**2))
    return part, first, half**2 * ((b - a) / pi - part)


class GaussianLine(AbstractLine):
    r"""A Gaussian line.

    $$N(E) = \frac{K}{\sigma \sqrt{2 \pi} \, \Phi(E_l / \sigma)} \, e^{-(E - E_l)^2 / 2 \sigma^2}$$

    with the normal distribution's integral $\Phi$, so that K counts the photons above zero energy. A width of zero is
    allowed: all photons are then in one bin. A line at redshift z is `Redshift(z=...)(GaussianLine())`.

    **Reference:** XSPEC's `gaussian` and `zgauss`.
    """

    K: Scalar = parameter(1e-3, unit="1 / (cm2 s)", bounds=(0, inf), doc="photons in the line")
    energy: Scalar = parameter(6.5, unit="keV", bounds=(1e-3, inf), doc="energy of the line")
    sigma: Scalar = parameter(0.1, unit="keV", bounds=(0, inf), doc="width: standard deviation")

    def evaluate(self, energy: jax.Array) -> jax.Array:
        sigma = _width(self.sigma, jnp.asarray(self.energy, energy.dtype))
        x = jnp.clip((energy - self.energy) / sigma, -40.0, 40.0)
        return self.K * jnp.exp(-0.5 * x**2) / (sigma * sqrt(2 * pi) * self._above_zero(sigma))

    def profile_moments(self, bins: Bins) -> Moments:
        sigma = _width(self.sigma, jnp.asarray(self.energy, bins.low.dtype))
        scale = 1 / self._above_zero(sigma)
        part, first, second = gaussian_moments(bins.low - self.energy, bins.high - self.energy, sigma)
        return scale * part, scale * first, scale * second

    def _above_zero(self, sigma: jax.Array) -> jax.Array:
        return 0.5 * (1 + erf(self.energy / (sigma * sqrt(2))))


class LorentzLine(AbstractLine):
    r"""A Lorentz line.

    $$N(E) = \frac{K}{\pi A} \, \frac{\Gamma / 2}{(E - E_l)^2 + (\Gamma / 2)^2}, \qquad
    A = \frac{1}{2} + \frac{1}{\pi} \arctan \frac{2 E_l}{\Gamma}$$

    so that K counts the photons above zero energy. The width may be zero.

    **Reference:** XSPEC's `lorentz` and `zlorentz`.
    """

    K: Scalar = parameter(1e-3, unit="1 / (cm2 s)", bounds=(0, inf), doc="photons in the line")
    energy: Scalar = parameter(6.5, unit="keV", bounds=(1e-3, inf), doc="energy of the line")
    gamma: Scalar = parameter(0.1, unit="keV", bounds=(0, inf), doc="width: full width at half maximum")

    def evaluate(self, energy: jax.Array) -> jax.Array:
        half = self._half(energy)
        return self.K * half / (pi * self._above_zero(half) * ((energy - self.energy) ** 2 + half**2))

    def profile_moments(self, bins: Bins) -> Moments:
        half = self._half(bins.low)
        scale = 1 / self._above_zero(half)
        part, first, second = lorentz_moments(bins.low - self.energy, bins.high - self.energy, half)
        return scale * part, scale * first, scale * second

    def _half(self, energy: jax.Array) -> jax.Array:
        return 0.5 * _width(self.gamma, jnp.asarray(self.energy, energy.dtype))

    def _above_zero(self, half: jax.Array) -> jax.Array:
        return 0.5 + jnp.arctan(self.energy / half) / pi


class VoigtLine(AbstractLine):
    r"""A Voigt line: a Lorentz line broadened by a Gaussian.

    $$N(E) = \frac{K}{A \, \sigma \sqrt{2 \pi}} \, \mathrm{Re} \, w(z), \qquad
    z = \frac{E - E_l + i \Gamma / 2}{\sigma \sqrt{2}}$$

    with the Faddeeva function w, and A such that K counts the photons above zero energy. Either width may be zero.

    **Reference:** XSPEC's `voigt` and `zvoigt`; w and its integral after Weideman 1994, SIAM J. Numer. Anal. 31, 1497.
    """

    K: Scalar = parameter(1e-3, unit="1 / (cm2 s)", bounds=(0, inf), doc="photons in the line")
    energy: Scalar = parameter(6.5, unit="keV", bounds=(1e-3, inf), doc="energy of the line")
    sigma: Scalar = parameter(0.1, unit="keV", bounds=(0, inf), doc="Gaussian width: standard deviation")
    gamma: Scalar = parameter(0.1, unit="keV", bounds=(0, inf), doc="Lorentz width: full width at half maximum")

    def evaluate(self, energy: jax.Array) -> jax.Array:
        z, unit = self._scaled(energy - self.energy)
        return self.K * _faddeeva(z)[0].real / (unit * sqrt(pi) * self._above_zero(energy))

    def profile_moments(self, bins: Bins) -> Moments:
        edges = jnp.concatenate([bins.low, bins.high])
        z, unit = self._scaled(edges - self.energy)
        w, integral = _faddeeva(z)
        # The integrals of z w and z^2 w, by parts, from w' = 2 i / sqrt(pi) - 2 z w.
        first = 1j * z / sqrt(pi) - 0.5 * w
        second = 0.5j * z**2 / sqrt(pi) - 0.5 * (z * w - integral)
        y = z.imag
        offsets = (integral, first - 1j * y * integral, second - 2j * y * first - y**2 * integral)
        scale = 1 / (sqrt(pi) * self._above_zero(bins.low))
        between = (each.real[len(bins.low) :] - each.real[: len(bins.low)] for each in offsets)
        part, first, second = (scale * unit**i * each for i, each in enumerate(between))
        return jnp.maximum(part, 0.0), first, second

    def _scaled(self, offset: jax.Array) -> tuple[jax.Array, jax.Array]:
        unit = sqrt(2) * _width(self.sigma, jnp.asarray(self.energy, offset.dtype))
        return jax.lax.complex(offset / unit, jnp.broadcast_to(0.5 * self.gamma / unit, offset.shape)), unit

    def _above_zero(self, like: jax.Array) -> jax.Array:
        z, _ = self._scaled(jnp.asarray([0.0, -1.0], like.dtype) * self.energy)
        integral = _faddeeva(z)[1].real
        return 0.5 + (integral[0] - integral[1]) / sqrt(pi)


def _weideman(n: int) -> tuple[float, np.ndarray]:
    """The scale L and the coefficients of w(z), highest power of (L + iz) / (L - iz) first."""
    scale, m = sqrt(n / sqrt(2)), 2 * n
    t = scale * np.tan(np.arange(-m + 1, m) * pi / m / 2)
    values = np.concatenate([[0.0], np.exp(-(t**2)) * (scale**2 + t**2)])
    return scale, np.real(np.fft.fft(np.fft.fftshift(values)))[1 : n + 1][::-1] / (2 * m)


_SCALE, _COEFFICIENTS = _weideman(40)


def _rational(z: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """w(z) for Im z >= 0, an integral of w over z and w'(z), all exact, since w is a rational function here."""
    below = _SCALE - 1j * z
    ratio = (_SCALE + 1j * z) / below

    # A loop, and not 40 terms in one expression: XLA would compute them again wherever a result is used.
    def horner(sums: Any, coefficients: Any) -> tuple[Any, None]:
        value, slope, integral = sums
        return (value * ratio + coefficients[0], slope * ratio + value, integral * ratio + coefficients[1]), None

    powers = np.arange(len(_COEFFICIENTS), 0, -1)
    table = jnp.asarray(np.stack([_COEFFICIENTS, _COEFFICIENTS / powers], axis=1), z.real.dtype)
    (value, slope, integral), _ = jax.lax.scan(horner, (jnp.zeros_like(z),) * 3, table)
    slope = 2j * (2 * _SCALE * slope / below + 2 * value) / below**3 + 1j / (sqrt(pi) * below**2)
    value = 2 * value / below**2 + 1 / (sqrt(pi) * below)
    log = jax.lax.complex(0.5 * jnp.log(below.real**2 + below.imag**2), jnp.arctan2(below.imag, below.real))
    return value, -1j / _SCALE * ratio * integral + 1j / sqrt(pi) * log, slope


@jax.custom_jvp
def _faddeeva(z: jax.Array) -> tuple[jax.Array, jax.Array]:
    """w(z) for Im z >= 0, and an integral of w over z."""
    return _rational(z)[:2]


@_faddeeva.defjvp
def _(primals: tuple[jax.Array], tangents: tuple[jax.Array]) -> tuple[Any, Any]:
    value, integral, slope = _rational(*primals)
    return (value, integral), (slope * tangents[0], value * tangents[0])
