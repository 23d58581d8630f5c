"""A box of equal cells, what bounds it, and functions evaluated on it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

__all__ = ["Boundary", "Grid", "Sides", "make_grid", "on_points"]

Boundary = Literal["reflect", "absorb", "periodic"]
Sides = Boundary | Sequence[Boundary | tuple[Boundary, Boundary]]

_CHUNK = 8192
_FEWEST = 4


@dataclass(frozen=True)
class Grid:
    """Cells of a box in one, two or three dimensions. Points are their centres.

    Attributes:
        low: Lower corner, shape (p,) [param].
        high: Upper corner, shape (p,) [param].
        shape: Cells along each axis.
        sides: What bounds each axis, below and above.

    Example:
        >>> grid = make_grid(-1.0, 1.0, 4)
        >>> grid.axis(0), grid.sides
        (array([-0.75, -0.25,  0.25,  0.75]), (('reflect', 'reflect'),))
    """

    low: NDArray[np.float64]
    high: NDArray[np.float64]
    shape: tuple[int, ...]
    sides: tuple[tuple[Boundary, Boundary], ...]

    @property
    def dim(self) -> int:
        """p, number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of cells."""
        return int(np.prod(self.shape))

    @property
    def spacing(self) -> NDArray[np.float64]:
        """Length of a cell along each axis, shape (p,) [param]."""
        found: NDArray[np.float64] = (self.high - self.low) / np.array(self.shape)
        return found

    @property
    def volume(self) -> float:
        """Of one cell [param^p]."""
        return float(np.prod(self.spacing))

    @property
    def is_periodic(self) -> NDArray[np.bool_]:
        """Which axes close on themselves, shape (p,)."""
        return np.array([below == "periodic" for below, _ in self.sides])

    def axis(self, k: int) -> Float[np.ndarray, " n"]:
        """Return the coordinates of the centres along one axis."""
        found: NDArray[np.float64] = (
            self.low[k] + (np.arange(self.shape[k]) + 0.5) * (self.spacing[k])
        )
        return found

    def places(self) -> Int[np.ndarray, "cells p"]:
        """Return each cell's place along the axes, the last axis running fastest."""
        return np.stack(np.unravel_index(np.arange(self.size), self.shape), axis=1)

    def centers(self) -> Float[np.ndarray, "cells p"]:
        """Return the centres of all cells."""
        return self.low + (self.places() + 0.5) * self.spacing

    def wrap(self, points: Float[np.ndarray, "n p"]) -> Float[np.ndarray, "n p"]:
        """Return points with their periodic coordinates brought back into the box."""
        length = self.high - self.low
        back = self.low + np.mod(points - self.low, length)
        return np.where(self.is_periodic, back, points)

    def at_walls(self) -> NDArray[np.bool_]:
        """Return which cells lie at a reflecting side, shape `shape`."""
        found = np.zeros(self.shape, dtype=bool)
        for k, (below, above) in enumerate(self.sides):
            line = np.moveaxis(found, k, 0)
            line[0] |= below == "reflect"
            line[-1] |= above == "reflect"
        return found

    def cell_of(self, point: ArrayLike) -> int:
        """Return the number of the cell that holds a point.

        Raises:
            ValueError: If it lies outside the box.
        """
        x = np.atleast_1d(np.asarray(point, dtype=np.float64))
        if x.shape != (self.dim,) or not ((x >= self.low) & (x <= self.high)).all():
            raise ValueError(
                f"point must be {self.dim} coordinates in the box {self.low} to {self.high}, "
                f"got {x}"
            )
        place = np.minimum((x - self.low) / self.spacing, np.array(self.shape) - 1).astype(int)
        return int(np.ravel_multi_index(tuple(place), self.shape))

    def interpolate(
        self, field: Float[np.ndarray, "..."], points: Float[np.ndarray, "n p"]
    ) -> Float[np.ndarray, " n"]:
        """Return a field between the centres: linear along each axis, constant past the last."""
        place = (self.wrap(points) - self.low) / self.spacing - 0.5
        base = np.floor(place).astype(int)
        share = place - base
        total = np.zeros(len(points))
        for corner in np.ndindex(*(2,) * self.dim):
            at = base + np.array(corner)
            inside = np.clip(at, 0, np.array(self.shape) - 1)
            at = np.where(self.is_periodic, np.mod(at, self.shape), inside)
            weight = np.prod(np.where(corner, share, 1 - share), axis=1)
            values = field[tuple(at.T)]
            # A corner without weight may be infinite.
            total += np.where(weight > 0, weight * np.where(weight > 0, values, 0), 0)
        return total


