"""Processes in a potential: overdamped and kinetic Langevin dynamics."""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from heatgrad.fokker_planck.processes.process import (
    Points,
    Process,
    at_points,
    gradient_at_points,
    scalar_valued,
)

__all__ = ["Kinetic", "Langevin", "Potential"]

Potential = Callable[[Tensor], Tensor]  # of one point, shape (p,), to a scalar


class Langevin(Process):
    r"""Motion down a potential in white noise of one temperature.

    $$dX = -\nabla U(X)\,dt + \sqrt{2 T}\,dW \tag{F.2}$$

    Its stationary density is $e^{-U/T}$, where that can be normalised.

    Args:
        potential: U, a differentiable function of one point, shape (p,), to a scalar [loss].
        temperature: T, positive [loss].

    Attributes:
        potential: As given.
        temperature: As given.

    Raises:
        ValueError: If the temperature is not positive and finite, or the potential no function.

    Example:
        >>> well = Langevin(lambda x: (x**2).sum() / 2, temperature=0.5)
        >>> well.drift(torch.tensor([[1.0, -2.0]]))
        tensor([[-1.,  2.]])
    """

    def __init__(self, potential: Potential, temperature: float) -> None:
        self.potential = potential
        self.temperature = _positive("temperature", temperature)
        height = scalar_valued("potential", potential)
        self._height, self._slope = at_points(height), gradient_at_points(height)

    def drift(self, x: Points) -> Points:
        """Return minus the potential's gradient; NaN where the potential is not finite."""
        return -self._slope(x)

    def diffusion(self, x: Points) -> Float[Tensor, "n p p"]:
        """Return T times the identity."""
        eye = self.temperature * torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
        return eye.expand(len(x), -1, -1)

    def noise_factor(self, x: Points) -> Float[Tensor, "n p p"]:
        """Return the root of T times the identity."""
        return self.diffusion(x) / math.sqrt(self.temperature)

    def scaled_potential(self, x: Points) -> Float[Tensor, " n"]:
        """Return U / T."""
        return self._height(x) / self.temperature

    @property
    def is_reversible(self) -> bool:
        """It is."""
        return True


class Kinetic(Process):
    r"""A unit mass in a potential, with friction and noise on its velocity alone.

    $$dQ = P\,dt, \qquad dP = -(\nabla U(Q) + \gamma P)\,dt + \sqrt{2 \gamma T}\,dW \tag{F.3}$$

    A point is (q, p), positions first. The noise is degenerate, the process hypoelliptic; its
    stationary density is $e^{-(U + |p|^2/2)/T}$. Heavy ball is its discretisation.

    Args:
        potential: U, a differentiable function of one position, shape (p,), to a scalar [loss].
        temperature: T, positive [loss].
        friction: γ, positive [1 / time].

    Attributes:
        potential: As given.
        temperature: As given.
        friction: As given.

    Raises:
        ValueError: If temperature or friction is not positive and finite, or the potential no
            function.

    Example:
        >>> ball = Kinetic(lambda q: (q**2).sum() / 2, temperature=1.0, friction=3.0)
        >>> ball.drift(torch.tensor([[1.0, 2.0]]))
        tensor([[ 2., -7.]])
    """

    def __init__(self, potential: Potential, temperature: float, friction: float) -> None:
        self.potential = potential
        self.temperature = _positive("temperature", temperature)
        self.friction = _positive("friction", friction)
        height = scalar_valued("potential", potential)
        self._height, self._slope = at_points(height), gradient_at_points(height)

    def drift(self, x: Points) -> Points:
        """Return the velocity, and the force with friction; NaN where U is not finite."""
        q, p = self._parts(x)
        return torch.cat([p, -self._slope(q) - self.friction * p], dim=1)

    def diffusion(self, x: Points) -> Float[Tensor, "n p p"]:
        """Return γ T on the velocities, zero elsewhere."""
        eye = torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
        eye[: self._parts(x)[0].shape[1]] = 0
        return (self.friction * self.temperature * eye).expand(len(x), -1, -1)

    def noise_factor(self, x: Points) -> Float[Tensor, "n p p"]:
        """Return the root of the diffusion."""
        return self.diffusion(x) / math.sqrt(self.friction * self.temperature)

    def scaled_potential(self, x: Points) -> Float[Tensor, " n"]:
        """Return the energy over T."""
        q, p = self._parts(x)
        return (self._height(q) + (p**2).sum(1) / 2) / self.temperature

    @staticmethod
    def _parts(x: Points) -> tuple[Tensor, Tensor]:
        if x.shape[1] % 2:
            raise ValueError(
                f"a point must hold positions and as many velocities, got {x.shape[1]} numbers"
            )
        q, p = x.chunk(2, dim=1)
        return q, p


def _positive(name: str, value: float) -> float:
    try:
        is_good = math.isfinite(value) and value > 0
    except TypeError:
        is_good = False
    if not is_good:
        raise ValueError(f"{name} must be positive and finite, got {value!r}")
    return float(value)
