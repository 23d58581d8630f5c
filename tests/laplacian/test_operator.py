import dataclasses
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import heatgrad.laplacian
from heatgrad.laplacian import BOUNDARIES, Laplacian, resolve_dims


@st.composite
def operators(draw):
    shape = tuple(draw(st.lists(st.integers(1, 5), min_size=1, max_size=3)))
    ndim = len(shape)
    axes = draw(st.lists(st.integers(0, ndim - 1), unique=True, max_size=ndim))
    signed = tuple(axis - ndim if draw(st.booleans()) else axis for axis in axes)
    dims = draw(st.sampled_from([signed, None]))
    return shape, dims, draw(st.sampled_from(BOUNDARIES)), draw(st.integers(0, 2**16))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(operators())
def test_every_shape_and_choice_of_axes(dense, case):
    """The dense matrix for the stencil and the solve; the identity for the transforms."""
    shape, dims, boundary, seed = case
    lap = Laplacian(dims, boundary)
    x = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    matrix = dense(shape, () if dims == () else dims, boundary)
    np.testing.assert_allclose(lap(x).numpy().ravel(), matrix @ x.numpy().ravel(), atol=1e-13)
    truth = np.linalg.solve(np.eye(x.numel()) - 0.8 * matrix, x.numpy().ravel())
    np.testing.assert_allclose(lap.solve(x, 1.0, 0.8).numpy().ravel(), truth, atol=1e-12)
    spectrum = lap.transform(x)
    torch.testing.assert_close(spectrum.norm(), x.norm(), rtol=1e-12, atol=0)
    back = lap.inverse_transform(lap.eigenvalues(shape) * spectrum)
    torch.testing.assert_close(back.real, lap(x), rtol=0, atol=1e-12)


def test_axes_not_diffused_are_a_batch(random_field, boundary):
    """A batch of one against many."""
    x, lap = random_field((3, 4)), Laplacian(-1, boundary)
    rows = torch.stack([lap.solve(row, 1.0, 2.0) for row in x])
    torch.testing.assert_close(lap.solve(x, 1.0, 2.0), rows, rtol=0, atol=1e-14)


@pytest.mark.parametrize(
    ("dims", "ndim", "expected"),
    [(None, 3, (0, 1, 2)), (-1, 3, (2,)), ((2, -3), 3, (0, 2)), ((), 2, ()), (None, 0, ())],
)
def test_resolve_dims(dims, ndim, expected):
    """By hand."""
    assert resolve_dims(dims, ndim) == expected


@pytest.mark.parametrize("method", ["__call__", "transform", "inverse_transform"])
def test_axis_out_of_range(method):
    """Messages give requirement, value and remedy."""
    apply = getattr(Laplacian((0, 2)), method)
    with pytest.raises(ValueError, match=r"dims must lie in -2\.\.1 .* 2 axes, got 2; use dims=No"):
        apply(torch.ones(3, 3))
    with pytest.raises(ValueError, match=r"dims must be empty for a tensor with 0 axes, got 0"):
        apply(torch.tensor(1.0))


def test_axis_named_twice():
    """At construction where that is plain, else when the rank is known."""
    with pytest.raises(ValueError, match=r"dims must name each axis once, got \(1, 1\); drop"):
        Laplacian((1, 1))
    with pytest.raises(ValueError, match=r"each axis once, got \(1, -1\) .* 2 axes; drop"):
        Laplacian((1, -1)).eigenvalues((3, 3))


@pytest.mark.parametrize("dims", ["0", 1.0, [0, 1], (0, None), True])
def test_dims_of_a_wrong_type(dims, raises_type):
    """Messages give requirement, value and remedy."""
    with raises_type(r"dims must be None .*an int or a tuple.*write e\.g\."):
        Laplacian(dims)


def test_unknown_boundary():
    """The message lists the choices."""
    # Dataclass fields: a type checker on the annotations, where one runs, complains first.
    message = r"boundary must be one of 'neumann', .* got 'robin'|Type-check error"
    with pytest.raises((ValueError, TypeError), match=message):
        Laplacian(None, "robin")


def test_is_a_value():
    """A frozen dataclass: equal, hashable, storable, unchangeable."""
    lap = Laplacian((0, 1), "periodic")
    assert lap == Laplacian((0, 1), "periodic")
    assert len({lap, Laplacian((0, 1), "periodic")}) == 1
    assert pickle.loads(pickle.dumps(lap)) == lap
    with pytest.raises(dataclasses.FrozenInstanceError):
        lap.dims = None


def test_public_names_exist():
    """`__all__` is what the subpackage offers."""
    for name in heatgrad.laplacian.__all__:
        assert hasattr(heatgrad.laplacian, name)
