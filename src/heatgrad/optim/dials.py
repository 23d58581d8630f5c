"""Numbers that a schedule may turn: floats, or one-element tensors."""

import torch
from torch import Tensor

__all__ = ["is_on_device", "is_out_of_sight"]


def is_on_device(value: object) -> bool:
    """Whether a number is a tensor that cannot be read without waiting for a device."""
    return isinstance(value, Tensor) and value.device.type != "cpu"


def is_out_of_sight(value: object) -> bool:
    """Whether looking at a number would wait for a device, or stop a graph that is compiled."""
    return is_on_device(value) or (isinstance(value, Tensor) and torch.compiler.is_compiling())
