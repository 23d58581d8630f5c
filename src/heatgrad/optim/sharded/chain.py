"""What lies left and right of the parts of a chain that are held here."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from heatgrad.optim.sharded.exchange import Exchange, Source
from heatgrad.optim.sharded.layout import Layout

__all__ = ["ChainNeighbours", "chain_neighbours", "run_starts"]


@dataclass(frozen=True)
class ChainNeighbours:
    """What lies left and right, in a chain, of the parts of its tensors that are held here.

    A part is one run of the chain, or several of equal length: with its tensor cut along an axis
    inside, one for each index of the axes before it.

    Attributes:
        values: For each tensor what is left of its runs and then what is right of them.
        counts: Runs of each tensor; 0 where nothing of it is held here.
    """

    values: Tensor
    counts: list[int]

    def pairs(self) -> list[tuple[Tensor, Tensor]]:
        """Return what is left and right of the runs of each tensor, shape (runs, 1)."""
        parts = torch.split(self.values, [n for n in self.counts for _ in range(2)])
        columns = [part.unsqueeze(1) for part in parts]
        return list(zip(columns[::2], columns[1::2], strict=True))


def chain_neighbours(
    layouts: Sequence[Layout | None],
    shapes: Sequence[tuple[int, ...]],
    sources: Sequence[Source],
    boundary: str,
    *,
    dtype: torch.dtype,
    device: torch.device,
) -> ChainNeighbours:
    """Ask for the neighbours of each part that is held here. All processes do this together.

    Args:
        layouts: How each tensor is cut.
        shapes: The whole tensors' shapes, in chain order.
        sources: For each tensor, what gives the elements of its part at an index.
        boundary: Ends of the chain.
        dtype: A type that holds the values of all tensors.
        device: Where the values are wanted.
    """
    exchange, counts = _plan(tuple(layouts), tuple(shapes), boundary)
    return ChainNeighbours(exchange.start(sources, dtype, device).wait(), counts)


@lru_cache(maxsize=16)
def _plan(
    layouts: tuple[Layout | None, ...], shapes: tuple[tuple[int, ...], ...], boundary: str
) -> tuple[Exchange, list[int]]:
    which, where = [], []
    counts = []
    sizes = [int(np.prod(shape, dtype=np.int64)) for shape in shapes]
    filled = [k for k, size in enumerate(sizes) if size > 0]
    for k, (layout, shape) in enumerate(zip(layouts, shapes, strict=True)):
        starts, length = run_starts(layout, shape)
        counts.append(len(starts))
        for places, is_left in ((starts - 1, True), (starts + length, False)):
            holders = np.full(len(places), k)
            beyond = (places < 0) | (places >= sizes[k])
            if beyond.any():
                owner, place = _beyond(filled.index(k), filled, sizes, boundary, is_left=is_left)
                holders[beyond], places[beyond] = owner, place
            which.append(holders)
            where.append(places)
    return Exchange(layouts, np.concatenate(which), np.concatenate(where)), counts


def run_starts(layout: Layout | None, shape: tuple[int, ...]) -> tuple[np.ndarray, int]:
    """Return where the runs begin in the flattened whole tensor, and their length."""
    if layout is None:
        size = int(np.prod(shape, dtype=np.int64))
        return np.zeros(int(size > 0), dtype=np.int64), size
    first, sizes = layout.box
    if 0 in sizes:
        return np.zeros(0, dtype=np.int64), 0
    axis = layout.cut_axes[-1]
    outer = [np.arange(low, low + n) for low, n in zip(first[:axis], sizes[:axis], strict=True)] + [
        np.array([low]) for low in first[axis:]
    ]
    starts = np.ravel_multi_index(np.meshgrid(*outer, indexing="ij"), shape).reshape(-1)
    return starts.astype(np.int64), int(np.prod(sizes[axis:], dtype=np.int64))


def _beyond(
    turn: int, filled: list[int], sizes: list[int], boundary: str, *, is_left: bool
) -> tuple[int, int]:
    """Return tensor and place of what follows the end of a tensor; tensor -1 is a zero."""
    other = turn - 1 if is_left else turn + 1
    if 0 <= other < len(filled):
        k = filled[other]
    elif boundary == "dirichlet":
        return -1, 0
    elif boundary == "neumann":  # a copy of the edge
        k = filled[turn]
        return k, 0 if is_left else sizes[k] - 1
    else:
        k = filled[-1] if is_left else filled[0]
    return k, sizes[k] - 1 if is_left else 0
