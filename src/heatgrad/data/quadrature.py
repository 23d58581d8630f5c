"""The Bayes accuracy of two Gaussian mixtures in the plane, by quadrature."""

import math

import numpy as np
import torch
from jaxtyping import Float64
from scipy.spatial import cKDTree
from torch import Tensor

__all__ = ["planar_bayes_accuracy"]

_REACH = 8.0  # Gaussians are cut off at 8 sigma; the mass beyond is exp(-32) = 1e-14.
_PER_SIGMA = 8  # Grid points per sigma.
_TILE = 128  # Side of the square of grid points worked on at a time; even, for the coarse grid.


def planar_bayes_accuracy(
    means0: Float64[Tensor, "n 2"], means1: Float64[Tensor, "m 2"], sigma: float
) -> tuple[float, float]:
    r"""Return the Bayes accuracy for two equally likely mixtures, and its numerical error.

    $$A = \tfrac12 \int \max(f_0, f_1)\, dx = 1 - \tfrac12 \int \min(f_0, f_1)\, dx,
    \tag{T.3}$$

    where $f_c$ is the equal mixture of $N(m, \sigma^2 I_2)$ over the means $m$ of class c.
    The integral is a sum over a uniform grid of spacing $\sigma/8$. Where one density is
    larger the sum converges faster than any power; along the decision boundary, where the
    minimum has a kink, it is of second order. Isotropic Gaussians are separable, so the
    density on a grid is one matrix product. Only means within 16 sigma of the other class can
    overlap with it; the rest is left out.

    Args:
        means0: Centres of the mixture of class 0 [data].
        means1: Centres of the mixture of class 1 [data].
        sigma: Standard deviation of each component, positive [data].

    Returns:
        The accuracy, and its difference from the same sum on a grid twice as coarse, which
        bounds the error generously [1].
    """
    near0, near1 = _contested(means0, means1, sigma)
    if near0.numel() == 0:
        return 1.0, 0.0
    both = torch.cat([near0, near1])
    step = sigma / _PER_SIGMA
    low = both.min(dim=0).values - _REACH * sigma
    count = ((both.max(dim=0).values + _REACH * sigma - low) / step).ceil().to(torch.int64) + 1
    grid_x, grid_y = (low[k] + step * torch.arange(int(count[k])).double() for k in (0, 1))

    fine = coarse = 0.0
    for tile_x in torch.split(grid_x, _TILE):
        strip0, strip1 = (_within(means, 0, tile_x, sigma) for means in (near0, near1))
        for tile_y in torch.split(grid_y, _TILE):
            part0, part1 = (_within(means, 1, tile_y, sigma) for means in (strip0, strip1))
            if part0.numel() == 0 or part1.numel() == 0:
                continue
            overlap = torch.minimum(
                _density(part0, tile_x, tile_y, sigma) / means0.shape[0],
                _density(part1, tile_x, tile_y, sigma) / means1.shape[0],
            )
            fine += float(overlap.sum()) * step**2
            coarse += float(overlap[::2, ::2].sum()) * (2 * step) ** 2
    return 1 - fine / 2, abs(fine - coarse) / 2


def _contested(means0: Tensor, means1: Tensor, sigma: float) -> tuple[Tensor, Tensor]:
    """Keep the means close enough to the other class for the two densities to overlap."""
    limit = 2 * _REACH * sigma
    near = []
    for own, other in ((means0, means1), (means1, means0)):
        distance, _ = cKDTree(other.numpy()).query(own.numpy(), distance_upper_bound=limit)
        near.append(own[torch.from_numpy(np.isfinite(distance))])
    return near[0], near[1]


def _within(means: Tensor, axis: int, grid: Tensor, sigma: float) -> Tensor:
    """Keep the means whose Gaussians reach an interval of the grid."""
    reach = _REACH * sigma
    return means[(means[:, axis] > grid[0] - reach) & (means[:, axis] < grid[-1] + reach)]


def _density(means: Tensor, x: Tensor, y: Tensor, sigma: float) -> Tensor:
    """Return the sum of the Gaussians on the grid `x` by `y`."""
    along_x = torch.exp(-0.5 * ((x[:, None] - means[:, 0]) / sigma) ** 2)
    along_y = torch.exp(-0.5 * ((y[:, None] - means[:, 1]) / sigma) ** 2)
    return along_x @ along_y.T / (2 * math.pi * sigma**2)
