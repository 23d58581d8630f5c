"""Gradient flow, to times at which explicit methods have long given up."""

import math
from typing import Literal

import numpy as np
from jaxtyping import Float
from torch import Tensor, nn

from heatgrad.flow.drive import Callback, follow
from heatgrad.flow.flatten import Criterion, flat_loss
from heatgrad.flow.inner import DenseInner, Inner, KrylovInner
from heatgrad.flow.lsoda import LsodaStepper
from heatgrad.flow.problem import Derivatives, Loss, Problem, problem_of
from heatgrad.flow.rodas import RodasStepper
from heatgrad.flow.stepper import Stepper
from heatgrad.flow.trajectory import Trajectory

__all__ = ["gradient_flow", "output_times"]

Method = Literal["auto", "lsoda", "rosenbrock"]

_LSODA_TO = 200  # parameters: where "auto" changes over
_DENSE_TO = 2000  # parameters: the largest Hessian that is formed, unless asked otherwise


def gradient_flow(
    model_or_loss: nn.Module | Loss,
    theta0: Float[Tensor, " p"] | None = None,
    *,
    t_end: float,
    data: tuple[Tensor, Tensor] | None = None,
    criterion: Criterion | None = None,
    method: Method = "auto",
    rtol: float = 1e-6,
    atol: float = 1e-9,
    points_per_decade: int = 20,
    t_first: float | None = None,
    dense_to: int = _DENSE_TO,
    derivatives: Derivatives = "auto",
    keep_theta: bool = False,
    callback: Callback | None = None,
    max_seconds: float | None = None,
) -> Trajectory:
    r"""Follow the gradient flow of a loss, in float64.

    $$\dot\theta = -\nabla L(\theta), \qquad \theta(0) = \theta_0 \tag{A.1}$$

    The flow is stiff, and its steps grow like t: an implicit method with an exact Hessian reaches
    t = 1e10 in about a thousand steps. LSODA is for up to some hundreds of parameters. The
    Rosenbrock method (RODAS) takes one linear solve of each stage and no iteration of Newton's;
    beyond `dense_to` parameters it solves by products with the Hessian, and then each further
    decade of time is dearer than the one before.

    Args:
        model_or_loss: A function of a vector of shape (p,) that returns a scalar, or a network.
        theta0: Start, shape (p,), float64; a network starts from its own weights unless given.
        t_end: Where the flow ends, positive [time].
        data: Inputs and targets, of a network only.
        criterion: Mean loss of outputs and targets, of a network only.
        method: The integrator; `"auto"` is `"lsoda"` for up to 200 parameters.
        rtol: Relative tolerance of a step, in (0, 0.1].
        atol: Absolute tolerance of a step, positive [param].
        points_per_decade: Outputs in each decade of time, at least 2.
        t_first: First output after 0; min(0.01, t_end / 1000) unless given [time].
        dense_to: Parameters up to which `"rosenbrock"` forms the Hessian.
        derivatives: `"auto"` takes the closed forms of a loss that has them (`ClosedForm`);
            `"autograd"` never does.
        keep_theta: Whether the parameters at each output are kept.
        callback: Called with time, loss and norm at each output; True ends the flow.
        max_seconds: After which the flow ends between two steps, with what it has.

    Returns:
        The trajectory. Ending early, by whatever cause, is its `status`, not an exception; an
        interrupt from the keyboard, too, returns what there is.

    Raises:
        ValueError: If an option is out of range, or the loss or its gradient is not finite at the
            start, not a scalar or not the same when asked twice.
        TypeError: If the start or the loss is not float64. A network and its data are taken to
            float64, on a copy.

    References:
        [SAD] (arXiv:2505.09572): flows of networks converge to a critical point or run to
        infinity. Hairer and Wanner (1996), chapters IV and VI. Theory page: Eqs. (A.1) to (A.9).

    Example:
        >>> import torch
        >>> start = torch.ones(1, dtype=torch.float64)
        >>> flow = gradient_flow(lambda x: x[0] ** -2, start, t_end=1e8)
        >>> flow.status, flow.verdict().word
        ('done', 'diverges')
        >>> bool(abs(flow.norm[-1] / (1 + 8e8) ** 0.25 - 1) < 1e-4)
        True
    """
    times = output_times(t_end, points_per_decade=points_per_decade, t_first=t_first)
    _check(method, rtol, atol, dense_to, derivatives, max_seconds)
    loss, start = _loss_of(model_or_loss, theta0, data, criterion)
    problem = problem_of(loss, start, derivatives)
    chosen = ("lsoda" if len(start) <= _LSODA_TO else "rosenbrock") if method == "auto" else method
    stepper, name = _stepper(problem, start, chosen, t_end, rtol, atol, dense_to)
    return follow(
        problem,
        stepper,
        start.detach(),
        times,
        rtol=rtol,
        atol=atol,
        method=name,
        keep_theta=keep_theta,
        callback=callback,
        max_seconds=max_seconds,
    )


