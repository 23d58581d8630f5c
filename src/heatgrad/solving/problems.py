"""Problems by name, and what any problem of one's own must bring."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from heatgrad.core.errors import SpecError
from heatgrad.core.lookup import lookup
from heatgrad.laplacian import Boundary
from heatgrad.pde import Darcy, Grid, Helmholtz, NavierStokes, Poisson

__all__ = ["PROBLEMS", "Problem", "named_problem"]

Fields = Mapping[str, Tensor]


@runtime_checkable
class Problem(Protocol):
    """An equation with a random parameter: what is asked of one's own, too.

    A linear one with a Gaussian law, `is_linear`, has also `law`, the `GaussianRandomField` of its
    first field, and `solve` from the first field to the second; it needs no training.
    """

    @property
    def grid(self) -> Grid:
        """Where the values of its fields stand."""
        ...

    @property
    def names(self) -> tuple[str, ...]:
        """Names of its fields, the parameter first."""
        ...

    @property
    def boundaries(self) -> Mapping[str, Boundary]:
        """Boundary condition of each field, by which its basis is chosen."""
        ...

    @property
    def is_linear(self) -> bool:
        """Whether the second field is linear in the first and the first is Gaussian."""
        ...

    def sample(self, num: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Return fields drawn from the law, float64, each of shape (num, n, n)."""
        ...

    def residual(self, fields: Fields) -> Tensor:
        """Return how far fields are from the equation, relative, shape (num,)."""
        ...


PROBLEMS: dict[str, Callable[..., Any]] = {
    "poisson": Poisson,
    "helmholtz": Helmholtz,
    "darcy": Darcy,
    "navier-stokes": NavierStokes,
}
"""Problems by the names of files and command lines."""


def named_problem(name: str, options: Mapping[str, Any] | None = None) -> Problem:
    """Return a problem by name, or one's own as `"package.module:Name"`.

    Args:
        name: A key of `PROBLEMS`, or the import path of a problem, or of a function or class that
            returns one.
        options: Keyword arguments for it.

    Raises:
        SpecError: If there is none, it takes no such options, or it lacks what a problem has.

    Example:
        >>> named_problem("poisson", {"n": 33}).names
        ('a', 'u')
    """
    found = lookup(name, PROBLEMS, "problem")
    if isinstance(found, type) or not isinstance(found, Problem):
        try:
            found = found(**(options or {}))
        except Exception as error:  # it may be the user's own, and fail in any way
            raise SpecError(f"problem '{name}': {error}") from error
    if not isinstance(found, Problem):
        raise SpecError(
            f"problem '{name}' must have grid, names, boundaries, is_linear, sample and residual, "
            f"got a {type(found).__name__}"
        )
    return found
