"""The weak residual of a flow through a medium, by bilinear finite elements."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from heatgrad.laplacian import Laplacian
from heatgrad.pde.differences import l2_norm

__all__ = ["element_form", "energy_dual_norm"]

_GAUSS = (0.5 - math.sqrt(1 / 12), 0.5 + math.sqrt(1 / 12))


def element_form(
    a: Float[Tensor, "*batch n n"], u: Float[Tensor, "*batch n n"]
) -> Float[Tensor, "*batch m m"]:
    r"""Return $\int a \nabla u \cdot \nabla \varphi_i$ for each inner node's bilinear hat.

    Both a and u are bilinear in each cell; 2 x 2 Gauss points.

    References:
        Theory page: Eq. (P.15).

    Example:
        >>> hat = torch.nn.functional.pad(torch.ones(1, 1), (1, 1, 1, 1))
        >>> round(element_form(torch.ones(3, 3), hat).item(), 6)  # 8/3, where 5 points have 4
        2.666667
    """
    n = u.shape[-1]
    total = torch.zeros_like(u)
    corners = [(i, j) for i in (0, 1) for j in (0, 1)]

    def cells(field: Tensor, i: int, j: int) -> Tensor:
        return field[..., i : n - 1 + i, j : n - 1 + j]

    for s in _GAUSS:
        for t in _GAUSS:
            shape = {(i, j): (s if i else 1 - s) * (t if j else 1 - t) for i, j in corners}
            by_x = {(i, j): (1 if i else -1) * (t if j else 1 - t) for i, j in corners}
            by_y = {(i, j): (s if i else 1 - s) * (1 if j else -1) for i, j in corners}
            conductivity = sum(shape[c] * cells(a, *c) for c in corners)
            flux_x = conductivity * sum(by_x[c] * cells(u, *c) for c in corners)
            flux_y = conductivity * sum(by_y[c] * cells(u, *c) for c in corners)
            for c in corners:
                part = (by_x[c] * flux_x + by_y[c] * flux_y) / 4
                cells(total, *c).add_(part)
    return total[..., 1:-1, 1:-1]


def energy_dual_norm(r: Float[Tensor, "num m m"]) -> Float[Tensor, " num"]:
    r"""Return $\sup_\varphi r(\varphi) / \|\nabla \varphi\|$ over the bilinear hats.

    $$\|r\|_*^2 = r^\top K^{-1} r, \qquad K \text{ the stiffness of bilinear elements}, \tag{P.16}$$

    K being diagonal in the sine basis.

    References:
        Theory page: Eq. (P.16).

    Example:
        >>> round(energy_dual_norm(torch.ones(1, 1, 1)).item() ** 2 * 8 / 3, 6)
        1.0
    """
    m = r.shape[-1]
    lap = Laplacian(dims=(-2, -1), boundary="dirichlet")
    line = -Laplacian(dims=-1, boundary="dirichlet").eigenvalues((1, m), dtype=r.dtype)[0]
    line = line.to(r.device)
    mass = 1 - line / 6
    stiffness = line[:, None] * mass + mass[:, None] * line
    return l2_norm(lap.transform(r) * stiffness.rsqrt())
