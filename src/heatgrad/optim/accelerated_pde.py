"""The map between SGD with Nesterov momentum and the accelerated PDE that it discretises ([Sun]).

The functions take floats or tensors, so a learning rate may be either.
"""

import math
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from heatgrad.optim.dials import as_number, is_out_of_sight

__all__ = [
    "AcceleratedPDE",
    "DiffusedNesterov",
    "max_stable_diffusion",
    "pde_to_sgd",
    "refine",
    "sgd_to_pde",
]

Scalar = TypeVar("Scalar", float, Tensor)


class AcceleratedPDE(NamedTuple):
    r"""The coefficients of $u_{tt} + a u_t = -\nabla U(u) + b \nabla^2 u_t$, Eq. (V.3).

    Attributes:
        time_step: Δt, positive [time].
        damping: a, at least 0 [1/time].
        diffusivity: b, at least 0; the grid spacing is 1 [1/time].
    """

    time_step: float | Tensor
    damping: float | Tensor
    diffusivity: float | Tensor = 0.0


class DiffusedNesterov(NamedTuple):
    """The coefficients of Nesterov's momentum with a diffused velocity, Eqs. (V.6), (V.7).

    Attributes:
        lr: η [param/(loss/param)].
        momentum: γ [1].
        beta: β, the diffusion of the velocity [1].
    """

    lr: float | Tensor
    momentum: float | Tensor
    beta: float | Tensor = 0.0


def sgd_to_pde(
    lr: float | Tensor, momentum: float | Tensor, beta: float | Tensor = 0.0
) -> AcceleratedPDE:
    r"""Return the PDE and the time step that an optimizer's coefficients stand for.

    $$\Delta t = \sqrt{\frac{2\eta}{1 + \gamma}}, \qquad
    a = \frac{2(1 - \gamma)}{\sqrt{2\eta(1 + \gamma)}}, \qquad
    b = \frac{2\beta}{(1 + \gamma)\,\Delta t} \tag{V.9}$$

    Args:
        lr: η, positive.
        momentum: γ, above -1 and at most 1 [1].
        beta: β, at least 0 [1].

    Returns:
        Time step, damping and diffusivity; `pde_to_sgd` is the inverse.

    Raises:
        TypeError: If a coefficient is no number.
        ValueError: If it is out of range.

    References:
        [Sun] Eq. (9), and Eq. (8) for b. Theory page: Eq. (V.9).

    Example:
        >>> pde = sgd_to_pde(0.1, 0.9, 0.475)
        >>> round(pde.time_step, 6), round(pde.damping, 6), round(pde.diffusivity, 6)
        (0.324443, 0.324443, 1.541104)
    """
    _check("lr", lr, above=0.0)
    _check("momentum", momentum, above=-1.0, at_most=1.0)
    _check("beta", beta, at_least=0.0)
    time_step = _sqrt(2 * lr / (1 + momentum))
    damping = 2 * (1 - momentum) / _sqrt(2 * lr * (1 + momentum))
    return AcceleratedPDE(time_step, damping, 2 * beta / ((1 + momentum) * time_step))


def pde_to_sgd(
    time_step: float | Tensor, damping: float | Tensor, diffusivity: float | Tensor = 0.0
) -> DiffusedNesterov:
    r"""Return the optimizer's coefficients of a PDE and its time step.

    $$\eta = \frac{2\Delta t^2}{2 + a\Delta t}, \qquad
    \gamma = \frac{2 - a\Delta t}{2 + a\Delta t}, \qquad
    \beta = \frac{2 b\Delta t}{2 + a\Delta t} \tag{V.8}$$

    Args:
        time_step: Δt, positive [time].
        damping: a, at least 0 [1/time].
        diffusivity: b, at least 0 [1/time].

    Returns:
        Learning rate, momentum and diffusion of the velocity; `sgd_to_pde` is the inverse.

    Raises:
        TypeError: If a coefficient is no number.
        ValueError: If it is out of range.

    References:
        [Sun] Eq. (8). Theory page: Eq. (V.8).

    Example:
        >>> lr, momentum, beta = pde_to_sgd(*sgd_to_pde(0.1, 0.9, 0.475))
        >>> round(lr, 12), round(momentum, 12), round(beta, 12)
        (0.1, 0.9, 0.475)
    """
    _check("time_step", time_step, above=0.0)
    _check("damping", damping, at_least=0.0)
    _check("diffusivity", diffusivity, at_least=0.0)
    whole = 2 + damping * time_step
    return DiffusedNesterov(
        2 * time_step**2 / whole,
        (2 - damping * time_step) / whole,
        2 * diffusivity * time_step / whole,
    )


