"""What the problems have in common."""

from collections.abc import Mapping
from typing import Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from heatgrad.laplacian import Boundary
from heatgrad.pde.grid import Grid
from heatgrad.pde.law import GaussianRandomField

__all__ = ["Problem"]


class Problem(Protocol):
    """An equation with a random field in it, and the field that it makes of that.

    Attributes:
        names: Of the fields, the given one first.
        is_linear: Whether the second is a linear function of the first.
        boundaries: Of each field: which basis suits it.

    Example:
        >>> from heatgrad.pde import Poisson
        >>> problem: Problem = Poisson(9)
        >>> problem.names
        ('a', 'u')
    """

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the fields, the given one first."""

    @property
    def is_linear(self) -> bool:
        """Whether the second field is a linear function of the first."""

    @property
    def boundaries(self) -> Mapping[str, Boundary]:
        """Boundary condition of each field."""

    @property
    def grid(self) -> Grid:
        """Where the values stand."""

    @property
    def law(self) -> GaussianRandomField:
        """Law of the random field."""

    def sample(
        self, num: int, generator: torch.Generator, *, device: torch.device | str | None = None
    ) -> dict[str, Float[Tensor, "num n n"]]:
        """Return independent sets of fields, float64."""

    def residual(self, fields: Mapping[str, Float[Tensor, "num n n"]]) -> Float[Tensor, " num"]:
        """Return how far each set is from solving the equation, relative."""
