"""The 5-point Laplacian with zero border on nodes, solved by fast sine transforms."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

from heatgrad.laplacian import Laplacian

__all__ = ["dirichlet_symbol", "inside", "solve_dirichlet", "with_zero_border"]

_LAPLACIAN = Laplacian(dims=(-2, -1), boundary="dirichlet")


def inside(field: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch m m"]:
    """Return the values at the inner nodes.

    Example:
        >>> inside(torch.arange(9.0).reshape(3, 3)).tolist()
        [[4.0]]
    """
    return field[..., 1:-1, 1:-1]


def with_zero_border(field: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch n n"]:
    """Return the field with 0 on the border.

    Example:
        >>> with_zero_border(torch.ones(3, 3)).sum().item()
        1.0
    """
    return pad(inside(field), (1, 1, 1, 1))


def dirichlet_symbol(
    n: int, *, dtype: torch.dtype = torch.float64, device: torch.device | str | None = None
) -> Float[Tensor, "m m"]:
    r"""Return the eigenvalues of the 5-point Laplacian on the inner nodes of n x n.

    $$\mu_k^h = -\frac{4}{h^2} \sum_i \sin^2 \frac{\pi k_i h}{2}, \qquad h = \frac{1}{n-1},
    \quad k_i = 1, \dots, n-2. \tag{P.4}$$

    Args:
        n: Nodes a side, at least 3.
        dtype: Floating-point type of the result.
        device: Where it lies.

    Returns:
        Shape (n - 2, n - 2), negative [1 / length^2].

    Example:
        >>> dirichlet_symbol(3).round(decimals=6).tolist()
        [[-16.0]]
    """
    size = (n - 2, n - 2)
    return _LAPLACIAN.eigenvalues(size, dtype=dtype, device=device) * (n - 1) ** 2


def solve_dirichlet(
    a: Float[Tensor, "*batch n n"], shift: float = 0.0
) -> Float[Tensor, "*batch n n"]:
    r"""Return the u with $\operatorname{Lap}_h u + \text{shift}\, u = a$ inside, 0 on the border.

    Two fast transforms; the operator is symmetric, so autograd's adjoint is one more solve. Only
    inner values of `a` matter.

    Args:
        a: Right-hand side on n x n nodes [field / length^2].
        shift: Added to the Laplacian; minus it must be no eigenvalue, see `Helmholtz`.

    Returns:
        Of the shape, type and device of `a` [field].

    References:
        Theory page: Eqs. (P.3), (P.4), (P.6).

    Example:
        >>> solve_dirichlet(torch.full((3, 3), -16.0)).tolist()
        [[0.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]
    """
    symbol = dirichlet_symbol(a.shape[-1], dtype=a.dtype, device=a.device) + shift
    u = _LAPLACIAN.inverse_transform(_LAPLACIAN.transform(inside(a)) / symbol)
    return pad(u, (1, 1, 1, 1))
