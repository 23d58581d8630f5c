"""The loss over a plane through a solution."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float
from torch import Tensor, nn

from heatgrad.landscape.directions import (
    Direction,
    Trajectory,
    cosine_of,
    project,
    random_plane,
    trajectory_plane,
)
from heatgrad.landscape.ground import Ground, Move
from heatgrad.landscape.norms import Statistics, check_statistics, inputs_for, kept
from heatgrad.landscape.objective import (
    Objective,
    check_repeatable,
    moved_params,
    objective_of,
    quiet,
)
from heatgrad.landscape.spectrum import top_directions

__all__ = ["Surface", "check_grid", "surface"]

Kind = Literal["filter", "pca", "hessian"]


@dataclass(frozen=True)
class Surface:
    """The loss over a plane through a solution.

    Attributes:
        across: Coordinates along the first direction, ascending, shape (columns,).
        up: Coordinates along the second, shape (rows,).
        losses: The loss at each place, shape (rows, columns); NaN where it is not finite.
        kind: How the directions were chosen.
        statistics: What was done about batch normalisation.
        cosine: The cosine between both directions [1].
        held: Share of a trajectory's squared distances that the plane holds [1], for `"pca"`.
        trajectory: Where networks on the way lie in the plane, if they were given.
    """

    across: Float[np.ndarray, " columns"]
    up: Float[np.ndarray, " rows"]
    losses: Float[np.ndarray, "rows columns"]
    kind: str
    statistics: str
    cosine: float
    held: float | None = None
    trajectory: Trajectory | None = None

    @property
    def num_holes(self) -> int:
        """Number of places where the loss is not finite."""
        return int(np.isnan(self.losses).sum())

    @property
    def center(self) -> float:
        """The loss of the solution itself, the place nearest to 0 in both directions."""
        row, column = np.abs(self.up).argmin(), np.abs(self.across).argmin()
        return float(self.losses[row, column])


def surface(
    model: nn.Module,
    loss: Objective | Callable[[nn.Module], Tensor],
    directions: Kind | tuple[Sequence[Tensor], Sequence[Tensor]] = "filter",
    *,
    reach: float = 1.0,
    points: int = 25,
    trajectory: Sequence[Mapping[str, Tensor]] = (),
    statistics: Statistics = "recalibrate",
    recalibrate_on: Iterable[Tensor] | None = None,
    seed: int = 0,
) -> Surface:
    r"""Return the loss $z(a, b) = L(\theta + a\, d_1 + b\, d_2)$ around a network.

    - `"filter"`: two random directions, orthogonal, and then with each filter as long as the
      network's own, so that the scale of a filter does not matter; that of batch norm's weights
      and of biases does;
    - `"pca"`: the two principal directions of a trajectory, of which the plane then holds most;
    - `"hessian"`: the eigenvectors of the two largest eigenvalues: the steepest walls;
    - a pair of directions of your own, one tensor for each parameter that requires a gradient.

    Args:
        model: The solution; it is left as it was. Dropout is off.
        loss: A `DataLoss`, or a function that takes the network and returns a scalar.
        directions: Which two.
        reach: Largest coordinate, positive. For `"pca"` in units of the farthest network's.
        points: Places along each direction, odd and at least 3, so that the solution is one.
        trajectory: State dicts of networks on the way, which are drawn in the plane.
        statistics: Batch normalisation's running statistics: estimated anew at each place, or
            those of the network (`"frozen"`).
        recalibrate_on: Batches of inputs for that; those of a `DataLoss`, unless given.
        seed: Of random directions.

    Raises:
        ValueError: If a number is out of range, a name is unknown, directions do not fit, or the
            loss is not the same when asked twice.

    References:
        [Ray] D.3; Li et al. (2018). Theory page: Eq. (G.2).

    Example:
        >>> import torch
        >>> bowl = torch.nn.Linear(2, 1, bias=False).double()
        >>> ends = [[torch.tensor([[1.0, 0.0]])], [torch.tensor([[0.0, 1.0]])]]
        >>> found = surface(bowl, lambda m: (m.weight**2).sum(), tuple(ends), points=3)
        >>> found.losses.shape
        (3, 3)
    """
    check_grid(points, reach)
    check_statistics(statistics)
    objective = objective_of(loss)
    params = moved_params(model)
    with quiet(model), kept(model):
        inputs = inputs_for(objective, model, statistics, recalibrate_on)
        check_repeatable(objective, model)
        first, second, kind, held = _plane(model, objective, directions, params, trajectory, seed)
        on_it = project(trajectory, model, first, second) if trajectory else None
        if kind == "pca" and on_it is not None:
            reach *= float(on_it.places.abs().max())
        at = np.linspace(-reach, reach, points)
        at[points // 2] = 0.0
        ground = Ground(model, objective, params, inputs)
        moves = [Move(first, a, second, b) for b in at for a in at]
        losses = ground.losses(moves).reshape(points, points)
    losses[~np.isfinite(losses)] = np.nan
    cosine = cosine_of(first, second)
    done = statistics if inputs is not None else "frozen"
    return Surface(at, at.copy(), losses, kind, done, cosine, held, on_it)


def check_grid(points: int, reach: float) -> None:
    """Refuse a grid that has not the solution in its middle.

    Raises:
        ValueError: With what is required.
    """
    if points < 3 or points % 2 == 0:
        raise ValueError(f"points must be odd and at least 3, got {points}")
    if not (math.isfinite(reach) and reach > 0):
        raise ValueError(f"reach must be a positive number, got {reach}")


def _plane(
    model: nn.Module,
    objective: Objective,
    directions: Kind | tuple[Sequence[Tensor], Sequence[Tensor]],
    params: Sequence[Tensor],
    trajectory: Sequence[Mapping[str, Tensor]],
    seed: int,
) -> tuple[Direction, Direction, str, float | None]:
    """Return both directions, what they are called, and what they hold of a trajectory."""
    if isinstance(directions, str):
        if directions == "filter":
            first, second, _ = random_plane(params, seed=seed)
            if not any(part.any() for part in first):
                raise ValueError(
                    "filter directions move weights of two axes or more, got none that requires a "
                    "gradient; give directions"
                )
            return first, second, directions, None
        if directions == "pca":
            first, second, held = trajectory_plane(trajectory, model)
            return first, second, directions, held
        if directions == "hessian":
            first, second = top_directions(model, objective, params, seed=seed)
            return first, second, directions, None
        raise ValueError(
            f"directions must be one of filter, pca, hessian, or two lists of tensors, got "
            f"{directions!r}"
        )
    first, second = (list(direction) for direction in directions)
    for direction in (first, second):
        shapes = [tuple(part.shape) for part in direction]
        if shapes != [tuple(p.shape) for p in params]:
            raise ValueError(
                f"a direction must hold a tensor for each of {len(params)} parameters, of its "
                f"shape, got shapes {shapes}"
            )
    return first, second, "given", None
