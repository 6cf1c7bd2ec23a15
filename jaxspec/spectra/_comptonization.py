"""Comptonisation by a thermal plasma."""

from __future__ import annotations

from math import exp, inf, log, pi, sinh
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import gammaln, logsumexp

from jaxspec import parameters
from jaxspec.parameters import Scalar, parameter
from jaxspec.quadrature import Bins, Points, interpolate_evenly, join_points
from jaxspec.spectra._base import AbstractAdditive, AbstractConvolution, AbstractSpectrum
from jaxspec.spectra._disks import disk_occupation
from jaxspec.spectra._factors import klein_nishina
from jaxspec.spectra._thermal import bose

_STEP, _N = 0.02 * log(10.0), 600  # of the grids in ln E, as XSPEC has it; from 40 kTe down over 12 decades
_REST = 510.99895  # keV


class NthComp(AbstractAdditive):
    r"""Soft photons scattered up by thermal electrons, by the slope of the power law that they make.

    $$N(E) = K \, \frac{x^2 \, p(x) \, n(x)}{[x^2 \, p \, n]_{E = 1\,\mathrm{keV}}}, \qquad
    \frac{1}{x^2} \frac{d}{dx} \left[\frac{x^4}{1 + 4.6 x + 1.1 x^2} \left(\theta \frac{dn}{dx} + n\right)\right]
    = p \, n - n_0$$

    with x = E (1 + z) / 511 keV, theta = kTe / 511 keV, the photons per mode n of the scattered and n_0 of the soft
    photons (a black body of temperature kTb, or a disc of that inner temperature), and the rate of escape

    $$p = \frac{1}{\tau \, (1 + \tau \, \sigma(x) \, f(x) / 3)}, \qquad
    \tau = \sqrt{\frac{9}{4} + \frac{3}{\theta \, [(\Gamma + 1/2)^2 - 9/4]}} - \frac{3}{2}, \qquad \Gamma = -\gamma$$

    with the Klein-Nishina cross-section sigma over that of Thomson, and f falling from 1 at x = 0.1 to 0 at x = 1. The
    equation is solved on a grid of 0.02 dex, as in XSPEC; a finer grid changes the spectrum by up to 0.5 % below 5 kTe.

    Args:
        seed: "blackbody" or "disk".

    **Reference:** Zdziarski, Johnson & Magdziarz 1996, MNRAS 283, 193; Zycki, Done & Smith 1999, MNRAS 309, 561;
    Lightman & Zdziarski 1987, ApJ 319, 643; XSPEC's `nthComp` (there the index is positive).
    """

    K: Scalar = parameter(1.0, unit="1 / (cm2 s keV)", bounds=(0, inf), doc="N at 1 keV")
    index: Scalar = parameter(-1.7, bounds=(-10, -1.1), doc="index of the power law between kTb and kTe")
    kTe: Scalar = parameter(100.0, unit="keV", bounds=(1, 1000), doc="temperature of the electrons")
    kTb: Scalar = parameter(0.1, unit="keV", bounds=(1e-3, 10), doc="temperature of the soft photons")
    z: Scalar = parameter(0.0, bounds=(-0.999, inf), doc="redshift", free=False)
    seed: str = eqx.field(static=True, default="blackbody", kw_only=True)

    def __post_init__(self) -> None:
        if self.seed not in SEEDS:
            raise parameters.unknown(self.seed, SEEDS, "spectrum of soft photons")

    def evaluate(self, energy: jax.Array) -> jax.Array:
        log_top = jnp.log(40.0 * jnp.asarray(self.kTe, energy.dtype))
        log_energy = log_top + _STEP * (jnp.arange(_N, dtype=energy.dtype) - (_N - 1))
        photons = self._log_photons(log_energy)
        places = jnp.stack([jnp.log(energy), jnp.zeros_like(energy)]) + jnp.log1p(self.z)
        shape = interpolate_evenly(photons, log_top, _STEP, places)
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


