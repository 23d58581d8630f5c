"""The exact sign-flip test: of no difference, at a margin, and the interval that inverts it."""

import math
from functools import lru_cache

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

__all__ = [
    "EXACT_UP_TO",
    "RESOLUTION",
    "Differences",
    "beyond_p",
    "equivalence_p",
    "sign_flip_interval",
    "sign_flip_p",
    "smallest_p",
]

EXACT_UP_TO = 20
# Fractions are recorded to nine digits.
RESOLUTION = 1e-9
_RANDOM_PAIRS = 2**17 - 1
_CHUNK = 2**14
# Accuracies are fractions of a few thousand, so ties are common, and rounding of sums, relative
# to their terms, must not break them.
_ROUNDING = 1e-12

Differences = Float[np.ndarray, " blocks"]


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
        Schuirmann (1987). Theory page: Eq. (S.3).

    Example:
        >>> equivalence_p(np.zeros(8), 0.1)
        0.00390625
    """
    at_most, at_least = _shares(differences, -margin, margin, resolution)
    return max(at_most, at_least)


def beyond_p(differences: Differences, margin: float, *, resolution: float = 0.0) -> float:
    r"""Return the p value of the sign-flip tests that $|\theta| \le$ `margin`.

    Twice the smaller of the two one-sided p values, of $\theta \le \delta$ and of
    $\theta \ge -\delta$: small values say that the centre lies beyond the margin, on the side of
    the mean. It is at most $\alpha$ if and only if the interval at $1 - \alpha$ lies beyond the
    margin, and never smaller than the p value of no difference.

    Args:
        differences: Paired differences, at least one, finite [metric].
        margin: Largest difference that does not matter, at least 0 [metric].
        resolution: Error of each difference; means this close to the margin are ties [metric].

    References:
        Theory page: Eq. (S.4).

    Example:
        >>> beyond_p(np.arange(1.0, 9.0), 0.5)
        0.0078125
    """
    at_most, at_least = _shares(differences, margin, -margin, resolution)
    return min(1.0, 2 * min(at_most, at_least))


def _shares(
    differences: Differences, low: float, high: float, resolution: float
) -> tuple[float, float]:
    """Return the shares of subset means that are at most `low`, and at least `high`."""
    d = np.asarray(differences, dtype=np.float64)
    means = _subset_means(d, resolution)
    tolerance = resolution + _ROUNDING * (np.abs(d).max() + abs(low))
    # The empty subset, which flips nothing, is the data itself and always counts.
    at_most = 1 + np.count_nonzero(means <= low + tolerance)
    at_least = 1 + np.count_nonzero(means >= high - tolerance)
    return float(at_most / (len(means) + 1)), float(at_least / (len(means) + 1))


def _tie(d: NDArray[np.float64], resolution: float) -> float:
    """Return the size of a sum of differences that is not told from 0."""
    return float(len(d) * resolution + _ROUNDING * np.abs(d).sum())


def _subset_means(values: NDArray[np.float64], resolution: float) -> NDArray[np.float64]:
    """Return the means over all non-empty subsets, or over random ones."""
    return _cached_means(np.ascontiguousarray(values).tobytes(), resolution)


@lru_cache(maxsize=4)
def _cached_means(data: bytes, resolution: float) -> NDArray[np.float64]:
    # One comparison asks for the same means three times.
    values = np.frombuffer(data)
    sums = _subset_sums(values)[1:]
    # The same sums are zero here as in the test of no difference.
    is_zero = np.abs(sums) <= _tie(values, resolution)
    means: NDArray[np.float64] = np.where(is_zero, 0.0, sums / _subset_sizes(len(values))[1:])
    means.flags.writeable = False
    return means


def _subset_sums(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sums over all subsets (the empty one first), or over random ones."""
    if len(values) > EXACT_UP_TO:
        return _random_sums(values)
    sums = np.zeros(1)
    for value in values:
        sums = np.concatenate([sums, sums + value])
    return sums


@lru_cache(maxsize=4)
def _subset_sizes(length: int) -> NDArray[np.float64]:
    return _subset_sums(np.ones(length))


def _random_sums(values: NDArray[np.float64]) -> NDArray[np.float64]:
    length = len(values)
    generator = np.random.default_rng(np.random.SeedSequence(0, spawn_key=(length,)))
    drawn, opposite = [], []
    # Each with its complement, as in the full list: so test and interval agree here too. None is
    # empty or full; those two stand beside them. In pieces: thousands of blocks must fit.
    for start in range(0, _RANDOM_PAIRS, _CHUNK):
        rows = min(_CHUNK, _RANDOM_PAIRS - start)
        patterns = generator.integers(0, 2, size=(rows, length)).astype(np.float64)
        is_trivial = patterns.sum(axis=1) % length == 0
        patterns[is_trivial, 0] = 1 - patterns[is_trivial, 0]
        drawn.append(patterns @ values)
        opposite.append((1 - patterns) @ values)
    return np.concatenate([[0.0], *drawn, *opposite, [values.sum()]])
