"""Likelihoods of data that are whole numbers, and distances of Gaussian laws, in bits."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["binned_log_prob", "check_on_bins", "gaussian_kl", "log_normal"]


def gaussian_kl(difference: Tensor, log_variance: Tensor, log_model_variance: Tensor) -> Tensor:
    r"""Return the divergence from one Gaussian law to another, of each number.

    $$\mathrm{KL} = \tfrac12 \Bigl(\frac{v}{v'} - 1 + \ln \frac{v'}{v} + \frac{d^2}{v'}\Bigr).
    \tag{D.25}$$

    Args:
        difference: d, of the means [data].
        log_variance: ln v, of the law averaged over; all three broadcast.
        log_model_variance: ln v', of the other.

    Returns:
        The divergence [nats].

    References:
        Theory page: Eq. (D.25).

    Example:
        >>> one, zero = torch.tensor(1.0), torch.tensor(0.0)
        >>> gaussian_kl(one, zero, zero)
        tensor(0.5000)
    """
    gap = log_variance - log_model_variance
    # expm1(g) - g is what is left of v/v' - 1 - ln(v/v'), without cancellation between the two.
    return 0.5 * (torch.expm1(gap) - gap + difference**2 * torch.exp(-log_model_variance))


def binned_log_prob(
    x: Float[Tensor, "n *shape"], mean: Tensor, std: Tensor, *, bins: int = 256
) -> Tensor:
    r"""Return the log-probability of the bin of each number under a Gaussian law.

    The numbers are $-1 + 2 k / (K - 1)$ for k from 0 to K - 1; a bin reaches half way to its
    neighbours, and the outer two to infinity:

    $$\ln P(k) = \ln \bigl(\Phi(b_{k}) - \Phi(b_{k - 1})\bigr), \qquad
    b_k = \frac{x_k + 1 / (K - 1) - m}{s}. \tag{D.26}$$

    Differences are formed in the lower tail and in logarithms, so nothing is clamped.

    Args:
        x: On the grid, see `check_on_bins` [data].
        mean: m; broadcasts against `x` [data].
        std: s, positive; broadcasts against `x` [data].
        bins: K, at least 2.

    Returns:
        Shape of `x`, float64 [nats].

    References:
        Ho et al. (2020), arXiv:2006.11239v2, Eq. (13). Theory page: Eq. (D.26).

    Example:
        >>> x = torch.tensor([-1.0, 1.0])
        >>> binned_log_prob(x, torch.tensor(0.0), torch.tensor(1.0), bins=2).exp()
        tensor([0.5000, 0.5000], dtype=torch.float64)
    """
    x, mean, std = x.double(), mean.double(), std.double()
    half = 1 / (bins - 1)
    upper, lower = (x + half - mean) / std, (x - half - mean) / std
    # Mirrored, so that both edges lie in the lower tail, where their logarithms differ.
    mirrored = lower + upper > 0
    low = torch.where(mirrored, -upper, lower)
    high = torch.where(mirrored, -lower, upper)
    log_low, log_high = torch.special.log_ndtr(low), torch.special.log_ndtr(high)
    inner = log_high + torch.log(-torch.expm1(log_low - log_high))
    first, last = x < half - 1, x > 1 - half
    log_prob = torch.where(first, torch.special.log_ndtr(upper), inner)
    return torch.where(last, torch.special.log_ndtr(-lower), log_prob)


def check_on_bins(x: Tensor, bins: int) -> None:
    """Refuse data that are not on the grid of whole numbers between -1 and 1.

    Args:
        x: Data of any shape.
        bins: K, at least 2; the grid is -1 + 2 k / (K - 1).

    Raises:
        ValueError: If a number is off the grid by more than rounding; so are most of [0, 1].

    Example:
        >>> check_on_bins(torch.tensor([-1.0, 0.0, 1.0]), 3)
    """
    if bins < 2:
        raise ValueError(f"bins must be at least 2, got {bins}")
    place = (x.double() + 1) * ((bins - 1) / 2)
    is_on = ((place - place.round()).abs() < 0.01) & (place > -0.5) & (place < bins - 0.5)
    if not bool(is_on.all()):
        raise ValueError(
            f"x must be whole numbers from 0 to {bins - 1}, scaled to -1 + 2 k / {bins - 1}, got "
            f"values from {float(x.min()):.4g} to {float(x.max()):.4g} off that grid; for other "
            f"data pass bins=None"
        )


def log_normal(x: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Return the log-density of each number under a Gaussian law [nats].

    Example:
        >>> log_normal(torch.tensor(0.0), torch.tensor(0.0), torch.tensor(1.0))
        tensor(-0.9189)
    """
    return -0.5 * (((x - mean) / std) ** 2 + math.log(2 * math.pi)) - torch.log(std)
