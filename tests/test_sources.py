"""Sources and models: names, priors, bounds, freedom, links, tables."""

import dataclasses

import astropy.units as u
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from numpy.testing import assert_allclose

from jaxspec import Model, PointSource
from jaxspec.spectra import Blackbody, Constant, PowerLaw


@pytest.fixture
def model():
    return Model(PointSource("a", PowerLaw(K=2.0)), PointSource("b", Blackbody() + PowerLaw(name="jet")))


NAMES = [
    "a.powerlaw.K",
    "a.powerlaw.index",
    "a.powerlaw.pivot",
    "b.blackbody.K",
    "b.blackbody.kT",
    "b.jet.K",
    "b.jet.index",
    "b.jet.pivot",
]


def test_parameters_are_named_by_source_component_and_field(model):
    assert list(model.parameters) == NAMES


def test_pivots_are_not_free(model):
    assert model.free == tuple(name for name in NAMES if not name.endswith("pivot"))


def test_names_stay_when_the_expression_changes():
    bigger = Model(PointSource("a", Constant() * PowerLaw(K=2.0) + Blackbody()))
    assert {"a.powerlaw.K", "a.powerlaw.index"} <= set(bigger.parameters)


def test_a_position_may_be_a_quantity():
    source = PointSource("a", PowerLaw(), ra=5 * u.hourangle, dec=-30)
    assert_allclose((source.ra, source.dec), (75, -30), rtol=1e-12)


@pytest.mark.parametrize(("ra", "dec"), [(400, 0), (0, 91), (0, np.nan)])
def test_a_position_lies_on_the_sky(ra, dec):
    with pytest.raises(ValueError, match="of 'a' must lie between -"):
        PointSource("a", PowerLaw(), ra=ra, dec=dec)


def test_a_position_is_an_angle():
    with pytest.raises(ValueError, match="ra is in deg, which keV does not convert to"):
        PointSource("a", PowerLaw(), ra=1 * u.keV)


def test_a_source_needs_a_spectrum():
    with pytest.raises(TypeError, match=r"the spectrum of 'a' must be made of jaxspec.spectra components, got 3"):
        PointSource("a", 3)


def test_a_source_needs_something_that_emits():
    with pytest.raises(TypeError, match="the spectrum of 'a' is multiplicative: a source needs something that emits"):
        PointSource("a", Constant())


@pytest.mark.parametrize("name", ["a.b", "", "a: b"])
def test_the_name_of_a_source_fits_into_parameter_names(name):
    with pytest.raises(ValueError, match="a source cannot be called"):
        PointSource(name, PowerLaw())


def test_two_sources_of_one_name_are_refused():
    with pytest.raises(ValueError, match="two sources are called 'a'; every source needs a name of its own"):
        Model(PointSource("a", PowerLaw()), PointSource("a", Blackbody()))


def test_two_components_of_one_name_are_refused_with_the_fix():
    with pytest.raises(ValueError, match=r"two components .* called 'powerlaw': .* PowerLaw\(..., name='powerlaw2'\)"):
        PointSource("a", PowerLaw() + PowerLaw())


def test_a_model_needs_a_source():
    with pytest.raises(ValueError, match="a model needs at least one source"):
        Model()


def test_a_model_is_made_of_sources():
    with pytest.raises(TypeError, match="a model is made of PointSource, BackgroundModel and Calibration objects, got"):
        Model(PowerLaw())


def test_a_source_is_found_by_its_name(model):
    assert model["b"].name == "b"
    with pytest.raises(KeyError, match="no source is called 'c'; known: 'a', 'b'"):
        model["c"]


@pytest.mark.parametrize(
    "change",
    [
        lambda model, name: model.with_values({name: 1.0}),
        lambda model, name: model.with_priors({name: dist.Normal()}),
        lambda model, name: model.with_bounds({name: (0, 1)}),
        lambda model, name: model.freeze(name),
        lambda model, name: model.thaw(name),
        lambda model, name: model.link(name, to="a.powerlaw.K"),
        lambda model, name: model.link("a.powerlaw.K", to=name),
        lambda model, name: model.unlink(name),
        lambda model, name: model.at({name: 1.0}),
    ],
    ids=["values", "priors", "bounds", "freeze", "thaw", "link", "link to", "unlink", "at"],
)
def test_every_method_refuses_an_unknown_name_and_offers_the_nearest(model, change):
    with pytest.raises(KeyError, match=r"no parameter is called 'b.blackbdy.kT'; did you mean 'b.blackbody.kT'\?"):
        change(model, "b.blackbdy.kT")


def test_a_model_never_changes(model):
    before = repr(model)
    model.with_values({"a.powerlaw.K": 5.0}).freeze("a.powerlaw.K").with_priors({"b.jet.index": dist.Normal()})
    model.with_bounds({"b.jet.index": (-3, 0)}).link("b.jet.index", to="a.powerlaw.index").unlink("b.jet.index")
    assert repr(model) == before
    with pytest.raises(dataclasses.FrozenInstanceError):
        model.sources = ()
    with pytest.raises(TypeError):
        model.priors["a.powerlaw.K"] = dist.Normal()


