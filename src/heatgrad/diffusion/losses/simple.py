"""The loss of DDPM: the squared error of the predicted noise, at times drawn alike."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from heatgrad.diffusion.denoiser import LabelledDenoiser, levels_like
from heatgrad.diffusion.levels.chain import sigmas_of
from heatgrad.diffusion.losses.draws import check_real, check_share, mean_of_each, noisy, told

__all__ = ["SimpleLoss"]


@dataclass(frozen=True, eq=False)
class SimpleLoss:
    r"""The squared error of the noise that a denoiser implies, over the times of a chain.

    $$E\, |\epsilon - \hat\epsilon|^2 = E\, \frac{|x_0 - D(x, \sigma_t)|^2}{\sigma_t^2}, \qquad
    t \text{ uniform}, \tag{D.23}$$

    the mean over the numbers of a sample and over samples. Times, noise and dropped labels come
    from torch's default generators.

    Args:
        alpha_bars: Of the chain, shape (T,), see `sigmas_of`.
        drop_label: Share of labels that are not told; 1 for a network that is told none [1].

    Attributes:
        alpha_bars: As given.
        drop_label: As given.

    Raises:
        ValueError: If an argument is not as above.

    References:
        Ho et al. (2020), arXiv:2006.11239v2, Eq. (14). Theory page: Eq. (D.23).

    Example:
        >>> from heatgrad.diffusion import cosine_alpha_bars
        >>> loss = SimpleLoss(cosine_alpha_bars(100))
        >>> x = torch.zeros(4, 3)
        >>> loss(lambda x, sigma, label: 0 * x, x, torch.zeros(4, dtype=torch.int64))
        tensor(0.)
    """

    calls_network: ClassVar[Literal[True]] = True

    alpha_bars: Tensor
    drop_label: float = 0.0

    def __post_init__(self) -> None:
        sigmas_of(self.alpha_bars)
        check_share(self.drop_label)

    def __call__(self, model: LabelledDenoiser, x: Tensor, y: Tensor) -> Tensor:
        """Return the loss of a batch, a scalar.

        Args:
            model: A `LabelledDenoiser`.
            x: Clean samples, shape (n, *shape) [data].
            y: Class of each, shape (n,), int64.
        """
        check_real(x)
        sigmas = sigmas_of(self.alpha_bars).to(x)
        sigma = sigmas[torch.randint(len(sigmas), (len(x),), device=x.device)]
        error = model(noisy(x, sigma), sigma, told(y, self.drop_label)) - x
        return mean_of_each((error / levels_like(sigma, x)) ** 2).mean()
