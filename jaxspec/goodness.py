r"""How good a fit is: expected statistic, residuals in sigma, significance of a source.

Same conventions as `statistics.py`: `expected` source counts, `counts` in the source region, `background`
counts in the background region, `ratio` between them; one value per bin.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from numpy.typing import ArrayLike as NumpyLike

from jaxspec.statistics import cstat, pgstat, wstat


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
