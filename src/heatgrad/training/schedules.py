"""Learning-rate schedules by name; each is stepped once an epoch."""

import math
from collections.abc import Callable

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

__all__ = ["SCHEDULES", "Schedule", "constant", "cosine", "linear"]

Schedule = Callable[..., LRScheduler]


def constant(optimizer: Optimizer, epochs: int) -> LRScheduler:
    """Keep the learning rate."""
    return LambdaLR(optimizer, lambda epoch: 1.0)


def cosine(optimizer: Optimizer, epochs: int, *, final: float = 0.0) -> LRScheduler:
    """Fall from the learning rate to `final` times it, along half a cosine."""
    _check_final(final)
    return LambdaLR(
        optimizer,
        lambda epoch: final + (1 - final) * (1 + math.cos(math.pi * epoch / epochs)) / 2,
    )


def linear(optimizer: Optimizer, epochs: int, *, final: float = 0.0) -> LRScheduler:
    """Fall from the learning rate to `final` times it, along a line."""
    _check_final(final)
    return LambdaLR(optimizer, lambda epoch: 1 - (1 - final) * epoch / epochs)


def _check_final(final: float) -> None:
    if not 0 <= final < math.inf:
        raise ValueError(f"final must be finite and at least 0, got {final}")


SCHEDULES: dict[str, Schedule] = {"constant": constant, "cosine": cosine, "linear": linear}
