import numpy as np
import pytest
import scipy.fft
import torch

from heatgrad.laplacian import Laplacian, axis_eigenvalues, dct2, dst1, idct2


def test_eigenvalues_are_those_of_the_dense_matrix(dense, grid, boundary):
    """numpy.linalg.eigvalsh of the independently built matrix."""
    shape, dims = grid
    ours = Laplacian(dims, boundary).eigenvalues(shape)
    assert ours.dtype == torch.float64
    assert bool((ours <= 0).all())
    ours = np.sort(np.broadcast_to(ours.numpy(), shape).ravel())
    truth = np.linalg.eigvalsh(dense(shape, dims, boundary))
    np.testing.assert_allclose(ours, truth, atol=1e-13)


def test_transform_diagonalises_the_stencil(random_field, grid, boundary):
    """Eigenvectors: transform(Lap x) = eigenvalues * transform(x), mode by mode."""
    shape, dims = grid
    lap, x = Laplacian(dims, boundary), random_field(shape)
    left = lap.transform(lap(x))
    right = lap.eigenvalues(shape) * lap.transform(x)
    assert left.shape == x.shape
    torch.testing.assert_close(left, right, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_transform_is_orthonormal(random_field, grid, boundary, dtype):
    """Parseval on pairs of vectors, and the inverse undoes it in both orders."""
    shape, dims = grid
    lap = Laplacian(dims, boundary)
    x, y = random_field((2, *shape), dtype)
    inner = torch.vdot(lap.transform(x).ravel(), lap.transform(y).ravel())
    truth = torch.vdot(x.ravel(), y.ravel())
    torch.testing.assert_close(inner, truth.to(inner.dtype), rtol=1e-12, atol=1e-12)
    back = lap.inverse_transform(lap.transform(x))
    torch.testing.assert_close(back, x.to(back.dtype), rtol=0, atol=1e-13)
    forth = lap.transform(lap.inverse_transform(x))
    torch.testing.assert_close(forth, x.to(forth.dtype), rtol=0, atol=1e-13)


def test_agrees_with_scipy(random_field, grid, boundary):
    """scipy.fft: dctn type 2, dstn type 1 and fftn, each with norm="ortho"."""
    shape, dims = grid
    x = random_field(shape)
    axes = None if dims is None else dims
    if boundary == "neumann":
        truth = scipy.fft.dctn(x.numpy(), type=2, norm="ortho", axes=axes)
    elif boundary == "dirichlet":
        truth = scipy.fft.dstn(x.numpy(), type=1, norm="ortho", axes=axes)
    else:
        truth = scipy.fft.fftn(x.numpy(), norm="ortho", axes=axes)
    ours = Laplacian(dims, boundary).transform(x).numpy()
    assert ours.dtype == truth.dtype
    np.testing.assert_allclose(ours, truth, atol=1e-13)


@pytest.mark.parametrize("n", [1, 2, 3, 16, 17, 126])
def test_one_axis_transforms_against_their_sums(random_field, n):
    """The defining sums (L.5) and (L.7), written out as matrices."""
    x = random_field((n,))
    j = np.arange(n)
    cosines = np.cos(np.pi * np.outer(j, 2 * j + 1) / (2 * n)) * np.sqrt(2 / n)
    cosines[0] /= np.sqrt(2)
    sines = np.sin(np.pi * np.outer(j + 1, j + 1) / (n + 1)) * np.sqrt(2 / (n + 1))
    np.testing.assert_allclose(dct2(x).numpy(), cosines @ x.numpy(), atol=1e-12)
    np.testing.assert_allclose(idct2(x).numpy(), cosines.T @ x.numpy(), atol=1e-12)
    np.testing.assert_allclose(dst1(x).numpy(), sines @ x.numpy(), atol=1e-12)


def test_nyquist_mode_of_an_even_periodic_axis():
    """x_j = (-1)^j of unit length is mode n/2 alone, with eigenvalue -4."""
    n = 6
    lap = Laplacian(None, "periodic")
    x = torch.tensor([1.0, -1.0] * (n // 2), dtype=torch.float64) / n**0.5
    spectrum = lap.transform(x)
    truth = torch.zeros(n, dtype=torch.complex128)
    truth[n // 2] = 1
    torch.testing.assert_close(spectrum, truth, rtol=0, atol=1e-15)
    assert lap.eigenvalues((n,))[n // 2].item() == pytest.approx(-4, abs=1e-15)


def test_layout_of_the_eigenvalues():
    """Size 1 on the axes that are not diffused; sums of one-axis values on the others."""
    values = Laplacian((0, -1), "dirichlet").eigenvalues((3, 7, 2), dtype=torch.float32)
    assert values.shape == (3, 1, 2)
    assert values.dtype == torch.float32
    row, column = (axis_eigenvalues(n, "dirichlet", dtype=torch.float32) for n in (3, 2))
    torch.testing.assert_close(values[:, 0, :], row[:, None] + column[None, :])
    assert Laplacian(()).eigenvalues((3, 2)).tolist() == [[0.0]]


def test_memory_layout_changes_nothing(random_field, boundary):
    """The same numbers stored channels-last."""
    x = random_field((2, 3, 4, 5))
    lap = Laplacian((1, 2), boundary)
    stored = x.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(lap.transform(stored), lap.transform(x), rtol=0, atol=1e-14)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_types_of_the_transforms(random_field, boundary, dtype):
    """The float64 transform of the same stored numbers, within the rounding of the type."""
    lap = Laplacian(None, boundary)
    x = random_field((4, 5)).to(dtype)
    spectrum = lap.transform(x)
    assert spectrum.dtype == (torch.complex64 if boundary == "periodic" else dtype)
    exact = lap.transform(x.double())
    limit = 2 * torch.finfo(dtype).eps * exact.abs().max()
    assert (spectrum.to(exact.dtype) - exact).abs().max() <= limit
    assert lap.inverse_transform(spectrum).dtype == spectrum.dtype


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0)])
def test_empty_tensors_pass_through(boundary, shape):
    """There is nothing to compute."""
    lap = Laplacian(None, boundary)
    spectrum = lap.transform(torch.empty(shape))
    assert spectrum.shape == shape
    assert spectrum.is_complex() == (boundary == "periodic")
    assert lap.inverse_transform(spectrum).shape == shape
    assert lap.eigenvalues(shape).shape == shape


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_gradients(random_field, boundary, dtype):
    """Finite differences."""
    lap = Laplacian((0, 2), boundary)
    x = random_field((3, 1, 2), dtype).requires_grad_()
    assert torch.autograd.gradcheck(lap.transform, x)
    assert torch.autograd.gradcheck(lap.inverse_transform, x)


def test_errors(raises_type):
    """Messages give requirement, value and remedy."""
    with pytest.raises(TypeError, match=r"dtype must be a real floating.*complex64; try torch"):
        Laplacian().eigenvalues((3,), dtype=torch.complex64)
    with pytest.raises(ValueError, match="size of an axis must be at least 0, got -1"):
        Laplacian().eigenvalues((-1,))
    with raises_type(r"x must be one of .*got torch\.int64"):
        Laplacian().transform(torch.arange(3))
    with raises_type(r"y must be one of .*got torch\.bool"):
        Laplacian().inverse_transform(torch.ones(3, dtype=torch.bool))
