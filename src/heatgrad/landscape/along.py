"""Walking along a path of networks with a loss in hand."""

from collections.abc import Callable, Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from torch import Tensor, nn

from heatgrad.landscape.barrier import LossPath, excess
from heatgrad.landscape.norms import recalibrate
from heatgrad.landscape.objective import Objective, pieces_of

__all__ = ["losses_along"]


@torch.no_grad()
def losses_along(
    walker: nn.Module,
    go: Callable[[float], None],
    objective: Objective,
    inputs: Iterable[Tensor] | None,
    *,
    points: int,
    refine: bool,
    dropout: bool,
    statistics: str,
    seed: int = 0,
) -> LossPath:
    """Return the loss of a network that is put at the places of a path.

    Args:
        walker: The network, `quiet`.
        go: Puts its parameters at a place between 0 and 1.
        objective: The loss.
        inputs: What running statistics are estimated by, anew at every place; None if they stay.
        points: Places, evenly spaced, at least 2.
        refine: Whether the top is looked for between places, by golden sections.
        dropout: Whether dropout is on while statistics are estimated.
        statistics: What the path says was done about them.
        seed: Of dropout's masks, at every place.

    Raises:
        ValueError: If there are fewer than two points.
    """
    if points < 2:
        raise ValueError(f"points must be at least 2, got {points}")

    def shares(place: float) -> NDArray[np.float64]:
        go(place)
        if inputs is not None:
            torch.manual_seed(seed)
            recalibrate(walker, inputs, dropout=dropout)
        return pieces_of(objective, walker)

    at = list(np.linspace(0.0, 1.0, points))
    rows = [shares(place) for place in at]
    if refine:
        ends = rows[0].sum(), rows[-1].sum()
        top = int(excess(np.array(at), np.array([row.sum() for row in rows])).argmax())
        low, high = at[max(0, top - 1)], at[min(points - 1, top + 1)]
        seen: dict[float, NDArray[np.float64]] = {}

        def below(place: float) -> float:
            row = seen[place] if place in seen else seen.setdefault(place, shares(place))
            return float((1 - place) * ends[0] + place * ends[1] - row.sum())

        minimize_scalar(below, bounds=(low, high), method="bounded", options={"xatol": 1e-4})
        best = min(seen, key=below)
        at.append(best)
        rows.append(seen[best])
    order = np.argsort(at)
    pieces = np.stack(rows)[order]
    return LossPath(np.array(at)[order], pieces.sum(axis=1), pieces, statistics)
