"""Say when the transforms of a number of nodes are slow."""

import warnings

from heatgrad.core.errors import HeatgradWarning
from heatgrad.laplacian.speed import transform_speed

__all__ = ["warn_if_slow"]


def warn_if_slow(n: int) -> None:
    """Warn if sine transforms on the inner nodes of n a side are slow, and name a fast n.

    To be called where an object is made, not where it is used: one warning each.

    Warns:
        HeatgradWarning: With the length of the transform and the nearest fast n.

    Example:
        >>> warn_if_slow(129)
    """
    speed = transform_speed(n - 2, "dirichlet")
    if speed.is_slow:
        warnings.warn(
            f"n = {n} nodes make the sine transforms slow: length {speed.length} has the prime "
            f"factor {speed.largest_prime}; n = {speed.faster + 2} is fast",
            HeatgradWarning,
            stacklevel=4,
        )
