"""The linear decay of the diffusion, alone and beside a schedule of the learning rate."""

import copy

import pytest
import torch

from heatgrad.optim import DiffusionNesterov, DiffusionSGD, LinearDiffusionDecay


@pytest.fixture
def optimizer():
    """Two groups of different diffusion."""
    groups = [
        {"params": [torch.nn.Parameter(torch.ones(4))]},
        {"params": [torch.nn.Parameter(torch.ones(3))], "diffusion": 0.4},
    ]
    return DiffusionNesterov(groups, lr=0.1, diffusion=1.0)


def values(optimizer):
    return [float(group["diffusion"]) for group in optimizer.param_groups]


def test_it_falls_on_a_line_to_zero_and_stays(optimizer):
    schedule = LinearDiffusionDecay(optimizer, num_steps=4)
    seen = [values(optimizer)]
    for _ in range(6):
        schedule.step()
        seen.append(values(optimizer))
    shares = [1, 0.75, 0.5, 0.25, 0, 0, 0]
    assert seen == [[pytest.approx(s), pytest.approx(0.4 * s)] for s in shares]


def test_a_tensor_is_changed_in_place(optimizer):
    """Compiled code and captured graphs hold the tensor: it must stay the same one."""
    tensor = torch.tensor(1.0)
    optimizer.param_groups[0]["diffusion"] = tensor
    LinearDiffusionDecay(optimizer, num_steps=2).step()
    assert optimizer.param_groups[0]["diffusion"] is tensor
    assert tensor.item() == 0.5


def test_it_stands_beside_a_learning_rate_schedule(optimizer):
    """Neither changes what the other sets, and beta does not depend on the learning rate."""
    decay = LinearDiffusionDecay(optimizer, num_steps=10)
    cosine = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=3)
    for step in range(5):
        for group in optimizer.param_groups:
            for param in group["params"]:
                param.grad = torch.ones_like(param)
        optimizer.step()
        before = optimizer.stability().rows[0].coefficient
        cosine.step()
        assert optimizer.stability().rows[0].coefficient == before
        decay.step()
        assert values(optimizer)[0] == pytest.approx(1 - (step + 1) / 10)
    assert optimizer.param_groups[0]["lr"] < 0.1


def test_a_checkpoint_goes_on_where_it_was(optimizer):
    schedule = LinearDiffusionDecay(optimizer, num_steps=5)
    for _ in range(2):
        schedule.step()
    state = copy.deepcopy(schedule.state_dict())
    schedule.step()
    expected = values(optimizer)
    other = DiffusionNesterov([torch.nn.Parameter(torch.ones(4))], diffusion=0.1)
    other.add_param_group({"params": [torch.nn.Parameter(torch.ones(3))]})
    resumed = LinearDiffusionDecay(other, num_steps=99)
    resumed.load_state_dict(state)
    resumed.step()
    assert values(other) == expected


def test_a_state_that_is_not_its_own(optimizer):
    schedule = LinearDiffusionDecay(optimizer, num_steps=5)
    with pytest.raises(ValueError, match="got one without initial, num_done"):
        schedule.load_state_dict({"num_steps": 3})
    state = {**schedule.state_dict(), "initial": [1.0]}
    with pytest.raises(ValueError, match="over 2 parameter groups, got 1"):
        schedule.load_state_dict(state)


def test_any_optimizer_with_diffusion_will_do():
    optimizer = DiffusionSGD([torch.nn.Parameter(torch.ones(3))], diffusion=0.2)
    LinearDiffusionDecay(optimizer, num_steps=2).step()
    assert optimizer.param_groups[0]["diffusion"] == pytest.approx(0.1)


@pytest.mark.parametrize("steps", [0, -1, 1.5, True])
def test_numbers_of_steps_that_make_no_sense(optimizer, steps):
    with pytest.raises(ValueError, match="num_steps must be a whole number, at least 1"):
        LinearDiffusionDecay(optimizer, steps)


def test_an_optimizer_without_diffusion():
    plain = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)
    with pytest.raises(ValueError, match="no parameter group has 'diffusion'"):
        LinearDiffusionDecay(plain, 3)
