"""What the two integrators have in common: one step at a time, with a curve through it."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

__all__ = ["Step", "StepFailed", "Stepper"]

Curve = Callable[[NDArray[np.float64]], NDArray[np.float64]]


class StepFailed(ArithmeticError):  # noqa: N818 - a status, never seen by callers
    """An integrator could not go on; the message says why."""


@dataclass(frozen=True)
class Step:
    """One step that an integrator took, with a polynomial curve through it.

    Attributes:
        start: Time at its beginning.
        end: Time at its end.
        position: The curve at m times within the step, shape (m, p).
        velocity: Its derivative there, shape (m, p).
    """

    start: float
    end: float
    position: Curve
    velocity: Curve


class Stepper(ABC):
    """An integrator of the flow, from 0 to a fixed end."""

    @abstractmethod
    def step(self) -> Step:
        """Take one step.

        Raises:
            StepFailed: If none can be taken.
        """

    @abstractmethod
    def position(self) -> Float[np.ndarray, " p"]:
        """Return where the flow is."""

    @abstractmethod
    def stats(self) -> Mapping[str, int]:
        """Return what was counted so far."""
