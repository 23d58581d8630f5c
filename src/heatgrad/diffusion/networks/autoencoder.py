"""A small autoencoder of images, whose latents have unit variance, and its loss."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from heatgrad.diffusion.networks.layers import (
    ResBlock,
    check_counts,
    check_shape,
    cropped,
    group_norm,
    padded,
)

__all__ = ["Autoencoder", "ReconstructionLoss"]


class Autoencoder(nn.Module):
    r"""Convolutions down to a few channels on a coarse grid, and up again.

    The latents go through a batch normalisation without weights, so each of their channels has
    mean 0 and variance 1 over data and places, by running averages once it is trained:

    $$z = \frac{f(x) - E[f]}{\sqrt{\operatorname{Var}[f]}}. \tag{D.32}$$

    That is the scale which a diffusion in the latents wants (`sigma_data` = 1), and which gives
    the noise that is added to them in training its meaning: the decoder learns to bear errors of
    that size.

    Args:
        input_shape: (channels, height, width) of one image.
        num_classes: Taken and not used, so that it is built as the other networks are.
        channels: Of the latents.
        width: Channels at half the resolution; twice as many below.
        num_halvings: How often sides are halved, at least 1; other sides are padded inside.
        noise: Deviation of what is added to the latents in training, at least 0 [1].

    Attributes:
        latent_shape: (channels, height, width) of one latent.
        options: The keyword arguments that it was built with.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> coder = Autoencoder((1, 28, 28)).eval()
        >>> z = coder.encode(torch.zeros(5, 1, 28, 28))
        >>> z.shape, coder.decode(z).shape
        (torch.Size([5, 4, 7, 7]), torch.Size([5, 1, 28, 28]))

    References:
        Rombach et al. (2022), arXiv:2112.10752v2, sections 3.1 and 4.3.1: latents are scaled to
        unit variance before a diffusion is trained in them.
    """

    def __init__(
        self,
        input_shape: Sequence[int],
        num_classes: int | None = None,
        *,
        channels: int = 4,
        width: int = 32,
        num_halvings: int = 2,
        noise: float = 0.1,
    ) -> None:
        super().__init__()
        self.input_shape = check_shape(input_shape)
        check_counts(channels=channels, width=width, num_halvings=num_halvings)
        if isinstance(noise, bool) or not 0 <= noise < float("inf"):
            raise ValueError(f"noise must be a number of at least 0, got {noise!r}")
        self.noise = noise
        self.options = {
            "channels": channels,
            "width": width,
            "num_halvings": num_halvings,
            "noise": noise,
        }
        self._multiple = 2**num_halvings
        height, breadth = (-(-side // self._multiple) for side in self.input_shape[1:])
        self.latent_shape = (channels, height, breadth)
        sizes = [width * min(2, 1 + level) for level in range(num_halvings)]
        coarse = sizes[-1]
        down, up = [], []
        for before, after in zip([self.input_shape[0], *sizes[:-1]], sizes, strict=True):
            down += [nn.PixelUnshuffle(2), nn.Conv2d(4 * before, after, 3, padding=1)]
            down += [ResBlock(after, after)]
            up += [nn.PixelShuffle(2), nn.Conv2d(after, 4 * before, 3, padding=1)]
            up += [ResBlock(after, after)]
        out = [group_norm(coarse), nn.SiLU(), nn.Conv2d(coarse, channels, 1)]
        self.encoder = nn.Sequential(*down, *out)
        self.scale = nn.BatchNorm2d(channels, affine=False, momentum=0.05)
        self.decoder = nn.Sequential(nn.Conv2d(channels, coarse, 3, padding=1), *reversed(up))

    @property
    def dtype(self) -> torch.dtype:
        """That of the weights."""
        return self.encoder[-1].weight.dtype  # type: ignore[return-value]

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """Return images as they come back from the latents, in training with noise on these."""
        z = self.encode(x)
        if self.training and self.noise:
            z = z + self.noise * torch.randn_like(z)
        return self.decode(z)

    def encode(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k a b"]:
        """Return the latents of images."""
        z: Tensor = self.scale(self.encoder(padded(x, self._multiple)))
        return z

    def decode(self, z: Float[Tensor, "n k a b"]) -> Float[Tensor, "n c h w"]:
        """Return the images of latents."""
        return cropped(self.decoder(z), self.input_shape)


@dataclass(frozen=True)
class ReconstructionLoss:
    """The mean squared error of a network that is to give its input back.

    Attributes:
        calls_network: It is given the network, not its output.

    Example:
        >>> x = torch.ones(2, 3)
        >>> ReconstructionLoss()(nn.Identity(), x, torch.tensor([0, 0])).item()
        0.0
    """

    calls_network: ClassVar[Literal[True]] = True

    def __call__(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """Return the mean over the batch and all entries; labels are not looked at."""
        return F.mse_loss(model(x).to(x.dtype), x)
