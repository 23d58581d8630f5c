"""What the fused kernels of the chain read beside parameters and gradients."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from heatgrad.optim.drop_in import ActiveGroup

__all__ = ["chain_inputs", "is_on_device", "kept_buffers", "number"]


def kept_buffers(groups: Sequence[ActiveGroup], state: dict[Tensor, Any]) -> list[Tensor | None]:
    """Return the momentum buffer of each parameter, None where there is none, or no need of it."""
    buffers: list[Tensor | None] = []
    for group in groups:
        if _has_momentum(group.options):
            buffers += [state[param].get("momentum_buffer") for param in group.params]
        else:
            buffers += [None] * len(group.params)
    return buffers


def chain_inputs(
    groups: Sequence[ActiveGroup], buffers: Sequence[Tensor | None], state: dict[Tensor, Any]
) -> tuple[list[Tensor], np.ndarray]:
    """Return the momentum buffers, made where missing, and one row of numbers per tensor.

    A row has lr, momentum, 1 - dampening, nesterov, diffusion, weight decay, sign and whether there
    is momentum, float64. A number that lies on a device is not looked at: it stands as 0. Without
    momentum, a parameter stands for its buffer: its address is not used.
    """
    params = [param for group in groups for param in group.params]
    filled = [p if buffer is None else buffer for p, buffer in zip(params, buffers, strict=True)]
    rows = []
    for group in groups:
        o = group.options
        rows.append(
            (
                number(o["lr"]),
                number(o["momentum"]),
                1 - o["dampening"],
                o["nesterov"],
                number(o["diffusion"]),
                number(o["weight_decay"]),
                -1.0 if o["maximize"] else 1.0,
                _has_momentum(o),
            )
        )
    table = np.array(rows, dtype=np.float64)
    table = table.repeat([len(group.params) for group in groups], axis=0)
    new = [i for i, buffer in enumerate(buffers) if buffer is None and table[i, 7]]
    for i in new:
        filled[i] = state[params[i]]["momentum_buffer"] = torch.zeros_like(params[i])
    # As in torch, the first velocity is the gradient, not dampened.
    table[new, 2] = 1
    return filled, table


def _has_momentum(options: dict[str, Any]) -> bool:
    return is_on_device(options["momentum"]) or bool(options["momentum"] != 0)


def is_on_device(value: object) -> bool:
    """Whether a number is a tensor that cannot be read without waiting for a device."""
    return isinstance(value, Tensor) and value.device.type != "cpu"


def number(value: float | Tensor) -> float:
    """Return a number of the host as it is, and one of a device as 0."""
    return 0.0 if is_on_device(value) else float(value)
