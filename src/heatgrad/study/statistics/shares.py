"""Shares of a variance: unbiased components over independent blocks, and their intervals."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

__all__ = ["Share", "shares_of"]

Slices = NDArray[np.float64]


@dataclass(frozen=True)
class Share:
    """A part of the variance of a study's runs.

    Attributes:
        share: The part's component over the sum of all, negative ones cut at 0 [1].
        low: Lower end of the interval [1].
        high: Upper end [1].
        component: Unbiased estimate of the part's variance; not cut [metric²].
        eta_squared: The part's sum of squares over the total one [1].
    """

    share: float
    low: float
    high: float
    component: float
    eta_squared: float


def shares_of(
    fixed: Sequence[Slices], seeded: Sequence[Slices], *, confidence: float
) -> list[Share]:
    r"""Return the shares of orthogonal parts of an outcome, in the order given, fixed ones first.

    Each part is given by its slices $x_b$, one per block. Of a fixed part the mean over blocks
    counts, of a seeded part the spread about it: with products that are means over the cells,

    $$\hat V = \frac{1}{n (n-1)} \sum_{b \ne c} x_b \cdot x_c \quad \text{(fixed)}, \qquad
    \hat V = \frac{1}{n - 1} \sum_b |x_b - \bar x|^2 \quad \text{(seeded)} \tag{S.15}$$

    The interval is the uncut share plus and minus a quantile of Student's t (n - 1 degrees of
    freedom) times the standard error of the jackknife over blocks; for a fixed part the variance of
    the estimate's degenerate term is added, which the jackknife may miss where the part is close to
    0. If it lies inside (0, 1) it is made in logits, else it is cut. With two blocks it is [0, 1].

    Args:
        fixed: Slices, each of shape (cells, blocks), two blocks at least [metric].
        seeded: The same.
        confidence: 1 - α, in (0, 1).

    References:
        Theory page: Eq. (S.15).
    """
    is_fixed = np.arange(len(fixed) + len(seeded)) < len(fixed)
    centred = [x - x.mean(axis=1, keepdims=True) for x in seeded]
    grams = [x.T @ x / len(x) for x in (*fixed, *centred)]
    n = len(grams[0])
    sums = np.array([gram.sum() for gram in grams])[:, None]
    squares = np.array([np.trace(gram) for gram in grams])[:, None]
    components = _components(sums, squares, n, is_fixed)[:, 0]
    kept = np.maximum(components, 0.0)
    around = np.where(is_fixed, sums[:, 0] / n**2, components * (n - 1) / n)
    low, high = _interval(grams, components, is_fixed, confidence)
    parts = []
    for i, share in enumerate(kept / kept.sum()):
        part = Share(
            share=float(share),
            # Negative ones cut, the share may lie a little outside of what was estimated uncut.
            low=float(min(share, low[i])),
            high=float(max(share, high[i])),
            component=float(components[i]),
            eta_squared=float(around[i] / around.sum()),
        )
        parts.append(part)
    return parts


def _components(
    sums: NDArray[np.float64], squares: NDArray[np.float64], n: int, is_fixed: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return Eq. (S.15) from the sum of a Gram matrix and its trace, a row per part."""
    mean, within = sums / n**2, (squares - sums / n) / (n - 1)
    return np.where(is_fixed[:, None], mean - within / n, within)


def _interval(
    grams: list[NDArray[np.float64]],
    components: NDArray[np.float64],
    is_fixed: NDArray[np.bool_],
    confidence: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    n = len(grams[0])
    unknown = np.zeros(len(grams)), np.ones(len(grams))
    if n < 3:
        return unknown
    diagonals = np.array([np.diag(gram) for gram in grams])
    sums = np.array([gram.sum() - 2 * gram.sum(axis=1) for gram in grams]) + diagonals
    squares = diagonals.sum(axis=1, keepdims=True) - diagonals
    without = _components(sums, squares, n - 1, is_fixed)
    if not (without.sum(axis=0) > 0).all():
        # All but one block are equal: nothing is known about the spread.
        return unknown
    without = without / without.sum(axis=0)
    spread = ((without - without.mean(axis=1, keepdims=True)) ** 2).sum(axis=1)
    degenerate = [2 * (_centred(gram) ** 2).sum() / (n * (n - 1)) ** 2 for gram in grams]
    variance = (n - 1) / n * spread + is_fixed * degenerate / components.sum() ** 2
    half = special.stdtrit(n - 1, (1 + confidence) / 2) * np.sqrt(variance)
    point = components / components.sum()
    low, high = point - half, point + half
    inside = (low > 0) & (high < 1)
    p = np.where(inside, point, 0.5)
    width = half / (p * (1 - p))
    low = np.where(inside, special.expit(special.logit(p) - width), np.clip(low, 0.0, 1.0))
    high = np.where(inside, special.expit(special.logit(p) + width), np.clip(high, 0.0, 1.0))
    return low, high


def _centred(gram: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the Gram matrix of the slices minus their mean."""
    means = gram.mean(axis=0)
    centred: NDArray[np.float64] = gram - means - means[:, None] + means.mean()
    return centred
