"""The operators of the fused steps: torch's own checks, and the same result as a direct call."""

import pytest
import torch

from heatgrad.optim import DiffusionNesterov, DiffusionSGD, fused_ops


@pytest.fixture
def tensors(draw):
    """Return parameters, gradients and velocities."""
    return [draw(((3, 4), (5,)), torch.float64, seed) for seed in range(3)]


def chain_arguments(tensors):
    turned = torch.tensor([[0.1, 0.9, 0.2, 0.01], [0.2, 0.5, 0.1, 0.0]], dtype=torch.float64)
    flags = ([True, True], [0.0, 0.3], [True, False], [False, True])
    return *tensors, turned, [1, 1], [1], *flags, "neumann", 0.5


def velocity_arguments(tensors):
    turned = torch.tensor([0.1, 0.9, 0.4, 0.01], dtype=torch.float64)
    return *tensors, turned, [2, 1], [0, 1, 0], "periodic", False, True


@pytest.mark.parametrize("name", ["chain", "velocity"])
def test_torch_checks_the_operator(name, tensors):
    """What is written to is what the schema says; shapes without data are enough to trace it."""
    operator, arguments = {
        "chain": (torch.ops.heatgrad.step_chain.default, chain_arguments(tensors)),
        "velocity": (torch.ops.heatgrad.step_velocity.default, velocity_arguments(tensors)),
    }[name]
    torch.library.opcheck(operator, arguments, test_utils=("test_schema", "test_faketensor"))


@pytest.mark.parametrize("name", ["chain", "velocity"])
def test_the_operator_steps_as_the_optimizer_does(name, tensors, draw):
    """Two groups with options of their own, one with a buffer that is new."""
    params = [torch.nn.Parameter(value.clone()) for value in tensors[0]]
    for param, grad in zip(params, tensors[1], strict=True):
        param.grad = grad.clone()
    if name == "chain":
        groups = [
            {"params": params[:1], "nesterov": True, "weight_decay": 0.01},
            {"params": params[1:], "lr": 0.2, "momentum": 0.5, "dampening": 0.3, "diffusion": 0.1}
            | {"maximize": True},
        ]
        optimizer = DiffusionSGD(groups, lr=0.1, momentum=0.9, diffusion=0.2, max_norm=0.5)
        tensors[2][1].zero_()  # the new one
        started = params[:1]
        torch.ops.heatgrad.step_chain(*chain_arguments(tensors))
    else:
        optimizer = DiffusionNesterov(
            params, lr=0.1, diffusion=0.4 * 4 / 1.9, weight_decay=0.01, boundary="periodic"
        )
        started = params
        torch.ops.heatgrad.step_velocity(*velocity_arguments(tensors))
    velocities = draw(((3, 4), (5,)), torch.float64, 2)
    for param, velocity in zip(started, velocities, strict=False):
        optimizer.state[param]["momentum_buffer"] = velocity
    optimizer.step()
    for ours, theirs in zip(params, tensors[0], strict=True):
        torch.testing.assert_close(ours.data, theirs, rtol=1e-12, atol=1e-13)


def test_numbers_are_joined_and_taken_apart():
    joined = fused_ops._together([0.1, torch.tensor([2.0])])
    assert joined.dtype == torch.float64
    assert fused_ops._apart(joined) == [0.1, 2.0]
