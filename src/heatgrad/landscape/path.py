"""The loss along the straight line between two networks, and its barrier."""

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from torch import Tensor, nn

from heatgrad.landscape.norms import batch_norms, inputs_for, recalibrate
from heatgrad.landscape.objective import Objective, check_repeatable, objective_of

__all__ = ["LossPath", "PathStatistics", "barrier_of", "check_alike", "interpolate"]

PathStatistics = Literal["recalibrate", "lerp", "frozen"]

_RESAMPLES = 999
_MOST_PIECES = 100  # of the data, over which the interval is taken


@dataclass(frozen=True)
class LossPath:
    """The loss along a path from one network to another.

    Attributes:
        at: Places on the path, 0 the first network and 1 the second, ascending, shape (points,).
        losses: The loss there, shape (points,).
        pieces: Each piece of the data's share of it, shape (points, pieces).
        statistics: What was done about batch normalisation.
    """

    at: Float[np.ndarray, " points"]
    losses: Float[np.ndarray, " points"]
    pieces: Float[np.ndarray, "points pieces"]
    statistics: str

    @property
    def barrier(self) -> float:
        r"""How far the path rises above the line between the losses of its ends, Eq. (G.1)."""
        return barrier_of(self.at, self.losses)

    @property
    def top(self) -> float:
        """Where on the path it does."""
        return float(self.at[_excess(self.at, self.losses).argmax()])

    def interval(self, confidence: float = 0.95, *, seed: int = 0) -> tuple[float, float]:
        """Return the bootstrap interval of the barrier over pieces of the data.

        It says what other examples of the same kind would give; networks are held fixed. NaN where
        the data are a single piece.
        """
        count = self.pieces.shape[1]
        if count < 2:
            return float("nan"), float("nan")
        rng = np.random.default_rng(seed)
        found = []
        for _ in range(_RESAMPLES):
            chosen = rng.integers(count, size=count)
            found.append(barrier_of(self.at, self.pieces[:, chosen].sum(axis=1)))
        tail = (1 - confidence) / 2
        low, high = np.quantile(found, [tail, 1 - tail])
        return float(low), float(high)


def barrier_of(at: NDArray[np.float64], losses: NDArray[np.float64]) -> float:
    r"""Return the barrier of a path.

    $$b = \max_\alpha\; L(\theta(\alpha)) - [(1 - \alpha) L(\theta(0)) + \alpha L(\theta(1))]
    \tag{G.1}$$

    Args:
        at: Places α from 0 to 1, shape (points,).
        losses: L there, shape (points,).
    """
    return float(_excess(at, losses).max())


def interpolate(
    model_a: nn.Module,
    model_b: nn.Module,
    loss: Objective | Callable[[nn.Module], Tensor],
    *,
    points: int = 25,
    refine: bool = True,
    statistics: PathStatistics = "recalibrate",
    recalibrate_on: Iterable[Tensor] | None = None,
    dropout: bool = False,
) -> LossPath:
    r"""Return the loss along $\theta(\alpha) = (1 - \alpha)\, \theta_A + \alpha\, \theta_B$.

    Both networks are left as they are. Dropout is off in what is measured.

    The statistics of batch normalisation belong to weights: those of one end are wrong elsewhere,
    and at the other end most of all. So they are estimated anew at every point, the ends included,
    unless another way is asked for: `"lerp"` interpolates them, `"frozen"` keeps the first
    network's; both are there to show what they do.

    Args:
        model_a: The network at α = 0.
        model_b: The network at α = 1, of the same architecture.
        loss: A `DataLoss`, or a function that takes a network and returns a scalar.
        points: Places on the path, evenly spaced, at least 2.
        refine: Whether the top of the path is looked for between places, by golden sections.
        statistics: `"recalibrate"`, `"lerp"` or `"frozen"`.
        recalibrate_on: Batches of inputs to estimate by; those of a `DataLoss`, unless given.
        dropout: Whether dropout is on while statistics are estimated.

    Raises:
        ValueError: If the networks differ in architecture or one lacks running statistics, a
            number is out of range, or the loss is not the same when asked twice.

    References:
        [Ray] figure 4; Frankle et al. (2020); Jordan et al. (2023) on the statistics. Theory page:
        Eq. (G.1).

    Example:
        >>> a, b = (torch.nn.Linear(1, 1, bias=False).double() for _ in range(2))
        >>> a.weight.data.fill_(-1.0), b.weight.data.fill_(1.0)
        (tensor([[-1.]], dtype=torch.float64), tensor([[1.]], dtype=torch.float64))
        >>> path = interpolate(a, b, lambda m: (m.weight**2 - 1).square().sum())
        >>> round(path.barrier, 6), round(path.top, 6)
        (1.0, 0.5)
    """
    if points < 2:
        raise ValueError(f"points must be at least 2, got {points}")
    if statistics not in ("recalibrate", "lerp", "frozen"):
        raise ValueError(f"statistics must be one of recalibrate, lerp, frozen, got {statistics!r}")
    check_alike(model_a, model_b)
    objective = objective_of(loss)
    walker = copy.deepcopy(model_a).eval()
    inputs = inputs_for(objective, walker, statistics, recalibrate_on)
    check_repeatable(objective, walker)
    line = _Line(walker, model_a, model_b)

    @torch.no_grad()
    def shares(alpha: float) -> NDArray[np.float64]:
        line.go(alpha, with_statistics=statistics == "lerp")
        if inputs is not None:
            recalibrate(walker, inputs, dropout=dropout)
        return _pieces(objective, walker)

    at = list(np.linspace(0.0, 1.0, points))
    rows = [shares(alpha) for alpha in at]
    if refine:
        ends = rows[0].sum(), rows[-1].sum()
        top = int(_excess(np.array(at), np.array([row.sum() for row in rows])).argmax())
        low, high = at[max(0, top - 1)], at[min(points - 1, top + 1)]
        seen: dict[float, NDArray[np.float64]] = {}

        def below(alpha: float) -> float:
            row = seen[alpha] if alpha in seen else seen.setdefault(alpha, shares(alpha))
            return float((1 - alpha) * ends[0] + alpha * ends[1] - row.sum())

        minimize_scalar(below, bounds=(low, high), method="bounded", options={"xatol": 1e-4})
        best = min(seen, key=below)
        at.append(best)
        rows.append(seen[best])
    order = np.argsort(at)
    kept = "frozen" if inputs is None and statistics == "recalibrate" else statistics
    pieces = np.stack(rows)[order]
    return LossPath(np.array(at)[order], pieces.sum(axis=1), pieces, kept)


