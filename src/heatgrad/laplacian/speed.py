"""Which lengths an FFT is fast at, and the nearest such size of a grid."""

from dataclasses import dataclass

from heatgrad.laplacian.boundary import Boundary, check_boundary

__all__ = ["TransformSpeed", "transform_length", "transform_speed"]

LARGEST_FAST_PRIME = 13  # the FFT libraries have straight code for 2, 3, 5, 7, 11 and 13


@dataclass(frozen=True)
class TransformSpeed:
    """How fast the transform of one axis is.

    A slow one still takes O(n log n) time, by a convolution (Bluestein 1970), several times that
    of its neighbours.

    Attributes:
        n: Points on the axis.
        boundary: Which transform.
        length: Of the FFT under it.
        largest_prime: Factor of the length.
        is_slow: Whether that is above 13.
        faster: The nearest number of points whose transform is fast; `n` where it is fast itself.
    """

    n: int
    boundary: Boundary
    length: int
    largest_prime: int
    is_slow: bool
    faster: int


def transform_length(n: int, boundary: Boundary) -> int:
    """Return the length of the FFT that transforms n points: n, for `dirichlet` 2 (n + 1).

    Raises:
        ValueError: If `n` is below 1 or `boundary` unknown.

    Example:
        >>> transform_length(126, "dirichlet"), transform_length(126, "neumann")
        (254, 126)
    """
    check_boundary(boundary)
    if n < 1:
        raise ValueError(f"n must be at least 1 point, got {n}")
    return 2 * (n + 1) if boundary == "dirichlet" else n


def transform_speed(n: int, boundary: Boundary) -> TransformSpeed:
    """Say whether the transform of n points is fast, and name the nearest size that is.

    Of two sizes equally near the larger is named.

    Args:
        n: Points on the axis, at least 1. A grid of N nodes with a zero border has N - 2.
        boundary: Boundary condition.

    Raises:
        ValueError: If `n` is below 1 or `boundary` unknown.

    References:
        Theory page: "Solving and smoothing" of the Laplacian; Bluestein (1970), IEEE Trans. AU 18.

    Example:
        >>> slow = transform_speed(126, "dirichlet")  # 128 nodes with the border
        >>> slow.length, slow.largest_prime, slow.is_slow, slow.faster
        (254, 127, True, 127)
    """
    length = transform_length(n, boundary)
    largest = _largest_prime(length)
    faster, distance = n, 0
    while _largest_prime(transform_length(faster, boundary)) > LARGEST_FAST_PRIME:
        distance = -distance if distance > 0 else 1 - distance
        faster = max(1, n + distance)
    return TransformSpeed(n, boundary, length, largest, largest > LARGEST_FAST_PRIME, faster)


def _largest_prime(number: int) -> int:
    """Return the largest prime factor; 1 of 1."""
    largest, factor = 1, 2
    while factor * factor <= number:
        while number % factor == 0:
            largest, number = factor, number // factor
        factor += 1
    return max(largest, number)
