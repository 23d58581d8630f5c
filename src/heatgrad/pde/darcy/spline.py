"""Cubic splines between cell centres and nodes, as matrices, as the published data use them."""

from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float
from scipy.interpolate import CubicSpline
from torch import Tensor

from heatgrad.pde.grid import Grid, Kind

__all__ = ["spline_between"]


def spline_between(
    field: Float[Tensor, "*batch n n"], source: Kind, target: Kind
) -> Float[Tensor, "*batch n n"]:
    """Return a field given at n x n points of one kind at those of another kind.

    The not-a-knot cubic spline along both axes, beyond the outermost points continued by its
    last polynomials (MATLAB: `interp2(..., 'spline')`). It overshoots at jumps.

    References:
        Theory page: Eq. (P.14).

    Example:
        >>> x = Grid(5, "cells").axis()[:, None].expand(5, 5)
        >>> torch.allclose(spline_between(x, "cells", "nodes")[:, 0], Grid(5).axis())
        True
    """
    matrix = _matrix(field.shape[-1], source, target).to(field)
    return matrix @ field @ matrix.mT


@lru_cache(maxsize=16)
def _matrix(n: int, source: Kind, target: Kind) -> Tensor:
    spline = CubicSpline(Grid(n, source).axis().numpy(), np.eye(n), bc_type="not-a-knot")
    return torch.from_numpy(spline(Grid(n, target).axis().numpy(), extrapolate=True))
