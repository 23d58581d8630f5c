"""Effect sizes of paired arms: how large, how often, and how much the pairing gained."""

import math
from dataclasses import dataclass

import numpy as np
from scipy import special

from heatgrad.study.statistics.signflip import RESOLUTION, Differences

__all__ = [
    "EffectSizes",
    "effect_sizes",
    "hodges_lehmann",
    "jeffreys_interval",
    "pairing_factor",
    "probability_better",
    "standardized_mean",
]


@dataclass(frozen=True)
class EffectSizes:
    """Descriptions of a difference, beside the test that decides.

    Attributes:
        hodges_lehmann: Median of the Walsh averages, a robust centre [metric].
        d_z: Mean over standard deviation of the differences [1]; NaN for one pair.
        prob_better: Share of blocks in which the arm is better, ties counted half [1].
        prob_better_low: Lower end of its 95 % Jeffreys interval [1].
        prob_better_high: Upper end [1].
        correlation: Of the two arms over the blocks [1]; NaN where one does not vary.
        pairing_factor: (var a + var b) / var d: how many times more unpaired blocks would be
            needed [1].
    """

    hodges_lehmann: float
    d_z: float
    prob_better: float
    prob_better_low: float
    prob_better_high: float
    correlation: float
    pairing_factor: float


def effect_sizes(a: Differences, b: Differences, *, resolution: float = RESOLUTION) -> EffectSizes:
    """Return the effect sizes of an arm `a` against `b`, larger is better, in the order of blocks.

    Args:
        a: Values of the arm [metric].
        b: Values of its baseline [metric].
        resolution: Differences this small are ties [metric].

    Example:
        >>> effect_sizes(np.array([1.0, 2.0, 4.0]), np.zeros(3)).hodges_lehmann
        2.25
    """
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    d = a - b
    share = probability_better(d, resolution=resolution)
    low, high = jeffreys_interval(share * len(d), len(d))
    varies = len(d) > 1 and min(np.ptp(a), np.ptp(b)) > 0
    return EffectSizes(
        hodges_lehmann=hodges_lehmann(d),
        d_z=standardized_mean(d, resolution=resolution),
        prob_better=share,
        prob_better_low=low,
        prob_better_high=high,
        correlation=float(np.corrcoef(a, b)[0, 1]) if varies else math.nan,
        pairing_factor=pairing_factor(a, b),
    )


def hodges_lehmann(differences: Differences) -> float:
    r"""Return the median of the Walsh averages, a centre that few outliers cannot move.

    $$\operatorname{median}\{(d_i + d_j) / 2 : i \le j\} \tag{S.7}$$

    Args:
        differences: Paired differences, at least one, finite [metric].

    References:
        Hodges and Lehmann (1963), Estimates of location based on rank tests. Theory page:
        Eq. (S.7).

    Example:
        >>> hodges_lehmann(np.array([1.0, 2.0, 30.0]))
        8.75
    """
    d = np.asarray(differences, dtype=np.float64)
    upper = np.triu_indices(len(d))
    return float(np.median((d[upper[0]] + d[upper[1]]) / 2))


def standardized_mean(differences: Differences, *, resolution: float = 0.0) -> float:
    """Return d_z, the mean of the differences over their standard deviation.

    Infinite where all are equal and not 0, 0 where all are 0, NaN for one pair.

    Args:
        differences: One for each block.
        resolution: Differences this close are equal.

    Example:
        >>> standardized_mean(np.array([1.0, 2.0, 3.0]))
        2.0
    """
    d = np.asarray(differences, dtype=np.float64)
    if len(d) < 2:
        return math.nan
    if d.max() - d.min() <= resolution:
        return math.copysign(math.inf, d[0]) if abs(d[0]) > resolution else 0.0
    return float(d.mean() / d.std(ddof=1))


def probability_better(differences: Differences, *, resolution: float = RESOLUTION) -> float:
    """Return the share of blocks with a positive difference; a tie counts half.

    Args:
        differences: Paired differences, at least one, larger is better [metric].
        resolution: Differences this small are ties [metric].

    Example:
        >>> probability_better(np.array([0.2, 0.1, 0.0, -0.1]))
        0.625
    """
    d = np.asarray(differences, dtype=np.float64)
    ties = np.count_nonzero(np.abs(d) <= resolution)
    return float((np.count_nonzero(d > resolution) + ties / 2) / len(d))


def jeffreys_interval(wins: float, blocks: int, *, confidence: float = 0.95) -> tuple[float, float]:
    r"""Return Jeffreys' interval of a share: quantiles of Beta(w + 1/2, n - w + 1/2).

    Args:
        wins: w, from 0 to `blocks`; halves are ties.
        blocks: n, at least 1.
        confidence: 1 - α, in (0, 1).

    References:
        Brown, Cai and DasGupta (2001), Interval estimation for a binomial proportion. Theory
        page: Eq. (S.8).

    Example:
        >>> low, high = jeffreys_interval(8, 8)
        >>> f"{low:.3f} {high:.3f}"
        '0.738 1.000'
    """
    tail = (1 - confidence) / 2
    ends = special.betaincinv(wins + 0.5, blocks - wins + 0.5, [tail, 1 - tail])
    return float(ends[0]), float(ends[1])


def pairing_factor(a: Differences, b: Differences) -> float:
    r"""Return how many times more blocks an unpaired comparison would need.

    $$(s_a^2 + s_b^2) / s_d^2 \tag{S.9}$$

    1 for arms without correlation; infinite where the differences do not vary and the arms do.
    NaN for one pair, or where nothing varies.

    References:
        Theory page: Eq. (S.9).

    Example:
        >>> pairing_factor(np.array([1.0, 2.0, 3.0]), np.array([0.0, 2.0, 1.0]))
        2.0
    """
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if len(a) < 2:
        return math.nan
    apart, paired = a.var(ddof=1) + b.var(ddof=1), (a - b).var(ddof=1)
    if paired == 0:
        return math.inf if apart > 0 else math.nan
    return float(apart / paired)
