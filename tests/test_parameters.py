"""Names, declarations, links."""

import math

import astropy.units as u
import jax
import numpyro.distributions as dist
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from jaxspec import parameters
from jaxspec.parameters import Link, Parameter
from jaxspec.spectra import AbstractAdditive, Blackbody, PowerLaw


class Example(AbstractAdditive):
    """Declares one parameter of each sort."""

    width: float = parameters.parameter(3, unit="keV", bounds=(0, math.inf), doc="a width")
    order: float = parameters.parameter(2, doc="a number", free=False)

    def evaluate(self, energy):
        return self.width * energy**self.order


def parameter(**changes):
    fields = {"name": "s.c.p", "value": 1.0, "unit": "keV", "bounds": (0.0, 10.0), "doc": "", "prior": None}
    return Parameter(**{**fields, "free": True, "link": None, **changes})


def test_declarations_say_what_the_class_says():
    found = parameters.declarations(Example())
    assert found["width"] == parameters.Declaration("keV", (0.0, math.inf), "a width", True)
    assert found["order"] == parameters.Declaration("", (-math.inf, math.inf), "a number", False)


def test_whole_numbers_become_floats_that_can_be_differentiated():
    assert isinstance(Example(width=4).width, float)
    assert jax.grad(lambda component: component(2.0))(Example(width=4)).width == 4.0


def test_quantities_are_converted_to_the_declared_unit():
    assert_allclose(Example(width=1 * u.MeV).width, 1000.0, rtol=1e-14)


def test_a_quantity_of_another_kind_is_refused():
    with pytest.raises(ValueError, match=r"the parameter \(a width\) is in keV, which s does not convert to"):
        Example(width=1 * u.s)


@pytest.mark.parametrize("name", ["", "a.b", "a:b", " a", "a "])
def test_a_name_that_would_break_parameter_names_is_refused(name):
    with pytest.raises(ValueError, match="a source cannot be called"):
        parameters.check_name(name, "source")


def test_a_name_is_a_string():
    with pytest.raises(TypeError, match="the name of a component is a string, got 3"):
        parameters.check_name(3, "component")


def test_an_unknown_name_offers_the_nearest():
    error = parameters.unknown("src1.blackbdy.kT", ["src1.blackbody.K", "src1.blackbody.kT"], "parameter")
    assert "no parameter is called 'src1.blackbdy.kT'; did you mean 'src1.blackbody.kT'?" in str(error)


def test_an_unknown_name_like_no_other_lists_them_all():
    assert "is called 'a'; there is none" in str(parameters.unknown("a", [], "source"))
    assert "known: 'a', 'b'" in str(parameters.unknown("quite different", ["a", "b"], "source"))


def test_links_of_the_same_code_are_equal():
    first, second = (Link(("a",), lambda x: 2 * x) for _ in range(2))
    assert first == second
    assert hash(first) == hash(second)


def test_links_of_other_numbers_are_not_equal():
    assert Link(("a",), lambda x: 2 * x) != Link(("a",), lambda x: 3 * x)
    assert Link(("a",), lambda x: 2 * x) != Link(("a",), lambda x: 2.0 * x)


def test_links_to_other_parameters_are_not_equal():
    assert Link(("a",)) != Link(("b",))


def test_links_that_see_other_variables_are_not_equal():
    def make(factor):
        return Link(("a",), lambda x: factor * x)

    assert make(2.0) == make(2.0)
    assert make(2.0) != make(3.0)


def test_links_with_other_defaults_are_not_equal():
    assert Link(("a",), lambda x, f=2.0: f * x) != Link(("a",), lambda x, f=3.0: f * x)


FACTOR = 2.0


def test_a_link_remembers_the_global_variables_of_its_making(monkeypatch):
    # A notebook's cell run again after "FACTOR = 3" must not find the program compiled for 2.
    before = Link(("a",), lambda x: FACTOR * x)
    monkeypatch.setitem(globals(), "FACTOR", 3.0)
    after = Link(("a",), lambda x: FACTOR * x)
    assert before != after


def test_a_link_says_what_it_does():
    def twice(x):
        return 2 * x

    assert str(Link(("a",))) == "= a"
    assert str(Link(("a", "b"), lambda x, y: x + y)) == "= f(a, b)"
    assert str(Link(("a",), twice)) == "= twice(a)"


def test_a_ring_of_links_is_shown():
    with pytest.raises(ValueError, match=r"the links form a ring: a -> b -> c -> a. Unlink one of these parameters"):
        parameters.link_order({"a": Link(("b",)), "b": Link(("c",)), "c": Link(("a",))})


@given(st.permutations(list(range(6))))
def test_links_are_followed_in_an_order_that_works(order):
    links = {f"p{i}": Link(tuple(f"p{j}" for j in range(i))) for i in order if i}
    found = parameters.link_order(links)
    assert sorted(found) == sorted(links)
    assert list(found) == sorted(found)


@pytest.mark.parametrize(
    ("changes", "state"),
    [({}, "free"), ({"free": False}, "frozen"), ({"free": False, "link": Link(("a.b.c",))}, "= a.b.c")],
)
def test_the_state_of_a_parameter_is_text(changes, state):
    assert parameter(**changes).state == state


@pytest.mark.parametrize("value", [-0.1, 10.1, math.inf])
def test_a_value_outside_the_bounds_is_refused(value):
    with pytest.raises(ValueError, match=r"s.c.p = .* keV lies outside its bounds \(0, 10\)"):
        parameter().check_value(value)


def test_a_value_that_is_not_a_number_is_refused():
    with pytest.raises(ValueError, match="lies outside its bounds"):
        parameter().check_value(math.nan)


def test_a_traced_value_is_not_checked():
    jax.make_jaxpr(lambda value: parameter().check_value(value))(20.0)


@pytest.mark.parametrize(
    ("prior", "support"),
    [
        (None, (0, 10)),
        (dist.Normal(0, 1), (0, 10)),
        (dist.LogNormal(0, 1), (0, 10)),
        (dist.Uniform(2, 20), (2, 10)),
        (dist.Beta(2, 2), (0, 1)),
        (dist.TruncatedNormal(5, 1, low=4), (4, 10)),
    ],
)
def test_a_parameter_lives_where_bounds_and_prior_allow(prior, support):
    assert parameter(prior=prior).support == support


def test_a_prior_is_written_with_its_numbers():
    assert parameters.prior_text(dist.Normal(-1, 0.5)) == "Normal(-1, 0.5)"
    assert parameters.prior_text(None) == ""


def test_a_component_refuses_values_outside_its_bounds():
    with pytest.raises(ValueError, match=r"Blackbody: kT = -1 keV lies outside its bounds \(0, inf\) \(temperature\)"):
        Blackbody(kT=-1)


def test_components_show_their_numbers():
    assert repr(PowerLaw(K=2, name="jet")) == "PowerLaw(K=2, index=-2, pivot=1, name='jet')"
