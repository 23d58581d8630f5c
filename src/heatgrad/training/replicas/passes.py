"""What a way to train many networks at once has to give."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence

from torch import Tensor

from heatgrad.training.evaluation import Evaluation

__all__ = ["ROWS", "Passes"]

ROWS = 16  # of a stack, taken through a network at once: enough to be fast, few enough for cache


class Passes(ABC):
    """The forward and backward passes of a stack of networks. Abstract.

    A source is a data set with its batch order and dropout; replicas may share one.
    """

    @abstractmethod
    def gradients(self, x: Tensor, y: Tensor, seeds: Sequence[int]) -> Tensor:
        """Fill the stack's gradients for one step; return the losses, float64, shape (replicas,).

        Args:
            x: Inputs, shape (sources, batch, *shape).
            y: Labels, shape (sources, batch).
            seeds: Seed of the step's dropout of each source.
        """

    @abstractmethod
    def scores(self, rows: Collection[int]) -> dict[int, Evaluation]:
        """Return the scores of these rows at least; their networks are written back."""
