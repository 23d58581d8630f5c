"""How the noise of the gradient lies to the curvature of the loss."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from heatgrad.core.random import stream_generator

__all__ = ["Alignment", "RowProduct", "align", "subspace_overlap"]

RowProduct = Callable[[Tensor], Tensor]  # H times each row, shape (rows, p) to the same


@dataclass(frozen=True, eq=False)
class Alignment:
    r"""Noise and curvature together.

    $$\mu = \frac{\operatorname{tr}(H \Sigma) / \operatorname{tr} \Sigma}
    {\operatorname{tr} H / p}, \qquad \cos = \frac{\operatorname{tr}(H \Sigma)}
    {\|H\|_F \|\Sigma\|_F} \tag{F.95}$$

    μ is 1 for isotropic noise, above 1 where the noise lies in curved directions. Estimates come
    with the standard error over the random vectors, zero where nothing was left to chance.

    Attributes:
        eigenvalues: λ of the noise directions that were taken, largest first.
        curvatures: v . H v along each of them.
        product_trace: tr(H Σ).
        product_error: Its standard error.
        hessian_trace: tr H.
        hessian_error: Its standard error.
        hessian_norm: Frobenius norm of H.
        noise_trace: tr Σ.
        noise_norm: Frobenius norm of Σ.
        size: p.
        overlap: Of the leading eigenspaces, Eq. (F.97); None if none of H were given.
        chance: What the overlap is on average for random subspaces; None likewise.
    """

    eigenvalues: Float[Tensor, " rows"]
    curvatures: Float[Tensor, " rows"]
    product_trace: float
    product_error: float
    hessian_trace: float
    hessian_error: float
    hessian_norm: float
    noise_trace: float
    noise_norm: float
    size: int
    overlap: float | None
    chance: float | None

    @property
    def noise_curvature(self) -> float:
        """Mean curvature in the directions of the noise, tr(H Σ) / tr Σ; NaN without noise."""
        return self.product_trace / self.noise_trace if self.noise_trace else math.nan

    @property
    def ratio(self) -> float:
        """The ratio μ; NaN where tr H is not positive."""
        mean = self.hessian_trace / self.size
        return self.noise_curvature / mean if mean > 0 else math.nan

    @property
    def cosine(self) -> float:
        """The cosine between the two matrices; NaN if either is zero."""
        size = self.hessian_norm * self.noise_norm
        return self.product_trace / size if size else math.nan


def align(
    hvp: RowProduct,
    *,
    eigenvalues: Float[Tensor, " rank"],
    weights: Float[Tensor, "rank n"],
    lift: Callable[[Tensor], Tensor],
    dtype: torch.dtype,
    noise_square: float,
    size: int,
    directions: int,
    draws: int,
    hessian_vectors: Float[Tensor, "rows p"] | None,
    seed: int,
) -> Alignment:
    r"""Return the alignment of a Hessian with noise whose eigenvectors can be lifted.

    $$\operatorname{tr}(H \Sigma) = \sum_{i \le k} \lambda_i\, v_i \cdot H v_i + E[q \cdot H q],
    \qquad q = \sum_{i > k} \sqrt{\lambda_i}\, z_i v_i, \; z_i = \pm 1 \tag{F.96}$$

    Args:
        hvp: Product of H with rows.
        eigenvalues: All λ of Σ that are not zero, largest first.
        weights: Combinations of centred gradients that are the eigenvectors.
        lift: From combinations to vectors of parameters.
        dtype: Of the vectors that `hvp` is given.
        noise_square: Squared Frobenius norm of Σ.
        size: p.
        directions: k, at least 0; no more than there are eigenvalues are taken.
        draws: Vectors z, at least 2.
        hessian_vectors: Rows that span a subspace to be compared.
        seed: Of the random vectors.

    Raises:
        ValueError: If a number is out of range, or a product of the wrong shape or not finite.
    """
    if directions < 0 or draws < 2:
        raise ValueError(
            f"directions must be at least 0 and draws at least 2, got {directions} and {draws}"
        )
    rank = len(eigenvalues)
    top = min(directions, rank)
    stream = stream_generator(seed, "alignment")
    rest = torch.zeros(0, weights.shape[1], dtype=weights.dtype)
    if rank - top > draws:
        scaled = weights[top:] * eigenvalues[top:, None].sqrt()
        rest = _signs(draws, rank - top, stream) @ scaled
    elif rank > top:  # no more products than random vectors would take
        rest = weights[top:] * eigenvalues[top:, None].sqrt()
    rows = lift(torch.cat([weights[:top], rest])).to(dtype)
    products = _checked(hvp, rows)
    inner = (rows.double() * products.double()).sum(1).cpu()
    curvatures, others = inner[:top], inner[top:]
    is_drawn = rank - top > draws
    left = float(others.mean() if is_drawn else others.sum()) if len(others) else 0.0
    trace, trace_error, norm = _size_of(hvp, size, draws, rows, stream)
    overlap = chance = None
    if hessian_vectors is not None and top:
        overlap = subspace_overlap(rows[:top], hessian_vectors.to(rows))
        chance = max(top, len(hessian_vectors)) / size
    return Alignment(
        eigenvalues=eigenvalues[:top],
        curvatures=curvatures,
        product_trace=float(eigenvalues[:top] @ curvatures) + left,
        product_error=_error(others) if is_drawn else 0.0,
        hessian_trace=trace,
        hessian_error=trace_error,
        hessian_norm=norm,
        noise_trace=float(eigenvalues.sum()),
        noise_norm=math.sqrt(noise_square),
        size=size,
        overlap=overlap,
        chance=chance,
    )


def _size_of(
    hvp: RowProduct, size: int, draws: int, like: Tensor, stream: torch.Generator
) -> tuple[float, float, float]:
    """Return trace, its error and Frobenius norm of H: by all of a basis if that is no more."""
    is_exact = size <= draws
    rows = torch.eye(size, dtype=torch.float64) if is_exact else _signs(draws, size, stream)
    rows = rows.to(like)
    products = _checked(hvp, rows).double()
    inner, squares = (rows.double() * products).sum(1).cpu(), (products**2).sum(1).cpu()
    if is_exact:
        return float(inner.sum()), 0.0, math.sqrt(float(squares.sum()))
    return float(inner.mean()), _error(inner), math.sqrt(float(squares.mean()))


def subspace_overlap(a: Float[Tensor, "m p"], b: Float[Tensor, "k p"]) -> float:
    r"""Return how much two subspaces, spanned by rows, have in common.

    $$\frac{\|A B^\top\|_F^2}{\min(m, k)} \in [0, 1], \quad A, B \text{ with orthonormal rows}
    \tag{F.97}$$

    Example:
        >>> rows = torch.eye(3)
        >>> subspace_overlap(rows[:2], 5 * rows[1:])
        0.5
    """
    if a.shape[1] != b.shape[1] or not (len(a) and len(b)):
        raise ValueError(
            f"subspaces must be rows of one length, got {tuple(a.shape)} and {tuple(b.shape)}"
        )
    left, right = (torch.linalg.qr(part.double().T)[0] for part in (a, b))
    return float(((left.T @ right) ** 2).sum()) / min(len(a), len(b))


def _checked(hvp: RowProduct, rows: Tensor) -> Tensor:
    if not len(rows):
        return rows
    found = hvp(rows)
    if not isinstance(found, Tensor) or found.shape != rows.shape:
        got = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise ValueError(
            f"hvp must return rows of shape {tuple(rows.shape)}, as it was given, got {got}"
        )
    if not bool(torch.isfinite(found).all()):
        raise ValueError("hvp must return finite products, got NaN or infinity")
    return found.detach()


def _signs(rows: int, columns: int, stream: torch.Generator) -> Tensor:
    return torch.randint(0, 2, (rows, columns), generator=stream).double() * 2 - 1


def _error(values: Tensor) -> float:
    return float(values.std() / math.sqrt(len(values)))
