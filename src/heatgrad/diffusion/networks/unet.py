"""A small U-Net that takes noise out of images."""

from collections.abc import Sequence

from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from heatgrad.diffusion.networks.embedding import Conditioning
from heatgrad.diffusion.networks.layers import (
    Attention,
    ResBlock,
    check_counts,
    check_options,
    check_shape,
    cropped,
    group_norm,
    padded,
    zeroed,
)
from heatgrad.diffusion.networks.preconditioning import PreconditionedNetwork

__all__ = ["DenoisingUNet"]


class DenoisingUNet(PreconditionedNetwork):
    """A U-Net of residual blocks, preconditioned, that may be told the class.

    Each level halves the sides; on the way up it adds what the same level found on the way down.
    The middle block is followed by self-attention. Sides that cannot be halved often enough are
    padded with zeros inside. The last layer begins as 0, so an untrained network is the exact
    denoiser of normal data of deviation `sigma_data`.

    Args:
        input_shape: (channels, height, width) of one sample.
        num_classes: Number of classes, or None for a network that is never told one.
        width: Channels of the first level.
        multipliers: Channels of each level, in widths; as many as there are levels.
        num_blocks: Residual blocks of a level, on each way.
        patch: Side of the squares of pixels that become channels first: 2 makes everything four
            times cheaper, at some cost in detail.
        heads: Heads of the attention.
        dropout: Probability that an element is dropped in a block [1].
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
        >>> import torch
        >>> network = DenoisingUNet((1, 28, 28), 10, width=40, multipliers=(1, 2), patch=2)
        >>> sum(p.numel() for p in network.parameters())
        559284
        >>> x, label = torch.randn(2, 1, 28, 28), torch.tensor([7, -1])
        >>> network(x, torch.tensor(1.0), label).shape
        torch.Size([2, 1, 28, 28])

    References:
        Ronneberger et al. (2015), arXiv:1505.04597; Ho et al. (2020), arXiv:2006.11239v2,
        appendix B. Preconditioning: Eq. (D.31).
    """

    def __init__(
        self,
        input_shape: Sequence[int],
        num_classes: int | None = None,
        *,
        width: int = 32,
        multipliers: Sequence[int] = (1, 2, 2),
        num_blocks: int = 1,
        patch: int = 1,
        heads: int = 4,
        dropout: float = 0.0,
        sigma_data: float = 1.0,
        conditional: bool = True,
        learned_variance: bool = False,
    ) -> None:
        super().__init__()
        self.input_shape = check_shape(input_shape)
        check_counts(width=width, num_blocks=num_blocks, patch=patch, heads=heads)
        check_options(sigma_data=sigma_data, num_classes=num_classes, dropout=dropout)
        if not multipliers or any(not isinstance(m, int) or m < 1 for m in multipliers):
            raise ValueError(
                f"multipliers must be one whole number a level, such as [1, 2], got {multipliers!r}"
            )
        self.learned_variance = learned_variance
        self.sigma_data, self.num_classes = sigma_data, num_classes if conditional else None
        self._patch, self._multiple = patch, patch * 2 ** (len(multipliers) - 1)
        told = 4 * width
        self.told = Conditioning(told, self.num_classes)
        pixels = self.input_shape[0] * patch**2
        sizes = [width * m for m in multipliers]
        self.stem = nn.Conv2d(pixels, sizes[0], 3, padding=1)
        self.down, self.up, self.lateral = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()

        def stage(before: int, after: int) -> nn.ModuleList:
            into = [before, *[after] * (num_blocks - 1)]
            return nn.ModuleList(ResBlock(c, after, told=told, dropout=dropout) for c in into)

        for level, size in enumerate(sizes):
            self.down.append(stage(sizes[max(0, level - 1)], size))
            self.up.append(stage(size, size))
            above = sizes[min(level + 1, len(sizes) - 1)]
            self.lateral.append(nn.Conv2d(above, size, 1))
        last = sizes[-1]
        self.middle = ResBlock(last, last, told=told, dropout=dropout)
        self.norm, self.attention = group_norm(last), Attention(last, heads)
        self.head = nn.Sequential(
            group_norm(sizes[0]),
            nn.SiLU(),
            zeroed(nn.Conv2d(sizes[0], pixels * (1 + learned_variance), 3, padding=1)),
        )

    def forward(
        self,
        x: Float[Tensor, "n c h w"],
        sigma: Float[Tensor, "*m"],
        label: Int64[Tensor, " n"] | None = None,
    ) -> Float[Tensor, "n c h w"]:
        """Return the denoised samples.

        Args:
            x: Noisy samples [data].
            sigma: Level of all, shape (), or of each, shape (n,) [data].
            label: Class of each; -1 where it is not told. None: of none.
        """
        return self._both(x, sigma, label)[0]

    def _core(self, x: Tensor, noise: Tensor, label: Tensor | None) -> Tensor:
        vector = F.silu(self.told(noise, label))
        whole = padded(x, self._multiple)
        y = self.stem(F.pixel_unshuffle(whole, self._patch) if self._patch > 1 else whole)
        found: list[Tensor] = []
        for level, blocks in enumerate(self.down):
            if level:
                y = F.avg_pool2d(y, 2)
            y = _through(blocks, y, vector)
            found.append(y)
        y = self._attended(self.middle(y, vector))
        for level in reversed(range(len(found))):
            y = self.lateral[level](y)
            if level < len(found) - 1:
                y = F.interpolate(y, scale_factor=2.0, mode="nearest")
            y = _through(self.up[level], y + found[level], vector)
        y = self.head(y)
        return cropped(F.pixel_shuffle(y, self._patch) if self._patch > 1 else y, x.shape)

    def _attended(self, y: Tensor) -> Tensor:
        """Return images to which each pixel has added what it takes from the others."""
        tokens = self.norm(y).flatten(2).transpose(1, 2)
        found: Tensor = self.attention(tokens).transpose(1, 2).reshape(y.shape)
        return y + found


def _through(blocks: nn.Module, y: Tensor, vector: Tensor) -> Tensor:
    for block in blocks.children():
        y = block(y, vector)
    return y
