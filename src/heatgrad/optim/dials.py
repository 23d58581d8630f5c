"""Numbers that a schedule may turn: floats, or one-element tensors."""

import numbers

import torch
from torch import Tensor

__all__ = ["as_number", "is_on_device", "is_out_of_sight", "is_zero"]


def as_number(name: str, value: object) -> float:
    """Return the value of a number; raise TypeError or ValueError if it is not a real one."""
    is_number = isinstance(value, (numbers.Real, Tensor)) and not isinstance(value, bool)
    if not is_number or (isinstance(value, Tensor) and value.is_complex()):
        raise TypeError(f"{name} must be a real number, got {value!r}")
    if not isinstance(value, Tensor):
        return float(value)  # type: ignore[arg-type]
    if value.numel() != 1:
        raise ValueError(f"{name} must be one number, got a tensor of shape {tuple(value.shape)}")
    return float(value.detach())


def is_on_device(value: object) -> bool:
    """Whether a number is a tensor that cannot be read without waiting for a device."""
    return isinstance(value, Tensor) and value.device.type != "cpu"


def is_out_of_sight(value: object) -> bool:
    """Whether looking at a number would wait for a device, or stop a graph that is compiled."""
    return is_on_device(value) or (isinstance(value, Tensor) and torch.compiler.is_compiling())


def is_zero(value: object) -> bool:
    """Whether a coefficient is the number 0; a tensor is not looked into."""
    return not isinstance(value, Tensor) and value == 0
