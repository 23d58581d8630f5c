"""Beside what torch puts around an optimizer: scaled gradients, averaged weights, missing ones."""

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import SWALR, AveragedModel, get_ema_multi_avg_fn

from heatgrad.optim import OPTIMIZERS, diffuse_gradients

SHAPES = ((4, 3), (5,), (2, 3, 3))


def ours(kind):
    return lambda params: kind(params, lr=0.1, momentum=0.9, diffusion=0.2)


def hooked(fused):
    """AdamW with the hook; torch's fused one unscales the gradients by itself."""

    def build(params):
        optimizer = torch.optim.AdamW(params, lr=0.1, fused=fused)
        diffuse_gradients(optimizer, 0.2)
        return optimizer

    return build


BUILDS = {
    name: ours(kind) for name, kind in OPTIMIZERS.items() if kind.__module__.startswith("heatgrad.")
} | {"AdamW, hooked": hooked(fused=False), "fused AdamW, hooked": hooked(fused=True)}
every_optimizer = pytest.mark.parametrize("build", BUILDS.values(), ids=BUILDS.keys())


def loss_of(params, step):
    """A smooth function whose gradients differ from step to step."""
    return sum(
        ((p - 0.1 * step) ** 2 * torch.linspace(1, 2, p.numel()).view_as(p)).sum() for p in params
    )


@every_optimizer
def test_a_step_that_overflows_is_passed_over(parameters, build):
    """Powers of two scale without rounding: the other steps are the unscaled ones, bit for bit."""
    scaled, alone = (parameters(SHAPES, dtype=torch.float32) for _ in range(2))
    optimizer, other = build(scaled), build(alone)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    for step in range(5):
        optimizer.zero_grad()
        loss = loss_of(scaled, step)
        overflows = step in (0, 3)  # the very first step too: no buffer exists yet
        scaler.scale(loss * float("inf") if overflows else loss).backward()
        before = [p.detach().clone() for p in scaled]
        scaler.step(optimizer)
        scaler.update()
        if overflows:
            assert all(torch.equal(p, b) for p, b in zip(scaled, before, strict=True))
            continue
        other.zero_grad()
        loss_of(alone, step).backward()
        other.step()
    assert scaler.get_scale() == 2.0**8
    assert all(torch.equal(p, q) for p, q in zip(scaled, alone, strict=True))


@every_optimizer
def test_averages_follow_the_steps(build):
    """Equal weights: the mean of all iterates; decaying ones: the recursion. SWALR sets lr."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2)).double()
    optimizer = build(model.parameters())
    equal = AveragedModel(model)
    decaying = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.5))
    schedule = SWALR(optimizer, swa_lr=0.02, anneal_epochs=4, anneal_strategy="linear")
    seen, x = [], torch.linspace(-1, 1, 12, dtype=torch.float64).view(3, 4)
    for _ in range(5):
        optimizer.zero_grad()
        model(x).square().sum().backward()
        optimizer.step()
        schedule.step()
        for average in (equal, decaying):
            average.update_parameters(model)
        seen.append([p.detach().clone() for p in model.parameters()])
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.02)
    for found, smooth, values in zip(
        equal.parameters(), decaying.parameters(), zip(*seen, strict=True), strict=True
    ):
        torch.testing.assert_close(found.detach(), torch.stack(values).mean(dim=0))
        expected = values[0]
        for value in values[1:]:
            expected = 0.5 * expected + 0.5 * value
        torch.testing.assert_close(smooth.detach(), expected)


@every_optimizer
def test_a_step_without_any_gradient_does_nothing(parameters, build):
    """As when a framework's closure has skipped the batch: no state, no change, no error."""
    params = parameters(SHAPES)
    before = [p.detach().clone() for p in params]
    optimizer = build(params)
    assert optimizer.step(lambda: None) is None
    assert all(torch.equal(p, b) for p, b in zip(params, before, strict=True))
    assert not optimizer.state
