"""Covariances of linear processes: Lyapunov's equation, Stein's, and the way there in time."""

import math

import scipy.linalg
import torch
from jaxtyping import Float
from torch import Tensor

from heatgrad.fokker_planck.linear.checks import is_symmetric

__all__ = ["gramian", "lyapunov", "stein"]


def lyapunov(drift: Float[Tensor, "p p"], noise: Float[Tensor, "p p"]) -> Float[Tensor, "p p"]:
    r"""Return the stationary covariance of $dX = -H X\,dt + \sqrt{2 D}\,dW$.

    $$H S + S H^\top = 2 D, \qquad
    S_{ij} = \frac{2 D_{ij}}{\lambda_i + \lambda_j} \;\text{in the eigenbasis of a symmetric } H
    \tag{F.11}$$

    by the second formula where H is symmetric, else by the method of Bartels and Stewart.

    Args:
        drift: H, every eigenvalue with positive real part, float64 [1 / time].
        noise: 2 D, symmetric, float64 [param² / time].

    Returns:
        S, symmetric [param²].

    Example:
        >>> lyapunov(torch.eye(1), torch.eye(1))
        tensor([[0.5000]])
    """
    if is_symmetric(drift):
        values, vectors = torch.linalg.eigh((drift + drift.T) / 2)
        inner = vectors.T @ noise @ vectors
        return _symmetric(vectors @ (inner / (values[:, None] + values)) @ vectors.T)
    found = scipy.linalg.solve_continuous_lyapunov(drift.numpy(), noise.numpy())
    return _symmetric(torch.from_numpy(found))


def stein(
    drift: Float[Tensor, "p p"], noise: Float[Tensor, "p p"], step: float
) -> Float[Tensor, "p p"]:
    r"""Return the stationary covariance of a linear recursion with steps of size h.

    $$S = (I - h H) S (I - h H)^\top + 2 h D, \qquad
    S_{ij} = \frac{2 D_{ij}}{\lambda_i + \lambda_j - h \lambda_i \lambda_j} \tag{F.12}$$

    the latter in the eigenbasis of a symmetric H. Otherwise Cayley's transform makes it (F.11):
    with $C = I - h H / 2$, $(C^{-1} H) S + S (C^{-1} H)^\top = C^{-1}\, 2 D\, C^{-\top}$. Nothing
    cancels as h -> 0.

    Args:
        drift: H; every eigenvalue of I - h H must lie inside the unit circle, float64 [1 / time].
        noise: 2 D, the noise of a step over h, symmetric, float64 [param² / time].
        step: h, positive [time].

    Returns:
        S, symmetric [param²].

    Example:
        >>> stein(torch.eye(1), torch.eye(1), 0.5)
        tensor([[0.6667]])
    """
    if is_symmetric(drift):
        values, vectors = torch.linalg.eigh((drift + drift.T) / 2)
        inner = vectors.T @ noise @ vectors
        sums = values[:, None] + values - step * values[:, None] * values
        return _symmetric(vectors @ (inner / sums) @ vectors.T)
    half = torch.eye(len(drift), dtype=drift.dtype) - step / 2 * drift
    left = torch.linalg.solve(half, noise)
    return lyapunov(torch.linalg.solve(half, drift), torch.linalg.solve(half, left.T))


def gramian(
    drift: Float[Tensor, "p p"], noise: Float[Tensor, "p p"], t: float
) -> tuple[Float[Tensor, "p p"], Float[Tensor, "p p"]]:
    r"""Return how a linear diffusion forgets its start, and what noise it gathers meanwhile.

    $$E_t = e^{-H t}, \qquad Q_t = \int_0^t e^{-H s}\, 2 D\, e^{-H^\top s}\,ds, \qquad
    Q_{2 t} = Q_t + E_t Q_t E_t^\top \tag{F.13}$$

    Van Loan's block exponential gives a short time, doubling the rest: only positive matrices are
    added, so that a covariance which has barely spread keeps its digits.

    Args:
        drift: H, float64 [1 / time].
        noise: 2 D, float64 [param² / time].
        t: At least 0 [time].

    Returns:
        E and Q.

    References:
        Van Loan (1978), IEEE Trans. Automatic Control 23(3).

    Example:
        >>> gramian(torch.eye(1), 2 * torch.eye(1), 50.0)[1]
        tensor([[1.]])
    """
    size = float(torch.linalg.matrix_norm(drift, 1)) * t
    doublings = max(0, math.ceil(math.log2(size))) if size > 0 else 0
    zeros = torch.zeros_like(drift)
    scale = float(noise.abs().max()) or 1.0  # of its own, lest it set that of the exponential
    block = torch.cat([torch.cat([-drift, noise / scale], 1), torch.cat([zeros, drift.T], 1)])
    both = torch.linalg.matrix_exp(block * (t / 2**doublings))
    p = len(drift)
    forget = both[:p, :p]
    gathered = scale * both[:p, p:] @ forget.T
    for _ in range(doublings):
        gathered = gathered + forget @ gathered @ forget.T
        forget = forget @ forget
    return forget, _symmetric(gathered)


def _symmetric(matrix: Tensor) -> Tensor:
    return (matrix + matrix.T) / 2
