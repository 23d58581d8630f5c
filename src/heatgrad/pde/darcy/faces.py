"""The 5-point operator of a variable coefficient: conductivities of the faces between nodes."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

__all__ = ["FaceMean", "apply_faces", "face_means", "face_products"]

FaceMean = Literal["arithmetic", "harmonic"]
"""`arithmetic`: (a + b) / 2, as published; `harmonic`: 2 a b / (a + b), layers in series."""


def face_means(
    a: Float[Tensor, "*batch n n"], mean: FaceMean = "arithmetic"
) -> tuple[Float[Tensor, "*batch l m"], Float[Tensor, "*batch m l"]]:
    r"""Return the conductivities of the faces between neighbouring nodes, across x and across y.

    $$c_{i+1/2,j} = \tfrac12 (a_{ij} + a_{i+1,j}) \quad\text{or}\quad
    \frac{2 a_{ij} a_{i+1,j}}{a_{ij} + a_{i+1,j}}. \tag{P.11}$$

    Faces between two nodes of the border carry nothing that matters and are left out.

    Args:
        a: Conductivity on n x n nodes, positive.
        mean: Which.

    Returns:
        Shapes (..., n - 1, n - 2) and (..., n - 2, n - 1).

    References:
        Theory page: Eq. (P.11).

    Example:
        >>> a = torch.tensor([1.0, 3.0, 3.0]).expand(3, 3).mT
        >>> face_means(a)[0].flatten().tolist(), face_means(a, "harmonic")[0].flatten().tolist()
        ([2.0, 3.0], [1.5, 3.0])
    """
    before_x, after_x = a[..., :-1, 1:-1], a[..., 1:, 1:-1]
    before_y, after_y = a[..., 1:-1, :-1], a[..., 1:-1, 1:]
    if mean == "arithmetic":
        return (before_x + after_x) / 2, (before_y + after_y) / 2
    return (
        2 * before_x * after_x / (before_x + after_x),
        2 * before_y * after_y / (before_y + after_y),
    )


def apply_faces(
    across_x: Float[Tensor, "*batch l m"],
    across_y: Float[Tensor, "*batch m l"],
    u: Float[Tensor, "*batch m m"],
) -> Float[Tensor, "*batch m m"]:
    r"""Return $-h^2 \nabla_h \cdot (c \nabla_h u)$ at the inner nodes, u being 0 on the border.

    Symmetric and positive definite where the conductivities are positive.

    References:
        Theory page: Eq. (P.10).

    Example:
        >>> one = torch.ones(1, 1)
        >>> apply_faces(torch.ones(2, 1), torch.ones(1, 2), one).tolist()
        [[4.0]]
    """
    flux_x = across_x * torch.diff(pad(u, (0, 0, 1, 1)), dim=-2)
    flux_y = across_y * torch.diff(pad(u, (1, 1)), dim=-1)
    return -torch.diff(flux_x, dim=-2) - torch.diff(flux_y, dim=-1)


def face_products(
    u: Float[Tensor, "*batch m m"], v: Float[Tensor, "*batch m m"]
) -> tuple[Float[Tensor, "*batch l m"], Float[Tensor, "*batch m l"]]:
    """Return the products of the differences of u and v across each face.

    They are the derivatives of v . apply_faces(c, u) in the conductivities c.

    Example:
        >>> across_x, _ = face_products(torch.ones(1, 1), 2 * torch.ones(1, 1))
        >>> across_x.flatten().tolist()
        [2.0, 2.0]
    """
    across_x = torch.diff(pad(u, (0, 0, 1, 1)), dim=-2) * torch.diff(pad(v, (0, 0, 1, 1)), dim=-2)
    across_y = torch.diff(pad(u, (1, 1)), dim=-1) * torch.diff(pad(v, (1, 1)), dim=-1)
    return across_x, across_y
