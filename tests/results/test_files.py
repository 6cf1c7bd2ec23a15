"""Results written to a file and read back, in this process and in a new one."""

import dataclasses
import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import h5netcdf
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import jaxspec
from jaxspec import Background, BestFit, Model, Observation, PointSource, Posterior, Problem, Response, load
from jaxspec.parameters import parameter
from jaxspec.results import _io, _laws, _models
from jaxspec.spectra import AbstractAdditive, Blackbody, Constant, PowerLaw, PowerLawFlux, Redshift

PACKAGE = Path(jaxspec.__file__).parents[1]


def fresh_process(code, folder):
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(PACKAGE), str(folder)])},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def saved(tmp_path_factory, seed_posterior, seed_fit):
    folder = tmp_path_factory.mktemp("saved")
    seed_posterior.save(folder / "posterior.nc")
    seed_fit.save(folder / "fit.nc")
    return folder


def posterior_of(problem, draws=20):
    """Draws around the model's values that no sampler made: what a file holds does not depend on it."""
    rng = np.random.default_rng(0)
    theta = jnp.asarray(problem.start * (1 + 0.01 * rng.normal(size=(2, draws, len(problem.start)))))
    samples = np.array([[problem.density.layout.all_values(row) for row in chain] for chain in theta])
    return Posterior.of(problem, samples, method=jaxspec.NUTS(), key=jax.random.key(0), statistics={})


def there_and_back(result, folder):
    result.save(folder / "r.nc")
    return load(folder / "r.nc")


@pytest.fixture(scope="module")
def counts():
    return Observation(np.arange(4.0, 14.0), Response.diagonal(np.arange(1.0, 12.0)), 1.0, name="o")


# -- everything comes back ---------------------------------------------------------------------------------------------


def test_a_posterior_comes_back_as_it_was(saved, seed_posterior):
    back = load(saved / "posterior.nc")
    assert isinstance(back, Posterior)
    assert_array_equal(back.samples, seed_posterior.samples)
    assert back.method == seed_posterior.method
    assert_array_equal(back.key, seed_posterior.key)
    assert back.statistics == seed_posterior.statistics
    assert back.log_evidence is None
    assert repr(back) == repr(seed_posterior)
    assert repr(back.problem.model) == repr(seed_posterior.problem.model)


def test_a_best_fit_comes_back_as_it_was(saved, seed_fit):
    back = load(saved / "fit.nc")
    assert isinstance(back, BestFit)
    for field in dataclasses.fields(BestFit):
        if field.name != "problem":
            assert_array_equal(getattr(back, field.name), getattr(seed_fit, field.name))
    assert_array_equal(back.points, seed_fit.points)
    assert repr(back) == repr(seed_fit)


def test_the_evidence_of_nested_sampling_comes_back(tmp_path, seed_nested):
    back = there_and_back(seed_nested, tmp_path)
    assert back.log_evidence == seed_nested.log_evidence
    assert back.method == seed_nested.method
    assert back.ess == seed_nested.ess


@pytest.mark.parametrize("name", ["posterior", "fit"])
def test_a_new_process_computes_other_fluxes_from_the_file(saved, seed_posterior, seed_fit, name):
    code = f"""
import json, jaxspec
result = jaxspec.load({str(saved / f"{name}.nc")!r})
table = result.flux(3, 70, "1 / (cm2 s)", components=True)
print(json.dumps({{row: [cell.value for cell in table.loc[row]] for row in table.index}}))
"""
    result = seed_posterior if name == "posterior" else seed_fit
    table = result.flux(3, 70, "1 / (cm2 s)", components=True)
    found = fresh_process(code, saved)
    assert list(found) == list(table.index)
    for row in table.index:
        assert_allclose(found[row], [cell.value for cell in table.loc[row]], rtol=1e-12)


