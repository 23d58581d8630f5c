"""How far a parameter may be moved: in its own units, or in those of its filter or its size."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

__all__ = ["Scale", "filter_lengths", "scales_of"]

Scale = Literal["raw", "filter", "element"]


def filter_lengths(param: Tensor) -> Tensor:
    """Return the length of each row of a weight, shape (rows, 1, ...), which broadcasts to it."""
    lengths: Tensor = torch.linalg.vector_norm(param.detach().flatten(1), dim=1)
    return lengths.view(-1, *[1] * (param.dim() - 1))


def scales_of(params: Sequence[Tensor], scale: Scale, *, vectors: bool = False) -> list[Tensor]:
    r"""Return the diagonal T of a perturbation $T z$, one tensor for each parameter.

    `"raw"`: 1. `"filter"`: $|w_f|$ for the elements of row f of a weight. `"element"`:
    $|\theta_i|$.

    What batch normalisation undoes, the scale of a row of weights before it, changes nothing in
    the last two. What ReLU undoes, a factor of a unit that the next layer takes back, changes
    nothing in the last.

    Args:
        params: The parameters θ.
        scale: One of the three.
        vectors: Whether `"filter"` moves biases and the scales and shifts of normalisations, by
            the length of the whole vector; unless asked for they stay where they are.

    Raises:
        ValueError: If there is no such scale.
    """
    if scale == "raw":
        return [torch.ones_like(param) for param in params]
    if scale == "element":
        return [param.detach().abs() for param in params]
    if scale == "filter":
        return [_by_filter(param, vectors) for param in params]
    raise ValueError(f"scale must be one of raw, filter, element, got {scale!r}")


def _by_filter(param: Tensor, vectors: bool) -> Tensor:
    if param.dim() >= 2:
        return filter_lengths(param).expand_as(param).clone()
    size = torch.linalg.vector_norm(param.detach()) if vectors else 0.0
    return torch.ones_like(param) * size
