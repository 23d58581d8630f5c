"""Elementwise work between matrix products, in one pass over memory, on a CPU."""

from typing import Any

from numba import njit

__all__ = ["moments", "scale_shift"]

_OPTIONS: dict[str, Any] = {
    "nogil": True,
    "cache": True,
    "fastmath": {"contract"},
    "error_model": "numpy",
    "boundscheck": False,
}
_ROWS = 32  # whose sum is taken in the type of the rows


@njit(**_OPTIONS)
def moments(z, part, mean, variance):  # type: ignore[no-untyped-def]
    """Fill in the mean and the biased variance of each column.

    Args:
        z: Shape (rows, columns).
        part: Room for a sum, of the type of z, shape (columns,).
        mean: float64, shape (columns,).
        variance: float64, shape (columns,).
    """
    num_rows, num_columns = z.shape
    zero = z.dtype.type(0)
    center = mean.astype(z.dtype)
    for power in range(2):
        total = mean if power == 0 else variance
        total[:] = 0.0
        for start in range(0, num_rows, _ROWS):
            part[:] = zero
            for i in range(start, min(num_rows, start + _ROWS)):
                row = z[i]
                if power == 0:
                    for j in range(num_columns):
                        part[j] += row[j]
                else:
                    for j in range(num_columns):
                        part[j] += (row[j] - center[j]) * (row[j] - center[j])
            for j in range(num_columns):
                total[j] += part[j]
        for j in range(num_columns):
            total[j] /= num_rows
            if power == 0:
                center[j] = mean[j]


@njit(**_OPTIONS)
def scale_shift(z, scale, shift, rectify):  # type: ignore[no-untyped-def]
    """Replace each row of z by scale * row + shift; where that is negative by 0, if asked for.

    Args:
        z: Shape (rows, columns).
        scale: Of the type of z, shape (columns,).
        shift: The same.
        rectify: Whether this is followed by ReLU.
    """
    zero = z.dtype.type(0)
    num_columns = z.shape[1]
    for i in range(z.shape[0]):
        row = z[i]
        if rectify:
            for j in range(num_columns):
                row[j] = max(row[j] * scale[j] + shift[j], zero)
        else:
            for j in range(num_columns):
                row[j] = row[j] * scale[j] + shift[j]
