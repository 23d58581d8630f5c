"""What every method of this wing evaluates: a diffusion dX = b dt + sqrt(2 D) dW, Itô."""

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from heatgrad.fokker_planck.processes.root import matrix_root

__all__ = ["Points", "Process", "at_points", "gradient_at_points", "scalar_valued"]

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
        """Return F with F F' = D at each point; NaN where D is not positive semidefinite."""
        return matrix_root(self.diffusion(x))

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


def gradient_at_points(function: Callable[[Tensor], Tensor]) -> Callable[[Points], Points]:
    """Return the gradient of a scalar function of one point, as a function of many.

    It is NaN where the value is not finite. Differentiation alone would give a number there: that
    of the logarithm is -1 at -1.

    Example:
        >>> gradient_at_points(lambda x: torch.log(x).sum())(torch.tensor([[2.0], [-1.0]]))
        tensor([[0.5000],
                [   nan]])
    """
    both = torch.func.vmap(torch.func.grad_and_value(function))

    def gradient(x: Points) -> Points:
        slope, value = both(x)
        sound: Tensor = slope + (0 * value).to(slope).unsqueeze(1)
        return sound

    return gradient


def scalar_valued(
    name: str, function: Callable[..., Tensor], of: str = "one point"
) -> Callable[..., Tensor]:
    """Return a function that refuses to return anything but a scalar.

    Args:
        name: What to call it.
        function: Of one point, or of whatever.
        of: Of what, in words.

    Raises:
        ValueError: If it is not a function; when called, if its value is not a scalar.
    """
    if not callable(function):
        raise ValueError(f"{name} must be a function of {of}, got {function!r}")

    def checked(*given: Tensor) -> Tensor:
        value = function(*given)
        if not isinstance(value, Tensor) or value.dim():
            found = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else repr(value)
            raise ValueError(f"{name} must return a scalar, got {found}; sum it or take an entry")
        return value

    return checked
