import itertools
import math

import numpy as np
import pytest
import torch

from heatgrad.laplacian import Laplacian


@pytest.mark.parametrize(("shift", "scale"), [(1.0, 0.0), (1.0, 0.7), (2.5, 30.0), (1e-3, 1.0)])
def test_agrees_with_a_dense_solve(dense, random_field, grid, boundary, shift, scale):
    """numpy.linalg.solve of the independently built matrix."""
    shape, dims = grid
    y = random_field(shape)
    matrix = shift * np.eye(y.numel()) - scale * dense(shape, dims, boundary)
    truth = np.linalg.solve(matrix, y.numpy().ravel()).reshape(shape)
    ours = Laplacian(dims, boundary).solve(y, shift, scale)
    assert ours.dtype == y.dtype
    # Both lose up to the condition number (at most 1 + 12 / 1e-3) of the 16 digits.
    np.testing.assert_allclose(ours.numpy(), truth, rtol=1e-11, atol=1e-11 * np.abs(truth).max())


def test_inverts_the_shifted_stencil(random_field, grid, boundary):
    """The stencil itself: (shift I - scale Lap) solve(y) = y."""
    shape, dims = grid
    lap, y = Laplacian(dims, boundary), random_field(shape)
    x = lap.solve(y, shift=0.5, scale=3.0)
    residual = 0.5 * x - 3.0 * lap(x) - y
    assert residual.norm() <= 1e-12 * y.norm()


@pytest.mark.parametrize("boundary", ["neumann", "periodic"])
def test_poisson_with_zero_mean(dense, random_field, boundary):
    """The pseudo-inverse of the dense matrix (numpy.linalg.pinv)."""
    shape, dims = (4, 3, 5), (0, 2)
    y = random_field(shape)
    y = y - y.mean(dims, keepdim=True)
    x = Laplacian(dims, boundary).solve(y, shift=0.0, scale=2.0)
    truth = np.linalg.pinv(-2.0 * dense(shape, dims, boundary)) @ y.numpy().ravel()
    np.testing.assert_allclose(x.numpy().ravel(), truth, atol=1e-12)
    assert x.mean(dims).abs().max() < 1e-14


def test_dirichlet_poisson_is_exact_on_a_parabola():
    """-u'' = 1, u(0) = u(1) = 0 has u = t (1 - t) / 2, on which second differences are exact."""
    n = 50
    h = 1 / (n + 1)
    t = torch.arange(1, n + 1, dtype=torch.float64) * h
    u = Laplacian(None, "dirichlet").solve(torch.ones_like(t), shift=0.0, scale=1 / h**2)
    torch.testing.assert_close(u, t * (1 - t) / 2, rtol=1e-12, atol=0)


@pytest.mark.parametrize("sigma", [0.1, 1.0, 5.0])
@pytest.mark.parametrize("boundary", ["neumann", "periodic", "dirichlet"])
def test_greens_function_of_the_line(boundary, sigma):
    """On an infinite line (I - sigma Lap)^-1 e_0 = r^|j| / sqrt(1 + 4 sigma), Eq. (L.13)."""
    n, centre = 401, 200
    source = torch.zeros(n, dtype=torch.float64)
    source[centre] = 1
    x = Laplacian(None, boundary).solve(source, shift=1.0, scale=sigma)
    r = 1 + 1 / (2 * sigma) - math.sqrt(1 / sigma + 1 / (4 * sigma**2))
    distance = (torch.arange(n, dtype=torch.float64) - centre).abs()
    # The ends are 200 cells away, where even r = .64 has fallen below 1e-38.
    torch.testing.assert_close(x, r**distance / math.sqrt(1 + 4 * sigma), rtol=0, atol=1e-14)


@pytest.mark.parametrize("boundary", ["neumann", "periodic"])
def test_smoothing_limits(random_field, boundary):
    """With sigma 0 the identity, with sigma to infinity the mean; the sum is always kept."""
    lap, y = Laplacian(None, boundary), random_field((6, 5))
    torch.testing.assert_close(lap.solve(y, 1.0, 0.0), y, rtol=0, atol=1e-14)
    flat = lap.solve(y, 1.0, 1e14)
    torch.testing.assert_close(flat, y.mean().expand(6, 5), rtol=0, atol=1e-12)
    assert lap.solve(y, 1.0, 3.0).sum() == pytest.approx(y.sum().item(), abs=1e-12)


def test_smoothing_never_lengthens(random_field, boundary):
    """All gains 1 / (1 + sigma s) lie in (0, 1], for every sigma."""
    y = random_field((6, 5))
    norms = [Laplacian(None, boundary).solve(y, 1.0, s).norm() for s in (0.0, 0.1, 1.0, 1e3, 1e9)]
    assert all(b <= a * (1 + 1e-14) for a, b in itertools.pairwise(norms))


