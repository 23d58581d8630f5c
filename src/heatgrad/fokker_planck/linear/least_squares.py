"""SGD on least squares, where the noise depends on the weights: its steady state, exactly."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from heatgrad.fokker_planck.linear.checks import positive, vector
from heatgrad.fokker_planck.processes.sgd import batch_share

__all__ = ["LeastSquaresCov", "least_squares_cov"]

_MOST = 80  # parameters; the matrix below has p^4 / 4 entries
_CHUNK = 4_000_000  # entries of the samples' squares that are held at once


@dataclass(frozen=True)
class LeastSquaresCov:
    """The steady state of minibatch SGD on least squares.

    Attributes:
        value: Covariance of the weights, shape (p, p), float64; None where it diverges [param²].
        status: `"stable"`, or `"unstable"` where the second moment grows without bound.
        spectral_radius: Factor by which the slowest part of the second moment shrinks in a step, or
            grows [1].
        minimizer: The weights that it is centred at, shape (p,).
        hessian: H, shape (p, p).
        noise_cov: Covariance of the gradient of one sample at the minimizer, shape (p, p); with H
            it makes the `LinearSGD` which leaves out that the noise depends on the weights.
    """

    value: Float[Tensor, "p p"] | None
    status: Literal["stable", "unstable"]
    spectral_radius: float
    minimizer: Float[Tensor, " p"]
    hessian: Float[Tensor, "p p"]
    noise_cov: Float[Tensor, "p p"]


def least_squares_cov(
    x: Float[Tensor, "samples p"],
    y: Float[Tensor, " samples"],
    *,
    lr: float,
    batch_size: int,
    replacement: bool = True,
) -> LeastSquaresCov:
    r"""Return the exact covariance of SGD on $L = \frac1{2N} \sum_i (x_i^\top \theta - y_i)^2$.

    $$S = E[M S M] + \eta^2 E[g g^\top], \qquad M = I - \eta H_B \tag{F.27}$$

    with the Hessian $H_B$ of a batch and its gradient g at the minimizer. The moments over all
    batches are those over samples, with the share s of (F.5):

    $$E[H_B \otimes H_B] = H \otimes H + s \Bigl(\frac1N \sum_i (x_i x_i^\top) \otimes (x_i
    x_i^\top) - H \otimes H\Bigr), \qquad E[g g^\top] = s \Sigma \tag{F.28}$$

    On symmetric matrices this is a symmetric positive definite system of p (p + 1) / 2 unknowns,
    exactly as long as the second moment converges.

    Args:
        x: Inputs, as many rows as samples, of full column rank; at most 80 columns.
        y: Targets.
        lr: η, positive.
        batch_size: B, at least 1; without replacement at most the number of samples.
        replacement: Whether a sample may come twice in one batch. Each batch is drawn afresh, not
            from an epoch's shuffled order.

    Returns:
        The covariance, in double precision on the CPU, with the status and what it was made from.

    Raises:
        ValueError: If a shape or number is wrong, p is above 80, or x lacks full column rank.

    References:
        Theory page: Eqs. (F.27) and (F.28).

    Example:
        >>> x = torch.tensor([[1.0], [1.0]])
        >>> y = torch.tensor([1.0, -1.0])
        >>> found = least_squares_cov(x, y, lr=0.5, batch_size=1)
        >>> found.status, round(float(found.value), 4), round(found.spectral_radius, 4)
        ('stable', 0.3333, 0.25)
    """
    inputs = torch.as_tensor(x).detach().to("cpu", torch.float64)
    if inputs.dim() != 2 or not inputs.numel():
        raise ValueError(f"x must have shape (samples, p), got {tuple(inputs.shape)}")
    count, p = inputs.shape
    if not bool(torch.isfinite(inputs).all()):
        raise ValueError("x must be finite, got NaN or infinity in it")
    targets = vector("y", y, count)
    eta = positive("lr", lr)
    share = batch_share(count, batch_size, replacement=replacement)
    if p > _MOST:
        raise ValueError(
            f"x must have at most {_MOST} columns, got {p}: the system has p^4 / 4 entries, "
            f"{2e-9 * p**4:.3g} GB; use LinearSGD or an ensemble"
        )
    _check_rank(inputs)

    minimizer = torch.linalg.lstsq(inputs, targets[:, None], driver="gelsd").solution[:, 0]
    slopes = inputs * (inputs @ minimizer - targets)[:, None]
    noise = slopes.T @ slopes / count  # their mean is zero
    hessian = inputs.T @ inputs / count

    system = _system(inputs, hessian, eta, share)
    slowest = float(torch.linalg.eigvalsh(system)[0])
    # Rounding of the system sets what can be told from zero.
    stable = slowest > 1e-14 * float(system.diagonal().max())
    value = _solved(system, eta * share * noise) if stable else None
    return LeastSquaresCov(
        value,
        "stable" if stable else "unstable",
        1 - eta * slowest,
        minimizer,
        hessian,
        noise,
    )


def _system(
    inputs: Float[Tensor, "samples p"], hessian: Float[Tensor, "p p"], lr: float, share: float
) -> Float[Tensor, "half half"]:
    """Return (1 - E[M ⊗ M]) / η on symmetric matrices, in an orthonormal basis of them."""
    count, p = inputs.shape
    rows, columns, scale = _half(p)
    fourth = inputs.new_zeros(len(rows), len(rows))
    size = max(1, _CHUNK // len(rows))
    for start in range(0, count, size):
        part = inputs[start : start + size]
        squares = part[:, rows] * part[:, columns] * scale
        fourth += squares.T @ squares / count
    eye = torch.eye(p, dtype=torch.float64)
    once = _pairs(hessian, eye, rows, columns, scale)
    twice = _pairs(hessian, hessian, rows, columns, scale) / 2
    # Eq. (F.28), and 1 - M ⊗ M = η (H ⊗ 1 + 1 ⊗ H) - η² H_B ⊗ H_B.
    return once - lr * (twice + share * (fourth - twice))


def _half(p: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return where the upper half is, and weights of its entries that keep the inner product."""
    rows, columns = torch.triu_indices(p, p)
    return rows, columns, torch.sqrt(2.0 - (rows == columns).double())


