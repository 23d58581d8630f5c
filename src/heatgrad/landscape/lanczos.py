"""Lanczos' method with full re-orthogonalisation, for several starts at once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import eigh_tridiagonal
from torch import Tensor

__all__ = ["Krylov", "lanczos"]


@dataclass(frozen=True)
class Krylov:
    r"""What Lanczos' method finds from one start.

    Attributes:
        nodes: Ritz values, ascending, shape (steps,).
        weights: Squared first components of the eigenvectors of the tridiagonal matrix, which
            sum to 1, shape (steps,).
        residuals: $|H q - \theta q|$ of the smallest and of the largest Ritz pair, q of length 1,
            by a product of its own.
    """

    nodes: NDArray[np.float64]
    weights: NDArray[np.float64]
    residuals: tuple[float, float]


def lanczos(product: Callable[[Tensor], Tensor], starts: Tensor, steps: int) -> list[Krylov]:
    r"""Return the Ritz values of a symmetric map from each start.

    $$H q_k = \beta_{k-1} q_{k-1} + \alpha_k q_k + \beta_k q_{k+1} \tag{G.6}$$

    with each new vector made orthogonal, twice, to all before it. A start whose vectors span an
    invariant space ends there, with fewer nodes.

    Args:
        product: Rows to rows, shape (count, size).
        starts: Rows, not zero, shape (count, size); the basis is kept in their type.
        steps: Products with each start, at least 1.

    References:
        Golub and Meurant (2010), Matrices, Moments and Quadrature with Applications.
    """
    count, size = starts.shape
    steps = min(steps, size)
    basis = starts.new_zeros(count, steps, size)
    basis[:, 0] = starts / torch.linalg.vector_norm(starts, dim=1, keepdim=True)
    alphas = np.zeros((count, steps))
    betas = np.zeros((count, steps))
    ends = np.full(count, steps)
    for k in range(steps):
        found = product(basis[:, k])
        if not torch.isfinite(found).all():
            raise ValueError("the Hessian of the loss must be finite, got NaN or infinity in it")
        alphas[:, k] = (found.double() * basis[:, k].double()).sum(1).cpu().numpy()
        for _ in range(2):
            inner = torch.einsum("nkd,nd->nk", basis[:, : k + 1], found)
            found = found - torch.einsum("nkd,nk->nd", basis[:, : k + 1], inner)
        lengths = torch.linalg.vector_norm(found, dim=1, dtype=torch.float64)
        betas[:, k] = lengths.cpu().numpy()
        scale = np.abs(alphas[:, : k + 1]).max(axis=1) + betas[:, : k + 1].max(axis=1)
        tiny = torch.finfo(starts.dtype).eps * scale * np.sqrt(size)
        ends = np.where((betas[:, k] <= tiny) & (ends == steps), k + 1, ends)
        if k + 1 < steps:
            safe = torch.where(lengths > 0, lengths, torch.ones_like(lengths))
            basis[:, k + 1] = found / safe.unsqueeze(1).to(found.dtype)
        if (ends <= k + 1).all():
            break
    pairs = [
        eigh_tridiagonal(a[:end], b[: end - 1])
        for a, b, end in zip(alphas, betas, ends, strict=True)
    ]
    residuals = np.stack([_residuals(product, basis, pairs, place) for place in (0, -1)], axis=1)
    return [
        Krylov(nodes, vectors[0] ** 2, (float(low), float(high)))
        for (nodes, vectors), (low, high) in zip(pairs, residuals, strict=True)
    ]


def _residuals(
    product: Callable[[Tensor], Tensor],
    basis: Tensor,
    pairs: Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]],
    place: int,
) -> NDArray[np.float64]:
    """Return each start's residual of a Ritz pair, by one more product: rounding is in it."""
    rows = basis.new_zeros(len(pairs), basis.shape[2])
    for row, (_, vectors) in enumerate(pairs):
        shares = torch.from_numpy(vectors[:, place].copy()).to(basis)
        rows[row] = shares @ basis[row, : len(shares)]
    rows = rows / torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    values = torch.tensor([float(nodes[place]) for nodes, _ in pairs], dtype=torch.float64)
    apart = product(rows).double() - values.to(rows.device).unsqueeze(1) * rows.double()
    lengths: NDArray[np.float64] = torch.linalg.vector_norm(apart, dim=1).cpu().numpy()
    return lengths