def check_alike(model_a: nn.Module, model_b: nn.Module) -> None:
    """Refuse two networks that have not the same parameters and buffers.

    Raises:
        ValueError: With the first that differs.
    """
    a, b = (
        {name: tuple(t.shape) for name, t in m.state_dict().items()} for m in (model_a, model_b)
    )
    if len(batch_norms(model_a)) != len(batch_norms(model_b)):
        raise ValueError(
            f"both networks must keep running statistics in the same layers, got "
            f"{len(batch_norms(model_a))} and {len(batch_norms(model_b))} such layers; set "
            f"track_running_stats alike"
        )
    for name in dict.fromkeys([*a, *b]):
        if a.get(name) != b.get(name):
            shown = [f"shape {m[name]}" if name in m else "none" for m in (a, b)]
            raise ValueError(
                f"both networks must have one architecture, got {shown[0]} and {shown[1]} for "
                f"'{name}'"
            )


class _Line:
    """Puts a network at the points of a line."""

    def __init__(self, walker: nn.Module, a: nn.Module, b: nn.Module) -> None:
        self._params = _triples(*(_named(m.named_parameters()) for m in (walker, a, b)))
        self._buffers = _triples(*(_named(m.named_buffers()) for m in (walker, a, b)))

    def go(self, alpha: float, *, with_statistics: bool) -> None:
        """Go to a point; counters stay, since they count."""
        for own, a, b in self._params:
            own.copy_(a if alpha == 0 else b if alpha == 1 else torch.lerp(a, b, alpha))
        for own, a, b in self._buffers if with_statistics else ():
            if own.is_floating_point():
                own.copy_(torch.lerp(a, b, alpha))


def _named(pairs: Iterable[tuple[str, Tensor]]) -> dict[str, Tensor]:
    return dict(pairs)


def _triples(
    walker: dict[str, Tensor], a: dict[str, Tensor], b: dict[str, Tensor]
) -> list[tuple[Tensor, Tensor, Tensor]]:
    return [
        (own, a[name].detach().clone(), b[name].detach().clone()) for name, own in walker.items()
    ]


def _pieces(objective: Objective, model: nn.Module) -> NDArray[np.float64]:
    """Return the loss in its terms, joined to at most `_MOST_PIECES`."""
    terms = np.array([float(term) for term in objective.terms(model)])
    groups = np.array_split(terms, min(_MOST_PIECES, len(terms)))
    return np.array([group.sum() for group in groups])


def _excess(at: NDArray[np.float64], losses: NDArray[np.float64]) -> NDArray[np.float64]:
    line = (1 - at) * losses[0] + at * losses[-1]
    return np.asarray(losses - line)
