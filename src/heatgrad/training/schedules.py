"""Learning-rate schedules by name; each is stepped once an epoch."""

import math
import warnings
from collections.abc import Callable

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from heatgrad.core.errors import HeatgradWarning

__all__ = ["SCHEDULES", "Schedule", "constant", "cosine", "cosine_restarts", "linear"]

Schedule = Callable[..., LRScheduler]

_LOW = 0.1  # of a fall: where it may be cut off without a word


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
    epochs do not suffice for is cut off, with a warning where that is above a tenth of its height.
    """
    _check_final(final)
    for name, value in (("first", first), ("factor", factor)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} must be an integer of at least 1, got {value!r}")

    def height(epoch: int) -> float:
        start, end = _fall_of(epoch, first, factor)
        return (1 + math.cos(math.pi * (epoch - start) / (end - start))) / 2

    start, end = _fall_of(epochs - 1, first, factor)
    if end > epochs and height(epochs - 1) > _LOW:
        ends = f"{start} or {end}" if start else f"{end}"
        warnings.warn(
            f"cosine-restarts: epochs should end with a fall, as {ends} do, got {epochs}, of which "
            f"the last still has {100 * height(epochs - 1):.0f} % of the fall before it; train as "
            f"many, or set first and factor",
            HeatgradWarning,
            stacklevel=2,
        )
    return LambdaLR(optimizer, lambda epoch: final + (1 - final) * height(epoch))


def _fall_of(epoch: int, first: int, factor: int) -> tuple[int, int]:
    """Return the first epoch of the fall in which an epoch lies, from 0, and of the next."""
    start, length = 0, first
    while epoch >= start + length:
        start, length = start + length, length * factor
    return start, start + length


def _check_final(final: float) -> None:
    if not 0 <= final < math.inf:
        raise ValueError(f"final must be finite and at least 0, got {final}")


SCHEDULES: dict[str, Schedule] = {
    "constant": constant,
    "cosine": cosine,
    "cosine-restarts": cosine_restarts,
    "linear": linear,
}
