"""The eigenvalues of the discrete Laplacian, in the order of its transforms."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from heatgrad.laplacian.boundary import Boundary, check_boundary

__all__ = ["axis_eigenvalues", "eigenvalue_angles", "grid_eigenvalues"]


def eigenvalue_angles(n: int, boundary: Boundary) -> tuple[float, int]:
    r"""Return the unit $\alpha$ and offset $o$ with $\Lambda_m = -4\sin^2(\alpha(m + o))$.

    Example:
        >>> eigenvalue_angles(1, "dirichlet") == (math.pi / 4, 1)
        True
    """
    match boundary:
        case "neumann":
            return math.pi / (2 * max(n, 1)), 0
        case "periodic":
            return math.pi / max(n, 1), 0
        case "dirichlet":
            return math.pi / (2 * n + 2), 1


def axis_eigenvalues(
    n: int,
    boundary: Boundary,
    *,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str | None = None,
) -> Float[Tensor, " modes"]:
    r"""Return the eigenvalues of the Laplacian on one axis, in the order of its transform.

    $$\Lambda_m = \begin{cases} -4\sin^2(\pi m / 2n) & \text{Neumann} \\
    -4\sin^2(\pi m / n) & \text{periodic} \\
    -4\sin^2(\pi (m+1) / (2n+2)) & \text{Dirichlet} \end{cases} \qquad
    m = 0, \dots, n-1. \tag{L.3}$$

    Args:
        n: Number of points on the axis, at least 0.
        boundary: Boundary condition.
        dtype: Floating-point type of the result; the sines are taken in float64, or in float32
            on a device that has no float64.
        device: Where the result lies; torch's default if None.

    Returns:
        `n` values from -4 to 0 [1]. Periodic ones stand in the order of `torch.fft.fft`; for even
        `n` the Nyquist mode m = n/2 appears once and has the value -4.

    Raises:
        ValueError: If `n` is negative or `boundary` is unknown.
        TypeError: If `dtype` is not a real floating-point type.

    References:
        Theory page: Eq. (L.3).

    Example:
        >>> [round(value, 3) for value in axis_eigenvalues(4, "periodic").tolist()]
        [-0.0, -2.0, -4.0, -2.0]
    """
    check_boundary(boundary)
    if n < 0:
        raise ValueError(f"the size of an axis must be at least 0, got {n}")
    if not dtype.is_floating_point:
        raise TypeError(f"dtype must be a real floating-point type, got {dtype}; try torch.float64")
    unit, offset = eigenvalue_angles(n, boundary)
    has_float64 = torch.empty(0, device=device).device.type != "mps"
    working = torch.float64 if has_float64 else torch.float32
    modes = torch.arange(offset, n + offset, dtype=working, device=device)
    return (-4 * (unit * modes).sin().square()).to(dtype)


def grid_eigenvalues(
    shape: tuple[int, ...],
    axes: tuple[int, ...],
    boundary: Boundary,
    *,
    dtype: torch.dtype,
    device: torch.device | str | None = None,
) -> Float[Tensor, "..."]:
    """Return the sums over `axes` of the axis eigenvalues, of size 1 on all other axes. (L.8)."""
    total = torch.zeros((1,) * len(shape), dtype=dtype, device=device)
    for axis in axes:
        line = axis_eigenvalues(shape[axis], boundary, dtype=dtype, device=device)
        total = total + line.reshape([-1 if other == axis else 1 for other in range(len(shape))])
    return total
