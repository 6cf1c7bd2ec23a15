"""Power laws with breaks, sharp and smooth."""

from __future__ import annotations

from math import inf, log
from typing import Any

import jax
import jax.numpy as jnp

from jaxspec.parameters import Scalar, parameter
from jaxspec.quadrature import Bins, power_integral
from jaxspec.spectra._base import AbstractAdditive

LN2, LN10 = log(2.0), log(10.0)


class BrokenPowerLaw(AbstractAdditive):
    r"""A power law with a sharp break.

    $$N(E) = K \begin{cases}
        (E/E_0)^\alpha                                & E < E_b \\
        (E_b/E_0)^{\alpha-\beta} \, (E/E_0)^\beta    & \text{else}
    \end{cases}$$

    **Reference:** XSPEC's `bknpower` (there the indices have the other sign), astromodels' `Broken_powerlaw`.
    """

    K: Scalar = parameter(
        1.0, unit="1 / (cm2 s keV)", bounds=(0, inf), doc="N of the low-energy power law at the pivot"
    )
    alpha: Scalar = parameter(-1.5, bounds=(-10, 10), doc="index below the break")
    beta: Scalar = parameter(-2.5, bounds=(-10, 10), doc="index above the break")
    energy_break: Scalar = parameter(10.0, unit="keV", bounds=(1e-3, inf), doc="energy of the break")
    pivot: Scalar = parameter(1.0, unit="keV", bounds=(1e-10, inf), doc="pivot energy", free=False)

    def evaluate(self, energy: jax.Array) -> jax.Array:
        return self.K * jnp.exp(_broken(energy, self.pivot, (self.alpha, self.beta), (self.energy_break,)))

    def integral(self, bins: Bins, moment: Any = 0) -> jax.Array:
        indices, breaks = (self.alpha, self.beta), (self.energy_break,)
        return self.K * _broken_integral(bins, moment, self.pivot, indices, breaks)


class DoublyBrokenPowerLaw(AbstractAdditive):
    r"""A power law with two sharp breaks.

    $$N(E) = K \begin{cases}
        (E/E_0)^\alpha                                                        & E < E_1 \\
        (E_1/E_0)^{\alpha-\beta} \, (E/E_0)^\beta                            & E_1 \le E < E_2 \\
        (E_1/E_0)^{\alpha-\beta} (E_2/E_0)^{\beta-\gamma} \, (E/E_0)^\gamma  & \text{else}
    \end{cases}$$

    Where E_2 < E_1 the middle part is empty and the indices change at E_1.

    **Reference:** XSPEC's `bkn2pow` (there the indices have the other sign).
    """

    K: Scalar = parameter(
        1.0, unit="1 / (cm2 s keV)", bounds=(0, inf), doc="N of the low-energy power law at the pivot"
    )
    alpha: Scalar = parameter(-1.0, bounds=(-10, 10), doc="index below both breaks")
    beta: Scalar = parameter(-2.0, bounds=(-10, 10), doc="index between the breaks")
    gamma: Scalar = parameter(-3.0, bounds=(-10, 10), doc="index above both breaks")
    energy_break1: Scalar = parameter(5.0, unit="keV", bounds=(1e-3, inf), doc="energy of the lower break")
    energy_break2: Scalar = parameter(10.0, unit="keV", bounds=(1e-3, inf), doc="energy of the upper break")
    pivot: Scalar = parameter(1.0, unit="keV", bounds=(1e-10, inf), doc="pivot energy", free=False)

    def _pieces(self) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        upper = jnp.maximum(self.energy_break1, self.energy_break2)
        return (self.alpha, self.beta, self.gamma), (self.energy_break1, upper)

    def evaluate(self, energy: jax.Array) -> jax.Array:
        return self.K * jnp.exp(_broken(energy, self.pivot, *self._pieces()))

    def integral(self, bins: Bins, moment: Any = 0) -> jax.Array:
        return self.K * _broken_integral(bins, moment, self.pivot, *self._pieces())


class SmoothlyBrokenPowerLaw(AbstractAdditive):
    r"""A power law with a smooth break.

    $$N(E) = K \, (E/E_0)^{(\alpha+\beta)/2} \, 10^{a(E) - a(E_0)}, \qquad
    a(E) = \frac{\beta-\alpha}{2} \, \Delta \, \ln\cosh\frac{\log_{10}(E/E_b)}{\Delta}$$

    Towards a scale of zero the break is sharp.

    **Reference:** Kaneko et al. 2006, ApJS 166, 298, eq. 3; astromodels' `SmoothlyBrokenPowerLaw`, gdt's
    `SmoothlyBrokenPowerLaw`.
    """

    K: Scalar = parameter(1e-2, unit="1 / (cm2 s keV)", bounds=(0, inf), doc="N at the pivot energy")
    alpha: Scalar = parameter(-1.0, bounds=(-10, 5), doc="index far below the break")
    beta: Scalar = parameter(-2.0, bounds=(-10, 5), doc="index far above the break")
    energy_break: Scalar = parameter(300.0, unit="keV", bounds=(1e-3, inf), doc="energy of the break")
    scale: Scalar = parameter(0.5, bounds=(1e-3, 10), doc="width of the break in decades of energy", free=False)
    pivot: Scalar = parameter(100.0, unit="keV", bounds=(1e-10, inf), doc="pivot energy", free=False)

    def evaluate(self, energy: jax.Array) -> jax.Array:
        def bend(energy: Any) -> jax.Array:
            q = jnp.log(energy / self.energy_break) / (LN10 * self.scale)
            return 0.5 * (self.beta - self.alpha) * LN10 * self.scale * (jnp.logaddexp(q, -q) - LN2)

        mean = 0.5 * (self.alpha + self.beta) * jnp.log(energy / self.pivot)
        return self.K * jnp.exp(mean + bend(energy) - bend(self.pivot))


