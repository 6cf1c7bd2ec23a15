r"""Fit statistics per bin: pure functions of expected and observed counts.

Conventions, for every function here:

- `expected` $s$: expected source counts in the bin (exposure and area scale included);
- `counts` $S$: counts in the source region;
- `background` $B$: counts in the background region, with `background_error` $\sigma$ where that is Gaussian;
- `ratio` $\alpha$: expected background counts in the source region per background count in the background
  region, so that a background expectation $b$ there predicts $M = s + \alpha b$ counts in the source region.

All arguments broadcast; the result has one value per bin. A statistic is $2 \ln (L_\mathrm{saturated} /
L)$, 0 for a perfect fit, and `-stat / 2 + ..._saturated(data)` is the normalised log-likelihood, factorials
included. The saturated part depends on data alone, so a caller computes it once.

**Zero or negative expected counts.** A bin with counts where none are expected has likelihood 0. Below a
floor of 1e-25 counts (1e-12 in float32) the logarithm is continued by its tangent, so the statistic at zero
is large and finite, with a finite gradient that points to more counts. A negative expectation is no model:
it is taken as 0 and costs another 1000 per count below zero. The gradient there is -1000 whatever the data
are, so that a minimiser finds the way back.

First and second derivatives, forward and reverse, are finite everywhere. They are written out because
automatic ones of the profiled background's square root are 0 / 0 in bins without background counts, and
because the envelope theorem makes them cheap: at the best background the gradient is $2 (1 - S / M)$.
"""

import functools
import math

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero
from jax.typing import ArrayLike

NEGATIVE_COST = 1e3  # per expected count below zero; far above the slope of 2 that an empty bin offers


def cash(expected: ArrayLike, counts: ArrayLike) -> jax.Array:
    r"""Cash statistic, minus twice the Poisson log-likelihood without the factorial: $2 (s - S \ln s)$.

    Unlike the others it is not 0 for a perfect fit and may be negative; the log-likelihood is
    $-\mathrm{cash} / 2 - \ln S!$.

    **Reference:** Cash 1979, ApJ 228, 939.
    """
    s, S = as_arrays(expected, counts)
    source = not_negative(s)
    floor = _floor(s)
    log = jnp.where(source < floor, math.log(floor) + (source / floor - 1), jnp.log(floored(source)))
    return 2 * (source - S * log) + cost_below_zero(s)


def cstat(expected: ArrayLike, counts: ArrayLike) -> jax.Array:
    r"""C statistic, Poisson counts without background: $2 [s - S + S \ln (S / s)]$.

    **Reference:** Cash 1979, ApJ 228, 939; normalised as in the XSPEC manual, appendix "Statistics in XSPEC".
    """
    s, S = as_arrays(expected, counts)
    return _cstat(not_negative(s), S) + cost_below_zero(s)


def pstat(expected: ArrayLike, counts: ArrayLike, known_background: ArrayLike) -> jax.Array:
    r"""P statistic, Poisson counts over an exactly known background: the C statistic of $s + b$.

    `known_background` $b$ is the expected number of background counts in the source region (already scaled).

    **Reference:** XSPEC manual, appendix "Statistics in XSPEC", pstat.
    """
    s, S, known = as_arrays(expected, counts, known_background)
    return _cstat(not_negative(s) + known, S) + cost_below_zero(s)


def wstat(expected: ArrayLike, counts: ArrayLike, background: ArrayLike, ratio: ArrayLike) -> jax.Array:
    r"""W statistic, Poisson counts in source and background region, the background profiled out bin by bin.

    $$W = 2 \min_{b \ge 0} \left[ s + (1 + \alpha) b - S - B - S \ln \frac{s + \alpha b}{S}
          - B \ln \frac{b}{B} \right]$$

    Biased where most bins have no background counts (it explains faint sources as background).

    **Reference:** Wachter, Leach & Kellogg 1979, ApJ 230, 274; XSPEC manual, appendix "Statistics in XSPEC".
    """
    s, S, B, alpha = as_arrays(expected, counts, background, ratio)
    return _wstat(not_negative(s), S, B, alpha) + cost_below_zero(s)


