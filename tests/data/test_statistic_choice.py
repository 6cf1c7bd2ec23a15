"""Fits with the statistics that can be chosen, against minimisations made without jaxspec."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
import scipy.special
from astropy.io import fits
from numpy.testing import assert_allclose

from jaxspec import Background, Model, Observation, PointSource, Problem, Response, fit
from jaxspec.spectra import PowerLaw


def power_law(**values):
    return Model(PointSource("a", PowerLaw(**values)))


def index_and_scale(best):
    return best.values["a.powerlaw.index"], best.values["a.powerlaw.K"]


# -- EXOSAT: the worked example of the XSPEC manual, with a power law alone -------------------------------------------


@pytest.fixture
def exosat(shared):
    observation = Observation.from_ogip(shared / "exosat/s54405.pha", response=shared / "exosat/s54405.rsp")
    return observation.ignore("bad", "15.0-**")


def plain_exosat(shared):
    """Counts, errors, and counts per photon / (cm2 s) of the 45 channels, with photon energies; astropy alone."""
    with fits.open(shared / "exosat/s54405.pha") as hdus:
        table, exposure, area = hdus[1].data, hdus[1].header["EXPOSURE"], hdus[1].header["AREASCAL"]
    with fits.open(shared / "exosat/s54405.rsp") as hdus:
        rows, bounds = hdus[1].data[1:], hdus["EBOUNDS"].data  # the first row is reversed and empty
    matrix = np.zeros((129, len(rows)))  # by channel number
    for k, row in enumerate(rows):
        start = 0
        for group in range(row["N_GRP"]):
            first, length = row["F_CHAN"][group], row["N_CHAN"][group]
            matrix[first : first + length, k] = row["MATRIX"][start : start + length]
            start += length
    upper = dict(zip(bounds["CHANNEL"], bounds["E_MAX"]))
    good = np.array([row["QUALITY"] == 0 and upper[row["CHANNEL"]] <= 15 for row in table])
    used = table[good]
    counts, errors = used["RATE"].astype(float) * exposure, used["STAT_ERR"].astype(float) * exposure
    low, high = rows["ENERG_LO"].astype(float), rows["ENERG_HI"].astype(float)
    return counts, errors, matrix[used["CHANNEL"]] * exposure * area, low, high


def plain_chi2(parameters, counts, errors, matrix, low, high, systematic=0.0):
    index, log_scale = parameters
    photons = np.exp(log_scale) * (high ** (index + 1) - low ** (index + 1)) / (index + 1)
    expected = matrix @ photons
    return np.sum((counts - expected) ** 2 / (errors**2 + (systematic * expected) ** 2))


@pytest.mark.parametrize("systematic", [0.0, 0.05])
def test_chi_squared_of_exosat_is_that_of_a_plain_minimisation(shared, exosat, systematic):
    data = plain_exosat(shared)
    assert data[2].shape[0] == 45
    plain = scipy.optimize.minimize(
        plain_chi2, (-2.0, np.log(0.01)), (*data, systematic), "Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-8}
    )
    best = fit(Problem(power_law(), exosat.with_statistic("chi2", systematic=systematic)))
    assert_allclose(best.statistic, plain.fun, atol=1e-3, rtol=0)
    assert_allclose(index_and_scale(best), (plain.x[0], np.exp(plain.x[1])), rtol=1e-4)


# -- Poisson counts with every variance -------------------------------------------------------------------------------


@pytest.fixture
def few_counts():
    """Few counts through a diagonal response of 20 bins, over a background."""
    rng = np.random.default_rng(5)
    response = Response.diagonal(np.geomspace(1, 20, 21))
    expected = 400 * np.diff(-1 / np.geomspace(1, 20, 21))
    background = Background(rng.poisson(4.0, 20).astype(float), 100.0, back_scale=2.0)
    return Observation(rng.poisson(expected + 2.0).astype(float), response, 100.0, background)


def moving_mean(x):
    return np.array([np.mean(x[max(i - 2, 0) : i + 3]) for i in range(len(x))])


VARIANCES = {  # of S counts over B background counts, with s counts expected; Sherpa's formulas, the ratio is 1/2
    "data": lambda S, B, s: np.where(S + B > 0, S + B / 4, 0.25),
    "model": lambda S, B, s: s + B / 2 + B / 4,
    "gehrels": lambda S, B, s: (1 + np.sqrt(S + 0.75)) ** 2 + (1 + np.sqrt(B + 0.75)) ** 2 / 4,
    "churazov": lambda S, B, s: moving_mean(S) + moving_mean(B) / 4,
}


def minimum(function, start=(-2.0, 1.4)):
    """The least value of a function of index and logarithm of the scale, and where it is."""
    options = {"xatol": 1e-8, "fatol": 1e-10, "maxiter": 2000}
    found = scipy.optimize.minimize(
        lambda p: function(plain_power_law(*p)), start, method="Nelder-Mead", options=options
    )
    return found.fun, (found.x[0], np.exp(found.x[1]))


def plain_power_law(index, log_scale):
    edges = np.geomspace(1, 20, 21)
    return 100 * np.exp(log_scale) * np.diff(edges ** (index + 1)) / (index + 1)


@pytest.mark.parametrize("variance", VARIANCES)
def test_a_fit_with_each_variance_is_that_of_a_plain_minimisation(few_counts, variance):
    S, B = few_counts.counts, few_counts.background.counts
    value, where = minimum(lambda s: np.sum((S - B / 2 - s) ** 2 / VARIANCES[variance](S, B, s)))
    best = fit(Problem(power_law(), few_counts.with_statistic("chi2", variance=variance)))
    assert best.converged
    assert_allclose(best.statistic, value, rtol=1e-6)
    assert_allclose(index_and_scale(best), where, rtol=1e-4)


def marginal_likelihood(s, S, B, ratio):
    """ln of the integral over the background b of P(S | s + ratio b) P(B | b), on a grid."""
    b = np.linspace(0, 60, 20_001)[:, None]
    log = scipy.special.xlogy(S, s + ratio * b) - s - ratio * b - scipy.special.gammaln(S + 1)
    log += scipy.special.xlogy(B, b) - b - scipy.special.gammaln(B + 1)
    return np.log(np.trapezoid(np.exp(log), b[:, 0], axis=0))


def test_a_fit_with_the_l_statistic_is_that_of_a_plain_minimisation(few_counts):
    S, B = few_counts.counts, few_counts.background.counts
    value, where = minimum(lambda s: -2 * np.sum(marginal_likelihood(s, S, B, 0.5)))
    best = fit(Problem(power_law(), few_counts.with_statistic("lstat")))
    assert best.converged
    assert_allclose(best.statistic, value, rtol=1e-5)
    assert_allclose(best.log_likelihood, -value / 2, rtol=1e-5)
    assert_allclose(index_and_scale(best), where, rtol=1e-3)


# -- what a statistic is in a problem ---------------------------------------------------------------------------------


def test_observations_of_different_statistics_keep_theirs(few_counts):
    kinds = [("lstat", {}), ("chi2", {"variance": "model"}), ("wstat", {}), ("lstat", {}), ("chi2", {})]
    observations = [
        dataclasses.replace(few_counts, name=str(i)).with_statistic(name, **options)
        for i, (name, options) in enumerate(kinds)
    ]
    observations[3] = observations[3].group("constant", 20)  # of more counts: more terms
    model = power_law(K=4.0)
    together = Problem(model, observations).statistics()
    for observation in observations:
        alone = Problem(model, observation).statistics()
        assert_allclose(together[observation.name], alone[observation.name], rtol=1e-12)


def test_the_terms_of_the_l_statistic_are_compiled_in_powers_of_two(few_counts):
    few = few_counts.with_statistic("lstat").group(None)
    for counts, terms in ((5, 8), (7, 8), (8, 16)):
        changed = dataclasses.replace(few, counts=np.full(20, float(counts)))
        assert Problem(power_law(), changed).density.fitted[0].data[0].shape == (20, terms)


@pytest.mark.parametrize("name", ["lstat", "chi2 model", "chi2"])
def test_gradients_are_finite_where_nothing_was_counted_or_is_expected(few_counts, name):
    empty = dataclasses.replace(few_counts.background, counts=np.zeros(20))
    counts = np.array([0.0, 3.0] * 10)
    statistic, *rest = name.split()
    observation = dataclasses.replace(few_counts, counts=counts, background=empty).with_statistic(
        statistic, variance=rest[0] if rest else "data"
    )
    density = Problem(power_law(), observation).density
    for expected in (np.zeros(20), np.full(20, 1e-30), np.full(20, 1e9)):
        slope = jax.grad(lambda s: jnp.sum(density.statistic_per_bin(s)))(jnp.asarray(expected))
        assert np.all(np.isfinite(slope))


def test_residuals_of_the_l_statistic_are_those_of_w(few_counts):
    from jaxspec.results import _pictures

    expected = plain_power_law(-2.0, np.log(4.0))
    residuals = [_pictures._residuals(few_counts.with_statistic(s).selection(), expected) for s in ("lstat", "wstat")]
    assert_allclose(*residuals, rtol=1e-12)
    assert np.std(residuals[0]) < 2
