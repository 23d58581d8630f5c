"""Layers that the denoising networks share."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

__all__ = [
    "Attention",
    "ResBlock",
    "check_counts",
    "check_options",
    "check_shape",
    "cropped",
    "group_norm",
    "padded",
    "zeroed",
]


def check_shape(input_shape: Sequence[int]) -> tuple[int, int, int]:
    """Return the shape of a sample, (channels, height, width).

    Raises:
        ValueError: If it is another.

    Example:
        >>> check_shape([1, 8, 8])
        (1, 8, 8)
    """
    shape = tuple(input_shape)
    if len(shape) != 3 or any(isinstance(v, bool) or v < 1 for v in shape):
        raise ValueError(
            f"input_shape must be (channels, height, width), got {shape}; give data without these "
            f"axes ones of length 1"
        )
    return shape


def check_counts(**counts: int) -> None:
    """Raise ValueError unless all are whole numbers of at least 1."""
    for name, value in counts.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")


def check_options(*, sigma_data: float, num_classes: int | None, dropout: float = 0.0) -> None:
    """Raise ValueError unless the options that all networks have are in range."""
    if isinstance(sigma_data, bool) or not 0 < sigma_data < float("inf"):
        raise ValueError(
            f"sigma_data must be the standard deviation of the data, above 0, got {sigma_data!r}"
        )
    if num_classes is not None:
        check_counts(num_classes=num_classes)
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout must be at least 0 and less than 1, got {dropout!r}")


def padded(x: Float[Tensor, "n c h w"], multiple: int) -> Float[Tensor, "n c height width"]:
    """Return images with zeros around them, so that both sides are multiples of a number.

    Example:
        >>> padded(torch.ones(1, 1, 5, 8), 4).shape
        torch.Size([1, 1, 8, 8])
    """
    down, right = (-side % multiple for side in x.shape[-2:])
    if not down and not right:
        return x
    return F.pad(x, (right // 2, right - right // 2, down // 2, down - down // 2))


def cropped(x: Float[Tensor, "n c height width"], shape: Sequence[int]) -> Float[Tensor, "n c h w"]:
    """Return the middle of images, as `padded` has laid it.

    Args:
        x: Images.
        shape: Of an image, of which the last two axes count.

    Example:
        >>> cropped(padded(torch.ones(1, 1, 5, 8), 4), (5, 8)).sum()
        tensor(40.)
    """
    top, left = ((x.shape[axis] - shape[axis]) // 2 for axis in (-2, -1))
    return x[..., top : top + shape[-2], left : left + shape[-1]]


def group_norm(channels: int) -> nn.GroupNorm:
    """Return the normalisation of images in 8 groups of channels, or as many as divide them."""
    return nn.GroupNorm(next(g for g in (8, 4, 2, 1) if channels % g == 0), channels)


def zeroed(layer: nn.Conv2d | nn.Linear) -> nn.Conv2d | nn.Linear:
    """Return a layer with its weights set to 0: it begins as nothing."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


class ResBlock(nn.Module):
    """Two 3 by 3 convolutions around which the sample goes; in between it hears the conditions.

    Args:
        channels: Of its input.
        width: Of its output.
        told: Length of the vector of conditions; 0 for none.
        dropout: Probability that an element is dropped before the second convolution [1].

    Example:
        >>> ResBlock(4, 8, told=16)(torch.ones(2, 4, 6, 6), torch.ones(2, 16)).shape
        torch.Size([2, 8, 6, 6])
    """

    def __init__(self, channels: int, width: int, *, told: int = 0, dropout: float = 0.0) -> None:
        super().__init__()
        self.norm1, self.norm2 = group_norm(channels), group_norm(width)
        self.conv1 = nn.Conv2d(channels, width, 3, padding=1)
        self.conv2 = zeroed(nn.Conv2d(width, width, 3, padding=1))
        self.told = nn.Linear(told, 2 * width) if told else None
        self.dropout = nn.Dropout(dropout)
        self.around: nn.Module = (
            nn.Identity() if channels == width else nn.Conv2d(channels, width, 1)
        )

    def forward(
        self, x: Float[Tensor, "n c h w"], vector: Float[Tensor, "n told"] | None = None
    ) -> Float[Tensor, "n width h w"]:
        """Return the changed images.

        Args:
            x: Images.
            vector: The conditions of each, through a nonlinearity.
        """
        y = self.norm2(self.conv1(F.silu(self.norm1(x))))
        if self.told is not None and vector is not None:
            scale, shift = self.told(vector)[:, :, None, None].chunk(2, dim=1)
            y = torch.addcmul(shift, y, 1 + scale)
        added: Tensor = self.around(x) + self.conv2(self.dropout(F.silu(y)))
        return added


class Attention(nn.Module):
    """Self-attention over rows of vectors; what it finds is not added to them here.

    Args:
        width: Length of the vectors, a multiple of `heads`.
        heads: Number of heads.

    Example:
        >>> Attention(8, 2)(torch.ones(3, 5, 8)).shape
        torch.Size([3, 5, 8])
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"width must be a multiple of heads, got {width} and {heads}")
        self.heads = heads
        self.into, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Float[Tensor, "n tokens width"]) -> Float[Tensor, "n tokens width"]:
        """Return what each token takes from the others."""
        n, tokens, width = x.shape
        each = self.into(x).view(n, tokens, 3, self.heads, width // self.heads)
        query, key, value = each.permute(2, 0, 3, 1, 4)
        found = F.scaled_dot_product_attention(query, key, value)
        mixed: Tensor = self.out(found.transpose(1, 2).reshape(n, tokens, width))
        return mixed
