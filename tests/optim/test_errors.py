"""What is refused, with which words, and that a refusal leaves everything as it was."""

import warnings

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

VALUES = [
    ({"lr": -0.1}, "lr must be finite and at least 0, got -0.1"),
    ({"lr": float("nan")}, "lr must be finite and at least 0, got nan"),
    ({"lr": torch.ones(2)}, r"lr must be one number, got a tensor of shape \(2,\)"),
    ({"lr": torch.tensor(-1.0)}, "lr must be finite and at least 0, got -1"),
    ({"momentum": -0.5}, "momentum must be finite and at least 0, got -0.5"),
    ({"momentum": float("inf")}, "momentum must be finite"),
    ({"dampening": float("nan")}, "dampening must be finite, got nan"),
    ({"weight_decay": -1e-4}, "weight_decay must be finite and at least 0, got -0.0001"),
    ({"nesterov": True}, "nesterov needs momentum > 0 and dampening = 0, got momentum = 0"),
    ({"nesterov": True, "momentum": 0.9, "dampening": 0.1}, "and dampening = 0.1"),
    ({"diffusion": -0.1}, "diffusion must be finite and at least 0, got -0.1"),
    ({"diffusion": float("nan")}, "diffusion must be finite and at least 0, got nan"),
    ({"diffusion": 0.51}, r"at most 0.5 in mode 'global' .*, got 0.51; lower it"),
    ({"boundary": "wall"}, "boundary must be one of 'neumann', .*, 'dirichlet', got 'wall'"),
    ({"max_norm": 0}, "max_norm must be positive, got 0; use None for no clipping"),
    ({"max_norm": -1.0}, "max_norm must be finite and at least 0, got -1"),
    ({"max_norm": float("inf")}, "max_norm must be finite"),
]
MODE_VALUES = [
    ({"mode": "both"}, "mode must be one of global, layer, layer_literal, .*, got 'both'"),
    ({"mode": "layer", "diffusion": 2.01}, "at most 2 in mode 'layer' .*, got 2.01"),
    ({"mode": "layer_literal", "diffusion": float("inf")}, "diffusion must be finite"),
    ({"mode": "centralize", "diffusion": 0.5}, "0 or 1 in mode 'centralize', got 0.5"),
    ({"mode": "centralize_channel", "diffusion": 2}, "0 or 1 in mode 'centralize_channel', got 2"),
]


@pytest.fixture
def weight():
    return torch.nn.Parameter(torch.ones(4))


@pytest.mark.parametrize("build", CLASSES)
@pytest.mark.parametrize(("options", "message"), VALUES, ids=str)
def test_wrong_values(weight, build, options, message):
    """Each message names the requirement and what was received; so too for a group."""
    with pytest.raises(ValueError, match=message):
        build([weight], **options)
    with pytest.raises(ValueError, match=message):
        build([{"params": [weight], **options}])


@pytest.mark.parametrize("build", [DiffusionSGD, NormMatchedSGD, LRMatchedSGD])
@pytest.mark.parametrize(("options", "message"), MODE_VALUES, ids=str)
def test_wrong_modes(weight, build, options, message):
    """Bounds depend on the mode: the gain 1 - lam s, or 1 - lam, must not pass -1."""
    with pytest.raises(ValueError, match=message):
        build([weight], **options)


@pytest.mark.parametrize("name", ["lr", "momentum", "weight_decay", "diffusion", "max_norm"])
@pytest.mark.parametrize("value", ["0.1", True, [0.1]], ids=str)
def test_wrong_types(weight, name, value):
    """Numbers only; a bool is not one."""
    with pytest.raises(TypeError, match=f"{name} must be a real number, got"):
        DiffusionSGD([weight], **{name: value})


@pytest.mark.parametrize("value", [None, "0.1", torch.tensor(1j)], ids=str)
@pytest.mark.parametrize("name", ["lr", "dampening"])
def test_what_is_no_real_number(weight, name, value):
    with pytest.raises(TypeError, match=f"{name} must be a real number, got "):
        DiffusionSGD([weight], **{name: value})


