"""Functions of tensors that are recorded once as a CUDA graph, and then replayed."""

from collections.abc import Callable, Hashable
from typing import Any, Protocol

import torch
from torch import Tensor

__all__ = ["Replayed", "is_replayed"]

_WARM = 3  # calls before the recording: lazy initialisations and state that the first call makes


def is_replayed(device: torch.device) -> bool:
    """Whether what is done on a device at every step is recorded and replayed."""
    return device.type == "cuda"


class Recording(Protocol):
    """A recorded function: replayed on the memory that it was recorded with."""

    def replay(self) -> None:
        """Do again what was recorded."""


class Replayed:
    """A function that launches many short kernels, launched at once.

    It must do the same operations on the same memory at every call, and ask nothing of the device.

    Args:
        function: Of tensors of constant shape; what it returns is overwritten by the next call.
    """

    def __init__(self, function: Callable[..., Tensor | None]) -> None:
        self._function = function
        self._state: Hashable = None
        self._calls = 0
        self._recording: Recording | None = None
        self._inputs: tuple[Tensor, ...] = ()
        self._output: Tensor | None = None

    def __call__(self, *inputs: Tensor, state: Hashable = None) -> Tensor | None:
        """Return what the function does.

        Args:
            inputs: Its arguments.
            state: All else that decides what it does; where it changes, it is recorded anew.
        """
        if state != self._state:
            self._state, self._recording = state, None
            self._calls = min(self._calls, _WARM)
        if self._recording is None:
            self._calls += 1
            if self._calls <= _WARM:
                return self._function(*inputs)
            self._inputs = tuple(x.clone() for x in inputs)
            self._recording, self._output = record(lambda: self._function(*self._inputs))
        for own, x in zip(self._inputs, inputs, strict=True):
            own.copy_(x)
        self._recording.replay()
        return self._output


def record(function: Callable[[], Any]) -> tuple[Recording, Any]:
    """Record a function without running it; return the recording and the memory of its result."""
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        output = function()
    return graph, output
