"""Paired statistics: the exact sign-flip test, the interval that inverts it, equivalence.

Differences are paired by block. Under the null hypothesis that their distribution is symmetric
about theta, every sign pattern of `d - theta` is equally likely; nothing else is assumed.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

__all__ = [
    "EXACT_UP_TO",
    "PairedComparison",
    "compare_paired",
    "equivalence_p",
    "sign_flip_interval",
    "sign_flip_p",
    "smallest_p",
]

EXACT_UP_TO = 20
_RANDOM_PAIRS = 2**17 - 1
# Accuracies are fractions of a few thousand, so ties are common, and rounding must not break
# them: that of sums, relative to their terms, and that of the nine digits of a record.
_ROUNDING = 1e-12
_RESOLUTION = 1e-9

Differences = Float[np.ndarray, " blocks"]


@dataclass(frozen=True)
class PairedComparison:
    """Two arms compared over matched blocks.

    Attributes:
        num_blocks: n, the number of pairs.
        mean: Mean difference [metric].
        low: Lower end of the interval [metric].
        high: Upper end of the interval [metric].
        p: Two-sided exact sign-flip p value of no difference.
        equivalence_p: p value of the two one-sided tests against the margin.
        sd: Standard deviation of the differences [metric].
        confidence: Confidence level of the interval.
    """

    num_blocks: int
    mean: float
    low: float
    high: float
    p: float
    equivalence_p: float
    sd: float
    confidence: float


def smallest_p(num_blocks: int) -> float:
    """Return the smallest two-sided p value that n pairs can give, 2 / 2^n.

    Example:
        >>> smallest_p(8)
        0.0078125
    """
    return 2.0 ** (1 - num_blocks)


def sign_flip_p(differences: Differences, *, center: float = 0.0, resolution: float = 0.0) -> float:
    r"""Return the two-sided p value of the sign-flip test of symmetry about `center`.

    $$p = 2^{-n}\, \#\{\varepsilon \in \{-1, 1\}^n : |\textstyle\sum \varepsilon_i (d_i - c)|
    \ge |\sum (d_i - c)|\} \tag{S.1}$$

    Exact up to 20 pairs; above, over the observed sign pattern, 2^17 - 1 random ones, and the
    opposite of each.

    Args:
        differences: Paired differences, at least one, finite [metric].
        center: The centre of symmetry under the null hypothesis [metric].
        resolution: Error of each difference; sums this close are ties [metric].

    Example:
        >>> sign_flip_p(np.array([1.0, 2.0, 3.0]))
        0.25
    """
    d = np.asarray(differences, dtype=np.float64) - center
    # A flipped subset S changes the sum by -2 sum_S: |total - 2 s| >= |total|.
    totals = d.sum() - 2 * _subset_sums(d)
    tolerance = 2 * _tie(d, resolution)
    return float(np.mean(np.abs(totals) >= abs(d.sum()) - tolerance))


def sign_flip_interval(
    differences: Differences, *, confidence: float = 0.95, resolution: float = 0.0
) -> tuple[float, float]:
    r"""Return the interval of all centres that the sign-flip test does not reject.

    For a centre below the mean the test counts subset means: with $m_{(k)}$ the k-th smallest
    mean over all non-empty subsets of the differences,

    $$[\,m_{(k)},\; m_{(2^n - k)}\,], \qquad k = \lfloor \alpha 2^n / 2 \rfloor \tag{S.2}$$

    It covers at least `confidence`, and is infinite if n is too small for it (n < 6 at 95 %).

    Args:
        differences: Paired differences, at least one, finite [metric].
        confidence: 1 - α, in (0, 1).
        resolution: Error of each difference; sums this close to 0 are 0 [metric].

    References:
        Hartigan (1969), Using subsample values as typical values. Theory page: Eq. (S.2).

    Example:
        >>> sign_flip_interval(np.arange(1.0, 9.0))
        (2.3333333333333335, 6.666666666666667)
    """
    d = np.asarray(differences, dtype=np.float64)
    means = _subset_means(d, resolution)
    rank = math.floor((1 - confidence) * (len(means) + 1) / 2 + 1e-9)
    if rank < 1:
        return -math.inf, math.inf
    # Rounding of the sums must not widen the interval of equal differences.
    means = np.clip(means, d.min(), d.max())
    part = np.partition(means, [rank - 1, len(means) - rank])
    return float(part[rank - 1]), float(part[len(means) - rank])


def equivalence_p(differences: Differences, margin: float, *, resolution: float = 0.0) -> float:
    r"""Return the p value of the two one-sided sign-flip tests that $|\theta| \ge$ `margin`.

    Small values say that the centre lies inside the margin; the larger of the two p values is
    returned.

    Args:
        differences: Paired differences, at least one, finite [metric].
        margin: Largest difference that does not matter, positive [metric].
        resolution: Error of each difference; means this close to the margin are ties [metric].

    References:
        Theory page: Eq. (S.3).

    Example:
        >>> equivalence_p(np.zeros(8), 0.1)
        0.00390625
    """
    d = np.asarray(differences, dtype=np.float64)
    means = _subset_means(d, resolution)
    # The empty subset, which flips nothing, is the data itself and always counts.
    tolerance = resolution + _ROUNDING * (np.abs(d).max() + margin)
    below = 1 + np.count_nonzero(means <= -margin + tolerance)
    above = 1 + np.count_nonzero(means >= margin - tolerance)
    return float(max(below, above) / (len(means) + 1))


def compare_paired(
    a: Differences, b: Differences, *, margin: float, confidence: float = 0.95
) -> PairedComparison:
    """Compare two arms over the same blocks, in the order of the blocks.

    Values are taken to be known to nine decimals (fractions are recorded to nine digits); the
    ends of the interval are rounded to eight. Otherwise rounding would decide ties with 0 or the
    margin.

    Args:
        a: Values of the arm, larger is better [metric].
        b: Values of its baseline [metric].
        margin: Largest difference that does not matter, positive [metric].
        confidence: Confidence level of the interval.

    Raises:
        ValueError: If the two are not of one length, or empty.
    """
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if a.shape != b.shape or a.size == 0:
        raise ValueError(
            f"a and b must hold the same blocks, at least one, got shapes {a.shape} and {b.shape}"
        )
    d = a - b
    low, high = sign_flip_interval(d, confidence=confidence, resolution=_RESOLUTION)
    return PairedComparison(
        num_blocks=len(d),
        mean=float(d.mean()),
        low=round(low, 8),
        high=round(high, 8),
        p=sign_flip_p(d, resolution=_RESOLUTION),
        equivalence_p=equivalence_p(d, margin, resolution=_RESOLUTION),
        sd=float(d.std(ddof=1)) if len(d) > 1 else math.nan,
        confidence=confidence,
    )


def _tie(d: NDArray[np.float64], resolution: float) -> float:
    """Return the size of a sum of differences that is not told from 0."""
    return float(len(d) * resolution + _ROUNDING * np.abs(d).sum())


def _subset_sums(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sums over all subsets (the empty one first), or over random ones."""
    if len(values) > EXACT_UP_TO:
        patterns = _random_patterns(len(values))
        return np.concatenate([[0.0], patterns @ values, [values.sum()]])
    sums = np.zeros(1)
    for value in values:
        sums = np.concatenate([sums, sums + value])
    return sums


def _subset_means(values: NDArray[np.float64], resolution: float) -> NDArray[np.float64]:
    """Return the means over all non-empty subsets, or over random ones."""
    sums, sizes = _subset_sums(values)[1:], _subset_sums(np.ones(len(values)))[1:]
    # The same sums are zero here as in the test of no difference.
    is_zero = np.abs(sums) <= _tie(values, resolution)
    means: NDArray[np.float64] = np.where(is_zero, 0.0, sums / sizes)
    return means


def _random_patterns(length: int) -> NDArray[np.float64]:
    generator = np.random.default_rng(np.random.SeedSequence(0, spawn_key=(length,)))
    # Each with its complement, as in the full list: so test and interval agree here too. None is
    # empty or full; those two stand beside them.
    drawn = generator.integers(0, 2, size=(_RANDOM_PAIRS, length)).astype(np.float64)
    is_trivial = drawn.sum(axis=1) % length == 0
    drawn[is_trivial, 0] = 1 - drawn[is_trivial, 0]
    return np.concatenate([drawn, 1 - drawn])
