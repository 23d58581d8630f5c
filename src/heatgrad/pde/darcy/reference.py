"""The same equations by sparse LU, one medium at a time: what the fast solver is tested against."""

import numpy as np
import torch
from jaxtyping import Float
from scipy import sparse
from scipy.sparse.linalg import splu
from torch import Tensor

from heatgrad.pde.darcy.faces import FaceMean, face_means

__all__ = ["darcy_matrix", "solve_directly"]


def darcy_matrix(a: Float[Tensor, "n n"], mean: FaceMean = "arithmetic") -> sparse.csc_matrix:
    r"""Return the matrix of $-\nabla_h \cdot (a \nabla_h u)$ on the inner nodes, row by row.

    References:
        Theory page: Eqs. (P.10), (P.11).

    Example:
        >>> darcy_matrix(torch.ones(3, 3)).toarray().tolist()
        [[16.0]]
    """
    n = a.shape[-1]
    across_x, across_y = (c.double().numpy(force=True) for c in face_means(a, mean))
    slope = sparse.diags([1.0, -1.0], [0, -1], shape=(n - 1, n - 2))
    keep = sparse.identity(n - 2)
    by_x, by_y = sparse.kron(slope, keep), sparse.kron(keep, slope)
    matrix = by_x.T @ sparse.diags(across_x.ravel()) @ by_x
    matrix = matrix + by_y.T @ sparse.diags(across_y.ravel()) @ by_y
    return sparse.csc_matrix(matrix * (n - 1) ** 2)


def solve_directly(
    a: Float[Tensor, "n n"], f: Float[Tensor, "n n"], mean: FaceMean = "arithmetic"
) -> Float[Tensor, "n n"]:
    r"""Return the u with $-\nabla_h \cdot (a \nabla_h u) = f$ inside and 0 on the border, by LU.

    Args:
        a: Conductivity of one medium, positive.
        f: Right-hand side; its border does not matter.
        mean: Of the faces.

    Returns:
        Float64, on the CPU.

    References:
        Theory page: Eq. (P.10).

    Example:
        >>> solve_directly(torch.ones(3, 3), torch.full((3, 3), 16.0))[1].tolist()
        [0.0, 1.0, 0.0]
    """
    n = a.shape[-1]
    right = f[1:-1, 1:-1].double().numpy(force=True).ravel()
    u = np.zeros((n, n))
    u[1:-1, 1:-1] = splu(darcy_matrix(a, mean)).solve(right).reshape(n - 2, n - 2)
    return torch.from_numpy(u)
