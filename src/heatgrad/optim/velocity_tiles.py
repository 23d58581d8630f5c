"""How the tensors of a group are cut into tiles for the velocity kernel on a GPU."""

from collections.abc import Sequence
from math import prod
from typing import NamedTuple

import numpy as np

__all__ = ["Tiles", "cut_into_tiles", "have_tiles"]

Shape = tuple[int, ...]
_NO_CUT = -(1 << 30)  # a place in the edges that stays negative whatever column is added


class Tiles(NamedTuple):
    """Tables of `heatgrad.optim.kernels.velocity_cuda`, which says what their columns are.

    Attributes:
        tiles: One row per tile, int32.
        axes: One row per tensor, int32.
        cuts: One row per tensor, int32.
        chunks: One row per program that gathers cells at cuts, int32; none without cuts.
        plane: Cells at all cuts.
    """

    tiles: np.ndarray
    axes: np.ndarray
    cuts: np.ndarray
    chunks: np.ndarray
    plane: int


def have_tiles(shapes: Sequence[Shape], dims: Sequence[Shape], tile: int) -> bool:
    """Whether tensors can be cut: along one axis always, else between slabs of half a tile.

    A slab is everything from the first diffused axis on.
    """
    return all(
        prod(shape) < 2**31 and (len(axes) < 2 or prod(shape[axes[0] :]) <= tile // 2)
        for shape, axes in zip(shapes, dims, strict=True)
    )


def cut_into_tiles(
    shapes: tuple[Shape, ...],
    dims: tuple[Shape, ...],
    *,
    is_periodic: bool,
    is_aligned: bool,
    tile: int,
    longest_cut: int,
    lanes: int,
) -> Tiles:
    """Cut tensors for which `have_tiles`.

    Args:
        shapes: Of the tensors.
        dims: Diffused axes of each.
        is_periodic: Whether lines are closed, so that a line that is cut is cut at its end too.
        is_aligned: Whether all begin at multiples of 16 bytes.
        tile: Cells of a tile where rows are of whole runs of four cells; else half as many.
        longest_cut: Most rows of a tile.
        lanes: Cells that a program gathers.
    """
    num_axes = max((len(axes) for axes in dims), default=0)
    tiles: list[tuple[int, ...]] = []
    all_axes = np.zeros((len(shapes), 2 * num_axes), dtype=np.int32)
    cuts = np.zeros((len(shapes), 4), dtype=np.int32)
    chunks: list[tuple[int, int]] = []
    plane = 0
    for k, (shape, axes) in enumerate(zip(shapes, dims, strict=True)):
        if prod(shape) == 0:
            continue
        widths = [prod(shape[axis + 1 :]) for axis in axes] or [prod(shape)]
        has_runs = is_aligned and all(width % 4 == 0 for width in widths)
        size = tile if has_runs else tile // 2
        for turn, axis in enumerate(axes):
            all_axes[k, 2 * turn : 2 * turn + 2] = shape[axis], widths[turn]
        line = prod(shape[axes[0] :]) if axes else 1
        if line <= size:
            tiles += [(k, *flat, has_runs) for flat in _whole(prod(shape), line, size)]
            continue
        count, width = shape[axes[0]], widths[0]
        rows = min(longest_cut, _power_of_two(count))
        columns = size // rows
        is_flat = width % columns != 0 and 2 * (size // width) >= rows
        if is_flat:
            rows = size // width
        num_parts = -(-count // rows)
        per_line = 2 * (num_parts - 1 + is_periodic) if num_parts > 1 else 0
        lines = prod(shape) // line
        cells = lines * per_line * width
        cuts[k] = rows, per_line, plane, cells
        chunks += [(k, first) for first in range(0, cells, lanes)]
        for number in range(lines):
            for part in range(num_parts):
                first, last = part * rows, min(part * rows + rows, count) - 1
                edges = _edges(part, num_parts, is_periodic)
                places = [
                    _NO_CUT if e < 0 else plane + (number * per_line + e) * width for e in edges
                ]
                base = number * line + first * width
                there = last - first + 1
                if is_flat:
                    shape_of = [(base, _log2(size), 0, 1, there * width)]
                else:
                    shape_of = [
                        (base + low, _log2(columns), width, there, min(columns, width - low))
                        for low in range(0, width, columns)
                    ]
                tiles += [(k, *s, first, last, *places, is_flat, has_runs) for s in shape_of]
        plane += -(-cells // 16) * 16
    return Tiles(
        np.array(tiles, dtype=np.int32).reshape(-1, 12),
        all_axes,
        cuts,
        np.array(chunks, dtype=np.int32).reshape(-1, 2),
        plane,
    )


def _whole(size: int, line: int, tile: int) -> list[tuple[int, ...]]:
    """Return tiles of neighbours in memory that hold whole lines, without `has_runs`."""
    step = tile // line * line
    return [
        (start, _log2(tile), 0, 1, min(step, size - start), 0, 0, _NO_CUT, _NO_CUT, 1)
        for start in range(0, size, step)
    ]


def _edges(part: int, num_parts: int, is_periodic: bool) -> tuple[int, int]:
    """Return which rows at cuts lie before and after a part of a line, -1 for none.

    Cut i lies between part i and the next one: row 2 i is before it, row 2 i + 1 after it. The
    last cut of a closed line lies between its last and its first part.
    """
    if num_parts == 1:
        return -1, -1
    before = 2 * (part - 1) if part > 0 else 2 * (num_parts - 1) if is_periodic else -1
    after = 2 * part + 1 if part + 1 < num_parts or is_periodic else -1
    return before, after


def _power_of_two(n: int) -> int:
    """Return the least power of two that is not below n."""
    return 1 << (n - 1).bit_length()


def _log2(n: int) -> int:
    return n.bit_length() - 1