def _pairs(a: Tensor, b: Tensor, rows: Tensor, columns: Tensor, scale: Tensor) -> Tensor:
    """Return the map S -> a S b + b S a on symmetric matrices."""

    def corner(left: Tensor, right: Tensor) -> Tensor:
        return left[rows][:, rows] * right[columns][:, columns]

    def cross(left: Tensor, right: Tensor) -> Tensor:
        return left[rows][:, columns] * right[columns][:, rows]

    whole = corner(a, b) + corner(b, a) + cross(a, b) + cross(b, a)
    return whole * scale[:, None] * scale / 2


def _solved(system: Tensor, right: Tensor) -> Tensor:
    rows, columns, scale = _half(len(right))
    factor = torch.linalg.cholesky(system)
    half = torch.cholesky_solve((right[rows, columns] * scale)[:, None], factor)[:, 0] / scale
    found = torch.zeros_like(right)
    found[rows, columns] = half
    found[columns, rows] = half
    return found


def _check_rank(inputs: Tensor) -> None:
    count, p = inputs.shape
    if count < p:
        raise ValueError(
            f"x must have at least as many rows as columns, got {count} samples of {p}: directions "
            "without data have no steady state; drop columns or project onto x's row space"
        )
    values = torch.linalg.svdvals(inputs)
    if float(values[-1]) <= 1e-15 * count * float(values[0]):
        raise ValueError(
            f"x must have full column rank, got singular values from {float(values[-1]):.3g} to "
            f"{float(values[0]):.3g}: flat directions have no steady state; drop columns or "
            "project onto x's row space"
        )