def output_times(
    t_end: float, *, points_per_decade: int = 20, t_first: float | None = None
) -> Float[np.ndarray, " n"]:
    """Return times that are evenly spaced in log t and end at `t_end`.

    Raises:
        ValueError: If not 0 < t_first < t_end, or there are fewer than 2 points a decade.
    """
    if not isinstance(t_end, int | float) or not (math.isfinite(t_end) and t_end > 0):
        raise ValueError(f"t_end must be positive and finite, got {t_end!r}")
    first = min(1e-2, t_end / 1e3) if t_first is None else t_first
    if not 0 < first < t_end:
        raise ValueError(f"t_first must lie between 0 and t_end = {t_end:g}, got {t_first!r}")
    if isinstance(points_per_decade, bool) or points_per_decade < 2:
        raise ValueError(f"points_per_decade must be at least 2, got {points_per_decade!r}")
    count = math.ceil(math.log10(t_end / first) * points_per_decade - 1e-9) + 1
    times = np.geomspace(first, t_end, max(2, count))
    times[-1] = t_end
    return times


def _loss_of(
    model_or_loss: nn.Module | Loss,
    theta0: Tensor | None,
    data: tuple[Tensor, Tensor] | None,
    criterion: Criterion | None,
) -> tuple[Loss, Tensor]:
    if isinstance(model_or_loss, nn.Module):
        if data is None or criterion is None:
            raise ValueError(
                "a network must come with data=(inputs, targets) and criterion=, got it without"
            )
        loss, start = flat_loss(model_or_loss, data, criterion)
        if theta0 is not None and theta0.shape != start.shape:
            raise ValueError(
                f"theta0 must have the network's {len(start)} parameters, got shape "
                f"{tuple(theta0.shape)}"
            )
        return loss, start if theta0 is None else theta0
    if data is not None or criterion is not None:
        raise ValueError("data and criterion must come with a network, got a loss function")
    if theta0 is None:
        raise ValueError("theta0 must be given with a loss function, got None")
    return model_or_loss, theta0


def _check(
    method: str,
    rtol: float,
    atol: float,
    dense_to: int,
    derivatives: str,
    max_seconds: float | None,
) -> None:
    for name, value, known in (
        ("method", method, ("auto", "lsoda", "rosenbrock")),
        ("derivatives", derivatives, ("auto", "autograd")),
    ):
        if value not in known:
            raise ValueError(f"{name} must be one of {', '.join(known)}, got {value!r}")
    if not 1e-13 <= rtol <= 0.1:
        raise ValueError(f"rtol must lie between 1e-13 and 0.1, got {rtol!r}")
    if not (math.isfinite(atol) and atol > 0):
        raise ValueError(f"atol must be positive and finite, got {atol!r}")
    if dense_to < 0:
        raise ValueError(f"dense_to must be at least 0, got {dense_to!r}")
    if max_seconds is not None and not max_seconds > 0:
        raise ValueError(f"max_seconds must be positive or None, got {max_seconds!r}")


def _stepper(
    problem: Problem,
    start: Tensor,
    method: str,
    t_end: float,
    rtol: float,
    atol: float,
    dense_to: int,
) -> tuple[Stepper, str]:
    if method == "lsoda":
        return LsodaStepper(problem, start, t_end=t_end, rtol=rtol, atol=atol), "lsoda"
    dense = len(start) <= dense_to
    inner: Inner = DenseInner(problem) if dense else KrylovInner(problem)
    stepper = RodasStepper(problem, start, inner=inner, t_end=t_end, rtol=rtol, atol=atol)
    return stepper, "rosenbrock, dense" if dense else "rosenbrock, Krylov"
