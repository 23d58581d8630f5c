"""Where the links of a grid lead: to a cell, through a boundary, or nowhere."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray

from heatgrad.fokker_planck.grid.cells import Grid, on_points
from heatgrad.fokker_planck.processes.region import Region

__all__ = ["Cuts", "cut_links"]

_HALVINGS = 45
_SHORTEST = 1e-6
_TOUCH = 1e-9


@dataclass(frozen=True)
class Cuts:
    """The ends of links.

    Attributes:
        target: Number of the inside cell at each link's end, -1 where there is none.
        half: Which links end at an absorbing boundary, shape (cut,).
        share: θ, the part of each of those that lies inside, shape (cut,) [1].
        points: Where they end, shape (cut, p) [param].
        normals: Normal of the boundary there, of any length, shape (cut, p).
    """

    target: Int[np.ndarray, " links"]
    half: Int[np.ndarray, " cut"]
    share: Float[np.ndarray, " cut"]
    points: Float[np.ndarray, "cut p"]
    normals: Float[np.ndarray, "cut p"]


def cut_links(
    grid: Grid,
    region: Region | None,
    points: Float[np.ndarray, "m p"],
    number: Int[np.ndarray, " cells"],
    rows: Int[np.ndarray, " links"],
    offsets: Int[np.ndarray, "links p"],
) -> Cuts:
    """Return where links lead.

    A link that leaves through a reflecting side is dropped. One that leaves the region ends where
    it first crosses, found by bisection; one that leaves and comes back is not seen. One that ends
    at the centre of a cell outside crosses, however rounding moves that centre; a boundary along a
    side of the box, to within 1e-9 of the region's value inside, is met before the side.

    Args:
        grid: The box.
        region: Positive inside, or None.
        points: Centres of the inside cells.
        number: Of each cell of the grid among the inside cells, -1 outside.
        rows: Inside cell that each link starts from.
        offsets: Of each link [cells].
    """
    shape = np.array(grid.shape)
    start = np.rint((points - grid.low) / grid.spacing - 0.5).astype(np.int64)[rows]
    end = start + offsets
    is_out = ((end < 0) | (end >= shape)) & ~grid.is_periodic
    stays = ~is_out.any(axis=1)
    target = np.full(len(rows), -1)
    place = np.mod(end[stays], shape)
    target[stays] = number[np.ravel_multi_index(tuple(place.T), grid.shape)]

    half = np.flatnonzero(target < 0)
    share, axis = _first_side(shape, start[half], offsets[half], is_out[half])
    normals = np.zeros((len(half), grid.dim))
    at_side = axis >= 0
    normals[at_side, axis[at_side]] = 1.0
    above = offsets[half, np.maximum(axis, 0)] > 0
    kinds = np.array([[a == "absorb" for a in pair] for pair in grid.sides])
    absorbs = at_side & kinds[np.maximum(axis, 0), above.astype(int)]
    step = offsets[half] * grid.spacing
    origin = points[rows[half]]
    if region is not None:
        level = torch.func.vmap(region)
        # Along the link a cell's centre is met up to rounding: ask the cell, where there is one.
        crosses = ~at_side
        sides = grid.wrap((origin + share[:, None] * step)[at_side])
        if len(sides):
            here = on_points("region", level, origin[at_side])
            crosses[at_side] = on_points("region", level, sides) <= _TOUCH * here
        # A side of the box that lies outside the region is not reached.
        low, high = np.zeros(crosses.sum()), share[crosses]
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            x = grid.wrap(origin[crosses] + middle[:, None] * step[crosses])
            inside = on_points("region", level, x) > 0 if len(x) else np.zeros(0, dtype=bool)
            low, high = np.where(inside, middle, low), np.where(inside, high, middle)
        share[crosses] = high
        absorbs |= crosses
        ends = grid.wrap(origin + share[:, None] * step)
        if crosses.any():
            slope = torch.func.vmap(torch.func.grad(region))
            normals[crosses] = on_points("slope of region", slope, ends[crosses])
    share = np.maximum(share, _SHORTEST)
    ends = grid.wrap(origin + share[:, None] * step)
    kept = absorbs
    return Cuts(target, half[kept], share[kept], ends[kept], normals[kept])


def _first_side(
    shape: NDArray[np.int64],
    start: Int[np.ndarray, "n p"],
    offsets: Int[np.ndarray, "n p"],
    is_out: NDArray[np.bool_],
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the part of each link inside the box, and the axis it leaves along, -1 for none."""
    room = np.where(offsets > 0, shape - start - 0.5, start + 0.5)
    size = np.where(is_out, np.abs(offsets), 1)
    share = np.where(is_out, room / size, np.inf)
    axis = np.argmin(share, axis=1) if len(share) else np.zeros(0, dtype=np.int64)
    first = share[np.arange(len(share)), axis]
    leaves = is_out.any(axis=1)
    return np.where(leaves, first, 1.0), np.where(leaves, axis, -1)
