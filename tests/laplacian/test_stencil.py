import numpy as np
import pytest
import torch

from heatgrad.laplacian import Laplacian, apply_stencil


def fitted_slope(spacings, errors):
    return np.polyfit(np.log(spacings), np.log(errors), 1)[0]


def test_equals_the_dense_matrix(dense, random_field, grid, boundary):
    """The matrix is accumulated neighbour by neighbour, without our code."""
    shape, dims = grid
    x = random_field(shape)
    expected = (dense(shape, dims, boundary) @ x.numpy().ravel()).reshape(shape)
    # A handful of additions of numbers of order one.
    np.testing.assert_allclose(Laplacian(dims, boundary)(x).numpy(), expected, atol=1e-14)


@pytest.mark.parametrize(
    ("boundary", "expected"),
    [
        ("neumann", [[1.0, -1.0], [0.0]]),
        ("periodic", [[2.0, -2.0], [0.0]]),
        ("dirichlet", [[-1.0, -4.0], [-6.0]]),
    ],
)
def test_short_axes(boundary, expected):
    """By hand from the ghost cells: x = (2, 3), and x = (3)."""
    assert apply_stencil(torch.tensor([2.0, 3.0]), None, boundary).tolist() == expected[0]
    assert apply_stencil(torch.tensor([3.0]), None, boundary).tolist() == expected[1]


@pytest.mark.parametrize("boundary", ["neumann", "periodic"])
def test_conserves_the_sum(random_field, boundary):
    """Fluxes leave one cell and enter the next: sum(Lap x) = 0 by (L.4)."""
    x = random_field((5, 6, 4))
    total = Laplacian((0, 2), boundary)(x).sum(dim=(0, 2))
    assert total.abs().max() < 1e-12 * x.abs().sum()
    assert Laplacian(None, boundary)(torch.full((5, 6), 0.3)).abs().max() == 0


def test_is_symmetric_and_dissipates(random_field, grid, boundary):
    """Summation by parts: x.(Lap y) = (Lap x).y and x.(Lap x) <= 0."""
    shape, dims = grid
    lap = Laplacian(dims, boundary)
    x, y = random_field((2, *shape))
    assert torch.dot(x.ravel(), lap(y).ravel()) == pytest.approx(
        torch.dot(lap(x).ravel(), y.ravel()).item(), abs=1e-12
    )
    assert torch.dot(x.ravel(), lap(x).ravel()) <= 1e-12


def test_commutes_with_the_symmetries_of_the_grid(random_field):
    """Translation of a periodic grid and reflection of any grid move the result along."""
    x = random_field((6, 5))
    periodic = Laplacian(None, "periodic")
    shifted = periodic(x.roll((2, 3), (0, 1)))
    assert torch.equal(shifted, periodic(x).roll((2, 3), (0, 1)))
    for boundary in ("neumann", "periodic", "dirichlet"):
        lap = Laplacian(None, boundary)
        torch.testing.assert_close(lap(x.flip(0, 1)), lap(x).flip(0, 1), rtol=0, atol=1e-14)


@pytest.mark.parametrize("boundary", ["neumann", "periodic", "dirichlet"])
def test_second_order_in_the_spacing(boundary):
    """Taylor: Lap u / h^2 = u'' + h^2 u''''/12, on functions that meet the boundary condition."""
    sizes, spacings, errors = (32, 64, 128, 256), [], []
    for n in sizes:
        if boundary == "neumann":  # cell centres; exp(cos pi t) is even about both ends
            h, t = 1 / n, (torch.arange(n, dtype=torch.float64) + 0.5) / n
            a, s, c = torch.pi, torch.sin(torch.pi * t), torch.cos(torch.pi * t)
            u, second = c.exp(), a**2 * (s**2 - c) * c.exp()
        elif boundary == "periodic":
            h, t = 1 / n, torch.arange(n, dtype=torch.float64) / n
            a, s, c = 2 * torch.pi, torch.sin(2 * torch.pi * t), torch.cos(2 * torch.pi * t)
            u, second = s.exp(), a**2 * (c**2 - s) * s.exp()
        else:  # inner nodes; t (1 - t) exp(t) is zero at both ends
            h, t = 1 / (n + 1), torch.arange(1, n + 1, dtype=torch.float64) / (n + 1)
            u, second = t * (1 - t) * t.exp(), (-3 * t - t**2) * t.exp()
        spacings.append(h)
        errors.append((apply_stencil(u, None, boundary) / h**2 - second).abs().max().item())
    assert fitted_slope(spacings, errors) == pytest.approx(2, abs=0.05)