_LOWEST, _HIGHEST, _CELLS = 1e-5, 1e4, 900  # keV; of the cells in ln E in which photons are scattered
_WIDTH = log(_HIGHEST / _LOWEST) / _CELLS


class ThermalComptonization(AbstractConvolution):
    r"""Photons of any spectrum, of which a part is scattered by thermal electrons.

    $$N(E) = [1 - c \, (1 - P)] \, N_0(E) + c \, p \, x^2 \, n(x), \qquad
    \frac{1}{x^2} \frac{d}{dx} \left[\frac{x^4}{1 + 4.6 x + 1.1 x^2}
    \left(\theta \frac{dn}{dx} + \frac{n}{1 + \theta + 3 \theta^2}\right)\right] = p \, n - (1 - P) \, \frac{N_0}{x^2}$$

    with x = E / 511 keV, theta = kTe / 511 keV, the covered fraction c, the photons per mode n, and for a sphere of
    optical depth tau with its photons near the centre the rate of escape and the fraction P that is not scattered

    $$p = \frac{1}{\tau \, (a + \tau \, \sigma(x) \, f(x) / 4)}, \qquad a = 1.2 - 2.4 \, \theta^2 + 3.5 \, \theta^3,
    \qquad \ln \frac{1 - P}{P} = \frac{0.88 \, \tau + 0.096 \, \tau^2}{1 + 0.192 \, \tau}, \qquad
    \theta \, (\Gamma - 1) \, (\Gamma + 2) = p(0)$$

    with the Klein-Nishina cross-section sigma over that of Thomson, and f falling from 1 at x = 0.1 to 0 at x = 2. The
    coefficients of theta and tau are fits to what XSPEC makes of lines. Photons are kept; those below 1e-5 keV and
    above 1e4 keV are not scattered into the spectrum. XSPEC's spectra are shifted by half a bin of its grid.

    **Reference:** Zdziarski et al. 2020, MNRAS 492, 5234; XSPEC's `thcomp` (its z redshifts the covered part alone:
    here, `Redshift` goes around it).
    """

    gamma: Scalar = parameter(1.7, bounds=(1.1, 10), doc="photon index Gamma of the power law, positive")
    kTe: Scalar = parameter(50.0, unit="keV", bounds=(0.5, 150), doc="temperature of the electrons")
    covering: Scalar = parameter(1.0, bounds=(0, 1), doc="covered fraction c of the photons")

    def transform(self, spectrum: AbstractSpectrum, energy: jax.Array) -> jax.Array:
        kept, scattered = self._parts(spectrum, energy)
        return kept * spectrum.evaluate(energy) + scattered

    def transform_integral(self, spectrum: AbstractSpectrum, bins: Bins, moment: Any) -> jax.Array:
        kept, scattered = self._parts(spectrum, bins.energy)
        return kept * spectrum.integral(bins, moment) + jnp.sum(scattered * bins.weight * bins.energy**moment, axis=0)

    def transform_points(self, spectrum: AbstractSpectrum, bins: Bins) -> tuple[Points, ...]:
        kept, scattered = self._parts(spectrum, bins.energy)
        unscattered = ((energy, kept * photons) for energy, photons in spectrum.points(bins))
        return join_points((*unscattered, (bins.energy, scattered * bins.weight)))

    def _parts(self, spectrum: AbstractSpectrum, energy: jax.Array) -> tuple[jax.Array, jax.Array]:
        """What N0 is multiplied by, and N(E) of the photons that are scattered."""
        dtype = energy.dtype
        cells = Bins.dividing(jnp.asarray(_LOWEST, dtype), jnp.asarray(_HIGHEST, dtype), _CELLS, order=3)
        theta = jnp.asarray(self.kTe, dtype) / _REST
        a = 1.2 + theta**2 * (3.5 * theta - 2.4)
        y = 1 / (theta * (self.gamma - 1) * (self.gamma + 2))
        tau = 2 * y / (a + jnp.sqrt(a**2 + y))
        depth = (0.88 + 0.096 * tau) * tau / (1 + 0.192 * tau)
        x, half = jnp.sqrt(cells.low * cells.high) / _REST, cells.high[:-1] / _REST
        relativistic = jnp.clip((x - 0.1) / 1.9, 0.0, 1.0)
        escape = 1 / (tau * (a + 0.25 * tau * klein_nishina(x) * (1 - relativistic)))
        source = jax.nn.sigmoid(depth) * spectrum.integral(cells)
        photons = escape * _diffused(half, theta, escape, source) / (x * _REST * _WIDTH)
        # By logarithms; but the derivative holds where there are no photons, too.
        rough = jax.lax.stop_gradient(jnp.maximum(photons, float(jnp.finfo(dtype).tiny) ** 0.4))
        last = jnp.log(x[-1] * _REST)
        rough_there, ratio = (
            interpolate_evenly(values, last, _WIDTH, jnp.log(energy)) for values in (jnp.log(rough), photons / rough)
        )
        return 1 - self.covering * jax.nn.sigmoid(depth), self.covering * jnp.exp(rough_there) * ratio


