r"""How good a fit is: expected statistic, residuals in sigma, significance of a source.

Same conventions as `statistics.py`: `expected` source counts, `counts` in the source region, `background`
counts in the background region, `ratio` between them; one value per bin.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from numpy.typing import ArrayLike as NumpyLike

from jaxspec.statistics import cstat, pgstat, profiled_background, profiled_gaussian_background, wstat

_NODES = 64  # counts at which a distribution is summed: all there are up to about 25, evenly spread over more
_REACH = 6.5  # standard deviations that they cover on each side
_BINS_AT_ONCE = 128  # in one call of a compiled program, to which the rest is padded


Array = np.ndarray | jax.Array


class Moments(NamedTuple):
    """What a statistic and its slope do in each bin if the model is true, each (n,).

    The slope is half the derivative with respect to the expected source counts: it says which way the data of a bin
    pull the model, and a fit makes the sum of these pulls zero.
    """

    mean: Array
    variance: Array
    covariance: Array  # of statistic and slope
    slope_variance: Array
    share: Array  # of the statistic that goes with the squared slope: 1 at many counts


def expected_cstat(expected: NumpyLike) -> tuple[np.ndarray, np.ndarray]:
    r"""Mean and variance of the C statistic per bin if the model is true.

    $$E = \sum_k P(k | \mu)\, C(\mu, k), \qquad V = \sum_k P(k | \mu)\, C(\mu, k)^2 - E^2$$

    summed over Poisson counts $k$; above $\mu$ = 100 the series in $1 / \mu$. `expected` $\mu$ is
    all that the bin is expected to hold, background included. With $m$ free parameters fitted the mean of
    the sum is lower by $m$ and its variance by $2 m$.

    **Reference:** Kaastra 2017, A&A 605, A51.
    """
    mu = np.asarray(expected, dtype=float)
    few = np.clip(mu, 0, 100)
    mean, square = np.zeros_like(mu), np.zeros_like(mu)
    # 10 standard deviations and more above the largest of these means.
    largest = few.max(initial=0.0)
    probability = np.exp(-few)
    log = np.log(np.where(few > 0, few, 1.0))
    for k in range(int(largest + 12 * np.sqrt(largest) + 30)):
        if k > 0:
            probability = probability * few / k
        statistic = 2 * (few - k + (k * (np.log(k) - log) if k > 0 else 0.0))
        mean += probability * statistic
        square += probability * statistic**2
    x = 1 / np.maximum(mu, 100)
    many_mean = 1 + x * (1 / 6 + x * (1 / 6 + x * (19 / 60 + x * 9 / 10)))
    many_variance = 2 + x * (2 / 3 + x * (4 / 3 + x * (701 / 180 + x * 449 / 30)))
    return np.where(mu > 100, many_mean, mean), np.where(mu > 100, many_variance, square - mean**2)


def cstat_moments(expected: NumpyLike) -> Moments:
    """Moments of the C statistic, as `expected_cstat`; `expected` counts hold a known background."""
    return _in_batches(_cstat_moments, expected)


def wstat_moments(expected: NumpyLike, expected_background: NumpyLike, ratio: NumpyLike) -> Moments:
    r"""Moments of the W statistic: the sum over all counts $S$ and $B$ in both regions, with their probabilities.

    `expected_background` are the counts expected in the background region. C of all counts in the source region is no
    substitute: W also holds what the background counts deviate, less what the fitted background takes away.
    """
    return _in_batches(_wstat_moments, expected, expected_background, ratio)


def pgstat_moments(
    expected: NumpyLike, expected_background: NumpyLike, background_error: NumpyLike, ratio: NumpyLike
) -> Moments:
    """Moments of the PG statistic: the same for a background with a Gaussian error."""
    return _in_batches(_pgstat_moments, expected, expected_background, background_error, ratio)


def _in_batches(moments: Callable[..., Moments], *arguments: NumpyLike) -> Moments:
    given = np.broadcast_arrays(*(np.atleast_1d(np.asarray(values, float)) for values in arguments))
    n = len(given[0])
    padded = [np.pad(values, (0, -n % _BINS_AT_ONCE), mode="edge") for values in given]
    pieces = [
        moments(*(values[start : start + _BINS_AT_ONCE] for values in padded)) for start in range(0, n, _BINS_AT_ONCE)
    ]
    return Moments(*(np.concatenate(values)[:n] for values in zip(*pieces)))


def _poisson_nodes(mean: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(n, _NODES) counts and their probabilities. A sum over every few counts is as exact, where there are many."""
    mean = mean[:, None]
    width = _REACH * jnp.sqrt(mean)
    first = jnp.floor(jnp.maximum(mean - width, 0.0))
    step = jnp.maximum((mean + width - first) / (_NODES - 1), 1.0)
    k = first + step * jnp.arange(_NODES)
    log = jax.scipy.special.xlogy(k, mean) - mean - jax.scipy.special.gammaln(k + 1)
    weights = jnp.exp(log)
    return k, weights / jnp.sum(weights, axis=1, keepdims=True)


