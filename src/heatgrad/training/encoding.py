"""Data as a network sees them that is trained on encoded inputs."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from heatgrad.data import Dataset

__all__ = ["encoded"]


@torch.no_grad()
def encoded(
    dataset: Dataset, encode: Callable[[Tensor], Tensor], *, batch_size: int = 256
) -> Dataset:
    """Return a data set with its inputs encoded, once and for all epochs.

    Args:
        dataset: The data, on the device of the encoder.
        encode: Maps inputs to codes, each by itself; as a network, in evaluation mode.
        batch_size: Examples at once; it bounds the memory, not the result.

    Example:
        >>> from heatgrad.data import Digits
        >>> encoded(Digits().load(0), lambda x: x.mean(dim=1)).input_shape
        (8, 8)
    """
    x_train, x_test = (
        torch.cat([encode(part).float() for part in torch.split(x, batch_size)])
        for x in (dataset.x_train, dataset.x_test)
    )
    return replace(dataset, x_train=x_train, x_test=x_test, pixels=None)
