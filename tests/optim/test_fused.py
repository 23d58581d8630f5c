"""The fused CPU kernel against the plain path: every option, any cut, any number of threads."""

import itertools
import threading

import pytest
import torch

from heatgrad.optim import DiffusionSGD
from heatgrad.optim.kernels import chain_cpu
from heatgrad.optim.kernels import threads as kernel_threads

SHAPES = ((3, 4), (), (50,), (0, 3), (2, 7, 5), (1,), (33, 3))
# A fused multiply-add rounds once where the plain path rounds twice.
CLOSE = {torch.float64: {"rtol": 1e-12, "atol": 1e-13}, torch.float32: {"rtol": 3e-5, "atol": 3e-6}}


@pytest.fixture
def small_blocks(monkeypatch):
    """Cut tensors into blocks of seven, so that borders are everywhere."""
    monkeypatch.setattr(chain_cpu, "BLOCK", 7)


@pytest.fixture
def many_threads(monkeypatch):
    """Take every thread, however little there is to do."""
    monkeypatch.setattr(kernel_threads, "_WORTH_A_THREAD", 1)
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.fixture
def run(draw, give_gradients):
    """Return a function that steps an optimizer a few times and gives parameters and buffers."""

    def run_(options, *, dtype=torch.float64, groups=None, steps=3, missing=(2,)):
        params = [torch.nn.Parameter(value) for value in draw(SHAPES, dtype)]
        parts = params if groups is None else groups(params)
        optimizer = DiffusionSGD(parts, **options)
        for step in range(steps):
            give_gradients(params, step, missing=missing if step == 0 else ())
            optimizer.step()
        buffers = [optimizer.state[p].get("momentum_buffer") for p in params]
        return params, [b for b in buffers if b is not None]

    return run_


def assert_close(found, expected, dtype):
    for ours, theirs in zip(found[0] + found[1], expected[0] + expected[1], strict=True):
        torch.testing.assert_close(ours, theirs, **CLOSE[dtype])


@pytest.mark.parametrize("dtype", CLOSE, ids=str)
@pytest.mark.parametrize("ball", [(0.0, 0.0, False), (0.9, 0.3, False), (0.9, 0.0, True)])
@pytest.mark.parametrize("max_norm", [None, 0.5, 1e9])
def test_equals_the_plain_path(run, small_blocks, boundary, dtype, ball, max_norm):
    """All options of the update, a parameter that gets its gradient late, an empty one."""
    momentum, dampening, nesterov = ball
    for decay, maximize, diffusion in itertools.product((0.0, 0.1), (False, True), (0.0, 0.2)):
        options = {
            "lr": 0.1,
            "momentum": momentum,
            "dampening": dampening,
            "nesterov": nesterov,
            "weight_decay": decay,
            "maximize": maximize,
            "diffusion": diffusion,
            "boundary": boundary,
            "max_norm": max_norm,
        }
        fused = run({**options, "fused": True}, dtype=dtype)
        plain = run({**options, "fused": False}, dtype=dtype)
        assert_close(fused, plain, dtype)


def test_groups_of_their_own(run, small_blocks):
    """Each element uses its own group's numbers, across the groups' border too."""

    def groups(params):
        return [
            {"params": params[:3], "lr": 0.5, "momentum": 0.0, "diffusion": 0.1},
            {"params": params[3:5], "weight_decay": 0.2, "diffusion": 0.0},
            {"params": params[5:], "nesterov": True, "maximize": True},
        ]

    options = {"lr": 0.1, "momentum": 0.9, "diffusion": 0.25}
    fused = run({**options, "fused": True}, groups=groups)
    plain = run({**options, "fused": False}, groups=groups)
    assert_close(fused, plain, torch.float64)


@pytest.mark.parametrize("max_norm", [None, 0.5])
def test_the_number_of_threads_changes_no_bit(run, small_blocks, many_threads, max_norm):
    """Blocks do not depend on who steps them, and norms are summed in the order of blocks."""
    options = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1, "diffusion": 0.2}
    ends = []
    for count in (1, 2, 5):
        many_threads(count)
        ends.append(run({**options, "max_norm": max_norm, "fused": True})[0])
    for other in ends[1:]:
        assert all(torch.equal(a, b) for a, b in zip(ends[0], other, strict=True))


