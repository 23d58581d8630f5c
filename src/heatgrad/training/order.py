"""The order of examples, and the seeds of an epoch: of the block of runs alone."""

import math

import torch
from torch import Tensor

from heatgrad.core.random import stream_generator

__all__ = ["PROBES_PER_EPOCH", "epoch_plan", "steps_per_epoch"]

PROBES_PER_EPOCH = 8


def steps_per_epoch(num_train: int, batch_size: int) -> int:
    """Return the number of batches of an epoch; a last one of a single example is left out.

    Example:
        >>> steps_per_epoch(64, 32), steps_per_epoch(65, 32), steps_per_epoch(66, 32)
        (2, 2, 3)
    """
    is_last_single = num_train > 1 and batch_size > 1 and num_train % batch_size == 1
    return math.ceil(num_train / batch_size) - is_last_single


def epoch_plan(
    num_train: int,
    batch_size: int,
    seed: int,
    epoch: int,
    *,
    device: torch.device | str = "cpu",
) -> list[tuple[Tensor, int, bool]]:
    """Return, for each step of an epoch, its examples, its seed of dropout and if it is probed.

    The order is the same on every device; there the numbers of the examples are laid.
    """
    order = torch.randperm(num_train, generator=stream_generator(seed, "order", epoch))
    batches = torch.split(order.to(device), batch_size)[: steps_per_epoch(num_train, batch_size)]
    seeds = torch.randint(
        2**31, (len(batches),), generator=stream_generator(seed, "dropout", epoch)
    ).tolist()
    probed = {k * len(batches) // PROBES_PER_EPOCH for k in range(PROBES_PER_EPOCH)}
    return [(b, s, k in probed) for k, (b, s) in enumerate(zip(batches, seeds, strict=True))]
