"""A loss along a path, and how far it rises above the line between its ends."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

__all__ = ["LossPath", "barrier_of", "excess"]

_RESAMPLES = 999


@dataclass(frozen=True)
class LossPath:
    """The loss along a path from one network to another.

    Attributes:
        at: Places on the path, 0 the first network and 1 the second, ascending, shape (points,).
        losses: The loss there, shape (points,).
        pieces: Each piece of the data's share of it, shape (points, pieces).
        statistics: What was done about batch normalisation.
    """

    at: Float[np.ndarray, " points"]
    losses: Float[np.ndarray, " points"]
    pieces: Float[np.ndarray, "points pieces"]
    statistics: str

    @property
    def barrier(self) -> float:
        r"""How far the path rises above the line between the losses of its ends, Eq. (G.1)."""
        return barrier_of(self.at, self.losses)

    @property
    def top(self) -> float:
        """Where on the path it does."""
        return float(self.at[excess(self.at, self.losses).argmax()])

    def interval(self, confidence: float = 0.95, *, seed: int = 0) -> tuple[float, float]:
        """Return the bootstrap interval of the barrier over pieces of the data.

        It says what other examples of the same kind would give; networks are held fixed. NaN where
        the data are a single piece.
        """
        count = self.pieces.shape[1]
        if count < 2:
            return float("nan"), float("nan")
        rng = np.random.default_rng(seed)
        found = []
        for _ in range(_RESAMPLES):
            chosen = rng.integers(count, size=count)
            found.append(barrier_of(self.at, self.pieces[:, chosen].sum(axis=1)))
        tail = (1 - confidence) / 2
        low, high = np.quantile(found, [tail, 1 - tail])
        return float(low), float(high)


def barrier_of(at: NDArray[np.float64], losses: NDArray[np.float64]) -> float:
    r"""Return the barrier of a path.

    $$b = \max_\alpha\; L(\theta(\alpha)) - [(1 - \alpha) L(\theta(0)) + \alpha L(\theta(1))]
    \tag{G.1}$$

    Args:
        at: Places α from 0 to 1, shape (points,).
        losses: L there, shape (points,).
    """
    return float(excess(at, losses).max())


def excess(at: NDArray[np.float64], losses: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how far a path is above the line between its ends, at each place."""
    line = (1 - at) * losses[0] + at * losses[-1]
    return np.asarray(losses - line)
