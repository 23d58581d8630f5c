"""A curve between two networks, trained so that the loss stays low along it."""

import copy
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from heatgrad.landscape.along import losses_along
from heatgrad.landscape.barrier import LossPath
from heatgrad.landscape.norms import (
    Statistics,
    batch_norms,
    check_statistics,
    inputs_for,
    recalibrate,
    training_norms,
)
from heatgrad.landscape.objective import Objective, check_repeatable, objective_of, quiet
from heatgrad.landscape.path import check_alike, copied

__all__ = ["Curve", "connect"]

Kind = Literal["bezier", "chain"]


@dataclass(frozen=True)
class Curve:
    """A curve between two networks, with one bend.

    Attributes:
        kind: `"bezier"` or `"chain"`.
        start: The network at t = 0.
        bend: The trained network that the curve bends towards, or at.
        end: The network at t = 1.
        losses: The loss of each step of its training.
    """

    kind: str
    start: nn.Module
    bend: nn.Module
    end: nn.Module
    losses: tuple[float, ...]

    def at(self, t: float, *, recalibrate_on: Iterable[Tensor] | None = None) -> nn.Module:
        """Return a copy of the network at a place; at 0 and 1 that of an end, as it is.

        Args:
            t: The place, from 0 to 1.
            recalibrate_on: Batches of inputs by which batch statistics are estimated; between the
                ends a network with batch normalisation needs them.

        Raises:
            ValueError: If it needs them and has none, or `t` lies outside.
        """
        if not 0 <= t <= 1:
            raise ValueError(f"t must be from 0 to 1, got {t}")
        if t in (0, 1):
            return copy.deepcopy(self.end if t else self.start)
        walker = copy.deepcopy(self.start)
        self._walk(walker)(t)
        if batch_norms(walker):
            if recalibrate_on is None:
                raise ValueError(
                    f"batch statistics of the network at t = {t:g} are those of neither end: give "
                    f"recalibrate_on = batches of inputs"
                )
            recalibrate(walker, recalibrate_on)
        return walker

    def path(
        self,
        loss: Objective | Callable[[nn.Module], Tensor],
        *,
        points: int = 25,
        refine: bool = True,
        statistics: Statistics = "recalibrate",
        recalibrate_on: Iterable[Tensor] | None = None,
        dropout: bool = False,
    ) -> LossPath:
        """Return the loss along the curve; arguments as of `interpolate`.

        Raises:
            ValueError: If a number is out of range, or the loss is not the same when asked twice.
        """
        check_statistics(statistics)
        objective = objective_of(loss)
        with quiet(copied(self.start)) as walker:
            inputs = inputs_for(objective, walker, statistics, recalibrate_on)
            check_repeatable(objective, walker)
            return losses_along(
                walker,
                self._walk(walker),
                objective,
                inputs,
                points=points,
                refine=refine,
                dropout=dropout,
                statistics=statistics if inputs is not None else "frozen",
            )

    def _walk(self, walker: nn.Module) -> Callable[[float], None]:
        corners = [list(m.parameters()) for m in (self.start, self.bend, self.end)]
        own = list(walker.parameters())

        def go(t: float) -> None:
            _place(own, corners, _shares(self.kind, t))

        return go


