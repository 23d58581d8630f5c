"""The running mean of `LRMatchedSGD`: what it counts, what it survives, what it leaves alone."""

import copy
import io

import pytest
import torch

from heatgrad.optim import DiffusionSGD, LRMatchedSGD

OPTIONS = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01}


def mean(optimizer):
    group = optimizer.param_groups[0]
    return (group["ratio_sum"] / group["num_ratios"]).item()


@pytest.mark.parametrize("nesterov", [False, True])
def test_on_one_mode_it_is_sgd_at_a_smaller_rate(nesterov):
    """An eigenvector of the chain is scaled by 1 - lam s at every step, so that is the rate."""
    angle = 2 * torch.pi / 9
    vector = torch.cos(angle * (torch.arange(9, dtype=torch.float64) + 0.5))
    gain = 1 - 0.25 * 4 * torch.sin(torch.tensor(angle / 2, dtype=torch.float64)).square().item()
    ends = []
    for build in (
        lambda params, **options: LRMatchedSGD(params, lr=0.1, diffusion=0.25, **options),
        lambda params, **options: torch.optim.SGD(params, lr=0.1 * gain, **options),
    ):
        param = torch.nn.Parameter(torch.zeros(9, dtype=torch.float64))
        optimizer = build([param], momentum=0.9, nesterov=nesterov)
        for factor in (1.0, -3.0, 0.5):
            param.grad = factor * vector
            optimizer.step()
        ends.append(param.detach())
    torch.testing.assert_close(*ends, rtol=0, atol=1e-15)


def test_the_length_of_a_single_step_is_not_matched():
    """Ratios 1/2 and 1: the second step has the mean's length, 3/4, not the diffused one's."""
    param = torch.nn.Parameter(torch.zeros(2, dtype=torch.float64))
    optimizer = LRMatchedSGD([param], lr=1.0, diffusion=0.25)
    for grad, length in (([1.0, -1.0], 0.5), ([1.0, 1.0], 0.75)):
        before = param.detach().clone()
        param.grad = torch.tensor(grad, dtype=torch.float64)
        optimizer.step()
        torch.testing.assert_close(before - param.detach(), length * param.grad, rtol=0, atol=1e-15)


def test_what_is_not_counted():
    """Zero gradients, gradients that are not finite, missing ones, and steps at λ = 0."""
    param = torch.nn.Parameter(torch.zeros(2, dtype=torch.float64))
    optimizer = LRMatchedSGD([param], lr=1.0, diffusion=0.25)
    group = optimizer.param_groups[0]

    def step(*grad):
        param.grad = torch.tensor(grad, dtype=torch.float64) if grad else None
        optimizer.step()

    step(0.0, 0.0)
    step()
    assert group["num_ratios"] == 0
    step(1.0, -1.0)
    assert (mean(optimizer), group["num_ratios"]) == (0.5, 1)
    for grad in ((0.0, 0.0), (), (float("inf"), 1.0), (float("nan"), 1.0)):
        step(*grad)
    group["diffusion"] = 0.0
    step(1.0, 1.0)
    assert (mean(optimizer), group["num_ratios"]) == (0.5, 1)
    group["diffusion"] = 0.1  # another λ goes on with the same mean
    step(1.0, -1.0)
    assert mean(optimizer) == pytest.approx((0.5 + 0.8) / 2, abs=1e-15)
    optimizer.add_param_group({"params": [torch.nn.Parameter(torch.zeros(1))]})
    step(1.0, -1.0)
    assert group["num_ratios"] == 3


@pytest.mark.parametrize("foreach", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_checkpoint_keeps_every_digit(parameters, give_gradients, dtype, foreach):
    """Through a file, tensors only: a resumed run equals an unbroken one bit for bit.

    The state of a parameter would have been rounded to its type.
    """

    def run(optimizer, params, first, last):
        for step in range(first, last):
            give_gradients(params, step)
            optimizer.step()

    params = parameters(dtype=dtype)
    optimizer = LRMatchedSGD(params, **OPTIONS, diffusion=0.2, foreach=foreach)
    run(optimizer, params, 0, 3)
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    others = [torch.nn.Parameter(p.detach().clone()) for p in params]
    run(optimizer, params, 3, 6)
    other = LRMatchedSGD(others, lr=9.0)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True))
    assert mean(other) != mean(optimizer)
    run(other, others, 3, 6)
    assert mean(other) == mean(optimizer)
    assert all(torch.equal(a, b) for a, b in zip(params, others, strict=True))


