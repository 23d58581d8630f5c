"""Shares of counts, with intervals."""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm

__all__ = ["wilson"]


def wilson(
    counts: ArrayLike, totals: ArrayLike, *, confidence: float = 0.95
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    r"""Return the ends of Wilson's interval of a probability; NaN where there was no trial.

    $$\frac{\hat p + \frac{z^2}{2n} \pm z \sqrt{\frac{\hat p (1 - \hat p)}{n} +
    \frac{z^2}{4 n^2}}}{1 + z^2 / n} \tag{F.101}$$

    Args:
        counts: How often it happened.
        totals: Of how many times, at least 0.
        confidence: Between 0 and 1.

    Raises:
        ValueError: If a count is out of range, or the confidence.

    References:
        Wilson (1927), Journal of the American Statistical Association 22(158).

    Example:
        >>> low, high = wilson(0, 10)
        >>> float(low), round(float(high), 4)
        (0.0, 0.2775)
    """
    k, n = np.asarray(counts, dtype=np.float64), np.asarray(totals, dtype=np.float64)
    if not ((k >= 0).all() and (k <= n).all()):
        raise ValueError("counts must be from 0 to totals, got others")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be between 0 and 1, got {confidence}")
    tried = np.where(n > 0, n, math.nan)
    z2 = float(norm.ppf((1 + confidence) / 2)) ** 2
    share = k / tried
    half = np.sqrt(z2 * (share * (1 - share) / tried + z2 / (4 * tried**2)))
    middle, whole = share + z2 / (2 * tried), 1 + z2 / tried
    # At the ends of the range the two terms are equal but for rounding.
    low = np.where(share == 0, 0.0, (middle - half) / whole)
    high = np.where(share == 1, 1.0, (middle + half) / whole)
    return low, high
