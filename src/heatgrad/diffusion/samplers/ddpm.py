"""From level to level as the chain was trained backwards: ancestral sampling."""

import math
from itertools import pairwise
from typing import Literal, cast

import torch
from jaxtyping import Float
from torch import Tensor

from heatgrad.diffusion.denoiser import Denoiser, VarianceDenoiser
from heatgrad.diffusion.levels.check import check_levels
from heatgrad.diffusion.samplers.step import (
    Callback,
    check_samples,
    checked_answer,
    denoised,
    normal_like,
    posterior_variance,
)

__all__ = ["Variance", "ddpm"]

Variance = Literal["small", "large", "learned"]


@torch.no_grad()
def ddpm(
    denoiser: Denoiser,
    x: Float[Tensor, "n *shape"],
    levels: Float[Tensor, " levels"],
    *,
    generator: torch.Generator,
    variance: Variance = "small",
    callback: Callback | None = None,
) -> Float[Tensor, "n *shape"]:
    r"""Return samples without noise, by the reverse chain of DDPM.

    From a level σ to the next one s, with $\hat x_0 = D(x, \sigma)$ and z fresh noise,

    $$x' = \hat x_0 + \frac{s^2}{\sigma^2} (x - \hat x_0) + \sqrt{v}\, z, \tag{D.10}$$

    with v one of (D.8), or between them, Eq. (D.9), as the denoiser says. The step to level 0 adds
    no noise. One call of the denoiser a step. No gradient is recorded.

    Args:
        denoiser: Called at every level but the last; a `VarianceDenoiser` for `"learned"`.
        x: Samples at the first level [data].
        levels: Strictly decreasing, the last 0, shape (steps + 1,) [data].
        generator: Of the noise.
        variance: Of a step. `"large"` is meant for data of unit variance.
        callback: Called as `callback(step, x, x0hat)` before each step is taken, with x at
            `levels[step]`.

    Returns:
        At level 0, dtype and device of `x` [data].

    Raises:
        ValueError: If the levels, the variance or what the denoiser returns are not as above.
        TypeError: If the variance is to be learned, and the denoiser has learned none.

    References:
        Ho et al. (2020), arXiv:2006.11239v2, Algorithm 2; Nichol and Dhariwal (2021),
        arXiv:2102.09672v1, Eq. (15). Theory page: Eqs. (D.8) to (D.10).

    Example:
        >>> levels = torch.tensor([2.0, 1.0, 0.0], dtype=torch.float64)
        >>> generator = torch.Generator().manual_seed(0)
        >>> x = torch.randn(5, generator=generator) * 2.0
        >>> ddpm(lambda x, sigma: x / (1 + sigma**2), x, levels, generator=generator).shape
        torch.Size([5])
    """
    values = check_levels(levels).tolist()
    check_samples(x)
    check_variance(denoiser, variance)
    for step, (sigma, below) in enumerate(pairwise(values)):
        small, large = posterior_variance(sigma, below)
        if variance == "learned":
            x0, share = with_fraction(denoiser, x, sigma)
        else:
            x0 = denoised(denoiser, x, sigma)
        if callback is not None:
            callback(step, x, x0)
        x = x0 + (below**2 / sigma**2) * (x - x0)
        if below > 0:
            noise = normal_like(x, generator)
            if variance == "learned":
                x = x + torch.exp(share * (math.log(large / small) / 2)) * math.sqrt(small) * noise
            else:
                x = x + math.sqrt(small if variance == "small" else large) * noise
    return x


def check_variance(denoiser: Denoiser, variance: Variance) -> None:
    """Refuse a variance that is unknown, or that a denoiser cannot give.

    Raises:
        ValueError: If it is unknown.
        TypeError: If it is to be learned, and the denoiser has learned none.
    """
    if variance not in ("small", "large", "learned"):
        raise ValueError(f"variance must be small, large or learned, got {variance!r}")
    if variance == "learned" and not hasattr(denoiser, "with_fraction"):
        raise TypeError(
            "variance 'learned' needs a denoiser with a method with_fraction (VarianceDenoiser); "
            "take 'small' or 'large' with this one"
        )


def with_fraction(denoiser: Denoiser, x: Tensor, sigma: float) -> tuple[Tensor, Tensor]:
    """Return the denoised samples and where between the variances a step's is, checked.

    Raises:
        ValueError: If either has another shape than `x`, or is not finite.
    """
    level = torch.tensor(sigma, dtype=x.dtype, device=x.device)
    x0, share = cast(VarianceDenoiser, denoiser).with_fraction(x, level)
    return checked_answer(x0, x, sigma), checked_answer(share, x, sigma)
