"""What all samplers share: the start, one checked call of the denoiser, noise."""

import math
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from heatgrad.diffusion.denoiser import Denoiser
from heatgrad.diffusion.levels.check import check_levels

__all__ = [
    "Callback",
    "check_samples",
    "checked_answer",
    "denoised",
    "normal_like",
    "posterior_variance",
    "start",
]

Callback = Callable[[int, Tensor, Tensor], None]  # step, x at its level, x denoised


def start(
    shape: Sequence[int],
    levels: Float[Tensor, " levels"],
    generator: torch.Generator,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
    *,
    data_std: float = 0.0,
) -> Tensor:
    r"""Return pure noise at the first level.

    $$x \sim \mathcal N(0, (\sigma_0^2 + s^2) I), \tag{D.7}$$

    where s is 0 as in EDM, or 1 for a chain in the scaled form, whose last time is
    $\mathcal N(0, I)$ there.

    Args:
        shape: (n, *shape).
        levels: As of a sampler [data].
        generator: Drawn from on its own device.
        dtype: Of the result.
        device: Of the result.
        data_std: s, at least 0 [data].

    Raises:
        ValueError: If the levels are not decreasing to 0, or `data_std` is negative.

    References:
        Theory page: Eq. (D.7).

    Example:
        >>> levels = torch.tensor([80.0, 1.0, 0.0])
        >>> start((2, 3), levels, torch.Generator().manual_seed(0)).shape
        torch.Size([2, 3])
    """
    if not 0 <= data_std < float("inf"):
        raise ValueError(f"data_std must be at least 0, got {data_std}")
    std = math.hypot(float(check_levels(levels)[0]), data_std)
    noise = torch.randn(tuple(shape), generator=generator, dtype=dtype, device=generator.device)
    return std * noise.to(device)


def normal_like(x: Tensor, generator: torch.Generator) -> Tensor:
    """Return white noise of a sample's shape, drawn on the generator's device and moved.

    Example:
        >>> normal_like(torch.zeros(2, 3), torch.Generator()).shape
        torch.Size([2, 3])
    """
    noise = torch.randn(x.shape, generator=generator, dtype=x.dtype, device=generator.device)
    return noise.to(x.device)


def check_samples(x: Tensor) -> None:
    """Refuse what a sampler cannot start from.

    Raises:
        ValueError: If `x` has no axis of samples, or is not finite or not real.
    """
    if x.ndim < 1 or not x.is_floating_point():
        raise ValueError(f"x must be real samples (n, *shape), got {tuple(x.shape)}, {x.dtype}")
    if not bool(torch.isfinite(x).all()):
        raise ValueError("x must be finite, got NaN or inf at the first level")


def denoised(denoiser: Denoiser, x: Tensor, sigma: float) -> Tensor:
    """Return the denoised samples, checked.

    A denoiser that answers in a lower precision is taken at its word: the answer is converted.

    Args:
        denoiser: Called once.
        x: Shape (n, *shape) [data].
        sigma: The level of all [data].

    Raises:
        ValueError: If the answer has another shape, or is not finite.

    Example:
        >>> denoised(lambda x, sigma: x / (1 + sigma**2), torch.ones(2), 1.0)
        tensor([0.5000, 0.5000])
    """
    x0 = denoiser(x, torch.tensor(sigma, dtype=x.dtype, device=x.device))
    return checked_answer(x0, x, sigma)


def checked_answer(x0: Tensor, x: Tensor, sigma: float) -> Tensor:
    """Return what a denoiser answered, in the samples' dtype.

    Raises:
        ValueError: If it has another shape, or is not finite.
    """
    if x0.shape != x.shape:
        raise ValueError(
            f"the denoiser must return the shape of x, {tuple(x.shape)}, got {tuple(x0.shape)}"
        )
    if not bool(torch.isfinite(x0).all()):
        raise ValueError(
            f"the denoiser returned NaN or inf at sigma = {sigma:.6g}; call it in float32, and "
            f"check that the levels are among those it was trained at"
        )
    return x0.to(x.dtype)


def posterior_variance(sigma: float, below: float) -> tuple[float, float]:
    r"""Return the small and the large variance of a step from one level to a lower one.

    $$v_{\text{small}} = \frac{s^2 (\sigma^2 - s^2)}{\sigma^2}, \qquad
    v_{\text{large}} = \frac{(1 + s^2)(\sigma^2 - s^2)}{1 + \sigma^2}, \tag{D.8}$$

    which are $\tilde\beta_t / \bar\alpha_{t-1}$ and $\beta_t / \bar\alpha_{t-1}$ of a chain: right
    for data that are one point, and for white data of unit variance.

    Args:
        sigma: The level [data].
        below: s, the next one, from 0 to sigma [data].

    Returns:
        Both [data²].

    References:
        Ho et al. (2020), arXiv:2006.11239v2, Eq. (7) and section 3.2. Theory page: Eq. (D.8).

    Example:
        >>> posterior_variance(2.0, 1.0)
        (0.75, 1.2)
    """
    gap = (sigma - below) * (sigma + below)
    return below**2 * gap / sigma**2, (1 + below**2) * gap / (1 + sigma**2)
