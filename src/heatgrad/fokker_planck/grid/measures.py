"""What a law on a grid says: entropy, Fisher information, current."""

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import ArrayLike, NDArray

from heatgrad.fokker_planck.grid.cells import Grid
from heatgrad.fokker_planck.grid.generator import Generator
from heatgrad.fokker_planck.grid.rates import excess_diffusion
from heatgrad.fokker_planck.grid.selling import selling
from heatgrad.fokker_planck.processes.ito import check_diffusion

__all__ = [
    "current_of",
    "dissipation_of",
    "entropy_of",
    "fisher_of",
    "link_steps",
    "numerical_diffusion_of",
]

_OUTSIDE = 1e-9


def entropy_of(masses: Float[np.ndarray, "..."], stationary: Float[np.ndarray, "..."]) -> float:
    r"""Return the Kullback-Leibler divergence from the stationary law.

    $$\mathrm{KL}(p \mid \pi) = \sum_i p_i \log (p_i / \pi_i) \tag{F.47}$$

    Infinite where more than 1e-9 of the mass lies on cells without stationary mass.
    """
    held = masses > 0
    if masses[held & (stationary <= 0)].sum() > _OUTSIDE:
        return float("inf")
    held &= stationary > 0
    p, q = masses[held], stationary[held]
    return float(np.sum(p * (np.log(p) - np.log(q))))


def dissipation_of(
    generator: Generator, masses: Float[np.ndarray, "..."], stationary: Float[np.ndarray, "..."]
) -> float:
    r"""Return how fast the divergence falls, exactly for the chain.

    $$-\frac{d}{dt} \mathrm{KL}(p \mid \pi) = -\sum_i (Q^\top p)_i \log (p_i / \pi_i)
    \tag{F.48}$$

    Infinite where a cell without mass is about to get some.
    """
    p = masses.ravel()[generator.cells]
    q = stationary.ravel()[generator.cells]
    rate = generator.rates.T @ p
    on = q > 0
    if (rate[on & (p <= 0)] > _OUTSIDE * generator.fastest).any():
        return float("inf")
    on &= p > 0
    return float(-np.sum(rate[on] * (np.log(p[on]) - np.log(q[on]))))


def fisher_of(
    grid: Grid,
    masses: Float[np.ndarray, "..."],
    stationary: Float[np.ndarray, "..."],
    metric: ArrayLike | None,
) -> float:
    r"""Return the Fisher information relative to the stationary law, in a metric P.

    $$I = \int \rho\, \bigl\langle \nabla \log \tfrac{\rho}{\pi},\, P \nabla \log
    \tfrac{\rho}{\pi} \bigr\rangle, \qquad P = \sum_k \rho_k e_k e_k^\top \tag{F.49}$$

    by differences along the offsets of P's decomposition, so that it is never negative. Infinite
    where a neighbour of a cell with mass has none.
    """
    eye = np.eye(grid.dim)
    matrix = eye if metric is None else np.asarray(metric, dtype=np.float64)
    check_diffusion(torch.from_numpy(np.atleast_2d(matrix).copy()))
    if matrix.shape != eye.shape:
        raise ValueError(f"metric must be of shape {eye.shape}, got {matrix.shape}")
    h = grid.spacing
    jumps = selling((matrix / (h[:, None] * h))[None])
    if not jumps.is_complete.all():
        raise ValueError("metric must be definite, or singular along the grid, got neither")
    on = stationary > 0
    with np.errstate(divide="ignore"):
        slope = np.where(on, np.log(masses) - np.log(np.where(on, stationary, 1.0)), np.nan)
    total = 0.0
    for weight, offset in zip(jumps.weights[0], jumps.offsets[0], strict=True):
        if weight <= 0:
            continue
        here, there = _ends(grid, offset)
        g, f = slope[here], slope[there]
        mean = (masses[here] + masses[there]) / 2
        linked = on[here] & on[there] & (mean > 0)
        if (np.isinf(g) ^ np.isinf(f))[linked & (mean > _OUTSIDE)].any():
            return float("inf")
        linked &= np.isfinite(g) & np.isfinite(f)
        total += weight * float(np.sum(mean[linked] * (f[linked] - g[linked]) ** 2))
    return total


def current_of(
    grid: Grid, generator: Generator, masses: Float[np.ndarray, "..."]
) -> Float[np.ndarray, "... p"]:
    r"""Return the probability current at the centres.

    $$J_i = \frac{1}{2 |{\rm cell}|} \sum_j (p_i q_{ij} - p_j q_{ji})\, (x_j - x_i) \approx b \rho -
    \nabla \cdot (D \rho) \tag{F.50}$$
    """
    links = generator.rates.tocoo()
    off = links.row != links.col
    rows, cols, rates = links.row[off], links.col[off], links.data[off]
    p = masses.ravel()[generator.cells]
    flow = p[rows] * rates
    step = _steps(grid, generator, rows, cols)
    found = np.zeros((grid.size, grid.dim))
    for k in range(grid.dim):
        # What leaves counts at its start and, along the same vector, where it arrives.
        part = flow * step[:, k] / (2 * grid.volume)
        both = np.bincount(rows, weights=part, minlength=generator.size)
        both += np.bincount(cols, weights=part, minlength=generator.size)
        found[generator.cells, k] = both
    return found.reshape(*grid.shape, grid.dim)


def numerical_diffusion_of(grid: Grid, generator: Generator) -> Float[np.ndarray, " m"]:
    r"""Return the trace of the diffusion that the scheme adds at each inside cell.

    $$\tfrac12 \sum_j \bigl( \tfrac12 (q_{ij} + q_{ji}) - \rho_{ij} \bigr) |x_j - x_i|^2
    \tag{F.51}$$

    which is |b| h / 2 along an axis where the cell Péclet number is large.
    """
    links = generator.weights.tocoo()
    excess = excess_diffusion(links.data, generator.fluxes.data)
    step = link_steps(grid, generator)
    size = excess * (step**2).sum(axis=1) / 2
    return np.bincount(links.row, weights=size, minlength=generator.size)


def link_steps(grid: Grid, generator: Generator) -> Float[np.ndarray, "links p"]:
    """Return the vectors from end to end of the stored links, in their order [param]."""
    links = generator.weights.tocoo()
    return _steps(grid, generator, links.row, links.col)


def _steps(
    grid: Grid, generator: Generator, rows: NDArray[np.int64], cols: NDArray[np.int64]
) -> Float[np.ndarray, "links p"]:
    """Return the vectors between the ends of links, the short way round."""
    places = grid.places()[generator.cells]
    apart = places[cols] - places[rows]
    shape = np.array(grid.shape)
    short = np.mod(apart + shape // 2, shape) - shape // 2
    found: NDArray[np.float64] = np.where(grid.is_periodic, short, apart) * grid.spacing
    return found


def _ends(
    grid: Grid, offset: NDArray[np.int64]
) -> tuple[tuple[NDArray[np.int64], ...], tuple[NDArray[np.int64], ...]]:
    """Return the indices of all cells that have a neighbour at an offset, and of those."""
    here, there = [], []
    for n, step, wraps in zip(grid.shape, offset, grid.is_periodic, strict=True):
        start = np.arange(n)
        end = start + step
        if wraps:
            end = np.mod(end, n)
        else:
            inside = (end >= 0) & (end < n)
            start, end = start[inside], end[inside]
        here.append(start)
        there.append(end)
    return np.ix_(*here), np.ix_(*there)
