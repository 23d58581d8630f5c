"""The batches of an epoch, for the sources of all replicas at once."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from heatgrad.data import Dataset
from heatgrad.training.order import epoch_plan

__all__ = ["Batch", "Batches"]


class Batch(NamedTuple):
    """One step's examples.

    Attributes:
        x: Inputs, shape (sources, batch, *shape).
        y: Labels, shape (sources, batch).
        seeds: Seed of the step's dropout of each source.
        is_probed: Whether the step is one of those that stand for the epoch.
    """

    x: Tensor
    y: Tensor
    seeds: list[int]
    is_probed: bool


class Batches:
    """The training parts of some sources, in their batch orders.

    On a GPU the data lie there, and the order of an epoch is sent once.

    Args:
        data: Of each source, of one shape.
        seeds: Of each source.
        batch_size: Examples a step.
        device: Where the networks are.
    """

    def __init__(
        self, data: Sequence[Dataset], seeds: Sequence[int], batch_size: int, device: torch.device
    ) -> None:
        self._data, self._seeds, self._batch_size = data, seeds, batch_size
        self._held = None if device.type == "cpu" else _Held(data, device)

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """Yield the batches of an epoch, from 1."""
        plans = [
            epoch_plan(len(data.y_train), self._batch_size, seed, epoch)
            for data, seed in zip(self._data, self._seeds, strict=True)
        ]
        if self._held is not None:
            self._held.take([torch.cat([batch for batch, _, _ in plan]) for plan in plans])
        start = 0
        for parts in zip(*plans, strict=True):
            stop = start + len(parts[0][0])
            if self._held is None:
                pairs = list(zip(self._data, parts, strict=True))
                x = torch.stack([data.x_train[batch] for data, (batch, _, _) in pairs])
                y = torch.stack([data.y_train[batch] for data, (batch, _, _) in pairs])
            else:
                x, y = self._held.batch(start, stop)
            yield Batch(x, y, [seed for _, seed, _ in parts], parts[0][2])
            start = stop


class _Held:
    """Training parts that lie on a device."""

    def __init__(self, data: Sequence[Dataset], device: torch.device) -> None:
        self._x = torch.stack([part.x_train for part in data]).to(device)
        self._y = torch.stack([part.y_train for part in data]).to(device)
        self._rows = torch.arange(len(data), device=device).unsqueeze(1)
        self._order = self._rows

    def take(self, orders: Sequence[Tensor]) -> None:
        """Send the order of an epoch, of each source."""
        self._order = torch.stack(list(orders)).to(self._x.device)

    def batch(self, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """Return the examples at some places of the order."""
        places = self._order[:, start:stop]
        return self._x[self._rows, places], self._y[self._rows, places]
