"""The loss of EDM: levels from a log-normal law, each weighted to matter alike."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from heatgrad.diffusion.denoiser import LabelledDenoiser, levels_like
from heatgrad.diffusion.losses.draws import (
    check_real,
    check_share,
    mean_of_each,
    noisy,
    sigma_data_of,
    told,
)

__all__ = ["EDMLoss"]


@dataclass(frozen=True, kw_only=True)
class EDMLoss:
    r"""The weighted squared error of a denoiser, over levels of a log-normal law.

    $$E\; \lambda(\sigma)\, |D(x_0 + \sigma n, \sigma) - x_0|^2, \qquad
    \lambda = \frac{\sigma^2 + s_d^2}{(\sigma s_d)^2}, \qquad
    \ln \sigma \sim \mathcal N(P_{\text{mean}}, P_{\text{std}}^2), \tag{D.22}$$

    the mean over the numbers of a sample and over samples. Levels, noise and dropped labels come
    from torch's default generators.

    Args:
        sigma_data: Deviation of the data; None for the network's own `sigma_data` [data].
        log_mean: P_mean.
        log_std: P_std, positive.
        drop_label: Share of labels that are not told, for classifier-free guidance; 1 for a
            network that is told none [1].

    Attributes:
        sigma_data: As given.
        log_mean: As given.
        log_std: As given.
        drop_label: As given.

    Raises:
        ValueError: If a number is out of range.

    References:
        Karras et al. (2022), arXiv:2206.00364v2, Table 1. Theory page: Eq. (D.22).

    Example:
        >>> loss = EDMLoss(sigma_data=0.5)
        >>> x = torch.zeros(4, 3)
        >>> loss(lambda x, sigma, label: 0 * x, x, torch.zeros(4, dtype=torch.int64))
        tensor(0.)
    """

    calls_network: ClassVar[Literal[True]] = True

    sigma_data: float | None = None
    log_mean: float = -1.2
    log_std: float = 1.2
    drop_label: float = 0.0

    def __post_init__(self) -> None:
        if self.sigma_data is not None and not 0 < self.sigma_data < math.inf:
            raise ValueError(f"sigma_data must be positive, got {self.sigma_data}")
        if not (math.isfinite(self.log_mean) and 0 < self.log_std < math.inf):
            raise ValueError(
                f"log_mean must be finite and log_std positive, got {self.log_mean}, {self.log_std}"
            )
        check_share(self.drop_label)

    def __call__(self, model: LabelledDenoiser, x: Tensor, y: Tensor) -> Tensor:
        """Return the loss of a batch, a scalar.

        Args:
            model: A `LabelledDenoiser`.
            x: Clean samples, shape (n, *shape) [data].
            y: Class of each, shape (n,), int64.
        """
        check_real(x)
        s_d = sigma_data_of(model, self.sigma_data)
        normal = torch.randn(len(x), device=x.device, dtype=x.dtype)
        sigma = torch.exp(self.log_mean + self.log_std * normal)
        weight = (sigma**2 + s_d**2) / (sigma * s_d) ** 2
        error = model(noisy(x, sigma), sigma, told(y, self.drop_label)) - x
        return mean_of_each(levels_like(weight, x) * error**2).mean()
