"""The heavy ball along the diffused gradients of a chain, which are never stored."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from heatgrad.optim.chunks import in_chunks
from heatgrad.optim.operators import Run
from heatgrad.optim.updates import descend_foreach, scalar

__all__ = ["can_accumulate", "heavy_ball_along_chain"]

# Elements that are stepped at a time on a CPU, so that they are fetched from memory once.
_PIECE = 1 << 20


def can_accumulate(params: Sequence[Tensor], buffers: Sequence[Tensor | None]) -> bool:
    """Whether memory is as `heavy_ball_along_chain` needs it: dense, there, of no half type."""
    return all(
        buffer is not None
        and param.is_contiguous()
        and buffer.is_contiguous()
        and param.dtype not in (torch.float16, torch.bfloat16)
        for param, buffer in zip(params, buffers, strict=True)
    )


def heavy_ball_along_chain(
    params: Sequence[Tensor],
    runs: Sequence[Run],
    buffers: Sequence[Tensor],
    *,
    diffusion: float,
    lr: float | Tensor,
    momentum: float,
    dampening: float,
) -> None:
    r"""Update parameters and momentum buffers in place, in multi-tensor operations.

    $$v'_i = \mu v_i + (1 - d)\,[(1 - 2\lambda)\, g_i + \lambda g_{i-1} + \lambda g_{i+1}],
    \qquad \theta' = \theta - \eta v' \tag{R.2, R.8}$$

    Equal to `diffuse_chain` and `heavy_ball` but for rounding; `can_accumulate` must hold.

    Args:
        params: Parameters θ, updated in place.
        runs: For each that has elements, its place, its decayed gradient and the neighbours of
            that, as `chain_runs` gives them.
        buffers: Momentum buffers v, updated in place.
        diffusion: λ [1].
        lr: η, a float or a one-element tensor.
        momentum: μ [1].
        dampening: d [1].

    References:
        [Ray] 3.1, B.1 and B.2. Theory page: Eqs. (R.2), (R.8).
    """
    own, near = (1 - dampening) * (1 - 2 * diffusion), (1 - dampening) * diffusion
    pieces = [
        piece
        for k, grad, ends in runs
        for piece in _cut(params[k].view(grad.shape), grad, buffers[k].view(grad.shape), ends)
    ]
    for chunk in in_chunks([piece.param for piece in pieces]):
        stepped = [pieces[i] for i in chunk]
        velocities = [piece.velocity for piece in stepped]
        torch._foreach_mul_(velocities, momentum)
        torch._foreach_add_(velocities, [piece.grad for piece in stepped], alpha=own)
        beside = [pair for piece in stepped for pair in piece.beside]
        if near != 0:
            targets, neighbours = zip(*beside, strict=True)
            torch._foreach_add_(targets, neighbours, alpha=near)
        descend_foreach([piece.param for piece in stepped], velocities, scalar(lr))


class _Piece(NamedTuple):
    """Some elements of a tensor, shape (runs, length).

    Attributes:
        param: Of θ.
        grad: Of g.
        velocity: Of v.
        beside: Parts of v and, of the same shape, what is left or right of them in g.
    """

    param: Tensor
    grad: Tensor
    velocity: Tensor
    beside: list[tuple[Tensor, Tensor]]


def _cut(
    param: Tensor, grad: Tensor, velocity: Tensor, ends: tuple[Tensor, Tensor]
) -> list[_Piece]:
    n = param.shape[1]
    size = max(1, _PIECE // param.shape[0]) if param.device.type == "cpu" else n
    pieces = []
    for low in range(0, n, size):
        high = min(n, low + size)
        first, last = max(1, low), min(high, n - 1)
        beside = []
        if low == 0:
            beside.append((velocity.narrow(1, 0, 1), ends[0]))
        if high > first:
            count = high - first
            beside.append((velocity.narrow(1, first, count), grad.narrow(1, first - 1, count)))
        if last > low:
            count = last - low
            beside.append((velocity.narrow(1, low, count), grad.narrow(1, low + 1, count)))
        if high == n:
            beside.append((velocity.narrow(1, n - 1, 1), ends[1]))
        here = (low, high - low)
        pieces.append(
            _Piece(param.narrow(1, *here), grad.narrow(1, *here), velocity.narrow(1, *here), beside)
        )
    return pieces
