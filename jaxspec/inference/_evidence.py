"""Evidences from draws of a posterior, by bridge sampling."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from jaxspec.quadrature import spread_normally

_ITERATIONS = 50


def bridged(
    u: np.ndarray, costs: np.ndarray, cost_at: Callable[[np.ndarray], np.ndarray], ess: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """ln of the evidences of many posteriors, and their errors, both (n_spectra,).

    A normal distribution is fitted to the first half of the draws; the second half and points of that distribution give
    the ratio of the two normalisations by the optimal bridge. Exact where the posterior is normal in the unbounded
    space; elsewhere unbiased for many draws, with an error that says how far the two distributions overlap.

    Args:
        u: draws in the unbounded space, (n_spectra, chains, draws, n).
        costs: minus the log-density that was sampled, prior included, at each, (n_spectra, chains, draws).
        cost_at: the same at points (n_spectra, n_points, n).
        ess: effective number of draws, (n_spectra,).

    **Reference:** Meng & Wong 1996, Stat. Sinica 6, 831, eq. 4.1; the error is that of Fruehwirth-Schnatter 2004,
    Econom. J. 7, 143.
    """
    many, chains, n_draws, n = u.shape
    half = n_draws // 2
    first, second = u[:, :, :half].reshape(many, -1, n), u[:, :, half:].reshape(many, -1, n)
    centre = first.mean(axis=1, keepdims=True)
    away = first - centre
    values, vectors = np.linalg.eigh(np.einsum("sdi,sdj->sij", away, away) / away.shape[1])
    widths = np.sqrt(np.maximum(values, 1e-30))
    deviates = spread_normally(second.shape[1], n)
    points = centre + np.einsum("sij,dj->sdi", vectors * widths[:, None], deviates)
    volume = np.sum(np.log(widths), axis=1, keepdims=True) + 0.5 * n * np.log(2 * np.pi)
    back = np.einsum("sdi,sij->sdj", second - centre, vectors) / widths[:, None]
    at_draws = -costs[:, :, half:].reshape(many, -1) + 0.5 * np.sum(back**2, axis=2) + volume
    at_points = -cost_at(points) + 0.5 * np.sum(deviates**2, axis=1) + volume
    at_points = np.where(np.isnan(at_points), -np.inf, at_points)
    return _optimal_bridge(at_draws, at_points, np.clip(ess / (chains * n_draws), 1e-3, 1.0)[:, None])


def _optimal_bridge(
    at_draws: np.ndarray, at_points: np.ndarray, efficiency: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """From ln of (density / normal) at independent draws of each: the iteration to the best bridge."""
    shift = np.median(at_draws, axis=1, keepdims=True)
    seen, drawn = (np.exp(np.clip(array - shift, -500.0, 500.0)) for array in (at_draws, at_points))
    share = efficiency / (1 + efficiency)  # of the posterior's draws among all
    ratio = np.ones_like(shift)
    for _ in range(_ITERATIONS):
        top = np.mean(drawn / (share * drawn + (1 - share) * ratio), axis=1, keepdims=True)
        ratio = top / np.mean(1 / (share * seen + (1 - share) * ratio), axis=1, keepdims=True)
    of_points = drawn / (share * drawn + (1 - share) * ratio)
    of_draws = ratio / (share * seen + (1 - share) * ratio)
    number = at_draws.shape[1]
    variances = [
        each.var(axis=1) / each.mean(axis=1) ** 2 / (number * part)
        for each, part in ((of_points, 1.0), (of_draws, efficiency[:, 0]))
    ]
    return (shift + np.log(ratio))[:, 0], np.sqrt(sum(variances))
