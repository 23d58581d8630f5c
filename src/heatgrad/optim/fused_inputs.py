"""What the fused kernels of the chain read beside parameters and gradients."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from heatgrad.optim.drop_in import ActiveGroup

__all__ = ["chain_inputs", "is_on_device", "number"]


def chain_inputs(
    groups: Sequence[ActiveGroup], state: dict[Tensor, Any]
) -> tuple[list[Tensor], np.ndarray]:
    """Return the momentum buffers, made where missing, and one row of numbers per tensor.

    A row has lr, momentum, 1 - dampening, nesterov, diffusion, weight decay, sign and whether there
    is momentum, float64. A number that lies on a device is not looked at: it stands as 0.
    """
    buffers: list[Tensor] = []
    rows = []
    new: list[int] = []
    for group in groups:
        o = group.options
        has_momentum = is_on_device(o["momentum"]) or bool(o["momentum"] != 0)
        rows.append(
            (
                number(o["lr"]),
                number(o["momentum"]),
                1 - o["dampening"],
                o["nesterov"],
                number(o["diffusion"]),
                number(o["weight_decay"]),
                -1.0 if o["maximize"] else 1.0,
                has_momentum,
            )
        )
        if not has_momentum:
            buffers += group.params  # their addresses stand in the table, and are not used
            continue
        for param in group.params:
            of_param = state[param]
            buffer = of_param.get("momentum_buffer")
            if buffer is None:
                buffer = of_param["momentum_buffer"] = torch.zeros_like(param)
                new.append(len(buffers))
            buffers.append(buffer)
    table = np.array(rows, dtype=np.float64)
    table = table.repeat([len(group.params) for group in groups], axis=0)
    # As in torch, the first velocity is the gradient, not dampened.
    table[new, 2] = 1
    return buffers, table


def is_on_device(value: object) -> bool:
    """Whether a number is a tensor that cannot be read without waiting for a device."""
    return isinstance(value, Tensor) and value.device.type != "cpu"


def number(value: float | Tensor) -> float:
    """Return a number of the host as it is, and one of a device as 0."""
    return 0.0 if is_on_device(value) else float(value)
