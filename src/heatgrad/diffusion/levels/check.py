"""What every list of levels must be."""

import torch
from torch import Tensor

__all__ = ["check_levels"]


def check_levels(levels: Tensor) -> Tensor:
    """Return levels in float64 on the CPU, if they are a list that a sampler can go down.

    Args:
        levels: Shape (steps + 1,), strictly decreasing, the last 0 [data].

    Raises:
        ValueError: If they are anything else.

    Example:
        >>> check_levels(torch.tensor([2.0, 1.0, 0.0])).dtype
        torch.float64
    """
    if levels.ndim != 1 or len(levels) < 2 or not levels.is_floating_point():
        raise ValueError(
            f"levels must be a list of at least two real numbers, got shape {tuple(levels.shape)} "
            f"and {levels.dtype}"
        )
    values = levels.detach().to("cpu", torch.float64)
    if not bool(torch.isfinite(values).all()):
        raise ValueError("levels must be finite; a chain that ends in pure noise has none there")
    if float(values[-1]) != 0:
        raise ValueError(f"levels must end in 0, got {float(values[-1])}; append a zero")
    rises = torch.nonzero(values[1:] >= values[:-1])
    if len(rises):
        i = int(rises[0])
        raise ValueError(
            f"levels must be strictly decreasing, got {float(values[i])} and then "
            f"{float(values[i + 1])} at step {i}"
        )
    return values
