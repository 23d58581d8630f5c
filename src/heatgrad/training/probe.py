"""What an optimizer does to the gradient: its norm, and how far diffusion moved it."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from heatgrad.core.vectors import cosine, norm

__all__ = ["GradientProbe", "HasDirections", "probe_gradient"]


@runtime_checkable
class HasDirections(Protocol):
    """An optimizer that can show its gradient before and after its transform."""

    def gradient_directions(self) -> tuple[list[Tensor], list[Tensor]]:
        """Return both as lists of tensors."""


@dataclass(frozen=True)
class GradientProbe:
    """One look at the gradient of a step.

    Attributes:
        norm: Euclidean norm of the loss gradient over all parameters [loss/param].
        ratio: Norm of the transformed over the plain gradient; 1 without a transform [1].
        cosine: Cosine of the angle between the two; 1 without a transform [1].
    """

    norm: float
    ratio: float
    cosine: float


@torch.no_grad()
def probe_gradient(optimizer: torch.optim.Optimizer) -> GradientProbe:
    """Look at the gradients that `optimizer` is about to step with; nothing is changed."""
    grads = [
        p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None
    ]
    length = float(norm(grads))
    if not isinstance(optimizer, HasDirections):
        return GradientProbe(length, 1.0, 1.0)
    plain, transformed = optimizer.gradient_directions()
    if all(a is b for a, b in zip(plain, transformed, strict=True)):
        return GradientProbe(length, 1.0, 1.0)
    ratio = float(norm(transformed) / norm(plain))
    return GradientProbe(length, ratio, float(cosine(plain, transformed)))
