r"""How smooth the path of training is: what its gradients and its steps say.

Everything is measured for many runs at once, one run a row, so that the loop (one row) and the
replicas (many) measure alike.
"""

import math
from collections.abc import Collection, Iterable, Sequence
from itertools import pairwise

import torch
from jaxtyping import Float, Inexact
from torch import Tensor, nn

from heatgrad.training.processes import whole

__all__ = ["Looks", "distances", "flat_gradient", "flat_values", "roughness", "total_variation"]

_ROWS = 16  # measured at once: what is on the way to a result stays small


def roughness(grads: Inexact[Tensor, "rows size"]) -> Float[Tensor, " rows"]:
    r"""Return the share of high-frequency energy of each gradient, by the Laplacian's symbol.

    $$\frac{g^\top (-\operatorname{Lap}) g}{4\, g^\top g} = \frac{\sum_i |g_{i+1} - g_i|^2}
    {4 \sum_i |g_i|^2}$$

    on one chain with Neumann ends, Eqs. (L.1) and (L.2): each coefficient of the eigenbasis
    counts with its eigenvalue over the largest, 4. It is 0 for a constant gradient, 1/2 on
    average for independent entries, and below 1 for all.

    Args:
        grads: Flat gradients in parameter order [loss/param].

    Returns:
        Float64 [1]; NaN where a gradient is zero.

    Example:
        >>> roughness(torch.tensor([[1.0, 1.0, 1.0], [1.0, -1.0, 0.0]]))
        tensor([0.0000, 0.6250], dtype=torch.float64)
    """
    ratios = [_lengths(part.diff(dim=1)) / _lengths(part) for part in _parts(grads)]
    return torch.cat(ratios).square() / 4


def total_variation(norms: Sequence[float]) -> float:
    r"""Return $\sum_t |n_t - n_{t-1}|$ over the mean of the values; NaN if one is not finite.

    Example:
        >>> total_variation([1.0, 3.0, 2.0])
        1.5
    """
    if not norms or not all(map(math.isfinite, norms)):
        return math.nan
    moved = math.fsum(abs(b - a) for a, b in pairwise(norms))
    total = math.fsum(norms)
    return moved * len(norms) / total if total > 0 else math.nan


def distances(
    a: Inexact[Tensor, "rows size"], b: Inexact[Tensor, "rows size"]
) -> Float[Tensor, " rows"]:
    """Return the Euclidean distance of each row of `a` to that of `b`, float64.

    Example:
        >>> distances(torch.tensor([[3.0, 0.0]]), torch.tensor([[0.0, 4.0]]))
        tensor([5.], dtype=torch.float64)
    """
    parts = zip(_parts(a), _parts(b), strict=True)
    return torch.cat([_lengths(x - y) for x, y in parts])


def flat_values(model: nn.Module) -> Inexact[Tensor, "1 size"]:
    """Return a copy of a network's parameters, in order, as one row."""
    return _flat(param.detach() for param in model.parameters())


def flat_gradient(model: nn.Module) -> Inexact[Tensor, "1 size"]:
    """Return a network's gradient, in parameter order, as one row; 0 where there is none."""
    return _flat(
        torch.zeros_like(param) if param.grad is None else param.grad
        for param in model.parameters()
        if param.requires_grad
    )


class Looks:
    """What the gradients of an epoch show beside their norms.

    Attributes:
        roughness: Of each run, that of the gradient of each probed step.
        cosines: Of each run, the cosine between the gradient of a probed step and that of the step
            after it, where there is one.
    """

    def __init__(self, count: int) -> None:
        self.roughness: list[list[float]] = [[] for _ in range(count)]
        self.cosines: list[list[float]] = [[] for _ in range(count)]
        self._last: Tensor | None = None

    def wants(self, *, is_probed: bool) -> bool:
        """Whether there is something to be seen in a step."""
        return is_probed or self._last is not None

    @torch.no_grad()
    def look(
        self, grads: Inexact[Tensor, "rows size"], running: Collection[int], *, is_probed: bool
    ) -> None:
        """Look at the gradients of a step.

        Args:
            grads: One run a row.
            running: The rows that have not ended.
            is_probed: Whether the step is one of those that stand for the epoch.
        """
        last, self._last = self._last, None
        if last is not None:
            _put(self.cosines, _cosines(last, grads), running)
        if is_probed:
            _put(self.roughness, roughness(grads), running)
            self._last = grads.clone()


def _put(lists: list[list[float]], values: Tensor, running: Collection[int]) -> None:
    for row, value in enumerate(values.tolist()):
        if row in running:
            lists[row].append(value)


def _cosines(a: Tensor, b: Tensor) -> Tensor:
    return torch.cat(
        [
            (x.conj() * y).real.sum(1, dtype=torch.float64) / (_lengths(x) * _lengths(y))
            for x, y in zip(_parts(a), _parts(b), strict=True)
        ]
    )


def _parts(rows: Tensor) -> Sequence[Tensor]:
    return torch.split(rows, _ROWS)


def _lengths(rows: Tensor) -> Tensor:
    kind = torch.complex128 if rows.is_complex() else torch.float64
    lengths: Tensor = torch.linalg.vector_norm(rows, dim=1, dtype=kind)
    return lengths


def _flat(tensors: Iterable[Tensor]) -> Tensor:
    half = (torch.float16, torch.bfloat16)
    parts = [x.float() if x.dtype in half else x for x in map(whole, tensors)]
    return torch.cat([part.reshape(-1) for part in parts]).unsqueeze(0)