def test_the_problem_of_a_loaded_result_has_the_same_likelihood(saved, seed_problem, reference, compilations):
    back = load(saved / "posterior.nc").problem
    seed_problem.log_likelihood(reference.values), seed_problem.log_prior(reference.values)
    with compilations.none():
        found = back.log_likelihood(reference.values)
        prior = back.log_prior(reference.values)
    assert_allclose(found, seed_problem.log_likelihood(reference.values), rtol=1e-14)
    assert_allclose(prior, seed_problem.log_prior(reference.values), rtol=1e-14)


def test_observations_come_back_with_selections_grouping_and_all(tmp_path):
    response = Response.diagonal(np.arange(1.0, 12.0), area=3.0, name="square").in_single_precision()
    observation = Observation(
        np.arange(10.0),
        response,
        7.0,
        Background(np.arange(10.0), 20.0, errors=np.full(10, 2.0), back_scale=2.0, name="sky"),
        name="o",
        area_scale=np.linspace(1, 2, 10),
        quality=np.array([0] * 9 + [1]),
        grouping=np.array([1, -1] * 5),
        mission="M",
        instrument="I",
        start=5.0,
        repairs=("one", "two"),
    )
    observation = observation.notice((2.5, 9.0)).ignore("bad").ignore("ch 3-3").group("min_counts", 5).assign("a")
    # Another that shares the response.
    other = Observation(np.arange(10.0), response, 7.0, name="other").with_statistic("cstat")
    problem = Problem(Model(PointSource("a", PowerLaw())), [observation, other])
    back = there_and_back(posterior_of(problem), tmp_path).problem
    assert back.observations[0].response is back.observations[1].response
    for before, after in zip(problem.observations, back.observations):
        assert after.info() == before.info()
        for field in dataclasses.fields(Observation):
            if field.name not in ("response", "background"):
                assert_array_equal(getattr(after, field.name), getattr(before, field.name), err_msg=field.name)
    for field in dataclasses.fields(Background):
        assert_array_equal(
            getattr(back.observations[0].background, field.name), getattr(observation.background, field.name)
        )
    assert_array_equal(back.observations[0].response.matrix.toarray(), response.matrix.toarray())
    assert back.observations[0].response.matrix.dtype == np.float32
    assert back.selections[0].statistic == "pgstat"
    assert_allclose(back.log_likelihood(), problem.log_likelihood(), rtol=1e-14)


def test_models_come_back_with_bounds_freedom_positions_and_links():
    model = Model(
        PointSource("a", Constant(factor=2.0) * (Blackbody(kT=3.0) + PowerLaw(name="jet")), ra=5.0),
        PointSource("b", Redshift(z=0.5)(PowerLawFlux(F=3.0, a=2.0, b=9.0))),
    )
    model = model.freeze("a.jet.index").thaw("b.redshift.z").with_bounds({"a.blackbody.kT": (1, 5)})
    model = model.link("a.jet.K", to=("a.blackbody.K", "b.powerlawflux.F"), function=lambda K, F: 2 * K * jnp.sqrt(F))
    model = model.with_priors({"b.powerlawflux.index": dist.Normal(-2, 1)}).freeze("b.powerlawflux.index")
    back = _models.model_from_dict(json.loads(json.dumps(_models.model_to_dict(model, []))), [])
    rows, before = ({name: (p.value, p.bounds, p.free) for name, p in m.parameters.items()} for m in (back, model))
    assert rows == before
    assert back.free == model.free
    assert [type(prior) for prior in back.priors.values()] == [dist.Normal]
    assert back["a"].ra == 5.0
    changed = {"a.blackbody.K": 0.5, "b.powerlawflux.F": 4.0}
    assert_allclose(back.with_values(changed).values["a.jet.K"], 2.0, rtol=1e-14)


