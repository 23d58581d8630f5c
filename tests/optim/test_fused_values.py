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


@pytest.mark.parametrize("name", BUILDS)
@pytest.mark.parametrize("fused", [None, True])
@pytest.mark.parametrize("size", [(2, 3), (3, 1), (30, 2)])
def test_a_buffer_of_another_shape_is_refused_and_its_memory_left(name, fused, size):
    """As after a checkpoint of another network: the kernels would go by the parameter's size."""
    param = torch.nn.Parameter(torch.zeros(3, 2))
    param.grad = torch.ones(3, 2)
    optimizer = BUILDS[name]([param], fused=fused, momentum=0.9)
    memory = torch.full((100,), 7.0)
    count = torch.Size(size).numel()
    optimizer.state[param]["momentum_buffer"] = memory[:count].view(size)
    with pytest.raises(RuntimeError, match=r"size|shape"):
        optimizer.step()
    assert torch.equal(memory[count:], torch.full((100 - count,), 7.0))


@pytest.mark.parametrize("name", BUILDS)
def test_a_gradient_of_another_shape_is_refused(name):
    """It was made before `param.data` was replaced."""
    param = torch.nn.Parameter(torch.zeros(4, 2))
    param.grad = torch.ones(4, 2)
    param.data = torch.zeros(3000, 2)
    with pytest.raises(RuntimeError, match=r"size|shape"):
        BUILDS[name]([param]).step()


def test_a_compiled_step_refuses_a_buffer_of_another_shape():
    """The same rule, asked while the step is traced."""
    param = torch.nn.Parameter(torch.zeros(10))
    param.grad = torch.ones(10)
    optimizer = DiffusionSGD([param], lr=0.1, momentum=0.9, diffusion=0.2)
    memory = torch.full((20,), 7.0)
    optimizer.state[param]["momentum_buffer"] = memory[:5]
    with pytest.raises(Exception, match=r"size|shape|dimension"):
        torch.compile(optimizer.step, fullgraph=False)()
    assert torch.equal(memory[5:], torch.full((15,), 7.0))