@pytest.mark.parametrize("mode", ["global", "layer"])
def test_both_sides_of_both_bounds(weight, mode):
    """Theory: signs are kept up to 1/4 (layer: 1), nothing grows up to 1/2 (layer: 2)."""
    keeps_sign, bound = (0.25, 0.5) if mode == "global" else (1.0, 2.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        DiffusionSGD([weight], diffusion=keeps_sign, mode=mode)
        DiffusionSGD([weight], diffusion=1e6, mode="layer_literal")
    for diffusion in (keeps_sign * 1.001, bound):
        with pytest.warns(UserWarning, match=f"choose at most {keeps_sign} to keep every sign"):
            DiffusionSGD([weight], diffusion=diffusion, mode=mode)
    with pytest.raises(ValueError, match="lower it"):
        DiffusionSGD([weight], diffusion=bound * 1.001, mode=mode)


@pytest.mark.parametrize("build", CLASSES)
def test_warnings_point_at_the_users_line(weight, build):
    """Whatever the depth of our constructors, the warning names the file that called them."""
    with pytest.warns(UserWarning, match="changes the sign") as caught:
        optimizer = build([weight], diffusion=0.4)
    with pytest.warns(UserWarning, match="changes the sign") as again:
        optimizer.add_param_group({"params": [torch.nn.Parameter(torch.ones(1))]})
    assert [w.filename for w in (*caught, *again)] == [__file__] * 2


def test_centralize_warns_of_one_element_parameters(weight):
    """They are left as they are, and the warning counts them."""
    bias = torch.nn.Parameter(torch.ones(1))
    with pytest.warns(UserWarning, match=r"leaves 1 one-element parameter\(s\) as they are"):
        optimizer = DiffusionSGD([weight, bias], lr=1.0, mode="centralize", diffusion=1)
    weight.grad, bias.grad = torch.tensor([1.0, 2.0, 3.0, 2.0]), torch.tensor([5.0])
    optimizer.step()
    assert weight.tolist() == [2.0, 1.0, 0.0, 1.0]
    assert bias.tolist() == [-4.0]


@pytest.mark.parametrize("build", CLASSES)
def test_fused_excludes_what_torch_excludes(weight, build):
    """The combinations for which torch.optim.SGD raises RuntimeError too."""
    with pytest.raises(RuntimeError, match="fused=True does not support differentiable=True"):
        build([weight], fused=True, differentiable=True)
    with pytest.raises(RuntimeError, match="fused=True and foreach=True cannot be set together"):
        build([weight], fused=True, foreach=True)
    for options in ({"differentiable": True}, {"foreach": True}):
        with pytest.raises(RuntimeError):
            torch.optim.SGD([weight], fused=True, **options)
    build([weight], foreach=True, differentiable=True)


def test_fused_complex_is_refused_at_the_first_step():
    """As in torch: the constructor takes it, the step does not, and nothing has moved."""
    real = torch.nn.Parameter(torch.ones(2))
    weight = torch.nn.Parameter(torch.ones(2, dtype=torch.complex64))
    optimizer = DiffusionSGD([{"params": [real]}, {"params": [weight]}], momentum=0.9, fused=True)
    real.grad, weight.grad = torch.ones(2), torch.ones(2, dtype=torch.complex64)
    with pytest.raises(RuntimeError, match="fused=True does not support complex"):
        optimizer.step()
    assert torch.equal(real.detach(), torch.ones(2))
    assert not optimizer.state


@pytest.mark.parametrize("build", CLASSES)
def test_sparse_gradients_are_refused(weight, build):
    """A stencil on a sparse gradient would fill it: the message says so and names a remedy."""
    table = torch.nn.Embedding(5, 2, sparse=True)
    optimizer = build([weight, table.weight], diffusion=0.2, momentum=0.9)
    (table(torch.tensor([1, 3])).sum() + weight.sum()).backward()
    with pytest.raises(RuntimeError, match=r"needs dense gradients, got layout torch.sparse_coo"):
        optimizer.step()
    assert torch.equal(weight.detach(), torch.ones(4))
    assert not optimizer.state


@pytest.mark.parametrize("build", CLASSES)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"diffusion": 0.6}, "diffusion must be at most"),
        ({"lr": -1.0}, "lr must be"),
        ({"max_norm": 2.0}, r"must be the same in every group, got \[1.0, 2.0\]"),
        ({"boundary": "periodic"}, r"one chain and need one boundary, got \['neumann', 'per"),
    ],
)
def test_a_refused_group_leaves_the_optimizer_unchanged(weight, build, options, message):
    """Groups, state and defaults are those from before the call."""
    optimizer = build([weight], diffusion=0.1, max_norm=1.0)
    before = optimizer.state_dict()
    defaults = dict(optimizer.defaults)
    new = torch.nn.Parameter(torch.ones(2))
    with pytest.raises(ValueError, match=message):
        optimizer.add_param_group({"params": [new], **options})
    assert optimizer.state_dict() == before
    assert optimizer.defaults == defaults
    optimizer.add_param_group({"params": [new]})
    assert len(optimizer.param_groups) == 2