def test_complex_parts_are_solved_apart(random_field, boundary):
    """The operator is real and linear."""
    lap, y = Laplacian(None, boundary), random_field((4, 5), torch.complex128)
    x = lap.solve(y, 1.0, 2.0)
    apart = torch.complex(lap.solve(y.real, 1.0, 2.0), lap.solve(y.imag, 1.0, 2.0))
    torch.testing.assert_close(x, apart, rtol=0, atol=1e-14)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_types(random_field, boundary, dtype):
    """The float64 solution for the same stored numbers, within the rounding of the type."""
    lap, y = Laplacian(None, boundary), random_field((4, 5)).to(dtype)
    x = lap.solve(y, 1.0, 2.0)
    assert x.dtype == dtype
    exact = lap.solve(y.double(), 1.0, 2.0)
    assert (x.double() - exact).abs().max() <= 2 * torch.finfo(dtype).eps * exact.abs().max()


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_gradients(random_field, boundary, dtype):
    """Finite differences, also of the solve with shift 0 on vectors of zero mean."""
    lap = Laplacian((0, 2), boundary)
    y = random_field((3, 1, 2), dtype).requires_grad_()
    assert torch.autograd.gradcheck(lambda v: lap.solve(v, 1.0, 2.0), y)
    assert torch.autograd.gradcheck(
        lambda v: lap.solve(v - v.mean((0, 2), keepdim=True), 0.0, 2.0), y
    )


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0)])
def test_empty_tensors_pass_through(boundary, shape):
    """There is nothing to solve."""
    assert Laplacian(None, boundary).solve(torch.empty(shape), 0.0, 1.0).shape == shape


@pytest.mark.parametrize("boundary", ["neumann", "periodic"])
def test_axes_of_one_cell(boundary):
    """Lap is 0 there, so the solution is y / shift, and for shift 0 only y = 0 has one."""
    lap = Laplacian(0, boundary)
    assert lap.solve(torch.tensor([[3.0, 4.0]]), 2.0, 5.0).tolist() == [[1.5, 2.0]]
    assert lap.solve(torch.zeros(1, 2), 0.0, 5.0).tolist() == [[0.0, 0.0]]
    with pytest.raises(ValueError, match="y must have zero mean"):
        lap.solve(torch.ones(1, 2), 0.0, 5.0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("size", [1e-3, 1.0, 1e3])
def test_tolerance_of_the_mean(dtype, size):
    """sqrt(eps) of the largest value, whatever the units of y."""
    lap = Laplacian(-1, "neumann")
    limit = math.sqrt(torch.finfo(dtype).eps)
    y = torch.tensor([[1.0, -1.0, 1.0, -1.0]] * 2, dtype=torch.float64)
    y[1] += 0.3 * limit
    assert lap.solve((size * y).to(dtype), 0.0, 1.0).isfinite().all()
    y[1] += 3 * limit
    with pytest.raises(ValueError, match=r"zero mean along the diffused axes \(1,\).*subtract"):
        lap.solve((size * y).to(dtype), 0.0, 1.0)


def test_mean_left_by_rounding_is_accepted(random_field):
    """Values far from zero whose mean was subtracted in their own type."""
    y = random_field((100, 100), torch.float32) + 100
    assert Laplacian().solve(y - y.mean(), 0.0, 1.0).isfinite().all()


@pytest.mark.parametrize("name", ["shift", "scale"])
@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf])
def test_bad_coefficients(name, value):
    """Messages give requirement and value."""
    arguments = {"shift": 1.0, "scale": 1.0, name: value}
    with pytest.raises(ValueError, match=f"{name} must be finite and at least 0, got {value}"):
        Laplacian().solve(torch.ones(3), **arguments)


@pytest.mark.parametrize(("dims", "scale"), [(None, 0.0), ((), 1.0)])
def test_zero_operator(dims, scale):
    """0 x = y has no unique solution."""
    with pytest.raises(ValueError, match=r"must be invertible, got shift=0.*positive shift"):
        Laplacian(dims, "dirichlet").solve(torch.ones(3), 0.0, scale)


@pytest.mark.parametrize(("shift", "scale"), [(0.0, 1e-40), (1e-40, 1.0), (1.0, 1e39)])
def test_coefficients_beyond_the_number_type(boundary, shift, scale):
    """float32 holds 1.2e-38 to 3.4e38; float64 holds these."""
    lap, y = Laplacian(None, boundary), torch.tensor([1.0, -1.0, 0.0])
    if boundary != "dirichlet" or shift != 1e-40:
        with pytest.raises(ValueError, match=r"must have eigenvalues between.*common factor"):
            lap.solve(y, shift, scale)
    assert lap.solve(y.double(), shift, scale).isfinite().all()


def test_no_diffused_axis(random_field):
    """Lap is 0: the solution is y / shift."""
    y = random_field((3,))
    assert torch.equal(Laplacian(()).solve(y, 2.0, 1.0), y / 2)
