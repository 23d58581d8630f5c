"""Two arms over the same blocks: the comparison from which a verdict follows."""

import math
from dataclasses import dataclass

import numpy as np

from heatgrad.study.statistics.signflip import (
    RESOLUTION,
    Differences,
    beyond_p,
    equivalence_p,
    sign_flip_interval,
    sign_flip_p,
)

__all__ = ["PairedComparison", "compare_paired"]


@dataclass(frozen=True)
class PairedComparison:
    """Two arms compared over matched blocks.

    Attributes:
        num_blocks: n, the number of pairs.
        mean: Mean difference [metric].
        low: Lower end of the interval [metric].
        high: Upper end of the interval [metric].
        p: Two-sided exact sign-flip p value of no difference.
        beyond_p: p value of a difference within the margin: small if it lies beyond.
        equivalence_p: p value of the two one-sided tests against the margin.
        sd: Standard deviation of the differences [metric].
        confidence: Confidence level of the interval.
    """

    num_blocks: int
    mean: float
    low: float
    high: float
    p: float
    beyond_p: float
    equivalence_p: float
    sd: float
    confidence: float


def compare_paired(
    a: Differences,
    b: Differences,
    *,
    margin: float,
    confidence: float = 0.95,
    resolution: float = RESOLUTION,
) -> PairedComparison:
    """Compare two arms over the same blocks, in the order of the blocks.

    Values are taken to be known to `resolution` (fractions are recorded to nine digits); the
    ends of the interval are rounded to one digit less. Otherwise rounding would decide ties with
    0 or the margin.

    Args:
        a: Values of the arm, larger is better [metric].
        b: Values of its baseline [metric].
        margin: Largest difference that does not matter, positive [metric].
        confidence: Confidence level of the interval.
        resolution: To what the values are known, positive [metric].

    Raises:
        ValueError: If the two are not of one length, or empty.
    """
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if a.shape != b.shape or a.size == 0:
        raise ValueError(
            f"a and b must hold the same blocks, at least one, got shapes {a.shape} and {b.shape}"
        )
    # Sorted: above 20 blocks, where sign patterns are drawn, their order would matter.
    d = np.sort(a - b)
    low, high = sign_flip_interval(d, confidence=confidence, resolution=resolution)
    digits = math.floor(-math.log10(resolution) + 1e-9) - 1
    return PairedComparison(
        num_blocks=len(d),
        mean=float(d.mean()),
        low=round(low, digits),
        high=round(high, digits),
        p=sign_flip_p(d, resolution=resolution),
        beyond_p=beyond_p(d, margin, resolution=resolution),
        equivalence_p=equivalence_p(d, margin, resolution=resolution),
        sd=float(d.std(ddof=1)) if len(d) > 1 else math.nan,
        confidence=confidence,
    )
