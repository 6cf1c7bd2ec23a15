"""What holds for every component that is exported: each new one is picked up by itself."""

from __future__ import annotations

import collections
import dataclasses
import functools
import inspect
import itertools
import re

import astropy.units as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose
from references import KINKS, REFERENCES, ROUGH, components, in_use

from jaxspec import parameters
from jaxspec.quadrature import Bins

COMPONENTS = components()
CASES = [pytest.param(case, id=f"{name}-{i}") for name, cases in REFERENCES.items() for i, case in enumerate(cases)]
# Programs that run once: most of their time is compilation, a third of which is optimisation.
run_once = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
each_component = pytest.mark.parametrize("name", COMPONENTS)


def unlike(component):
    """Names of a component's parameters: of frozen ones that are declared alike (abundances), the first three."""
    kinds = collections.Counter()
    names = []
    for name, declared in parameters.declarations(component).items():
        kind = (declared.unit, declared.bounds)
        kinds[kind] += 1
        if declared.free or kinds[kind] <= 3:
            names.append(name)
    return names


def parameter_vector(component, names=None):
    """The values of a component's parameters as a vector, and the spectrum in use as a function of such a vector."""
    names = list(names or parameters.declarations(component))
    start = np.array([getattr(component, name) for name in names], float)

    def spectrum(vector):
        cast = jax.tree.map(lambda leaf: jnp.asarray(leaf, vector.dtype), component)
        return in_use(cast.with_fields(**dict(zip(names, vector))))

    return start, spectrum


def corners(component, names):
    """The values of these parameters with one free one at a time at each of its finite bounds."""
    start, _ = parameter_vector(component, names)
    declared = [parameters.declarations(component)[name] for name in names]
    rows = [start]
    for i, declaration in enumerate(declared):
        for bound in declaration.bounds:
            if np.isfinite(bound) and declaration.free:
                rows.append(np.where(np.arange(len(start)) == i, bound, start))
    return np.array(rows)


def test_every_component_has_reference_values_and_every_reference_a_component():
    assert set(REFERENCES) == set(COMPONENTS)


@pytest.mark.parametrize("case", CASES)
def test_values_agree_with_the_reference(case):
    assert_allclose(case.actual(case.spectrum), case.expected, rtol=case.rtol, atol=case.atol, err_msg=case.source)


@each_component
def test_docstring_has_one_sentence_a_formula_and_a_reference(name):
    text = inspect.getdoc(COMPONENTS[name])
    assert re.match(r"[A-Z][^\n]*\.\n\n", text)
    assert text.count("$$") >= 2
    assert "**Reference:** " in text


@each_component
def test_every_parameter_has_a_unit_that_astropy_reads_bounds_around_its_default_and_a_doc(name):
    component = COMPONENTS[name]()
    for field, declared in parameters.declarations(component).items():
        u.Unit(declared.unit)
        assert declared.bounds[0] <= getattr(component, field) <= declared.bounds[1]
        assert declared.doc


@run_once
def everything_of(spectrum, coarse, fine):
    """The values at the nodes of fine bins; integrals over coarse ones of a moment that is traced, and one that is not.

    In one program: one by one, each operation is compiled by itself, which takes six times as long.
    """
    traced = jax.vmap(lambda moment: spectrum.integral(coarse, moment))(jnp.arange(3.0))
    return spectrum(fine.energy), traced, [spectrum.integral(coarse, moment) for moment in (0, 1, 2)]


@each_component
def test_bin_integrals_agree_with_64_times_finer_ones(name):
    spectrum = in_use(COMPONENTS[name]())
    edges = np.geomspace(0.3, 600.0, 61)
    fine = np.geomspace(0.3, 600.0, 60 * 64 + 1)
    smooth = np.array([not any(a <= kink <= b for kink in KINKS.get(name, ())) for a, b in itertools.pairwise(edges)])
    coarse_bins, fine_bins = (Bins.fine_enough(each[:-1], each[1:]) for each in (edges, fine))
    # The finer ones by the values alone, so that closed forms are tested too.
    values, traced, static = everything_of(spectrum, coarse_bins, fine_bins)
    for moment in (0, 1, 2):
        content = np.asarray(values * fine_bins.weight * fine_bins.energy**moment)
        expected = content.sum(axis=0).reshape(60, 64).sum(axis=1)[smooth]
        actual = traced[moment][smooth]
        assert_allclose(actual, expected, rtol=ROUGH.get(name, 1e-6), atol=1e-9 * np.max(np.abs(expected)))
        assert_allclose(static[moment][smooth], actual, rtol=1e-11, atol=1e-11 * np.max(actual))


