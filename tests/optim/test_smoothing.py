"""The implicit smoothers against dense solves, and what they conserve."""

import numpy as np
import pytest
import torch

from heatgrad.optim import LaplacianSmoothingSGD, SobolevSGD


def smoothing_matrix(n, sigma, boundary="periodic"):
    """I - sigma Lap, accumulated term by term, so that n = 1 and 2 come out right."""
    matrix = np.eye(n)
    for i in range(n):
        for j in (i - 1, i + 1):
            outside = not 0 <= j < n
            matrix[i, i] += sigma
            if boundary == "periodic":
                matrix[i, j % n] -= sigma
            elif boundary == "neumann":
                matrix[i, min(max(j, 0), n - 1)] -= sigma
            elif not outside:
                matrix[i, j] -= sigma
    return matrix


@pytest.mark.parametrize("sigma", [0.0, 0.5, 1.0, 30.0])
def test_laplacian_smoothing_is_the_dense_solve(draw, sigma, boundary):
    """Per flattened tensor, whatever its shape; one- and two-element tensors included."""
    for grad in draw(((3, 4), (5,), (1,), (2,), ())):
        weight = torch.nn.Parameter(torch.zeros_like(grad))
        optimizer = LaplacianSmoothingSGD([weight], lr=1.0, diffusion=sigma, boundary=boundary)
        weight.grad = grad
        optimizer.step()
        matrix = smoothing_matrix(grad.numel(), sigma, boundary)
        expected = -np.linalg.solve(matrix, grad.numpy().ravel())
        np.testing.assert_allclose(
            weight.detach().numpy().ravel(), expected, rtol=1e-10, atol=1e-12
        )


@pytest.mark.parametrize("sigma", [0.5, 3.0])
def test_sobolev_is_the_dense_solve_along_the_output_channels(draw, sigma, boundary):
    """One line per other index; tensors of one axis are left alone."""
    grads = draw(((6, 2, 3, 3), (4, 5), (7,)))
    params = [torch.nn.Parameter(torch.zeros_like(g)) for g in grads]
    optimizer = SobolevSGD(params, lr=1.0, diffusion=sigma, boundary=boundary)
    for param, grad in zip(params, grads, strict=True):
        param.grad = grad
    optimizer.step()
    for param, grad in zip(params, grads, strict=True):
        columns = grad.numpy().reshape(grad.shape[0], -1)
        matrix = smoothing_matrix(len(columns), sigma, boundary) if grad.dim() > 1 else np.eye(7)
        expected = -np.linalg.solve(matrix, columns)
        found = param.detach().numpy().reshape(columns.shape)
        np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("build", [LaplacianSmoothingSGD, SobolevSGD])
@pytest.mark.parametrize("foreach", [False, True])
def test_without_smoothing_is_torch_sgd(assert_equal_runs, build, foreach):
    options = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01, "foreach": foreach}
    assert_equal_runs(
        lambda params: build(params, diffusion=0.0, **options),
        lambda params: torch.optim.SGD(params, **options),
        torch.float32,
    )


def test_the_sum_is_kept_and_the_norm_never_grows(draw):
    """Periodic ends: the constant mode has gain 1, all others less."""
    (grad,) = draw(((40,),))
    weight = torch.nn.Parameter(torch.zeros(40, dtype=torch.float64))
    weight.grad = grad
    for sigma in (0.1, 1.0, 100.0):
        _, (smooth,) = LaplacianSmoothingSGD([weight], diffusion=sigma).gradient_directions()
        assert smooth.sum().item() == pytest.approx(grad.sum().item(), abs=1e-12)
        assert smooth.norm() < grad.norm()


def test_the_middle_of_a_line_is_the_greens_function():
    """On a long line (I - sigma Lap)^-1 has entries r^|j| / sqrt(1 + 4 sigma)."""
    sigma = 2.0
    weight = torch.nn.Parameter(torch.zeros(401, dtype=torch.float64))
    weight.grad = torch.zeros(401, dtype=torch.float64)
    weight.grad[200] = 1.0
    _, (smooth,) = LaplacianSmoothingSGD([weight], diffusion=sigma).gradient_directions()
    r = 1 + 1 / (2 * sigma) - np.sqrt(1 / sigma + 1 / (4 * sigma**2))
    expected = r ** np.abs(np.arange(401) - 200) / np.sqrt(1 + 4 * sigma)
    np.testing.assert_allclose(smooth.numpy(), expected, atol=1e-14)


def test_what_is_refused():
    weight = torch.nn.Parameter(torch.zeros(3))
    for options, message in (
        ({"diffusion": -1.0}, "diffusion must be finite and at least 0"),
        ({"boundary": "open"}, "boundary must be one of"),
        ({"nesterov": True}, "nesterov needs momentum > 0"),
    ):
        with pytest.raises(ValueError, match=message):
            LaplacianSmoothingSGD([weight], **options)
