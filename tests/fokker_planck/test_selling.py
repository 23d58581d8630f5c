"""Selling's decomposition: the sum is the matrix, for every positive definite one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heatgrad.fokker_planck.grid.selling import selling


def rebuilt(found):
    """The sum of weights times outer products."""
    return np.einsum("nk,nkp,nkq->npq", found.weights, found.offsets, found.offsets)


def random_matrices(count, p, condition, seed=0):
    rng = np.random.default_rng(seed)
    turns = np.linalg.qr(rng.standard_normal((count, p, p)))[0]
    values = condition ** -rng.random((count, p))
    return np.einsum("npk,nk,nqk->npq", turns, values, turns)


@pytest.mark.parametrize("p", [1, 2, 3])
@pytest.mark.parametrize("condition", [1.0, 1e2, 1e4, 1e6])
def test_sum_is_the_matrix(p, condition):
    """D = sum of rho e e', with rho >= 0 and whole offsets: checked by multiplication."""
    matrices = random_matrices(200, p, condition)
    found = selling(matrices)
    assert found.is_complete.all()
    assert (found.weights >= 0).all()
    # Rounding grows with the squared offsets, which the condition bounds.
    assert np.abs(rebuilt(found) - matrices).max() < 1e-14 * max(100.0, condition**0.7)


@given(
    st.floats(0, np.pi),
    st.floats(1.0, 1e4),
    st.floats(1e-3, 1e3),
)
@settings(max_examples=100, deadline=None)
def test_every_matrix_in_the_plane(angle, condition, scale):
    """The same for any angle, condition and unit."""
    c, s = np.cos(angle), np.sin(angle)
    turn = np.array([[c, -s], [s, c]])
    matrix = scale * turn @ np.diag([1.0, 1 / condition]) @ turn.T
    found = selling(matrix[None])
    assert found.is_complete.all()
    assert (found.weights >= 0).all()
    np.testing.assert_allclose(rebuilt(found)[0], matrix, atol=1e-12 * scale)


@pytest.mark.parametrize(("p", "most"), [(2, 3), (3, 6)])
def test_number_of_offsets(p, most):
    """Three offsets in the plane and six in space, and a diagonal matrix needs only the axes."""
    assert selling(np.eye(p)[None]).offsets.shape[1] == most
    found = selling(np.diag(np.arange(1.0, p + 1))[None])
    assert sorted(found.weights[0][found.weights[0] > 0]) == list(np.arange(1.0, p + 1))
    assert found.width.item() == 1


def test_offsets_of_the_reference():
    """Noise along 30 degrees with a thousandth across needs offsets up to (7, 4)."""
    g = np.array([np.cos(np.pi / 6), 0.5])
    found = selling((np.outer(g, g) + 1e-3 * np.eye(2))[None])
    offsets = np.abs(found.offsets[0]).tolist()
    assert [7, 4] in offsets
    assert found.width.item() == 7


def test_singular_matrices():
    """A range along the grid is found exactly; one along an irrational slope has no end."""
    along = selling(np.array([[[4.0, 2.0], [2.0, 1.0]]]), max_offset=50)
    assert along.is_complete.all()
    np.testing.assert_allclose(rebuilt(along), [[[4.0, 2.0], [2.0, 1.0]]], atol=1e-14)
    g = np.array([1.0, np.sqrt(2.0) - 1])
    assert not selling(np.outer(g, g)[None], max_offset=50).is_complete.any()
    assert selling(np.zeros((1, 2, 2))).weights.max() == 0


def test_refusals():
    with pytest.raises(ValueError, match="p = 1 to 3"):
        selling(np.eye(4)[None])
    with pytest.raises(ValueError, match="shape"):
        selling(np.ones((1, 2, 3)))
