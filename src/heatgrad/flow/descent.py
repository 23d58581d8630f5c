"""Gradient descent, SGD and Adam on the same loss, for comparison with the flow."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from heatgrad.core.random import stream_generator
from heatgrad.flow.networks import NetworkFit
from heatgrad.flow.problem import AutogradProblem, ClosedForm, ClosedProblem, Loss, Problem

__all__ = ["Descent", "descend"]

Optimizer = Literal["gd", "sgd", "adam"]


@dataclass(frozen=True)
class Descent:
    """What an optimizer did, at steps spaced evenly in their logarithm; the first is 0.

    Attributes:
        steps: Numbers of steps, shape (n,).
        t: lr times steps, the time of the flow that gradient descent follows [time].
        loss: Over all points, evaluated in the optimizer's precision [loss].
        norm: |θ| [param].
        end: Parameters at the end.
        status: `"done"`, or `"failed"` where the loss was not finite any more.
        optimizer: Its name.
        lr: Its learning rate.
        dtype: Its precision.
    """

    steps: Float[np.ndarray, " n"]
    t: Float[np.ndarray, " n"]
    loss: Float[np.ndarray, " n"]
    norm: Float[np.ndarray, " n"]
    end: Tensor
    status: Literal["done", "failed"]
    optimizer: Optimizer
    lr: float
    dtype: torch.dtype


def descend(
    loss: Loss,
    theta0: Float[Tensor, " p"],
    *,
    optimizer: Optimizer = "gd",
    lr: float = 1e-3,
    steps: int = 500_000,
    dtype: torch.dtype = torch.float32,
    batch_size: int = 1,
    points_per_decade: int = 20,
    seed: int = 0,
) -> Descent:
    r"""Train with an optimizer of torch and record loss and norm.

    $$t = \eta k: \tag{A.19}$$

    gradient descent at rate η is the flow's Euler method, so that k steps are t = η k of it. The
    defaults are the settings of [SAD]'s experiments: 500,000 steps at a rate of 0.001 in float32
    end at t = 500. Adam's steps are no time of the flow.

    Args:
        loss: Of the parameters, shape (p,), to a scalar; for `"sgd"` a `NetworkFit`.
        theta0: Start, shape (p,); taken to `dtype`.
        optimizer: `"gd"` and `"adam"` take the whole gradient, `"sgd"` batches of points, drawn
            with replacement.
        lr: Learning rate, positive.
        steps: At least 1.
        dtype: Of all arithmetic, float32 or float64.
        batch_size: Of `"sgd"`.
        points_per_decade: Records in each decade of steps.
        seed: Of the batches, stream `"noise"`.

    Raises:
        ValueError: If an option is out of range, or `"sgd"` is asked of a loss without points.

    References:
        [SAD] (arXiv:2505.09572). Theory page: Eq. (A.19).

    Example:
        >>> start = torch.ones(1, dtype=torch.float64)
        >>> run = descend(lambda x: x[0] ** 2 / 2, start, lr=0.1, steps=10, dtype=torch.float64)
        >>> bool(abs(run.norm[-1] - 0.9**10) < 1e-12), float(run.t[-1])
        (True, 1.0)
    """
    _check(loss, optimizer, lr, steps, dtype, batch_size, points_per_decade)
    at = np.unique(
        np.geomspace(1, steps, max(2, math.ceil(math.log10(steps) * points_per_decade) + 1)).round()
    ).astype(np.int64)
    theta = theta0.detach().to(dtype).clone().requires_grad_()
    whole = _problem(loss, len(theta))
    made = torch.optim.Adam if optimizer == "adam" else torch.optim.SGD
    method = made([theta], lr=lr, foreach=False)
    generator = stream_generator(seed, "noise")
    rows = [(0, whole.value(theta.detach()), float(theta.detach().norm()))]
    status: Literal["done", "failed"] = "done"
    marks = set(at.tolist())
    for step in range(1, steps + 1):
        problem = whole
        if optimizer == "sgd":
            assert isinstance(loss, NetworkFit)
            chosen = torch.randint(len(loss.y), (batch_size,), generator=generator)
            problem = ClosedProblem(loss.subset(chosen), len(theta))
        theta.grad = problem.gradient(theta.detach())
        method.step()
        if step in marks:
            value = whole.value(theta.detach())
            if not math.isfinite(value):
                status = "failed"
                break
            rows.append((step, value, float(theta.detach().norm())))
    done, losses, norms = np.array(rows).T
    return Descent(
        done, lr * done, losses, norms, theta.detach(), status, optimizer, lr, dtype
    )  # Eq. (A.19)


def _problem(loss: Loss, size: int) -> Problem:
    return (
        ClosedProblem(loss, size) if isinstance(loss, ClosedForm) else AutogradProblem(loss, size)
    )


def _check(
    loss: Loss,
    optimizer: str,
    lr: float,
    steps: int,
    dtype: torch.dtype,
    batch_size: int,
    points_per_decade: int,
) -> None:
    if optimizer not in ("gd", "sgd", "adam"):
        raise ValueError(f"optimizer must be one of gd, sgd, adam, got {optimizer!r}")
    if not (math.isfinite(lr) and lr > 0):
        raise ValueError(f"lr must be positive and finite, got {lr!r}")
    if dtype not in (torch.float32, torch.float64):
        raise ValueError(f"dtype must be float32 or float64, got {dtype}")
    for name, count in (
        ("steps", steps),
        ("batch_size", batch_size),
        ("points_per_decade", points_per_decade),
    ):
        if isinstance(count, bool) or count < 1:
            raise ValueError(f"{name} must be at least 1, got {count!r}")
    if optimizer == "sgd" and not isinstance(loss, NetworkFit):
        raise ValueError(
            f"sgd needs the points of a NetworkFit to draw batches from, got {type(loss).__name__}"
        )
