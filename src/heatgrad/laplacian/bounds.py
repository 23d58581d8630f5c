"""How far one explicit diffusion step may go: von Neumann stability bounds."""

import math
from collections.abc import Sequence

from heatgrad.laplacian.boundary import Boundary, check_boundary
from heatgrad.laplacian.eigenvalues import eigenvalue_angles

__all__ = ["max_explicit_diffusion", "num_active_dims", "smoothing_reach", "spectral_radius"]


def max_explicit_diffusion(num_dims: int, *, keep_sign: bool = False) -> float:
    r"""Return the largest diffusion number of an explicit (forward Euler) step.

    The step $x + \lambda \operatorname{Lap} x$ multiplies the mode with eigenvalue $\Lambda$ by
    its amplification factor $1 + \lambda \Lambda$, and $\Lambda \ge -4N$. So

    $$\lambda \le \frac{1}{2N}: \text{ no mode grows}, \qquad
    \lambda \le \frac{1}{4N}: \text{ and none changes sign.} \tag{L.10}$$

    Args:
        num_dims: Number of diffused axes N, at least 0, as `num_active_dims` counts them.
        keep_sign: Whether no mode may change its sign, the bound under which diffusing a
            gradient keeps it a direction of ascent.

    Returns:
        The bound [1]: sufficient on any grid, and sharp as its axes get long. Infinity if
        `num_dims` is 0, since then nothing diffuses. The bound of one grid is 2 (or 1) over its
        `spectral_radius`.

    Raises:
        TypeError: If `num_dims` is not an int.
        ValueError: If `num_dims` is negative.

    References:
        Theory page: Eqs. (L.9), (L.10).

    Example:
        >>> max_explicit_diffusion(1)
        0.5
        >>> max_explicit_diffusion(2, keep_sign=True)
        0.125
    """
    if not isinstance(num_dims, int) or isinstance(num_dims, bool):
        raise TypeError(f"num_dims must be an int, got {num_dims!r}; pass a number of axes")
    if num_dims < 0:
        raise ValueError(f"num_dims must be at least 0, got {num_dims}; pass a number of axes")
    if num_dims == 0:
        return math.inf
    return 1 / ((4 if keep_sign else 2) * num_dims)


def num_active_dims(sizes: Sequence[int], boundary: Boundary) -> int:
    """Return N: how many of the diffused axes can move anything.

    Args:
        sizes: Numbers of points on the diffused axes.
        boundary: Boundary condition.

    Returns:
        The number of axes with at least 2 points; with a Dirichlet boundary, at least 1.

    Raises:
        ValueError: If `boundary` is unknown.

    References:
        Theory page: Eq. (L.9).

    Example:
        >>> num_active_dims((16, 3, 1, 1), "neumann")
        2
    """
    check_boundary(boundary)
    fewest = 1 if boundary == "dirichlet" else 2
    return sum(n >= fewest for n in sizes)


def spectral_radius(sizes: Sequence[int], boundary: Boundary) -> float:
    r"""Return the largest $|\Lambda|$ of the Laplacian on one grid, at most 4N.

    $$\rho = \sum_{k} 4\sin^2\theta_k, \qquad \theta_k = \frac{\pi(n_k-1)}{2 n_k},\quad
    \frac{\pi\lfloor n_k/2 \rfloor}{n_k},\quad \frac{\pi n_k}{2n_k+2} \tag{L.9}$$

    for Neumann, periodic and Dirichlet. An explicit step does not grow on this grid if and only
    if its diffusion number is at most $2/\rho$.

    Args:
        sizes: Numbers of points on the diffused axes.
        boundary: Boundary condition.

    Returns:
        The spectral radius [1]; 0 if nothing diffuses.

    Raises:
        ValueError: If `boundary` is unknown.

    References:
        Theory page: Eq. (L.9).

    Example:
        >>> round(spectral_radius((3, 3), "neumann"), 12)
        6.0
    """
    check_boundary(boundary)
    total = 0.0
    for n in sizes:
        unit, offset = eigenvalue_angles(n, boundary)
        top = n // 2 if boundary == "periodic" else n - 1
        total += 4 * math.sin(unit * (top + offset)) ** 2 if n > 0 else 0.0
    return total


def smoothing_reach(sigma: float, tolerance: float) -> int:
    r"""Return how many cells away the influence of one falls below a tolerance.

    The Green's function of $I - \sigma\mathcal L$ on a line falls by
    $r = 1 + 1/2\sigma - \sqrt{1/\sigma + 1/4\sigma^2}$ from cell to cell, Eq. (L.13).

    Args:
        sigma: σ, positive [1].
        tolerance: The influence that is let go, relative to that at the cell itself [1].

    Returns:
        The number of cells, at least 1.

    References:
        Theory page: Eq. (L.13).

    Example:
        >>> smoothing_reach(1.0, 1e-7)
        17
    """
    half = 1 / (2 * sigma)
    # The product of the two roots is 1; the larger one is free of cancellation.
    larger = 1 + half + math.sqrt(2 * half + half**2)
    return max(1, math.ceil(-math.log(tolerance) / math.log(larger)))