def bins_on_thresholds(component, dtype):
    """Wide bins, and one for each parameter that is an energy: its lower edge and its first node are at that energy."""
    edges = np.geomspace(0.5, 500.0, 7)
    declared = parameters.declarations(component).items()
    energies = np.array([getattr(component, name) for name, each in declared if each.unit == "keV"])
    energies = energies[(energies > 0.1) & (energies < 1e3)]
    bins = Bins.of(np.append(edges[:-1], energies), np.append(edges[1:], 1.1 * energies), 3)
    nodes = np.array(bins.energy)
    nodes[0, len(edges) - 1 :] = energies
    bins = dataclasses.replace(bins, energy=jax.device_put(nodes))
    return jax.tree.map(lambda leaf: leaf.astype(dtype), bins)


@each_component
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_value_gradient_and_hessian_are_finite_at_every_bound_and_threshold(name, dtype):
    component = COMPONENTS[name]()
    names = unlike(component)
    _, spectrum = parameter_vector(component, names)
    bins = bins_on_thresholds(component, dtype)

    def photons(vector):
        return spectrum(vector).integral(bins)

    def backward(vector):
        value, pull = jax.vjp(photons, vector)
        slopes = jax.vmap(pull)(jnp.eye(len(value), dtype=dtype))[0]
        return slopes, (value, slopes)

    def everything(vector):  # with as few copies of the component as can be, which take long to compile
        hessian, (value, reverse) = jax.jacfwd(backward, has_aux=True)(vector)
        return value, jax.jacfwd(photons)(vector), reverse, hessian

    points = corners(component, names).astype(dtype)
    value, forward, reverse, hessian = run_once(jax.vmap(everything))(points)
    assert value.dtype == dtype
    for what, numbers in {"value": value, "forward": forward, "reverse": reverse, "hessian": hessian}.items():
        bad = ~np.isfinite(numbers)
        assert not bad.any(), f"{what}: at {points[bad.reshape(len(points), -1).any(axis=1)]}"
    assert (np.asarray(value) >= 0).all()
    # What is rounded is the value: in a derivative by ln p that is as much, by p it is 1 / p times as much.
    rounding, apart = 300 * np.finfo(dtype).eps, np.where(points == 0, np.inf, np.abs(points))[:, None]
    scale = np.maximum(np.max(np.abs(forward)), np.max(np.abs(value), axis=1)[:, None, None] / apart)
    assert np.all(np.abs(reverse - forward) <= rounding * (np.abs(forward) + scale))


@each_component
def test_gradient_agrees_with_finite_differences(name):
    component = COMPONENTS[name]()
    start, spectrum = parameter_vector(component)
    energy = np.array([0.73, 2.9, 17.3, 61.0, 430.0])
    value = run_once(lambda vector: spectrum(vector)(energy))
    gradient = np.asarray(jax.jacfwd(value)(start))
    for i, declaration in enumerate(parameters.declarations(component).values()):
        step = 1e-5 * np.maximum(abs(start[i]), 0.01)
        low, high = (np.clip(start[i] + sign * step, *declaration.bounds) for sign in (-1, 1))
        unit = np.arange(len(start)) == i
        ends = [np.asarray(value(np.where(unit, end, start))) for end in (low, high)]
        expected = (ends[1] - ends[0]) / (high - low)
        rounding = 4 * np.finfo(float).eps * np.max(np.abs(ends)) / (high - low)
        atol = 1e-6 * np.max(np.abs(expected)) + rounding + 1e-100
        # At a bound the difference has one side only, and is that much worse.
        rtol = 2e-6 if low < start[i] < high else 1e-3
        assert_allclose(
            gradient[:, i], expected, rtol=rtol, atol=atol, err_msg=list(parameters.declarations(component))[i]
        )
