"""Is a path of optimization smooth? Summaries of recorded curves, run by run."""

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

__all__ = ["path_over_chord", "total_variation"]

# Lengths are recorded to nine digits, from norms in single precision.
_ROUNDING = 1e-5


def total_variation(series: Float[np.ndarray, "*runs steps"]) -> NDArray[np.float64]:
    r"""Return the mean step of a positive series, up or down, relative to its mean.

    $$\frac{1}{m - 1} \sum_{t=2}^{m} |x_t - x_{t-1}| \Big/ \frac{1}{m} \sum_{t=1}^{m} x_t$$

    It does not depend on the unit of the series and, for one that jumps about a level, not on its
    length. A trend counts as well: a series that falls steadily to nothing has 2 / (m - 1). So
    compare series of one length, from runs that learn equally well.

    Args:
        series: Such as gradient norms over epochs, not negative; the last axis is time.

    Returns:
        One number per run [1]; NaN where a series is 0 throughout.

    Raises:
        ValueError: If a series is shorter than two, negative somewhere or not finite.

    References:
        [Ray] D.1, "smoother gradient magnitude trajectories", gives no measure. Theory page:
        Eq. (S.19), first.

    Example:
        >>> total_variation(np.array([1.0, 3.0, 1.0, 3.0])).item()
        1.0
    """
    x = _checked(series, "series", at_least=2)
    mean = x.mean(axis=-1)
    steps = np.abs(np.diff(x, axis=-1)).mean(axis=-1)
    return np.asarray(np.where(mean > 0, steps / np.where(mean > 0, mean, 1.0), np.nan))


def path_over_chord(
    step_lengths: Float[np.ndarray, "*runs steps"], chord: Float[np.ndarray, "*runs"] | float
) -> NDArray[np.float64]:
    r"""Return how much longer than the straight line a path was, at least 1.

    $$\sum_{t=1}^{m} |\theta_t - \theta_{t-1}| \Big/ |\theta_m - \theta_0|$$

    1 for a straight path, about $\sqrt m$ for a random walk, infinite for one that came back.
    Detours between the recorded points are not seen, so the true ratio is larger, and paths
    compare only if recorded equally often.

    Args:
        step_lengths: Distances between neighbouring records; the last axis is time [param].
        chord: Distance of the last record from the start, one per run [param].

    Returns:
        One number per run [1]; NaN where nothing moved.

    Raises:
        ValueError: If shapes do not fit, a number is negative or not finite, or a chord is longer
            than its path.

    References:
        [Ray] 3.1, "smoother optimization trajectories", gives no measure. Theory page: Eq. (S.19),
        second.

    Example:
        >>> path_over_chord(np.array([3.0, 4.0]), 5.0).item()
        1.4
    """
    path = _checked(step_lengths, "step_lengths", at_least=1).sum(axis=-1)
    end = _checked(chord, "chord", at_least=0)
    if end.shape != path.shape:
        raise ValueError(
            f"chord must be one number per run, shape {path.shape}, got shape {end.shape}"
        )
    if (end > path * (1 + _ROUNDING)).any():
        worst = int(np.argmax(end - path))
        raise ValueError(
            f"chord must not be longer than its path, got {end.flat[worst]:g} for a path of "
            f"{path.flat[worst]:g}; give the steps from the same start to the same end"
        )
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(path > 0, np.maximum(path / end, 1.0), np.nan))


def _checked(
    values: Float[np.ndarray, "..."] | float, name: str, *, at_least: int
) -> NDArray[np.float64]:
    x = np.asarray(values, dtype=np.float64)
    if at_least and (x.ndim == 0 or x.shape[-1] < at_least):
        raise ValueError(
            f"{name} must have at least {at_least} records on its last axis, got shape {x.shape}"
        )
    if not np.isfinite(x).all() or (x < 0).any():
        raise ValueError(
            f"{name} must be finite and not negative, got {np.min(x):g} to {np.max(x):g}; leave "
            "out runs that diverged"
        )
    return x