def _diffused(half: jax.Array, theta: jax.Array, escape: jax.Array, source: jax.Array) -> jax.Array:
    """x^3 n, times the width of a cell, in equilibrium of scattering, escape and a source of photons in each cell.

    The flux through the edges between cells, at x = `half`, is exact for n = exp(-w) (Chang & Cooper 1970): n stays
    positive for x far above theta.
    """
    recoil = 1 / (1 + theta + 3 * theta**2)
    drop = 2 * half * sinh(0.5 * _WIDTH) * recoil / theta
    rate = half * recoil / (_WIDTH * (1 + 4.6 * half + 1.1 * half**2) * -jnp.expm1(-drop))
    up, down = rate * exp(-1.5 * _WIDTH), rate * jnp.exp(1.5 * _WIDTH - drop)  # times the upper, and the lower cell
    nothing = jnp.zeros(1, half.dtype)
    diagonal = escape + jnp.concatenate([down, nothing]) + jnp.concatenate([nothing, up])
    lower, upper = jnp.concatenate([nothing, -down]), jnp.concatenate([-up, nothing])
    return jax.lax.linalg.tridiagonal_solve(lower, diagonal, upper, source[:, None])[:, 0]


class CompTT(AbstractAdditive):
    r"""Soft photons scattered up by thermal electrons, by the optical depth, in closed form.

    $$N(E) = K \, \frac{\alpha (\alpha + 3)}{2 (2 \alpha + 3)} \, \frac{1}{x}
    \left[\frac{y^3 e^{-y}}{\alpha + 3} + y^{-\alpha} \, \gamma(\alpha + 3, y) \, e^{-x} J(x / \psi)\right], \qquad
    J(z) = \frac{1}{\Gamma(2 \alpha + 3)} \int_0^\infty t^{\alpha - 1} e^{-t} (z + t)^{\alpha + 3} \, dt$$

    with x = E / kTe, y = E / kTb, theta = kTe / 511 keV and the incomplete gamma function; the soft photons have a Wien
    spectrum. The index solves

    $$\alpha \, \ln\left[1 + \frac{(\alpha + 3) \, \theta}{1 + \theta} + 4 \, d_0^{1/\alpha} \theta^2\right] = \beta,
    \qquad d_0 = 3 \, \frac{(\alpha + 3) \alpha + 4}{(\alpha + 3)(\alpha + 2)^2} \, \Gamma(2 \alpha + 2)$$

    where beta follows from the optical depth: for a disc (tau is that of half its thickness)

    $$\beta = \frac{\pi^2 (1 - e^{-1.35 \tau})}{12 (\tau + 2/3)^2} + 0.45 \, e^{-3.7 \tau} \ln \frac{10}{3 \tau}, \quad
    \tau < 0.1: \; -\ln\left(\tau \ln \frac{1.53}{\tau}\right)$$

    and for a sphere (tau is that of its radius)

    $$\beta = \frac{\pi^2 (1 - e^{-0.7 \tau})}{3 (\tau + 2/3)^2} + e^{-1.4 \tau} \ln \frac{4}{3 \tau}, \quad
    \tau < 0.1: \; \ln \frac{4}{3 \tau}$$

    psi^-(alpha + 3) is the fraction of photons that are scattered at all: the mean of 1 - exp(-t s) over the distances
    s to the surface, t = tau / [1 + (kTe / 39.2 keV)^0.86]. At tau = 0.1 beta jumps by 2 %. The model does not hold for
    hot plasmas of large depth, nor for cool ones of small depth, where XSPEC stops at alpha = 10.

    Args:
        geometry: "disk" or "sphere".

    **Reference:** Titarchuk 1994, ApJ 434, 570; Hua & Titarchuk 1995, ApJ 449, 188; Titarchuk & Lyubarskij 1995, ApJ
    450, 876; XSPEC's `compTT` (its approx is 1 for a disc, 2 for a sphere; z is `Redshift`).
    """

    K: Scalar = parameter(1.0, unit="1 / (cm2 s keV)", bounds=(0, inf), doc="scale of N(E)")
    kTb: Scalar = parameter(0.1, unit="keV", bounds=(1e-2, 100), doc="temperature of the soft photons")
    kTe: Scalar = parameter(50.0, unit="keV", bounds=(2, 500), doc="temperature of the electrons")
    tau: Scalar = parameter(1.0, bounds=(0.01, 200), doc="optical depth")
    geometry: str = eqx.field(static=True, default="disk", kw_only=True)

    def __post_init__(self) -> None:
        if self.geometry not in GEOMETRIES:
            raise parameters.unknown(self.geometry, GEOMETRIES, "geometry")

    def evaluate(self, energy: jax.Array) -> jax.Array:
        log_top = jnp.log(40.0 * jnp.asarray(self.kTe + self.kTb, energy.dtype))
        log_energy = log_top + _STEP * (jnp.arange(_N, dtype=energy.dtype) - (_N - 1))
        photons = self._log_photons(log_energy)
        return self.K * jnp.exp(interpolate_evenly(photons, log_top, _STEP, jnp.log(energy)))

    def _log_photons(self, log_energy: jax.Array) -> jax.Array:
        """ln N / K on the grid."""
        dtype, energy = log_energy.dtype, jnp.exp(log_energy)
        tau, x, y = jnp.asarray(self.tau, dtype), energy / self.kTe, energy / self.kTb
        slope, distances = GEOMETRIES[self.geometry]
        alpha = _index(jnp.log(slope(tau)), self.kTe / _REST)
        scattered = distances.astype(dtype) @ -jnp.expm1(
            -tau / (1 + (self.kTe / 39.2) ** 0.86) * _DISTANCE.astype(dtype)
        )
        log_z = jnp.log(x) + jnp.log(scattered) / (alpha + 3)
        far = jnp.maximum(jnp.log(y / _SATURATED), 0.0)  # where the incomplete gamma function is complete
        hot = _log_seed(alpha + 3, jnp.minimum(y, _SATURATED)) - (alpha + 3) * far - x + _log_hot(alpha, log_z)
        both = jnp.logaddexp(-y - jnp.log(alpha + 3), hot)
        return both + jnp.log(alpha * (alpha + 3) / (4 * alpha + 6)) + 3 * jnp.log(y) - jnp.log(x)


