"""Losses that learn the variance of the reverse steps too."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal, cast

import torch
from torch import Tensor

from heatgrad.diffusion.bound import step_variances
from heatgrad.diffusion.decoder import binned_log_prob, check_on_bins, gaussian_kl, log_normal
from heatgrad.diffusion.denoiser import LabelledDenoiser, VarianceDenoiser, levels_like
from heatgrad.diffusion.levels.chain import levels_of
from heatgrad.diffusion.losses.draws import check_real, check_share, mean_of_each, noisy, told
from heatgrad.diffusion.losses.importance import LossHistory

__all__ = ["HybridLoss", "VLBLoss"]

_BITS = 1 / math.log(2)


@dataclass(frozen=True, eq=False)
class HybridLoss:
    r"""The simple loss, and a little of the bound, which alone teaches the variance.

    $$L = L_{\text{simple}} + \lambda\, T\, E_t\, L_t, \tag{D.27}$$

    with $L_t$ the term of the bound (D.24) at a uniform time, in bits a number. No gradient of the
    second part goes through the mean. Draws are from torch's default generators.

    Args:
        alpha_bars: Of the chain, shape (T,), T at least 2.
        vlb_weight: λ, at least 0.
        bins: Of data that are whole numbers scaled to [-1, 1]; None for real numbers, see
            `variational_bound`.
        drop_label: Share of labels that are not told; 1 for a network that is told none [1].

    Attributes:
        alpha_bars: As given.
        vlb_weight: As given.
        bins: As given.
        drop_label: As given.

    Raises:
        ValueError: If an argument is not as above; on a call, if the data are off the bins.
        TypeError: On a call, if the network has learned no variance.

    References:
        Nichol and Dhariwal (2021), arXiv:2102.09672v1, Eq. (16). Theory page: Eq. (D.27).

    Example:
        >>> from heatgrad.diffusion import cosine_alpha_bars, from_noise_prediction
        >>> ab = cosine_alpha_bars(100)
        >>> model = from_noise_prediction(
        ...     lambda x, t, label: torch.cat([x, x], 1), ab, learned_variance=True
        ... )
        >>> x, y = torch.ones(4, 3), torch.zeros(4, dtype=torch.int64)
        >>> HybridLoss(ab)(model, x, y).shape
        torch.Size([])
    """

    calls_network: ClassVar[Literal[True]] = True

    alpha_bars: Tensor
    vlb_weight: float = 0.001
    bins: int | None = 256
    drop_label: float = 0.0

    def __post_init__(self) -> None:
        step_variances(levels_of(self.alpha_bars))
        check_share(self.drop_label)
        if not 0 <= self.vlb_weight < math.inf:
            raise ValueError(f"vlb_weight must be at least 0, got {self.vlb_weight}")

    def __call__(self, model: LabelledDenoiser, x: Tensor, y: Tensor) -> Tensor:
        """Return the loss of a batch, a scalar.

        Args:
            model: A `VarianceDenoiser`.
            x: Clean samples, shape (n, *shape) [data].
            y: Class of each, shape (n,), int64.
        """
        check_real(x)
        num_times = len(self.alpha_bars)
        step = torch.randint(num_times, (len(x),), device=x.device)
        x0, share, sigma = _answer(model, x, told(y, self.drop_label), self.alpha_bars, step)
        simple = mean_of_each(((x0 - x) / levels_like(sigma, x)) ** 2)
        bits = _terms(x, x0.detach(), share, self.alpha_bars, step, self.bins)
        return (simple + self.vlb_weight * num_times * bits).mean()


@dataclass(frozen=True, eq=False)
class VLBLoss:
    """The bound itself, (D.24) without its first part, which nothing can be learned of.

    Args:
        alpha_bars: Of the chain, shape (T,), T at least 2.
        history: Draws the times by their losses, which it is told while gradients are recorded;
            None for uniform times.
        bins: As of `HybridLoss`.
        drop_label: As of `HybridLoss`.

    Attributes:
        alpha_bars: As given.
        history: As given.
        bins: As given.
        drop_label: As given.

    Raises:
        ValueError: If an argument is not as above; on a call, if the data are off the bins.
        TypeError: On a call, if the network has learned no variance.

    References:
        Nichol and Dhariwal (2021), arXiv:2102.09672v1, section 3.3. Theory page: Eqs. (D.24) and
        (D.28).

    Example:
        >>> from heatgrad.diffusion import cosine_alpha_bars, from_noise_prediction
        >>> ab = cosine_alpha_bars(100)
        >>> model = from_noise_prediction(
        ...     lambda x, t, label: torch.cat([x, x], 1), ab, learned_variance=True
        ... )
        >>> x, y = torch.ones(4, 3), torch.zeros(4, dtype=torch.int64)
        >>> VLBLoss(ab, history=LossHistory(100))(model, x, y).shape
        torch.Size([])
    """

    calls_network: ClassVar[Literal[True]] = True

    alpha_bars: Tensor
    history: LossHistory | None = None
    bins: int | None = 256
    drop_label: float = 0.0

    def __post_init__(self) -> None:
        step_variances(levels_of(self.alpha_bars))
        check_share(self.drop_label)
        if self.history is not None and self.history.num_times != len(self.alpha_bars):
            raise ValueError(
                f"history must be of {len(self.alpha_bars)} times, got {self.history.num_times}"
            )

    def __call__(self, model: LabelledDenoiser, x: Tensor, y: Tensor) -> Tensor:
        """Return the loss of a batch, a scalar [bits/dim].

        Args:
            model: A `VarianceDenoiser`.
            x: Clean samples, shape (n, *shape) [data].
            y: Class of each, shape (n,), int64.
        """
        check_real(x)
        num_times = len(self.alpha_bars)
        if self.history is None:
            step = torch.randint(num_times, (len(x),), device=x.device)
            weight = torch.ones(len(x), dtype=x.dtype, device=x.device)
        else:
            times, weights = self.history.draw(len(x))
            step, weight = (num_times - 1 - times).to(x.device), weights.to(x)
        x0, share, _ = _answer(model, x, told(y, self.drop_label), self.alpha_bars, step)
        bits = _terms(x, x0, share, self.alpha_bars, step, self.bins)
        if self.history is not None and torch.is_grad_enabled():
            self.history.record((num_times - 1 - step).cpu(), bits.detach().cpu())
        return num_times * (weight * bits).mean()


def _answer(
    model: LabelledDenoiser, x: Tensor, label: Tensor | None, alpha_bars: Tensor, step: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the denoised samples, where the variance is, and the level of each sample."""
    if not hasattr(model, "with_fraction"):
        raise TypeError(
            f"this loss needs a network with a method with_fraction (VarianceDenoiser), got "
            f"{type(model).__name__}; take SimpleLoss or EDMLoss"
        )
    sigma = levels_of(alpha_bars).to(x)[step]
    x0, share = cast(VarianceDenoiser, model).with_fraction(noisy(x, sigma), sigma, label)
    return x0, share, sigma


def _terms(
    x: Tensor, x0: Tensor, share: Tensor, alpha_bars: Tensor, step: Tensor, bins: int | None
) -> Tensor:
    """Return the term of the bound (D.24) at one step of each sample, bits a number."""
    if bins is not None:
        check_on_bins(x, bins)
    levels = levels_of(alpha_bars)
    logs = step_variances(levels)
    gain = 1 - (levels[1:] / levels[:-1]) ** 2
    small, large, of_mean = (
        levels_like(table.to(x.device)[step], x) for table in (logs.log_small, logs.log_large, gain)
    )
    log_v = share * (large - small) + small
    nats = gaussian_kl(of_mean * (x - x0), small, log_v)
    last = step == len(levels) - 2
    # Apart, not by `where`: what a decoder says of other steps may have no finite gradient.
    std = torch.exp(log_v[last] / 2)
    decoder = (
        log_normal(x[last], x0[last], std)
        if bins is None
        else binned_log_prob(x[last], x0[last], std, bins=bins)
    )
    return mean_of_each(nats.index_put((last,), -decoder.to(nats.dtype))) * _BITS
