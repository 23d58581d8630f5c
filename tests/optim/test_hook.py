"""Gradient diffusion for any optimizer: parity with ours, the caller's gradients, closures."""

import pytest
import torch

from heatgrad.laplacian import Laplacian
from heatgrad.optim import DiffusionSGD, diffuse_gradients

SHAPES = ((3, 4), (5,), (2, 1, 3))
OTHERS = [
    (torch.optim.AdamW, {"lr": 0.1}),
    (torch.optim.RMSprop, {"lr": 0.1}),
    (torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "foreach": True}),
    (torch.optim.Adam, {"lr": 0.1, "foreach": True}),
    (torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "fused": True}),
    (torch.optim.AdamW, {"lr": 0.1, "fused": True}),
]


@pytest.mark.parametrize(
    ("mode", "diffusion"),
    [("global", 0.2), ("layer", 0.5), ("layer_literal", 0.5), ("centralize", 1.0)],
)
def test_sgd_with_the_hook_is_diffusion_sgd(parameters, give_gradients, mode, diffusion, boundary):
    """Bit for bit, without weight decay and clipping, which stand elsewhere in the order."""
    hooked, ours = parameters(SHAPES), parameters(SHAPES)
    plain = torch.optim.SGD(hooked, lr=0.1, momentum=0.9, foreach=False)
    diffuse_gradients(plain, diffusion, mode=mode, boundary=boundary)
    other = DiffusionSGD(
        ours, lr=0.1, momentum=0.9, diffusion=diffusion, mode=mode, boundary=boundary
    )
    for step in range(3):
        for params, optimizer in ((hooked, plain), (ours, other)):
            give_gradients(params, step, missing=(1,) if step == 0 else ())
            optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(hooked, ours, strict=True))


@pytest.mark.parametrize(("build", "options"), OTHERS)
@pytest.mark.parametrize("mode", ["stencil", "implicit"])
@pytest.mark.parametrize("axis", [0, -1])
def test_any_optimizer_sees_the_operator_applied(
    parameters, give_gradients, build, options, mode, boundary, axis
):
    """The same optimizer, given gradients diffused by hand with the Laplacian object.

    Torch's fused optimizers look at memory alone, whatever the strides.
    """
    hooked, by_hand = parameters(SHAPES), parameters(SHAPES)
    first, second = build(hooked, **options), build(by_hand, **options)
    laplacian = Laplacian(axis, boundary)
    diffuse_gradients(first, 0.2, mode=mode, dims=axis, boundary=boundary)
    for step in range(3):
        give_gradients(hooked, step)
        give_gradients(by_hand, step)
        for param in by_hand:
            grad = param.grad
            if mode == "stencil":
                param.grad = grad + 0.2 * laplacian(grad)
            else:
                param.grad = laplacian.solve(grad, shift=1.0, scale=0.2).contiguous()
        first.step()
        second.step()
    for a, b in zip(hooked, by_hand, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("build", "options"), OTHERS)
def test_the_callers_gradients_are_given_back(
    parameters, give_gradients, untouched, build, options
):
    params = parameters(SHAPES)
    optimizer = build(params, **options)
    handle = diffuse_gradients(optimizer, 0.25)
    for step in range(2):
        give_gradients(params, step, missing=(0,))
        with untouched(params):
            optimizer.step()
    handle.remove()


def test_removed_it_leaves_the_optimizer_as_it_was(parameters, give_gradients):
    hooked, plain = parameters(SHAPES), parameters(SHAPES)
    first, second = (torch.optim.SGD(p, lr=0.1) for p in (hooked, plain))
    with diffuse_gradients(first, 0.25) as handle:
        pass
    handle.remove()
    for params, optimizer in ((hooked, first), (plain, second)):
        give_gradients(params, 0)
        optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(hooked, plain, strict=True))


@pytest.mark.parametrize("how", ["positional", "keyword"])
def test_a_closures_gradients_are_diffused_each_time(how):
    """LBFGS calls its closure many times; on a quadratic it must see diffused gradients only."""
    weight = torch.nn.Parameter(torch.tensor([0.0, 4.0, 0.0], dtype=torch.float64))
    seen = []

    class Looking(torch.optim.SGD):
        def step(self, closure=None):
            with torch.enable_grad():
                for _ in range(3):
                    loss = closure()
                    seen.append(weight.grad.tolist())
            return loss

    optimizer = Looking([weight], lr=0.1)
    diffuse_gradients(optimizer, 0.25)

    def closure():
        optimizer.zero_grad()
        loss = weight.square().sum() / 2
        loss.backward()
        return loss

    loss = optimizer.step(closure) if how == "positional" else optimizer.step(closure=closure)
    assert loss.item() == 8.0
    assert seen == [[1.0, 2.0, 1.0]] * 3
    assert weight.grad.tolist() == [0.0, 4.0, 0.0]