class DoublySmoothlyBrokenPowerLaw(AbstractAdditive):
    r"""A power law with two smooth breaks, the upper one by the energy at which E^2 N(E) peaks.

    $$N(E) = K \left(\frac{E_b}{E_0}\right)^{\alpha_1} \left\{ f(E)^{n_2}
    + \left(\frac{E}{E_j}\right)^{-\beta n_2} f(E_j)^{n_2} \right\}^{-1/n_2}$$

    $$f(E) = \left[ (E/E_b)^{-\alpha_1 n_1} + (E/E_b)^{-\alpha_2 n_1} \right]^{1/n_1}, \qquad
    E_j = E_p \left( -\frac{\alpha_2 + 2}{\beta + 2} \right)^{1 / [(\beta - \alpha_2) n_2]}$$

    **Reference:** Ravasio et al. 2018, A&A 613, A16, eq. A.1; astromodels' `DoubleSmoothlyBrokenPowerlaw`.
    """

    K: Scalar = parameter(1e-4, unit="1 / (cm2 s keV)", bounds=(0, inf), doc="N of the first power law at the pivot")
    alpha1: Scalar = parameter(-0.66, bounds=(-10, 5), doc="index below the lower break")
    energy_break: Scalar = parameter(100.0, unit="keV", bounds=(1e-3, inf), doc="energy of the lower break")
    n1: Scalar = parameter(2.0, bounds=(0.1, 100), doc="sharpness of the lower break", free=False)
    alpha2: Scalar = parameter(-1.5, bounds=(-1.99, 5), doc="index between the breaks")
    peak: Scalar = parameter(300.0, unit="keV", bounds=(1e-3, inf), doc="energy of the peak of E^2 N(E)")
    n2: Scalar = parameter(2.0, bounds=(0.1, 100), doc="sharpness of the upper break", free=False)
    beta: Scalar = parameter(-2.5, bounds=(-10, -2.01), doc="index above the upper break")
    pivot: Scalar = parameter(1.0, unit="keV", bounds=(1e-10, inf), doc="pivot energy", free=False)

    def evaluate(self, energy: jax.Array) -> jax.Array:
        def log_f(y: jax.Array) -> jax.Array:
            return jnp.logaddexp(-self.alpha1 * self.n1 * y, -self.alpha2 * self.n1 * y) / self.n1

        steps = jnp.log(-(self.alpha2 + 2.0) / (self.beta + 2.0)) / ((self.beta - self.alpha2) * self.n2)
        upper = jnp.log(self.peak / self.energy_break) + steps
        y = jnp.log(energy / self.energy_break)
        high = log_f(upper) - self.beta * (y - upper)
        falling = jnp.logaddexp(self.n2 * log_f(y), self.n2 * high) / self.n2
        return self.K * jnp.exp(self.alpha1 * jnp.log(self.energy_break / self.pivot) - falling)


def _broken(energy: jax.Array, pivot: Any, indices: tuple[Any, ...], breaks: tuple[Any, ...]) -> jax.Array:
    """ln N(E) / K of power laws that join at the breaks, which are in order."""
    x = jnp.log(energy / pivot)
    result = indices[0] * x
    for below, above, energy_break in zip(indices, indices[1:], breaks):
        past = x - jnp.log(energy_break / pivot)
        result = result + (above - below) * jnp.where(past > 0, past, 0.0)
    return result


def _broken_integral(
    bins: Bins, moment: Any, pivot: Any, indices: tuple[Any, ...], breaks: tuple[Any, ...]
) -> jax.Array:
    """The integral of E^moment times the same over each bin: exact, a break inside a bin included."""
    low, high = bins.low / pivot, bins.high / pivot
    edges = [0.0, *(energy_break / pivot for energy_break in breaks), inf]
    log_scale, total = 0.0, 0.0
    for i, index in enumerate(indices):
        if i:
            log_scale = log_scale + (indices[i - 1] - index) * jnp.log(edges[i])
        inside = [jnp.clip(energy, edges[i], edges[i + 1]) for energy in (low, high)]
        total = total + jnp.exp(log_scale) * power_integral(index + moment, *inside)
    return pivot ** (1 + moment) * total
