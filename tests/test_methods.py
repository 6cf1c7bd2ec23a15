"""Settings of the samplers."""

import dataclasses

import pytest

from jaxspec import NUTS, NestedSlice, UltraNest
from jaxspec.methods import from_settings


def test_methods_are_equal_by_their_settings():
    assert NUTS(draws=10) == NUTS(draws=10) != NUTS(draws=11)
    assert hash(NUTS()) == hash(NUTS())


def test_methods_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        NUTS().draws = 5


@pytest.mark.parametrize("method", [NUTS(draws=7, target_accept=0.9), UltraNest(frac_remain=0.5), NestedSlice(moves=5)])
def test_methods_are_rebuilt_from_their_settings(method):
    assert from_settings(type(method).__name__, dataclasses.asdict(method)) == method


@pytest.mark.parametrize("field", ["draws", "warmup", "chains", "max_tree_depth"])
@pytest.mark.parametrize("value", [0, -1, 1.5])
def test_nuts_counts_are_positive_whole_numbers(field, value):
    with pytest.raises(ValueError, match=rf"NUTS\({field}=...\) must be a positive whole number, got {value}"):
        NUTS(**{field: value})


@pytest.mark.parametrize("value", [0, 1, 1.2])
def test_the_acceptance_is_a_probability(value):
    with pytest.raises(ValueError, match=r"NUTS\(target_accept=...\) must lie between 0 and 1"):
        NUTS(target_accept=value)


@pytest.mark.parametrize("value", [10, 400.0])
def test_ultranest_needs_live_points(value):
    with pytest.raises(ValueError, match=r"UltraNest\(live_points=...\) must be a whole number of at least 40"):
        UltraNest(live_points=value)


@pytest.mark.parametrize("field", ["frac_remain", "dlogz", "min_ess"])
def test_ultranest_settings_are_positive(field):
    with pytest.raises(ValueError, match=rf"UltraNest\({field}=...\) must be positive, got 0"):
        UltraNest(**{field: 0})


@pytest.mark.parametrize(("field", "value"), [("live_points", 10), ("batch", 0), ("moves", 1.5)])
def test_whole_numbers_of_nested_slices_are_checked(field, value):
    with pytest.raises(ValueError, match=rf"NestedSlice\({field}=...\) must be a whole number of at least"):
        NestedSlice(**{field: value})


def test_fewer_points_are_replaced_than_live():
    with pytest.raises(ValueError, match=r"NestedSlice\(batch=100\) must be less than live_points = 100"):
        NestedSlice(live_points=100)


def test_the_share_that_remains_of_nested_slices_is_a_share():
    with pytest.raises(ValueError, match=r"NestedSlice\(frac_remain=...\) must lie between 0 and 1, got 1"):
        NestedSlice(frac_remain=1)
