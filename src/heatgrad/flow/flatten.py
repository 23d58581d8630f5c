"""A network with a loss, as a function of one vector of all its parameters."""

import copy
import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from heatgrad.flow.problem import Loss

__all__ = ["Criterion", "flat_loss"]

# Of the network's outputs and the targets, to a scalar: torch.nn.functional.mse_loss, say.
Criterion = Callable[[Tensor, Tensor], Tensor]


def flat_loss(
    model: nn.Module, data: tuple[Tensor, Tensor], criterion: Criterion
) -> tuple[Loss, Float[Tensor, " p"]]:
    """Return the loss of a network over data as a function of a vector, and the network's vector.

    All is done on a copy, in evaluation mode and in float64: dropout is off, the statistics of
    batch normalisation are fixed. Parameters that need no gradient stay as they are. The vector
    follows the order of `model.parameters()`; the model itself is left as it was.

    Args:
        model: The network.
        data: Inputs and targets; those of a floating type are taken to float64.
        criterion: The mean loss of outputs and targets.

    Raises:
        ValueError: If no parameter requires a gradient, or inputs and targets are not as many.

    Example:
        >>> x = torch.tensor([[1.0], [2.0]])
        >>> line = torch.nn.Linear(1, 1, bias=False)
        >>> loss, theta = flat_loss(line, (x, 3 * x), torch.nn.functional.mse_loss)
        >>> theta.dtype, loss(torch.full_like(theta, 3.0)).item()
        (torch.float64, 0.0)
    """
    if len(data) != 2 or len(data[0]) != len(data[1]) or not len(data[0]):
        raise ValueError(
            f"data must be inputs and as many targets, at least one, got {[len(d) for d in data]}"
        )
    network = copy.deepcopy(model).double().eval()
    moved = {name: p for name, p in network.named_parameters() if p.requires_grad}
    if not moved:
        raise ValueError("model must have a parameter that requires a gradient, got none")
    shapes = {name: p.shape for name, p in moved.items()}
    inputs, targets = (part.double() if part.is_floating_point() else part for part in data)
    start = torch.cat([p.detach().reshape(-1) for p in moved.values()])
    network.requires_grad_(False)

    def loss(theta: Tensor) -> Tensor:
        pieces = torch.split(theta, [math.prod(shape) for shape in shapes.values()])
        named = {
            name: piece.view(shape)
            for (name, shape), piece in zip(shapes.items(), pieces, strict=True)
        }
        return criterion(torch.func.functional_call(network, named, (inputs,)), targets)

    return loss, start
