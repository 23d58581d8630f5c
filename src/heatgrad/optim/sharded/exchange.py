"""Values of other processes' parts, fetched in one batch of messages."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from heatgrad.optim.sharded.layout import Layout

__all__ = ["Exchange", "Index", "Pending", "Source"]

Index = slice | Tensor
Source = Callable[[Index], Tensor]


@dataclass
class Pending:
    """Messages on their way.

    Attributes:
        values: What was wanted, filled in when `wait` returns, shape (n,).
    """

    values: Tensor
    _works: list[Any] = field(default_factory=list)
    _arrivals: list[tuple[Tensor, Tensor]] = field(default_factory=list)

    def wait(self) -> Tensor:
        """Return the values when all are here."""
        for work in self._works:
            work.wait()
        for places, message in self._arrivals:
            self.values[places] = message
        self._works, self._arrivals = [], []
        return self.values


class Exchange:
    """A plan: which elements of which tensors this process wants, and what others want of it.

    Making one is collective: all processes of the tensors' meshes make it together, and tell each
    other once what they want. After that a step sends each of them one message at most.

    Attributes:
        sent: The bytes of each start so far in this process, over all plans.
    """

    sent: ClassVar[deque[int]] = deque(maxlen=1024)

    def __init__(
        self, layouts: Sequence[Layout | None], which: np.ndarray, where: np.ndarray
    ) -> None:
        """Plan.

        Args:
            layouts: How each tensor is cut.
            which: The tensor of each wanted element, int64; -1 for a zero, shape (n,).
            where: Its index in the flattened whole tensor, int64, shape (n,).
        """
        import torch.distributed as dist

        self._rank = dist.get_rank()
        self._device = torch.device("cpu")
        self._num_wanted = len(which)
        holders = np.where(which < 0, -1, self._rank)
        places = where.copy()
        for k, layout in enumerate(layouts):
            if layout is not None:
                chosen = np.flatnonzero(which == k)
                members, places[chosen] = layout.locate(where[chosen])
                holders[chosen] = layout.mesh.mesh.numpy().reshape(-1)[members]
        self._arrivals: dict[int, Tensor] = {}
        wanted: dict[int, list[tuple[int, list[tuple[int, int]]]]] = {}
        for holder in np.unique(holders[holders >= 0]).tolist():
            theirs = np.flatnonzero(holders == holder)
            theirs = theirs[np.argsort(which[theirs], kind="stable")]
            self._arrivals[holder] = torch.from_numpy(theirs)
            tensors, starts = np.unique(which[theirs], return_index=True)
            runs = [_runs(part) for part in np.split(places[theirs], starts[1:])]
            wanted[holder] = list(zip(tensors.tolist(), runs, strict=True))
        asked = _told_to_all({self._rank: wanted}, [x for x in layouts if x is not None])
        self._asked = {
            rank: [(k, _index(runs)) for k, runs in of_rank[self._rank]]
            for rank, of_rank in sorted(asked.items())
            if self._rank in of_rank
        }

    def start(self, sources: Sequence[Source], dtype: torch.dtype, device: torch.device) -> Pending:
        """Send what others want, and return what is on its way here.

        Args:
            sources: For each tensor, what gives the elements at an index of the flattened part
                that is held here. Elements of this process itself are taken at once.
            dtype: The type of the messages; all values fit in it.
            device: Where the values are wanted.
        """
        import torch.distributed as dist

        self._move_to(device)
        values = torch.zeros(self._num_wanted, dtype=dtype, device=device)
        pending = Pending(values)
        operations, num_bytes = [], 0
        for rank, asked in self._asked.items():
            parts = [sources[k](index).to(device=device, dtype=dtype) for k, index in asked]
            message = torch.cat(parts)
            if rank == self._rank:
                values[self._arrivals[rank]] = message
            else:
                operations.append(dist.P2POp(dist.isend, message.view(torch.uint8), rank))
                num_bytes += message.numel() * message.element_size()
        for rank, places in self._arrivals.items():
            if rank != self._rank:
                message = torch.empty(len(places), dtype=dtype, device=device)
                pending._arrivals.append((places, message))
                operations.append(dist.P2POp(dist.irecv, message.view(torch.uint8), rank))
        Exchange.sent.append(num_bytes)
        if operations:
            pending._works = dist.batch_isend_irecv(operations)
        return pending

    def _move_to(self, device: torch.device) -> None:
        """Have the indices on the device, once."""
        if self._device == device:
            return
        self._device = device
        self._arrivals = {rank: places.to(device) for rank, places in self._arrivals.items()}
        self._asked = {
            rank: [(k, i if isinstance(i, slice) else i.to(device)) for k, i in asked]
            for rank, asked in self._asked.items()
        }


def _runs(places: np.ndarray) -> list[tuple[int, int]]:
    """Return indices as runs [start, stop), in order: edges are long runs."""
    breaks = np.flatnonzero(np.diff(places) != 1) + 1
    starts = np.concatenate([[0], breaks])
    stops = np.concatenate([breaks, [len(places)]])
    return [(int(places[a]), int(places[b - 1]) + 1) for a, b in zip(starts, stops, strict=True)]


def _index(runs: list[tuple[int, int]]) -> Index:
    if len(runs) == 1:
        return slice(*runs[0])
    return torch.from_numpy(np.concatenate([np.arange(a, b) for a, b in runs]))


def _told_to_all(mine: dict[int, Any], layouts: Sequence[Layout]) -> dict[int, Any]:
    """Return what all processes of the largest mesh have said."""
    import torch.distributed as dist

    mesh = max((layout.mesh for layout in layouts), key=lambda mesh: mesh.mesh.numel())
    said = mine
    for axis in range(mesh.ndim):
        heard: list[dict[int, Any]] = [{}] * mesh.size(axis)
        dist.all_gather_object(heard, said, group=mesh.get_group(axis))
        said = {rank: words for each in heard for rank, words in each.items()}
    return said
