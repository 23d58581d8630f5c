"""Learning-rate schedules by name; each is stepped once an epoch."""

import math
from collections.abc import Callable

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

__all__ = ["SCHEDULES", "Schedule", "constant", "cosine", "cosine_restarts", "linear"]

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


def cosine_restarts(
    optimizer: Optimizer, epochs: int, *, first: int = 10, factor: int = 2, final: float = 0.0
) -> LRScheduler:
    """Fall to `final` times the learning rate along half a cosine, and start again.

    The first fall takes `first` epochs, each further one `factor` times as many as the one before
    (Loshchilov and Hutter, 2017; [Sun] appendix D, which does not give them). A last fall that the
    epochs do not suffice for is cut off.
    """
    _check_final(final)
    for name, value in (("first", first), ("factor", factor)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} must be an integer of at least 1, got {value!r}")

    def share(epoch: int) -> float:
        length = first
        while epoch >= length:
            epoch, length = epoch - length, length * factor
        return final + (1 - final) * (1 + math.cos(math.pi * epoch / length)) / 2

    return LambdaLR(optimizer, share)


def _check_final(final: float) -> None:
    if not 0 <= final < math.inf:
        raise ValueError(f"final must be finite and at least 0, got {final}")


SCHEDULES: dict[str, Schedule] = {
    "constant": constant,
    "cosine": cosine,
    "cosine-restarts": cosine_restarts,
    "linear": linear,
}
