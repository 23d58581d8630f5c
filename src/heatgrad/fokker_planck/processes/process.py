"""What every method of this wing evaluates: a diffusion dX = b dt + sqrt(2 D) dW, Itô."""

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["Points", "Process", "at_points", "scalar_valued"]

Points = Float[Tensor, "n p"]


class Process(ABC):
    r"""A diffusion process in one convention, that of the whole wing.

    $$dX = b(X)\,dt + \sqrt{2 D(X)}\,dW \quad \text{(Itô)} \tag{F.1}$$

    Its density obeys $\partial_t \rho = \sum_{ij} \partial_i \partial_j (D_{ij} \rho) -
    \nabla \cdot (b \rho)$, its backward generator is $A f = b \cdot \nabla f + D : \nabla^2 f$.
    Everything is evaluated at many points at once, in their type and on their device.

    Attributes:
        dim: p, number of coordinates; None where any number will do.
    """

    dim: int | None = None

    @abstractmethod
    def drift(self, x: Points) -> Points:
        """Return b at each point [param / time]."""

    @abstractmethod
    def diffusion(self, x: Points) -> Float[Tensor, "n p p"]:
        """Return D at each point, symmetric and positive semidefinite [param² / time]."""

    def noise_factor(self, x: Points) -> Float[Tensor, "n p r"]:
        """Return F with F F' = D at each point: the symmetric root, where none else is known."""
        values, vectors = torch.linalg.eigh(self.diffusion(x))
        factor: Tensor = vectors * values.clamp(min=0).sqrt().unsqueeze(-2)
        return factor

    def constant_diffusion(self) -> Float[Tensor, "p p"] | None:
        """Return D if it is the same at all points, in double precision, else None."""
        return None

    def scaled_potential(self, x: Points) -> Float[Tensor, " n"] | None:
        r"""Return V at each point if the stationary density is known to be $e^{-V}$, else None."""
        return None

    @property
    def is_reversible(self) -> bool:
        r"""Whether the scaled potential gives the drift: $b = -D \nabla V$, D constant."""
        return False


def at_points(function: Callable[[Tensor], Tensor]) -> Callable[[Points], Tensor]:
    """Return a function of one point, shape (p,), as a function of many, shape (n, p)."""
    return torch.func.vmap(function)


def scalar_valued(name: str, function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Return a function of one point that refuses to return anything but a scalar.

    Raises:
        ValueError: If it is not a function; when called, if its value is not a scalar.
    """
    if not callable(function):
        raise ValueError(f"{name} must be a function of one point, got {function!r}")

    def checked(x: Tensor) -> Tensor:
        value = function(x)
        if not isinstance(value, Tensor) or value.dim():
            found = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else repr(value)
            raise ValueError(f"{name} must return a scalar, got {found}; sum it or take an entry")
        return value

    return checked
