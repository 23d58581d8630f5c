"""Regions that a process leaves: functions that are positive inside."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Ball", "Box", "HalfSpace", "Region", "check_coordinates"]

# Of one point, shape (p,), to a scalar: positive inside, zero on the boundary, smooth across it.
Region = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class HalfSpace:
    """The points x with normal · x < offset.

    Attributes:
        normal: Shape (p,); finite, any length but zero.
        offset: Where the boundary is; infinity for no boundary.

    Example:
        >>> HalfSpace((1.0,), 2.0)(torch.tensor([0.5]))
        tensor(1.5000)
    """

    normal: Sequence[float]
    offset: float

    def __post_init__(self) -> None:
        if not any(self.normal):
            raise ValueError(f"normal must not be zero, got {tuple(self.normal)}")
        _check_finite("normal", *self.normal)
        if not self.offset > -math.inf:  # nor NaN
            raise ValueError(f"offset must be a number, or infinity, got {self.offset!r}")

    def __call__(self, x: Tensor) -> Tensor:
        """Return the distance to the boundary, times the normal's length."""
        check_coordinates(self, x)
        return self.offset - x @ x.new_tensor(self.normal)

    @property
    def dim(self) -> int:
        """p, number of coordinates."""
        return len(self.normal)


@dataclass(frozen=True)
class Ball:
    """The points nearer than a radius to a centre.

    Attributes:
        center: Shape (p,), finite.
        radius: Positive and finite [param].

    Example:
        >>> Ball((0.0, 0.0), 2.0)(torch.tensor([0.0, 0.5]))
        tensor(1.5000)
    """

    center: Sequence[float]
    radius: float

    def __post_init__(self) -> None:
        if not 0 < self.radius < math.inf:
            raise ValueError(f"radius must be positive and finite, got {self.radius!r}")
        _check_finite("center", *self.center)

    def __call__(self, x: Tensor) -> Tensor:
        """Return the distance to the boundary."""
        check_coordinates(self, x)
        # Not a plain norm, which has no gradient at the centre.
        away = ((x - x.new_tensor(self.center)) ** 2).sum()
        return self.radius - torch.sqrt(away + torch.finfo(x.dtype).tiny)

    @property
    def dim(self) -> int:
        """p, number of coordinates."""
        return len(self.center)


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
        if len(self.low) != len(self.high):
            raise ValueError(
                f"low and high must have as many coordinates, got {len(self.low)} and "
                f"{len(self.high)}"
            )
        if not all(a < b for a, b in zip(self.low, self.high, strict=True)):  # nor NaN
            raise ValueError(f"low must be below high, got {tuple(self.low)}, {tuple(self.high)}")

    def __call__(self, x: Tensor) -> Tensor:
        """Return the distance to the nearest side."""
        check_coordinates(self, x)
        return torch.minimum(x - x.new_tensor(self.low), x.new_tensor(self.high) - x).min()

    @property
    def dim(self) -> int:
        """p, number of coordinates."""
        return len(self.low)


def check_coordinates(region: HalfSpace | Ball | Box, x: Tensor) -> None:
    """Refuse points, shape (..., p), of another dimension than a region's.

    Raises:
        ValueError: If they are.
    """
    if x.shape[-1] != region.dim:
        raise ValueError(
            f"the region must have the process's {x.shape[-1]} coordinates, got {region}, which "
            f"has {region.dim}"
        )


def _check_finite(name: str, *numbers: float) -> None:
    bad = [number for number in numbers if not math.isfinite(number)]
    if bad:
        raise ValueError(f"{name} must be finite, got {bad[0]}")
