"""Memory of a step, against what the algorithms need."""

import pytest
import torch

from heatgrad.optim import DiffusionNesterov, DiffusionSGD
from heatgrad.training import step_memory

SHAPES = [(30, 20), (7,), (11, 4, 3)]
SIZES = [600, 7, 132]


def parameters(dtype=torch.float32):
    params = [torch.nn.Parameter(torch.ones(shape, dtype=dtype)) for shape in SHAPES]
    for param in params:
        param.grad = torch.ones_like(param)
    return params


@pytest.mark.parametrize(
    ("options", "kept", "passing"),
    [
        ({}, 0, 0),
        ({"momentum": 0.9}, sum(SIZES), 0),
        # g + mu v, of one tensor at a time.
        ({"momentum": 0.9, "nesterov": True}, sum(SIZES), max(SIZES)),
        ({"weight_decay": 0.1}, 0, max(SIZES)),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_sgd_by_hand(options, kept, passing, dtype):
    optimizer = torch.optim.SGD(parameters(dtype), lr=0.1, foreach=False, **options)
    found = step_memory(optimizer)
    width = dtype.itemsize
    assert (found.kept, found.passing) == (kept * width, passing * width)


def test_adam_keeps_two_moments_and_a_count():
    found = step_memory(torch.optim.Adam(parameters(), foreach=False))
    assert found.kept == 4 * (2 * sum(SIZES) + len(SHAPES))
    assert found.passing >= 4 * max(SIZES)


@pytest.mark.parametrize("build", [DiffusionSGD, DiffusionNesterov])
def test_ours_keep_what_sgd_keeps_and_the_kernels_take_nothing(build):
    options = {"diffusion": 0.1} if build is DiffusionSGD else {"dims": 0}
    found = step_memory(build(parameters(), lr=0.1, momentum=0.9, **options))
    assert found.kept == 4 * sum(SIZES)
    assert found.passing <= 64
    plain = step_memory(build(parameters(), lr=0.1, momentum=0.9, fused=False, **options))
    assert plain.kept == found.kept
    assert plain.passing >= 4 * max(SIZES)


def test_a_view_counts_once_and_what_is_freed_no_more():
    """By hand: ten numbers, and twice the eight of a view that are added."""

    class Wasteful(torch.optim.SGD):
        @torch.no_grad()
        def step(self, closure=None):
            for _ in range(3):
                a = torch.ones(10)
                b = a[2:].view(2, 4).t() + torch.zeros(4, 2)
                del a, b

    param = torch.nn.Parameter(torch.ones(3))
    param.grad = torch.ones(3)
    assert step_memory(Wasteful([param], lr=0.1)).passing == 40 + 32 + 32
