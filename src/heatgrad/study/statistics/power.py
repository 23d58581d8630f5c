"""Power of the sign-flip test: what n blocks can find, and how many blocks are needed.

The power depends on the unknown distribution of the differences; here they are taken as normal.
"""

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import special

from heatgrad.study.statistics.signflip import EXACT_UP_TO

__all__ = [
    "MOST_BLOCKS",
    "attainable_level",
    "blocks_to_detect",
    "blocks_to_settle",
    "detectable_difference",
    "sign_flip_power",
]

MOST_BLOCKS = 10_000
# Up to here the bound of t is taken over drawn residuals, by this many quantiles of it.
_DRAWN_UP_TO = 12
_POINTS = 32


def attainable_level(num_blocks: int, *, alpha: float = 0.05) -> float:
    r"""Return the level at which the two-sided sign-flip test really works.

    $$\alpha_n = 2 \lfloor \alpha 2^n / 2 \rfloor / 2^n \le \alpha \tag{S.12}$$

    Example:
        >>> attainable_level(10) == 50 / 1024
        True
    """
    if num_blocks > EXACT_UP_TO:
        return alpha
    patterns = 2.0**num_blocks
    return 2 * math.floor(alpha * patterns / 2 + 1e-9) / patterns


def sign_flip_power(
    effect: float, sd: float, num_blocks: int, *, alpha: float = 0.05, sides: int = 2
) -> float:
    r"""Return the probability that the sign-flip test finds a true difference.

    For normal differences the scaled residuals $(d_i - \bar d) / s$ are independent of
    $\bar d$ and s, and decide how large $t = \sqrt n\, \bar d / s$ has to be. With c that value, T
    non-central t with n - 1 degrees of freedom and non-centrality $\sqrt n\, \theta / \sigma$,

    $$P = E_c\, P(T > c), \qquad c \approx t_{n-1,\,1-\alpha_n/2} \text{ for } n > 12 \tag{S.13}$$

    The mean over c is taken over residuals drawn from a fixed seed; the result is within 0.01 of
    the truth for n up to 12. Above, it is within 0.03 where at least 25 patterns reach alpha, and
    up to 0.15 too high where few do. To find an effect beyond a margin, give the distance from the
    margin.

    Args:
        effect: True mean difference, or its distance from the margin, at least 0 [metric].
        sd: Standard deviation of the differences [metric].
        num_blocks: n, at least 2.
        alpha: Level of the test; divided by the family size for the first step of Holm's method.
        sides: 2; or 1 for a one-sided test at `alpha`.

    References:
        Theory page: Eq. (S.13).

    Example:
        >>> round(sign_flip_power(0.01, 0.01, 10), 2)
        0.8
    """
    level = attainable_level(num_blocks, alpha=2 * alpha if sides == 1 else alpha)
    if level <= 0:
        return 0.0
    if sd == 0:
        return 1.0 if effect > 0 else level / 2
    # SciPy's function is 0 to rounding from 30 on, and NaN somewhat further.
    shift = min(effect / sd * math.sqrt(num_blocks), 30.0)
    return float(np.mean(1 - special.nctdtr(num_blocks - 1, shift, _bounds(num_blocks, level))))


def detectable_difference(
    sd: float, num_blocks: int, *, alpha: float = 0.05, power: float = 0.8
) -> float:
    """Return the smallest true difference from 0 that is found with a given probability.

    Infinite if no outcome of n blocks could reach alpha.

    Args:
        sd: Standard deviation of the differences [metric].
        num_blocks: n, at least 2.
        alpha: Level of the test.
        power: The probability, in (0.05, 1).

    References:
        Theory page: Eq. (S.13), solved for the difference.

    Example:
        >>> round(detectable_difference(0.01, 10), 3)
        0.01
    """
    return sd * _detectable_in_sd(num_blocks, alpha, power)


