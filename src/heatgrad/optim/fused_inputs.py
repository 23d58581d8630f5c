"""What the fused kernels of the chain read beside parameters and gradients."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from heatgrad.optim.drop_in import ActiveGroup

__all__ = [
    "Velocities",
    "chain_numbers",
    "has_momentum",
    "is_on_device",
    "is_out_of_sight",
    "number",
]

# Of a group the momentum buffers, without momentum any tensors, and the places of those that have
# not been stepped yet, which are zero.
Velocities = tuple[Sequence[Tensor], Sequence[int]]


def chain_numbers(groups: Sequence[ActiveGroup], buffers: Sequence[Velocities]) -> np.ndarray:
    """Return one row of numbers per tensor, float64.

    lr, momentum, 1 - dampening, nesterov, diffusion, weight decay, sign and whether there is
    momentum. A number that lies on a device is not looked at: it stands as 0.
    """
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
                has_momentum(o),
            )
        )
    counts = [len(group.params) for group in groups]
    table = np.array(rows, dtype=np.float64).repeat(counts, axis=0)
    start = 0
    for count, (_, places) in zip(counts, buffers, strict=True):
        if places:  # as in torch, the first velocity is the gradient, not dampened
            table[[start + place for place in places], 2] = 1
        start += count
    return table


def has_momentum(options: dict[str, Any]) -> bool:
    """Whether a group has momentum; a number on a device is taken for some."""
    return is_out_of_sight(options["momentum"]) or bool(options["momentum"] != 0)


def is_on_device(value: object) -> bool:
    """Whether a number is a tensor that cannot be read without waiting for a device."""
    return isinstance(value, Tensor) and value.device.type != "cpu"


def is_out_of_sight(value: object) -> bool:
    """Whether looking at a number would wait for a device, or stop a graph that is compiled."""
    return is_on_device(value) or (isinstance(value, Tensor) and torch.compiler.is_compiling())


def number(value: float | Tensor) -> float:
    """Return a number of the host as it is, and one of a device as 0."""
    return 0.0 if is_on_device(value) else float(value)
