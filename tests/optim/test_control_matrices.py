"""The controls against their operators written out as matrices, step by step in numpy."""

import numpy as np
import pytest
import torch

from heatgrad.core.random import stream_generator
from heatgrad.optim import (
    DiffusionSGD,
    LayoutDiffusionSGD,
    LRMatchedSGD,
    NormMatchedPlaceboSGD,
    PlaceboDiffusionSGD,
)
from heatgrad.optim.sharded import Layout

SHAPES = ((3, 4), (), (5,), (0, 3), (2, 1, 3), (1,))
SIZES = [int(np.prod(shape)) for shape in SHAPES]
SIZE = sum(SIZES)
LAMS = np.repeat([0.2, 0.2, 0.2, 0.2, 0.1, 0.1], SIZES)  # the last two tensors are a group
LR, MOMENTUM, DECAY = 0.1, 0.9, 0.3


def groups_of(params):
    return [{"params": params[:4]}, {"params": params[4:], "diffusion": 0.1}]


def turned_axes(tensor):
    return tuple(reversed(range(tensor.dim())))


def placebo_matrix(chain_matrix, boundary, seed):
    """Return I + diag(lam) P^T Lap P, with P the rows of the identity in the drawn order."""
    order = torch.randperm(SIZE, generator=stream_generator(seed, "placebo")).numpy()
    shuffle = np.eye(SIZE)[order]
    lap = chain_matrix(np.ones(SIZE), boundary) - np.eye(SIZE)
    return np.eye(SIZE) + LAMS[:, None] * (shuffle.T @ lap @ shuffle)


def layout_matrix(chain_matrix, boundary):
    """Return I + diag(lam) T^T Lap T, with T from the transposes of the elements' numbers."""
    parts = np.split(np.arange(SIZE), np.cumsum(SIZES)[:-1])
    order = [part.reshape(shape).T.ravel() for part, shape in zip(parts, SHAPES, strict=True)]
    turn = np.eye(SIZE)[np.concatenate(order).astype(int)]
    lap = chain_matrix(np.ones(SIZE), boundary) - np.eye(SIZE)
    return np.eye(SIZE) + LAMS[:, None] * (turn.T @ lap @ turn)


def by_hand(theta, grads, direction, max_norm):
    """The heavy ball in numpy; `direction` gives the direction and the factor of the rate."""
    velocity = None
    for grad in grads:
        along, factor = direction(grad + DECAY * theta)
        along = along * min(1.0, max_norm / np.linalg.norm(along))
        velocity = along if velocity is None else MOMENTUM * velocity + along
        theta = theta - LR * factor * velocity
    return theta


def check(build, direction, parameters, give_gradients, concatenate, max_norm, **options):
    params = parameters(SHAPES)
    optimizer = build(
        groups_of(params),
        lr=LR,
        momentum=MOMENTUM,
        weight_decay=DECAY,
        diffusion=0.2,
        max_norm=max_norm,
        **options,
    )
    theta, grads = concatenate(params), []
    for step in range(6):
        give_gradients(params, step)
        grads.append(concatenate([p.grad for p in params]) * (1 + step))
        for param in params:
            param.grad.mul_(1 + step)
        optimizer.step()
    bound = np.inf if max_norm is None else max_norm
    expected = by_hand(theta, grads, direction, bound)
    np.testing.assert_allclose(concatenate(params), expected, rtol=1e-12, atol=1e-12)


PATHS = pytest.mark.parametrize("foreach", [False, True])
BOUNDS = pytest.mark.parametrize("max_norm", [None, 12.0])


@PATHS
@BOUNDS
def test_norm_matched_placebo(
    chain_matrix, parameters, give_gradients, concatenate, boundary, max_norm, foreach
):
    """|D g| / |D_P g| D_P g with both matrices."""
    real = chain_matrix(LAMS, boundary)
    placebo = placebo_matrix(chain_matrix, boundary, 5)

    def direction(grad):
        moved = placebo @ grad
        return moved * np.linalg.norm(real @ grad) / np.linalg.norm(moved), 1.0

    options = {"boundary": boundary, "foreach": foreach, "seed": 5}
    check(
        NormMatchedPlaceboSGD,
        direction,
        parameters,
        give_gradients,
        concatenate,
        max_norm,
        **options,
    )


@PATHS
@BOUNDS
def test_layout(chain_matrix, parameters, give_gradients, concatenate, boundary, max_norm, foreach):
    """The chain's matrix between transposes."""
    matrix = layout_matrix(chain_matrix, boundary)
    options = {"boundary": boundary, "foreach": foreach}
    check(
        LayoutDiffusionSGD,
        lambda grad: (matrix @ grad, 1.0),
        parameters,
        give_gradients,
        concatenate,
        max_norm,
        **options,
    )


