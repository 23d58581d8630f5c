"""What a denoising network is told beside the sample: its noise level and its class."""

import math

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

__all__ = ["Conditioning"]

_FREQUENCIES = 32


class Conditioning(nn.Module):
    r"""Noise levels and classes as vectors.

    Sines and cosines of c_noise at 32 frequencies from 1/4 to 64, two linear layers; the vector of
    the class is added, and one more vector, which is learned too, stands for "not told".

    Args:
        width: Length of the vectors, at least 1.
        num_classes: Number of classes; None for a network that is never told one.

    Example:
        >>> told = Conditioning(16, 10)
        >>> told(torch.zeros(3), torch.tensor([0, 9, -1])).shape
        torch.Size([3, 16])

    References:
        Ho and Salimans (2022), arXiv:2207.12598v1, Algorithm 1, for the vector of "not told".
    """

    frequencies: Tensor

    def __init__(self, width: int, num_classes: int | None) -> None:
        super().__init__()
        self.num_classes = num_classes
        scales = torch.logspace(-2, 6, _FREQUENCIES, base=2.0)
        self.register_buffer("frequencies", scales, persistent=False)
        self.noise = nn.Sequential(
            nn.Linear(2 * _FREQUENCIES, width), nn.SiLU(), nn.Linear(width, width)
        )
        self.label = None if num_classes is None else nn.Embedding(num_classes + 1, width)

    def forward(
        self, noise: Float[Tensor, " n"], label: Int64[Tensor, " n"] | None = None
    ) -> Float[Tensor, "n width"]:
        """Return the vector of each sample.

        Args:
            noise: c_noise of each sample [1].
            label: Class of each, from 0; -1 (or `num_classes`) where it is not told. None: of
                none. A network without classes takes no notice of it.

        Raises:
            ValueError: If there is not one class for each sample.
        """
        angles = math.pi * noise.unsqueeze(1) * self.frequencies
        vector: Tensor = self.noise(torch.cat([angles.sin(), angles.cos()], dim=1))
        if self.label is None or self.num_classes is None:
            return vector
        untold = self.num_classes
        if label is None:
            label = torch.full_like(noise, untold, dtype=torch.int64)
        if label.shape != noise.shape:
            raise ValueError(
                f"label must be one class for each of {len(noise)} samples, got shape "
                f"{tuple(label.shape)}"
            )
        told: Tensor = self.label(torch.where(label < 0, untold, label))
        return vector + told
