"""The loss at places around a solution, batch statistics and all."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from heatgrad.landscape.norms import recalibrate
from heatgrad.landscape.objective import Objective

__all__ = ["Ground"]


class Ground:
    """A network that is moved about its solution.

    Args:
        model: The network, in evaluation mode; its parameters are changed.
        objective: Its loss.
        params: The parameters that are moved.
        inputs: What running statistics are estimated by, anew at every place; None if they stay.

    Attributes:
        params: The parameters.
        loss: The loss of the solution itself.
    """

    def __init__(
        self,
        model: nn.Module,
        objective: Objective,
        params: Sequence[nn.Parameter],
        inputs: Iterable[Tensor] | None,
    ) -> None:
        self._model, self._objective, self._inputs = model, objective, inputs
        self.params = params
        self._start = [param.detach().clone() for param in params]
        self.loss = self.at([torch.zeros_like(param) for param in params], 0.0)

    def at(self, direction: Sequence[Tensor], distance: float) -> float:
        """Return the loss at a distance along a direction."""
        return self.over(direction, distance, direction, 0.0)

    @torch.no_grad()
    def over(self, first: Sequence[Tensor], a: float, second: Sequence[Tensor], b: float) -> float:
        """Return the loss at a place of a plane."""
        self._go(first, a, second, b)
        return sum(float(term) for term in self._objective.terms(self._model))

    def gradient(self, direction: Sequence[Tensor]) -> tuple[float, list[Tensor]]:
        """Return the loss at the end of a direction and its gradient, at fixed statistics."""
        self._go(direction, 1.0, direction, 0.0)
        total, grads = 0.0, [torch.zeros_like(param) for param in self.params]
        for term in self._objective.terms(self._model):
            parts = torch.autograd.grad(
                term, self.params, allow_unused=True, materialize_grads=True
            )
            total += float(term.detach())
            for grad, part in zip(grads, parts, strict=True):
                grad += part
        return total, grads

    @torch.no_grad()
    def _go(self, first: Sequence[Tensor], a: float, second: Sequence[Tensor], b: float) -> None:
        for param, start, x, y in zip(self.params, self._start, first, second, strict=True):
            place = start + a * x if a else start
            param.copy_(place + b * y if b else place)
        if self._inputs is not None:
            recalibrate(self._model, self._inputs)
