r"""Chi-squared, and the variances that go with it.

Same conventions as `statistics.py`: `expected` source counts $s$, `counts` $S$ in the source region, `background` $B$
in the background region, `ratio` $\alpha$ between them; one value per bin. Variances that the data alone decide are
numpy arrays, made once; what depends on the model is for JAX.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from numpy.typing import ArrayLike as NumpyLike

from jaxspec.statistics import as_arrays, cost_below_zero, floored, not_negative

VARIANCES = ("data", "model", "gehrels", "churazov")
NEIGHBOURS = 2  # on either side, in Churazov's mean


def chi2(
    expected: ArrayLike,
    counts: ArrayLike,
    variance: ArrayLike,
    background: ArrayLike = 0.0,
    ratio: ArrayLike = 0.0,
    systematic: ArrayLike = 0.0,
) -> jax.Array:
    r"""Chi-squared of the background-subtracted counts: $(S - \alpha B - s)^2 / (\sigma^2 + (f s)^2)$.

    `variance` $\sigma^2$ is that of the net counts: given errors squared, or one of the functions below.
    `systematic` $f$ is a fraction of the model; a fraction of the data (the column SYS_ERR) is the caller's
    to add to the variance. Negative expected counts are as good as others.

    **Reference:** XSPEC manual, commands weight and systematic.
    """
    s, S, variance, B, alpha, f = as_arrays(expected, counts, variance, background, ratio, systematic)
    return (S - alpha * B - s) ** 2 / (variance + (f * s) ** 2)


def chi2_model(
    expected: ArrayLike, net_counts: ArrayLike, added_variance: ArrayLike = 0.0, systematic: ArrayLike = 0.0
) -> jax.Array:
    r"""Chi-squared with the variance that the model predicts: $(D - s)^2 / (s + v + (f s)^2)$.

    It is evaluated anew with every model. `net_counts` $D = S - \alpha B$; `added_variance` $v$ is what the source
    counts do not bring, $\alpha B + \alpha^2 \sigma_B^2$ of the background and systematic errors that are a fraction of
    the data; `systematic` $f$ as in `chi2`. A negative expectation is taken as 0 and costs another 1000 per count below
    zero, as in the Poisson statistics: it has no variance.

    It has no saturated part: the logarithm of the variance, left out as usual, is no constant. So it favours bright
    models, and is no likelihood to compare with that of another statistic.

    **Reference:** XSPEC manual, command weight (model); Sherpa, chi2modvar.
    """
    s, D, v, f = as_arrays(expected, net_counts, added_variance, systematic)
    source = not_negative(s)
    return chi2(source, D, floored(source + v), systematic=f) + cost_below_zero(s)


def chi2_saturated(variance: ArrayLike) -> jax.Array:
    r"""Gaussian log-likelihood of a perfect fit: $-\ln(2 \pi \sigma^2) / 2$ per bin."""
    (variance,) = as_arrays(variance)
    return -0.5 * jnp.log(2 * math.pi * variance)


def flux_points(
    expected: ArrayLike, values: ArrayLike, below: ArrayLike, above: ArrayLike, upper_limit: ArrayLike
) -> jax.Array:
    r"""Chi-squared of measured fluxes, and for upper limits the probability of a measurement below them.

    $(f - s)^2 / \sigma^2$ with the error on the side of the model, `above` where $s > f$; where `upper_limit` is 1,
    $-2 \ln \Phi[(f - s) / \sigma]$ with the cumulative normal distribution $\Phi$.

    **Reference:** Sawicki 2012, PASP 124, 1208, eq. 8 (upper limits).
    """
    s, f, below, above, limit = as_arrays(expected, values, below, above, upper_limit)
    deviation = (f - s) / jnp.where(s > f, above, below)
    # Each branch sees only what it is for: the square of a model far above a limit is of no use to its derivative.
    squared = jnp.where(limit > 0, 0.0, deviation) ** 2
    return squared - 2 * limit * jax.scipy.special.log_ndtr(jnp.where(limit > 0, deviation, 0.0))


def flux_points_saturated(below: ArrayLike, above: ArrayLike, upper_limit: ArrayLike) -> jax.Array:
    r"""Log-likelihood of a perfect fit: that of two half normal distributions joined at the peak, 0 for a limit."""
    below, above, limit = as_arrays(below, above, upper_limit)
    return jnp.where(limit > 0, 0.0, -jnp.log(math.sqrt(math.pi / 2) * (below + above)))


def data_variance(counts: NumpyLike, background: NumpyLike | None = None, ratio: NumpyLike = 1.0) -> np.ndarray:
    r"""Variance of the net counts from the counts themselves, by XSPEC's rule for zeros.

    $S + \alpha^2 B$; where both are 0, the smaller of 1 and $\alpha^2$ (1 without a background).

    **Reference:** XSPEC manual, command weight (standard); Sherpa, chi2xspecvar.
    """
    S, B, alpha = _arrays(counts, background, ratio)
    variance = S + alpha**2 * B
    empty = 1.0 if background is None else np.minimum(1.0, alpha**2)
    return np.where(variance > 0, variance, empty)


def gehrels_variance(counts: NumpyLike, background: NumpyLike | None = None, ratio: NumpyLike = 1.0) -> np.ndarray:
    r"""Variance from Gehrels' upper limits, $(1 + \sqrt{S + 3/4})^2$, plus $\alpha^2$ times a background's.

    Larger than the true one: chi-squared per degree of freedom comes out well below 1 at low counts.

    **Reference:** Gehrels 1986, ApJ 303, 336, eq. 7.
    """
    S, B, alpha = _arrays(counts, background, ratio)
    variance = (1 + np.sqrt(S + 0.75)) ** 2
    return variance if background is None else variance + alpha**2 * (1 + np.sqrt(B + 0.75)) ** 2


def churazov_variance(
    counts: NumpyLike,
    background: NumpyLike | None = None,
    ratio: NumpyLike = 1.0,
    *,
    neighbours: int = NEIGHBOURS,
) -> np.ndarray:
    """Variance from the mean over each bin (last axis) and its `neighbours` on both sides.

    Hardly correlated with the bin's own fluctuation, which biases a fit with `data_variance`. XSPEC does
    not say how many channels it averages.

    **Reference:** Churazov et al. 1996, ApJ 471, 673.
    """
    S, B, alpha = _arrays(counts, background, ratio)
    smooth = moving_mean(S, neighbours)
    return data_variance(smooth, None if background is None else moving_mean(B, neighbours), alpha)


def moving_mean(values: np.ndarray, neighbours: int = NEIGHBOURS) -> np.ndarray:
    """The mean over each element (last axis) and its neighbours on both sides, as many as there are."""
    n = values.shape[-1]
    sums = np.concatenate([np.zeros((*values.shape[:-1], 1)), np.cumsum(values, axis=-1)], axis=-1)
    first, last = np.maximum(np.arange(n) - neighbours, 0), np.minimum(np.arange(n) + neighbours + 1, n)
    return (sums[..., last] - sums[..., first]) / (last - first)


def _arrays(counts: NumpyLike, background: NumpyLike | None, ratio: NumpyLike) -> list[np.ndarray]:
    given = (counts, 0.0 if background is None else background, ratio)
    return list(np.broadcast_arrays(*(np.asarray(values, float) for values in given)))
