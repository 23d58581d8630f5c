"""Nesterov's momentum with a diffused velocity: the plain reference and the multi-tensor path."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from heatgrad.laplacian import Boundary, apply_stencil, apply_stencil_foreach
from heatgrad.optim.chunks import in_chunks
from heatgrad.optim.dials import is_zero
from heatgrad.optim.updates import (
    descend,
    descend_foreach,
    heavy_ball,
    heavy_ball_foreach,
    scalar,
)

__all__ = ["diffused_nesterov", "diffused_nesterov_foreach"]


def diffused_nesterov(
    params: Sequence[Tensor],
    grads: Sequence[Tensor],
    buffers: list[Tensor | None],
    *,
    lr: float | Tensor,
    momentum: float | Tensor,
    beta: Sequence[float | Tensor],
    dims: Sequence[tuple[int, ...]],
    boundary: Boundary,
    differentiable: bool,
) -> None:
    r"""Update parameters and velocities in place, one tensor at a time.

    $$v' = \gamma v + g + \beta\, \mathcal L v \tag{V.6}$$

    $$\theta' = \theta - \eta\,\bigl[g + \gamma v' + \beta\, \mathcal L v'\bigr] \tag{V.7}$$

    with $v = 0$ before the first step. Where β is 0 this is `heavy_ball` with `nesterov`.

    Args:
        params: Parameters θ, updated in place.
        grads: Gradients g with weight decay, left as they are.
        buffers: Velocities v, updated in place; an entry that is None is created.
        lr: η, a float or a one-element tensor.
        momentum: γ [1].
        beta: β of each tensor, already multiplied out [1].
        dims: Diffused axes of each tensor.
        boundary: Ends of each axis, Eq. (L.2).
        differentiable: Whether autograd follows the update; buffers are then replaced.

    References:
        [Sun] Eqs. (6), (7), Algorithm 1. Theory page: Eqs. (V.6), (V.7).
    """
    lr = scalar(lr)
    for i, (param, grad) in enumerate(zip(params, grads, strict=True)):
        if is_zero(beta[i]):
            one = buffers[i : i + 1]
            heavy_ball(
                [param],
                [grad],
                one,
                lr=lr,
                momentum=momentum,
                dampening=0.0,
                nesterov=True,
                differentiable=differentiable,
            )
            buffers[i] = one[0]
            continue
        velocity = buffers[i]
        if velocity is None:
            velocity = grad.clone() if differentiable else grad.detach().clone()
        else:
            spread = beta[i] * apply_stencil(velocity, dims[i], boundary)
            if differentiable:
                velocity = velocity.mul(momentum).add(grad).add(spread)
            else:
                velocity.mul_(momentum).add_(grad).add_(spread)
        buffers[i] = velocity
        spread = beta[i] * apply_stencil(velocity, dims[i], boundary)
        descend(param, grad.add(velocity * momentum).add(spread), lr)


def diffused_nesterov_foreach(
    params: Sequence[Tensor],
    grads: Sequence[Tensor],
    buffers: list[Tensor | None],
    *,
    lr: float | Tensor,
    momentum: float | Tensor,
    beta: Sequence[float | Tensor],
    dims: Sequence[tuple[int, ...]],
    boundary: Boundary,
) -> None:
    """Do the update of `diffused_nesterov` in a few multi-tensor operations.

    Where all is dense and of no half type, and coefficients are floats, neighbours are accumulated
    one by one, equal but for rounding; else bit for bit.
    """
    lr = scalar(lr)
    rest: dict[str, list[int]] = {"still": [], "new": [], "moving": []}
    for i, buffer in enumerate(buffers):
        rest["still" if is_zero(beta[i]) else "new" if buffer is None else "moving"].append(i)
    for kind, places in rest.items():
        for run in in_chunks([params[i] for i in places]):
            chunk = [places[i] for i in run]
            ps, gs = [params[i] for i in chunk], [grads[i] for i in chunk]
            vs, bs = [buffers[i] for i in chunk], [beta[i] for i in chunk]
            ds = [dims[i] for i in chunk]
            if kind == "still":
                heavy_ball_foreach(
                    ps, gs, vs, lr=lr, momentum=momentum, dampening=0.0, nesterov=True
                )
            elif kind == "new":  # As in torch: one by one while a buffer is missing.
                diffused_nesterov(
                    ps,
                    gs,
                    vs,
                    lr=lr,
                    momentum=momentum,
                    beta=bs,
                    dims=ds,
                    boundary=boundary,
                    differentiable=False,
                )
            else:
                moving = [velocity for velocity in vs if velocity is not None]
                move = _accumulate if _can_accumulate(ps, momentum, bs) else _move_together
                move(ps, gs, moving, lr, momentum, bs, ds, boundary)
            for i, velocity in zip(chunk, vs, strict=True):
                buffers[i] = velocity


def _move_together(
    params: list[Tensor],
    grads: list[Tensor],
    velocities: list[Tensor],
    lr: float | Tensor,
    momentum: float | Tensor,
    beta: list[float | Tensor],
    dims: list[tuple[int, ...]],
    boundary: Boundary,
) -> None:
    def spread() -> list[Tensor]:
        laps = apply_stencil_foreach(velocities, dims, boundary)
        torch._foreach_mul_(laps, beta)  # type: ignore[arg-type]
        return laps

    laps = spread()
    torch._foreach_mul_(velocities, momentum)
    torch._foreach_add_(velocities, grads)
    torch._foreach_add_(velocities, laps)
    directions = torch._foreach_mul(velocities, momentum)
    torch._foreach_add_(directions, grads)
    torch._foreach_add_(directions, spread())
    descend_foreach(params, directions, lr)


def _can_accumulate(
    params: Sequence[Tensor], momentum: float | Tensor, beta: Sequence[float | Tensor]
) -> bool:
    return not (
        any(isinstance(value, Tensor) for value in (momentum, *beta))
        or any(param.dtype in (torch.float16, torch.bfloat16) for param in params)
        or torch.compiler.is_compiling()
    )


def _accumulate(
    params: list[Tensor],
    grads: list[Tensor],
    velocities: list[Tensor],
    lr: float | Tensor,
    momentum: Any,
    beta: list[Any],
    dims: list[tuple[int, ...]],
    boundary: Boundary,
) -> None:
    """Add the neighbours to velocity and parameters where they are, without a Laplacian."""
    own = [momentum - 2 * len(axes) * b for b, axes in zip(beta, dims, strict=True)]
    old = torch._foreach_mul(velocities, 1.0)
    torch._foreach_mul_(velocities, own)
    torch._foreach_add_(velocities, grads)
    _add_neighbours(velocities, old, beta, dims, boundary)
    # What is old no more holds the direction.
    torch._foreach_copy_(old, grads)
    _add_scaled(list(zip(old, velocities, own, strict=True)))
    _add_neighbours(old, velocities, beta, dims, boundary)
    descend_foreach(params, old, lr)


def _add_neighbours(
    targets: Sequence[Tensor],
    sources: Sequence[Tensor],
    factors: Sequence[float],
    dims: Sequence[tuple[int, ...]],
    boundary: Boundary,
) -> None:
    """Add, times a factor, what stands beside each cell along the axes."""
    parts = []
    for target, source, factor, axes in zip(targets, sources, factors, dims, strict=True):
        for axis in axes if target.numel() else ():
            n = target.shape[axis]
            first, last = (0, n - 1) if boundary == "neumann" else (n - 1, 0)
            if boundary != "dirichlet":
                parts += [
                    (target.narrow(axis, 0, 1), source.narrow(axis, first, 1), factor),
                    (target.narrow(axis, n - 1, 1), source.narrow(axis, last, 1), factor),
                ]
            if n > 1:
                parts += [
                    (target.narrow(axis, 1, n - 1), source.narrow(axis, 0, n - 1), factor),
                    (target.narrow(axis, 0, n - 1), source.narrow(axis, 1, n - 1), factor),
                ]
    _add_scaled(parts)


def _add_scaled(parts: Sequence[tuple[Tensor, Tensor, float]]) -> None:
    """Add sources times factors to targets."""
    for factor in dict.fromkeys(factor for *_, factor in parts):
        alike = [(target, source) for target, source, f in parts if f == factor]
        targets, sources = zip(*alike, strict=True)
        torch._foreach_add_(targets, sources, alpha=factor)
