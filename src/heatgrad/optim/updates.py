"""The updates around the diffusion: weight decay, clipping, heavy ball.

Each follows `torch.optim.SGD`'s order of operations, so that without diffusion the two agree
bit for bit; unlike torch's, none writes into a gradient it was given.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = [
    "clip",
    "decay",
    "descend",
    "descend_foreach",
    "heavy_ball",
    "heavy_ball_foreach",
    "rescale",
    "scalar",
]


def decay(
    params: Sequence[Tensor], grads: Sequence[Tensor], weight_decay: float | Tensor, maximize: bool
) -> list[Tensor]:
    r"""Return $\pm g + \mathrm{wd}\,\theta$, the gradient that is then diffused.

    References:
        [Ray] B.2, "applied directly to the gradient prior to diffusion". Theory page: Eq. (R.1).
    """
    grads = [-grad for grad in grads] if maximize else list(grads)
    if isinstance(weight_decay, Tensor) and weight_decay.requires_grad:
        # In place on a clone, as 0-d half tensors would else be promoted to the decay's type. The
        # other clone keeps what backward needs when the parameter is updated in place.
        return [
            g.clone().addcmul_(p.clone(), weight_decay) for p, g in zip(params, grads, strict=True)
        ]
    if weight_decay != 0:
        return [g.add(p, alpha=weight_decay) for p, g in zip(params, grads, strict=True)]  # type: ignore[arg-type]
    return grads


def rescale(grads: Sequence[Tensor], factor: Tensor) -> list[Tensor]:
    """Return the gradients times a 0-d real tensor, each in its own dtype and on its device."""
    return [grad * _real_like(factor, grad) for grad in grads]


def _real_like(value: Tensor, tensor: Tensor) -> Tensor:
    dtype = tensor.real.dtype if tensor.is_complex() else tensor.dtype
    if value.dtype == dtype and value.device == tensor.device:
        return value
    return value.to(device=tensor.device, dtype=dtype)


def clip(grads: Sequence[Tensor], length: Tensor, max_norm: float) -> list[Tensor]:
    r"""Return the gradients, of global norm `length`, scaled down to $\tau$ if they exceed it.

    $$\tilde g = \min\bigl(1, \tau / \lVert g \rVert_2\bigr)\, g \tag{R.7}$$

    A gradient within the bound is multiplied by exactly 1.

    References:
        [Ray] B.2. Unlike `torch.nn.utils.clip_grad_norm_` there is no 1e-6 in the denominator.
    """
    return rescale(grads, max_norm / length.clamp(min=max_norm))


def heavy_ball(
    params: Sequence[Tensor],
    grads: Sequence[Tensor],
    buffers: list[Tensor | None],
    *,
    lr: float | Tensor,
    momentum: float | Tensor,
    dampening: float,
    nesterov: bool,
    differentiable: bool,
) -> None:
    r"""Update parameters and momentum buffers in place, one tensor at a time.

    $$v' = \mu v + (1 - d)\, \tilde g, \qquad \theta' = \theta - \eta v' \tag{R.8}$$

    where $d$ is the dampening, with $v' = \tilde g$ on the first step, and $\theta' = \theta -
    \eta (\tilde g + \mu v')$ for `nesterov`.

    Args:
        params: Parameters θ, updated in place.
        grads: Diffused and clipped gradients, left as they are.
        buffers: Momentum buffers v, updated in place; an entry that is None is created.
        lr: η, a float or a one-element tensor.
        momentum: μ [1].
        dampening: Fraction of the gradient kept out of the buffer after the first step [1].
        nesterov: Whether to look ahead.
        differentiable: Whether autograd follows the update; buffers are then replaced.

    References:
        [Ray] B.2 (heavy ball). Theory page: Eq. (R.8).
    """
    lr = scalar(lr)
    for i, (param, grad) in enumerate(zip(params, grads, strict=True)):
        direction = grad
        if momentum != 0:
            buffer = buffers[i]
            if buffer is None:
                buffer = grad.clone() if differentiable else grad.detach().clone()
            elif differentiable:
                buffer = buffer.mul(momentum).add(grad, alpha=1 - dampening)
            else:
                buffer.mul_(momentum).add_(grad, alpha=1 - dampening)
            buffers[i] = buffer
            direction = grad.add(buffer, alpha=momentum) if nesterov else buffer  # type: ignore[arg-type]
        descend(param, direction, lr)


def descend(param: Tensor, direction: Tensor, lr: float | Tensor) -> None:
    """Subtract lr times the direction from the parameter, in place, as torch's SGD does."""
    if isinstance(lr, Tensor) and lr.requires_grad:
        param.addcmul_(direction, lr, value=-1)
    else:
        param.add_(direction, alpha=-lr)  # type: ignore[arg-type]


def heavy_ball_foreach(
    params: Sequence[Tensor],
    grads: Sequence[Tensor],
    buffers: list[Tensor | None],
    *,
    lr: float | Tensor,
    momentum: float | Tensor,
    dampening: float,
    nesterov: bool,
) -> None:
    """Do the update of `heavy_ball` in a few multi-tensor operations.

    Bit for bit, but for half types on the CPU: there torch multiplies by a μ rounded to the
    type, here as in `torch.optim.SGD(foreach=True)`; a μ such as 0.5 gives equal bits.
    """
    lr = scalar(lr)
    directions: Sequence[Tensor] = grads
    if momentum != 0:
        filled = [buffer for buffer in buffers if buffer is not None]
        if len(filled) == len(buffers):
            torch._foreach_mul_(filled, momentum)
            torch._foreach_add_(filled, list(grads), alpha=1 - dampening)
        else:  # As in torch: one by one while a buffer is missing.
            filled = [
                grad.detach().clone()
                if buffer is None
                else buffer.mul_(momentum).add_(grad, alpha=1 - dampening)
                for buffer, grad in zip(buffers, grads, strict=True)
            ]
            buffers[:] = filled
        directions = (
            torch._foreach_add(list(grads), filled, alpha=momentum)  # type: ignore[arg-type]
            if nesterov
            else filled
        )
    descend_foreach(params, directions, lr)


def descend_foreach(
    params: Sequence[Tensor], directions: Sequence[Tensor], lr: float | Tensor
) -> None:
    """Do `descend` for a list of parameters at once."""
    if isinstance(lr, Tensor) and torch.compiler.is_compiling():
        torch._foreach_add_(list(params), torch._foreach_mul(list(directions), -lr))
    else:
        torch._foreach_add_(list(params), list(directions), alpha=-lr)  # type: ignore[arg-type]


def scalar(lr: float | Tensor) -> float | Tensor:
    """Return a learning rate as torch's arithmetic wants it: a float, or a 0-d tensor."""
    return lr.squeeze() if isinstance(lr, Tensor) and lr.dim() != 0 else lr
