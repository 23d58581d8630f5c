"""The contract of a torch optimizer: closures, hooks, gradients left alone, scaler, compiler."""

import pytest
import torch

from heatgrad.optim import (
    OPTIMIZERS,
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
MODES = {"layer": 0.5, "layer_literal": 0.5, "centralize": 1.0, "centralize_channel": 1.0}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_entry_of_the_registry_trains(draw, name):
    """Least squares has a known minimum; every optimizer must come closer to it."""
    features, (target,) = draw([(32, 4)])[0], draw([(32,)], seed=1)
    weight = torch.nn.Parameter(torch.zeros(4, dtype=torch.float64))
    optimizer = OPTIMIZERS[name]([weight], lr=0.05)

    def excess():
        best = torch.linalg.lstsq(features, target[:, None]).solution[:, 0]
        return (weight.detach() - best).norm().item()

    start = excess()
    for _ in range(60):
        optimizer.zero_grad()
        (features @ weight - target).square().mean().backward()
        optimizer.step()
    assert excess() < 0.5 * start


@pytest.mark.parametrize("build", CLASSES)
@pytest.mark.parametrize("foreach", [False, True])
@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("maximize", [False, True])
@pytest.mark.parametrize("max_norm", [None, 0.1])
@pytest.mark.parametrize("diffusion", [0.0, 0.2])
def test_gradients_are_never_written(
    parameters, give_gradients, untouched, build, foreach, nesterov, maximize, max_norm, diffusion
):
    """Values, version counters and identity of p.grad; torch's own foreach Nesterov fails this."""
    decays = (0.0, 0.1, torch.tensor(0.1), torch.tensor(0.1, requires_grad=True))
    for decay in decays:
        for momentum in (0.9,) if nesterov else (0.0, 0.9):
            params = parameters()
            optimizer = build(
                params,
                lr=0.1,
                momentum=momentum,
                weight_decay=decay,
                nesterov=nesterov,
                diffusion=diffusion,
                max_norm=max_norm,
                maximize=maximize,
                foreach=foreach,
            )
            for step in range(3):
                give_gradients(params, step, missing=(1,) if step == 0 else ())
                with untouched(params):
                    optimizer.gradient_directions()
                    optimizer.step()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("foreach", [False, True])
def test_gradients_are_never_written_in_any_mode(
    parameters, give_gradients, untouched, mode, foreach
):
    """As above, for the modes that know only the mean."""
    params = parameters(((3, 4), (5,)))
    options = {"mode": mode, "diffusion": MODES[mode], "foreach": foreach}
    optimizer = DiffusionSGD(params, lr=0.1, momentum=0.9, nesterov=True, **options)
    for step in range(2):
        give_gradients(params, step)
        with untouched(params):
            optimizer.step()


def test_directions_change_nothing(parameters, give_gradients):
    """`gradient_directions` looks only: parameters and state stay."""
    params = parameters()
    optimizer = DiffusionSGD(params, lr=0.1, momentum=0.9, diffusion=0.2)
    give_gradients(params, 0)
    before = [p.detach().clone() for p in params]
    optimizer.gradient_directions()
    assert not optimizer.state
    assert all(torch.equal(p, b) for p, b in zip(params, before, strict=True))


@pytest.mark.parametrize("build", CLASSES)
def test_closure_is_called_once_with_gradients_enabled(build):
    """Torch's contract of `step(closure)`: its value comes back, None without a closure."""
    weight = torch.nn.Parameter(torch.tensor([1.0, 3.0]))
    optimizer = build([weight], lr=0.5, diffusion=0.25)
    calls = []

    def closure():
        calls.append(torch.is_grad_enabled())
        optimizer.zero_grad()
        loss = weight.square().sum() / 2
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 5.0
    assert calls == [True]
    assert optimizer.step() is None
    assert torch.is_grad_enabled()


def test_hooks_run_in_torchs_order():
    """Step hooks around the step; a pre-hook's gradient is the one that is followed."""
    weight = torch.nn.Parameter(torch.zeros(2))
    optimizer = DiffusionSGD([weight], lr=1.0, diffusion=0.25)
    events = []

    def before(opt, args, kwargs):
        events.append("before")
        weight.grad = torch.tensor([0.0, 4.0])

    optimizer.register_step_pre_hook(before)
    optimizer.register_step_post_hook(lambda *_: events.append("after"))
    optimizer.register_state_dict_pre_hook(lambda *_: events.append("saving"))
    optimizer.register_state_dict_post_hook(lambda *_: events.append("saved"))
    optimizer.register_load_state_dict_pre_hook(lambda *_: events.append("loading"))
    optimizer.register_load_state_dict_post_hook(lambda *_: events.append("loaded"))
    optimizer.step()
    assert weight.tolist() == [-1.0, -3.0]
    optimizer.load_state_dict(optimizer.state_dict())
    assert events == ["before", "after", "saving", "saved", "loading", "loaded"]


@pytest.mark.parametrize("foreach", [False, True])
def test_versions_are_bumped(foreach):
    """A graph saved before the step must not be walked backward after it: autograd says so."""
    weight = torch.nn.Parameter(torch.ones(2))
    loss = weight.square().sum()
    weight.grad = torch.ones(2)
    DiffusionSGD([weight], lr=1.0, diffusion=0.2, foreach=foreach).step()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@pytest.mark.parametrize("build", CLASSES)
def test_grad_scaler(build):
    """A power-of-two scale changes no bit, and an overflow skips the step wholly."""
    ends = []
    for enabled in (True, False):
        weight = torch.nn.Parameter(torch.tensor([1.0, 3.0, -2.0]))
        optimizer = build([weight], lr=0.1, momentum=0.9, diffusion=0.2, max_norm=1.0)
        scaler = torch.amp.GradScaler(device="cpu", init_scale=2.0**10, enabled=enabled)
        for factor in (1.0, float("inf"), 2.0):
            if factor == float("inf") and not enabled:
                continue
            optimizer.zero_grad()
            scaler.scale(factor * weight.square().sum()).backward()
            scaler.step(optimizer)
            scaler.update()
        ends.append(weight.detach())
        assert scaler.get_scale() == (2.0**9 if enabled else 1.0)
    assert torch.equal(*ends)


def test_grad_scaler_skips_the_very_first_step():
    """Nothing is left behind by a skipped step: neither an update nor a buffer."""
    weight = torch.nn.Parameter(torch.ones(2))
    optimizer = DiffusionSGD([weight], lr=0.1, momentum=0.9, diffusion=0.2)
    scaler = torch.amp.GradScaler(device="cpu")
    scaler.scale(weight.sum() * float("inf")).backward()
    scaler.step(optimizer)
    assert torch.equal(weight.detach(), torch.ones(2))
    assert not optimizer.state


@pytest.mark.parametrize("options", [{}, {"foreach": True}, {"mode": "layer"}], ids=str)
def test_compiled_step_equals_the_eager_one(parameters, give_gradients, options):
    """The traced graph, run operation by operation, gives the bits of eager mode."""
    torch.compiler.reset()
    ends = []
    for compiled in (True, False):
        params = parameters(((3, 4), (5,)), dtype=torch.float32)
        optimizer = DiffusionSGD(
            params, lr=0.1, momentum=0.9, weight_decay=0.01, diffusion=0.2, max_norm=1.0, **options
        )
        step = torch.compile(optimizer.step, backend="aot_eager") if compiled else optimizer.step
        for number in range(3):
            give_gradients(params, number)
            step()
        ends.append(params)
    assert all(torch.equal(a, b) for a, b in zip(*ends, strict=True))


def test_module_on_another_dtype_keeps_working(give_gradients):
    """Buffers follow the parameter's dtype on load, as torch casts them."""
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = DiffusionSGD([weight], lr=0.1, momentum=0.9, diffusion=0.2)
    give_gradients([weight], 0)
    optimizer.step()
    double = torch.nn.Parameter(weight.detach().double())
    other = DiffusionSGD([double], lr=0.1, momentum=0.9, diffusion=0.2)
    other.load_state_dict(optimizer.state_dict())
    assert other.state[double]["momentum_buffer"].dtype == torch.float64
    give_gradients([double], 1)
    other.step()