def test_torchs_own_refusals_stay(weight):
    """The same parameter twice, or something that is no tensor: torch's errors."""
    optimizer = DiffusionSGD([weight], diffusion=0.1)
    with pytest.raises(ValueError, match="appear in more than one parameter group"):
        optimizer.add_param_group({"params": [weight]})
    with pytest.raises(TypeError, match="can only optimize Tensors"):
        optimizer.add_param_group({"params": [1.0]})
    with pytest.raises(ValueError, match="empty parameter list"):
        DiffusionSGD([])
    assert len(optimizer.param_groups) == 1


def test_boundaries_may_differ_outside_the_chain(weight):
    """Only groups in mode "global" share a chain."""
    other = torch.nn.Parameter(torch.ones(2))
    groups = [{"params": [weight]}, {"params": [other], "mode": "layer", "boundary": "periodic"}]
    assert len(DiffusionSGD(groups, diffusion=0.1).param_groups) == 2


@pytest.mark.parametrize("build", CLASSES)
def test_a_coefficient_changed_by_hand_is_checked_at_the_step(weight, build):
    """A schedule that overshoots its bound is stopped, not silently unstable."""
    optimizer = build([weight], diffusion=0.1)
    weight.grad = torch.ones(4)
    optimizer.param_groups[0]["diffusion"] = 0.7
    with pytest.raises(ValueError, match=r"at most 0\.5 in mode 'global'"):
        optimizer.step()
    assert torch.equal(weight.detach(), torch.ones(4))


@pytest.mark.parametrize("build", CLASSES)
@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("lr", float("nan"), "lr must be finite and at least 0, got nan"),
        ("mode", "globl", "mode must be one of global, layer"),
        ("boundary", "open", "boundary must be one of"),
        ("max_norm", -1.0, "max_norm must be finite and at least 0, got -1"),
        ("max_norm", 0, "max_norm must be positive, got 0"),
    ],
)
def test_what_is_edited_by_hand_or_loaded_is_checked_at_the_step(
    weight, build, option, value, message
):
    """No unknown name falls into another's branch; nothing has moved when it is refused."""
    optimizer = build([weight], diffusion=0.1)
    weight.grad = torch.ones(4)
    state = optimizer.state_dict()
    state["param_groups"][0][option] = value
    optimizer.load_state_dict(state)
    with pytest.raises(ValueError, match=message):
        optimizer.step()
    assert torch.equal(weight.detach(), torch.ones(4))


def test_groups_edited_apart_are_refused_at_the_step(weight):
    """One chain has one boundary, one norm has one bound, after the constructor too."""
    other = torch.nn.Parameter(torch.ones(2))
    optimizer = DiffusionSGD([{"params": [weight]}, {"params": [other]}], diffusion=0.1)
    optimizer.param_groups[1]["boundary"] = "periodic"
    with pytest.raises(ValueError, match="form one chain and need one boundary"):
        optimizer.step()


def test_a_group_that_is_no_dict(weight):
    with pytest.raises(TypeError, match="param_group must be a dict such as"):
        DiffusionSGD([weight]).add_param_group([weight])


def test_placebo_refuses_what_one_permutation_cannot_be(weight):
    """One mode and one seed for all elements, checked when the optimizer is built."""
    other = torch.nn.Parameter(torch.ones(2))
    with pytest.raises(ValueError, match="the placebo's mode must be 'global', got 'layer'"):
        PlaceboDiffusionSGD([{"params": [weight], "mode": "layer"}])
    with pytest.raises(ValueError, match="seed must be at least 0, got -1"):
        PlaceboDiffusionSGD([weight], seed=-1)
    with pytest.raises(TypeError, match=r"seed must be an int, got 1\.5"):
        PlaceboDiffusionSGD([weight], seed=1.5)
    groups = [{"params": [weight], "seed": 3}, {"params": [other]}]
    with pytest.raises(ValueError, match=r"seed must be the same in every group, got \[0, 3\]"):
        PlaceboDiffusionSGD(groups)
    optimizer = PlaceboDiffusionSGD([weight], seed=4)
    with pytest.raises(ValueError, match=r"seed must be the same in every group, got \[4, 5\]"):
        optimizer.add_param_group({"params": [other], "seed": 5})
    assert len(optimizer.param_groups) == 1
    optimizer.add_param_group({"params": [other]})
    assert optimizer.param_groups[1]["seed"] == 4
