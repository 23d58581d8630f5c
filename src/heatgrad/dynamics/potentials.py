"""Potentials by name, for specification files."""

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["POTENTIALS"]


def double_well(x: Tensor) -> Tensor:
    r"""Return $(x_1^2 - 1)^2 / 4 + \sum_{i > 1} x_i^2 / 2$: wells at ±1, a barrier of 1/4.

    Example:
        >>> double_well(torch.tensor([0.0, 2.0]))
        tensor(2.2500)
    """
    return (x[0] ** 2 - 1) ** 2 / 4 + (x[1:] ** 2).sum() / 2


def tilted_double_well(x: Tensor) -> Tensor:
    r"""Return the double well plus $x_1 / 10$: the left one is the deeper.

    Example:
        >>> tilted_double_well(torch.tensor([0.0]))
        tensor(0.2500)
    """
    return double_well(x) + x[0] / 10


def quadratic(x: Tensor) -> Tensor:
    """Return half the squared length.

    Example:
        >>> quadratic(torch.tensor([3.0, 4.0]))
        tensor(12.5000)
    """
    return (x**2).sum() / 2


def mueller_brown(x: Tensor) -> Tensor:
    """Return the surface of Müller and Brown (1979) in two coordinates, a hundredth of it.

    Example:
        >>> mueller_brown(torch.tensor([-0.558, 1.442]))
        tensor(-1.4670)
    """
    a, b = x.new_tensor([-1.0, -1.0, -6.5, 0.7]), x.new_tensor([0.0, 0.0, 11.0, 0.6])
    c, depth = x.new_tensor([-10.0, -10.0, -6.5, 0.7]), x.new_tensor([-2.0, -1.0, -1.7, 0.15])
    u = x[0] - x.new_tensor([1.0, 0.0, -0.5, -1.0])
    v = x[1] - x.new_tensor([0.0, 0.5, 1.5, 1.0])
    return (depth * torch.exp(a * u**2 + b * u * v + c * v**2)).sum()


POTENTIALS: dict[str, Callable[[Tensor], Tensor]] = {
    "double-well": double_well,
    "mueller-brown": mueller_brown,
    "quadratic": quadratic,
    "tilted-double-well": tilted_double_well,
}