def pgstat(
    expected: ArrayLike,
    counts: ArrayLike,
    background: ArrayLike,
    background_error: ArrayLike,
    ratio: ArrayLike,
) -> jax.Array:
    r"""PG statistic, Poisson counts over a background with a Gaussian error, profiled out bin by bin.

    $$PG = 2 \min_{b \ge 0} \left[ s + \alpha b - S - S \ln \frac{s + \alpha b}{S}
          + \frac{(B - b)^2}{2 \sigma^2} \right]$$

    `background` and its standard deviation `background_error` are counts in the background region; an error
    of 0 gives the P statistic with background $\alpha B$. A background below zero is not allowed; XSPEC
    allows it, which makes its statistic smaller, even negative, where $B < \alpha \sigma^2$.

    **Reference:** XSPEC manual, appendix "Statistics in XSPEC", pgstat.
    """
    s, S, B, sigma, alpha = as_arrays(expected, counts, background, background_error, ratio)
    return _pgstat(not_negative(s), S, B, sigma, alpha) + cost_below_zero(s)


def cstat_saturated(counts: ArrayLike) -> jax.Array:
    r"""Poisson log-likelihood of a model that predicts exactly the counts: $S \ln S - S - \ln S!$ per bin."""
    (S,) = as_arrays(counts)
    # S ln S - S - ln S! cancels to -ln(2 pi S) / 2 at large S, where only Stirling's series keeps the digits.
    large = S > 15
    x = jnp.where(large, S, 16.0)
    stirling = -0.5 * jnp.log(2 * math.pi * x) - _stirling_remainder(x)
    y = jnp.where(large, 1.0, S)
    return jnp.where(large, stirling, jax.scipy.special.xlogy(y, y) - y - jax.scipy.special.gammaln(y + 1))


def pstat_saturated(counts: ArrayLike) -> jax.Array:
    """Log-likelihood of the saturated model for `pstat`, the same as for `cstat`."""
    return cstat_saturated(counts)


def wstat_saturated(counts: ArrayLike, background: ArrayLike) -> jax.Array:
    """Log-likelihood of the saturated model for `wstat`: both regions predicted exactly."""
    return cstat_saturated(counts) + cstat_saturated(background)


def pgstat_saturated(counts: ArrayLike, background_error: ArrayLike) -> jax.Array:
    r"""Log-likelihood of the saturated model for `pgstat`: that of `cstat` minus $\ln (\sigma \sqrt{2 \pi})$.

    A background without error is known, not measured: it adds nothing.
    """
    S, sigma = as_arrays(counts, background_error)
    measured = sigma > 0
    normalisation = jnp.log(jnp.where(measured, sigma, 1.0) * math.sqrt(2 * math.pi))
    return cstat_saturated(S) - jnp.where(measured, normalisation, 0.0)


def profiled_background(expected: ArrayLike, counts: ArrayLike, background: ArrayLike, ratio: ArrayLike) -> jax.Array:
    """Background expectation in the background region that maximises the likelihood behind `wstat`.

    Times `ratio` it is the background in the source region.
    """
    s, S, B, alpha = as_arrays(expected, counts, background, ratio)
    return _poisson_profile(not_negative(s), S, B, alpha)[0]


def profiled_gaussian_background(
    expected: ArrayLike,
    counts: ArrayLike,
    background: ArrayLike,
    background_error: ArrayLike,
    ratio: ArrayLike,
) -> jax.Array:
    """Background expectation in the background region that maximises the likelihood behind `pgstat`."""
    s, S, B, sigma, alpha = as_arrays(expected, counts, background, background_error, ratio)
    return _gaussian_profile(not_negative(s), S, B, sigma, alpha)[0]


def as_arrays(*values: ArrayLike) -> list[jax.Array]:
    """The arguments as floating-point arrays of one shape and one type."""
    dtype = jnp.result_type(float, *values)
    return jnp.broadcast_arrays(*(jnp.asarray(value, dtype) for value in values))


def _floor(x):
    """Expected counts below which the logarithm is continued by its tangent."""
    # In float32 the second derivative S / floor^2 must stay below 3e38 for S = 1e12.
    return 1e-25 if x.dtype == jnp.float64 else 1e-12


def floored(x):
    """x, at least the floor; its derivative there is 0."""
    return jnp.where(x < _floor(x), _floor(x), x)  # jnp.maximum halves the derivative at equality


