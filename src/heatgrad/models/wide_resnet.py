"""Wide residual networks for small images."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from heatgrad.models.checks import check_dropout, check_image, check_num_classes, check_sizes
from heatgrad.models.dropout import ByteDropout
from heatgrad.models.resnet import conv3
from heatgrad.models.weights import draw_weights_

__all__ = ["WideResNet"]


class WideResNet(nn.Module):
    """A wide residual network: 6n + 4 layers, three stages of 16k, 32k and 64k channels.

    A block is batch normalisation, ReLU and a 3 by 3 convolution, twice, with dropout between; what
    it takes in is added at its end. The second and third stage halve the sides of the image.

    Args:
        input_shape: (channels, height, width) of one image; height and width at least 4.
        num_classes: Number of outputs, at least 2.
        depth: Layers with weights: 6n + 4, as in 16 or 28.
        widen: k, at least 1.
        dropout: Probability that an element is dropped within a block (published: 0) [1].
        width: Channels that k multiplies (published: 16).

    Attributes:
        stem: The first convolution.
        stages: The blocks.
        head: Normalisation, mean over the image and the classifier.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> model = WideResNet((3, 32, 32), 10, depth=16, widen=4)
        >>> sum(p.numel() for p in model.parameters())
        2748890

    References:
        Zagoruyko and Komodakis (2016): 2.7 million parameters for 16-4, 36.5 for 28-10. The network
        of [Sun] Tables 3 and 4.
    """

    def __init__(
        self,
        input_shape: Sequence[int],
        num_classes: int,
        *,
        depth: int = 16,
        widen: int = 4,
        dropout: float = 0.0,
        width: int = 16,
    ) -> None:
        super().__init__()
        channels = check_image(input_shape, least=4)
        check_num_classes(num_classes)
        check_dropout(dropout)
        check_sizes("widen", (widen,))
        check_sizes("width", (width,))
        if isinstance(depth, bool) or not isinstance(depth, int) or depth < 10 or depth % 6 != 4:
            raise ValueError(f"depth must be 6n + 4, as in 16 or 28, got {depth!r}")
        self.stem = conv3(channels, width)
        blocks, size = [], width
        for stage in range(3):
            for place in range((depth - 4) // 6):
                new = width * widen * 2**stage
                blocks.append(_Block(size, new, 2 if stage and not place else 1, dropout))
                size = new
        self.stages = nn.Sequential(*blocks)
        self.head = nn.Sequential(
            nn.BatchNorm2d(size),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(size, num_classes),
        )
        draw_weights_(self)

    def forward(self, x: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch classes"]:
        """Return the logits [1]."""
        out: Tensor = self.head(self.stages(self.stem(x)))
        return out


class _Block(nn.Module):
    def __init__(self, size: int, new: int, stride: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(size)
        self.residual = nn.Sequential(
            conv3(size, new, stride),
            nn.BatchNorm2d(new),
            nn.ReLU(),
            ByteDropout(dropout),
            conv3(new, new),
        )
        self.projection: nn.Module | None = None
        if stride != 1 or size != new:
            self.projection = nn.Conv2d(size, new, 1, stride=stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        # Where the size changes, what is added is normalised, too.
        normed = F.relu(self.norm(x))
        added: Tensor = x if self.projection is None else self.projection(normed)
        out: Tensor = self.residual(normed) + added
        return out
