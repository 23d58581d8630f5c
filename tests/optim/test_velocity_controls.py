"""The controls of velocity diffusion, against dense matrices and what they are matched to."""

import pytest
import torch
from torch import nn

from heatgrad.core.random import stream_generator
from heatgrad.models import DenseNet, ResNet
from heatgrad.optim import (
    DiffusionNesterov,
    MomentumMatchedNesterov,
    NormMatchedPlaceboNesterov,
    PlaceboDiffusionNesterov,
    RefinedNesterov,
    diffusion_groups,
    refine,
)

CONTROLS = (
    MomentumMatchedNesterov,
    NormMatchedPlaceboNesterov,
    PlaceboDiffusionNesterov,
    RefinedNesterov,
)
STEPS = 5


def drawn(shapes=((4, 3, 2), (5,)), seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [nn.Parameter(torch.randn(s, generator=generator, dtype=torch.float64)) for s in shapes]


def stepped(build, shapes=((4, 3, 2), (5,)), **options):
    """Return the parameters after some steps on gradients that do not depend on the optimizer."""
    params = drawn(shapes)
    optimizer = build(params, **{"lr": 0.1, "momentum": 0.8} | options)
    for step in range(STEPS):
        for param, grad in zip(params, drawn(shapes, 100 + step), strict=True):
            param.grad = grad.detach().clone()
        optimizer.step()
    return params


def laplacian(n, boundary):
    """Return the dense matrix of the Laplacian on a line or a ring."""
    lap = torch.zeros(n, n, dtype=torch.float64)
    for i in range(n):
        for j in (i - 1, i + 1):
            inside = 0 <= j < n
            if inside or boundary == "periodic":
                lap[i, j % n] += 1
                lap[i, i] -= 1
            elif boundary == "dirichlet":
                lap[i, i] -= 1
    return lap


@pytest.mark.parametrize("boundary", ["neumann", "periodic", "dirichlet"])
@pytest.mark.parametrize("diffusion", [0.5, 1.0, 2.0])
def test_the_placebo_is_the_dense_recursion(boundary, diffusion):
    """First v' = (γ + β PᵀLP) v + g, then θ' = θ - η (g + (γ + β PᵀLP) v')."""
    n, lr, momentum = 6, 0.1, 0.8
    found = stepped(
        PlaceboDiffusionNesterov, ((n,),), diffusion=diffusion, boundary=boundary, seed=7
    )[0]
    if diffusion > 1:
        lr, momentum = refine(lr, momentum, diffusion)
    beta = min(diffusion, 1.0) * (1 + momentum) / 4
    order = torch.randperm(n, generator=stream_generator(7, "placebo", 0, 0))
    p = torch.eye(n, dtype=torch.float64)[order]
    k = momentum * torch.eye(n, dtype=torch.float64) + beta * p.T @ laplacian(n, boundary) @ p
    theta, v = drawn(((n,),))[0].detach(), torch.zeros(n, dtype=torch.float64)
    for step in range(STEPS):
        g = drawn(((n,),), 100 + step)[0].detach()
        v = k @ v + g
        theta = theta - lr * (g + k @ v)
    torch.testing.assert_close(found.detach(), theta, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("build", [PlaceboDiffusionNesterov, NormMatchedPlaceboNesterov])
def test_in_the_given_order_a_placebo_is_diffusion(build, monkeypatch):
    """With identity permutations both are `DiffusionNesterov` itself."""
    monkeypatch.setattr(build, "_order", lambda self, seed, n, axis, p: torch.arange(p.shape[axis]))
    for dims in (None, 0, (1,)):
        shapes = ((4, 3, 2),)
        expected = stepped(DiffusionNesterov, shapes, dims=dims, diffusion=0.9, weight_decay=0.1)
        found = stepped(build, shapes, dims=dims, diffusion=0.9, weight_decay=0.1)
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_the_norm_matched_placebo_goes_as_far():
    """After one step from rest: as long as diffusion's, in the plain placebo's direction."""
    start = drawn()
    ends = {}
    for build in (DiffusionNesterov, PlaceboDiffusionNesterov, NormMatchedPlaceboNesterov):
        params = drawn()
        optimizer = build(params, lr=0.1, momentum=0.8, diffusion=1.0)
        for param, grad in zip(params, drawn(seed=5), strict=True):
            param.grad = grad.detach().clone()
        optimizer.step()
        ends[build] = torch.cat(
            [(p - s).detach().flatten() for p, s in zip(params, start, strict=True)]
        )
    true, placebo, matched = ends.values()
    assert matched.norm() == pytest.approx(true.norm().item(), rel=1e-12)
    cosine = matched @ placebo / (matched.norm() * placebo.norm())
    assert cosine.item() == pytest.approx(1.0, abs=1e-12)
    assert placebo.norm() != pytest.approx(true.norm().item(), rel=1e-3)


@pytest.mark.parametrize("diffusion", [0.5, 1.0, 2.0, 4.0])
def test_refined_is_sgd_at_the_refined_values(diffusion):
    lr, momentum = refine(0.1, 0.8, diffusion) if diffusion > 1 else (0.1, 0.8)
    expected = stepped(
        lambda params, **options: torch.optim.SGD(params, lr=lr, momentum=momentum, nesterov=True)
    )
    found = stepped(RefinedNesterov, diffusion=diffusion)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    "build",
    [
        lambda: ResNet((3, 8, 8), 10, depth=8, width=4),
        lambda: DenseNet((3, 8, 8), 10, depth=10, growth=4),  # with 1 by 1 convolutions
    ],
)
@pytest.mark.parametrize("diffusion", [2.0, 4.0])
def test_refined_is_one_training_whatever_the_direction(build, diffusion):
    """To the last bit: the same tensors take the same step, and nothing goes along an axis."""
    ends = []
    for kind in ("conv_out", "conv_in", "conv_spatial"):
        torch.manual_seed(0)
        model = build()
        groups = diffusion_groups(model, kind, diffusion=diffusion)
        optimizer = RefinedNesterov(groups, lr=0.1, weight_decay=1e-4)
        for _ in range(STEPS):
            optimizer.zero_grad()
            model(torch.randn(4, 3, 8, 8)).square().mean().backward()
            optimizer.step()
        ends.append(model.state_dict())
    for end in ends[1:]:
        assert all(torch.equal(end[name], value) for name, value in ends[0].items())


@pytest.mark.parametrize("boundary", ["neumann", "periodic", "dirichlet"])
@pytest.mark.parametrize("diffusion", [0.5, 1.0, 4.0])
def test_the_mean_momentum_is_that_of_the_dense_matrix(boundary, diffusion):
    """k̄ = γ + β tr(L)/n, with L of both axes of a (4, 3) tensor."""
    lr, momentum = refine(0.1, 0.8, diffusion) if diffusion > 1 else (0.1, 0.8)
    beta = min(diffusion, 1.0) * (1 + momentum) / 8
    both = laplacian(4, boundary).trace() / 4 + laplacian(3, boundary).trace() / 3
    mean = momentum + beta * both.item()
    expected = stepped(lambda params, **options: Plain(params, lr=lr, momentum=mean), ((4, 3),))
    found = stepped(MomentumMatchedNesterov, ((4, 3),), diffusion=diffusion, boundary=boundary)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


class Plain(torch.optim.Optimizer):
    """Nesterov's momentum of any sign, which torch's SGD refuses."""

    def __init__(self, params, lr, momentum):
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self):
        """Take one step."""
        for group in self.param_groups:
            for p in group["params"]:
                v = self.state[p].get("v", torch.zeros_like(p))
                v = self.state[p]["v"] = group["momentum"] * v + p.grad
                p -= group["lr"] * (p.grad + group["momentum"] * v)


@pytest.mark.parametrize("build", CONTROLS)
def test_without_diffusion_each_is_nesterov(build):
    expected = stepped(
        lambda params, **options: torch.optim.SGD(params, lr=0.1, momentum=0.8, nesterov=True)
    )
    found = stepped(build, diffusion=0.0)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_seeds_decide_a_placebo():
    first, again, other = (
        stepped(PlaceboDiffusionNesterov, diffusion=1.0, seed=seed)[0] for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
