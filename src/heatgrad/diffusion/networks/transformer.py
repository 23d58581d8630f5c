"""A small transformer over patches that takes noise out of arrays."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from heatgrad.diffusion.networks.embedding import Conditioning
from heatgrad.diffusion.networks.layers import (
    Attention,
    check_counts,
    check_options,
    check_shape,
    cropped,
    padded,
    zeroed,
)
from heatgrad.diffusion.networks.preconditioning import PreconditionedNetwork

__all__ = ["DenoisingTransformer"]


class DenoisingTransformer(PreconditionedNetwork):
    """A transformer over non-overlapping patches, preconditioned, that may be told the class.

    It has learned positions, so that it fits arrays whose entries differ by their place, as
    spectral coefficients do. Conditions scale, shift and gate every layer; one projection of them
    serves all layers, each of which adds numbers of its own. Gates and the last layer begin as 0,
    so an untrained network is the exact denoiser of normal data of deviation `sigma_data`.

    Args:
        input_shape: (channels, height, width) of one sample.
        num_classes: Number of classes, or None for a network that is never told one.
        patch: Side of the patches. Sides that are no multiples of it are padded with zeros inside.
        width: Length of a token, a multiple of `heads`.
        depth: Number of layers.
        heads: Heads of the attention.
        expansion: Width of the two-layer perceptrons, in widths.
        dropout: Probability that an element is dropped after attention and perceptron [1].
        sigma_data: Standard deviation of the data about 0 [data].
        conditional: Whether it is told the class; false as with `num_classes` None.
        learned_variance: Whether it has a second output, `with_fraction`: where the variance of a
            reverse step lies between its bounds, as `HybridLoss` trains it.

    Attributes:
        sigma_data: As given. So are `input_shape`, `learned_variance` and `num_classes` (None if
            not conditional).

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> network = DenoisingTransformer((2, 44, 44))
        >>> sum(p.numel() for p in network.parameters())
        481952
        >>> network(torch.randn(3, 2, 44, 44), torch.ones(3)).shape
        torch.Size([3, 2, 44, 44])

    References:
        Peebles and Xie (2023), arXiv:2212.09748v2, section 3 (adaLN-Zero); Chen et al. (2023),
        arXiv:2310.00426v3, section 2.3 (one projection for all layers). Preconditioning: Eq.
        (D.31).
    """

    def __init__(
        self,
        input_shape: Sequence[int],
        num_classes: int | None = None,
        *,
        patch: int = 4,
        width: int = 96,
        depth: int = 4,
        heads: int = 4,
        expansion: int = 3,
        dropout: float = 0.0,
        sigma_data: float = 1.0,
        conditional: bool = True,
        learned_variance: bool = False,
    ) -> None:
        super().__init__()
        self.input_shape = check_shape(input_shape)
        check_counts(patch=patch, width=width, depth=depth, heads=heads, expansion=expansion)
        check_options(sigma_data=sigma_data, num_classes=num_classes, dropout=dropout)
        self.learned_variance = learned_variance
        self.sigma_data, self.num_classes = sigma_data, num_classes if conditional else None
        channels, height, breadth = self.input_shape
        self._patch = patch
        tokens = -(-height // patch) * -(-breadth // patch)
        self.told = Conditioning(width, self.num_classes)
        self.stem = nn.Linear(channels * patch**2, width)
        self.places = nn.Parameter(0.02 * torch.randn(tokens, width))
        self.all_layers = zeroed(nn.Linear(width, 6 * width))
        self.layers = nn.ModuleList(_Layer(width, heads, expansion, dropout) for _ in range(depth))
        self.last = zeroed(nn.Linear(width, 2 * width))
        self._channels = channels * (1 + learned_variance)
        self.head = zeroed(nn.Linear(width, self._channels * patch**2))

    def forward(
        self,
        x: Float[Tensor, "n c h w"],
        sigma: Float[Tensor, "*m"],
        label: Int64[Tensor, " n"] | None = None,
    ) -> Float[Tensor, "n c h w"]:
        """Return the denoised samples.

        Args:
            x: Noisy samples, of the shape that was given [data].
            sigma: Level of all, shape (), or of each, shape (n,) [data].
            label: Class of each; -1 where it is not told. None: of none.

        Raises:
            ValueError: If the samples have another shape.
        """
        if tuple(x.shape[1:]) != self.input_shape:
            raise ValueError(
                f"samples must have shape {self.input_shape}, as the positions were learned for, "
                f"got {tuple(x.shape[1:])}"
            )
        return self._both(x, sigma, label)[0]

    def _core(self, x: Tensor, noise: Tensor, label: Tensor | None) -> Tensor:
        vector = F.silu(self.told(noise, label))
        whole = padded(x, self._patch)
        y = self.stem(_patches(whole, self._patch)) + self.places
        told = self.all_layers(vector)
        for layer in self.layers:
            y = layer(y, told)
        y = self.head(_modulated(y, *self.last(vector).unsqueeze(1).chunk(2, dim=2)))
        return cropped(_joined(y, (len(x), self._channels, *whole.shape[2:]), self._patch), x.shape)


class _Layer(nn.Module):
    """Attention, then a perceptron, each scaled, shifted and gated by the conditions."""

    def __init__(self, width: int, heads: int, expansion: int, dropout: float) -> None:
        super().__init__()
        self.attention = Attention(width, heads)
        self.perceptron = nn.Sequential(
            nn.Linear(width, expansion * width),
            nn.GELU(approximate="tanh"),
            nn.Linear(expansion * width, width),
        )
        self.own = nn.Parameter(torch.zeros(6 * width))
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, y: Float[Tensor, "n tokens width"], told: Float[Tensor, "n six_widths"]
    ) -> Float[Tensor, "n tokens width"]:
        scale1, shift1, gate1, scale2, shift2, gate2 = (
            (told + self.own).unsqueeze(1).chunk(6, dim=2)
        )
        found = self.dropout(self.attention(_modulated(y, scale1, shift1)))
        y = torch.addcmul(y, gate1, found)
        found = self.dropout(self.perceptron(_modulated(y, scale2, shift2)))
        return torch.addcmul(y, gate2, found)


def _modulated(y: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    normal = F.layer_norm(y, y.shape[-1:], eps=1e-6)
    return torch.addcmul(shift, normal, 1 + scale)


def _patches(x: Float[Tensor, "n c h w"], side: int) -> Float[Tensor, "n tokens pixels"]:
    """Return the patches of images, each in one row."""
    n, c, h, w = x.shape
    squares = x.reshape(n, c, h // side, side, w // side, side)
    return squares.permute(0, 2, 4, 1, 3, 5).reshape(n, -1, c * side**2)


def _joined(
    y: Float[Tensor, "n tokens pixels"], shape: Sequence[int], side: int
) -> Float[Tensor, "n c h w"]:
    """Return the images whose patches are given."""
    n, c, h, w = shape
    squares = y.reshape(n, h // side, w // side, c, side, side)
    return squares.permute(0, 3, 1, 4, 2, 5).reshape(n, c, h, w)
