"""The weak form by which a degenerate equation is defined, and the duality behind it."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import ArrayLike
from scipy.sparse.linalg import expm_multiply
from torch import Tensor

from heatgrad.fokker_planck.processes.process import Points, Process

__all__ = ["Pairing", "WeakForm", "backward_generator", "dual_pairing", "weak_form"]


def backward_generator(
    process: Process, function: Callable[[Tensor], Tensor]
) -> Callable[[Points], Float[Tensor, " n"]]:
    r"""Return the generator of a process applied to a test function, as a function of points.

    $$A f = b \cdot \nabla f + D : \nabla^2 f \tag{F.111}$$

    D may be degenerate: nothing is inverted.

    Args:
        process: Drift b and diffusion D.
        function: f, of one point, shape (p,), to a scalar; twice differentiable.

    Example:
        >>> from heatgrad.fokker_planck.processes.ito import Ito
        >>> decay = Ito(lambda x: -x, torch.eye(1))
        >>> backward_generator(decay, lambda x: (x**2).sum())(torch.tensor([[3.0]]))  # 2 - 2 x²
        tensor([-16.])
    """
    slope = torch.func.vmap(torch.func.grad(function))
    bend = torch.func.vmap(torch.func.hessian(function))

    def applied(x: Points) -> Float[Tensor, " n"]:
        moved = (process.drift(x) * slope(x)).sum(1)
        spread: Tensor = (process.diffusion(x) * bend(x)).sum((1, 2))
        total: Tensor = moved + spread
        return total.detach()

    return applied


@dataclass(frozen=True)
class WeakForm:
    """How far an ensemble is from the weak form of its equation.

    Attributes:
        gap: Mean of Eq. (F.112) over the replicas, zero in expectation.
        error: Its standard error.
        quadrature: Estimate of the error of the integral over time.
    """

    gap: float
    error: float
    quadrature: float

    @property
    def z(self) -> float:
        """Gap over standard error."""
        return self.gap / self.error if self.error else math.copysign(math.inf, self.gap or 1.0)

    @property
    def holds(self) -> bool:
        """Whether the gap is within four standard errors and the error of the integral."""
        return abs(self.gap) <= 4 * self.error + self.quadrature


def weak_form(
    process: Process,
    function: Callable[[Tensor], Tensor],
    times: ArrayLike,
    paths: Float[Tensor, "times replicas p"],
) -> WeakForm:
    r"""Test whether simulated paths solve the Fokker-Planck equation, in its weak form.

    $$\langle \rho_t, f \rangle - \langle \rho_0, f \rangle - \int_0^t \langle \rho_s, A f \rangle\,
    ds = 0 \tag{F.112}$$

    for a test function f. It asks for no density, and holds for degenerate noise. For each path the
    left side is a martingale, so its standard error comes from the replicas themselves. The
    integral is by the trapezoidal rule; half of the times tell its error.

    Args:
        process: The equation.
        function: f, of one point, to a scalar; twice differentiable.
        times: When the paths were recorded, increasing; an odd number, at least three [time].
        paths: The same independent replicas at all times.

    Raises:
        ValueError: If shapes do not fit, or times do not increase or are not odd in number.

    References:
        [Barbieri]: weak solutions of the degenerate equation by duality.
    """
    clock = torch.as_tensor(np.asarray(times, dtype=np.float64))
    if (
        clock.dim() != 1
        or len(clock) < 3
        or len(clock) % 2 == 0
        or not bool((clock.diff() > 0).all())
    ):
        raise ValueError(
            f"times must increase and be an odd number, at least three, got {clock.tolist()}"
        )
    if paths.dim() != 3 or len(paths) != len(clock) or paths.shape[1] < 2:
        raise ValueError(
            f"paths must have shape ({len(clock)}, replicas, p) with at least two replicas, got "
            f"{tuple(paths.shape)}"
        )
    generator, value = backward_generator(process, function), torch.func.vmap(function)
    rate = torch.stack([generator(one) for one in paths]).double().cpu()
    fine = torch.trapezoid(rate, clock, dim=0)
    coarse = torch.trapezoid(rate[::2], clock[::2], dim=0)
    change = (value(paths[-1]) - value(paths[0])).detach().double().cpu()
    gap = change - fine
    return WeakForm(
        gap=float(gap.mean()),
        error=float(gap.std() / math.sqrt(len(gap))),
        quadrature=abs(float((fine - coarse).mean())) / 3,
    )


@dataclass(frozen=True)
class Pairing:
    """The same mean by the density's equation and by its dual.

    Attributes:
        forward: Mean of f over the density at time t.
        backward: Mean of the dual function over the density at time 0.
    """

    forward: float
    backward: float

    @property
    def gap(self) -> float:
        """How far the two are apart."""
        return abs(self.forward - self.backward)


def dual_pairing(generator: Any, density: ArrayLike, function: ArrayLike, t: float) -> Pairing:
    r"""Return both sides of the duality between densities and test functions, for a chain.

    $$\langle \rho_t, f \rangle = \langle \rho_0, P_t f \rangle, \qquad \rho_t = e^{t Q^\top}
    \rho_0, \quad P_t f = e^{t Q} f \tag{F.113}$$

    Each side has its own exponential. Where forward equations have no density, the right side
    defines the left.

    Args:
        generator: Q, whose rows sum to zero: a square array or sparse matrix.
        density: Mass of each state at time 0.
        function: f at each state.
        t: At least 0 [time].

    Raises:
        ValueError: If shapes do not fit, rows do not sum to zero, or t is negative.

    Example:
        >>> found = dual_pairing(np.array([[-1.0, 1.0], [2.0, -2.0]]), [1.0, 0.0], [0.0, 1.0], 9.0)
        >>> round(found.forward, 6), found.gap < 1e-12  # a third in the end
        (0.333333, True)
    """
    rho, f = (np.asarray(part, dtype=np.float64) for part in (density, function))
    shape = tuple(generator.shape)
    if shape != (len(rho), len(rho)) or f.shape != rho.shape or rho.ndim != 1:
        raise ValueError(
            f"generator must be square of the size of density and function, got {shape}, "
            f"{rho.shape} and {f.shape}"
        )
    if not (math.isfinite(t) and t >= 0):
        raise ValueError(f"t must be at least 0 and finite, got {t!r}")
    sums = np.abs(np.asarray(generator.sum(axis=1))).max()
    if sums > 1e-9 * abs(generator).max():
        raise ValueError(
            f"rows of the generator must sum to zero, got up to {sums:.3g}; transpose it if its "
            f"columns do"
        )
    forward = expm_multiply(generator.T * t, rho) @ f
    backward = rho @ expm_multiply(generator * t, f)
    return Pairing(float(forward), float(backward))
