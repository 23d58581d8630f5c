"""Boxes of tensors over meshes, against `torch.chunk` applied to the tensor of all indices."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from heatgrad.laplacian import apply_stencil, smoothing_reach
from heatgrad.optim.sharded.layout import Layout
from heatgrad.optim.sharded.windows import _reflected


def parts(shape, mesh_shape, cuts):
    """What stands at each coordinate of the mesh, by torch's own cutting."""
    whole = torch.arange(int(np.prod(shape))).view(shape)
    for coordinate in itertools.product(*map(range, mesh_shape)):
        part = whole
        for mesh_axis, axis in cuts:
            chunks = torch.chunk(part, mesh_shape[mesh_axis], axis)
            turn = coordinate[mesh_axis]
            part = chunks[turn] if turn < len(chunks) else part.narrow(axis, 0, 0)
        yield coordinate, part


@settings(max_examples=60, deadline=None)
@given(
    shape=st.lists(st.integers(1, 7), min_size=1, max_size=3).map(tuple),
    mesh_shape=st.lists(st.integers(1, 4), min_size=1, max_size=2).map(tuple),
    data=st.data(),
)
def test_boxes_and_holders_are_those_of_chunk(shape, mesh_shape, data):
    """Every element is held where torch's chunk puts it, also after a second cut of one axis."""
    axes = [data.draw(st.integers(0, len(shape) - 1)) for _ in mesh_shape]
    cuts = tuple(data.draw(st.permutations(list(enumerate(axes)))))
    for coordinate, part in parts(shape, mesh_shape, cuts):
        layout = Layout(shape, mesh_shape, cuts, coordinate)
        first, sizes = layout.box
        assert sizes == tuple(part.shape)
        if part.numel():
            assert np.ravel_multi_index(first, shape) == part.reshape(-1)[0]
            holders, places = layout.locate(part.reshape(-1).numpy())
            assert set(holders) == {np.ravel_multi_index(coordinate, mesh_shape)}
            assert np.array_equal(places, np.arange(part.numel()))


def test_replicas_serve_themselves():
    """Along a mesh axis that does not cut, the holder is in the asker's own row."""
    layout = Layout((4, 3), (2, 2), ((1, 0),), (1, 0))
    holders, places = layout.locate(np.array([0, 5, 6, 11]))
    assert holders.tolist() == [2, 2, 3, 3]
    assert places.tolist() == [0, 5, 0, 5]


@pytest.mark.parametrize("num_cells", [1, 2, 3, 5])
@pytest.mark.parametrize("boundary", ["neumann", "periodic", "dirichlet"])
def test_reflections_obey_the_boundary(num_cells, boundary):
    """Far inside, the Laplacian of the extended line is the extended Laplacian of the line."""
    line = torch.randn(num_cells, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    index, weights = _reflected(np.arange(-40, 40), num_cells, boundary)
    extended = line[index] * torch.from_numpy(weights)
    moved = apply_stencil(line, 0, boundary)[index] * torch.from_numpy(weights)
    torch.testing.assert_close(apply_stencil(extended, 0)[1:-1], moved[1:-1], rtol=0, atol=1e-12)


@pytest.mark.parametrize("sigma", [0.01, 1.0, 100.0])
def test_reach_is_where_the_inverse_has_died(sigma):
    """The dense inverse of I - sigma Lap, one cell before the reach and at it."""
    matrix = (1 + 2 * sigma) * torch.eye(801, dtype=torch.float64)
    matrix.diagonal(1)[:] = matrix.diagonal(-1)[:] = -sigma
    column = torch.linalg.inv(matrix)[400]
    reach = smoothing_reach(sigma, 1e-6)
    assert column[400 + reach] <= 1e-6 * column[400] * (1 + 1e-6)
    assert column[400 + reach - 1] > 1e-6 * column[400]
