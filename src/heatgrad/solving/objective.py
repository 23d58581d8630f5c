"""EDM's loss in which modes count by what they carry."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from heatgrad.diffusion import LabelledDenoiser, levels_like
from heatgrad.inverse import SpectralLatent

__all__ = ["ModeWeightedLoss", "mode_weights"]


def mode_weights(latent: SpectralLatent, power: float) -> Float[Tensor, "channels size size"]:
    r"""Return $w_k \propto s_k^p$, of mean 1 over the modes of each field.

    With p = 2 the loss is the squared error of the fields; with p = 0 all modes count alike. The
    best denoiser is the same for any weights: they say what a small network should learn first.

    Args:
        latent: Whose deviations s are taken.
        power: p, at least 0.

    Example:
        >>> from heatgrad.inverse import Square
        >>> from heatgrad.pde import GaussianRandomField, Grid
        >>> latent = SpectralLatent.of_law(GaussianRandomField(Grid(9), "dirichlet"))
        >>> round(float(mode_weights(latent, 1.0).mean()), 6)
        1.0
    """
    relative = latent.std / latent.std.amax((1, 2), keepdim=True).clamp(min=1e-300)
    weights = torch.where(latent.std > 0, relative**power, 0.0)
    return weights / weights.mean((1, 2), keepdim=True)


@dataclass(frozen=True, eq=False)
class ModeWeightedLoss:
    r"""The loss of `EDMLoss` for latents of deviation 1, each mode with a weight.

    $$E\; \frac{\sigma^2 + 1}{\sigma^2} \sum_k w_k (D(z_0 + \sigma n, \sigma) - z_0)_k^2,
    \qquad \ln \sigma \sim \mathcal N(P_{mean}, P_{std}^2).$$

    Attributes:
        weights: w, the shape of a latent.
        log_mean: P_mean.
        log_std: P_std.

    References:
        Karras et al. (2022), arXiv:2206.00364v2, Table 1. Theory page of `diffusion`: Eq. (D.22).

    Example:
        >>> loss = ModeWeightedLoss(torch.ones(3), -0.5, 1.4)
        >>> float(loss(lambda z, sigma, label: 0 * z, torch.zeros(4, 3), torch.zeros(4).long()))
        0.0
    """

    calls_network: ClassVar[Literal[True]] = True

    weights: Tensor
    log_mean: float
    log_std: float

    def __call__(self, model: LabelledDenoiser, x: Tensor, y: Tensor) -> Tensor:
        """Return the loss of a batch of latents; labels are not looked at."""
        normal = torch.randn(len(x), device=x.device, dtype=x.dtype)
        sigma = torch.exp(self.log_mean + self.log_std * normal)
        level = levels_like(sigma, x)
        error = model(x + level * torch.randn_like(x), sigma, None) - x
        return ((1 + level**-2) * self.weights.to(x) * error**2).mean()