def test_values_may_be_quantities(model):
    assert_allclose(model.with_values({"b.blackbody.kT": 1 * u.MeV}).values["b.blackbody.kT"], 1000.0, rtol=1e-14)


@pytest.mark.parametrize("value", [-1.0, np.nan])
def test_a_value_outside_the_bounds_is_refused(model, value):
    with pytest.raises(ValueError, match=r"a.powerlaw.K = .* lies outside its bounds"):
        model.with_values({"a.powerlaw.K": value})


def test_spectra_have_the_values_of_the_model(model):
    changed = model.with_values({"a.powerlaw.K": 5.0})
    assert_allclose(changed["a"].spectrum(1.0), 5.0, rtol=1e-14)


def test_values_can_be_traced(model):
    slope = jax.grad(lambda K: model.at({"a.powerlaw.K": K})["a"].spectrum(2.0))(3.0)
    assert_allclose(slope, 0.25, rtol=1e-14)


def test_frozen_parameters_are_not_free_until_thawed(model):
    frozen = model.freeze("a.powerlaw.K", "b.jet.K")
    assert frozen.free == ("a.powerlaw.index", "b.blackbody.K", "b.blackbody.kT", "b.jet.index")
    assert frozen.thaw("a.powerlaw.K", "b.jet.K", "b.jet.pivot").free == (*model.free, "b.jet.pivot")


def test_bounds_are_narrowed(model):
    narrow = model.with_bounds({"b.blackbody.kT": (1 * u.eV, 1 * u.MeV)})
    assert narrow.parameters["b.blackbody.kT"].bounds == (0.001, 1000)


@pytest.mark.parametrize("bounds", [(5, 1), (3, 3), (-1, 5), (0, np.nan)])
def test_bounds_rise_within_those_of_the_component(model, bounds):
    with pytest.raises(ValueError, match=r"bounds of b.blackbody.kT must rise and lie within \(0, inf\) keV"):
        model.with_bounds({"b.blackbody.kT": bounds})


def test_bounds_may_be_widened_again(model):
    name = "b.blackbody.kT"
    assert model.with_bounds({name: (20, 40)}).with_bounds({name: (1, 100)}).parameters[name].bounds == (1, 100)


def test_bounds_that_exclude_the_value_are_refused(model):
    with pytest.raises(ValueError, match=r"b.blackbody.kT = 30 keV lies outside its bounds"):
        model.with_bounds({"b.blackbody.kT": (50, 100)})


def test_bounds_that_exclude_the_prior_are_refused(model):
    with pytest.raises(ValueError, match=r"of the prior .* lies outside the bounds"):
        model.with_priors({"b.blackbody.kT": dist.Uniform(10, 100)}).with_bounds({"b.blackbody.kT": (20, 50)})


def test_a_prior_outside_the_bounds_is_refused_with_the_way_out(model):
    match = r"of the prior Normal\(0, 1\) of a.powerlaw.K lies outside the bounds \(0, inf\).*truncate it"
    with pytest.raises(ValueError, match=match):
        model.with_priors({"a.powerlaw.K": dist.Normal(0, 1)})


def test_a_prior_that_hardly_touches_the_bounds_is_taken(model):
    assert "a.powerlaw.K" in model.with_priors({"a.powerlaw.K": dist.Normal(10, 1)}).priors


@pytest.mark.parametrize("prior", [3.0, dist.Normal(np.zeros(2), 1.0), dist.MultivariateNormal(np.zeros(2), np.eye(2))])
def test_a_prior_is_a_distribution_of_one_number(model, prior):
    with pytest.raises(TypeError, match=r"the prior of a.powerlaw.index must be a numpyro distribution of one number"):
        model.with_priors({"a.powerlaw.index": prior})


def test_a_prior_is_continuous(model):
    with pytest.raises(TypeError, match="must be continuous, got Poisson"):
        model.with_priors({"a.powerlaw.index": dist.Poisson(3.0)})


def test_a_prior_of_a_frozen_parameter_is_refused(model):
    with pytest.raises(ValueError, match=r"a.powerlaw.pivot is frozen, .* call model.thaw\('a.powerlaw.pivot'\) first"):
        model.with_priors({"a.powerlaw.pivot": dist.LogNormal()})


def test_a_linked_parameter_follows(model):
    linked = model.link("a.powerlaw.index", to="b.jet.index")
    assert "a.powerlaw.index" not in linked.free
    changed = linked.with_values({"b.jet.index": -1.5})
    assert changed.values["a.powerlaw.index"] == -1.5
    assert_allclose(changed["a"].spectrum(4.0), 2.0 / 8, rtol=1e-13)


def test_a_link_may_be_any_function_of_several_parameters(model):
    linked = model.link(
        "b.jet.K", to=("a.powerlaw.K", "a.powerlaw.index"), function=lambda K, index: K * jnp.exp(index)
    )
    changed = linked.with_values({"a.powerlaw.K": 3.0, "a.powerlaw.index": -1.0})
    assert_allclose(changed.values["b.jet.K"], 3 / np.e, rtol=1e-14)


