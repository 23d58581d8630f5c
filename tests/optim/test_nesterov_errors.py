"""What `DiffusionNesterov` refuses, with which words, and when."""

import pytest
import torch

from heatgrad.optim import DiffusionNesterov, LinearDiffusionDecay


@pytest.fixture
def weight():
    """A parameter with a gradient."""
    param = torch.nn.Parameter(torch.ones(4, 3))
    param.grad = torch.ones(4, 3)
    return param


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {"dims": 2},
            ValueError,
            r"parameter number 0 of shape \(4, 3\): dims must lie in -2\.\.1",
        ),
        ({"dims": (0, 0)}, ValueError, "dims must name each axis once"),
        ({"momentum": 1.5}, ValueError, r"momentum must be at most 1, got 1\.5; lower it"),
        ({"stability": "of"}, ValueError, "stability must be one of refine, error, off, got 'of'"),
        (
            {"diffusion": 1.5, "stability": "error"},
            ValueError,
            r"diffusion must be at most 1 .*got 1\.5; lower it, or let stability='refine'",
        ),
        ({"diffusion": torch.ones(2)}, ValueError, "diffusion must be one number, got a tensor"),
    ],
)
def test_refused_at_construction_and_in_a_group(weight, options, error, message):
    with pytest.raises(error, match=message):
        DiffusionNesterov([weight], **options)
    optimizer = DiffusionNesterov([torch.nn.Parameter(torch.ones(2))])
    with pytest.raises(error, match=message):
        optimizer.add_param_group({"params": [weight], **options})
    assert len(optimizer.param_groups) == 1


def test_a_list_of_axes_is_a_tuple(weight):
    """A spec file has no tuples."""
    optimizer = DiffusionNesterov([weight], dims=[0, 1])
    optimizer.step()
    assert optimizer.param_groups[0]["dims"] == (0, 1)


def test_a_named_parameter_is_named(weight):
    with pytest.raises(ValueError, match=r"parameter head\.weight of shape \(4, 3\): dims must"):
        DiffusionNesterov([("head.weight", weight)], dims=5)


def test_axes_edited_by_hand_are_named_at_the_step(weight):
    optimizer = DiffusionNesterov([("head.weight", weight)])
    weight.grad = torch.ones(4, 3)
    optimizer.param_groups[0]["dims"] = (5,)
    with pytest.raises(ValueError, match=r"parameter head\.weight of shape \(4, 3\): dims must"):
        optimizer.step()


def test_a_schedule_that_pushes_over_the_bound_is_stopped_at_the_step(weight):
    """Nothing has moved when it is refused."""
    optimizer = DiffusionNesterov([weight], diffusion=1.0, stability="error")
    optimizer.param_groups[0]["diffusion"] = 1.01
    with pytest.raises(ValueError, match="diffusion must be at most 1"):
        optimizer.step()
    assert torch.equal(weight.detach(), torch.ones(4, 3))
    LinearDiffusionDecay(optimizer, num_steps=2).step()
    optimizer.step()
    assert not torch.equal(weight.detach(), torch.ones(4, 3))
