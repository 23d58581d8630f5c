"""What an optimizer takes of the memory: what it keeps, and what a step takes for a moment."""

import warnings
import weakref
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

__all__ = ["StepMemory", "step_memory"]


@dataclass(frozen=True)
class StepMemory:
    """The memory of an optimizer, beyond parameters and gradients.

    Attributes:
        kept: Bytes of its state, such as momentum buffers, between two steps [B].
        passing: Largest number of bytes that a step holds beyond these at a time [B].
    """

    kept: int
    passing: int


def step_memory(optimizer: Optimizer) -> StepMemory:
    """Return what an optimizer keeps, and what a step takes for a moment.

    Tensors are counted, each storage once; what a kernel takes for itself is not. The optimizer is
    stepped twice: its parameters must have gradients, and both are changed.

    Args:
        optimizer: Any optimizer whose step needs no closure.

    Example:
        >>> weights = torch.nn.Parameter(torch.ones(1000))
        >>> weights.grad = torch.ones(1000)
        >>> step_memory(torch.optim.SGD([weights], lr=0.1, momentum=0.9, foreach=False))
        StepMemory(kept=4000, passing=0)
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        optimizer.step()
        with _Counting() as counting:
            optimizer.step()
    params = {id(p) for group in optimizer.param_groups for p in group["params"]}
    kept = {
        _storage(value)._cdata: _storage(value).nbytes()
        for state in optimizer.state.values()
        for value in _tensors(state)
        if id(value) not in params
    }
    return StepMemory(kept=sum(kept.values()), passing=counting.most)


class _Counting(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of the storages that operations make, while a tensor lies in them."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.held, self.most = 0, 0
        self._tensors: dict[int, int] = {}  # number of living tensors by storage

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        given = {_storage(leaf)._cdata for leaf in _tensors((args, kwargs))}
        result = func(*args, **(kwargs or {}))
        for tensor in _tensors(result):
            place, size = _storage(tensor)._cdata, _storage(tensor).nbytes()
            if place in self._tensors or place not in given:
                self._enter(place, size)
                weakref.finalize(tensor, self._leave, place, size)
        return result

    def _enter(self, place: int, size: int) -> None:
        if place not in self._tensors:
            self.held += size
            self.most = max(self.most, self.held)
        self._tensors[place] = self._tensors.get(place, 0) + 1

    def _leave(self, place: int, size: int) -> None:
        self._tensors[place] -= 1
        if self._tensors[place] == 0:
            del self._tensors[place]
            self.held -= size


def _tensors(values: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor)]


def _storage(tensor: Tensor) -> torch.UntypedStorage:
    return tensor.untyped_storage()