def test_links_form_chains_in_any_order(model):
    chain = model.link("b.jet.index", to="a.powerlaw.index", function=lambda x: x - 1)
    chain = chain.link("a.powerlaw.index", to="a.powerlaw.K", function=lambda x: -x)
    assert chain.with_values({"a.powerlaw.K": 3.0}).values["b.jet.index"] == -4.0


def test_a_linked_value_cannot_be_set_from_outside(model):
    linked = model.link("a.powerlaw.index", to="b.jet.index")
    assert linked.at({"a.powerlaw.index": 99.0}).values["a.powerlaw.index"] == -2.0


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda model, name: model.with_values({name: 1.0}), "value"),
        (lambda model, name: model.with_priors({name: dist.Normal()}), "prior"),
        (lambda model, name: model.with_bounds({name: (0, 1)}), "bounds"),
        (lambda model, name: model.freeze(name), "freedom"),
        (lambda model, name: model.thaw(name), "freedom"),
    ],
)
def test_a_linked_parameter_has_nothing_of_its_own(model, change, what):
    linked = model.link("a.powerlaw.index", to="b.jet.index")
    match = rf"a.powerlaw.index is linked \(= b.jet.index\), so it has no {what} of its own; unlink it first"
    with pytest.raises(ValueError, match=match):
        change(linked, "a.powerlaw.index")


def test_an_unlinked_parameter_keeps_its_value_and_is_free_again(model):
    linked = model.link("a.powerlaw.index", to="b.jet.index").with_values({"b.jet.index": -1.5})
    free = linked.unlink("a.powerlaw.index")
    assert free.values["a.powerlaw.index"] == -1.5
    assert free.free == model.free


def test_a_prior_sleeps_while_its_parameter_is_linked(model):
    name = "a.powerlaw.index"
    linked = model.with_priors({name: dist.Normal(-1, 1)}).link(name, to="b.jet.index")
    assert "Normal(-1, 1)" not in repr(linked)
    assert linked.unlink(name).parameters[name].prior is not None


def test_only_a_linked_parameter_is_unlinked(model):
    with pytest.raises(ValueError, match=r"b.jet.K is not linked; linked are: none"):
        model.unlink("b.jet.K")


def test_a_ring_of_links_is_refused(model):
    with pytest.raises(ValueError, match=r"the links form a ring: .*Unlink one of these parameters"):
        model.link("a.powerlaw.index", to="b.jet.index").link("b.jet.index", to="a.powerlaw.index")


def test_a_parameter_is_not_linked_to_itself(model):
    with pytest.raises(ValueError, match=r"the links form a ring: b.jet.K -> b.jet.K"):
        model.link("b.jet.K", to="b.jet.K")


def test_a_law_takes_a_value_for_each_parameter(model):
    with pytest.raises(TypeError, match=r"a law is called with a value for each of its parameters, 1 here.*'b'"):
        model.link("b.jet.K", to="b.jet.index", function=lambda a, b: a)


def test_a_link_of_other_units_needs_a_law(model):
    match = r"b.jet.K is in 1 / \(cm2 s keV\), b.jet.index in no unit: give the law"
    with pytest.raises(ValueError, match=match):
        model.link("b.jet.K", to="b.jet.index")


def test_a_link_to_several_parameters_needs_a_law(model):
    with pytest.raises(ValueError, match=r"a link of b.jet.K to 2 parameters needs function="):
        model.link("b.jet.K", to=("a.powerlaw.K", "b.blackbody.K"))


@pytest.mark.parametrize("law", [lambda x: jnp.log(-jnp.abs(x)), lambda x: jnp.array([x, x])])
def test_a_law_gives_one_finite_number(model, law):
    with pytest.raises(ValueError, match=r"the link of b.jet.K gives .* at the present values, not one finite number"):
        model.link("b.jet.K", to="a.powerlaw.K", function=law)


def test_the_table_shows_what_each_parameter_is(model):
    shown = repr(
        model.with_priors({"b.jet.index": dist.Normal(-2, 1)}).freeze("b.jet.K").link("a.powerlaw.K", to="b.jet.K")
    )
    lines = {line.split()[0]: line.split() for line in shown.splitlines() if line.count(".")}
    assert lines["b.jet.index"] == ["b.jet.index", "-2", "(-10,", "10)", "Normal(-2,", "1)", "free"]
    assert lines["b.jet.K"][-1] == "frozen"
    assert lines["a.powerlaw.K"][-2:] == ["=", "b.jet.K"]
    assert "1 / (cm2 s keV)" in shown
    assert "PointSource('a', PowerLaw(K=1, index=-2, pivot=1))" in shown


def test_the_table_of_a_notebook_has_a_row_for_each_parameter(model):
    html = model._repr_html_()
    assert html.count("<tr>") == 1 + len(NAMES)
    assert "<th>parameter</th>" in html
    assert all(f">{name}</td>" in html for name in NAMES)


def test_the_table_of_a_notebook_escapes_names():
    assert "<b>" not in Model(PointSource("<b>", PowerLaw()))._repr_html_()
