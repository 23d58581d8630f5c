"""What sensors measure of a field: values at points, means along lines and over rectangles."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from heatgrad.inverse.observing.stencil import Stencil, bilinear, breaks, gauss, line_weights
from heatgrad.pde.grid import Grid

__all__ = ["Averages", "Lines", "Operator", "Points"]

Coordinates = Float[Tensor, "count 2"] | Sequence[Sequence[float]]


@runtime_checkable
class Operator(Protocol):
    """Linear functionals of one field."""

    @property
    def field(self) -> str:
        """Name of the field that is measured."""
        ...

    def __len__(self) -> int:
        """Return how many values are measured."""
        ...

    def stencil(self, grid: Grid) -> Stencil:
        """Return the weights of the values on a grid."""
        ...


@dataclass(frozen=True, eq=False)
class Points:
    """Values of a field at points, by bilinear interpolation, Eq. (I.7).

    Attributes:
        field: Which.
        points: x and y of each, in the unit square, shape (count, 2), float64 [length].

    Raises:
        ValueError: If a point lies outside the square, or is not finite.

    Example:
        >>> len(Points("u", [(0.5, 0.5), (0.1, 0.2)]))
        2
    """

    field: str
    points: Float[Tensor, "count 2"]

    def __init__(self, field: str, points: Coordinates) -> None:
        object.__setattr__(self, "field", field)
        object.__setattr__(self, "points", _places("points", field, points))

    @classmethod
    def on_grid(
        cls, field: str, grid: Grid, num: int, generator: torch.Generator, *, inside: bool = False
    ) -> "Points":
        """Return different points of a grid, drawn at random.

        Args:
            field: Which field.
            grid: Of the points.
            num: How many.
            generator: Of the CPU.
            inside: Whether the outermost points of the grid are left out.

        Raises:
            ValueError: If there are not so many.

        Example:
            >>> len(Points.on_grid("u", Grid(9), 5, torch.Generator().manual_seed(0)))
            5
        """
        places = grid.points()
        if inside:
            places = places[1:-1, 1:-1]
        places = places.reshape(-1, 2)
        if not 1 <= num <= len(places):
            raise ValueError(f"num must be from 1 to the {len(places)} points there are, got {num}")
        return cls(field, places[torch.randperm(len(places), generator=generator)[:num]])

    def __len__(self) -> int:
        return len(self.points)

    def stencil(self, grid: Grid) -> Stencil:
        """Return the weights of the values on a grid."""
        return bilinear(self.points, grid)


@dataclass(frozen=True, eq=False)
class Lines:
    """Means of a field along straight lines: exact integrals of the bilinear interpolant.

    Attributes:
        field: Which.
        starts: One end of each, shape (count, 2), float64 [length].
        ends: The other.

    Raises:
        ValueError: If an end lies outside the square, or both ends are one point.

    Example:
        >>> line = Lines("u", [(0.0, 0.5)], [(1.0, 0.5)])
        >>> line.stencil(Grid(3)).weights.sum().item()
        1.0
    """

    field: str
    starts: Float[Tensor, "count 2"]
    ends: Float[Tensor, "count 2"]

    def __init__(self, field: str, starts: Coordinates, ends: Coordinates) -> None:
        low, high = _places("starts", field, starts), _places("ends", field, ends)
        if low.shape != high.shape:
            raise ValueError(f"lines need as many ends as starts, got {len(low)} and {len(high)}")
        if bool((low == high).all(1).any()):
            raise ValueError("a line needs two different ends; use Points for one place")
        object.__setattr__(self, "field", field)
        object.__setattr__(self, "starts", low)
        object.__setattr__(self, "ends", high)

    def __len__(self) -> int:
        return len(self.starts)

    def stencil(self, grid: Grid) -> Stencil:
        """Return the weights of the values on a grid."""
        rows, places, weights = [], [], []
        for row, (start, end) in enumerate(zip(self.starts, self.ends, strict=True)):
            share, weight = gauss(_cuts(start, end, grid))
            term = bilinear(start + share[:, None] * (end - start), grid)
            rows.append(torch.full_like(term.rows, row))
            places.append(term.places)
            weights.append(term.weights * weight[term.rows])
        return Stencil(len(self), torch.cat(rows), torch.cat(places), torch.cat(weights))


@dataclass(frozen=True, eq=False)
class Averages:
    """Means of a field over rectangles: exact integrals of the bilinear interpolant.

    Attributes:
        field: Which.
        low: Smallest x and y of each, shape (count, 2), float64 [length].
        high: Largest, above it.

    Raises:
        ValueError: If a corner lies outside the square, or a rectangle has no area.

    Example:
        >>> whole = Averages("u", [(0.0, 0.0)], [(1.0, 1.0)])
        >>> whole.stencil(Grid(3)).weights[0].item()
        0.0625
    """

    field: str
    low: Float[Tensor, "count 2"]
    high: Float[Tensor, "count 2"]

    def __init__(self, field: str, low: Coordinates, high: Coordinates) -> None:
        first, last = _places("low", field, low), _places("high", field, high)
        if first.shape != last.shape:
            raise ValueError(f"low and high must be equally many, got {len(first)}, {len(last)}")
        if not bool((first < last).all()):
            raise ValueError("every rectangle must have low below high in x and in y")
        object.__setattr__(self, "field", field)
        object.__setattr__(self, "low", first)
        object.__setattr__(self, "high", last)

    def __len__(self) -> int:
        return len(self.low)

    def stencil(self, grid: Grid) -> Stencil:
        """Return the weights of the values on a grid."""
        rows, places, weights = [], [], []
        for row, (low, high) in enumerate(zip(self.low.tolist(), self.high.tolist(), strict=True)):
            x, y = (line_weights(low[k], high[k], grid) for k in (0, 1))
            both = (x[:, None] * y).flatten()
            (place,) = torch.nonzero(both, as_tuple=True)
            rows.append(torch.full_like(place, row))
            places.append(place)
            weights.append(both[place])
        return Stencil(len(self), torch.cat(rows), torch.cat(places), torch.cat(weights))


def _places(name: str, field: str, places: Coordinates) -> Tensor:
    """Return coordinates, checked, float64."""
    is_tensor = isinstance(places, Tensor)
    found = torch.as_tensor(places if is_tensor else np.array(places, dtype=np.float64))
    found = found.detach().double().cpu()
    if found.ndim != 2 or found.shape[1] != 2 or len(found) == 0:
        raise ValueError(f"{name} of {field} must have shape (count, 2), got {tuple(found.shape)}")
    outside = ~((found >= 0) & (found <= 1)).all(1)
    if bool(outside.any()):
        x, y = found[outside][0].tolist()
        raise ValueError(
            f"{name} of {field} must lie in the unit square, got ({x:g}, {y:g}) and "
            f"{int(outside.sum()) - 1} more outside; scale the coordinates to 0..1"
        )
    return found


def _cuts(start: Tensor, end: Tensor, grid: Grid) -> Tensor:
    """Return where, from 0 to 1, a line crosses lines of the grid, both ends among them."""
    cuts = [torch.tensor([0.0, 1.0], dtype=torch.float64)]
    for k in (0, 1):
        a, b = float(start[k]), float(end[k])
        if a != b:
            inner = breaks(min(a, b), max(a, b), grid)[1:-1]
            cuts.append((inner - a) / (b - a))
    return torch.cat(cuts).sort().values
