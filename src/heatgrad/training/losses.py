"""Losses by name: functions of (logits, labels) to a mean over the batch."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

__all__ = ["LOSSES", "Loss", "squared_error"]

Loss = Callable[[Tensor, Tensor], Tensor]


def squared_error(
    logits: Float[Tensor, "batch classes"], labels: Int64[Tensor, " batch"]
) -> Float[Tensor, ""]:
    """Return the mean over the batch of the squared distance to the one-hot labels.

    Example:
        >>> import torch
        >>> squared_error(torch.tensor([[1.0, 0.0]]), torch.tensor([1])).item()
        2.0
    """
    # Not one_hot, which looks at the labels: vmap could not map it.
    target = torch.zeros_like(logits).scatter(1, labels.unsqueeze(1), 1.0)
    return (logits - target).square().sum(dim=1).mean()


LOSSES: dict[str, Loss] = {
    "cross_entropy": nn.functional.cross_entropy,
    "squared_error": squared_error,
}
