"""Errors from the curvature at maxima, of one fit or of many at once."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxspec.density import Density
from jaxspec.inference import _optimum
from jaxspec.model import Model
from jaxspec.space import Space

_UNCONSTRAINED = 20.0  # e-folds of the distance to a bound that the error spans
_AT_BOUND = 1e-6  # of the distance between a parameter's bounds, or of its size: so near is at the bound,
_WITHIN_ERROR = 1e-3  # and so near in units of the error with the others held
_UNSEEN = 1e6  # sizes of a parameter that the error with the others held spans: the data do not see it
_FLAT, _PART = 1e-4, 0.3  # a curvature of correlations that counts as zero, and a share in its direction
_LONGEST, _WORTH_IT = 1e-2, 1e-6  # standard deviations, of a last step of Newton's; a shorter one bends nothing
_LAST_STEPS = 2


class Free(NamedTuple):
    """What is known of the free parameters before a fit, each an array or tuple of n."""

    names: tuple[str, ...]
    kinds: tuple[str, ...]  # of the space
    low: np.ndarray
    high: np.ndarray
    width: np.ndarray  # between the bounds; nan without

    @classmethod
    def of(cls, model: Model, space: Space) -> Free:
        rows = model.parameters
        support = np.array([rows[name].support for name in model.free])
        low, high = support.T
        width = high - low
        return cls(model.free, space.kinds, low, high, np.where(np.isfinite(width), width, np.nan))


class Normal(NamedTuple):
    """The normal approximation of many fits, each with a leading axis over them."""

    covariance: np.ndarray  # in the unbounded space; zero for parameters that have no error
    at_bound: np.ndarray  # (n_fits, n) bool
    loose: np.ndarray  # (n_fits, n) bool: the data do not constrain it
    doubtful: np.ndarray  # (n_fits,) bool: the exact curvature is not positive
    mixed: np.ndarray  # (n_fits, n) bool: parameters that the data cannot tell apart

    def troubles(self, i: int, names: Sequence[str]) -> list[str]:
        """What is wrong with one of them, in words."""
        words = [f"{name} lies at its bound" for name, at in zip(names, self.at_bound[i]) if at]
        loose = self.loose[i] & ~self.mixed[i]
        words += [f"the data do not constrain {name}" for name, is_loose in zip(names, loose) if is_loose]
        if self.mixed[i].any():
            alike = " and ".join(name for name, mixed in zip(names, self.mixed[i]) if mixed)
            words.insert(0, f"the data cannot tell {alike} apart: errors are not reliable")
        elif self.doubtful[i]:
            words.insert(0, "the curvature at the maximum is not positive in every direction: errors are not reliable")
        return words


def slope_and_curvature(density: Density, u: jax.Array, target: str) -> tuple[jax.Array, jax.Array]:
    """The exact first and second derivatives of the cost."""

    def slope(point: jax.Array) -> tuple[jax.Array, jax.Array]:
        gradient = jax.grad(lambda at: _optimum.cost(density, at, target))(point)
        return gradient, gradient

    curvature, gradient = jax.jacfwd(slope, has_aux=True)(u)
    return gradient, curvature


slope_and_curvature_of_one = functools.partial(jax.jit, static_argnames="target")(slope_and_curvature)


def refined(derivatives: Any, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The maxima themselves, (n_fits, n), from where climbs within 1e-4 of the errors have stopped; exact curvatures.

    Newton's steps, with the derivatives after each that is worth it; none where the curvature is not a maximum's.

    Args:
        derivatives: called with places among the fits and the points there; gives gradients and exact curvatures.
        u: where the climbs stopped.
    """
    u = np.array(u)
    gradient, exact = (np.array(array) for array in derivatives(np.arange(len(u)), u))
    going = np.ones(len(u), bool)
    for _ in range(_LAST_STEPS):
        covariance, step, square = _newton(gradient, exact)
        short = going & (square <= _WORTH_IT**2)
        u[short] += step[short]
        going &= ~short & (square < _LONGEST**2)
        moved = np.flatnonzero(going)
        if not len(moved):
            break
        before = u[moved], gradient[moved], exact[moved]
        u[moved] += step[moved]
        gradient[moved], exact[moved] = derivatives(moved, u[moved])
        # Of what the data do not constrain a small part of an error leads anywhere: such a step is taken back.
        left = np.einsum("fi,fij,fj->f", gradient[moved], covariance[moved], gradient[moved])
        worse = ~(left < square[moved])
        for new, old in zip((u, gradient, exact), before):
            new[moved[worse]] = old[worse]
        going[moved[worse]] = False
    return u, exact