def not_negative(s):
    """Expected counts with negative ones taken as 0."""
    return jnp.where(s < 0, 0.0, s)  # derivative 1 at 0, where jnp.maximum has 1/2


def cost_below_zero(s):
    """What a negative expectation costs."""
    return NEGATIVE_COST * jnp.where(s < 0, -s, 0.0)


def _stirling_remainder(x):
    """ln x! - (x ln x - x + ln(2 pi x) / 2), to 1e-16 for x > 15."""
    y = 1 / (x * x)
    return (1 / 12 - y * (1 / 360 - y * (1 / 1260 - y * (1 / 1680 - y / 1188)))) / x


def _log_ratio(excess, M, S):
    """ln(M / S), given M - S to full relative accuracy; finite at zero."""
    M_floored, S_floored = floored(M), floored(S)
    is_floored = (M_floored > M) | (S_floored > S)
    excess = jnp.where(is_floored, M_floored - S_floored, excess)
    # ln(M / S) itself loses the digits of a good fit at many counts, which S times it then needs. The sign is
    # a factor because XLA compiles where(excess < 0, -log, log) into branches that take three times as long.
    sign = jnp.where(excess < 0, -1.0, 1.0)
    log = sign * jnp.log1p(jnp.abs(excess) / jnp.minimum(M_floored, S_floored))
    return log + (M - M_floored) * (1 / _floor(M))


def _deviance(excess, M, S):
    """M - S - S ln(M / S), given excess = M - S."""
    return excess - S * _log_ratio(excess, M, S)


def _bounded_deviance(excess, S):
    """The same where M / S cannot be small: a profiled background keeps it above ratio / (1 + ratio)."""
    return excess - S * jnp.log1p(excess / floored(S))


def _divide(numerator, denominator):
    """Quotient of non-negative numbers, 0 where the denominator is 0."""
    positive = denominator > 0
    return jnp.where(positive, numerator / jnp.where(positive, denominator, 1.0), 0.0)


def _differentiated_by(rule, **options):
    """Decorator: the derivatives of the function are those that `rule` writes out."""

    def decorate(function):
        function = jax.custom_jvp(function, **options)
        function.defjvp(rule, symbolic_zeros=True)
        return function

    return decorate


def _directional(partials, tangents):
    """Sum of partial derivatives times tangents, leaving out arguments that do not vary."""
    varying = [p * t for p, t in zip(partials, tangents, strict=True) if not isinstance(t, SymbolicZero)]
    return functools.reduce(jnp.add, varying)


def _cstat_rule(primals, tangents):
    M, S = primals
    partials = 2 * (1 - S / floored(M)), -2 * _log(M, S)
    return _cstat(M, S), _directional(partials, tangents)


@_differentiated_by(_cstat_rule)
def _cstat(M, S):
    return 2 * _deviance(M - S, M, S)


def _log(M, S):
    """ln(M / S) to be differentiated further: only derivatives with respect to counts need it."""
    return jnp.log(floored(M)) - jnp.log(floored(S))


def _wstat_rule(primals, tangents):
    s, S, B, alpha = primals
    b, q = _poisson_profile(*primals)
    partials = 2 * q, -2 * _log(s + alpha * b, S), -2 * _log(b, B), 2 * q * b
    return _wstat(*primals), _directional(partials, tangents)


@_differentiated_by(_wstat_rule)
def _wstat(s, S, B, alpha):
    b, q = _poisson_profile(s, S, B, alpha)
    M = s + alpha * b
    return 2 * (_bounded_deviance(q * M, S) + _bounded_deviance(-alpha * q * b, B))


def _poisson_profile_rule(primals, tangents):
    s, S, B, alpha = primals
    b, q = _poisson_profile(*primals)
    M = s + alpha * b
    w = _divide(S, M)
    u = jnp.where(b > 0, B / _positive(b), 1 + alpha * q)
    # From s = S / (1 - q) - alpha B / (1 + alpha q), multiplied out so that nothing divides by S or B.
    norm = _positive(M * u + alpha**2 * b * w)
    b_partials = -alpha * b * w / norm, alpha * b / norm, M / norm, -b * (q * M + alpha * b * w) / norm
    q_partials = u * w / norm, -u / norm, alpha * w / norm, b * w / norm
    return (b, q), (_directional(b_partials, tangents), _directional(q_partials, tangents))


