"""The whole step against a transcription of [Ray], and against closed-form training."""

import numpy as np
import pytest
import torch

from heatgrad.optim import DiffusionSGD


def ray(theta, gradients, *, eta, lam=0.0, wd=0.0, tau=np.inf, mu=0.0):
    """[Ray] 3.1 and B.2 on one flat vector, line by line; neumann ends."""
    v = np.zeros_like(theta)
    for g in gradients:
        g = g + wd * theta
        padded = np.pad(g, 1, mode="edge")
        g = g + lam * (padded[2:] - 2 * g + padded[:-2])
        length = np.linalg.norm(g)
        g = g if length <= tau else tau * g / length
        v = mu * v + g
        theta = theta - eta * v
    return theta


@pytest.mark.parametrize("foreach", [False, True])
@pytest.mark.parametrize("tau", [None, 0.5, 1e6])
def test_order_of_decay_diffusion_clip_and_momentum(
    parameters, give_gradients, concatenate, foreach, tau
):
    """A ten-line transcription of [Ray]; any other order of the four gives other numbers."""
    params = parameters()
    groups = [{"params": params[:3]}, {"params": params[3:]}]
    options = {"lr": 0.3, "momentum": 0.8, "weight_decay": 0.4, "diffusion": 0.2}
    optimizer = DiffusionSGD(groups, **options, max_norm=tau, foreach=foreach)
    theta, gradients = concatenate(params), []
    for step in range(5):
        give_gradients(params, step)
        gradients.append(concatenate([p.grad for p in params]))
        optimizer.step()
    expected = ray(theta, gradients, eta=0.3, lam=0.2, wd=0.4, tau=tau or np.inf, mu=0.8)
    np.testing.assert_allclose(concatenate(params), expected, rtol=0, atol=1e-13)


def test_clip_is_exact_and_global(parameters, give_gradients, concatenate):
    """The first step's buffers have norm tau over all groups, each kept in its direction."""
    params = parameters()
    groups = [{"params": params[:2]}, {"params": params[2:], "diffusion": 0.1}]
    optimizer = DiffusionSGD(groups, lr=0.1, momentum=0.9, max_norm=0.7)
    give_gradients(params, 0)
    _, directions = optimizer.gradient_directions()
    optimizer.step()
    clipped = concatenate([optimizer.state[p]["momentum_buffer"] for p in params])
    assert np.linalg.norm(clipped) == pytest.approx(0.7, rel=1e-15)
    direction = concatenate(directions)
    np.testing.assert_allclose(clipped, 0.7 * direction / np.linalg.norm(direction), rtol=1e-14)


def test_clip_agrees_with_torch(parameters, give_gradients):
    """torch.nn.utils.clip_grad_norm_ and SGD, up to the 1e-6 in torch's denominator."""
    ours, theirs = parameters(), parameters()
    clipped = DiffusionSGD(ours, lr=0.1, max_norm=0.5)
    plain = torch.optim.SGD(theirs, lr=0.1)
    for step in range(3):
        give_gradients(ours, step)
        give_gradients(theirs, step)
        torch.nn.utils.clip_grad_norm_(theirs, 0.5)
        clipped.step()
        plain.step()
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)


def test_within_the_bound_nothing_is_scaled(parameters, give_gradients):
    """A gradient at or below tau keeps its bits, the zero gradient included."""
    runs = []
    for tau in (None, 1e9):
        params = parameters(dtype=torch.float32)
        optimizer = DiffusionSGD(params, lr=0.1, diffusion=0.2, max_norm=tau)
        give_gradients(params, 0)
        optimizer.step()
        for param in params:
            param.grad = torch.zeros_like(param)
        optimizer.step()
        runs.append(params)
    assert all(torch.equal(a, b) for a, b in zip(*runs, strict=True))
    assert all(p.isfinite().all() for p in runs[1])


@pytest.mark.parametrize("scale", [1e-4, 300.0])
def test_clip_of_float16_neither_overflows_nor_underflows(draw, scale):
    """Elements whose squares leave the range of float16; the truth is the float64 norm."""
    (grad,) = draw([(1000,)], torch.float16)
    grad = (grad * scale).clamp(-3e4, 3e4)
    param = torch.nn.Parameter(torch.zeros(1000, dtype=torch.float16))
    param.grad = grad
    tau = 0.5 * grad.double().norm().item()
    DiffusionSGD([param], lr=1.0, max_norm=tau).step()
    # Each element is rounded once to 11 bits, or to 2^-24 below the normal range.
    torch.testing.assert_close(-param.double(), 0.5 * grad.double(), rtol=2**-11, atol=2**-25)


