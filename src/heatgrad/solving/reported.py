"""Figures of others, as reported elsewhere on another test set: never compared case by case."""

from dataclasses import dataclass

__all__ = ["REPORTED", "REPORTED_BY", "Reported"]

REPORTED_BY = "as reported by FunDPS, on another test set"
"""The heading of every column with these figures."""


@dataclass(frozen=True)
class Reported:
    """A relative error that others report.

    Attributes:
        method: Their method, with its steps.
        forward: Error of the solution, from 500 sensors of the parameter [%].
        inverse: Error of the parameter, from 500 sensors of the solution; of Darcy wrong pixels
            [%].
    """

    method: str
    forward: float
    inverse: float


REPORTED: dict[str, tuple[Reported, ...]] = {
    "darcy": (
        Reported("FunDPS, 200 steps", 2.88, 6.78),
        Reported("FunDPS, 500 steps", 2.49, 5.18),
        Reported("DiffusionPDE, 2000 steps", 6.07, 7.87),
    ),
    "poisson": (
        Reported("FunDPS, 200 steps", 2.04, 24.04),
        Reported("FunDPS, 500 steps", 1.99, 20.47),
        Reported("DiffusionPDE, 2000 steps", 4.88, 21.10),
    ),
    "helmholtz": (
        Reported("FunDPS, 200 steps", 2.20, 20.07),
        Reported("FunDPS, 500 steps", 2.13, 17.16),
        Reported("DiffusionPDE, 2000 steps", 12.64, 19.07),
    ),
    "navier-stokes": (
        Reported("FunDPS, 200 steps", 3.99, 9.87),
        Reported("FunDPS, 500 steps", 3.32, 8.48),
        Reported("DiffusionPDE, 2000 steps", 3.78, 9.63),
    ),
}
"""By problem, on 128 x 128 points with 500 sensors, one draw a case."""