def max_stable_diffusion(momentum: float, num_dims: int) -> float:
    r"""Return the largest diffusion of the velocity under which no frequency grows.

    $$\beta_{\max} = \frac{1 + \gamma}{4N} \tag{V.11}$$

    It does not depend on the learning rate, so a schedule of the rate leaves it alone.

    Args:
        momentum: γ, at least 0 and at most 1 [1].
        num_dims: Number of diffused axes N, at least 0.

    Returns:
        The bound [1]; infinity if nothing diffuses.

    Raises:
        ValueError: If an argument is out of range.

    References:
        [Sun] Theorem 2, Eq. (11). Theory page: Eq. (V.11).

    Example:
        >>> max_stable_diffusion(0.9, 1)
        0.475
    """
    _check("momentum", momentum, at_least=0.0, at_most=1.0)
    if isinstance(num_dims, bool) or not isinstance(num_dims, int) or num_dims < 0:
        raise ValueError(f"num_dims must be a whole number of axes, at least 0, got {num_dims!r}")
    return math.inf if num_dims == 0 else (1 + momentum) / (4 * num_dims)


def refine(
    lr: float | Tensor, momentum: float | Tensor, factor: float | Tensor
) -> tuple[float | Tensor, float | Tensor]:
    r"""Return learning rate and momentum of the same PDE at a time step divided by `factor`.

    $$\gamma_c = \frac{(c-1) + (c+1)\gamma}{(c+1) + (c-1)\gamma}, \qquad
    \eta_c = \frac{2\eta}{c\,\bigl((c+1) + (c-1)\gamma\bigr)} \tag{V.12}$$

    Damping and diffusivity stay, so a diffusivity of $c$ times the bound becomes exactly the
    bound. The effective rate $\eta/(1-\gamma)$ falls by the factor: compare with a plain
    optimizer at the refined values. At `factor` 1 both values come back to the last bit.

    Args:
        lr: η, at least 0.
        momentum: γ, at least 0 and at most 1 [1].
        factor: c, at least 1 [1].

    Raises:
        TypeError: If an argument is no number.
        ValueError: If it is out of range.

    References:
        [Sun] 4.2 (the text cites Eq. (4); it is (8)). Theory page: Eq. (V.12).

    Example:
        >>> lr, momentum = refine(0.1, 0.9, 2.0)
        >>> round(lr, 6), round(momentum, 6)
        (0.025641, 0.948718)
    """
    _check("lr", lr, at_least=0.0)
    _check("momentum", momentum, at_least=0.0, at_most=1.0)
    _check("factor", factor, at_least=1.0)
    more, less = factor + 1, factor - 1
    whole = more + less * momentum
    return 2 * lr / (factor * whole), (less + more * momentum) / whole


def _sqrt(value: float | Tensor) -> float | Tensor:
    return torch.sqrt(value) if isinstance(value, Tensor) else math.sqrt(value)


def _check(
    name: str,
    value: float | Tensor,
    *,
    above: float | None = None,
    at_least: float | None = None,
    at_most: float | None = None,
) -> None:
    if is_out_of_sight(value):
        return
    number = as_number(name, value)
    is_inside = math.isfinite(number)
    is_inside &= above is None or number > above
    is_inside &= at_least is None or number >= at_least
    is_inside &= at_most is None or number <= at_most
    if not is_inside:
        bounds = [f"above {above:g}"] if above is not None else []
        bounds += [f"at least {at_least:g}"] if at_least is not None else []
        bounds += [f"at most {at_most:g}"] if at_most is not None else []
        raise ValueError(f"{name} must be finite and {' and '.join(bounds)}, got {number:g}")