def quadratic_run(hessian, theta, steps, **options):
    """Return theta after full-batch steps on theta.H theta / 2, cut into two tensors."""
    pieces = [torch.nn.Parameter(p.clone()) for p in theta.split([5, 7])]
    optimizer = DiffusionSGD(pieces, **options)
    for _ in range(steps):
        gradient = hessian @ torch.cat([p.detach() for p in pieces])
        for param, grad in zip(pieces, gradient.split([5, 7]), strict=True):
            param.grad = grad.clone()
        optimizer.step()
    return torch.cat([p.detach() for p in pieces])


def test_convergence_on_a_quadratic_that_shares_the_modes(draw, chain_matrix):
    """Mode by mode, theta_k = (1 - eta h (1 - lam s))^k theta_0 when H and Lap commute."""
    (theta,) = draw([(12,)])
    s, modes = np.linalg.eigh(np.eye(12) - chain_matrix([1.0] * 12, "neumann"))
    s, modes = torch.tensor(s), torch.tensor(modes)
    h = 0.1 + s
    hessian = modes @ torch.diag(h) @ modes.T
    end = quadratic_run(hessian, theta, 20, lr=0.3, diffusion=0.2)
    factor = (1 - 0.3 * h * (1 - 0.2 * s)) ** 20
    torch.testing.assert_close(end, modes @ (factor * (modes.T @ theta)), rtol=0, atol=1e-13)


def test_momentum_on_a_quadratic(draw, chain_matrix):
    """[v; theta] -> [[mu, G H], [-eta mu, I - eta G H]] [v; theta], whose power is the truth."""
    (theta,) = draw([(12,)])
    (root,) = draw([(12, 12)], seed=3)
    hessian = root @ root.T / 12
    step = torch.tensor(chain_matrix([0.2] * 12, "periodic")) @ hessian
    eye = torch.eye(12, dtype=torch.float64)
    top, bottom = torch.cat([0.7 * eye, step], 1), torch.cat([-0.07 * eye, eye - 0.1 * step], 1)
    power = torch.linalg.matrix_power(torch.cat([top, bottom]), 15)
    expected = power @ torch.cat([torch.zeros_like(theta), theta])
    options = {"lr": 0.1, "momentum": 0.7, "diffusion": 0.2, "boundary": "periodic"}
    end = quadratic_run(hessian, theta, 15, **options)
    torch.testing.assert_close(end, expected[12:], rtol=0, atol=1e-12)


def test_one_newton_like_step_per_mode():
    """With eta (1 - lam s) h = 1 the mode is solved in one step: theta = 0 at once."""
    j = torch.arange(8, dtype=torch.float64)
    mode = torch.cos(torch.pi * 3 * (j + 0.5) / 8)
    s = 4 * np.sin(np.pi * 3 / 16) ** 2
    param = torch.nn.Parameter(mode.clone())
    param.grad = 2.0 * mode
    DiffusionSGD([param], lr=1 / (2.0 * (1 - 0.25 * s)), diffusion=0.25).step()
    assert param.abs().max() < 1e-15


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_types_follow_a_float32_reference(parameters, give_gradients, dtype):
    """Each step rounds a handful of times, each to half a unit in the last place."""
    ours = parameters(dtype=dtype)
    reference = [torch.nn.Parameter(p.detach().float()) for p in ours]
    options = {"lr": 0.1, "momentum": 0.5, "weight_decay": 0.01, "diffusion": 0.2, "max_norm": 2.0}
    optimizers = DiffusionSGD(ours, **options), DiffusionSGD(reference, **options)
    for step in range(5):
        give_gradients(ours, step)
        for half, single in zip(ours, reference, strict=True):
            single.grad = half.grad.float()
        for optimizer in optimizers:
            optimizer.step()
    eps = torch.finfo(dtype).eps
    for half, single in zip(ours, reference, strict=True):
        # Five steps, each of at most eps / 2 on a parameter below 4, and less on the update.
        torch.testing.assert_close(half.float(), single.detach(), rtol=0, atol=5 * 4 * eps / 2)


def test_permuting_a_chain_end_to_end_reverses_the_result(draw):
    """Symmetry: reversing the order of all elements reverses the diffused gradient."""
    params = [torch.nn.Parameter(p) for p in draw(((2, 3), (4,)))]
    grads = draw(((2, 3), (4,)), seed=1)
    for param, grad in zip(params, grads, strict=True):
        param.grad = grad
    _, forward = DiffusionSGD(params, diffusion=0.2).gradient_directions()
    for param, grad in zip(params, grads, strict=True):
        param.grad = grad.flip(tuple(range(grad.dim())))
    _, backward = DiffusionSGD(params[::-1], diffusion=0.2).gradient_directions()
    joined = torch.cat([g.ravel() for g in forward])
    torch.testing.assert_close(joined.flip(0), torch.cat([g.ravel() for g in backward]))
