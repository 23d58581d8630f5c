"""The fused kernel of the velocity against the plain path: rows, slabs, ends, options."""

import itertools

import pytest
import torch

from heatgrad.optim import DiffusionNesterov
from heatgrad.optim.kernels import velocity_cpu

# Along dim 0: rows of many cells, of few, a line; one cell; nothing.
SHAPES = ((5, 40), (6, 3), (9,), (1, 20), (0, 4), (2, 17), (1,))
DEEP = ((4, 3, 3, 3), (2, 5, 1, 3), (3, 2, 4, 5))
CLOSE = {torch.float64: {"rtol": 1e-12, "atol": 1e-13}, torch.float32: {"rtol": 3e-5, "atol": 3e-6}}


@pytest.fixture
def compare(draw, give_gradients):
    """Return a function that steps the kernel and the plain path side by side."""

    def compare_(shapes, dtype=torch.float64, steps=4, **options):
        ends = []
        for fused in (True, False):
            params = [torch.nn.Parameter(value) for value in draw(shapes, dtype)]
            optimizer = DiffusionNesterov(params, fused=fused, **options)
            for step in range(steps):
                give_gradients(params, step, missing=(1,) if step == 0 else ())
                optimizer.step()
            buffers = [optimizer.state[p].get("momentum_buffer") for p in params]
            ends.append([*params, *buffers])
        for ours, theirs in zip(*ends, strict=True):
            if theirs is not None:  # without momentum, the plain path keeps none of a still tensor
                torch.testing.assert_close(ours, theirs, **CLOSE[dtype])

    return compare_


@pytest.mark.parametrize("dtype", CLOSE, ids=str)
@pytest.mark.parametrize("diffusion", [0.0, 0.5, 1.0, 2.0])
def test_equals_the_plain_path_along_the_first_axis(compare, boundary, dtype, diffusion):
    """Weight decay, maximize, refinement above the bound; a gradient that comes late."""
    for decay, maximize, momentum in itertools.product((0.0, 0.1), (False, True), (0.0, 0.9)):
        compare(
            SHAPES,
            dtype,
            lr=0.1,
            momentum=momentum,
            diffusion=diffusion,
            dims=0,
            boundary=boundary,
            weight_decay=decay,
            maximize=maximize,
        )


@pytest.mark.parametrize("dims", [0, 1, 2, -1, (2, 3), (0, 2), (1, 3), None])
def test_equals_the_plain_path_along_any_axes(compare, boundary, dims):
    compare(DEEP, lr=0.1, diffusion=0.9, dims=dims, boundary=boundary)


@pytest.mark.parametrize("columns", [3, 16, 17])
def test_rows_may_be_cut_anywhere(compare, monkeypatch, boundary, columns):
    """Columns do not see each other: however few are stepped together, the result is the same."""
    monkeypatch.setattr(velocity_cpu, "COLUMNS", columns)
    monkeypatch.setattr(velocity_cpu, "WIDE", 16)
    shapes = ((5, 40), (7, 2, 16), (1, 30), (2, 33))
    compare(shapes, lr=0.1, dims=0, boundary=boundary, weight_decay=0.1)


def test_many_narrow_rows(compare, boundary):
    """Longer than a piece, so that pieces meet: rows of one cell, of a few, and of many."""
    shapes = ((9001,), (1500, 7), (40, 300), (3, 2, 2100))
    compare(shapes, lr=0.1, dims=0, boundary=boundary, weight_decay=0.1)
    compare(((2, 3000, 3), (5, 900, 1)), lr=0.1, dims=1, boundary=boundary)


def test_a_slab_that_is_too_long_goes_the_plain_way(monkeypatch):
    """Two axes of a large matrix: no kernel, the same result, nothing refused."""
    monkeypatch.setattr(velocity_cpu, "LONGEST_SLAB", 100)
    calls = []
    step = velocity_cpu.step_blocks
    monkeypatch.setattr(velocity_cpu, "step_blocks", lambda *a: (calls.append(1), step(*a)))
    for shape, taken in (((9, 9), 1), ((11, 11), 0)):
        calls.clear()
        param = torch.nn.Parameter(torch.ones(shape))
        param.grad = torch.ones(shape)
        DiffusionNesterov([param], fused=True).step()
        assert len(calls) == taken


def test_nothing_but_its_own_tensors_is_written():
    """A window into a larger memory, with gradients beside: the rest stays."""
    memory = torch.full((100,), 7.0)
    param = torch.nn.Parameter(memory[20:80].view(3, 20))
    param.grad = torch.ones(3, 20)
    optimizer = DiffusionNesterov([param], lr=0.1, dims=0, fused=True)
    for _ in range(3):
        optimizer.step()
    assert torch.equal(memory[:20], torch.full((20,), 7.0))
    assert torch.equal(memory[80:], torch.full((20,), 7.0))
    assert torch.equal(param.grad, torch.ones(3, 20))