LAWS = [
    lambda x: 2 * x,
    lambda x: jnp.where(x > 3, 2.0 * x**2, 1.0 / x),
    lambda x: (x > 3) * 2.0 + 1,
    lambda x: jnp.clip(x, 1, 5) ** 2.5 + jnp.pi,
    lambda x: jax.nn.sigmoid(x) + jax.nn.softplus(x),
    lambda x: jnp.floor(x).astype(int) * 1.5,
    lambda x: x.astype(int) * 1.0 if hasattr(x, "astype") else float(int(x)),
    lambda x: 10**-x,
    lambda x: jnp.log10(x) * x**-1,
    lambda x: x,
]


@pytest.mark.parametrize("law", LAWS)
def test_a_law_read_back_computes_the_same_value_and_slope(law):
    back = _laws.Law(_laws.write(law, 1))
    for x in map(jnp.asarray, (0.7, 2.7, 8.2)):
        assert_allclose(back(x), law(x), rtol=1e-14)
        assert_allclose(jax.grad(lambda y: 1.0 * back(y))(x), jax.grad(lambda y: 1.0 * law(y))(x), rtol=1e-13)


def test_a_law_of_several_inputs_keeps_their_order():
    back = _laws.Law(_laws.write(lambda x, y, z: x - y / z, 3))
    assert_allclose(back(7.0, 3.0, 2.0), 5.5, rtol=1e-14)


def test_a_law_that_was_read_back_can_be_written_again():
    text = _laws.write(lambda x: 2 * x, 1)
    assert _laws.write(_laws.Law(text), 1) == text


NOT_ELEMENTARY = [
    lambda x: jax.lax.fori_loop(0, 5, lambda i, y: 2 * y, x),
    lambda x: jnp.interp(x, jnp.array([0.0, 10.0]), jnp.array([1.0, 3.0])),
]


@pytest.mark.parametrize("law", NOT_ELEMENTARY, ids=["a loop", "a table"])
def test_a_law_that_is_no_formula_is_not_written(law):
    # A loop has a body that is a formula, which alone would be another law.
    assert _laws.write(law, 1) is None


@pytest.mark.parametrize("kind", ["posterior", "fit"])
def test_a_law_that_is_lost_leaves_its_draws_and_fluxes(tmp_path, counts, kind):
    model = Model(PointSource("a", PowerLaw()), PointSource("b", PowerLaw(K=0.5)))
    model = model.freeze("a.powerlaw.index", "b.powerlaw.index")
    model = model.link("b.powerlaw.K", to="a.powerlaw.K", function=NOT_ELEMENTARY[0])
    problem = Problem(model, counts)
    result = posterior_of(problem) if kind == "posterior" else jaxspec.fit(problem)
    with pytest.warns(UserWarning, match="save: the law of the link of b.powerlaw.K is no formula"):
        result.save(tmp_path / "r.nc")
    with pytest.warns(UserWarning, match="load: the law of the link of b.powerlaw.K was not kept; it is frozen"):
        back = load(tmp_path / "r.nc")
    assert_array_equal(back.draws("b.powerlaw.K"), result.draws("b.powerlaw.K"))
    for row, draws in result.flux_draws(1, 5).items():
        assert_allclose(back.flux_draws(1, 5)[row], draws, rtol=1e-12)


PRIORS = [
    dist.Normal(0.5, 2),
    dist.LogNormal(0, 1),
    dist.Uniform(-3, 4),
    dist.LogUniform(1e-8, 1e-2),
    dist.Gamma(2.0, 3.0),
    dist.Beta(2.0, 3.0),
    dist.Weibull(2.0, 1.5),
    dist.StudentT(5.0, 1.0, 2.0),
    dist.HalfCauchy(2.0),
    dist.TruncatedNormal(1.0, 2.0, low=0.0, high=3.0),
    dist.TruncatedNormal(1.0, 2.0, low=0.0),
    dist.TruncatedNormal(1.0, 2.0, high=0.0),
    dist.TruncatedCauchy(0.0, 1.0, low=-1.0, high=2.0),
    dist.MixtureSameFamily(dist.Categorical(np.array([0.5, 0.5])), dist.Normal(np.array([0.0, 1.0]), 1.0)),
]


