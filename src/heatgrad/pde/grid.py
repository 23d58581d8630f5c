"""Grids of the unit square: where the values of a field stand."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["Grid", "Kind"]

Kind = Literal["nodes", "cells", "torus"]
"""`nodes`: k / (n - 1), both ends among them; `cells`: (k + 1/2) / n; `torus`: k / n, wrapping."""


@dataclass(frozen=True)
class Grid:
    """n x n points of the unit square; a field on it has shape (..., n, n), axis -2 being x.

    Attributes:
        n: Points along each side, at least 2.
        kind: Where they stand, see `Kind`.

    Raises:
        ValueError: If `n` is below 2 or `kind` unknown.

    Example:
        >>> Grid(3, "nodes").axis().tolist()
        [0.0, 0.5, 1.0]
    """

    n: int
    kind: Kind = "nodes"

    def __post_init__(self) -> None:
        if self.n < 2:
            raise ValueError(f"n must be at least 2 points a side, got {self.n}")
        if self.kind not in ("nodes", "cells", "torus"):
            raise ValueError(f"kind must be nodes, cells or torus, got {self.kind!r}")

    @property
    def h(self) -> float:
        """Distance between neighbours [length]."""
        return 1 / (self.n - 1) if self.kind == "nodes" else 1 / self.n

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of a field."""
        return (self.n, self.n)

    def axis(self) -> Float[Tensor, " n"]:
        """Return the coordinates along one side, float64, on the CPU [length]."""
        first = 0.5 if self.kind == "cells" else 0.0
        return (torch.arange(self.n, dtype=torch.float64) + first) * self.h

    def points(self) -> Float[Tensor, "n n 2"]:
        """Return x and y of every point, float64, on the CPU [length]."""
        x, y = torch.meshgrid(self.axis(), self.axis(), indexing="ij")
        return torch.stack([x, y], -1)
