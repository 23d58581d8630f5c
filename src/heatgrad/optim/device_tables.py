"""Small tables of the host for kernels on a device, without waiting for it."""

import numpy as np
import torch
from torch import Tensor

__all__ = ["is_capturing", "keep_for_replays", "upload"]

_spare: dict[int, Tensor] = {}
_kept: list[object] = []


def upload(values: np.ndarray, device: torch.device) -> Tensor:
    """Return a copy of int64 values on the device, made asynchronously on the current stream.

    A CUDA graph that captures it copies the same values at every replay. The host memory that it
    then reads stays for good; a piece of it is put aside by every call outside a capture, in which
    such memory may not be allocated by every torch.
    """
    host = torch.from_numpy(values)
    if device.type != "cuda":
        return host
    size = host.numel()
    if is_capturing():
        pinned = _spare.pop(size, None)
        pinned = torch.empty(size, dtype=torch.int64, pin_memory=True) if pinned is None else pinned
        keep_for_replays(pinned)
    else:
        pinned = torch.empty(size, dtype=torch.int64, pin_memory=True)
        if size not in _spare:
            _spare[size] = torch.empty(size, dtype=torch.int64, pin_memory=True)
    pinned.copy_(host.view(-1))
    # Memory of the host is not given out again before this copy is done.
    return pinned.to(device, non_blocking=True).view(host.shape)


def keep_for_replays(*memory: object) -> None:
    """Keep what a captured graph reads for as long as the process lives."""
    _kept.extend(memory)


def is_capturing() -> bool:
    """Whether the current stream records a CUDA graph."""
    return torch.cuda.is_available() and torch.cuda.is_current_stream_capturing()
