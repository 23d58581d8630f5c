"""Many comparisons at once: Holm's p values, Benjamini and Hochberg's q values, family sizes."""

import math

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from heatgrad.study.statistics.signflip import smallest_p

__all__ = ["benjamini_hochberg", "blocks_for_family", "holm", "largest_family"]

PValues = Float[np.ndarray, " tests"]


def holm(p_values: PValues) -> NDArray[np.float64]:
    r"""Return the p values adjusted by Holm's step-down method, in the order given.

    $$\tilde p_{(i)} = \max_{j \le i} \min\bigl(1, (m - j + 1)\, p_{(j)}\bigr) \tag{S.10}$$

    Rejecting where $\tilde p \le \alpha$ makes any false rejection in the family with
    probability at most $\alpha$, however the tests depend on each other.

    Args:
        p_values: One per test of the family.

    References:
        Holm (1979), A simple sequentially rejective multiple test procedure. Theory page:
        Eq. (S.10).

    Example:
        >>> holm(np.array([0.01, 0.04, 0.03])).tolist()
        [0.03, 0.06, 0.06]
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    factors = len(p) - np.arange(len(p))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(factors * p[order]))
    return adjusted


def benjamini_hochberg(p_values: PValues) -> NDArray[np.float64]:
    r"""Return the q values of Benjamini and Hochberg, in the order given.

    $$q_{(i)} = \min_{j \ge i} \min(1, m\, p_{(j)} / j) \tag{S.11}$$

    Of the tests with $q \le \alpha$ a share of at most $\alpha$ is expected to be false, for
    independent (and some dependent) tests.

    Args:
        p_values: One per test.

    References:
        Benjamini and Hochberg (1995), Controlling the false discovery rate. Theory page:
        Eq. (S.11).

    Example:
        >>> benjamini_hochberg(np.array([0.01, 0.02, 0.9])).tolist()
        [0.03, 0.03, 0.9]
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    scaled = len(p) * p[order] / (1 + np.arange(len(p)))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1.0, np.minimum.accumulate(scaled[::-1])[::-1])
    return adjusted


def largest_family(num_blocks: int, *, alpha: float = 0.05) -> int:
    """Return the largest family of which n blocks can decide one member: m with 2/2^n <= α/m.

    Example:
        >>> [largest_family(n) for n in (5, 8, 10)]
        [0, 6, 25]
    """
    return math.floor(alpha / smallest_p(num_blocks) * (1 + 1e-12))


def blocks_for_family(size: int, *, alpha: float = 0.05) -> int:
    """Return the smallest number of blocks that can decide a family of `size` comparisons.

    Example:
        >>> [blocks_for_family(m) for m in (1, 6, 7, 15)]
        [6, 8, 9, 10]
    """
    num_blocks = 1
    while largest_family(num_blocks, alpha=alpha) < size:
        num_blocks += 1
    return num_blocks