@_differentiated_by(_poisson_profile_rule)
def _poisson_profile(s, S, B, alpha):
    """Best background b of the W statistic, and q = 1 - S / M, half the gradient.

    With M = s + alpha b the best background has B / b = 1 + alpha q.
    """
    C = alpha * (S + B) - (1 + alpha) * s
    D = jnp.sqrt(C**2 + 4 * alpha * (1 + alpha) * B * s)
    # C + D loses all digits where few background counts meet a bright source; the conjugate root does not.
    bright = C < 0
    b = jnp.where(bright, 2 * B * s, C + D) / jnp.where(bright, D - C, 2 * alpha * (1 + alpha))
    G = alpha * (S + B) + (1 - alpha) * s
    other = G < 0
    q = jnp.where(other, D - G, 2 * (s + alpha * B - S)) / _positive(jnp.where(other, 2 * alpha * s, G + D))
    return b, jnp.where(S > 0, q, 1.0)


def _positive(x):
    return jnp.where(x > 0, x, 1.0)


def _pgstat_rule(primals, tangents):
    s, S, B, sigma, alpha = primals
    b, q = _gaussian_profile(*primals)
    pull = _pull(b, q, B, sigma, alpha)
    slope = jnp.where(b > 0, alpha * q, _divide(pull, sigma))
    partials = 2 * q, -2 * _log(s + alpha * b, S), 2 * slope, -2 * pull * slope, 2 * q * b
    return _pgstat(*primals), _directional(partials, tangents)


@_differentiated_by(_pgstat_rule)
def _pgstat(s, S, B, sigma, alpha):
    b, q = _gaussian_profile(s, S, B, sigma, alpha)
    M = s + alpha * b
    return 2 * _deviance(q * M, M, S) + _pull(b, q, B, sigma, alpha) ** 2


def _pull(b, q, B, sigma, alpha):
    """(B - b) / sigma; that is alpha sigma q, without cancellation, unless the background is held at 0."""
    return jnp.where(b > 0, alpha * sigma * q, _divide(B, sigma))


def _gaussian_profile_rule(primals, tangents):
    s, S, B, sigma, alpha = primals
    b, q = _gaussian_profile(*primals)
    M = s + alpha * b
    w = jnp.where(floored(M) > M, 0.0, _divide(S, M))
    M = floored(M)
    free = b > 0
    # From s = S / (1 - q) + alpha^2 sigma^2 q - alpha B, multiplied out so that nothing divides by S.
    norm = M + jnp.where(free, (alpha * sigma) ** 2, 0.0) * w
    q_partials = (
        w / norm,
        -1 / norm,
        jnp.where(free, alpha * w / norm, 0.0),
        jnp.where(free, -2 * alpha**2 * sigma * q * w / norm, 0.0),
        jnp.where(free, (B - 2 * alpha * sigma**2 * q) * w / norm, 0.0),
    )
    dq = _directional(q_partials, tangents)
    direct = jnp.zeros_like(b), jnp.zeros_like(b), jnp.ones_like(b), -2 * alpha * sigma * q, -(sigma**2) * q
    db = jnp.where(free, _directional(direct, tangents) - alpha * sigma**2 * dq, 0.0)
    return (b, q), (db, dq)


@_differentiated_by(_gaussian_profile_rule)
def _gaussian_profile(s, S, B, sigma, alpha):
    """Best background b >= 0 of the PG statistic, and q = 1 - S / M, half the gradient."""
    width = alpha * sigma
    c = s + alpha * B - width**2
    H = jnp.hypot(c, 2 * width * jnp.sqrt(S))
    other = c < 0
    M = jnp.where(other, 2 * width**2 * S, c + H) / jnp.where(other, H - c, 2.0)
    # q = 1 - S / M would lose the digits of a good fit at many counts.
    g = 2 * S - c
    close = g > 0
    excess = jnp.where(close, 2 * S * (s + alpha * B - S), H - g) / jnp.where(close, g + H, 2.0)
    q = jnp.where(S > 0, excess / floored(M), 1.0)
    b = B - alpha * sigma**2 * q
    at_zero = jnp.where(S > 0, 1 - S / floored(s), 1.0)
    return jnp.where(b > 0, b, 0.0), jnp.where(b > 0, q, at_zero)
