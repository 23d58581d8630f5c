"""Which parameters a kind means, along which axes, and what is refused."""

import pytest
import torch
from torch import nn

from heatgrad.optim import DiffusionNesterov, diffusion_groups


def network():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.ConvTranspose2d(8, 4, 3),
        nn.GroupNorm(2, 4),
        nn.Conv1d(4, 2, 5),
        nn.Flatten(),
        nn.Linear(10, 2),
        nn.LayerNorm(2),
    )


def found(model, *kinds):
    return [
        (group["dims"], [name for name, _ in group["params"]])
        for group in diffusion_groups(model, *kinds)
    ]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("conv_out", [((0,), ["0.weight", "5.weight"]), ((1,), ["3.weight"])]),
        ("conv_in", [((1,), ["0.weight", "5.weight"]), ((0,), ["3.weight"])]),
        ("conv_spatial", [((2, 3), ["0.weight", "3.weight"]), ((2,), ["5.weight"])]),
        ("norm_weight", [((0,), ["1.weight", "4.weight", "8.weight"])]),
        ("norm_bias", [((0,), ["1.bias", "4.bias", "8.bias"])]),
    ],
)
def test_a_kind_takes_its_parameters_along_its_axes(kind, expected):
    """The weight of a transposed convolution has its input channels first."""
    assert found(network(), kind)[:-1] == expected


def test_every_parameter_is_in_one_group():
    """Those of no kind get a last group without diffusion; frozen ones are left out."""
    model = network()
    model[7].weight.requires_grad_(False)
    groups = diffusion_groups(model, "conv_out", "norm_bias", diffusion=0.5, boundary="periodic")
    names = [name for group in groups for name, _ in group["params"]]
    assert sorted(names) == sorted(n for n, p in model.named_parameters() if p.requires_grad)
    assert [group["diffusion"] for group in groups] == [0.5, 0.5, 0.5, 0.0]
    optimizer = DiffusionNesterov(groups, lr=0.1)
    assert optimizer.param_groups[0]["param_names"] == ["0.weight", "5.weight"]
    assert all(group["boundary"] == "periodic" for group in optimizer.param_groups)


def test_a_shared_layer_is_taken_once():
    layer = nn.BatchNorm1d(4)
    assert found(nn.Sequential(layer, nn.Linear(4, 4), layer), "norm_weight")[0] == (
        (0,),
        ["0.weight"],
    )


def test_nothing_moves_along_the_other_parameters():
    """The last group steps as torch's Nesterov does."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(4, 2))
    twin = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(4, 2))
    twin.load_state_dict(model.state_dict())
    ours = DiffusionNesterov(diffusion_groups(model, "conv_out"), lr=0.1)
    theirs = torch.optim.SGD(twin.parameters(), lr=0.1, momentum=0.9, nesterov=True)
    for _ in range(3):
        for net, optimizer in ((model, ours), (twin, theirs)):
            for place, param in enumerate(net.parameters()):
                param.grad = torch.linspace(-1, place, param.numel()).view(param.shape)
            optimizer.step()
    same = [torch.equal(a, b) for a, b in zip(model.parameters(), twin.parameters(), strict=True)]
    assert same == [False, True, True, True]


@pytest.mark.parametrize(
    ("kinds", "message"),
    [
        ((), "needs at least one kind; choices: conv_in"),
        (("conv_ot",), "unknown kind 'conv_ot'; did you mean 'conv_out'"),
        (("conv_out", "conv_out"), "each kind must be named once, got 'conv_out' again"),
        (("conv_out", "conv_in"), "'conv_out' and 'conv_in' both claim parameter 0.weight"),
    ],
)
def test_kinds_that_cannot_be_taken(kinds, message):
    with pytest.raises(ValueError, match=message):
        diffusion_groups(network(), *kinds)


def test_arguments_that_are_not_what_they_should_be():
    with pytest.raises(TypeError, match=r"kinds must be names, .* got \['conv_out'\]; write"):
        diffusion_groups(network(), ["conv_out"])
    with pytest.raises(ValueError, match=r"boundary must be one of .*, got 'open'"):
        diffusion_groups(network(), "conv_out", boundary="open")


def test_a_model_without_the_kind_names_those_it_has():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2, affine=False))
    with pytest.raises(ValueError, match=r"no parameter of kind 'norm_weight'.*conv_in, conv_out"):
        diffusion_groups(model, "norm_weight")