@pytest.mark.parametrize("prior", PRIORS, ids=lambda prior: type(prior).__name__)
def test_a_prior_read_back_is_the_same_distribution(prior):
    back = _models._prior_from_dict(json.loads(json.dumps(_models._prior_to_dict("p", prior))))
    assert type(back) is type(prior)
    x = np.asarray(prior.sample(jax.random.key(0), (20,)))
    assert_allclose(back.log_prob(x), prior.log_prob(x), rtol=1e-14)


class Own(dist.Normal):
    """A family that no library knows."""


STRANGE = [
    Own(0.0, 1.0),
    dist.TransformedDistribution(dist.Normal(0.0, 1.0), dist.transforms.AffineTransform(1.0, 2.0)),
]


@pytest.mark.parametrize("prior", STRANGE, ids=lambda prior: type(prior).__name__)
def test_a_prior_that_cannot_be_made_again_is_kept_as_text(tmp_path, counts, prior):
    problem = Problem(Model(PointSource("a", PowerLaw())).with_priors({"a.powerlaw.index": prior}), counts)
    result = posterior_of(problem)
    with pytest.warns(
        UserWarning, match="save: the prior of a.powerlaw.index, .* cannot be written; it is kept as text"
    ):
        result.save(tmp_path / "r.nc")
    with pytest.warns(UserWarning, match="load: the prior .* was kept as text only; set it again to sample anew"):
        back = load(tmp_path / "r.nc")
    assert_array_equal(back.samples, result.samples)
    assert back.problem.model.parameters["a.powerlaw.index"].prior is None


COMPONENT = """
from jaxspec.parameters import parameter
from jaxspec.spectra import AbstractAdditive


class Mine(AbstractAdditive):
    K: float = parameter(1.0, unit="1 / (cm2 s keV)", bounds=(0, 1e9))

    def evaluate(self, energy):
        return self.K * energy**-2
"""


def test_a_component_of_the_users_module_is_imported_by_a_new_process(tmp_path, counts, monkeypatch):
    (tmp_path / "my_components.py").write_text(COMPONENT)
    monkeypatch.syspath_prepend(tmp_path)
    import my_components

    result = posterior_of(Problem(Model(PointSource("a", my_components.Mine(K=2.0))), counts))
    result.save(tmp_path / "r.nc")
    code = f"""
import json, jaxspec
result = jaxspec.load({str(tmp_path / "r.nc")!r})
print(json.dumps([type(result.problem.model["a"].spectrum).__name__, float(result.draws("a.mine.K").mean())]))
"""
    name, mean = fresh_process(code, tmp_path)
    assert name == "Mine"
    assert_allclose(mean, result.draws("a.mine.K").mean(), rtol=1e-14)


def test_a_component_that_is_not_to_be_found_is_named(tmp_path, counts):
    (tmp_path / "r").mkdir()
    code = (
        COMPONENT.replace("Mine", "Unseen")
        + f"""
import jaxspec, numpy as np, json, jax
from jaxspec import *
o = Observation(np.arange(4.0, 14.0), Response.diagonal(np.arange(1.0, 12.0)), 1.0)
p = Problem(Model(PointSource("a", Unseen())), o)
result = Posterior.of(p, np.ones((1, 3, 1)), method=NUTS(), key=jax.random.key(0), statistics={{}})
result.save({str(tmp_path / "x.nc")!r})
print(json.dumps(1))
"""
    )
    fresh_process(code, tmp_path)
    with pytest.raises(ValueError, match="this result uses a component 'Unseen' of your own, defined in '__main__'"):
        load(tmp_path / "x.nc")


