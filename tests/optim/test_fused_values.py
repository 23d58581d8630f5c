"""Values that a kernel could mistake: views that negate, infinite parameters."""

import pytest
import torch

from heatgrad.optim import DiffusionNesterov, DiffusionSGD

BUILDS = {
    "chain": lambda params, **options: DiffusionSGD(params, lr=1.0, diffusion=0.1, **options),
    "rows": lambda params, **options: DiffusionNesterov(params, lr=1.0, dims=0, **options),
    "slabs": lambda params, **options: DiffusionNesterov(params, lr=1.0, **options),
    "still": lambda params, **options: DiffusionNesterov(
        [{"params": params, "dims": ()}], lr=1.0, **options
    ),
}


def stepped(build, start, grad, **options):
    param = torch.nn.Parameter(start.clone())
    param.grad = grad
    build([param], **options).step()
    return param.detach()


@pytest.mark.parametrize("name", BUILDS)
def test_a_view_that_negates_is_read_as_what_it_is(name):
    """Its memory holds the other sign."""
    grad = torch._neg_view(torch.arange(6.0).view(3, 2))
    ours, plain = (
        stepped(BUILDS[name], torch.zeros(3, 2), grad, fused=fused) for fused in (None, False)
    )
    torch.testing.assert_close(ours, plain)


@pytest.mark.parametrize("name", BUILDS)
@pytest.mark.parametrize("maximize", [False, True])
@pytest.mark.parametrize("width", [2, 1100])
def test_an_infinite_parameter_stays_infinite_without_decay(name, maximize, width):
    """Zero times infinity is not a number."""
    start = torch.ones(3, width)
    start[0, 1] = -torch.inf
    found = [
        stepped(BUILDS[name], start, torch.ones(3, width), fused=fused, maximize=maximize)
        for fused in (True, False)
    ]
    assert not found[0].isnan().any()
    torch.testing.assert_close(*found)
