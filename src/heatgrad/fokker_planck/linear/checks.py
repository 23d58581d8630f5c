"""What the linear theory asks of its matrices, vectors and numbers."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = [
    "check_kind",
    "covariance",
    "is_symmetric",
    "nonnegative",
    "positive",
    "square",
    "vector",
]


def square(name: str, matrix: Tensor) -> Float[Tensor, "p p"]:
    """Return a finite, square, real matrix in double precision, on the CPU, apart from the caller.

    Raises:
        ValueError: If it is something else.
    """
    found = torch.as_tensor(matrix)
    if found.dim() != 2 or found.shape[0] != found.shape[1] or not found.numel():
        raise ValueError(f"{name} must be a square matrix, got shape {tuple(found.shape)}")
    return _plain(name, found)


def covariance(name: str, matrix: Tensor, dim: int | None = None) -> Float[Tensor, "p p"]:
    """Return a covariance in double precision, made symmetric to the last bit.

    Raises:
        ValueError: If it is not square, of size `dim`, finite, symmetric and positive semidefinite.
    """
    found = square(name, matrix)
    if dim is not None and len(found) != dim:
        raise ValueError(f"{name} must have shape ({dim}, {dim}), got {tuple(found.shape)}")
    kind = torch.as_tensor(matrix).dtype
    slack = 1e3 * torch.finfo(kind if kind.is_floating_point else torch.float64).eps
    scale = float(found.abs().max())
    gap = float((found - found.T).abs().max())
    if gap > slack * scale:
        raise ValueError(
            f"{name} must be symmetric, got entries that differ by {gap:.3g}; give (C + C') / 2"
        )
    found = (found + found.T) / 2
    smallest = float(torch.linalg.eigvalsh(found)[0])
    if smallest < -slack * scale:
        raise ValueError(
            f"{name} must be positive semidefinite, got an eigenvalue of {smallest:.3g}"
        )
    return found


def vector(name: str, values: Tensor, dim: int) -> Float[Tensor, " p"]:
    """Return a finite vector of `dim` numbers in double precision, on the CPU.

    Raises:
        ValueError: If it is something else.
    """
    found = torch.as_tensor(values)
    if found.shape != (dim,):
        raise ValueError(f"{name} must have shape ({dim},), got {tuple(found.shape)}")
    return _plain(name, found)


def positive(name: str, value: float) -> float:
    """Return a positive, finite number.

    Raises:
        ValueError: If it is something else.
    """
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{name} must be positive and finite, got {value!r}")
    return float(value)


def nonnegative(name: str, value: float) -> float:
    """Return a finite number of at least 0.

    Raises:
        ValueError: If it is something else.
    """
    if not (math.isfinite(value) and value >= 0):
        raise ValueError(f"{name} must be at least 0 and finite, got {value!r}")
    return float(value)


def check_kind(kind: str) -> None:
    """Refuse what is neither the diffusion nor the recursion.

    Raises:
        ValueError: With the choices.
    """
    if kind not in ("sde", "sgd"):
        raise ValueError(f"kind must be 'sde' or 'sgd', got {kind!r}")


def is_symmetric(matrix: Float[Tensor, "p p"]) -> bool:
    """Whether a matrix is symmetric but for rounding."""
    return bool((matrix - matrix.T).abs().max() <= 1e-13 * matrix.abs().max())


def _plain(name: str, found: Tensor) -> Tensor:
    if found.is_complex():
        raise ValueError(f"{name} must be real, got {found.dtype}")
    found = found.detach().to("cpu", torch.float64, copy=True)
    if not bool(torch.isfinite(found).all()):
        raise ValueError(f"{name} must be finite, got NaN or infinity in it")
    return found
