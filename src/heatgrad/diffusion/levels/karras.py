"""Levels for a denoiser that takes any noise level."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["karras_levels"]


def karras_levels(
    n: int, *, sigma_min: float, sigma_max: float, rho: float = 7.0
) -> Float[Tensor, " levels"]:
    r"""Return noise levels evenly spaced in $\sigma^{1/\rho}$, decreasing to zero.

    $$\sigma_i = \bigl(\sigma_{\max}^{1/\rho} + \tfrac{i}{n-1}(\sigma_{\min}^{1/\rho} -
    \sigma_{\max}^{1/\rho})\bigr)^{\rho}, \quad i < n, \qquad \sigma_n = 0. \tag{D.3}$$

    Args:
        n: Number of sampling steps, at least 2.
        sigma_min: Smallest nonzero level, positive [data].
        sigma_max: Largest level, above `sigma_min` [data].
        rho: Spacing exponent, positive; larger puts more steps near zero [1].

    Returns:
        Strictly decreasing levels, shape (n + 1,), float64, on the CPU [data].

    Raises:
        ValueError: If `n < 2`, `rho <= 0`, or not `0 < sigma_min < sigma_max`.

    References:
        Karras et al. (2022), arXiv:2206.00364v2, Eq. (5). Theory page: Eq. (D.3).

    Example:
        >>> karras_levels(3, sigma_min=1.0, sigma_max=9.0, rho=1.0).tolist()
        [9.0, 5.0, 1.0, 0.0]
    """
    if n < 2:
        raise ValueError(f"n must be at least 2 steps, got {n}")
    if not 0 < rho < math.inf:
        raise ValueError(f"rho must be positive and finite, got {rho}")
    if not 0 < sigma_min < sigma_max < math.inf:
        raise ValueError(f"need 0 < sigma_min < sigma_max, got {sigma_min} and {sigma_max}")
    share = torch.linspace(0, 1, n, dtype=torch.float64)
    low, high = sigma_min ** (1 / rho), sigma_max ** (1 / rho)
    levels = (high + share * (low - high)) ** rho
    levels[0], levels[-1] = sigma_max, sigma_min  # to the last digit
    return torch.cat([levels, levels.new_zeros(1)])