def blocks_to_detect(
    effect: float, sd: float, *, alpha: float = 0.05, power: float = 0.8
) -> int | None:
    """Return the number of blocks that tells a mean difference from 0 with a given probability.

    Args:
        effect: Size of the true mean difference, or its distance from the margin [metric].
        sd: Standard deviation of the differences [metric].
        alpha: Level of the test.
        power: The probability, in (0, 1).

    Returns:
        The number, or None if it is above 10,000.

    Example:
        >>> blocks_to_detect(0.01, 0.01), blocks_to_detect(0.0, 0.01)
        (11, None)
    """
    return _smallest(lambda n: sign_flip_power(abs(effect), sd, n, alpha=alpha), power)


def blocks_to_settle(
    mean: float, sd: float, margin: float, *, alpha: float = 0.05, power: float = 0.8
) -> int | None:
    """Return the number of blocks that settles on which side of the margin a difference lies.

    If the mean lies beyond the margin, that of the test at the margin (HELPS, HURTS); if inside,
    that of the two one-sided tests (EQUIVALENT), the sum of whose errors is counted.

    Args:
        mean: True mean difference; the observed one is the best guess [metric].
        sd: Standard deviation of the differences [metric].
        margin: Largest difference that does not matter, positive [metric].
        alpha: Level of the test.
        power: The probability, in (0, 1).

    Returns:
        The number, or None if it is above 10,000: the mean is too close to the margin.

    Example:
        >>> blocks_to_settle(0.02, 0.01, 0.01), blocks_to_settle(0.01, 0.01, 0.01)
        (11, None)
    """
    if abs(mean) >= margin:
        return blocks_to_detect(abs(mean) - margin, sd, alpha=alpha, power=power)

    def both(num_blocks: int) -> float:
        sides = (margin - mean, margin + mean)
        powers = [sign_flip_power(side, sd, num_blocks, alpha=alpha, sides=1) for side in sides]
        return sum(powers) - 1

    return _smallest(both, power)


@lru_cache(maxsize=256)
def _detectable_in_sd(num_blocks: int, alpha: float, power: float) -> float:
    if attainable_level(num_blocks, alpha=alpha) <= 0:
        return math.inf
    low, high = 0.0, 1.0
    while sign_flip_power(high, 1.0, num_blocks, alpha=alpha) < power:
        high *= 2
    for _ in range(50):
        middle = (low + high) / 2
        if sign_flip_power(middle, 1.0, num_blocks, alpha=alpha) < power:
            low = middle
        else:
            high = middle
    return high


@lru_cache(maxsize=256)
def _bounds(num_blocks: int, level: float) -> NDArray[np.float64]:
    """Return values that t has to exceed, equally likely for normal differences."""
    n = num_blocks
    if n > _DRAWN_UP_TO:
        return np.array([special.stdtrit(n - 1, 1 - level / 2)])
    rank = round(level / 2 * 2**n)
    residuals = np.random.default_rng(n).standard_normal((min(2000, 2**22 >> n), n))
    residuals -= residuals.mean(axis=1, keepdims=True)
    residuals /= residuals.std(axis=1, ddof=1, keepdims=True)
    sums, sizes = np.zeros((len(residuals), 1)), np.zeros(1)
    for column in residuals.T:
        sums = np.concatenate([sums, sums + column[:, None]], axis=1)
        sizes = np.concatenate([sizes, sizes + 1])
    # The lower end of the interval, Eq. (S.2), lies this far below the mean.
    ends = np.partition(sums[:, 1:] / sizes[1:], rank - 1, axis=1)[:, rank - 1]
    middles = (np.arange(_POINTS) + 0.5) / _POINTS
    bounds: NDArray[np.float64] = np.quantile(-math.sqrt(n) * ends, middles)
    return bounds


def _smallest(power_of: Callable[[int], float], power: float) -> int | None:
    """Return the smallest number of blocks, from 2, whose power is enough."""
    high = 2
    while power_of(high) < power:
        if high >= MOST_BLOCKS:
            return None
        high = min(2 * high, MOST_BLOCKS)
    low = high // 2
    # Attainable levels jump with n, so that power is not quite monotone: the last step is walked.
    while high - low > 8:
        middle = (low + high) // 2
        low, high = (low, middle) if power_of(middle) >= power else (middle, high)
    return next(n for n in range(max(2, low), high + 1) if power_of(n) >= power)