def _newton(gradient: np.ndarray, exact: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Inverse curvatures, Newton's steps, 0 where not to be trusted, and the squares of their lengths in errors."""
    covariance, doubtful, _ = _inverse(exact, np.tile(np.eye(exact.shape[-1]), (len(exact), 1, 1)))
    step = -np.einsum("fij,fj->fi", covariance, gradient)
    square = -np.einsum("fi,fi->f", step, gradient)
    # Along what the data cannot tell apart, rounding makes a long step of a small part of an error.
    far = np.max(np.abs(step) * np.sqrt(np.abs(np.diagonal(exact, axis1=1, axis2=2))), axis=1) > 1.0
    trusted = ~(doubtful | far) & np.isfinite(square)
    return covariance, np.where(trusted[:, None], step, 0.0), np.where(trusted, square, 0.0)


def normal(
    free: Free, theta: np.ndarray, stretch: np.ndarray, exact: np.ndarray, gauss_newton: np.ndarray, size: np.ndarray
) -> Normal:
    """The normal approximation at maxima.

    A parameter at its bound, or one that the data do not constrain, has no error: the others' are those with it held.

    Args:
        free: the free parameters.
        theta: their values, (n_fits, n).
        stretch: d theta / d u, (n_fits, n).
        exact, gauss_newton: curvatures of the cost, (n_fits, n, n).
        size: of each parameter, (n_fits, n), where it has no two bounds.
    """
    covariance, doubtful, mixed = _inverse(exact, gauss_newton)
    widths = np.sqrt(np.maximum(np.diagonal(covariance, axis1=1, axis2=2), 0.0))
    scale = np.where(np.isfinite(free.width), free.width, np.maximum(np.maximum(np.abs(theta), np.abs(size)), 1e-300))
    near = np.minimum(theta - free.low, free.high - theta)
    # The error with the others held: what the data cannot tell from another parameter is not at its bound.
    alone = np.abs(stretch) / np.sqrt(np.maximum(np.diagonal(exact, axis1=1, axis2=2), 1e-300))
    # Any place is near a bound in units of an error without end.
    unseen = alone > _UNSEEN * scale
    at_bound = near < np.maximum(_AT_BOUND * scale, np.where(unseen, 0.0, _WITHIN_ERROR * alone))
    loose = (unseen | (np.array(free.kinds) != "real") & (widths > _UNCONSTRAINED)) & ~at_bound
    mixed &= (doubtful | np.any(loose & mixed, axis=1))[:, None]
    held = at_bound | loose
    some = held.any(axis=1)
    if some.any():
        covariance[some], doubtful[some], _ = _inverse(
            _without(exact[some], held[some]), _without(gauss_newton[some], held[some])
        )
        covariance[some] *= ~(held[some][:, :, None] | held[some][:, None, :])
    return Normal(covariance, at_bound, loose, doubtful, mixed)


def _without(curvature: np.ndarray, held: np.ndarray) -> np.ndarray:
    """The curvature with some parameters taken out: they have no part in the others' rows."""
    apart = np.where(held[:, :, None] | held[:, None, :], 0.0, curvature)
    return apart + np.einsum("fi,ij->fij", held, np.eye(held.shape[1]))


def _inverse(exact: np.ndarray, gauss_newton: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Inverse curvatures; whether it had to be that of Gauss and Newton; parameters that make up a flat direction."""
    finite, known = (np.all(np.isfinite(each), axis=(1, 2)) for each in (exact, gauss_newton))
    exact = np.where(finite[:, None, None], exact, 0.0)
    gauss_newton = np.where(known[:, None, None], gauss_newton, 0.0)
    scale = np.sqrt(np.maximum(np.abs(np.diagonal(exact, axis1=1, axis2=2)), 1e-300))
    square = scale[:, :, None] * scale[:, None, :]
    values, vectors = np.linalg.eigh(exact / square)
    positive = finite & (np.min(values, axis=1) > 1e-10)
    safe = np.where(positive[:, None], values, 1.0)
    inverse = np.einsum("fik,fk,fjk->fij", vectors, 1 / safe, vectors) / square
    if not positive.all():
        inverse[~positive] = np.linalg.pinv(gauss_newton[~positive], hermitian=True)
    flat = finite & (np.abs(values[:, 0]) < _FLAT)
    mixed = flat[:, None] & (np.abs(vectors[:, :, 0]) > _PART)
    return inverse, ~positive, mixed & (mixed.sum(axis=1, keepdims=True) > 1)
