"""Residual networks for small images."""

from collections.abc import Sequence
from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from heatgrad.models.checks import check_image, check_num_classes, check_sizes
from heatgrad.models.weights import draw_weights_

__all__ = ["ResNet"]

Shortcut = Literal["pad", "projection"]


class ResNet(nn.Module):
    """A residual network of 6n + 2 layers: three stages of n blocks, of w, 2w and 4w channels.

    A block is two 3 by 3 convolutions with batch normalisation; what it takes in is added before
    its last ReLU. The second and third stage halve the sides of the image.

    Args:
        input_shape: (channels, height, width) of one image; height and width at least 4.
        num_classes: Number of outputs, at least 2.
        depth: Layers with weights: 6n + 2, as in 20, 56 or 110.
        width: Channels of the first stage (published: 16).
        shortcut: How a block that changes its size takes in what it adds: every second pixel and
            zeros for the new channels (`"pad"`, which has no parameters), or a 1 by 1 convolution
            with batch normalisation (`"projection"`).

    Attributes:
        stem: The first convolution.
        stages: The blocks.
        head: Mean over the image and the classifier.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> import torch
        >>> model = ResNet((3, 32, 32), 10, depth=56)
        >>> sum(p.numel() for p in model.parameters())
        853018
        >>> model(torch.zeros(5, 3, 32, 32)).shape
        torch.Size([5, 10])

    References:
        He et al. (2016), section 4.2: 0.27 million parameters with 20 layers, 0.85 with 56. The
        network of [Sun] Tables 1, 2 and 4.
    """

    def __init__(
        self,
        input_shape: Sequence[int],
        num_classes: int,
        *,
        depth: int = 20,
        width: int = 16,
        shortcut: Shortcut = "pad",
    ) -> None:
        super().__init__()
        channels = check_image(input_shape, least=4)
        check_num_classes(num_classes)
        check_sizes("width", (width,))
        if isinstance(depth, bool) or not isinstance(depth, int) or depth < 8 or depth % 6 != 2:
            raise ValueError(f"depth must be 6n + 2, as in 20, 56 or 110, got {depth!r}")
        if shortcut not in ("pad", "projection"):
            raise ValueError(f"shortcut must be one of pad, projection, got {shortcut!r}")
        self.stem = nn.Sequential(conv3(channels, width), nn.BatchNorm2d(width), nn.ReLU())
        blocks, size = [], width
        for stage in range(3):
            for place in range((depth - 2) // 6):
                new = width * 2**stage
                blocks.append(_Block(size, new, 2 if stage and not place else 1, shortcut))
                size = new
        self.stages = nn.Sequential(*blocks)
        self.head = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(size, num_classes)
        )
        draw_weights_(self)

    def forward(self, x: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch classes"]:
        """Return the logits [1]."""
        out: Tensor = self.head(self.stages(self.stem(x)))
        return out


class _Block(nn.Module):
    def __init__(self, size: int, new: int, stride: int, shortcut: Shortcut) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            conv3(size, new, stride),
            nn.BatchNorm2d(new),
            nn.ReLU(),
            conv3(new, new),
            nn.BatchNorm2d(new),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or size != new:
            self.shortcut = _Pad(new - size, stride)
            if shortcut == "projection":
                self.shortcut = nn.Sequential(
                    nn.Conv2d(size, new, 1, stride=stride, bias=False), nn.BatchNorm2d(new)
                )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.residual(x) + self.shortcut(x))


class _Pad(nn.Module):
    """Every `stride`-th pixel, and channels of zeros on both sides."""

    def __init__(self, more: int, stride: int) -> None:
        super().__init__()
        self._more, self._stride = (more // 2, more - more // 2), stride

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x[:, :, :: self._stride, :: self._stride], (0, 0, 0, 0, *self._more))


def conv3(channels: int, new: int, stride: int = 1) -> nn.Conv2d:
    """Return a 3 by 3 convolution without bias, which batch normalisation would take out."""
    return nn.Conv2d(channels, new, 3, stride=stride, padding=1, bias=False)
