"""The layouts of a response against the product of its sparse matrix."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

from jaxspec import Model, Observation, PointSource, Problem, Response, folding
from jaxspec.folding import BandedFold, BlockFold, DenseFold, fitted_matrix, fold_of, photon_range
from jaxspec.spectra import PowerLaw


def banded(rows, columns, width):
    rng = np.random.default_rng(1)
    centre = np.linspace(0, columns - width, rows).astype(int)
    dense = np.zeros((rows, columns))
    for i, first in enumerate(centre):
        dense[i, first : first + width] = rng.uniform(1, 2, width)
    return dense


def stepped(rows, columns):
    """A few channels that see everything, as below an escape peak, and many that see little."""
    dense = banded(rows, columns, 20)
    dense[: rows // 16] = np.random.default_rng(2).uniform(1, 2, (rows // 16, columns))
    return dense


MATRICES = [
    (banded(40, 50, 20), DenseFold),
    (np.random.default_rng(3).uniform(size=(400, 300)), DenseFold),
    (banded(1024, 1024, 20), BandedFold),
    (stepped(1024, 1024), BlockFold),
]


def check(fold, dense):
    rng = np.random.default_rng(0)
    photons, weights = rng.uniform(1, 2, dense.shape[1]), rng.uniform(1, 2, dense.shape[0])
    matrix = sparse.csr_array(dense)
    assert_allclose(fold(jnp.asarray(photons)), matrix @ photons, rtol=1e-12, atol=1e-300)
    slope = jax.grad(lambda x: jnp.asarray(weights) @ fold(x))(jnp.asarray(photons))
    assert_allclose(slope, matrix.T @ weights, rtol=1e-12, atol=1e-300)


@pytest.mark.parametrize(("dense", "layout"), MATRICES, ids=["small", "full", "banded", "stepped"])
def test_a_layout_multiplies_like_the_sparse_matrix(dense, layout):
    fold = fold_of(sparse.csr_array(dense))
    assert isinstance(fold, layout)
    check(fold, dense)


@pytest.mark.parametrize(("dense", "layout"), MATRICES, ids=["small", "full", "banded", "stepped"])
def test_a_matrix_in_single_precision_is_added_up_in_double(dense, layout):
    stored = (dense / 3).astype(np.float32)
    fold = fold_of(sparse.csr_array(stored))
    assert isinstance(fold, layout)
    assert {leaf.dtype for leaf in jax.tree.leaves(fold) if leaf.ndim > 1} == {np.dtype(np.float32)}
    check(fold, stored.astype(float))


def test_a_response_in_single_precision_is_folded_as_such(demo):
    single = demo.in_single_precision().restricted(np.arange(64))
    assert single.matrix.dtype == np.float32
    assert_allclose(single.area, demo.restricted(np.arange(64)).area, rtol=1e-7)
    found = fitted_matrix(single, Observation(np.ones(64), single, 1.0).group("constant", 2).selection())
    assert found.dtype == np.float32
    model = Model(PointSource("a", PowerLaw()))
    seen = [Observation(np.ones(128), each, 1.0, name="a") for each in (demo, demo.in_single_precision())]
    exact, ours = (Problem(model, each).expected_counts()["a"] for each in seen)
    assert ours.dtype == np.float64
    assert_allclose(ours, exact, rtol=1e-7)


@pytest.mark.parametrize("dense", [MATRICES[2][0], MATRICES[3][0]], ids=["banded", "stepped"])
def test_a_layout_stores_less_than_the_matrix(dense):
    stored = sum(leaf.size for leaf in jax.tree.leaves(fold_of(sparse.csr_array(dense))))
    assert stored < 0.2 * dense.size


@settings(max_examples=12, deadline=None)
@given(st.data())
def test_any_sparse_matrix_is_folded_right(data):
    rows, columns = data.draw(st.sampled_from([(3, 200), (200, 3), (130, 97)]))
    windows = data.draw(st.lists(st.tuples(st.integers(0, columns - 1), st.integers(0, 30)), min_size=1, max_size=12))
    dense = np.zeros((rows, columns))
    for i in range(rows):
        first, width = windows[i * len(windows) // rows]
        dense[i, first : first + width] = 1 + i % 7
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(folding, "_SMALL", 0)
        with jax.disable_jit():
            photons = np.linspace(1, 2, columns)
            fold = fold_of(sparse.csr_array(dense))
            assert_allclose(fold(jnp.asarray(photons)), dense @ photons, rtol=1e-12)


@pytest.mark.parametrize("layout", [BandedFold, BlockFold])
def test_empty_rows_at_both_ends_give_no_counts(layout, monkeypatch):
    dense = banded(1024, 1024, 20) if layout is BandedFold else stepped(1024, 1024)
    dense[:70], dense[-3:] = 0, 0
    if layout is BlockFold:
        dense[100:130] = 1
    fold = fold_of(sparse.csr_array(dense))
    assert isinstance(fold, layout)
    check(fold, dense)


def test_a_fold_is_batched_by_vmap():
    dense = MATRICES[3][0]
    photons = np.random.default_rng(0).uniform(1, 2, (3, 1024))
    assert_allclose(jax.vmap(fold_of(sparse.csr_array(dense)))(photons), photons @ dense.T, rtol=1e-12)


def test_the_fold_of_the_demo_response_is_its_matrix(demo):
    check(fold_of(demo.matrix), demo.matrix.toarray())


def test_rows_of_a_bin_are_added_up_and_scaled():
    dense = np.arange(1.0, 25.0).reshape(6, 4)
    edges, channels = np.arange(1.0, 6.0), np.arange(6.0)
    response = Response(edges[:-1], edges[1:], np.arange(6), channels, channels + 1, dense)
    scale = np.array([1.0, 1.0, 2.0, 2.0, 3.0, 3.0])
    observation = Observation(np.ones(6), response, 1.0, area_scale=scale).group("constant", 2)
    found = fitted_matrix(response, observation.ignore((0, 1), channels=True).selection()).toarray()
    assert_allclose(found, [2 * dense[2] + 2 * dense[3], 3 * dense[4] + 3 * dense[5]], rtol=1e-15)


def test_photon_bins_that_no_channel_sees_are_left_out():
    dense = np.zeros((5, 200))
    dense[:, 50:60] = 1.0
    found = photon_range(sparse.csr_array(dense))
    assert (found.start, found.stop) == (50, 82)  # 32 at a time, so that neighbouring selections share a program


def test_the_range_of_photon_bins_stays_inside_the_matrix():
    dense = np.zeros((5, 70))
    dense[:, 60:] = 1.0
    found = photon_range(sparse.csr_array(dense))
    assert (found.start, found.stop) == (38, 70)


def test_a_matrix_that_sees_nothing_keeps_a_few_photon_bins():
    found = photon_range(sparse.csr_array(np.zeros((3, 10))))
    assert_array_equal(np.arange(10)[found], np.arange(10))
