"""The space without bounds, priors by quantile and density, derivatives of photons, packing."""

from math import inf

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats

from jaxspec import Model, Observation, PointSource, Problem, Response
from jaxspec.density import Packed
from jaxspec.parameters import parameter
from jaxspec.photons import photons_in
from jaxspec.priors import Priors
from jaxspec.quadrature import Bins
from jaxspec.space import Space
from jaxspec.spectra import AbstractAdditive, Band, Blackbody, Constant, CutoffPowerLaw, PowerLaw, Redshift

LOW = np.array([-inf, 2.0, -inf, -1.0, 0.0])
HIGH = np.array([inf, inf, 5.0, 3.0, 1e-6])
SPACE = Space.between(LOW, HIGH)


def test_bounds_say_how_a_parameter_is_stretched():
    assert SPACE.kinds == ("real", "lower", "upper", "interval", "interval")


@pytest.mark.parametrize("u", [0.0, 1.0, -3.0, 12.0, -12.0])
def test_a_point_of_the_space_comes_back(u):
    assert_allclose(SPACE.point(SPACE.values(jnp.full(5, u))), np.full(5, u), rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("u", [0.0, 3.0, -40.0, 40.0, 700.0, -800.0])
def test_values_never_leave_their_bounds(u):
    values = np.asarray(SPACE.values(jnp.full(5, u)))
    assert (values >= LOW).all()
    assert (values <= HIGH).all()


@pytest.mark.parametrize("edge", [LOW, HIGH])
def test_a_value_at_its_bound_is_moved_inside(edge):
    inside = np.where(np.isfinite(edge), edge, 0.0) + np.array([0, 3, 0, 0, 0]) * (edge == HIGH)
    assert np.isfinite(SPACE.point(jnp.asarray(inside))).all()


@pytest.mark.parametrize("u", [0.0, 1.5, -6.0, 9.0])
def test_the_volume_is_that_of_the_jacobian(u):
    point = jnp.full(5, u)
    determinant = np.linalg.slogdet(jax.jacfwd(SPACE.values)(point))[1]
    assert_allclose(SPACE.log_volume(point), determinant, rtol=1e-9)


@pytest.mark.parametrize("u", [0.0, 800.0, -800.0])
def test_gradients_of_values_and_volume_are_finite_far_out(u):
    point = jnp.full(5, u).at[1:3].set(min(u, 100.0))
    assert np.isfinite(jax.jacrev(SPACE.values)(point)).all()
    assert np.isfinite(jax.grad(SPACE.log_volume)(point)).all()


def test_values_are_clipped_to_the_bounds():
    assert_array_equal(SPACE.clip(jnp.full(5, 9.0)), [9, 9, 5, 3, 1e-6])
    assert_array_equal(SPACE.clip(jnp.full(5, -9.0)), [-9, 2, -9, -1, 0])


# Gamma, Beta and StudentT have no quantile function in numpyro without another library, truncated ones have their own.
FAMILIES = [
    (dist.Normal(1, 2), stats.norm(1, 2)),
    (dist.Normal(-5, 0.1), stats.norm(-5, 0.1)),
    (dist.LogNormal(np.log(1e-7), 1), stats.lognorm(1, scale=1e-7)),
    (dist.Uniform(2, 5), stats.uniform(2, 3)),
    (dist.LogUniform(1e-8, 1e-2), stats.loguniform(1e-8, 1e-2)),
    (dist.HalfNormal(2), stats.halfnorm(scale=2)),
    (dist.Exponential(3), stats.expon(scale=1 / 3)),
    (dist.Gamma(2, 3), stats.gamma(2, scale=1 / 3)),
    (dist.InverseGamma(3, 2), stats.invgamma(3, scale=2)),
    (dist.Beta(2, 3), stats.beta(2, 3)),
    (dist.Weibull(2, 1.5), stats.weibull_min(1.5, scale=2)),
    (dist.Cauchy(1, 2), stats.cauchy(1, 2)),
    (dist.HalfCauchy(2), stats.halfcauchy(scale=2)),
    (dist.Laplace(1, 2), stats.laplace(1, 2)),
    (dist.Logistic(1, 2), stats.logistic(1, 2)),
    (dist.Gumbel(1, 2), stats.gumbel_r(1, 2)),
    (dist.StudentT(5, 1, 2), stats.t(5, 1, 2)),
    (dist.Pareto(2, 3), stats.pareto(3, scale=2)),
    (dist.TruncatedNormal(1, 2, low=0, high=3), stats.truncnorm(-0.5, 1, loc=1, scale=2)),
    (dist.TruncatedNormal(1, 2, low=0), stats.truncnorm(-0.5, inf, loc=1, scale=2)),
    (dist.TruncatedNormal(1, 2, high=0), stats.truncnorm(-inf, -0.5, loc=1, scale=2)),
    (dist.TruncatedCauchy(0, 1, low=-1, high=2), None),
]


class Many(AbstractAdditive):
    """As many parameters as there are families of priors."""

    __annotations__ = {f"p{i}": float for i in range(len(FAMILIES))}
    for _i in range(len(FAMILIES)):
        locals()[f"p{_i}"] = parameter(0.0)

    def evaluate(self, energy):
        return 1.0 / energy


@pytest.fixture(scope="module")
def many():
    observation = Observation([1.0], Response.diagonal([1.0, 2.0]), 1.0)
    model = Model(PointSource("a", Many())).with_priors(
        {f"a.many.p{i}": prior for i, (prior, _) in enumerate(FAMILIES)}
    )
    return Problem(model, observation).density


@pytest.fixture(scope="module")
def quantiles(many):
    return jax.jit(lambda probability: many.prior_quantiles(jnp.full(len(FAMILIES), probability)))


@pytest.mark.parametrize("probability", [1e-4, 0.16, 0.5, 0.84, 1 - 1e-4])
def test_quantiles_of_priors_are_those_of_scipy(quantiles, probability):
    exact = [scipy.ppf(probability) if scipy else np.nan for _, scipy in FAMILIES]
    # Truncated Cauchy between a and b: tan(atan a + p (atan b - atan a)).
    low, high = np.arctan([-1, 2])
    exact[-1] = np.tan(low + probability * (high - low))
    assert_allclose(quantiles(probability), exact, rtol=1e-6)


def test_quantiles_rise_with_probability(quantiles):
    table = np.array([quantiles(p) for p in np.linspace(0.001, 0.999, 25)])
    assert (np.diff(table, axis=0) > 0).all()


def test_the_density_of_all_priors_is_the_sum_of_theirs(many, quantiles):
    theta = quantiles(0.3)
    exact = sum(scipy.logpdf(x) for (_, scipy), x in zip(FAMILIES, np.asarray(theta)) if scipy)
    exact -= np.log(np.arctan(2) - np.arctan(-1)) + np.log1p(float(theta[-1]) ** 2)
    assert_allclose(many.log_prior(theta), exact, rtol=1e-9)


def test_priors_of_one_family_are_evaluated_together():
    groups = Priors.groups({0: dist.Normal(0, 1), 2: dist.LogNormal(0, 1), 3: dist.Normal(2, 3)})
    assert [group.members for group in groups] == [(0, 3), (2,)]


def test_a_parameter_without_prior_adds_nothing():
    (group,) = Priors.groups({1: dist.Normal(0, 1)})
    assert_allclose(group.log_density(jnp.array([99.0, 0.0])), -0.5 * np.log(2 * np.pi), rtol=1e-14)


SPECTRA = [
    Blackbody(K=1e-4, kT=30.0),
    Constant(factor=2.0) * (PowerLaw() + Band(K=1.0)),
    Redshift(z=0.5)(CutoffPowerLaw()),
]


@pytest.mark.parametrize("spectrum", SPECTRA, ids=["one", "sum", "convolved"])
def test_derivatives_of_photons_are_those_of_the_integral(spectrum):
    bins = Bins.of(*(np.geomspace(10, 1000, 6)[cut] for cut in (slice(0, -1), slice(1, None))))
    spectrum = jax.tree.map(jnp.asarray, spectrum)

    def total(integral, spectrum, bins):
        return jnp.sum(integral(spectrum, bins) ** 2)

    for derivative in (jax.grad, jax.jacfwd, lambda f: jax.jacfwd(jax.grad(f))):
        ours = derivative(lambda s: total(photons_in, s, bins))(spectrum)
        plain = derivative(lambda s: total(lambda a, b: a.integral(b), s, bins))(spectrum)
        jax.tree.map(lambda a, b: assert_allclose(a, b, rtol=1e-9, atol=1e-30), ours, plain)


def test_what_all_derivatives_need_is_computed_once():
    """In a loop XLA does not see that they share it."""
    bins = Bins.of(np.geomspace(1, 9, 5)[:-1], np.geomspace(1, 9, 5)[1:], 3)
    component = jax.tree.map(jnp.asarray, CutoffPowerLaw())
    program = str(jax.make_jaxpr(jax.jacfwd(lambda s: photons_in(s, bins)))(component))
    alone = str(jax.make_jaxpr(lambda s: s.integral(bins))(component))
    # Each of the four derivatives has the exponential of the photons.
    assert program.count("= exp ") == alone.count("= exp ") == 1


def test_photons_have_derivatives_in_the_edges_of_the_bins():
    spectrum, bins = jax.tree.map(jnp.asarray, PowerLaw()), Bins.of(jnp.array([1.0, 2.0]), jnp.array([2.0, 4.0]))
    slope = jax.jvp(lambda f: photons_in(spectrum, bins.stretched(f)), (1.0,), (1.0,))[1]
    # The integral of E^-2 from a f to b f is (1/a - 1/b) / f.
    assert_allclose(slope, [-0.5, -0.25], rtol=1e-12)


def test_packed_densities_of_one_structure_share_it(seed_problem, seed_model, seed_observations):
    other = Problem(seed_model.with_values({"src2.powerlawflux.F": 50.0}), seed_observations)
    first, second = Packed(seed_problem.density), Packed(other.density)
    assert first.structure is second.structure
    assert_array_equal(second.open().layout.values, other.density.layout.values)


def test_names_are_no_part_of_the_structure(seed_observations):
    def density(source, label):
        model = Model(PointSource(source, PowerLaw(name=label)))
        return Problem(model, [seed_observations[0].assign(source)]).density

    assert jax.tree.structure(density("a", "jet")) == jax.tree.structure(density("b", None))


def test_the_likelihood_is_finite_with_all_derivatives_at_every_corner(demo):
    # A peer's forward derivative is NaN in bins without background counts; here also without counts and photons.
    from jaxspec import Background

    counts, background = np.zeros(128), np.zeros(128)
    counts[::2], background[::3] = 5, 7
    observation = Observation(counts, demo, 1.0, Background(background, 1.0), name="o")
    density = Problem(Model(PointSource("a", PowerLaw(K=1.0))), observation).density
    derivatives = (lambda function: function, jax.grad, jax.jacfwd, jax.hessian)
    everything = jax.jit(lambda theta: [derivative(density.log_likelihood)(theta) for derivative in derivatives])
    for K in (0.0, 1e-30, 1.0, 1e12):
        assert all(np.isfinite(numbers).all() for numbers in everything(jnp.array([K, -2.0])))
