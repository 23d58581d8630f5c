"""Robustness to noise as one number per block: the area under the curve over noise levels."""

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

__all__ = ["area_under_curve"]


def area_under_curve(
    levels: Float[np.ndarray, " levels"], values: Float[np.ndarray, "levels *blocks"]
) -> NDArray[np.float64]:
    r"""Return the area under a curve over noise levels, divided by their range.

    With the levels in order, $p_1 < \dots < p_m$, and straight lines between them,

    $$\frac{1}{p_m - p_1} \sum_{j=1}^{m-1} (p_{j+1} - p_j)\, \frac{y_j + y_{j+1}}{2} \tag{S.17}$$

    is the mean of the curve over the range, in the units of the metric. It is linear in the
    values: the difference of two arms' areas in a block is the area of their difference, and
    `compare_paired` judges areas of matched blocks as it judges any other metric.

    Args:
        levels: Noise levels, at least two, all different, in any order [1].
        values: A value per level and block; or per level, for one curve [metric].

    Returns:
        One area per block, shape (blocks,); of one curve, shape () [metric].

    Raises:
        ValueError: If shapes do not fit, a number is not finite, or a level is there twice.

    References:
        [Ray] D.1: "the area under the accuracy-noise curve", without a formula. Theory page:
        Eq. (S.17).

    Example:
        >>> accuracy = np.array([[0.9, 1.0], [0.8, 0.9], [0.6, 0.7]])
        >>> area_under_curve(np.array([0.0, 0.2, 0.4]), accuracy).round(3).tolist()
        [0.775, 0.875]
    """
    p, y = np.asarray(levels, dtype=np.float64), np.asarray(values, dtype=np.float64)
    if p.ndim != 1 or len(p) < 2 or y.ndim == 0 or len(y) != len(p):
        raise ValueError(
            f"values must have a row for each of at least two levels, got shapes {y.shape} and "
            f"{p.shape}"
        )
    if not (np.isfinite(p).all() and np.isfinite(y).all()):
        raise ValueError(
            "levels and values must be finite; leave out blocks that miss a level, and give a "
            "diverged run the worst value of the metric"
        )
    order = np.argsort(p)
    p, y = p[order], y[order]
    if (np.diff(p) == 0).any():
        twice = p[1:][np.diff(p) == 0][0]
        raise ValueError(f"levels must be different, got {twice:g} twice; average their values")
    weights = np.diff(p) / (p[-1] - p[0])
    return np.asarray(weights @ (y[1:] + y[:-1]) / 2)  # Eq. (S.17)
