"""Diffusion along lines of cells, wherever the cells are held."""

from collections.abc import Sequence
from functools import reduce
from typing import Literal

import torch
from torch import Tensor

from heatgrad.laplacian import Boundary, apply_stencil, smoothing_reach, solve_shifted
from heatgrad.optim import sharded
from heatgrad.optim.drop_in import ActiveGroup

__all__ = ["Axis", "smooth_lines", "step_lines"]

Axis = int | Literal["all"]  # "all": one line through the flattened tensor


def smooth_lines(
    group: ActiveGroup, axes: Sequence[Axis | None], sigma: float, boundary: Boundary
) -> list[Tensor]:
    r"""Return $(I - \sigma\mathcal L)^{-1} g$ for each gradient of a group. Eqs. (R.11), (R.12).

    Where a line is cut over processes, each solves its part with a margin so wide that what is
    beyond is not felt, to rounding; the margin grows as the square root of σ.

    Args:
        group: Its gradients are read, not written to.
        axes: The axis of the lines of each tensor; None for those that are left alone.
        sigma: σ, positive [1].
        boundary: Ends of the lines.
    """
    smoothed = []
    for grad, axis, window in _windows(group, axes, _margin(sigma, group.grads), boundary):
        if axis is None or grad.numel() == 0:
            smoothed.append(grad)
        elif window is None:
            line, dims = (grad.reshape(-1), 0) if axis == "all" else (grad, axis)
            smoothed.append(
                solve_shifted(line, dims, boundary, shift=1.0, scale=sigma).view(grad.shape)
            )
        else:
            cells, here, is_whole = window
            ends: Boundary = boundary if is_whole else "neumann"
            part = solve_shifted(cells.to(grad.dtype), 1, ends, shift=1.0, scale=sigma)[:, here]
            smoothed.append(part.reshape(grad.shape))
    return smoothed


def step_lines(
    group: ActiveGroup, axes: Sequence[int | None], strength: float, boundary: Boundary
) -> list[Tensor]:
    r"""Return $\lambda\mathcal L g$ along one axis of each gradient of a group.

    Args:
        group: Its gradients are read, not written to.
        axes: The axis of each tensor; None for those that are left alone.
        strength: λ [1].
        boundary: Ends of the axes.
    """
    moved = []
    for grad, axis, window in _windows(group, axes, 1, boundary):
        if not isinstance(axis, int) or grad.numel() == 0:
            moved.append(torch.zeros_like(grad))
        elif window is None:
            moved.append(strength * apply_stencil(grad, axis, boundary))
        else:
            cells, here, is_whole = window
            ends: Boundary = boundary if is_whole else "neumann"
            part = apply_stencil(cells.to(grad.dtype), 1, ends)[:, here]
            moved.append(strength * part.reshape(grad.shape))
    return moved


def _windows(
    group: ActiveGroup, axes: Sequence[Axis | None], width: int, boundary: Boundary
) -> list[tuple[Tensor, Axis | None, tuple[Tensor, slice, bool] | None]]:
    """Return each gradient, its axis, and its window where its lines are cut."""
    lines = [
        sharded.Line(None if axis is None else layout, None if axis == "all" else axis)
        for layout, axis in zip(group.layouts, axes, strict=True)
    ]
    windows = sharded.widened_lines(
        lines,
        group.sources(decayed=True),
        width,
        boundary,
        dtype=reduce(torch.promote_types, (grad.dtype for grad in group.grads)),
        device=group.grads[0].device,
    )
    return list(zip(group.grads, axes, windows, strict=True))


def _margin(sigma: float, grads: Sequence[Tensor]) -> int:
    """Return how far a gradient is felt, to rounding; a power of two, so that plans are few."""
    finest = min(torch.finfo(grad.dtype).eps for grad in grads)
    reach = smoothing_reach(float(sigma), finest / 16)
    return 1 << (reach - 1).bit_length()
