"""What members of a population have in common: hyper-parameters, and what data say of each member beside them."""

from __future__ import annotations

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jaxspec._setup import program
from jaxspec.density import Density
from jaxspec.priors import Priors

_NEWTON_STEPS = 30  # to the best hyper-parameters, from which chains start


class Local(NamedTuple):
    """What the data of a member say about it, as a normal distribution: exp(linear x - x precision x / 2)."""

    precision: Any  # (n_members, n, n)
    linear: Any  # (n_members, n)


class Hyper(eqx.Module):
    """The hyper-parameters as one vector: means, logarithms of widths, and correlations by their Cholesky factor."""

    means: tuple[Priors, ...]
    widths: tuple[Priors, ...]
    log: tuple[bool, ...] = eqx.field(static=True)
    members: tuple[int, ...] = eqx.field(static=True)  # which of the free parameters scatter
    correlated: bool = eqx.field(static=True)

    @property
    def n(self) -> int:
        """How many parameters scatter."""
        return len(self.members)

    @property
    def size(self) -> int:
        """Of the vector."""
        return 2 * self.n + (self.n * (self.n - 1) // 2 if self.correlated else 0)

    def split(self, phi: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
        """Means, widths, the Cholesky factor of the correlations, and the logarithm of its volume and prior.

        The prior of the correlations is flat (LKJ with concentration 1).
        """
        n = self.n
        mean, width, volume = phi[:n], jnp.exp(phi[n : 2 * n]), jnp.sum(phi[n : 2 * n])
        if not self.correlated:
            return mean, width, jnp.eye(n), volume
        partial = jnp.tanh(phi[2 * n :])
        factor = jnp.zeros((n, n)).at[0, 0].set(1.0)
        place = 0
        for i in range(1, n):
            left = jnp.ones(())
            for j in range(i):
                factor = factor.at[i, j].set(partial[place] * jnp.sqrt(left))
                # Of flat correlation matrices the partial ones are beta variates (Lewandowski et al. 2009).
                volume = volume + (1 + 0.5 * (n - 2 - j)) * jnp.log1p(-(partial[place] ** 2))
                left = left * (1 - partial[place] ** 2)
                place += 1
            factor = factor.at[i, i].set(jnp.sqrt(left))
        return mean, width, factor, volume

    def log_prior(self, phi: jax.Array) -> jax.Array:
        """Of the vector, its volume included."""
        mean, width, _, volume = self.split(phi)
        return sum((each.log_density(mean) for each in self.means), volume) + sum(
            (each.log_density(width) for each in self.widths), jnp.zeros(())
        )

    def precision(self, phi: jax.Array, n: int) -> tuple[jax.Array, jax.Array]:
        """The inverse covariance of the members among all n free parameters, and its product with the mean."""
        mean, width, factor, _ = self.split(phi)
        root = jax.scipy.linalg.solve_triangular(width[:, None] * factor, jnp.eye(self.n), lower=True)
        block = root.T @ root
        index = jnp.array(self.members)
        whole = jnp.zeros((n, n)).at[index[:, None], index[None]].set(block)
        return whole, jnp.zeros(n).at[index].set(block @ mean)


def coordinates_at(density: Density, hyper: Hyper, theta: jax.Array, u: jax.Array) -> jax.Array:
    """A member's coordinates: the parameter or its logarithm where it scatters, else that of the unbounded space."""
    x = u
    for member, log in zip(hyper.members, hyper.log):
        x = x.at[member].set(jnp.log(theta[member]) if log else theta[member])
    return x


def parameters_at(density: Density, hyper: Hyper, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The free parameters at a member's coordinates, and whether they lie inside their bounds."""
    theta = density.space.values(x)
    for member, log in zip(hyper.members, hyper.log):
        theta = theta.at[member].set(jnp.exp(x[member]) if log else x[member])
    clipped = density.space.clip(theta)
    return clipped, jnp.all(clipped == theta)


def conditional(hyper: Hyper, local: Local, phi: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Of all members, where data and population expect them: means, and Cholesky factors of the precision."""
    population, pull = hyper.precision(phi, local.linear.shape[1])
    factor = jnp.linalg.cholesky(local.precision + population)
    half = jax.scipy.linalg.solve_triangular(factor, (local.linear + pull)[..., None], lower=True)
    return jax.scipy.linalg.solve_triangular(factor, half, lower=True, trans=1)[..., 0], factor


def members_at(hyper: Hyper, local: Local, phi: jax.Array, z: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The members' coordinates x at normal deviates z, and the logarithm of |dx/dz|."""
    centre, factor = conditional(hyper, local, phi)
    offset = jax.scipy.linalg.solve_triangular(factor, z[..., None], lower=True, trans=1)[..., 0]
    return centre + offset, -jnp.sum(jnp.log(jnp.diagonal(factor, axis1=1, axis2=2)))


def log_population(hyper: Hyper, phi: jax.Array, x: jax.Array) -> jax.Array:
    """The log-density of all members' coordinates in the population."""
    mean, width, factor, _ = hyper.split(phi)
    away = (x[:, jnp.array(hyper.members)] - mean) / width
    deviates = jax.scipy.linalg.solve_triangular(factor, away.T, lower=True)
    volume = jnp.sum(jnp.log(width)) + jnp.sum(jnp.log(jnp.diag(factor)))
    return -0.5 * jnp.sum(deviates**2) - len(x) * (volume + 0.5 * hyper.n * jnp.log(2 * jnp.pi))


@program
def _marginal(hyper: Hyper, local: Local, phi: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Minus the log-posterior of the hyper-parameters if the likelihoods were normal; its gradient and curvature."""

    def cost(phi: jax.Array) -> jax.Array:
        centre, factor = conditional(hyper, local, phi)
        population, pull = hyper.precision(phi, local.linear.shape[1])
        mean, width, correlation, _ = hyper.split(phi)
        explained = 0.5 * jnp.sum((local.linear + pull) * centre)
        index = jnp.array(hyper.members)
        own = population[index[:, None], index[None]]
        volume = jnp.sum(jnp.log(width)) + jnp.sum(jnp.log(jnp.diag(correlation)))
        each = -volume - 0.5 * mean @ own @ mean
        narrow = jnp.sum(jnp.log(jnp.diagonal(factor, axis1=1, axis2=2)))
        return -(hyper.log_prior(phi) + len(centre) * each + explained - narrow)

    return cost(phi), jax.grad(cost)(phi), jax.hessian(cost)(phi)


def best_hyper(hyper: Hyper, local: Local) -> tuple[jax.Array, jax.Array]:
    """The hyper-parameters most probable if the likelihoods were normal, and the scale of their posterior, (p, p)."""
    index = np.array(hyper.members)
    precision = np.asarray(local.precision)
    n = precision.shape[1]
    typical = np.linalg.solve(precision + 1e-3 * np.eye(n), np.asarray(local.linear)[..., None])[:, index, 0]
    phi = np.zeros(hyper.size)
    phi[: hyper.n] = np.median(typical, axis=0)
    spread = np.median(np.abs(typical - phi[: hyper.n]), axis=0) * 1.4826
    phi[hyper.n : 2 * hyper.n] = np.log(np.maximum(spread, 1e-3))
    value, gradient, curvature = (np.asarray(array) for array in _marginal(hyper, local, phi))
    damping = 1e-2
    for _ in range(_NEWTON_STEPS):
        values, vectors = np.linalg.eigh(curvature)
        step = -vectors @ ((vectors.T @ gradient) / (np.maximum(np.abs(values), 1e-3) * (1 + damping)))
        trial = phi + np.clip(step, -1.0, 1.0)
        found = [np.asarray(array) for array in _marginal(hyper, local, trial)]
        if np.isfinite(found[0]) and found[0] <= value:
            phi, (value, gradient, curvature), damping = trial, found, damping / 5
        else:
            damping = 4 * damping + 1e-1
        if np.abs(gradient @ step) < 1e-6:
            break
    values, vectors = np.linalg.eigh(curvature)
    return jnp.asarray(phi), jnp.asarray(vectors / np.sqrt(np.maximum(values, 0.1)))
