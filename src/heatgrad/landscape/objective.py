"""The loss whose landscape is measured: of one network, over a whole data set, without chance."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

__all__ = ["DataLoss", "Objective", "check_repeatable", "objective_of", "pieces_of", "quiet"]

_MOST_PIECES = 100  # about

Criterion = Callable[[Tensor, Tensor], Tensor]
Batches = Iterable[tuple[Tensor, Tensor]]


class Objective(Protocol):
    """What is measured: a loss that is a sum of terms, each differentiable."""

    def terms(self, model: nn.Module) -> Iterator[Tensor]:
        """Yield scalars whose sum is the loss of a network, as it is."""

    def pieces(self, model: nn.Module) -> Iterator[Tensor]:
        """Yield the same sum in as many scalars as there are independent parts of the data."""

    def inputs(self) -> Iterator[Tensor] | None:
        """Yield the inputs by which batch statistics are estimated; None if they are not known."""


class DataLoss:
    """The mean loss of a network over a data set.

    Args:
        criterion: Mean loss of a batch, a function of logits and labels as
            `torch.nn.functional.cross_entropy`.
        data: Inputs and labels as two tensors, or batches of both in an iterable that gives the
            same ones in the same order each time (a loader that does not shuffle).
        batch_size: Examples that are taken through the network at once, where `data` is two
            tensors.

    Raises:
        ValueError: If there is no example, or inputs and labels are not as many.

    Example:
        >>> x, y = torch.randn(20, 3), torch.zeros(20, dtype=torch.long)
        >>> loss = DataLoss(torch.nn.functional.cross_entropy, (x, y), batch_size=8)
        >>> len(list(loss.batches())), loss.num_examples
        (3, 20)
    """

    def __init__(
        self, criterion: Criterion, data: tuple[Tensor, Tensor] | Batches, *, batch_size: int = 1000
    ) -> None:
        self.criterion = criterion
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        if isinstance(data, tuple) and len(data) == 2 and isinstance(data[0], Tensor):
            x, y = data
            if len(x) != len(y):
                raise ValueError(
                    f"data must hold as many labels as inputs, got {len(x)} and {len(y)}"
                )
            parts = (torch.split(part, batch_size) for part in (x, y))
            data = list(zip(*parts, strict=True))
        self._batches: Batches = data
        self.num_examples = sum(len(y) for _, y in self.batches())
        if self.num_examples == 0:
            raise ValueError("data must hold at least one example, got none")

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batches."""
        yield from self._batches

    def terms(self, model: nn.Module) -> Iterator[Tensor]:
        """Yield each batch's share of the mean loss."""
        for x, y in self.batches():
            yield self.criterion(model(x), y) * (len(y) / self.num_examples)

    def pieces(self, model: nn.Module) -> Iterator[Tensor]:
        """Yield the share of each hundredth of the examples, or of each batch where it is less."""
        size = -(-self.num_examples // _MOST_PIECES)
        for x, y in self.batches():
            parts = (torch.split(part, size) for part in (model(x), y))
            for outputs, labels in zip(*parts, strict=True):
                yield self.criterion(outputs, labels) * (len(labels) / self.num_examples)

    def inputs(self) -> Iterator[Tensor]:
        """Yield the inputs of each batch."""
        return (x for x, _ in self.batches())


class _Whole:
    """A function of a network, as an objective of one term."""

    def __init__(self, function: Callable[[nn.Module], Tensor]) -> None:
        self._function = function

    def terms(self, model: nn.Module) -> Iterator[Tensor]:
        """Yield the function's value."""
        yield self._function(model)

    def pieces(self, model: nn.Module) -> Iterator[Tensor]:
        """Yield the function's value, of which no parts are known."""
        yield self._function(model)

    def inputs(self) -> None:
        """Nothing is known of the data."""
        return


def objective_of(loss: Objective | Callable[[nn.Module], Tensor]) -> Objective:
    """Return a loss as an objective: a `DataLoss` as it is, a function of a network as one term."""
    if hasattr(loss, "terms"):
        return loss  # type: ignore[return-value]
    if callable(loss):
        return _Whole(loss)
    raise ValueError(
        f"loss must be a DataLoss, or a function that takes a network and returns a scalar, got "
        f"{type(loss).__name__}"
    )


def pieces_of(objective: Objective, model: nn.Module) -> NDArray[np.float64]:
    """Return the parts of a loss that an interval over the data resamples, shape (pieces,)."""
    return np.array([float(piece) for piece in objective.pieces(model)])


@contextlib.contextmanager
def quiet(model: nn.Module) -> Iterator[nn.Module]:
    """Put a network into evaluation mode, and every module back into its own afterwards."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield model
    finally:
        for module, mode in modes.items():
            module.training = mode


def check_repeatable(objective: Objective, model: nn.Module) -> None:
    """Refuse a loss that gives another value when it is asked again.

    Raises:
        ValueError: With both values, and what to do.
    """
    with torch.no_grad():
        first, second = ([float(term) for term in objective.terms(model)] for _ in range(2))
    if first != second and not (first and all(a != a for a in (*first, *second))):
        raise ValueError(
            f"the loss must give the same value when it is asked twice, got {sum(first):.9g} and "
            f"{sum(second):.9g}; take a loader that does not shuffle, and dropout or augmentation "
            f"out of the function"
        )