def test_order_is_the_logical_index(random_field, boundary):
    """The same numbers in another memory layout give the same numbers, bit for bit."""
    lap = Laplacian((1, 3), boundary)
    x = random_field((2, 3, 4, 5))
    expected = lap(x)
    layouts = {
        "channels_last": x.contiguous(memory_format=torch.channels_last),
        "transposed": x.transpose(1, 3).contiguous().transpose(1, 3),
        "strided": torch.stack([x, -x], -1)[..., 0],
    }
    for name, stored in layouts.items():
        assert not stored.is_contiguous(), name
        assert torch.equal(lap(stored), expected), name
    expanded = x[:, :1].expand(2, 3, 4, 5)
    assert torch.equal(lap(expanded), lap(expanded.contiguous()))


def test_does_not_modify_its_argument(random_field, boundary):
    """The copy taken before is the truth."""
    x = random_field((4, 3))
    before = x.clone()
    result = Laplacian(None, boundary)(x)
    assert torch.equal(x, before)
    assert result.data_ptr() != x.data_ptr()


def test_complex_parts_diffuse_apart(random_field, boundary):
    """Lap is real and linear, so Lap(a + ib) = Lap a + i Lap b."""
    lap = Laplacian(None, boundary)
    x = random_field((4, 5), torch.complex128)
    assert torch.equal(lap(x), torch.complex(lap(x.real), lap(x.imag)))
    conjugate = lap(x.conj())
    assert torch.equal(conjugate, lap(x).conj())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_types_are_rounded_once(random_field, boundary, dtype):
    """The float64 stencil of the same stored numbers, rounded to the half type."""
    lap = Laplacian(None, boundary)
    x = random_field((6, 5)).to(dtype)
    result = lap(x)
    assert result.dtype == dtype
    exact = lap(x.double())
    # Half a unit in the last place, plus the far smaller float32 error.
    limit = torch.finfo(dtype).eps / 2 * exact.abs() + 1e-6
    assert bool(((result.double() - exact).abs() <= limit).all())


def test_float32(random_field, boundary):
    """The float64 result, within a few units of float32."""
    x = random_field((6, 5), torch.float32)
    result = Laplacian(None, boundary)(x)
    assert result.dtype == torch.float32
    exact = Laplacian(None, boundary)(x.double())
    torch.testing.assert_close(result.double(), exact, rtol=0, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_gradients(random_field, boundary, dtype):
    """Finite differences; and since Lap is symmetric its gradient of sum(w Lap x) is Lap w."""
    lap = Laplacian((0, 2), boundary)
    x = random_field((3, 1, 2), dtype).requires_grad_()
    assert torch.autograd.gradcheck(lap, x)
    assert torch.autograd.gradgradcheck(lap, x)
    if not dtype.is_complex:
        w = random_field((3, 1, 2)).flip(0)
        (gradient,) = torch.autograd.grad((w * lap(x)).sum(), x)
        torch.testing.assert_close(gradient, lap(w), rtol=0, atol=1e-13)


def test_gradient_is_zero_where_nothing_diffuses():
    """The derivative of the constant 0."""
    x = torch.ones(1, 3, requires_grad=True)
    Laplacian(0)(x).sum().backward()
    assert x.grad is not None
    assert x.grad.abs().max() == 0


def test_vmap_equals_a_batch_axis(random_field, boundary):
    """Axes that are not diffused are a batch."""
    x = random_field((3, 4, 5))
    mapped = torch.func.vmap(Laplacian(None, boundary))(x)
    assert torch.equal(mapped, Laplacian((1, 2), boundary)(x))


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0)])
def test_empty_tensors_pass_through(boundary, shape):
    """There is nothing to compute."""
    assert Laplacian(None, boundary)(torch.empty(shape)).shape == shape


def test_scalar_has_nothing_to_diffuse(boundary):
    """A sum over no axes is zero."""
    assert Laplacian(None, boundary)(torch.tensor(3.0)).item() == 0


def test_rejects_integers_and_sparse(raises_type):
    """Messages give requirement, value and remedy."""
    with raises_type(r"x must be one of float16, .*got torch\.int64; cast"):
        Laplacian()(torch.arange(3))
    with pytest.raises(TypeError, match=r"x must be a dense tensor.*sparse_coo.*to_dense"):
        Laplacian()(torch.eye(3).to_sparse())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_equals_cpu(random_field, boundary):
    """The CPU result."""
    x = random_field((6, 1, 9))
    lap = Laplacian(None, boundary)
    torch.testing.assert_close(lap(x.cuda()).cpu(), lap(x), rtol=0, atol=1e-14)
    solved = lap.solve(x.cuda(), 1.0, 2.0).cpu()
    torch.testing.assert_close(solved, lap.solve(x, 1.0, 2.0), rtol=1e-12, atol=1e-14)