def test_two_threads_of_the_caller_may_step_at_once(run, small_blocks, many_threads):
    many_threads(2)
    options = {"lr": 0.1, "momentum": 0.9, "diffusion": 0.2, "fused": True}
    expected = run(options, steps=20)[0]
    ends = [None] * 4
    workers = [
        threading.Thread(target=lambda i=i: ends.__setitem__(i, run(options, steps=20)[0]))
        for i in range(len(ends))
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for end in ends:
        assert all(torch.equal(a, b) for a, b in zip(expected, end, strict=True))


def uses_kernel(monkeypatch, params, **options):
    """Whether a step of these parameters takes the kernel."""
    calls = []
    step = chain_cpu.step_blocks
    monkeypatch.setattr(chain_cpu, "step_blocks", lambda *a: (calls.append(1), step(*a)))
    DiffusionSGD(params, lr=0.1, **options).step()
    return bool(calls)


def with_gradient(value):
    param = torch.nn.Parameter(value)
    param.grad = torch.ones_like(value)
    return param


def test_the_default_takes_it_where_something_diffuses(monkeypatch):
    value = torch.randn(5)
    assert uses_kernel(monkeypatch, [with_gradient(value)], diffusion=0.1)
    assert not uses_kernel(monkeypatch, [with_gradient(value)])
    assert not uses_kernel(monkeypatch, [with_gradient(value)], diffusion=0.1, fused=False)
    assert not uses_kernel(monkeypatch, [with_gradient(value)], diffusion=0.1, foreach=False)
    assert uses_kernel(monkeypatch, [with_gradient(value)], fused=True)


@pytest.mark.parametrize(
    "value",
    [
        torch.ones(4, dtype=torch.bfloat16),
        torch.ones(4, dtype=torch.float16),
        torch.ones(3, 4).t(),
        torch.ones(2, 3, 4, 5).to(memory_format=torch.channels_last),
        torch.ones(8)[::2],
    ],
    ids=["bfloat16", "float16", "transposed", "channels last", "strided"],
)
def test_memory_it_cannot_take_goes_the_plain_way(monkeypatch, value):
    """Torch's own fused kernel permutes strided updates silently; ours is not taken for them."""
    assert not uses_kernel(monkeypatch, [with_gradient(value)], diffusion=0.1, fused=True)


def test_a_strided_view_is_not_written_beside():
    """Elements between those of a strided parameter keep their values."""
    whole = torch.arange(10.0)
    param = torch.nn.Parameter(whole[::2])
    param.grad = torch.ones(5)
    DiffusionSGD([param], lr=1.0, diffusion=0.2, fused=True).step()
    assert whole[1::2].tolist() == [1.0, 3.0, 5.0, 7.0, 9.0]


def test_what_surrounds_it_stays(run, untouched, small_blocks):
    """Gradients are neither written nor bumped; parameters are bumped, so autograd notices."""
    param = torch.nn.Parameter(torch.ones(20))
    loss = param.square().sum()
    param.grad = torch.linspace(0, 1, 20)
    optimizer = DiffusionSGD([param], lr=0.1, momentum=0.9, diffusion=0.2, weight_decay=0.1)
    with untouched([param]):
        optimizer.step()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_nan_stays_where_it_is():
    """One bad gradient reaches its neighbours and no further."""
    param = torch.nn.Parameter(torch.zeros(9))
    param.grad = torch.ones(9)
    param.grad[4] = float("nan")
    DiffusionSGD([param], lr=1.0, diffusion=0.2, fused=True).step()
    assert param.isnan().tolist() == [False] * 3 + [True] * 3 + [False] * 3


def test_tensor_rates_are_read_at_every_step():
    param = torch.nn.Parameter(torch.zeros(3))
    lr = torch.tensor(1.0)
    optimizer = DiffusionSGD([param], lr=lr, diffusion=0.25, fused=True)
    param.grad = torch.tensor([0.0, 4.0, 0.0])
    optimizer.step()
    lr.fill_(0.5)
    optimizer.step()
    assert param.tolist() == [-1.5, -3.0, -1.5]