def test_a_component_called_like_one_of_ours_stays_the_users(tmp_path, counts):
    ours = PowerLaw

    def define():
        class PowerLaw(AbstractAdditive):
            K: float = parameter(1.0)

            def evaluate(self, energy):
                return self.K / energy

        return PowerLaw

    theirs = define()
    back = there_and_back(posterior_of(Problem(Model(PointSource("a", theirs())), counts)), tmp_path)
    assert type(back.problem.model["a"].spectrum) is theirs
    back = there_and_back(posterior_of(Problem(Model(PointSource("a", ours())), counts)), tmp_path)
    assert type(back.problem.model["a"].spectrum) is ours


# -- the file ----------------------------------------------------------------------------------------------------------


def test_a_file_holds_the_versions_that_made_it(saved):
    with h5netcdf.File(saved / "posterior.nc") as file:
        versions = json.loads(file.attrs["versions"])
    assert versions["jax"] == jax.__version__
    assert {"numpyro", "numpy"} <= set(versions)


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_arviz_opens_the_file(saved, seed_posterior):
    arviz = pytest.importorskip("arviz")
    data = arviz.from_netcdf(saved / "posterior.nc")
    assert_array_equal(data["posterior"]["src2.blackbody.kT"].values, seed_posterior._chains("src2.blackbody.kT"))


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_arviz_gets_draws_and_the_likelihood_of_each_bin(seed_posterior):
    data = seed_posterior.to_arviz()
    assert set(data["posterior"].data_vars) == set(seed_posterior.varied)
    logs = sum(data["log_likelihood"][name].values.sum(axis=-1) for name in ("s1", "s2"))
    assert data["log_likelihood"]["s1"].shape == (4, 1000, 128)
    assert_allclose(logs, seed_posterior.log_likelihood, rtol=1e-10)


def test_a_file_is_replaced_only_by_a_whole_one(tmp_path, saved, seed_posterior, monkeypatch):
    path = tmp_path / "r.nc"
    seed_posterior.save(path)
    before = path.read_bytes()

    def fail(*_):
        raise RuntimeError("the disk is full")

    monkeypatch.setattr(_io, "_write_posterior", fail)
    with pytest.raises(RuntimeError, match="the disk is full"):
        seed_posterior.save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_is_overwritten_by_a_later_result(tmp_path, seed_posterior, seed_fit):
    seed_fit.save(tmp_path / "r.nc")
    seed_posterior.save(str(tmp_path / "r.nc"))
    assert isinstance(load(str(tmp_path / "r.nc")), Posterior)


def test_a_folder_that_is_not_there_is_named(tmp_path, seed_fit):
    with pytest.raises(FileNotFoundError, match=r"cannot save to .*r.nc: the folder .*nowhere does not exist"):
        seed_fit.save(tmp_path / "nowhere" / "r.nc")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no file .*r.nc"):
        load(tmp_path / "r.nc")


def test_a_file_of_another_kind_is_no_result(tmp_path):
    (tmp_path / "r.nc").write_text("no netCDF")
    with pytest.raises(ValueError, match=r"r.nc is not a result of jaxspec: it cannot be read as netCDF"):
        load(tmp_path / "r.nc")


def test_a_netcdf_file_of_others_is_no_result(tmp_path):
    with h5netcdf.File(tmp_path / "r.nc", "w") as file:
        file.attrs["title"] = "something else"
    with pytest.raises(ValueError, match="is a netCDF file, but not a result that jaxspec saved"):
        load(tmp_path / "r.nc")


def test_a_file_of_a_newer_version_is_said_to_be_one(tmp_path):
    with h5netcdf.File(tmp_path / "r.nc", "w") as file:
        file.attrs["jaxspec_format"] = 99
    with pytest.raises(ValueError, match="was written by a newer jaxspec"):
        load(tmp_path / "r.nc")


def test_a_file_that_was_cut_short_is_no_result(tmp_path, saved):
    (tmp_path / "r.nc").write_bytes((saved / "posterior.nc").read_bytes()[:5000])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(ValueError, match="is not a result of jaxspec: it cannot be read"):
            load(tmp_path / "r.nc")
