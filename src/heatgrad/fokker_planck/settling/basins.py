"""Basins of attraction: the local minimum to which gradient flow takes each point."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from heatgrad.fokker_planck.processes.langevin import Potential
from heatgrad.fokker_planck.processes.process import Points, at_points, scalar_valued

__all__ = ["Basins", "basins"]

_FAR = 1e6  # in units of the ensemble's size: beyond it a point has left for infinity
_MOST_DENSE = 500  # parameters up to which the Hessian of a minimum is looked at
_VALLEY = 1e-6  # of the largest curvature: Newton's steps do not go along less


@dataclass(frozen=True, eq=False)
class Basins:
    r"""The local minima that some points reach, and which point reaches which.

    Attributes:
        labels: Of each point the number of its minimum; -1 if it reached none.
        minima: Where they are, lowest loss first, shape (minima, p).
        losses: Loss of each [loss].
        curvatures: Smallest eigenvalue of the Hessian at each; NaN if p is above 500. Where it is
            zero, minima are not isolated, and a valley of them counts as many.
        rounding: Losses nearer than this cannot be told apart [loss].
        num_saddles: Points that ended at a critical point that is no minimum.
        num_escaped: Points that left for infinity, or where the loss is not finite.
        num_unfinished: Points whose steps did not suffice.
        steps: How many steps were taken.
    """

    labels: Int[Tensor, " n"]
    minima: Float[Tensor, "minima p"]
    losses: Float[Tensor, " minima"]
    curvatures: Float[Tensor, " minima"]
    rounding: float
    num_saddles: int
    num_escaped: int
    num_unfinished: int
    steps: int

    @property
    def status(self) -> str:
        """`"complete"` if every point reached a minimum, else `"incomplete"`."""
        return "complete" if bool((self.labels >= 0).all()) else "incomplete"

    @property
    def counts(self) -> NDArray[np.int64]:
        """How many points each minimum has."""
        found = torch.bincount(self.labels[self.labels >= 0], minlength=len(self.minima))
        return found.cpu().numpy()

    def lowest(self, tolerance: float = 1e-6) -> NDArray[np.int64]:
        """Return the minima as low as the lowest that was reached; global, if none was missed.

        Args:
            tolerance: Difference that is none, relative to the range of losses [1].
        """
        if not len(self.losses):
            return np.zeros(0, dtype=np.int64)
        span = float(self.losses.max() - self.losses.min())
        below = self.losses <= self.losses.min() + max(tolerance * span, self.rounding)
        return below.nonzero()[:, 0].cpu().numpy()


def basins(
    potential: Potential,
    points: Points,
    *,
    gradient: Callable[[Points], Points] | None = None,
    features: Callable[[Points], Float[Tensor, "n q"]] | None = None,
    size: float | None = None,
    merge_distance: float | None = None,
    accuracy: float = 1e-4,
    gradient_tolerance: float | None = None,
    max_steps: int = 10_000,
) -> Basins:
    r"""Return the local minimum that each of many points belongs to.

    $$x \mapsto \lim_{t \to \infty} \phi_t(x), \qquad \partial_t \phi_t(x) =
    -\nabla U(\phi_t(x)), \quad \phi_0(x) = x \tag{F.100}$$

    All points follow the flow at once, each with steps of its own (Bogacki and Shampine's pair of
    order 3), so that no step jumps a ridge. Then equal ends are merged, a minimum is told from a
    saddle by its Hessian and made precise by Newton steps. A point that lies on a ridge to within
    `accuracy` may go either way. Explicit steps are as short as the largest curvature asks: the
    number of steps grows with the condition of the Hessian.

    Args:
        potential: U, a differentiable function of one point, shape (p,), to a scalar [loss].
        points: Where the flows start, floating point.
        gradient: Of U at many points, if there is a faster one than autograd's.
        features: What two minima must have in common to be the same one, a function of many points;
            e.g. the outputs of a network, whose units can be exchanged. The points, unless given.
        size: Length by which the others are measured: about the distance between minima; the root
            mean square distance of the points from their mean, unless given [param].
        merge_distance: Ends nearer than this are one [unit of the features]; a thousandth of the
            size (of the features' own, where they are given), unless given.
        accuracy: Error of a step, relative to the size; farther away to the way so far [1].
        gradient_tolerance: A flow ends where the gradient is this small, relative to the largest at
            a start; 1e-6 in double precision, 1e-4 in single, unless given.
        max_steps: Steps after which a flow is called unfinished.

    Returns:
        Labels and minima, in the type and on the device of the points.

    Raises:
        ValueError: If the points are not a matrix of finite numbers, or an option not positive.

    References:
        Bogacki and Shampine (1989), Applied Mathematics Letters 2(4). Theory page: Eq. (F.100).

    Example:
        >>> found = basins(lambda x: ((x**2 - 1) ** 2).sum(), torch.tensor([[-2.0], [0.1], [0.5]]))
        >>> found.labels.bincount(), found.lowest(), found.status
        (tensor([1, 2]), array([0, 1]), 'complete')
    """
    points = points.detach()
    if gradient_tolerance is None:
        gradient_tolerance = 1e-6 if points.dtype == torch.float64 else 1e-4
    _check(
        points,
        size=size,
        merge_distance=merge_distance,
        accuracy=accuracy,
        gradient_tolerance=gradient_tolerance,
        max_steps=max_steps,
    )
    potential = scalar_valued("potential", potential)
    slope = at_points(torch.func.grad(potential)) if gradient is None else gradient
    size = _size_of(points) if size is None else size
    small = gradient_tolerance * _largest(slope(points).detach())
    ends, is_done, is_lost, steps = _flow(slope, points, size, accuracy, small, max_steps)
    if merge_distance is None:
        # Of the starts: the ends may all be one.
        merge_distance = 1e-3 * (size if features is None else _size_of(features(points).detach()))
    at_rest = (potential, features or _itself, merge_distance)
    labels, found, curvatures = _merged(*at_rest, ends, is_done)
    slow = is_done & (labels < 0)
    if bool(slow.any()) and steps < max_steps:  # some only pass a saddle
        small *= max(1e-5, 10 * torch.finfo(points.dtype).eps / gradient_tolerance)
        ends[slow], is_done[slow], is_lost[slow], more = _flow(
            slope, ends[slow], size, accuracy, small, max_steps - steps
        )
        steps += more
        labels, found, curvatures = _merged(*at_rest, ends, is_done)
    minima = torch.stack(found) if found else points.new_zeros(0, points.shape[1])
    losses = at_points(potential)(minima).detach() if found else points.new_zeros(0)
    order = losses.argsort(stable=True)
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(order), device=order.device)
    labels[labels >= 0] = rank[labels[labels >= 0]]
    height = (at_points(potential)(points).detach() - losses.min()).abs() if found else losses
    return Basins(
        labels=labels,
        minima=minima[order],
        losses=losses[order],
        curvatures=points.new_tensor(curvatures)[order],
        rounding=10 * torch.finfo(points.dtype).eps * float(height.nanmedian()) if found else 0.0,
        num_saddles=int((is_done & (labels < 0)).sum()),
        num_escaped=int(is_lost.sum()),
        num_unfinished=int((~is_done & ~is_lost).sum()),
        steps=steps,
    )


def _check(points: Tensor, **options: float | None) -> None:
    if points.dim() != 2 or not len(points) or not bool(torch.isfinite(points).all()):
        raise ValueError(
            f"points must be a matrix of finite numbers, one row each, got shape "
            f"{tuple(points.shape)}"
        )
    if not points.is_floating_point():
        raise ValueError(f"points must be floating point, got {points.dtype}")
    for name, value in options.items():
        if value is not None and not (math.isfinite(value) and value > 0):
            raise ValueError(f"{name} must be positive and finite, got {value!r}")


def _itself(points: Tensor) -> Tensor:
    return points


def _merged(
    potential: Potential,
    features: Callable[[Tensor], Tensor],
    merge_distance: float,
    ends: Tensor,
    left: Tensor,
) -> tuple[Tensor, list[Tensor], list[float]]:
    """Return labels of ends at rest, minima, and their smallest curvatures; -1 at saddles."""
    labels = torch.full((len(ends),), -1, dtype=torch.long, device=ends.device)
    found: list[Tensor] = []
    curvatures: list[float] = []
    if not bool(left.any()):
        return labels, found, curvatures
    keys = features(ends).detach().reshape(len(ends), -1)
    known = keys.new_zeros(0, keys.shape[1])
    level = torch.full_like(ends[:, 0], math.inf)
    level[left] = at_points(potential)(ends[left]).detach()
    left = left.clone()
    while bool(left.any()):
        first = int(torch.where(left, level, math.inf).argmin())
        near = left & (torch.linalg.vector_norm(keys - keys[first], dim=1) <= merge_distance)
        near[first] = True
        left &= ~near
        point, curvature = _refined(potential, ends[first])
        if curvature < 0:
            continue
        key = features(point[None]).detach().reshape(1, -1)
        away = torch.linalg.vector_norm(known - key, dim=1)
        if len(away) and float(away.min()) <= merge_distance:
            labels[near] = int(away.argmin())
            continue
        labels[near] = len(found)
        found.append(point)
        curvatures.append(curvature)
        known = torch.cat([known, key])
    return labels, found, curvatures


def _flow(
    slope: Callable[[Points], Points],
    start: Points,
    size: float,
    accuracy: float,
    small: float,
    max_steps: int,
) -> tuple[Tensor, Tensor, Tensor, int]:
    """Follow the flow; return ends, which are at rest, which are lost, and the steps taken."""
    ends = start.clone()  # `x` below is another tensor: `ends` is written to
    is_done = torch.zeros(len(start), dtype=torch.bool, device=start.device)
    is_lost = is_done.clone()
    index = torch.arange(len(start), device=start.device)
    x, g = start, slope(start).detach()
    lengths = torch.linalg.vector_norm(g, dim=1)
    step = 10 * accuracy * size / lengths.clamp(min=torch.finfo(g.dtype).tiny)
    steps = 0
    while True:
        lengths = torch.linalg.vector_norm(g, dim=1)
        at_rest = lengths <= small
        away = torch.linalg.vector_norm(x - start[index], dim=1)
        lost = ~torch.isfinite(lengths) | ~(away <= _FAR * size)
        ends[index] = x
        is_done[index], is_lost[index] = at_rest & ~lost, lost
        go = ~(at_rest | lost)
        index, x, g, step = index[go], x[go], g[go], step[go]
        if not len(index) or steps >= max_steps:
            return ends, is_done, is_lost, steps
        steps += 1
        h = step[:, None]
        second = slope(x - h / 2 * g).detach()
        third = slope(x - 3 / 4 * h * second).detach()
        moved = x - h * (2 / 9 * g + 1 / 3 * second + 4 / 9 * third)
        after = slope(moved).detach()
        apart = h * (5 / 72 * g - second / 12 - third / 9 + after / 8)
        # Near a minimum a fixed accuracy would let steps grow until they are unstable.
        allowed = torch.minimum(0.1 * step * lengths[go], accuracy * away[go].clamp(min=size))
        error = torch.linalg.vector_norm(apart, dim=1) / allowed
        error = torch.where(torch.isfinite(error), error, math.inf)
        taken = (error <= 1)[:, None]
        x, g = torch.where(taken, moved, x), torch.where(taken, after, g)
        step = step * (0.9 * error.clamp(min=1e-9) ** (-1 / 3)).clamp(0.2, 5.0)


def _refined(potential: Potential, point: Tensor) -> tuple[Tensor, float]:
    """Return an end at rest to rounding, and its smallest curvature: negative at a saddle."""
    if len(point) > _MOST_DENSE:
        return point, math.nan
    slope, hessian = torch.func.grad(potential), torch.func.hessian(potential)
    best, bend = point, hessian(point).detach()
    size = float(slope(best).detach().norm())
    for _ in range(8):
        # Not along a valley, where there is nothing to divide by.
        inverse = torch.linalg.pinv(bend, hermitian=True, rtol=_VALLEY)
        moved = best - inverse @ slope(best).detach()
        after = float(slope(moved).detach().norm())
        if not after < size:
            break
        best, size, bend = moved, after, hessian(moved).detach()
    values = torch.linalg.eigvalsh(bend)
    smallest, scale = float(values[0]), float(values.abs().max())
    is_none = abs(smallest) <= torch.finfo(point.dtype).eps ** 0.5 * scale
    return best, 0.0 if is_none else smallest


def _largest(slopes: Tensor) -> float:
    lengths = torch.linalg.vector_norm(slopes, dim=1)
    finite = lengths[torch.isfinite(lengths)]
    return float(finite.max()) if len(finite) else 1.0


def _size_of(points: Tensor) -> float:
    """Return the root mean square distance from the mean; of a single point, its own size."""
    spread = float((points - points.mean(0)).square().sum(1).mean().sqrt())
    own = float(points.square().sum(1).mean().sqrt())
    return spread if spread > 1e-12 * own and spread > 0 else max(own, 1.0)