def test_a_checkpoint_without_a_mean_starts_it_anew(parameters, give_gradients):
    """One of torch's SGD, whose momentum is taken over as it is."""
    params = parameters()
    optimizer = LRMatchedSGD(params, **OPTIONS, diffusion=0.2)
    plain = torch.optim.SGD(params, **OPTIONS)
    for some in (optimizer, plain):
        give_gradients(params, 0)
        some.step()
    fresh = copy.deepcopy(plain.state_dict())
    optimizer.load_state_dict(fresh)
    assert optimizer.param_groups[0]["diffusion"] == 0.2
    give_gradients(params, 1)
    optimizer.step()
    assert optimizer.param_groups[0]["num_ratios"] == 1


def test_the_momentum_buffer_is_torchs(parameters, give_gradients):
    """The rate is scaled, not the gradient: without decay the buffers are those of SGD."""
    ends = []
    for build in (LRMatchedSGD, torch.optim.SGD):
        params = parameters()
        extra = {"diffusion": 0.2} if build is LRMatchedSGD else {}
        optimizer = build(params, lr=0.1, momentum=0.9, **extra)
        for step in range(3):
            give_gradients(params, step)
            optimizer.step()
        ends.append([optimizer.state[p]["momentum_buffer"] for p in params])
    assert all(torch.equal(a, b) for a, b in zip(*ends, strict=True))


def test_looking_counts_nothing(parameters, give_gradients):
    """The direction shown is the next step's; the mean stays."""
    params = parameters()
    optimizer = LRMatchedSGD(params, lr=1.0, diffusion=0.2)
    method = DiffusionSGD(params, lr=1.0, diffusion=0.2)
    give_gradients(params, 0)
    for _ in range(2):
        plain, shown = optimizer.gradient_directions()
    assert "num_ratios" not in optimizer.param_groups[0]
    lengths = [
        torch.cat([x.flatten() for x in some]).norm()
        for some in (shown, method.gradient_directions()[1])
    ]
    torch.testing.assert_close(*lengths)  # of the first step alone, the mean is its ratio
    assert not torch.equal(plain[0], shown[0])
    before = [p.detach().clone() for p in params]
    optimizer.step()
    for old, new, along in zip(before, params, shown, strict=True):
        torch.testing.assert_close(old - new.detach(), along, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("lr", [torch.tensor(0.1), torch.tensor([0.1])], ids=str)
@pytest.mark.parametrize("foreach", [False, True])
def test_a_rate_that_is_a_tensor(parameters, give_gradients, lr, foreach):
    """As with a float, and the tensor is left as it is."""
    ends = []
    for rate in (lr, lr.double().item()):
        params = parameters()
        optimizer = LRMatchedSGD(params, lr=rate, momentum=0.9, diffusion=0.2, foreach=foreach)
        for step in range(2):
            give_gradients(params, step)
            optimizer.step()
        ends.append(params)
    for ours, theirs in zip(*ends, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-7)  # [0.1] is float32
    assert lr.item() == pytest.approx(0.1)


def test_compiled_steps_keep_the_mean(parameters, give_gradients):
    """The traced graph, run operation by operation: the eager means, and steps to rounding."""
    torch.compiler.reset()
    ends = []
    for compiled in (True, False):
        params = parameters(((3, 4), (5,)), dtype=torch.float32)
        optimizer = LRMatchedSGD(params, lr=torch.tensor(0.1), momentum=0.9, diffusion=0.2)
        step = torch.compile(optimizer.step, backend="aot_eager") if compiled else optimizer.step
        for number in range(3):
            give_gradients(params, number)
            step()
        assert optimizer.param_groups[0]["num_ratios"] == 3
        ends.append((params, mean(optimizer)))
    (ours, our_mean), (theirs, their_mean) = ends
    assert our_mean == pytest.approx(their_mean, rel=1e-7)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-6)
