"""`differentiable=True`: autograd through the step, against finite differences."""

import pytest
import torch

from heatgrad.optim import (
    DiffusionSGD,
    LayoutDiffusionSGD,
    LRMatchedSGD,
    NormMatchedPlaceboSGD,
    NormMatchedSGD,
    PlaceboDiffusionSGD,
)

CLASSES = (
    DiffusionSGD,
    NormMatchedSGD,
    LRMatchedSGD,
    PlaceboDiffusionSGD,
    NormMatchedPlaceboSGD,
    LayoutDiffusionSGD,
)
SHAPES = ((2, 2), (3,))


def two_steps(build, options, lr, weight_decay, *start):
    """Return the parameters after two steps on a quartic loss."""
    params = [p.clone() for p in start]
    optimizer = build(params, lr=lr, weight_decay=weight_decay, differentiable=True, **options)
    for _ in range(2):
        seen = [p.clone() for p in params]
        loss = sum((p**4).sum() + (p.sum() - 1) ** 2 for p in seen)
        for param, grad in zip(
            params, torch.autograd.grad(loss, seen, create_graph=True), strict=True
        ):
            param.grad = grad
        optimizer.step()
    return tuple(params)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")
@pytest.mark.parametrize("build", CLASSES)
@pytest.mark.parametrize(
    "options",
    [
        {"momentum": 0.9},
        {"momentum": 0.9, "dampening": 0.3, "maximize": True},
        {"momentum": 0.9, "nesterov": True, "max_norm": 0.5},
        {},
    ],
    ids=str,
)
def test_gradcheck_through_two_steps(draw, build, options):
    """Finite differences, with respect to lr, weight decay and the initial parameters.

    The first momentum buffer is part of the graph (torch.optim.SGD detaches it).
    """
    start = [(0.5 * p).requires_grad_() for p in draw(SHAPES)]
    lr = torch.tensor(0.1, dtype=torch.float64, requires_grad=True)
    decay = torch.tensor(0.2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda *inputs: two_steps(build, {"diffusion": 0.2, **options}, *inputs),
        (lr, decay, *start),
    )


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")
@pytest.mark.parametrize(
    ("mode", "diffusion"),
    [("layer", 0.5), ("layer_literal", 0.5), ("centralize", 1.0), ("centralize_channel", 1.0)],
)
def test_gradcheck_in_every_mode(draw, mode, diffusion):
    """Finite differences, as above."""
    start = [(0.5 * p).requires_grad_() for p in draw(SHAPES)]
    lr = torch.tensor([0.1], dtype=torch.float64, requires_grad=True)
    decay = torch.tensor(0.2, dtype=torch.float64, requires_grad=True)
    options = {"momentum": 0.9, "mode": mode, "diffusion": diffusion}
    assert torch.autograd.gradcheck(
        lambda *inputs: two_steps(DiffusionSGD, options, *inputs), (lr, decay, *start)
    )


def test_hypergradient_of_one_step():
    """By hand: L(theta - eta G g) has dL/deta = -g'.G g with g' = grad L at the new point."""
    theta = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    lr = torch.tensor(0.1, dtype=torch.float64, requires_grad=True)
    param = theta.clone()
    optimizer = DiffusionSGD([param], lr=lr, diffusion=0.25, differentiable=True)
    param.grad = 2 * theta
    optimizer.step()
    param.square().sum().backward()
    diffused = 2 * torch.tensor([0.25, -0.625, -0.125], dtype=torch.float64)
    new = theta - 0.1 * diffused
    assert lr.grad.item() == pytest.approx(-(2 * new @ diffused).item(), rel=1e-14)
