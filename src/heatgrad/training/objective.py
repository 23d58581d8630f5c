"""Losses that call the network themselves, as those of diffusion do."""

from typing import Literal, Protocol, runtime_checkable

from torch import Tensor, nn
from typing_extensions import TypeIs

from heatgrad.training.losses import Loss

__all__ = ["Objective", "is_objective", "value_of"]


@runtime_checkable
class Objective(Protocol):
    """A loss that is given the network, not its output.

    It may call the network on other inputs than the data, as often as it likes, and draw random
    numbers from torch's default generators, which a training seeds before every step.

    Example:
        >>> class Norm:
        ...     calls_network = True
        ...
        ...     def __call__(self, model, x, y):
        ...         return model(x).square().mean()
        >>> isinstance(Norm(), Objective), is_objective(nn.functional.cross_entropy)
        (True, False)
    """

    @property
    def calls_network(self) -> Literal[True]:
        """What tells it from a loss of outputs and labels."""
        ...

    def __call__(self, model: nn.Module, x: Tensor, y: Tensor, /) -> Tensor:
        """Return the mean over a batch.

        Args:
            model: The network, or what stands for it on several processes: it can be called.
            x: Inputs, shape (n, *shape).
            y: Labels, shape (n,).
        """
        ...


def is_objective(loss: Loss | Objective) -> TypeIs[Objective]:
    """Whether a loss calls the network itself.

    Raises:
        TypeError: If it is a class, of which an instance is wanted.
    """
    if isinstance(loss, type):
        raise TypeError(f"loss must be an instance, got the class {loss.__name__}; call it first")
    return getattr(loss, "calls_network", False) is True


def value_of(loss: Loss | Objective, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Return the mean of a loss of either kind over a batch.

    Example:
        >>> import torch
        >>> x, y = torch.zeros(4, 2), torch.tensor([0, 1, 0, 1])
        >>> value_of(nn.functional.cross_entropy, nn.Identity(), x, y)
        tensor(0.6931)
    """
    if is_objective(loss):
        return loss(model, x, y)
    return loss(model(x), y)
