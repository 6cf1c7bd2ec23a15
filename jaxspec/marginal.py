r"""Poisson counts over a Poisson background that is integrated out, where `wstat` maximises over it.

Same conventions as `statistics.py`: `expected` source counts $s$, `counts` $S$ in the source region, `background` $B$
in the background region, `ratio` $\alpha$ between them; one value per bin.

The integral is a polynomial in $s$ times $e^{-s}$. Its coefficients hold the data and are made once; how many there
are is static, so a caller rounds it up (`terms_for`) to meet few different numbers.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from numpy.typing import ArrayLike as NumpyLike

from jaxspec.statistics import as_arrays, cost_below_zero, floored, not_negative

_NEVER = -1e30  # logarithm of a coefficient that is 0: infinities would make derivatives NaN


def lstat(expected: ArrayLike, counts: ArrayLike, background: ArrayLike, ratio: ArrayLike, *, terms: int) -> jax.Array:
    r"""L statistic, minus twice the log-likelihood of `wstat`'s data with the background integrated out.

    $$p(S, B | s) = \int_0^\infty db\, P(S | s + \alpha b)\, P(B | b) = e^{-s} \sum_{j=0}^{S} \frac{s^j}{j!}
      \frac{\alpha^{S - j}}{(1 + \alpha)^{S + B - j + 1}} \frac{(S + B - j)!}{(S - j)!\, B!}$$

    The prior of each bin's background is flat. Normalised already, so it has no saturated part and is not 0
    for a perfect fit. `terms` is the largest count plus one, or more; the cost is proportional to it. It has
    derivatives with respect to `expected` and `ratio`. In faint spectra it is biased more than `wstat`.

    **Reference:** Loredo 1992, in Statistical Challenges in Modern Astronomy; XSPEC manual, lstat.
    """
    return lstat_of(expected, lstat_coefficients(counts, background, ratio, terms=terms))


def lstat_of(expected: ArrayLike, coefficients: ArrayLike) -> jax.Array:
    """The L statistic from the logarithms of its coefficients, shape (..., terms); see `lstat_coefficients`."""
    s, c = jnp.asarray(expected, float), jnp.asarray(coefficients)
    source = not_negative(s)
    return -2 * (_log_polynomial(source, c) - source) + cost_below_zero(s)


def lstat_coefficients(counts: ArrayLike, background: ArrayLike, ratio: ArrayLike, *, terms: int) -> jax.Array:
    """Logarithms of what multiplies $s^j$ in the sum of `lstat`, for j < `terms` along a new last axis."""
    S, B, alpha = (x[..., None] for x in as_arrays(counts, background, ratio))
    j = jnp.arange(terms, dtype=S.dtype)
    rest = jnp.maximum(S - j, 0.0)
    log_factorial = jax.scipy.special.gammaln
    log = (
        rest * jnp.log(floored(alpha))  # counts where neither source nor background is expected must cost finitely
        - (rest + B + 1) * jnp.log1p(alpha)
        + log_factorial(rest + B + 1)
        - log_factorial(rest + 1)
        - log_factorial(B + 1)
        - log_factorial(j + 1)
    )
    return jnp.where(j <= S, jnp.maximum(log, _NEVER), _NEVER)


def terms_for(counts: NumpyLike) -> int:
    """The smallest power of two above the largest count: so many terms `lstat` sums."""
    return 1 << int(np.max(counts, initial=0)).bit_length()


def _derivative(c: jax.Array) -> jax.Array:
    """The logarithms of the coefficients of a polynomial's derivative."""
    log = jnp.log(jnp.arange(1, c.shape[-1], dtype=c.dtype))
    return jnp.concatenate([c[..., 1:] + log, jnp.full_like(c[..., :1], _NEVER)], axis=-1)


@jax.custom_jvp
def _log_polynomial(s: jax.Array, c: jax.Array) -> jax.Array:
    """ln sum_j exp(c_j) s^j. Its derivative is a ratio of two such sums: the one that s^j gives is 0 / 0 at s = 0."""
    powers = jax.scipy.special.xlogy(jnp.arange(c.shape[-1], dtype=c.dtype), s[..., None])
    return jax.nn.logsumexp(c + powers, axis=-1)


@_log_polynomial.defjvp  # pyright: ignore[reportFunctionMemberAccess]
def _(primals, tangents):
    s, c = primals
    log = _log_polynomial(s, c)
    slope = jnp.exp(_log_polynomial(s, _derivative(c)) - log)
    powers = jax.scipy.special.xlogy(jnp.arange(c.shape[-1], dtype=c.dtype), s[..., None])
    shares = jnp.exp(c + powers - log[..., None])
    return log, slope * tangents[0] + jnp.sum(shares * tangents[1], axis=-1)
