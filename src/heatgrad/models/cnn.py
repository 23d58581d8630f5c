"""A small convolutional network."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from heatgrad.models.checks import check_dropout, check_image, check_num_classes, check_sizes
from heatgrad.models.dropout import ByteDropout
from heatgrad.models.weights import draw_weights_

__all__ = ["SimpleCNN"]


class SimpleCNN(nn.Module):
    """Two convolution blocks and a fully connected head, for images of any channels.

    Each block is a 3 by 3 convolution (padding 1), batch normalisation, ReLU and 2 by 2
    maximum pooling; the head is linear, ReLU, dropout, linear.

    Args:
        input_shape: (channels, height, width) of one image; height and width at least 4.
        num_classes: Number of outputs, at least 2.
        channels: Output channels of the two blocks (not given in the paper).
        hidden: Units of the hidden layer of the head (not given in the paper).
        dropout: Probability that a hidden unit is dropped (not given in the paper) [1].

    Attributes:
        features: The two blocks, flattened.
        head: The classifier.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> import torch
        >>> SimpleCNN((3, 32, 32), 10)(torch.zeros(5, 3, 32, 32)).shape
        torch.Size([5, 10])

    References:
        [Ray] C.1. Theory page: Eq. (T.10) and the table of constants.
    """

    def __init__(
        self,
        input_shape: Sequence[int],
        num_classes: int,
        *,
        channels: Sequence[int] = (16, 32),
        hidden: int = 128,
        dropout: float = 0.25,
    ) -> None:
        super().__init__()
        num_channels = check_image(input_shape, least=4)
        check_num_classes(num_classes)
        check_dropout(dropout)
        check_sizes("hidden", (hidden,))
        widths = check_sizes("channels", channels)
        if len(widths) != 2:
            raise ValueError(f"channels must be two numbers, one per block, got {widths}")
        first, second = widths
        self.features = nn.Sequential(
            *_block(num_channels, first), *_block(first, second), nn.Flatten()
        )
        # Each pooling halves a side, rounding down.
        size = second * (input_shape[1] // 4) * (input_shape[2] // 4)
        self.head = nn.Sequential(
            nn.Linear(size, hidden), nn.ReLU(), ByteDropout(dropout), nn.Linear(hidden, num_classes)
        )
        draw_weights_(self)

    def forward(self, x: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch classes"]:
        """Return the logits [1]."""
        out: Tensor = self.head(self.features(x))
        return out


def _block(channels_in: int, channels_out: int) -> list[nn.Module]:
    return [
        nn.Conv2d(channels_in, channels_out, kernel_size=3, padding=1),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(),
        nn.MaxPool2d(2),
    ]
