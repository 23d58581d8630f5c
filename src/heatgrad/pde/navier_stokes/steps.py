"""Steps in time of the vorticity equation, and many of them with little memory."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Complex, Float
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from heatgrad.pde.navier_stokes.torus import Dealias, Torus

__all__ = ["COURANT_LIMITS", "Scheme", "Vorticity", "advance"]

Scheme = Literal["euler", "heun", "rk4"]
"""`euler`: explicit Euler and Crank-Nicolson, as published, order 1; `heun`: the same with Heun's
average of two convections, order 2; `rk4`: classical with an integrating factor, order 4."""

COURANT_LIMITS: dict[str, float] = {"euler": 0.5, "heun": 1.0, "rk4": 2.5}
"""Largest speed x wavenumber x dt of each scheme."""

Spectrum = Complex[Tensor, "*batch n m"]


@dataclass(frozen=True, eq=False)
class Vorticity:
    r"""The right-hand side in Fourier space: convection plus forcing, and the viscous rates.

    Attributes:
        torus: The operators.
        viscosity: $\nu$, not negative.
        forcing: Spectrum of f, shape (n, n/2 + 1).
        dealias: Where the 2/3 rule acts.
    """

    torus: Torus
    viscosity: float
    forcing: Complex[Tensor, "n m"]
    dealias: Dealias

    def explicit(self, spectrum: Spectrum) -> Spectrum:
        """Return the spectrum of -v . grad w + f."""
        return self.torus.convection(spectrum, self.dealias) + self.forcing

    def stepper(self, scheme: Scheme, dt: float) -> Callable[[Tensor], Tensor]:
        """Return the function that makes one step of length dt."""
        rates = self.viscosity * self.torus.laplacian
        if scheme == "rk4":
            return _runge_kutta(self.explicit, torch.exp(-rates * dt / 2), dt)
        below, above = 1 + rates * dt / 2, 1 - rates * dt / 2
        if scheme == "euler":
            return _euler(self.explicit, above / below, dt / below)
        return _heun(self.explicit, above / below, dt / below)


def _euler(
    explicit: Callable[[Tensor], Tensor], decay: Float[Tensor, "n m"], weight: Float[Tensor, "n m"]
) -> Callable[[Tensor], Tensor]:
    """Return the published step, Eq. (P.23)."""

    def step(w: Tensor) -> Tensor:
        return decay * w + weight * explicit(w)

    return step


def _heun(
    explicit: Callable[[Tensor], Tensor], decay: Float[Tensor, "n m"], weight: Float[Tensor, "n m"]
) -> Callable[[Tensor], Tensor]:
    """Return the step with the average of two convections, Eq. (P.24)."""

    def step(w: Tensor) -> Tensor:
        first = explicit(w)
        kept = decay * w
        second = explicit(kept + weight * first)
        return kept + weight * (first + second) / 2

    return step


def _runge_kutta(
    explicit: Callable[[Tensor], Tensor], half: Float[Tensor, "n m"], dt: float
) -> Callable[[Tensor], Tensor]:
    """Return the classical step in the variable exp(nu k^2 t) w, Eq. (P.25)."""

    def step(w: Tensor) -> Tensor:
        first = explicit(w)
        kept = half * w
        second = explicit(kept + dt / 2 * half * first)
        third = explicit(kept + dt / 2 * second)
        fourth = explicit(half * (kept + dt * third))
        middle = kept + dt / 6 * (half * first + 2 * (second + third))
        return half * middle + dt / 6 * fourth

    return step


def advance(step: Callable[[Tensor], Tensor], w: Spectrum, steps: int) -> Spectrum:
    """Return w after many steps; where a gradient is wanted, about 2 sqrt(steps) are held.

    Blocks of sqrt(steps) steps are run again on the way back (`torch.utils.checkpoint`), for one
    more pass of time.

    Args:
        step: One step.
        w: Where to begin.
        steps: How many, at least 0.

    Example:
        >>> advance(lambda w: 2 * w, torch.ones(1, 1) + 0j, 3).real
        tensor([[8.]])
    """
    block = steps
    if torch.is_grad_enabled() and w.requires_grad:
        block = max(1, math.isqrt(steps))
    done = 0
    while done < steps:
        num = min(block, steps - done)
        if block < steps:
            w = checkpoint(_repeat, step, w, num, use_reentrant=False, preserve_rng_state=False)
        else:
            w = _repeat(step, w, num)
        done += num
    return w


def _repeat(step: Callable[[Tensor], Tensor], w: Tensor, num: int) -> Tensor:
    for _ in range(num):
        w = step(w)
    return w
