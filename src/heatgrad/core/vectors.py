"""Algebra on parameter vectors that stay a list of tensors: nothing is concatenated."""

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["cosine", "dot", "norm"]


def dot(a: Sequence[Tensor], b: Sequence[Tensor]) -> Tensor:
    """Return the real inner product of two vectors held as lists of tensors.

    Complex entries count as pairs of reals. Products of half types are taken in float32, where
    they are exact (in float16 the square of 256 would overflow); sums are taken in float64.

    Args:
        a: Tensors of any shapes.
        b: Tensors of the same shapes.

    Returns:
        A 0-d float64 tensor on the device of the first tensor (the CPU if there is none).

    Example:
        >>> dot([torch.ones(2, 2), torch.ones(1)], [torch.ones(2, 2), torch.ones(1)]).item()
        5.0
    """
    if not a:
        return torch.zeros((), dtype=torch.float64)
    device = a[0].device
    parts = [
        (_widen(x).conj() * _widen(y)).real.sum(dtype=torch.float64).to(device)
        for x, y in zip(a, b, strict=True)
    ]
    return torch.stack(parts).sum()


def norm(a: Sequence[Tensor]) -> Tensor:
    """Return the Euclidean norm of a vector held as a list of tensors, as a 0-d float64 tensor.

    Half types are measured in float32. Differentiable, with the subgradient 0 at zero.
    """
    if not a:
        return torch.zeros((), dtype=torch.float64)
    pieces = [piece for x in a for piece in _pieces(_widen(x))]
    norms = [value.to(a[0].device) for value in torch._foreach_norm(pieces)]
    total: Tensor = torch.linalg.vector_norm(torch.stack(norms).double())
    return total


def cosine(a: Sequence[Tensor], b: Sequence[Tensor]) -> Tensor:
    """Return the cosine of the angle between two vectors; NaN if either is zero."""
    return dot(a, b) / (norm(a) * norm(b))


def _widen(x: Tensor) -> Tensor:
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def _pieces(x: Tensor) -> Sequence[Tensor]:
    # torch adds the squares of a float32 tensor in float32: over 2e7 normal elements on a CPU
    # the norm is off by 1e-3, in pieces of this size by 2e-7 (5e-6 if all are equal).
    return torch.split(x.reshape(-1), 65536) if x.numel() > 65536 else [x]
