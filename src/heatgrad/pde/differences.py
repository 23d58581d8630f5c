"""Fourth-order differences on nodes, and norms of what they leave over."""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from heatgrad.laplacian import Laplacian
from heatgrad.pde.dirichlet import inside, with_zero_border

__all__ = ["dual_norm", "fourth_order_laplacian", "l2_norm", "linear_residual"]

_MIDDLE = (-1 / 12, 4 / 3, -5 / 2, 4 / 3, -1 / 12)
_EDGE = (10 / 12, -15 / 12, -4 / 12, 14 / 12, -6 / 12, 1 / 12)  # at the first node from the border


def fourth_order_laplacian(u: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch m m"]:
    r"""Return the Laplacian at the inner nodes, of fourth order up to the border.

    $$h^2 u''_j \approx -\tfrac1{12} u_{j-2} + \tfrac43 u_{j-1} - \tfrac52 u_j + \tfrac43 u_{j+1}
    - \tfrac1{12} u_{j+2}, \tag{P.5}$$

    and at j = 1 the one-sided formula (10, -15, -4, 14, -6, 1) / 12 of nodes 0 to 5.

    Args:
        u: Values on n x n nodes, border included, n at least 6 [field].

    Returns:
        At the n - 2 inner nodes a side [field / length^2].

    Raises:
        ValueError: If n is below 6.

    References:
        Theory page: Eq. (P.5).

    Example:
        >>> x = torch.linspace(0, 1, 7, dtype=torch.float64)
        >>> found = fourth_order_laplacian((x**4)[:, None] + 0 * x)
        >>> torch.allclose(found, 12 * (x[1:-1] ** 2)[:, None] + 0 * x[1:-1])
        True
    """
    if u.shape[-1] < 6:
        raise ValueError(f"fourth-order differences need at least 6 nodes, got {u.shape[-1]}")
    along_y = _second(u)[..., 1:-1, :]
    along_x = _second(u.mT)[..., 1:-1, :].mT
    return (along_x + along_y) * (u.shape[-1] - 1) ** 2


def _second(u: Tensor) -> Tensor:
    """Return h^2 u'' along the last axis, at its inner points."""
    n = u.shape[-1]
    middle = sum(w * u[..., j : n - 4 + j] for j, w in enumerate(_MIDDLE))
    first = sum(w * u[..., j : j + 1] for j, w in enumerate(_EDGE))
    last = sum(w * u[..., n - 1 - j : n - j] for j, w in enumerate(_EDGE))
    return torch.cat([torch.as_tensor(part) for part in (first, middle, last)], -1)


def l2_norm(r: Float[Tensor, "num m m"]) -> Float[Tensor, " num"]:
    """Return the root of the sum of squares of each field.

    Example:
        >>> l2_norm(torch.full((1, 2, 2), 2.0)).tolist()
        [4.0]
    """
    norm: Tensor = torch.linalg.vector_norm(r.flatten(1), dim=1)
    return norm


def dual_norm(r: Float[Tensor, "num m m"]) -> Float[Tensor, " num"]:
    r"""Return the $H^{-1}$ norm of values at inner nodes: what a residual does to a solution.

    $$\|r\|_{-1}^2 = \sum_k \frac{\hat r_k^2}{\pi^2 |k|^2}, \tag{P.7}$$

    with the orthonormal sine coefficients of r. Where $r = \operatorname{Lap} u - a$ this is the
    error of u in the energy norm: $\|r\|_{-1} = \|\nabla (u - u^*)\|$.

    Args:
        r: Values at the m inner nodes a side.

    Returns:
        One number a field, up to the factor h of a sum for an integral.

    References:
        Theory page: Eq. (P.7).

    Example:
        >>> round(dual_norm(torch.ones(1, 1, 1)).item() * math.pi * math.sqrt(2), 6)
        1.0
    """
    k = torch.arange(1, r.shape[-1] + 1, dtype=r.dtype, device=r.device)
    symbol = math.pi**2 * (k[:, None] ** 2 + k**2)
    coefficients = Laplacian(dims=(-2, -1), boundary="dirichlet").transform(r)
    return l2_norm(coefficients * symbol.rsqrt())


def linear_residual(
    a: Float[Tensor, "num n n"],
    u: Float[Tensor, "num n n"],
    shift: float,
    norm: Callable[[Tensor], Tensor],
) -> Float[Tensor, " num"]:
    r"""Return $\|\operatorname{Lap}_4 u + \text{shift}\, u - a\| / \|a\|$ at the inner nodes.

    The larger of two: with u on the border as it is, and with 0 there. The first is blind to a
    harmonic function added to u, the second to what stands on the border alone.

    Args:
        a: Right-hand side.
        u: Solution.
        shift: 0 for Poisson, k^2 for Helmholtz.
        norm: `dual_norm` or `l2_norm`.

    References:
        Theory page: Eq. (P.8).

    Example:
        >>> a, u = torch.ones(1, 9, 9), torch.zeros(1, 9, 9)
        >>> linear_residual(a, u, 0.0, l2_norm).item()
        1.0
    """

    def left_over(v: Tensor) -> Tensor:
        return norm(fourth_order_laplacian(v) + shift * inside(v) - inside(a))

    return torch.maximum(left_over(u), left_over(with_zero_border(u))) / norm(inside(a))