def _weighted(statistic: jax.Array, slope: jax.Array, weights: jax.Array) -> Moments:
    """Moments from values over all axes but the first."""

    def mean(values: jax.Array) -> jax.Array:
        return jnp.sum(values * weights, axis=tuple(range(1, values.ndim)))

    centre, slant = mean(statistic), mean(slope)
    shape = (-1,) + (1,) * (statistic.ndim - 1)
    statistic, slope = statistic - centre.reshape(shape), slope - slant.reshape(shape)
    variance = mean(slope**2)
    # The part of the squared slope that is uncorrelated with the slope.
    along = jnp.where(variance > 0, mean(slope**3) / jnp.where(variance > 0, variance, 1.0), 0.0)
    square = slope**2 - along.reshape(shape) * slope - variance.reshape(shape)
    spread = mean(square**2)
    share = variance * mean(statistic * square) / jnp.where(spread > 0, spread, 1.0)
    return Moments(centre, mean(statistic**2), mean(statistic * slope), variance, share)


def _slope(total: jax.Array, counts: jax.Array) -> jax.Array:
    return 1 - jnp.where(counts > 0, counts / jnp.where(total > 0, total, 1.0), 0.0)


@jax.jit
def _cstat_moments(expected: jax.Array) -> Moments:
    counts, weights = _poisson_nodes(expected)
    expected = expected[:, None]
    return _weighted(cstat(expected, counts), _slope(expected, counts), weights)


@jax.jit
def _wstat_moments(expected: jax.Array, expected_background: jax.Array, ratio: jax.Array) -> Moments:
    counts, weights = _poisson_nodes(expected + ratio * expected_background)
    background, weights_behind = _poisson_nodes(expected_background)
    s, alpha = expected[:, None, None], ratio[:, None, None]
    S, B = counts[:, :, None], background[:, None, :]
    slope = _slope(s + alpha * profiled_background(s, S, B, alpha), S)
    return _weighted(wstat(s, S, B, alpha), slope, weights[:, :, None] * weights_behind[:, None, :])


@jax.jit
def _pgstat_moments(
    expected: jax.Array, expected_background: jax.Array, background_error: jax.Array, ratio: jax.Array
) -> Moments:
    counts, weights = _poisson_nodes(expected + ratio * expected_background)
    deviations = jnp.linspace(-_REACH, _REACH, _NODES)
    normal = jax.nn.softmax(-0.5 * deviations**2)
    s, sigma, alpha = (x[:, None, None] for x in (expected, background_error, ratio))
    S, B = counts[:, :, None], expected_background[:, None, None] + sigma * deviations
    slope = _slope(s + alpha * profiled_gaussian_background(s, S, B, sigma, alpha), S)
    return _weighted(pgstat(s, S, B, sigma, alpha), slope, weights[:, :, None] * normal)


