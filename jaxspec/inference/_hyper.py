"""What members of a population have in common: hyper-parameters, and what data say of each member beside them."""

from __future__ import annotations

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jaxspec.density import Density
from jaxspec.priors import Priors
from jaxspec.programs import program
from jaxspec.space import Space

_NEWTON_STEPS = 30  # to the best hyper-parameters, from which chains start


class Local(NamedTuple):
    """What the data of a member say about it, as a normal distribution: exp(linear x - x precision x / 2)."""

    precision: Any  # (n_members, n, n)
    linear: Any  # (n_members, n)


class Natural(NamedTuple):
    """The hyper-parameters by themselves."""

    mean: jax.Array  # of each class and each parameter that scatters, (n_classes, n)
    width: jax.Array  # (n_classes, n)
    fraction: jax.Array  # of the members in each class, (n_classes,)
    factor: jax.Array  # the Cholesky factor of the correlations, the same in all classes, (n, n)
    shared: jax.Array  # what all members have in common, in the unbounded space
    volume: jax.Array  # the logarithm of what a volume of the vector is in these, prior of correlations included


class Hyper(eqx.Module):
    """The hyper-parameters as one vector.

    Means and logarithms of widths; for a mixture those of the second class and the logit of the fraction of the first;
    the correlations by their Cholesky factor; shared parameters in the unbounded space. The second class is the one
    whose mean of the first parameter that has two is larger: what is in the vector is the logarithm of the difference.
    """

    means: tuple[tuple[Priors, ...], ...]  # of each class
    widths: tuple[tuple[Priors, ...], ...]
    fraction: tuple[Priors, ...]
    shared_priors: tuple[Priors, ...]
    shared_space: Space
    log: tuple[bool, ...] = eqx.field(static=True)
    members: tuple[int, ...] = eqx.field(static=True)  # which of the free parameters scatter
    mixed: tuple[int, ...] = eqx.field(static=True)  # which of those as a mixture of two
    shared: tuple[int, ...] = eqx.field(static=True)  # which of the free parameters are the same for all
    correlated: bool = eqx.field(static=True)

    @property
    def n(self) -> int:
        """How many parameters scatter."""
        return len(self.members)

    @property
    def _parts(self) -> list[int]:
        """The lengths of the parts of the vector."""
        m = len(self.mixed)
        return [self.n, self.n, m, m, min(m, 1), self.n * (self.n - 1) // 2 * self.correlated, len(self.shared)]

    @property
    def size(self) -> int:
        """Of the vector."""
        return sum(self._parts)

    def split(self, phi: jax.Array) -> Natural:
        """The hyper-parameters of a vector. The prior of the correlations is flat (LKJ with concentration 1)."""
        mean, log_width, mean_2, log_width_2, logit, partial, shared = jnp.split(phi, np.cumsum(self._parts)[:-1])
        factor, volume = self._correlations(jnp.tanh(partial))
        volume = volume + jnp.sum(log_width) + jnp.sum(log_width_2)
        means, widths = mean[None], jnp.exp(log_width)[None]
        fraction = jnp.ones(1)
        if self.mixed:
            index = jnp.array(self.mixed)
            above = mean_2.at[0].set(mean[self.mixed[0]] + jnp.exp(mean_2[0]))
            means = jnp.stack([mean, mean.at[index].set(above)])
            widths = jnp.stack([widths[0], widths[0].at[index].set(jnp.exp(log_width_2))])
            first = jax.nn.sigmoid(logit)
            fraction = jnp.concatenate([first, 1 - first])
            volume = volume + mean_2[0] + jnp.sum(jnp.log(fraction))
        return Natural(means, widths, fraction, factor, shared, volume + self.shared_space.log_volume(shared))

    def _correlations(self, partial: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The Cholesky factor from partial correlations, and the logarithm of its volume with a flat prior."""
        n, volume = self.n, jnp.zeros(())
        if not self.correlated:
            return jnp.eye(n), volume
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
        return factor, volume

    def log_prior(self, phi: jax.Array) -> jax.Array:
        """Of the vector, its volume included."""
        at = self.split(phi)
        total = at.volume
        for groups, vector in (
            *zip(self.means, at.mean),
            *zip(self.widths, at.width),
            (self.fraction, at.fraction),
            (self.shared_priors, self.shared_space.values(at.shared)),
        ):
            total = sum((group.log_density(vector) for group in groups), total)
        return total

    def roots(self, at: Natural) -> jax.Array:
        """Cholesky factors of the covariances of the classes, (n_classes, n, n)."""
        return at.width[:, :, None] * at.factor


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


class Conditional(NamedTuple):
    """The members' own coordinates if their likelihoods were normal, within one normal population."""

    centre: jax.Array  # (n_members, n_own)
    factor: jax.Array  # Cholesky factors of the precisions, (n_members, n_own, n_own)
    log_evidence: jax.Array  # of each member's data, but for what no hyper-parameter enters


def conditional(hyper: Hyper, local: Local, shared: jax.Array, mean: jax.Array, root: jax.Array) -> Conditional:
    """For a population of this mean and this Cholesky factor of the covariance."""
    n = local.linear.shape[1]
    own, common = own_of(hyper, n), np.array(hyper.shared, int)
    linear = local.linear[:, own] - local.precision[:, own][:, :, common] @ shared
    inverse = jax.scipy.linalg.solve_triangular(root, jnp.eye(hyper.n), lower=True)
    index = np.searchsorted(own, hyper.members)
    block = inverse.T @ inverse
    population = jnp.zeros((len(own), len(own))).at[index[:, None], index[None]].set(block)
    pulled = linear + jnp.zeros(len(own)).at[index].set(block @ mean)
    factor = jnp.linalg.cholesky(local.precision[:, own][:, :, own] + population)
    half = jax.scipy.linalg.solve_triangular(factor, pulled[..., None], lower=True)
    centre = jax.scipy.linalg.solve_triangular(factor, half, lower=True, trans=1)[..., 0]
    fixed = local.linear[:, common] @ shared - 0.5 * (local.precision[:, common][:, :, common] @ shared) @ shared
    volume = jnp.sum(jnp.log(jnp.diag(root))) + 0.5 * mean @ block @ mean
    narrow = jnp.sum(jnp.log(jnp.diagonal(factor, axis1=1, axis2=2)), axis=1)
    return Conditional(centre, factor, 0.5 * jnp.sum(pulled * centre, axis=1) - volume - narrow + fixed)


def own_of(hyper: Hyper, n: int) -> np.ndarray:
    """Which of the n free parameters each member has for itself."""
    return np.array([i for i in range(n) if i not in hyper.shared])


def members_at(hyper: Hyper, local: Local, at: Natural, z: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The members' coordinates x at normal deviates z, and the logarithm of |dx/dz|."""
    centre, root = _around(hyper, local, at)
    n = local.linear.shape[1]
    x = jnp.zeros((len(z), n)).at[:, own_of(hyper, n)].set(centre + jnp.einsum("mij,mj->mi", root, z))
    x = x.at[:, np.array(hyper.shared, int)].set(at.shared)
    return x, jnp.sum(jnp.log(jnp.abs(jnp.diagonal(root, axis1=1, axis2=2))))


def _around(hyper: Hyper, local: Local, at: Natural) -> tuple[jax.Array, jax.Array]:
    """Where members are expected, and triangular roots of their covariances; over classes, each as likely as it is."""
    found = _in_classes(hyper, local, at)
    identity = jnp.broadcast_to(jnp.eye(found.factor.shape[-1]), found.factor.shape)
    roots = jax.scipy.linalg.solve_triangular(found.factor, identity, lower=True, trans=1)  # of inverse precisions
    if not hyper.mixed:
        return found.centre[0], roots[0]
    share = jax.nn.softmax(found.log_evidence + jnp.log(at.fraction)[:, None], axis=0)
    centre = jnp.einsum("cm,cmi->mi", share, found.centre)
    away = found.centre - centre
    covariances = jnp.einsum("cmij,cmkj->cmik", roots, roots) + away[..., None] * away[..., None, :]
    return centre, jnp.linalg.cholesky(jnp.einsum("cm,cmij->mij", share, covariances))


def _in_classes(hyper: Hyper, local: Local, at: Natural) -> Conditional:
    """The conditional of each class, a leading axis."""
    return jax.vmap(lambda mean, root: conditional(hyper, local, at.shared, mean, root))(at.mean, hyper.roots(at))


def log_classes(hyper: Hyper, at: Natural, x: jax.Array) -> jax.Array:
    """The log-density of each member's coordinates in each class, plus ln of its fraction, (n_classes, n_members)."""

    def one(mean: jax.Array, root: jax.Array) -> jax.Array:
        deviates = jax.scipy.linalg.solve_triangular(root, (x[:, np.array(hyper.members)] - mean).T, lower=True)
        return -0.5 * jnp.sum(deviates**2, axis=0) - jnp.sum(jnp.log(jnp.diag(root)))

    densities = jax.vmap(one)(at.mean, hyper.roots(at)) - 0.5 * hyper.n * jnp.log(2 * jnp.pi)
    return densities + jnp.log(at.fraction)[:, None]


@program
def _marginal(hyper: Hyper, local: Local, phi: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Minus the log-posterior of the hyper-parameters if the likelihoods were normal; its gradient and curvature."""

    def cost(phi: jax.Array) -> jax.Array:
        at = hyper.split(phi)
        each = _in_classes(hyper, local, at).log_evidence + jnp.log(at.fraction)[:, None]
        return -(hyper.log_prior(phi) + jnp.sum(jax.scipy.special.logsumexp(each, axis=0)))

    return cost(phi), jax.grad(cost)(phi), jax.hessian(cost)(phi)


def _first_guess(hyper: Hyper, local: Local) -> np.ndarray:
    """A vector from the members' likelihoods, each by itself."""
    precision, linear = np.asarray(local.precision), np.asarray(local.linear)
    best = np.linalg.solve(precision + 1e-3 * np.eye(precision.shape[1]), linear[..., None])[..., 0]
    typical = best[:, list(hyper.members)]

    def middle_and_width(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        middle = np.median(values, axis=0)
        return middle, np.log(np.maximum(1.4826 * np.median(np.abs(values - middle), axis=0), 1e-3))

    mean, width = middle_and_width(typical)
    second = np.empty(0), np.empty(0), np.empty(0)
    if hyper.mixed:
        values = typical[:, hyper.mixed[0]]
        border = np.median(values)
        for _ in range(20):  # the two means
            border = 0.5 * (values[values <= border].mean() + values[values > border].mean())
        low, index = values <= border, list(hyper.mixed)
        (mean[index], width[index]), (above, width_2) = (
            middle_and_width(typical[part][:, index]) for part in (low, ~low)
        )
        above[0] = np.log(max(above[0] - mean[index[0]], 1e-3))
        second = above, width_2, [np.log(low.mean() / (1 - low.mean()))]
    n_correlations = hyper.size - len(hyper.shared) - 2 * hyper.n - sum(map(len, second))
    return np.concatenate(
        [mean, width, *second, np.zeros(n_correlations), np.median(best[:, list(hyper.shared)], axis=0)]
    )


def best_hyper(hyper: Hyper, local: Local) -> tuple[jax.Array, jax.Array]:
    """The hyper-parameters most probable if the likelihoods were normal, and the scale of their posterior, (p, p)."""
    phi = _first_guess(hyper, local)
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
