"""Regions that a process leaves: functions that are positive inside."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Ball", "Box", "HalfSpace", "Region"]

# Of one point, shape (p,), to a scalar: positive inside, zero on the boundary, smooth across it.
Region = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class HalfSpace:
    """The points x with normal · x < offset.

    Attributes:
        normal: Shape (p,); any length but zero.
        offset: Where the boundary is.

    Example:
        >>> HalfSpace((1.0,), 2.0)(torch.tensor([0.5]))
        tensor(1.5000)
    """

    normal: Sequence[float]
    offset: float

    def __post_init__(self) -> None:
        if not any(self.normal):
            raise ValueError(f"normal must not be zero, got {tuple(self.normal)}")

    def __call__(self, x: Tensor) -> Tensor:
        """Return the distance to the boundary, times the normal's length."""
        return self.offset - x @ x.new_tensor(self.normal)


@dataclass(frozen=True)
class Ball:
    """The points nearer than a radius to a centre.

    Attributes:
        center: Shape (p,).
        radius: Positive [param].

    Example:
        >>> Ball((0.0, 0.0), 2.0)(torch.tensor([0.0, 0.5]))
        tensor(1.5000)
    """

    center: Sequence[float]
    radius: float

    def __post_init__(self) -> None:
        if not self.radius > 0:
            raise ValueError(f"radius must be positive, got {self.radius!r}")

    def __call__(self, x: Tensor) -> Tensor:
        """Return the distance to the boundary."""
        # Not a plain norm, which has no gradient at the centre.
        away = ((x - x.new_tensor(self.center)) ** 2).sum()
        return self.radius - torch.sqrt(away + torch.finfo(x.dtype).tiny)


@dataclass(frozen=True)
class Box:
    """The points between two corners; an infinite side is no boundary.

    Attributes:
        low: Shape (p,).
        high: Shape (p,), above `low`.

    Example:
        >>> Box((-1.0,), (float("inf"),))(torch.tensor([0.5]))
        tensor(1.5000)
    """

    low: Sequence[float]
    high: Sequence[float]

    def __post_init__(self) -> None:
        if len(self.low) != len(self.high) or not all(
            a < b for a, b in zip(self.low, self.high, strict=True)
        ):
            raise ValueError(f"low must be below high, got {tuple(self.low)}, {tuple(self.high)}")

    def __call__(self, x: Tensor) -> Tensor:
        """Return the distance to the nearest side."""
        return torch.minimum(x - x.new_tensor(self.low), x.new_tensor(self.high) - x).min()