def of_fit(moments: Moments, jacobian: np.ndarray) -> tuple[float, float]:
    r"""Mean and standard deviation of the smallest statistic of a fit, if its model is true.

    `jacobian` (n, m) are the derivatives of the expected source counts with respect to the m free parameters. With
    $U = \sum_i q_i\, \partial s_i / \partial \theta$ the sum of slopes that a fit makes zero,

    $$E = \sum_i (E_i - h_i r_i), \qquad V = \left[ \sum_i V_i - \mathrm{cov}(C, U)^T\, \mathrm{cov}(U)^{-1}\,
          \mathrm{cov}(C, U) \right] \left(1 - \frac{m}{n} \right) .$$

    with the leverage $h_i$, the share of the variance of $q_i$ that the fit takes up ($\sum_i h_i = m$), and $r_i$, the
    share of the statistic that goes with $q_i^2$. At few counts the statistic goes with the number of counts, which
    the fit has matched: what is left for it to vary is less than the sum of variances. At many counts the covariance
    vanishes, all $r_i$ are 1, and n - m and 2 (n - m) remain.

    **Reference:** moments given the fitted parameters as in McCullagh 1986, J. Am. Stat. Assoc. 81, 104; with
    $r_i = 1$ and without the covariance, Kaastra 2017, A&A 605, A51.
    """
    n, m = jacobian.shape
    jacobian = jacobian / np.maximum(np.max(np.abs(jacobian), axis=0, initial=0.0), 1e-300)
    information = jacobian.T @ (moments.slope_variance[:, None] * jacobian)
    together = jacobian.T @ moments.covariance
    inverse = np.linalg.pinv(information, rcond=1e-10, hermitian=True)
    explained = together @ inverse @ together
    leverage = moments.slope_variance * np.sum(jacobian @ inverse * jacobian, axis=1)
    variance = max(float(np.sum(moments.variance) - explained), 0.0) * max(1 - m / n, 0.0)
    return float(np.sum(moments.mean - leverage * moments.share)), float(np.sqrt(variance))


def cstat_residuals(expected: ArrayLike, counts: ArrayLike) -> jax.Array:
    r"""Signed root of the C statistic, $\mathrm{sign}(S - s) \sqrt{C}$: deviation of Poisson counts in sigma.

    `expected` is everything expected in the bin, a known background included. For a true model the standard
    deviation is 1 from a few counts on.
    """
    return _signed_root(cstat(expected, counts), jnp.asarray(counts) - expected)


def wstat_residuals(expected: ArrayLike, counts: ArrayLike, background: ArrayLike, ratio: ArrayLike) -> jax.Array:
    r"""Signed root of the W statistic: deviation of the counts from source and measured background, in sigma.

    The measured background is taken as uncertain, the model is not: treating the model as more measured
    background, as Li & Ma's formula on its own would, gives a true model a standard deviation down to 0.71.
    """
    excess = jnp.asarray(counts) - expected - jnp.asarray(ratio) * background
    return _signed_root(wstat(expected, counts, background, ratio), excess)


def pgstat_residuals(
    expected: ArrayLike,
    counts: ArrayLike,
    background: ArrayLike,
    background_error: ArrayLike,
    ratio: ArrayLike,
) -> jax.Array:
    """Signed root of the PG statistic: as `wstat_residuals` for a background with a Gaussian error."""
    excess = jnp.asarray(counts) - expected - jnp.asarray(ratio) * background
    return _signed_root(pgstat(expected, counts, background, background_error, ratio), excess)


def li_ma(on: ArrayLike, off: ArrayLike, ratio: ArrayLike) -> jax.Array:
    r"""Significance in sigma of `on` counts over `off` background counts, negative for a deficit.

    $$S = \sqrt{2} \left\{ N_\mathrm{on} \ln \left[ \frac{1 + \alpha}{\alpha}
          \frac{N_\mathrm{on}}{N_\mathrm{on} + N_\mathrm{off}} \right]
          + N_\mathrm{off} \ln \left[ (1 + \alpha)
          \frac{N_\mathrm{off}}{N_\mathrm{on} + N_\mathrm{off}} \right] \right\}^{1/2}$$

    **Reference:** Li & Ma 1983, ApJ 272, 317, eq. 17.
    """
    return wstat_residuals(0.0, on, off, ratio)


def gaussian_significance(
    counts: ArrayLike, background: ArrayLike, background_error: ArrayLike, ratio: ArrayLike = 1.0
) -> jax.Array:
    r"""Significance in sigma of counts over a background with a Gaussian error, negative for a deficit.

    $$S = \sqrt{2} \left[ n \ln \frac{n}{b} + \frac{(b - B)^2}{2 \sigma^2} + b - n \right]^{1/2}, \quad
      b = \tfrac{1}{2} \left( B - \sigma^2 + \sqrt{B^2 - 2 B \sigma^2 + 4 n \sigma^2 + \sigma^4} \right)$$

    **Reference:** Vianello 2018, ApJS 236, 17.
    """
    return pgstat_residuals(0.0, counts, background, background_error, ratio)


def _signed_root(statistic, excess):
    # Rounding may leave the statistic of a perfect fit just below 0.
    return jnp.sign(excess) * jnp.sqrt(jnp.maximum(statistic, 0.0))