def test_a_step_that_raises_gives_back_at_the_next(parameters, give_gradients):
    params = parameters(SHAPES)

    class Failing(torch.optim.SGD):
        def step(self, closure=None):
            raise ArithmeticError("no")

    optimizer = Failing(params, lr=0.1)
    handle = diffuse_gradients(optimizer, 0.25)
    give_gradients(params, 0)
    mine = [p.grad for p in params]
    with pytest.raises(ArithmeticError):
        optimizer.step()
    handle.remove()
    assert all(p.grad is g for p, g in zip(params, mine, strict=True))


@pytest.mark.parametrize("mode", ["global", "stencil", "implicit", "centralize_channel"])
def test_lbfgs_steps_along_diffused_gradients(mode):
    """It flattens gradients by view, so that they must lie as they were."""
    weight = torch.nn.Parameter(torch.ones(6, 4, dtype=torch.float64))
    optimizer = torch.optim.LBFGS([weight], lr=0.5)
    dims = 0 if mode in ("stencil", "implicit") else None
    strength = 1.0 if mode == "centralize_channel" else 0.2
    diffuse_gradients(optimizer, strength, mode=mode, dims=dims)

    def closure():
        optimizer.zero_grad()
        value = (weight - torch.arange(24.0).view(6, 4)).square().sum()
        value.backward()
        return value

    first = optimizer.step(closure).item()
    assert closure().item() < first


def test_the_strength_may_be_changed_between_steps():
    weight = torch.nn.Parameter(torch.zeros(3))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    handle = diffuse_gradients(optimizer, 0.25)
    for strength in (0.25, 0.0):
        handle.diffusion = strength
        weight.grad = torch.tensor([0.0, 4.0, 0.0])
        optimizer.step()
    assert weight.tolist() == [-1.0, -6.0, -1.0]
    handle.diffusion = 0.7
    with pytest.raises(ValueError, match=r"diffusion must be at most 0\.5"):
        optimizer.step()


def test_what_is_refused(parameters):
    params = parameters(SHAPES)
    optimizer = torch.optim.SGD(params, lr=0.1)
    for arguments, message in (
        ({"diffusion": -0.1}, "diffusion must be finite and at least 0, got -0.1"),
        ({"diffusion": 0.6}, "at most 0.5 in mode 'global'"),
        ({"diffusion": 0.1, "mode": "globl"}, "mode must be one of global, stencil, implicit"),
        ({"diffusion": 0.1, "boundary": "open"}, "boundary must be one of"),
        ({"diffusion": 0.1, "mode": "stencil", "dims": 1}, r"parameter number 1 of shape \(5,\)"),
    ):
        with pytest.raises(ValueError, match=message):
            diffuse_gradients(optimizer, **arguments)
    assert not optimizer._optimizer_step_pre_hooks
    handle = diffuse_gradients(optimizer, 0.1, mode="stencil")
    handle.diffusion = 0.3
    params[0].grad = torch.ones(3, 4, dtype=torch.float64)
    with pytest.raises(ValueError, match=r"at most 0\.25 along 2 axes of a tensor of shape"):
        optimizer.step()


def test_a_stencil_above_its_bound_is_refused_at_once(parameters):
    optimizer = torch.optim.SGD(parameters(SHAPES), lr=0.1)
    with pytest.raises(
        ValueError, match=r"at most 0\.25 along 2 axes of a tensor of shape \(3, 4\)"
    ):
        diffuse_gradients(optimizer, 0.3, mode="stencil")
    assert not optimizer._optimizer_step_pre_hooks


@pytest.mark.parametrize("what", [None, torch.nn.Parameter(torch.ones(2))])
def test_what_is_no_optimizer(what):
    with pytest.raises(TypeError, match="needs an optimizer with torch's step hooks, got "):
        diffuse_gradients(what, 0.1)


def test_a_gradient_made_after_a_step_that_raised_is_followed():
    """What was held back for the broken step is not put over the caller's new gradient."""
    weight = torch.nn.Parameter(torch.zeros(3))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    diffuse_gradients(optimizer, 0.25)

    def broken(*_):
        raise RuntimeError("broken")

    breaking = optimizer.register_step_pre_hook(broken)
    weight.grad = torch.tensor([0.0, 4.0, 0.0])
    with pytest.raises(RuntimeError, match="broken"):
        optimizer.step()
    breaking.remove()
    weight.grad = torch.full((3,), 100.0)
    optimizer.step()
    assert weight.tolist() == [-100.0] * 3


def test_a_second_handle_and_a_differentiable_optimizer_are_refused():
    weight = torch.nn.Parameter(torch.zeros(3))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    handle = diffuse_gradients(optimizer, 0.25)
    with pytest.raises(ValueError, match=r"at most, got a second one; remove\(\)"):
        diffuse_gradients(optimizer, 0.25)
    handle.remove()
    diffuse_gradients(optimizer, 0.25).remove()
    optimizer = torch.optim.SGD([weight], lr=1.0, differentiable=True)
    with pytest.raises(ValueError, match="must not be differentiable"):
        diffuse_gradients(optimizer, 0.25)
