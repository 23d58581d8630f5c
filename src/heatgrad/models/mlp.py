"""Fully connected networks."""

import math
from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from heatgrad.models.checks import check_dropout, check_num_classes, check_sizes
from heatgrad.models.dropout import ByteDropout
from heatgrad.models.weights import draw_weights_

__all__ = ["MLP", "MediumMLP", "SimpleMLP"]


class MLP(nn.Module):
    """Linear layers; each hidden one is followed by batch norm, ReLU and dropout. Abstract.

    Attributes:
        layers: The layers, in order.
    """

    def __init__(
        self, input_shape: Sequence[int], num_classes: int, widths: Sequence[int], dropout: float
    ) -> None:
        super().__init__()
        check_num_classes(num_classes)
        check_dropout(dropout)
        layers: list[nn.Module] = [nn.Flatten()]
        size = math.prod(check_sizes("input_shape", input_shape))
        for width in widths:
            layers += [
                nn.Linear(size, width),
                nn.BatchNorm1d(width),
                nn.ReLU(),
                ByteDropout(dropout),
            ]
            size = width
        layers.append(nn.Linear(size, num_classes))
        self.layers = nn.Sequential(*layers)
        draw_weights_(self.layers)

    def forward(self, x: Float[Tensor, "batch *shape"]) -> Float[Tensor, "batch classes"]:
        """Return the logits [1]."""
        out: Tensor = self.layers(x)
        return out


class SimpleMLP(MLP):
    """Three linear layers: two hidden ones of equal width, then the classes.

    Each hidden layer is linear, batch normalisation, ReLU, dropout.

    Args:
        input_shape: Shape of one sample; it is flattened.
        num_classes: Number of outputs, at least 2.
        width: Units of each hidden layer (the paper: 128).
        dropout: Probability that a hidden unit is dropped (not given in the paper) [1].

    Attributes:
        layers: The layers, in order.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> import torch
        >>> SimpleMLP((2,), 2)(torch.zeros(5, 2)).shape
        torch.Size([5, 2])

    References:
        [Ray] C.1. Theory page: Eq. (T.10) and the table of constants.
    """

    def __init__(
        self,
        input_shape: Sequence[int],
        num_classes: int,
        *,
        width: int = 128,
        dropout: float = 0.2,
    ) -> None:
        check_sizes("width", (width,))
        super().__init__(input_shape, num_classes, (width, width), dropout)


class MediumMLP(MLP):
    """Five linear layers of decreasing width, for flattened images.

    Each hidden layer is linear, batch normalisation, ReLU, dropout.

    Args:
        input_shape: Shape of one sample; it is flattened.
        num_classes: Number of outputs, at least 2.
        widths: Units of the hidden layers, one or more (the paper: four, decreasing, the
            numbers not given).
        dropout: Probability that a hidden unit is dropped (not given in the paper) [1].

    Attributes:
        layers: The layers, in order.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> import torch
        >>> MediumMLP((1, 28, 28), 10)(torch.zeros(5, 1, 28, 28)).shape
        torch.Size([5, 10])

    References:
        [Ray] C.1. Theory page: Eq. (T.10) and the table of constants.
    """

    def __init__(
        self,
        input_shape: Sequence[int],
        num_classes: int,
        *,
        widths: Sequence[int] = (512, 256, 128, 64),
        dropout: float = 0.2,
    ) -> None:
        super().__init__(input_shape, num_classes, check_sizes("widths", widths), dropout)