def make_grid(
    low: ArrayLike, high: ArrayLike, n: int | Sequence[int], boundary: Sides = "reflect"
) -> Grid:
    """Return a box of cells.

    Args:
        low: Lower corner, a number or one per axis [param].
        high: Upper corner, above `low` [param].
        n: Cells along each axis, at least 4: one number for all, or one per axis.
        boundary: "reflect", "absorb" or "periodic": one for all sides, or one per axis, which may
            be a pair (below, above).

    Raises:
        ValueError: If these do not make a box of one to three axes.
    """
    lower = np.atleast_1d(np.asarray(low, dtype=np.float64))
    upper = np.atleast_1d(np.asarray(high, dtype=np.float64))
    if lower.shape != upper.shape or lower.ndim != 1 or not 1 <= len(lower) <= 3:
        raise ValueError(
            f"low and high must be corners with the same 1 to 3 coordinates, got shapes "
            f"{lower.shape} and {upper.shape}; for more dimensions use ensembles"
        )
    if not (np.isfinite(lower).all() and np.isfinite(upper).all() and (lower < upper).all()):
        raise ValueError(f"low must be below high, both finite, got {lower} and {upper}")
    counts = list(n) if isinstance(n, Sequence | np.ndarray) else [n] * len(lower)
    if len(counts) != len(lower) or any(
        isinstance(c, bool) or not isinstance(c, int | np.integer) or c < _FEWEST for c in counts
    ):
        raise ValueError(
            f"n must be one integer, or one per axis, of at least {_FEWEST}, got {n!r}"
        )
    return Grid(lower, upper, tuple(int(c) for c in counts), _sides(boundary, len(lower)))


def _sides(boundary: Sides, dim: int) -> tuple[tuple[Boundary, Boundary], ...]:
    per_axis = [boundary] * dim if isinstance(boundary, str) else list(boundary)
    pairs = [(side, side) if isinstance(side, str) else tuple(side) for side in per_axis]
    known = get_args(Boundary)
    if len(pairs) != dim or any(len(p) != 2 or not set(p) <= set(known) for p in pairs):
        raise ValueError(
            f"boundary must be one of {known}, or {dim} of them, one per axis (or pairs below, "
            f"above), got {boundary!r}"
        )
    if any((below == "periodic") != (above == "periodic") for below, above in pairs):
        raise ValueError(f"a periodic axis must be so at both sides, got {boundary!r}")
    return tuple((below, above) for below, above in pairs)


def on_points(
    name: str, function: Callable[[Tensor], Tensor | None], points: Float[np.ndarray, "n p"]
) -> NDArray[np.float64]:
    """Return a batched torch function's values at points, computed in pieces, in double precision.

    Raises:
        ValueError: If a value is NaN or infinite; with the point.
    """
    pieces = []
    for start in range(0, max(1, len(points)), _CHUNK):
        piece = function(torch.from_numpy(points[start : start + _CHUNK]))
        assert piece is not None
        pieces.append(piece.detach().double().cpu().numpy())
    values: NDArray[np.float64] = np.concatenate(pieces)
    bad = ~np.isfinite(values.reshape(len(values), -1)).all(axis=1)
    if bad.any():
        where = points[np.argmax(bad)]
        raise ValueError(f"{name} must be finite in the box, got NaN or infinity at {where}")
    return values
