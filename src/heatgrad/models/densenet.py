"""Densely connected networks for small images."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from heatgrad.models.checks import check_dropout, check_image, check_num_classes, check_sizes
from heatgrad.models.dropout import ByteDropout
from heatgrad.models.resnet import conv3
from heatgrad.models.weights import draw_weights_

__all__ = ["DenseNet"]


class DenseNet(nn.Module):
    """A densely connected network with bottlenecks and compression (DenseNet-BC), 6n + 4 layers.

    Three blocks of n layers; each layer, a 1 by 1 convolution to 4k channels and a 3 by 3 one to k,
    takes in what all layers before it in the block gave. Between blocks a 1 by 1 convolution halves
    the channels, and mean pooling the sides of the image.

    Args:
        input_shape: (channels, height, width) of one image; height and width at least 4.
        num_classes: Number of outputs, at least 2.
        depth: Layers with weights: 6n + 4, as in 40 or 100.
        growth: k, at least 1.
        dropout: Probability that an element is dropped after a convolution (published: 0) [1].

    Attributes:
        features: All layers but the classifier.
        head: Mean over the image and the classifier.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> model = DenseNet((3, 32, 32), 10, depth=100, growth=12)
        >>> sum(p.numel() for p in model.parameters())
        769162

    References:
        Huang et al. (2017): 0.8 million parameters for DenseNet-BC-100-12, the network of [Sun]
        Table 3.
    """

    def __init__(
        self,
        input_shape: Sequence[int],
        num_classes: int,
        *,
        depth: int = 100,
        growth: int = 12,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        channels = check_image(input_shape, least=4)
        check_num_classes(num_classes)
        check_dropout(dropout)
        check_sizes("growth", (growth,))
        if isinstance(depth, bool) or not isinstance(depth, int) or depth < 10 or depth % 6 != 4:
            raise ValueError(f"depth must be 6n + 4, as in 40 or 100, got {depth!r}")
        size = 2 * growth
        layers: list[nn.Module] = [conv3(channels, size)]
        for block in range(3):
            for _ in range((depth - 4) // 6):
                layers.append(_Layer(size, growth, dropout))
                size += growth
            if block < 2:
                layers += [*_normed(size, size // 2, 1, dropout), nn.AvgPool2d(2)]
                size //= 2
        self.features = nn.Sequential(*layers, nn.BatchNorm2d(size), nn.ReLU())
        self.head = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(size, num_classes)
        )
        draw_weights_(self)

    def forward(self, x: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch classes"]:
        """Return the logits [1]."""
        out: Tensor = self.head(self.features(x))
        return out


class _Layer(nn.Module):
    def __init__(self, size: int, growth: int, dropout: float) -> None:
        super().__init__()
        self.new = nn.Sequential(
            *_normed(size, 4 * growth, 1, dropout), *_normed(4 * growth, growth, 3, dropout)
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.new(x)], dim=1)


def _normed(size: int, new: int, kernel: int, dropout: float) -> list[nn.Module]:
    """Return batch normalisation, ReLU, a convolution and dropout."""
    conv = nn.Conv2d(size, new, kernel, padding=kernel // 2, bias=False)
    return [nn.BatchNorm2d(size), nn.ReLU(), conv, ByteDropout(dropout)]
