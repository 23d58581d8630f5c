"""Richardson extrapolation: a better value from several grids, and how far the best was off."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Extrapolated", "richardson"]


@dataclass(frozen=True)
class Extrapolated:
    """A value extrapolated to spacing zero.

    Attributes:
        value: The extrapolation.
        error: Its distance from the value on the finest grid: an estimate of that value's error.
        order: Order that was used.
    """

    value: float
    error: float
    order: float


def richardson(
    sizes: Sequence[int], values: Sequence[float], *, order: float | None = None
) -> Extrapolated:
    r"""Return the value at spacing zero, from grids of growing size.

    $$v_0 = v_h + \frac{v_h - v_H}{(H/h)^q - 1}, \qquad q = \log_r \frac{v_{rrh} - v_{rh}}{v_{rh} -
    v_h} \text{ from sizes in ratio } r \tag{F.52}$$

    Args:
        sizes: Cells a side, growing; the last two, or three in one ratio, are used.
        values: What each grid gave.
        order: q; from three values, unless given.

    Raises:
        ValueError: If the sizes do not grow, or are too few, or an order cannot be told from the
            values, because their differences do not shrink.

    Example:
        >>> round(richardson((10, 20, 40), (1.04, 1.01, 1.0025)).value, 12)
        1.0
    """
    n: NDArray[np.float64] = np.asarray(sizes, dtype=np.float64)
    v: NDArray[np.float64] = np.asarray(values, dtype=np.float64)
    needed = 3 if order is None else 2
    if n.ndim != 1 or n.shape != v.shape or len(n) < needed or (np.diff(n) <= 0).any() or n[0] <= 0:
        raise ValueError(
            f"sizes must grow, with a value each and at least {needed} of them, got {sizes!r} and "
            f"{values!r}"
        )
    ratio = n[-1] / n[-2]
    if order is None:
        if abs(n[-2] / n[-3] - ratio) > 1e-9 * ratio:
            raise ValueError(f"three sizes must be in one ratio, got {sizes!r}; or give the order")
        first, second = v[-2] - v[-3], v[-1] - v[-2]
        if not (second != 0 and first / second > 1):
            raise ValueError(
                f"an order needs differences that shrink with one sign, got {first:.3g} and "
                f"{second:.3g}; refine, or give the order"
            )
        order = float(np.log(first / second) / np.log(ratio))
    if not order > 0:
        raise ValueError(f"order must be positive, got {order!r}")
    value = float(v[-1] + (v[-1] - v[-2]) / (ratio**order - 1))
    return Extrapolated(value, value - float(v[-1]), order)
