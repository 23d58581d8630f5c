"""Square roots of many diffusion matrices at once, NaN where there is none."""

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["matrix_root"]


def matrix_root(matrices: Float[Tensor, "n p p"]) -> Float[Tensor, "n p p"]:
    r"""Return F with F F' = D for each matrix; F has a column of NaN where D is no diffusion.

    $F = V \sqrt{\Lambda}$, from the eigenvectors and eigenvalues of D. There is none where D is not
    finite, not symmetric, or has a negative eigenvalue, beyond rounding: by more than
    $\epsilon^{2/3}$ of the largest eigenvalue, or 10 p ε where that is more.

    Args:
        matrices: D [param² / time].

    Example:
        >>> D = torch.tensor([[[4.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [0.0, -1.0]]])
        >>> F = matrix_root(D)
        >>> (F @ F.mT).round(decimals=3).tolist()
        [[[4.0, 0.0], [0.0, 1.0]], [[nan, nan], [nan, nan]]]
    """
    p = matrices.shape[-1]
    if p == 1:
        return matrices.sqrt()
    eps = torch.finfo(matrices.dtype).eps
    try:
        values, vectors = torch.linalg.eigh(matrices)
    except RuntimeError:  # as it says of numbers that are not finite
        is_finite = torch.isfinite(matrices).flatten(1).all(1)
        values, vectors = torch.linalg.eigh(matrices.where(is_finite[:, None, None], 0.0))
    # eigh reads one triangle only. Any entry that is not finite makes this product NaN.
    skew = (matrices.flatten(1) @ _skew(p, matrices)).abs()
    lowest = values[:, 0]
    slack = max(eps ** (2 / 3), 10 * p * eps) * torch.maximum(values[:, -1], -lowest)
    is_root = (skew <= p * slack) & (lowest >= -slack)
    scales = values.clamp(min=0).sqrt()
    scales[:, 0] = scales[:, 0].where(is_root, torch.nan)
    root: Tensor = vectors * scales.unsqueeze(1)
    return root


def _skew(p: int, like: Tensor) -> Float[Tensor, " entries"]:
    """Return an antisymmetric matrix, as a vector, that only special others are orthogonal to.

    Its product with a matrix tells whether that is symmetric, in one pass and without a copy.
    """
    upper = torch.arange(1.0, p**2 + 1, dtype=like.dtype, device=like.device).sqrt()
    upper = (upper.reshape(p, p) / p).triu(1)
    return (upper - upper.T).flatten()
