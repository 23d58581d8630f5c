"""The loss whose landscape is measured: of one network, over a whole data set, without chance."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

__all__ = [
    "DataLoss",
    "Objective",
    "check_repeatable",
    "moved_params",
    "objective_of",
    "pieces_of",
    "quiet",
]

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
            tensors; a single one that is left over goes with the batch before.

    Attributes:
        num_examples: How many.
        is_held: Whether the batches are in memory, so that several threads may read them.

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
            data = _split(*data, batch_size)
        if isinstance(data, Iterator):
            raise ValueError(
                "data must give its batches again each time, got an iterator, which ends; give a "
                "list of it"
            )
        self._batches: Batches = data
        self.is_held = isinstance(data, list | tuple)
        self.num_examples = sum(_checked(batch) for batch in self.batches())
        if self.num_examples == 0:
            raise ValueError("data must hold at least one example, got none")

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batches."""
        yield from self._batches

    def terms(self, model: nn.Module) -> Iterator[Tensor]:
        """Yield each batch's share of the mean loss."""
        for x, y in self.batches():
            value = self.criterion(model(x), y)
            if value.dim():
                raise ValueError(
                    f"criterion must return the mean loss of a batch, one number, got shape "
                    f"{tuple(value.shape)}; take reduction='mean'"
                )
            yield value * (len(y) / self.num_examples)

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


def _split(x: Tensor, y: Tensor, batch_size: int) -> list[tuple[Tensor, Tensor]]:
    if len(x) != len(y):
        raise ValueError(f"data must hold as many labels as inputs, got {len(x)} and {len(y)}")
    starts = list(range(batch_size, len(x), batch_size))
    if starts and starts[-1] == len(x) - 1 and batch_size > 1:
        starts.pop()
    parts = (torch.tensor_split(part, starts) for part in (x, y))
    return list(zip(*parts, strict=True)) if len(x) else []


def _checked(batch: object) -> int:
    """Return the number of examples in a batch, which must be inputs and labels."""
    is_pair = isinstance(batch, tuple | list) and len(batch) == 2
    if not is_pair or not all(isinstance(part, Tensor) and part.dim() for part in batch):  # type: ignore[attr-defined]
        kind = type(batch).__name__
        size = f" of {len(batch)}" if isinstance(batch, tuple | list) else ""
        raise ValueError(
            f"data must be inputs and labels as two tensors, or batches of both, got a batch that "
            f"is a {kind}{size}"
        )
    counts = [len(part) for part in batch]  # type: ignore[attr-defined]
    if counts[0] != counts[1]:
        raise ValueError(
            f"data must hold as many labels as inputs, got {counts[0]} and {counts[1]}"
        )
    return counts[1]


class _Whole:
    """A function of a network, as an objective of one term."""

    def __init__(self, function: Callable[[nn.Module], Tensor]) -> None:
        self._function = function

    def terms(self, model: nn.Module) -> Iterator[Tensor]:
        """Yield the function's value."""
        value = self._function(model)
        if not isinstance(value, Tensor) or value.numel() != 1:
            got = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise ValueError(f"loss must return a tensor of one number, got {got}")
        yield value.reshape(())

    def pieces(self, model: nn.Module) -> Iterator[Tensor]:
        """Yield the function's value, of which no parts are known."""
        yield from self.terms(model)

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


def moved_params(model: nn.Module) -> list[nn.Parameter]:
    """Return the parameters that require a gradient.

    Raises:
        ValueError: If there is none.
    """
    params = [p for p in model.parameters() if p.requires_grad]
    if not params:
        raise ValueError("the network must have a parameter that requires a gradient, got none")
    return params


@contextlib.contextmanager
def quiet(model: nn.Module) -> Iterator[nn.Module]:
    """Put a network into evaluation mode, and every module back into its own afterwards.

    PyTorch's generator of the CPU is put back, too: loaders draw from it.
    """
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.random.fork_rng(devices=[]):
            yield model
    finally:
        for module, mode in modes.items():
            module.training = mode


def check_repeatable(objective: Objective, model: nn.Module) -> None:
    """Refuse a loss that gives another value when it is asked again, or in other batches.

    Raises:
        ValueError: With both values, or the layer that sees batches, and what to do.
    """
    for name, layer in model.named_modules():
        if isinstance(layer, _BatchNorm) and layer.running_mean is None:
            raise ValueError(
                f"batch normalisation must keep running statistics, or the loss depends on how "
                f"the data are cut into batches, got none in '{name}'; make it with "
                f"track_running_stats=True, they are estimated anew"
            )
    with torch.no_grad():
        first, second = ([float(term) for term in objective.terms(model)] for _ in range(2))
    if not np.array_equal(first, second, equal_nan=True):
        apart = np.abs(np.subtract(first, second)).max() if len(first) == len(second) else np.nan
        raise ValueError(
            f"the loss must be the same when it is asked twice, batch by batch, got batches of "
            f"{len(first)} and {len(second)} that differ by up to {apart:.3g}; take a loader that "
            f"does not shuffle, and dropout or augmentation out of the function"
        )