def _disk_slope(tau: jax.Array) -> jax.Array:
    thin, thick = jnp.minimum(tau, 0.1), jnp.maximum(tau, 0.1)
    few = 0.45 * jnp.exp(-3.7 * thick) * jnp.log(10 / (3 * thick))
    many = -jnp.expm1(-1.35 * thick) * pi**2 / (12 * (thick + 2 / 3) ** 2)
    return jnp.where(tau < 0.1, -jnp.log(thin * jnp.log(1.53 / thin)), few + many)


def _sphere_slope(tau: jax.Array) -> jax.Array:
    thin, thick = jnp.minimum(tau, 0.1), jnp.maximum(tau, 0.1)
    few = jnp.exp(-1.4 * thick) * jnp.log(4 / (3 * thick))
    many = -jnp.expm1(-0.7 * thick) * pi**2 / (3 * (thick + 2 / 3) ** 2)
    return jnp.where(tau < 0.1, jnp.log(4 / (3 * thin)), few + many)


_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(32)
_DISTANCE = 0.5 + 0.5 * _NODES  # to the surface, in units of tau
# beta of tau, and weights of those distances
GEOMETRIES = {
    "disk": (_disk_slope, 0.5 * _WEIGHTS),
    "sphere": (_sphere_slope, 1.5 * _WEIGHTS * (1 - _DISTANCE) ** 2),
}
_SATURATED = 150.0
# The trapezoidal rule for integrals from 0 to infinity, after t = exp(s - exp(-s)): nodes and logarithms of weights.
_S = np.arange(-2.9, 5.4, 0.125)
_T = np.exp(_S - np.exp(-_S))
_LOG_T, _LOG_RULE = np.log(_T), np.log(0.125 * _T * (1 + np.exp(-_S)))