def connect(
    model_a: nn.Module,
    model_b: nn.Module,
    loss: Objective | Callable[[nn.Module], Tensor],
    *,
    kind: Kind = "bezier",
    steps: int = 1000,
    lr: float = 0.01,
    seed: int = 0,
) -> Curve:
    r"""Return a curve between two networks along which the loss is low.

    $$\theta(t) = (1 - t)^2 \theta_A + 2 t (1 - t)\, \theta_C + t^2 \theta_B, \qquad
    \min_{\theta_C} E_{t \sim U(0, 1)} L(\theta(t)) \tag{G.5}$$

    or two straight pieces by way of the bend $\theta_C$ (`"chain"`). The bend starts in the middle
    of the line and is trained by Adam, whose learning rate falls to zero along a half cosine, with
    a new t and the next batch at each step; batch normalisation takes the statistics of the batch,
    dropout is off. Both networks are left as they are.

    Args:
        model_a: The network at t = 0.
        model_b: The network at t = 1, of the same architecture.
        loss: A `DataLoss`, or a function that takes a network and returns a scalar.
        kind: `"bezier"` or `"chain"`.
        steps: Of training, at least 1.
        lr: Learning rate of its start, positive.
        seed: Of the places t.

    Raises:
        ValueError: If the networks differ in architecture, a number is out of range, a name is
            unknown, the loss is not the same when asked twice, or the training diverges.

    References:
        Garipov et al. (2018); Draxler et al. (2018). Theory page: Eq. (G.5).

    Example:
        >>> a, b = (torch.nn.Linear(2, 1, bias=False) for _ in range(2))
        >>> for model, place in ((a, [-1.0, 0.1]), (b, [1.0, 0.1])):
        ...     model.weight.data = torch.tensor([place])
        >>> def ring(m):
        ...     return ((m.weight**2).sum() - 1) ** 2
        >>> connect(a, b, ring, steps=300, lr=0.05).path(ring).barrier < 0.1
        True
    """
    _check(kind, steps, lr)
    check_alike(model_a, model_b)
    objective = objective_of(loss)
    bend, walker = (copied(model_a).requires_grad_(True).eval() for _ in range(2))
    check_repeatable(objective, walker)
    _check_ends(objective, model_a, model_b)
    ends = [list(m.parameters()) for m in (model_a, model_b)]
    own = list(bend.parameters())
    with torch.no_grad():
        for param, a, b in zip(own, *ends, strict=True):
            param.copy_((a + b) / 2)
    corners = [ends[0], own, ends[1]]
    moved = list(walker.parameters())
    optimizer = torch.optim.Adam(own, lr=lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    generator = torch.Generator().manual_seed(seed)
    losses = []
    count = sum(1 for _ in objective.terms(walker))
    with training_norms(walker), torch.random.fork_rng(devices=[]):
        terms = _round_and_round(objective, walker)
        for _ in range(steps):
            t = float(torch.rand((), generator=generator))
            shares = _shares(kind, t)
            _place(moved, corners, shares)
            term = next(terms) * count
            losses.append(float(term.detach()))
            if not math.isfinite(losses[-1]):
                raise ValueError(
                    f"the curve's training diverged: lr must be smaller, got {lr} (loss "
                    f"{losses[-1]} at step {len(losses)})"
                )
            grads = torch.autograd.grad(term, moved, allow_unused=True)
            for param, grad in zip(own, grads, strict=True):
                param.grad = None if grad is None else shares[1] * grad
            optimizer.step()
            schedule.step()
    return Curve(kind, copy.deepcopy(model_a), bend, copy.deepcopy(model_b), tuple(losses))


@torch.no_grad()
def _check_ends(objective: Objective, *models: nn.Module) -> None:
    """Refuse networks whose loss is not finite: no rate trains a curve between them."""
    for number, model in enumerate(models):
        with quiet(model):
            value = sum(float(term) for term in objective.terms(model))
        if not math.isfinite(value):
            raise ValueError(
                f"the loss of both networks must be finite, got {value} for the "
                f"{('first', 'second')[number]}"
            )


def _shares(kind: str, t: float) -> tuple[float, float, float]:
    """Return how much of the start, the bend and the end is at a place."""
    if kind == "bezier":
        return (1 - t) ** 2, 2 * t * (1 - t), t**2
    return max(0.0, 1 - 2 * t), 1 - abs(2 * t - 1), max(0.0, 2 * t - 1)


@torch.no_grad()
def _place(
    own: Sequence[Tensor], corners: Sequence[Sequence[Tensor]], shares: tuple[float, float, float]
) -> None:
    for param, *at in zip(own, *corners, strict=True):
        param.copy_(sum(share * corner for share, corner in zip(shares, at, strict=True)))


def _round_and_round(objective: Objective, model: nn.Module) -> Iterator[Tensor]:
    """Yield the terms of a loss, over and over, each as the network is when it is asked for."""
    return itertools.chain.from_iterable(objective.terms(model) for _ in itertools.count())


def _check(kind: str, steps: int, lr: float) -> None:
    if kind not in ("bezier", "chain"):
        raise ValueError(f"kind must be one of bezier, chain, got {kind!r}")
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}")
    if not (math.isfinite(lr) and lr > 0):
        raise ValueError(f"lr must be a positive number, got {lr}")
