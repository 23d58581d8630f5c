"""How good draws are: errors, bands and their coverage, and a proper score."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from scipy import stats
from torch import Tensor

__all__ = ["Band", "bands", "coverage", "crps", "relative_error"]

Kind = Literal["normal", "quantile"]


@dataclass(frozen=True, eq=False)
class Band:
    """A central band of draws at each point.

    Attributes:
        low: Its lower end [field].
        high: Its upper end [field].
    """

    low: Tensor
    high: Tensor


def relative_error(
    found: Float[Tensor, "*batch n m"], truth: Float[Tensor, "*other n m"]
) -> Float[Tensor, "*all"]:
    r"""Return the relative error of fields, $\|f - f^*\|_2 / \|f^*\|_2$, Eq. (I.30).

    Args:
        found: Fields, shape (*batch, n, m).
        truth: Broadcasts against them [field].

    Returns:
        One number a field [1]; infinite where the truth is zero and the field is not.

    References:
        Theory page: Eq. (I.30).

    Example:
        >>> relative_error(torch.full((2, 3, 3), 1.1), torch.ones(3, 3)).round(decimals=4)
        tensor([0.1000, 0.1000])
    """
    gap: Tensor = torch.linalg.vector_norm(found - truth, dim=(-2, -1))
    size: Tensor = torch.linalg.vector_norm(truth, dim=(-2, -1))
    return gap / size


def bands(
    draws: Float[Tensor, "*shape"], level: float, *, kind: Kind = "normal", dim: int = 0
) -> Band:
    r"""Return bands that hold one more draw with a given probability.

    $$\bar x \pm t_{n-1, (1 + p)/2}\, s \sqrt{1 + 1/n} \quad \text{(normal)}, \qquad
    [x_{(j)}, x_{(n + 1 - j)}],\ j = (n + 1)(1 - p) / 2 \quad \text{(quantile)}. \tag{I.31}$$

    Both are exact for a finite number of draws: the first if they are normal, the second for
    whole j, between which order statistics are interpolated.

    Args:
        draws: One of its axes counts the draws, at least two.
        level: p, between 0 and 1 [1].
        kind: `"normal"`, or `"quantile"` of any law, which needs more draws.
        dim: The axis of the draws.

    Raises:
        ValueError: If there are too few draws, or an option is out of range.

    References:
        Theory page: Eq. (I.31).

    Example:
        >>> band = bands(torch.arange(1.0, 20.0), 0.9, kind="quantile")
        >>> band.low.item(), band.high.item()
        (1.0, 19.0)
    """
    num = draws.shape[dim]
    if not 0 < level < 1:
        raise ValueError(f"level must be between 0 and 1, got {level}")
    if num < 2:
        raise ValueError(f"a band needs at least 2 draws, got {num}")
    if kind == "normal":
        std, mean = torch.std_mean(draws, dim)
        half = float(stats.t.ppf((1 + level) / 2, num - 1)) * math.sqrt(1 + 1 / num) * std
        return Band(mean - half, mean + half)
    if kind != "quantile":
        raise ValueError(f"kind must be normal or quantile, got {kind!r}")
    place = (num + 1) * (1 - level) / 2
    if place < 1 - 1e-9:
        needed = math.ceil(2 / (1 - level) - 1 - 1e-9)
        raise ValueError(
            f"a {level:g} band by quantiles needs at least {needed} draws, got {num}; take more, "
            f"or kind='normal'"
        )
    ordered = draws.sort(dim).values.movedim(dim, 0)
    below = min(int(place + 1e-9), num - 1)
    share = max(place - below, 0.0)
    low = (1 - share) * ordered[below - 1] + share * ordered[below]
    high = (1 - share) * ordered[num - below] + share * ordered[num - below - 1]
    return Band(low, high)


def coverage(
    draws: Float[Tensor, "*shape"],
    truth: Float[Tensor, "*points"],
    level: float,
    *,
    kind: Kind = "normal",
    dim: int = 0,
) -> Float[Tensor, "*points"]:
    """Return 1 where the truth lies in the band of the draws, 0 elsewhere; its mean is the share.

    Points where the field is fixed, as on a border of zeros, count as covered.

    Args:
        draws: One of its axes counts the draws.
        truth: The shape of one draw.
        level: Of the band, between 0 and 1 [1].
        kind: As for `bands`.
        dim: The axis of the draws.

    Raises:
        ValueError: As `bands`.

    References:
        Theory page: Eq. (I.31).

    Example:
        >>> coverage(torch.tensor([[0.0, 0.0], [1.0, 1.0]]), torch.tensor([0.5, 99.0]), 0.5)
        tensor([1., 0.])
    """
    band = bands(draws, level, kind=kind, dim=dim)
    return ((truth >= band.low) & (truth <= band.high)).to(draws.dtype)


def crps(
    draws: Float[Tensor, "*shape"], truth: Float[Tensor, "*points"], *, dim: int = 0
) -> Float[Tensor, "*points"]:
    r"""Return the continuous ranked probability score of draws, unbiased for their law.

    $$\frac1n \sum_i |x_i - x^*| - \frac{1}{2 n (n - 1)} \sum_{i \ne j} |x_i - x_j|. \tag{I.32}$$

    The expected score is least for draws of the law of the truth, however many there are.

    Args:
        draws: One of its axes counts the draws, at least two.
        truth: The shape of one draw [field].
        dim: The axis of the draws.

    Returns:
        The shape of the truth [field]; less is better, and it can be below 0.

    Raises:
        ValueError: If there are fewer than two draws.

    References:
        Gneiting and Raftery (2007), J. Am. Stat. Assoc. 102, 359; Ferro (2014), Q. J. R. Meteorol.
        Soc. 140, 1917 (the fair form). Theory page: Eq. (I.32).

    Example:
        >>> crps(torch.tensor([0.0, 2.0]), torch.tensor(1.0)).item()
        0.0
    """
    num = draws.shape[dim]
    if num < 2:
        raise ValueError(f"the score needs at least 2 draws, got {num}")
    ordered = draws.sort(dim).values.movedim(dim, -1)
    rank = torch.arange(1 - num, num, 2, dtype=draws.dtype, device=draws.device)
    spread = (ordered * rank).sum(-1) / (num * (num - 1))
    return (ordered - truth.unsqueeze(-1)).abs().mean(-1) - spread