def _index(log_beta: Any, theta: Any) -> jax.Array:
    """alpha, as the root of an equation in its logarithm."""

    def excess(log_alpha: jax.Array) -> jax.Array:
        alpha = jnp.exp(log_alpha)
        log_d0 = jnp.log(3 * ((alpha + 3) * alpha + 4) / ((alpha + 3) * (alpha + 2) ** 2)) + gammaln(2 * alpha + 2)
        gain = (alpha + 3) * theta / (1 + theta) + 4 * jnp.exp(log_d0 / alpha) * theta**2
        return log_alpha + jnp.log(jnp.log1p(gain)) - log_beta

    def newton(function: Any, start: jax.Array) -> jax.Array:
        def step(_: Any, at: jax.Array) -> jax.Array:
            value, slope = jax.jvp(function, (at,), (jnp.ones_like(at),))
            return at - value / slope

        return jax.lax.fori_loop(0, 8, step, start)

    start = jnp.log(jnp.sqrt(2.25 + jnp.exp(log_beta) / theta) - 1.5)
    root = jax.lax.custom_root(excess, start, newton, lambda slope, value: value / slope(jnp.ones_like(value)))
    return jnp.exp(root)


def _log_seed(a: jax.Array, y: jax.Array) -> jax.Array:
    """ln of y^-a times the lower incomplete gamma function of a and y."""
    dtype = y.dtype
    t, rule = _T.astype(dtype)[:, None], _LOG_RULE.astype(dtype)[:, None]
    return logsumexp(rule - a * t - y * jnp.exp(-t), axis=0)


def _log_hot(alpha: jax.Array, log_z: jax.Array) -> jax.Array:
    """ln J. What is left at t = 0 is integrated apart: alpha may be small."""
    log_t, t, rule = (each.astype(log_z.dtype)[:, None] for each in (_LOG_T, _T, _LOG_RULE))
    log_sum, norm = jnp.logaddexp(log_z, log_t), gammaln(2 * alpha + 3)
    rise = -jnp.expm1((alpha + 3) * (log_z - log_sum))
    term = jnp.exp(rule + (alpha - 1) * log_t - t + (alpha + 3) * log_sum - norm) * rise
    return jnp.log(jnp.exp((alpha + 3) * log_z + gammaln(alpha) - norm) + jnp.sum(term, axis=0))
