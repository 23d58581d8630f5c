"""How likely data are under a reverse chain: a bound, in bits a number."""

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from heatgrad.diffusion.decoder import binned_log_prob, check_on_bins, gaussian_kl, log_normal
from heatgrad.diffusion.denoiser import Denoiser
from heatgrad.diffusion.levels.check import check_levels
from heatgrad.diffusion.samplers.ddpm import Variance, check_variance, with_fraction
from heatgrad.diffusion.samplers.step import (
    check_samples,
    denoised,
    normal_like,
    posterior_variance,
)

__all__ = ["StepVariances", "VariationalBound", "step_variances", "variational_bound"]

_BITS = 1 / math.log(2)


@dataclass(frozen=True)
class StepVariances:
    """The variances of each step of a list of levels, as logarithms, (D.8).

    Attributes:
        log_small: Shape (steps,), float64; of the last step that of the step before it, scaled to
            level 0, since its own is zero.
        log_large: Shape (steps,), float64.
    """

    log_small: Float[Tensor, " steps"]
    log_large: Float[Tensor, " steps"]


@dataclass(frozen=True)
class VariationalBound:
    """A bound on the negative log-likelihood of each sample, and its parts.

    Attributes:
        bits_per_dim: The sum of the others, shape (n,), float64 [bits/dim].
        prior: Of the first level against the law that a sampler starts from, shape (n,).
        steps: Of each step but the last, shape (n, steps - 1).
        decoder: Of the last step, shape (n,).
    """

    bits_per_dim: Float[Tensor, " n"]
    prior: Float[Tensor, " n"]
    steps: Float[Tensor, "n steps"]
    decoder: Float[Tensor, " n"]


def step_variances(levels: Float[Tensor, " levels"]) -> StepVariances:
    r"""Return both variances of each step, the small one of the last step replaced.

    The step to level 0 has $v_{\text{small}} = 0$, whose logarithm is that of its successor in
    time instead, $\ln \tilde\beta_2$ of a chain.

    Args:
        levels: Strictly decreasing, the last 0, at least three [data].

    Raises:
        ValueError: If they are no such list, or there is no step before the last one.

    References:
        Nichol and Dhariwal (2021), arXiv:2102.09672v1, section 3.1. Theory page: Eq. (D.8).

    Example:
        >>> found = step_variances(torch.tensor([2.0, 1.0, 0.0]))
        >>> found.log_small.exp().tolist(), found.log_large.exp().tolist()
        ([0.75, 0.375], [1.2, 0.5])
    """
    values = check_levels(levels).tolist()
    if len(values) < 3:
        raise ValueError(f"a bound needs at least two steps, got {len(values) - 1}")
    both = [posterior_variance(sigma, below) for sigma, below in pairwise(values)]
    small, large = (list(each) for each in zip(*both, strict=True))
    small[-1] = small[-2] / (1 + values[-2] ** 2)
    return StepVariances(
        torch.tensor(small, dtype=torch.float64).log(),
        torch.tensor(large, dtype=torch.float64).log(),
    )


@torch.no_grad()
def variational_bound(
    denoiser: Denoiser,
    x: Float[Tensor, "n *shape"],
    levels: Float[Tensor, " levels"],
    *,
    generator: torch.Generator,
    variance: Variance = "small",
    bins: int | None = 256,
    decoder_variance: float | None = None,
    data_std: float = 1.0,
) -> VariationalBound:
    r"""Return a bound on the negative log-likelihood of data under the chain that `ddpm` runs.

    $$-\log_2 p(x_0) \le \mathrm{KL}\bigl(q(x_{\sigma_0} | x_0) \| p\bigr)
    + \sum_i \mathrm{KL}\bigl(q(x_{s} | x_{\sigma}, x_0) \| p(x_s | x_\sigma)\bigr)
    - E \log_2 p(x_0 | x_{\sigma_{n-1}}). \tag{D.24}$$

    Each expectation is one draw of noise for each sample and step, so it is unbiased, and its
    mean over samples has their standard error. One call of the denoiser a step.

    Args:
        denoiser: A `VarianceDenoiser` for a learned variance.
        x: Clean data; whole numbers from 0 to K - 1 scaled to [-1, 1], unless `bins` is None.
        levels: Strictly decreasing, the last 0, at least three [data].
        generator: Of the noise.
        variance: Of the reverse steps, as of `ddpm`.
        bins: K. None: the data are real numbers, and densities take the place of probabilities.
        decoder_variance: Of the last step; by default that of `step_variances`, the small one
            for both `"small"` and `"large"`, as in both papers' code [data²].
        data_std: Of the law that a sampler starts from, see `start` [data].

    Raises:
        ValueError: If the data are not on the grid, or an argument is out of range.
        TypeError: If the variance is to be learned, and the denoiser has learned none.

    References:
        Ho et al. (2020), arXiv:2006.11239v2, Eqs. (5) and (13). Theory page: Eqs. (D.24) to
        (D.26).

    Example:
        >>> from heatgrad.diffusion import GaussianDenoiser, karras_levels
        >>> x = torch.randint(256, (4, 6)) * (2 / 255) - 1
        >>> levels = karras_levels(20, sigma_min=0.01, sigma_max=80.0)
        >>> law, g = GaussianDenoiser(torch.zeros(6), std=0.6), torch.Generator().manual_seed(0)
        >>> variational_bound(law, x, levels, generator=g).bits_per_dim.shape
        torch.Size([4])
    """
    check_samples(x)
    check_variance(denoiser, variance)
    if bins is not None:
        check_on_bins(x, bins)
    if decoder_variance is not None and not 0 < decoder_variance < math.inf:
        raise ValueError(f"decoder_variance must be positive, got {decoder_variance}")
    if not 0 <= data_std < math.inf:
        raise ValueError(f"data_std must be at least 0, got {data_std}")
    logs, values = step_variances(levels), check_levels(levels).tolist()
    x0, parts = x.double(), []
    for step, (sigma, below) in enumerate(pairwise(values)):
        noisy = x + sigma * normal_like(x, generator)
        small, large = logs.log_small[step], logs.log_large[step]
        if variance == "learned":
            found, share = with_fraction(denoiser, noisy, sigma)
            log_v = share.double() * (large - small) + small
        else:
            found = denoised(denoiser, noisy, sigma)
            log_v = large if variance == "large" and below > 0 else small
        found = found.double()
        if below > 0:
            difference = (1 - below**2 / sigma**2) * (x0 - found)
            parts.append(_bits(gaussian_kl(difference, small.to(x0), log_v.to(x0))))
    if decoder_variance is not None:
        log_v = torch.tensor(math.log(decoder_variance), dtype=torch.float64)
    std = torch.exp(log_v.to(x0) / 2)
    log_prob = (
        log_normal(x0, found, std) if bins is None else binned_log_prob(x0, found, std, bins=bins)
    )
    last = -_bits(log_prob)
    first = _prior(x0, values[0], data_std)
    steps = torch.stack(parts, 1)
    return VariationalBound(first + steps.sum(1) + last, first, steps, last)


def _prior(x0: Tensor, sigma: float, data_std: float) -> Tensor:
    """Return the divergence of what `start` draws from the noisy data, bits a number."""
    log_total = torch.tensor(math.log(sigma**2 + data_std**2), dtype=x0.dtype, device=x0.device)
    return _bits(gaussian_kl(x0, log_total.new_tensor(2 * math.log(sigma)), log_total))


def _bits(nats: Tensor) -> Tensor:
    """Return the mean over all numbers of a sample, in bits."""
    return nats.reshape(len(nats), -1).mean(1) * _BITS
