"""From level to level with as much fresh noise as one likes: DDIM."""

import math
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from heatgrad.diffusion.denoiser import Denoiser
from heatgrad.diffusion.levels.check import check_levels
from heatgrad.diffusion.samplers.step import (
    Callback,
    check_samples,
    denoised,
    normal_like,
    posterior_variance,
)

__all__ = ["ddim"]


@torch.no_grad()
def ddim(
    denoiser: Denoiser,
    x: Float[Tensor, "n *shape"],
    levels: Float[Tensor, " levels"],
    *,
    eta: float = 0.0,
    generator: torch.Generator | None = None,
    callback: Callback | None = None,
) -> Float[Tensor, "n *shape"]:
    r"""Return samples without noise, by DDIM.

    From a level σ to the next one s, with $\hat x_0 = D(x, \sigma)$ and z fresh noise,

    $$x' = \hat x_0 + \sqrt{s^2 - h^2}\, \frac{x - \hat x_0}{\sigma} + h z, \qquad
    h^2 = \eta^2\, v_{\text{small}}. \tag{D.11}$$

    With eta = 0 nothing is random and a step is Euler's for the probability flow, Eq. (D.12): the
    error falls like one over the number of steps. With eta = 1 it is `ddpm` with its small
    variance. One call of the denoiser a step. No gradient is recorded.

    Args:
        denoiser: Called at every level but the last.
        x: Samples at the first level [data].
        levels: Strictly decreasing, the last 0, shape (steps + 1,) [data].
        eta: At least 0; above 1 only while $s^2 \ge h^2$ at every step [1].
        generator: Of the noise; not needed where eta is 0.
        callback: Called as `callback(step, x, x0hat)` before each step is taken, with x at
            `levels[step]`.

    Returns:
        At level 0, dtype and device of `x` [data].

    Raises:
        ValueError: If the levels, eta or what the denoiser returns are not as above.

    References:
        Song et al. (2020), arXiv:2010.02502v4, Eqs. (12) and (16). Theory page: Eq. (D.11).

    Example:
        >>> levels = torch.tensor([2.0, 1.0, 0.0], dtype=torch.float64)
        >>> ddim(lambda x, sigma: x / (1 + sigma**2), torch.tensor([5.0]), levels)
        tensor([1.5000])
    """
    values = check_levels(levels).tolist()
    check_samples(x)
    pairs = list(pairwise(values))
    _check_eta(eta, pairs)
    if eta > 0 and generator is None:
        raise ValueError(f"eta = {eta} draws noise: pass a generator, or eta=0")
    for step, (sigma, below) in enumerate(pairs):
        x0 = denoised(denoiser, x, sigma)
        if callback is not None:
            callback(step, x, x0)
        h2 = eta**2 * posterior_variance(sigma, below)[0]
        x = x0 + (math.sqrt(max(below**2 - h2, 0.0)) / sigma) * (x - x0)
        if generator is not None and h2 > 0:
            x = x + math.sqrt(h2) * normal_like(x, generator)
    return x


def _check_eta(eta: float, pairs: list[tuple[float, float]]) -> None:
    """Refuse noise that is more than a level holds."""
    steepest = max((s - b) * (s + b) / s**2 for s, b in pairs if b > 0) if len(pairs) > 1 else 0.0
    most = 1 / math.sqrt(steepest) if steepest > 0 else math.inf
    if not 0 <= eta <= max(most, 1.0) or not math.isfinite(eta):
        raise ValueError(f"eta must be from 0 to {max(most, 1.0):.6g} at these levels, got {eta}")
