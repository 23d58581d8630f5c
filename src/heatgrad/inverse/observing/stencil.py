"""Weights of grid values: bilinear interpolation, and exact means of it."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from heatgrad.pde.grid import Grid

__all__ = ["Stencil", "bilinear", "breaks", "line_weights"]

_GAUSS = 0.5 - 0.5 / 3**0.5  # nodes of the two-point rule on [0, 1]


@dataclass(frozen=True, eq=False)
class Stencil:
    """A sparse matrix from the values of a field to what is observed.

    Attributes:
        count: Observations.
        rows: Which observation each term belongs to.
        places: Which value of the field, row by row, it takes.
        weights: Times what.
    """

    count: int
    rows: Int64[Tensor, " terms"]
    places: Int64[Tensor, " terms"]
    weights: Float[Tensor, " terms"]


def axis_weights(
    x: Float[Tensor, " points"], grid: Grid
) -> tuple[Int64[Tensor, "points 2"], Float[Tensor, "points 2"]]:
    """Return the two neighbours of coordinates on one axis, and their weights.

    Beyond the outermost centres of `cells` the nearest value is taken; a `torus` wraps.

    Example:
        >>> axis_weights(torch.tensor([0.25]), Grid(3))[1].tolist()
        [[0.5, 0.5]]
    """
    place = x / grid.h - (0.5 if grid.kind == "cells" else 0.0)
    if grid.kind == "torus":
        low = place.floor()
        share = place - low
        index = torch.stack([low, low + 1], -1).long() % grid.n
    else:
        place = place.clamp(0, grid.n - 1)
        low = place.floor().clamp(max=grid.n - 2)
        share = place - low
        index = torch.stack([low, low + 1], -1).long()
    return index, torch.stack([1 - share, share], -1)


def bilinear(points: Float[Tensor, "points 2"], grid: Grid) -> Stencil:
    r"""Return the weights of the four neighbours of each point.

    $$f(x, y) = \sum_{ij} (1 - |x/h - i|)_+ (1 - |y/h - j|)_+ f_{ij}. \tag{I.7}$$

    Points on a node take its value alone.

    Args:
        points: x and y, inside the domain [length].
        grid: Of the field.

    References:
        Theory page: Eq. (I.7).

    Example:
        >>> bilinear(torch.tensor([[0.25, 0.25]]), Grid(3)).weights.tolist()
        [0.25, 0.25, 0.25, 0.25]
    """
    (i, wi), (j, wj) = axis_weights(points[:, 0], grid), axis_weights(points[:, 1], grid)
    places = i[:, :, None] * grid.n + j[:, None, :]
    weights = wi[:, :, None] * wj[:, None, :]
    rows = torch.arange(len(points))[:, None, None].expand_as(places)
    kept = weights != 0
    return Stencil(len(points), rows[kept], places[kept], weights[kept])


def breaks(low: float, high: float, grid: Grid) -> Float[Tensor, " cuts"]:
    """Return both ends of a range of one axis, and the grid points between: linear pieces.

    Example:
        >>> breaks(0.25, 0.75, Grid(3)).tolist()
        [0.25, 0.5, 0.75]
    """
    axis = grid.axis()
    ends = torch.tensor([low, high], dtype=torch.float64)
    inside = axis[(axis > low) & (axis < high)]
    return torch.cat([ends[:1], inside, ends[1:]])


def gauss(cuts: Float[Tensor, " cuts"]) -> tuple[Tensor, Tensor]:
    """Return the points and weights, of sum 1, of the two-point Gauss rule on each piece.

    It integrates cubics exactly, so bilinear interpolants along any line.

    Example:
        >>> gauss(torch.tensor([0.0, 1.0]))[1].tolist()
        [0.5, 0.5]
    """
    lengths = cuts.diff()
    points = torch.cat([cuts[:-1] + _GAUSS * lengths, cuts[1:] - _GAUSS * lengths])
    return points, torch.cat([lengths, lengths]) / (2 * lengths.sum())


def line_weights(low: float, high: float, grid: Grid) -> Float[Tensor, " n"]:
    """Return the weights of the values of one axis in the mean over a range of it.

    Example:
        >>> line_weights(0.0, 1.0, Grid(3)).tolist()
        [0.25, 0.5, 0.25]
    """
    points, weights = gauss(breaks(low, high, grid))
    index, share = axis_weights(points, grid)
    found = torch.zeros(grid.n, dtype=torch.float64)
    return found.index_add(0, index.flatten(), (share * weights[:, None]).flatten())
