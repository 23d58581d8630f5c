"""How a network is wrapped so that it sees and gives numbers of order one at every noise level."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from heatgrad.diffusion.denoiser import levels_like

__all__ = [
    "Coefficients",
    "PreconditionedNetwork",
    "WithFraction",
    "coefficients",
    "preconditioned",
]

_LEAST = 1e-6  # of a level, for its logarithm alone
Core = Callable[[Tensor, Tensor, Tensor | None], Tensor]
WithFraction = Callable[..., tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Coefficients:
    """What input and output of a network are scaled by at given noise levels.

    Attributes:
        skip: Of the noisy sample in the output [1].
        out: Of the network's output [data].
        into: Of the noisy sample at the network's input [1/data].
        noise: What the network is told of the level, ln(sigma) / 4 [1].
    """

    skip: Tensor
    out: Tensor
    into: Tensor
    noise: Tensor


def coefficients(sigma: Float[Tensor, "*n"], sigma_data: float) -> Coefficients:
    r"""Return the scales at noise levels, of data of standard deviation `sigma_data`.

    $$c_{skip} = \frac{s_d^2}{\sigma^2 + s_d^2}, \quad
    c_{out} = \frac{\sigma s_d}{\sqrt{\sigma^2 + s_d^2}}, \quad
    c_{in} = \frac{1}{\sqrt{\sigma^2 + s_d^2}}, \quad
    c_{noise} = \tfrac14 \ln \sigma. \tag{D.30}$$

    The logarithm is taken of 1e-6 at least, so that level 0 has finite scales: there the output
    is the sample itself.

    Args:
        sigma: Levels of any shape, at least 0 [data].
        sigma_data: Standard deviation of the data about 0, positive [data].

    Example:
        >>> found = coefficients(torch.tensor([0.0, 1.0]), 1.0)
        >>> found.skip, found.out
        (tensor([1.0000, 0.5000]), tensor([0.0000, 0.7071]))

    References:
        Karras et al. (2022), arXiv:2206.00364v2, Table 1 and Eq. (7).
    """
    root = (sigma.square() + sigma_data**2).sqrt()
    return Coefficients(
        skip=(sigma_data / root).square(),
        out=sigma * sigma_data / root,
        into=1 / root,
        noise=sigma.clamp(min=_LEAST).log() / 4,
    )


def preconditioned(
    core: Core,
    x: Float[Tensor, "n *shape"],
    sigma: Float[Tensor, "*m"],
    label: Tensor | None,
    *,
    sigma_data: float,
    dtype: torch.dtype,
) -> tuple[Float[Tensor, "n *shape"], Tensor]:
    r"""Return the denoised samples of a network F in the coordinates that suit it.

    $$D(x, \sigma) = c_{skip} x + c_{out} F(c_{in} x, c_{noise}). \tag{D.31}$$

    The scales are computed in the dtype of `x`, and the network in its own: a sampler in float64
    keeps its precision around a network in float32. Where F = 0, D is the exact denoiser of
    normal data of mean 0 and deviation `sigma_data`.

    F may give more channels than the samples have; those beyond are returned as they are.

    Args:
        core: F of (scaled samples, c_noise of each, label of each or None).
        x: Noisy samples [data].
        sigma: Level of all, shape (), or of each, shape (n,) [data].
        label: Class of each sample, or None.
        sigma_data: Standard deviation of the data about 0 [data].
        dtype: That of the network.

    Returns:
        The denoised samples [data], and the channels beyond, shape (n, any, ...) [1].

    Example:
        >>> x = torch.ones(2, 1, 4, 4)
        >>> blank = lambda x, noise, label: 0 * x
        >>> sigma, options = torch.tensor(1.0), {"sigma_data": 1.0, "dtype": torch.float32}
        >>> preconditioned(blank, x, sigma, None, **options)[0].unique()
        tensor([0.5000])
    """
    scales = coefficients(levels_like(sigma, x), sigma_data)
    noise = scales.noise.to(dtype).flatten().expand(len(x))
    found = core((scales.into * x).to(dtype), noise, label).to(x.dtype)
    channels = x.shape[1]
    return scales.skip * x + scales.out * found[:, :channels], found[:, channels:]


class PreconditionedNetwork(nn.Module, ABC):
    """A network F in the coordinates of (D.31), perhaps with a second output for the variance.

    Attributes:
        stem: The first layer, whose dtype is the network's.
        sigma_data: Standard deviation of the data about 0 [data].
        learned_variance: Whether F gives twice the channels: `with_fraction`.
    """

    stem: nn.Linear | nn.Conv2d
    sigma_data: float
    learned_variance: bool

    @abstractmethod
    def _core(self, x: Tensor, noise: Tensor, label: Tensor | None) -> Tensor:
        """Return F of scaled samples, c_noise of each and the label of each or None."""

    @property
    def with_fraction(self) -> WithFraction:
        """The function that returns the denoised samples and the fraction, see `VarianceDenoiser`.

        Raises:
            AttributeError: If no variance is learned.
        """
        if not self.learned_variance:
            raise AttributeError("no variance is learned; build it with learned_variance=True")
        return self._with_fraction

    def _with_fraction(
        self, x: Tensor, sigma: Tensor, label: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        denoised, beyond = self._both(x, sigma, label)
        return denoised, (1 + beyond) / 2

    def _both(self, x: Tensor, sigma: Tensor, label: Tensor | None) -> tuple[Tensor, Tensor]:
        dtype = self.stem.weight.dtype
        return preconditioned(self._core, x, sigma, label, sigma_data=self.sigma_data, dtype=dtype)
