"""Parts of tensors with a margin of what lies around them, for operators that reach far."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from heatgrad.laplacian import Boundary
from heatgrad.optim.sharded.chain import run_starts
from heatgrad.optim.sharded.exchange import Exchange, Source
from heatgrad.optim.sharded.layout import Layout

__all__ = ["Line", "widened_lines"]


@dataclass(frozen=True)
class Line:
    """How a tensor is read as lines along which something diffuses.

    Attributes:
        layout: How it is cut.
        axis: The axis of the lines; None for one line through the flattened tensor.
    """

    layout: Layout | None
    axis: int | None

    @property
    def is_cut(self) -> bool:
        """Whether other processes hold parts of the lines."""
        if self.layout is None:
            return False
        return self.axis is None or self.axis in self.layout.cut_axes


def widened_lines(
    lines: Sequence[Line],
    sources: Sequence[Source],
    width: int,
    boundary: Boundary,
    *,
    dtype: torch.dtype,
    device: torch.device,
) -> list[tuple[Tensor, slice, bool] | None]:
    """Return the parts of lines that are held here, with up to `width` cells more at either end.

    Beyond the ends of a whole line stands its reflection, its odd reflection or its repetition, as
    its boundary wants it; where the margins would reach around, the line is there once, as it is.
    All processes call this together.

    Args:
        lines: How each tensor is read.
        sources: For each, what gives the elements of its part at an index.
        width: Cells of the margin.
        boundary: Ends of the lines.
        dtype: A type that holds all values.
        device: Where the values are wanted.

    Returns:
        For each tensor whose lines are cut: lines of shape (before, cells, behind), the cells that
        are held here, and whether the ends are those of the whole line. None for the others,
        and where nothing of it is held here.
    """
    windows, exchange = _plan(tuple(lines), width, boundary)
    if exchange is None:
        return [None] * len(lines)
    values = exchange.start(sources, dtype, device).wait()
    found: list[tuple[Tensor, slice, bool] | None] = []
    start = 0
    for window in windows:
        if window is None:
            found.append(None)
            continue
        shape, weights, here, is_whole = window
        size = int(np.prod(shape))
        cells = values[start : start + size].view(shape)
        sign = torch.tensor(weights, dtype=torch.int8, device=device).view(-1, shape[1], 1)
        found.append((cells * sign, here, is_whole))
        start += size
    return found


_Window = tuple[tuple[int, int, int], np.ndarray, slice, bool]


@lru_cache(maxsize=16)
def _plan(
    lines: tuple[Line, ...], width: int, boundary: Boundary
) -> tuple[list[_Window | None], Exchange | None]:
    windows: list[_Window | None] = []
    which, where = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.int64)]
    for k, line in enumerate(lines):
        if line.layout is None or not line.is_cut or 0 in line.layout.box[1]:
            windows.append(None)
            continue
        window, places = _window(line.layout, line.axis, width, boundary)
        windows.append(window)
        which.append(np.full(places.size, k))
        where.append(places.reshape(-1))
    if not any(line.is_cut for line in lines):
        return windows, None
    layouts = [line.layout for line in lines]
    return windows, Exchange(layouts, np.concatenate(which), np.concatenate(where))


def _window(
    layout: Layout, axis: int | None, width: int, boundary: Boundary
) -> tuple[_Window, np.ndarray]:
    """Return one tensor's window, and where its cells stand in the whole tensor."""
    if axis is None:
        starts, length = run_starts(layout, layout.shape)
        num_cells, rows = int(np.prod(layout.shape, dtype=np.int64)), starts[:, None, None]
        low, step, can_be_whole = starts[:, None], 1, len(starts) == 1
    else:
        first, sizes = layout.box
        length, num_cells = sizes[axis], layout.shape[axis]
        others = [np.arange(a, a + n) for a, n in zip(first, sizes, strict=True)]
        others[axis] = np.zeros(1, dtype=np.int64)
        flat = np.ravel_multi_index(np.meshgrid(*others, indexing="ij"), layout.shape)
        rows = flat.reshape(-1, 1, int(np.prod(sizes[axis + 1 :], dtype=np.int64)))
        low, can_be_whole = np.array([[first[axis]]]), True
        step = int(np.prod(layout.shape[axis + 1 :], dtype=np.int64))
    is_whole = can_be_whole and length + 2 * width >= num_cells
    if is_whole:
        cells, here = np.arange(num_cells)[None], slice(int(low[0, 0]), int(low[0, 0]) + length)
    else:
        cells, here = low + np.arange(-width, length + width), slice(width, width + length)
    index, weights = _reflected(cells, num_cells, boundary)
    base = rows - low[..., None] if axis is None else rows
    places = base + index[..., None] * step
    return (places.shape, weights, here, is_whole), places.astype(np.int64)


def _reflected(
    cells: np.ndarray, num_cells: int, boundary: Boundary
) -> tuple[np.ndarray, np.ndarray]:
    """Return the cells of a line that stand for cells anywhere, and their weights 1, -1 or 0."""
    if boundary == "periodic":
        return cells % num_cells, np.ones_like(cells)
    # Neumann: ... 1 0 | 0 1 ... n-1 | n-1 ...; Dirichlet: ... -1 -0 | zero | 0 1 ...
    gap = 1 if boundary == "dirichlet" else 0
    turn = cells % (2 * (num_cells + gap))
    is_back = turn >= num_cells + gap
    mirrored = np.where(is_back, 2 * num_cells - 1 + gap - turn, turn)
    is_zero = (mirrored < 0) | (mirrored >= num_cells)
    weights = np.where(is_zero, 0, np.where(is_back & (gap == 1), -1, 1))
    return np.clip(mirrored, 0, num_cells - 1), weights
