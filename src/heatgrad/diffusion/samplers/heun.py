"""The probability flow, to second order."""

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from heatgrad.diffusion.denoiser import Denoiser
from heatgrad.diffusion.levels.check import check_levels
from heatgrad.diffusion.samplers.step import Callback, check_samples, denoised

__all__ = ["heun"]


@torch.no_grad()
def heun(
    denoiser: Denoiser,
    x: Float[Tensor, "n *shape"],
    levels: Float[Tensor, " levels"],
    *,
    callback: Callback | None = None,
) -> Float[Tensor, "n *shape"]:
    r"""Return samples without noise, by Heun's method for the probability flow.

    $$\frac{dx}{d\sigma} = d(x, \sigma) = \frac{x - D(x, \sigma)}{\sigma}, \tag{D.12}$$

    $$\tilde x = x + (s - \sigma)\, d(x, \sigma), \qquad
    x' = x + \frac{s - \sigma}{2} \bigl(d(x, \sigma) + d(\tilde x, s)\bigr), \tag{D.13}$$

    with Euler's step alone to level 0. The error falls like one over the square of the number of
    steps; 2 steps - 1 calls of the denoiser. No gradient is recorded.

    Args:
        denoiser: Called at every level but the last.
        x: Samples at the first level [data].
        levels: Strictly decreasing, the last 0, shape (steps + 1,) [data].
        callback: Called as `callback(step, x, x0hat)` before each step is taken, with x at
            `levels[step]`.

    Returns:
        At level 0, dtype and device of `x` [data].

    Raises:
        ValueError: If the levels or what the denoiser returns are not as above.

    References:
        Karras et al. (2022), arXiv:2206.00364v2, Algorithm 1. Theory page: Eq. (D.13).

    Example:
        >>> levels = torch.tensor([2.0, 1.0, 0.0], dtype=torch.float64)
        >>> heun(lambda x, sigma: x / (1 + sigma**2), torch.tensor([8.0]), levels)
        tensor([2.6000])
    """
    values = check_levels(levels).tolist()
    check_samples(x)
    for step, (sigma, below) in enumerate(pairwise(values)):
        x0 = denoised(denoiser, x, sigma)
        if callback is not None:
            callback(step, x, x0)
        slope = (x - x0) / sigma
        ahead = x0 + (below / sigma) * (x - x0)  # Euler's step, exact at level 0
        if below > 0:
            slope = (slope + (ahead - denoised(denoiser, ahead, below)) / below) / 2
            ahead = x + (below - sigma) * slope
        x = ahead
    return x
