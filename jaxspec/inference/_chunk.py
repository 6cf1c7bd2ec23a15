"""A chunk of a population: spectra that are stacked, fitted and reported together."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxspec.density import Density
from jaxspec.inference import _optimum
from jaxspec.inference._curvature import Free, normal, refined, slope_and_curvature
from jaxspec.inference._draws import sample_stacked
from jaxspec.inference._task import Task, fluxes_at
from jaxspec.inference._together import in_pieces, maxima
from jaxspec.programs import program
from jaxspec.results._catalogue import observations_of
from jaxspec.results._rows import FitRows, Rows
from jaxspec.space import Space
from jaxspec.stack import Stacked, Stacker


def run_chunk(task: Task) -> Rows:
    """Fits or samples the spectra of a chunk."""
    stacker, entries, trouble = Stacker(task.model), [], []
    for entry in task.entries:
        try:
            entries.append(stacker.seen(observations_of(entry)))
            trouble.append("")
        except Exception as error:  # whatever is wrong with one spectrum must not stop the others
            entries.append(None)
            trouble.append(f"{type(error).__name__}: {error}")
    rows = task.failed(trouble)
    good = np.array([i for i, entry in enumerate(entries) if entry is not None], int)
    if len(good):
        values = {name: column[good] for name, column in task.values.items()}
        for group, stacked in stacker.stacks([entries[i] for i in good], values):
            if task.sampling is None:
                rows.put(good[group], _fit_stacked(task, stacker.space, stacked))
            else:
                rows.put(good[group], sample_stacked(task, stacked, task.first + good[group]))
    for i in good:
        seen = observations_of(task.entries[i])
        times = [(o.start, o.stop) for o in seen if o.start is not None and o.stop is not None]
        if times:
            rows.start[i], rows.stop[i] = min(a for a, _ in times), max(b for _, b in times)
    return rows


def _fit_stacked(task: Task, space: Space, stacked: Stacked) -> FitRows:
    free = Free.of(task.model, space)
    best = maxima(stacked, task.target)
    errors, u = _normal(task, free, stacked, best)
    statistic, values, slopes, fluxes, flux_slopes = in_pieces(_report, stacked, u, shared=(task.flux_bands,))
    variances = np.einsum("sij,spi,spj->sp", errors.covariance, slopes, slopes)
    flux_variances = np.einsum("sij,spi,spj->sp", errors.covariance, flux_slopes, flux_slopes)
    converged = best.gain < _optimum.TOLERANCE
    names, trouble = task.model.free, []
    for i in range(len(stacked)):
        words = errors.troubles(i, names)
        if not converged[i]:
            words.insert(0, f"the climb stopped after {best.steps[i]} steps")
        trouble.append("; ".join(words))
    return FitRows(
        u=u,
        covariance_u=errors.covariance,
        values=values,
        errors=np.where(variances > 0, np.sqrt(np.maximum(variances, 0.0)), np.nan),
        statistic=statistic,
        log_likelihood=stacked.saturated - 0.5 * statistic,
        n_bins=stacked.sizes,
        converged=converged,
        fluxes=fluxes * task.flux_factors,
        flux_errors=np.sqrt(np.maximum(flux_variances, 0.0)) * task.flux_factors,
        start=np.full(len(stacked), np.nan),
        stop=np.full(len(stacked), np.nan),
        trouble=np.array(trouble, object),
    )


def _normal(task: Task, free: Free, stacked: Stacked, best: _optimum.Optimum) -> Any:
    def derivatives(index: np.ndarray, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return in_pieces(_derivatives, stacked.rows(index), u, static=(task.target,), out_of=len(stacked))

    u, exact = refined(derivatives, best.u)
    theta, stretch, size = in_pieces(_parameters, stacked, u)
    return normal(free, theta, stretch, exact, np.asarray(best.curvature), size), u


@functools.partial(program, static_argnums=2)
def _derivatives(stacked: Stacked, u: jax.Array, target: str) -> tuple[jax.Array, jax.Array]:
    return stacked.each(lambda density, at: slope_and_curvature(density, at, target), u)


@program
def _parameters(stacked: Stacked, u: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The free parameters, their derivatives, and those of the model."""

    def one(density: Density, at: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        of_model = density.layout.values[jnp.asarray(density.layout.free, int)]
        return *jax.jvp(density.space.values, (at,), (jnp.ones_like(at),)), of_model

    return stacked.each(one, u)


@program
def _report(stacked: Stacked, u: jax.Array, bands: list[jax.Array] | None) -> tuple[jax.Array, ...]:
    """Statistic, all parameters, their derivatives in u, fluxes (bands by sources), and theirs."""

    def one(density: Density, at: jax.Array) -> tuple[jax.Array, ...]:
        def outcomes(at: jax.Array) -> Any:
            values = density.layout.all_values(density.space.values(at))
            fluxes = fluxes_at(density, values, bands)
            return (values, fluxes), (values, fluxes)

        (slopes, flux_slopes), (values, fluxes) = jax.jacfwd(outcomes, has_aux=True)(at)
        expected = density.expected_counts(density.layout.fill(density.space.values(at)))
        return jnp.sum(density.statistic_per_bin(expected)), values, slopes, fluxes, flux_slopes

    return stacked.each(one, u)
