"""Many starts of one flow: which share diverges, by how good the start is."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from heatgrad.core.shares import wilson
from heatgrad.flow.integrate import Method, gradient_flow
from heatgrad.flow.problem import Loss
from heatgrad.flow.verdict import Word

__all__ = ["DivergenceByStart", "divergence_by_start"]


@dataclass(frozen=True)
class DivergenceByStart:
    """The verdicts on many starts, in bins of their loss above the best.

    Attributes:
        excess: L(0) - inf L of each start [loss].
        words: The verdict on each.
        statuses: How each integration ended.
        final_loss: Loss at the end of each [loss].
        final_norm: Norm at the end of each [param].
        edges: Of the bins, shape (bins + 1,), evenly spaced in the log of the excess [loss].
        counts: Starts in each bin that diverge, converge and are undecided, shape (bins, 3).
        low: Lower end of the interval of the share that diverges, the undecided counted as not.
        high: Its upper end, the undecided counted as diverging. NaN for an empty bin.
        confidence: Of each interval.
    """

    excess: Float[np.ndarray, " n"]
    words: tuple[Word, ...]
    statuses: tuple[str, ...]
    final_loss: Float[np.ndarray, " n"]
    final_norm: Float[np.ndarray, " n"]
    edges: Float[np.ndarray, " edges"]
    counts: Float[np.ndarray, "bins 3"]
    low: Float[np.ndarray, " bins"]
    high: Float[np.ndarray, " bins"]
    confidence: float

    @property
    def share(self) -> Float[np.ndarray, " bins"]:
        """Diverging among all starts of a bin; NaN for an empty bin."""
        total = self.counts.sum(axis=1)
        return np.where(total > 0, self.counts[:, 0] / np.maximum(total, 1), math.nan)

    @property
    def threshold(self) -> float:
        """The largest excess up to which every start seen diverges; NaN if the best does not."""
        order = np.argsort(self.excess)
        good = math.nan
        for index in order:
            if self.words[index] != "diverges":
                break
            good = float(self.excess[index])
        return good


def divergence_by_start(
    loss: Loss,
    starts: Sequence[Float[Tensor, " p"]],
    *,
    t_end: float,
    inf_loss: float = 0.0,
    bins: int = 6,
    confidence: float = 0.95,
    method: Method = "auto",
    rtol: float = 1e-6,
    atol: float = 1e-9,
    max_seconds: float | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> DivergenceByStart:
    """Follow the flow from every start and count the verdicts by the loss that it starts with.

    Args:
        loss: Of the parameters, shape (p,), to a scalar.
        starts: Each of shape (p,), float64.
        t_end: Where each flow ends [time].
        inf_loss: The infimum of the loss, at most the loss of any start.
        bins: Of the excess, at least 1.
        confidence: Of Wilson's intervals, in (0, 1).
        method: As in `gradient_flow`.
        rtol: As in `gradient_flow`.
        atol: As in `gradient_flow`.
        max_seconds: For each start. What ends early is judged by what there is.
        progress: Called with the number of starts that are done and that of all.

    Raises:
        ValueError: If there is no start, one is not above `inf_loss`, or an option is out of range.

    References:
        [SAD] (arXiv:2505.09572), abstract: sufficiently good starts diverge. Theory page: (A.18).

    Example:
        >>> import torch
        >>> starts = [torch.tensor([x], dtype=torch.float64) for x in (1.0, 2.0)]
        >>> found = divergence_by_start(lambda x: x[0] ** -2, starts, t_end=1e6, bins=1)
        >>> found.words, found.counts.tolist()
        (('diverges', 'diverges'), [[2, 0, 0]])
    """
    if not len(starts):
        raise ValueError("starts must hold at least one, got none")
    if isinstance(bins, bool) or bins < 1:
        raise ValueError(f"bins must be at least 1, got {bins!r}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, got {confidence!r}")
    excess, words, statuses, ends = [], [], [], []
    for number, start in enumerate(starts):
        flow = gradient_flow(
            loss,
            start,
            t_end=t_end,
            method=method,
            rtol=rtol,
            atol=atol,
            max_seconds=max_seconds,
        )
        excess.append(float(flow.loss[0]) - inf_loss)
        words.append(flow.verdict().word)
        statuses.append(flow.status)
        ends.append((float(flow.loss[-1]), float(flow.norm[-1])))
        if progress is not None:
            progress(number + 1, len(starts))
    if not min(excess) > 0:
        raise ValueError(
            f"inf_loss must be below the loss of every start, got {inf_loss:g} and a start at "
            f"{min(excess) + inf_loss:g}"
        )
    final_loss, final_norm = np.array(ends).T
    edges, counts = _binned(np.array(excess), words, bins)
    total = counts.sum(axis=1)
    low, _ = wilson(counts[:, 0], total, confidence=confidence)
    _, high = wilson(counts[:, 0] + counts[:, 2], total, confidence=confidence)
    return DivergenceByStart(
        np.array(excess),
        tuple(words),
        tuple(statuses),
        final_loss,
        final_norm,
        edges,
        counts,
        low,
        high,
        confidence,
    )


def _binned(
    excess: NDArray[np.float64], words: Sequence[Word], bins: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    least, most = float(excess.min()), float(excess.max())
    edges = np.geomspace(least, max(most, least * (1 + 1e-9)), bins + 1)
    which = np.clip(np.searchsorted(edges, excess, side="right") - 1, 0, bins - 1)
    kinds = ("diverges", "converges", "undecided")
    counts = np.zeros((bins, 3), dtype=np.int64)
    for row, word in zip(which, words, strict=True):
        counts[row, kinds.index(word)] += 1
    return edges, counts
