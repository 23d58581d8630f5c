"""Residuals that guidances by gradients may heed."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from heatgrad.laplacian import Laplacian

__all__ = ["SineResidual"]


@dataclass(frozen=True)
class SineResidual:
    r"""The residual of Lap u + k² u = a on inner nodes, with the exact symbol of sines.

    $$r = \text{IDST}(\lambda \hat u) + k^2 u - a, \qquad \lambda = -\pi^2 (m_1^2 + m_2^2),\quad
    m \ge 1. \tag{I.25}$$

    [PISD]'s. Of fields that solve the equation by finite differences it is some percents of a.

    Attributes:
        k: Wavenumber; 0 for Poisson.
        names: Of the parameter and the solution.

    References:
        [PISD]. Theory page: Eq. (I.25).

    Example:
        >>> SineResidual()({"a": torch.zeros(1, 5, 5), "u": torch.zeros(1, 5, 5)}).shape
        torch.Size([1, 3, 3])
    """

    k: float = 0.0
    names: tuple[str, str] = ("a", "u")

    def __call__(self, fields: Mapping[str, Tensor]) -> Float[Tensor, "num m m"]:
        """Return the residual at the inner nodes of fields of shape (num, n, n)."""
        a, u = (fields[name][..., 1:-1, 1:-1] for name in self.names)
        m = torch.arange(1, u.shape[-1] + 1, dtype=u.dtype, device=u.device)
        symbol = self.k**2 - math.pi**2 * (m[:, None].square() + m.square())
        sines = Laplacian(dims=(-2, -1), boundary="dirichlet")
        return sines.inverse_transform(symbol * sines.transform(u)) - a