@PATHS
@BOUNDS
def test_lr_matched(
    chain_matrix, parameters, give_gradients, concatenate, boundary, max_norm, foreach
):
    """The mean of the ratios so far scales the rate; with clipping, of what is left of both."""
    real = chain_matrix(LAMS, boundary)
    bound = np.inf if max_norm is None else max_norm
    ratios = []

    def direction(grad):
        diffused, plain = (min(bound, np.linalg.norm(x)) for x in (real @ grad, grad))
        ratios.append(diffused / plain)
        return grad, np.mean(ratios)

    options = {"boundary": boundary, "foreach": foreach}
    check(LRMatchedSGD, direction, parameters, give_gradients, concatenate, max_norm, **options)
    assert max_norm is None or {r == 1 for r in ratios} == {True, False}  # both sides of the bound
    assert np.ptp(ratios) > 0.01


def test_layout_is_the_method_on_transposed_parameters(parameters, give_gradients):
    """As a network that stores its weights the other way round would be trained, bit for bit."""
    ours, theirs = parameters(SHAPES), parameters(SHAPES)
    turned = [torch.nn.Parameter(p.detach().permute(turned_axes(p))) for p in theirs]
    options = {"lr": LR, "momentum": MOMENTUM, "weight_decay": DECAY, "foreach": False}
    control = LayoutDiffusionSGD(ours, diffusion=0.2, **options)
    method = DiffusionSGD(turned, diffusion=0.2, fused=False, **options)
    for step in range(3):
        give_gradients(ours, step)
        for param, other in zip(ours, turned, strict=True):
            other.grad = param.grad.permute(turned_axes(param))
        control.step()
        method.step()
    for param, other in zip(ours, turned, strict=True):
        assert torch.equal(param, other.permute(turned_axes(other)))


def test_layout_leaves_tensors_of_one_axis_to_the_method(parameters, give_gradients):
    """Vectors, and kernels with one long axis, have one order."""
    ends = []
    for build in (LayoutDiffusionSGD, DiffusionSGD):
        params = parameters(((4,), (1, 5), (), (2, 1, 1)))
        give_gradients(params, 0)
        build(params, lr=LR, diffusion=0.2, foreach=False).step()
        ends.append(params)
    for ours, theirs in zip(*ends, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-15)


def test_layout_puts_directions_in_the_gradients_memory_order(parameters, give_gradients):
    """A momentum buffer with turned strides would slow every later step."""
    params = parameters(((3, 4), (2, 3, 4, 5)))[1:]
    optimizer = LayoutDiffusionSGD(params, lr=LR, momentum=MOMENTUM, diffusion=0.2)
    give_gradients(params, 0)
    optimizer.step()
    assert optimizer.state[params[0]]["momentum_buffer"].is_contiguous()


def test_norm_matched_placebo_with_nothing_left():
    """On (1, -1) at the largest λ the periodic operators give zero: zero stays zero."""
    param = torch.nn.Parameter(torch.zeros(2, dtype=torch.float64))
    param.grad = torch.tensor([1.0, -1.0], dtype=torch.float64)
    NormMatchedPlaceboSGD([param], lr=1.0, diffusion=0.25, boundary="periodic").step()
    assert torch.equal(param.detach(), torch.zeros(2, dtype=torch.float64))


def test_norm_matched_placebo_keeps_the_placebos_direction(parameters, give_gradients, concatenate):
    """The two differ by one factor over all parameters."""
    params = parameters(SHAPES)
    give_gradients(params, 0)
    ours, theirs = (
        torch.cat(
            [x.flatten() for x in build(params, diffusion=0.2, seed=3).gradient_directions()[1]]
        )
        for build in (NormMatchedPlaceboSGD, PlaceboDiffusionSGD)
    )
    factors = (ours / theirs).numpy()
    np.testing.assert_allclose(factors, factors[0], rtol=1e-13)
    assert abs(factors[0] - 1) > 1e-3


@pytest.mark.parametrize("build", [PlaceboDiffusionSGD, NormMatchedPlaceboSGD])
def test_placebos_refuse_parts_of_tensors(build):
    """One permutation of all elements cannot be had from a part; the message names the control."""
    param = torch.nn.Parameter(torch.ones(4))
    param.grad = torch.ones(4)
    optimizer = build([param], diffusion=0.2)
    (group,) = optimizer._active_groups()
    group.layouts = [Layout((8,), (2,), ((0, 0),), (0,))]
    with pytest.raises(RuntimeError, match=f"{build.__name__} permutes all .* NormMatchedSGD"):
        optimizer._transform([group])


def edit_and_step(optimizer):
    optimizer.param_groups[0]["mode"] = "layer"
    optimizer.step()


@pytest.mark.parametrize(
    "refused",
    [
        lambda optimizer: LayoutDiffusionSGD([{"params": [torch.ones(2)], "mode": "layer"}]),
        lambda optimizer: optimizer.add_param_group({"params": [torch.ones(2)], "mode": "layer"}),
        edit_and_step,
    ],
    ids=["constructor", "added", "edited"],
)
def test_layout_refuses_a_mean(refused):
    """A mean has no neighbours: the control would be the method itself."""
    param = torch.nn.Parameter(torch.ones(4))
    param.grad = torch.ones(4)
    optimizer = LayoutDiffusionSGD([param], diffusion=0.2)
    with pytest.raises(ValueError, match="the layout control's mode must be 'global', got 'layer'"):
        refused(optimizer)
    assert len(optimizer.param_groups) == 1
    assert torch.equal(param.detach(), torch.ones(4))
