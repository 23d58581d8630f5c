"""The loss at places around a solution, batch statistics and all."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from heatgrad.landscape.chain import Chain, Link, links_of
from heatgrad.landscape.norms import last_norm, recalibrate
from heatgrad.landscape.objective import DataLoss, Objective
from heatgrad.landscape.stacked import stacked_losses
from heatgrad.landscape.threads import in_threads

__all__ = ["Ground", "Move"]


@dataclass(frozen=True)
class Move:
    """A place: so far along one direction, so far along another.

    Attributes:
        first: A direction, one tensor for each parameter.
        a: How far along it.
        second: Another direction.
        b: How far along that.
    """

    first: Sequence[Tensor]
    a: float
    second: Sequence[Tensor] | None = None
    b: float = 0.0

    def of(self, start: Sequence[Tensor]) -> list[Tensor]:
        """Return the parameters at the place."""
        place = [p + self.a * d if self.a else p for p, d in zip(start, self.first, strict=True)]
        if self.second is None or not self.b:
            return place
        return [p + self.b * d for p, d in zip(place, self.second, strict=True)]


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
        inputs: Sequence[Tensor] | None,
    ) -> None:
        self._model, self._objective, self._inputs = model, objective, inputs
        self._until = last_norm(model, inputs[0]) if inputs else None
        self._start = [param.detach().clone() for param in params]
        self.params = params
        self.loss = self.at(Move(self._start, 0.0))

    @torch.no_grad()
    def at(self, move: Move) -> float:
        """Return the loss at a place."""
        self._go(move)
        return sum(float(term) for term in self._objective.terms(self._model))

    def losses(self, moves: Sequence[Move]) -> NDArray[np.float64]:
        """Return the loss at each place, shape (places,).

        On a GPU places are stacked and go through the network together, where it can be mapped
        over; on a CPU each thread takes its own places with a copy of the network. A function of
        the network, of which nothing is known, is asked for one place after another.
        """
        if isinstance(self._objective, DataLoss) and len(moves) > 1:
            self._go(Move(self._start, 0.0), anew=False)
            found = self._at_once(self._objective, moves)
            if found is not None and self._agrees(moves[-1], found[-1]):
                return found
        return np.array([self.at(move) for move in moves])

    def _at_once(self, objective: DataLoss, moves: Sequence[Move]) -> NDArray[np.float64] | None:
        if self.params[0].is_cuda:
            places = (move.of(self._start) for move in moves)
            return stacked_losses(
                self._model, objective, self.params, places, self._inputs, self._until
            )
        if not objective.is_held:  # a loader is read by one thread at a time
            return None
        inputs = [*objective.inputs(), *(self._inputs or ())]
        links = links_of(self._model, inputs)
        try:
            return np.array(in_threads(lambda: self._apart(links), moves))
        except (RuntimeError, TypeError, IndexError):  # the plain way says what is wrong
            return None

    def _agrees(self, move: Move, value: float) -> bool:
        """Whether a loss is what the plain way says.

        A criterion may look at the network itself, which was at the solution meanwhile.
        """
        plain, eps = self.at(move), torch.finfo(self.params[0].dtype).eps
        return bool(np.isclose(value, plain, rtol=1e4 * eps, atol=1e3 * eps, equal_nan=True))

    def gradient(self, move: Move) -> tuple[float, list[Tensor]]:
        """Return the loss at a place and its gradient, at fixed statistics."""
        self._go(move)
        total, grads = 0.0, [torch.zeros_like(param) for param in self.params]
        for term in self._objective.terms(self._model):
            parts = torch.autograd.grad(
                term, self.params, allow_unused=True, materialize_grads=True
            )
            total += float(term.detach())
            for grad, part in zip(grads, parts, strict=True):
                grad += part
        return total, grads

    def _apart(self, links: list[Link] | None) -> Callable[[Move], float]:
        """Return `at` of a copy, which may be asked by another thread.

        Args:
            links: The layers, if the network is fully connected.
        """
        ground = copy.copy(self)
        shared = {id(self._objective): self._objective, id(self._inputs): self._inputs}
        ground._model, ground._until, ground.params, links = copy.deepcopy(
            (self._model, self._until, list(self.params), links), shared
        )
        if links is None or not isinstance(self._objective, DataLoss):
            return ground.at
        chain = Chain(links, self._objective, self._inputs)

        def at(move: Move) -> float:
            ground._go(move, anew=False)
            return chain.loss()

        return at

    @torch.no_grad()
    def _go(self, move: Move, *, anew: bool = True) -> None:
        for param, value in zip(self.params, move.of(self._start), strict=True):
            param.copy_(value)
        if anew and self._inputs is not None:
            recalibrate(self._model, self._inputs, until=self._until)
