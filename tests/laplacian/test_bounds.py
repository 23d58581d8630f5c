import math

import numpy as np
import pytest
import torch

from heatgrad.laplacian import (
    Laplacian,
    max_explicit_diffusion,
    num_active_dims,
    spectral_radius,
)


def explicit_gains(matrix, diffusion):
    return 1 + diffusion * np.linalg.eigvalsh(matrix)


def test_no_mode_grows_or_changes_sign_at_the_bounds(dense, grid, boundary):
    """Amplification factors from numpy.linalg.eigvalsh of the independently built matrix."""
    shape, dims = grid
    num_dims = Laplacian(dims, boundary).num_active_dims(shape)
    matrix = dense(shape, dims, boundary)
    if num_dims == 0:
        assert not matrix.any()
        return
    gains = explicit_gains(matrix, max_explicit_diffusion(num_dims))
    assert np.abs(gains).max() <= 1 + 1e-12
    gains = explicit_gains(matrix, max_explicit_diffusion(num_dims, keep_sign=True))
    assert gains.min() >= -1e-12


@pytest.mark.parametrize("shape", [(40,), (12, 12)])
def test_bounds_are_sharp(dense, boundary, shape):
    """Above each bound (by 2 %) a long axis has a mode that grows, or changes sign."""
    matrix = dense(shape, None, boundary)
    n = len(shape)
    assert np.abs(explicit_gains(matrix, 1.02 * max_explicit_diffusion(n))).max() > 1
    assert explicit_gains(matrix, 1.02 * max_explicit_diffusion(n, keep_sign=True)).min() < 0


@pytest.mark.parametrize("num_dims", [1, 2, 3])
def test_checkerboard(num_dims):
    """The checkerboard on an even periodic grid has Lambda = -4N: gains -1 and 0, exactly."""
    lap = Laplacian(None, "periodic")
    x = 1.0 - 2.0 * (
        torch.stack(torch.meshgrid(*[torch.arange(4)] * num_dims, indexing="ij")).sum(0) % 2
    )
    step = x + max_explicit_diffusion(num_dims) * lap(x)
    torch.testing.assert_close(step, -x)
    step = x + max_explicit_diffusion(num_dims, keep_sign=True) * lap(x)
    torch.testing.assert_close(step, torch.zeros_like(x))
    for _ in range(50):
        x = x + 1.05 * max_explicit_diffusion(num_dims) * lap(x)
    assert x.abs().max() == pytest.approx(1.1**50, rel=1e-4)


def test_spectral_radius(dense, grid, boundary):
    """The largest |eigenvalue| by numpy.linalg.eigvalsh, and never above 4N."""
    shape, dims = grid
    lap = Laplacian(dims, boundary)
    truth = np.abs(np.linalg.eigvalsh(dense(shape, dims, boundary))).max()
    assert lap.spectral_radius(shape) == pytest.approx(truth, abs=1e-12)
    assert lap.spectral_radius(shape) <= 4 * lap.num_active_dims(shape) + 1e-12


def test_empty_axes():
    """No cells, no modes, nothing to diffuse."""
    for boundary in ("neumann", "periodic", "dirichlet"):
        assert spectral_radius((0,), boundary) == 0
        assert num_active_dims((0,), boundary) == 0


def test_axes_of_one_cell_count_for_dirichlet_only():
    """Lap of one cell is 0, but -2x between zeros."""
    assert num_active_dims((1, 5, 1), "neumann") == 1
    assert num_active_dims((1, 5, 1), "periodic") == 1
    assert num_active_dims((1, 5, 1), "dirichlet") == 3


def test_nothing_to_diffuse_has_no_bound():
    """The identity is stable at any diffusion number."""
    assert max_explicit_diffusion(0) == math.inf
    assert max_explicit_diffusion(0, keep_sign=True) == math.inf


def test_errors(raises_type):
    """Messages give requirement, value and remedy."""
    with pytest.raises(ValueError, match="num_dims must be at least 0, got -1; pass"):
        max_explicit_diffusion(-1)
    with raises_type("num_dims must be an int, got 1.0; pass"):
        max_explicit_diffusion(1.0)
