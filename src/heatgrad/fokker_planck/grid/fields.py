"""Drift and diffusion on the cells, in units of cells: what the links are made of."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from heatgrad.fokker_planck.grid.cells import Grid, on_points
from heatgrad.fokker_planck.grid.selling import Decomposition, selling
from heatgrad.fokker_planck.processes.process import Process

__all__ = ["Stencil", "diffusion_at", "drift_at", "make_stencil"]

_SINGULAR = 1e-10
_INDEFINITE = 1e-10
_WIDENINGS = 60


@dataclass(frozen=True)
class Stencil:
    """What each cell contributes to its links; one row for all cells where D is constant.

    Attributes:
        jumps: Weights and offsets of the diffusion.
        inverses: Of D in units of cells, without its k smallest eigenvalues, k = 0, ..., p - 1,
            and without those that are zero, shape (p, rows, p, p) [time].
        quiet: Projections onto what each inverse lacks, shape (p, rows, p, p) [1].
        added: Largest diffusion that was added where D has no narrow decomposition, per row, in
            units of cells [1 / time].
        spans: Whether D has full rank, without help, per row.
    """

    jumps: Decomposition
    inverses: Float[np.ndarray, "ways rows p p"]
    quiet: Float[np.ndarray, "ways rows p p"]
    added: Float[np.ndarray, " rows"]
    spans: NDArray[np.bool_]

    @property
    def is_constant(self) -> bool:
        """Whether one row serves all cells."""
        return len(self.added) == 1

    def rows(self, cells: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
        """Return the rows of cells."""
        return np.zeros_like(cells) if self.is_constant else cells


def diffusion_at(process: Process, points: Float[np.ndarray, "n p"]) -> Float[np.ndarray, "n p p"]:
    """Return D at points.

    Raises:
        ValueError: If it is not finite, symmetric and positive semidefinite everywhere.
    """
    found = on_points("diffusion", process.diffusion, points)
    p = points.shape[1]
    if found.shape != (len(points), p, p):
        raise ValueError(
            f"diffusion must be of shape {(len(points), p, p)} at {len(points)} points, got "
            f"{found.shape}"
        )
    scale = np.abs(found).max(axis=(1, 2))
    skew = np.abs(found - found.transpose(0, 2, 1)).max(axis=(1, 2))
    if (skew > 1e-12 * scale).any():
        where = points[np.argmax(skew - 1e-12 * scale)]
        raise ValueError(f"diffusion must be symmetric, got D - D' not zero at {where}")
    lowest = np.linalg.eigvalsh(found)[:, 0]
    if (lowest < -_INDEFINITE * scale).any():
        worst = int(np.argmin(lowest + _INDEFINITE * scale))
        raise ValueError(
            f"diffusion must be positive semidefinite, got an eigenvalue of {lowest[worst]:.3g} "
            f"at {points[worst]}"
        )
    return found


def drift_at(
    process: Process, points: Float[np.ndarray, "n p"], *, has_constant_diffusion: bool
) -> Float[np.ndarray, "n p"]:
    r"""Return the drift of the flux form, whose diffusion is $\nabla \cdot D \nabla$.

    $$a = b - \operatorname{div} D, \qquad A f = \nabla \cdot (D \nabla f) + a \cdot \nabla f
    \tag{F.35}$$
    """
    drift = on_points("drift", process.drift, points)
    if drift.shape != points.shape:
        raise ValueError(f"drift must be of shape {points.shape}, got {drift.shape}")
    if has_constant_diffusion:
        return drift

    def divergence(x: Tensor) -> Tensor:
        slope = torch.func.jacfwd(lambda y: process.diffusion(y.unsqueeze(0))[0])(x)
        return torch.einsum("ijj->i", slope)

    return drift - on_points("div D", torch.func.vmap(divergence), points)


def make_stencil(grid: Grid, diffusion: Float[np.ndarray, "n p p"], *, max_offset: int) -> Stencil:
    r"""Return the jumps of each cell.

    A singular D whose range is not along the grid has no finite decomposition, and a nearly
    singular one a very wide one. There the small eigenvalues are raised until no jump is wider than
    `max_offset`, of the order of $\sqrt n$ for n cells a side: the addition vanishes with the
    spacing, at first order, and is reported.

    Args:
        grid: Its spacing turns D into units of cells.
        diffusion: D at the cells [param² / time].
        max_offset: Widest jump [cells].
    """
    if (diffusion == diffusion[:1]).all():
        diffusion = diffusion[:1]
    h = grid.spacing
    p = len(h)
    scaled = diffusion / (h[:, None] * h)
    values, vectors = np.linalg.eigh(scaled)
    top = np.maximum(values[:, -1:], 0.0)
    noisy = values > _SINGULAR * top
    values = np.where(noisy, values, 0.0)

    jumps = selling(scaled, max_offset=max_offset)
    weights, offsets = jumps.weights.copy(), jumps.offsets.copy()
    is_complete = jumps.is_complete.copy()
    floor = top[:, 0] / (8.0 * max_offset**2)
    added = np.zeros(len(scaled))
    final = values.copy()
    for _ in range(_WIDENINGS):
        todo = np.flatnonzero(~is_complete)
        if not len(todo):
            break
        raised = np.maximum(values[todo], floor[todo, None])
        matrices = np.einsum("npk,nk,nqk->npq", vectors[todo], raised, vectors[todo])
        again = selling(matrices, max_offset=max_offset)
        weights[todo], offsets[todo] = again.weights, again.offsets
        is_complete[todo] = again.is_complete
        added[todo] = (raised - values[todo]).max(axis=1)
        final[todo] = raised
        floor[todo] *= 1.3
    assert is_complete.all()
    weights = np.where(weights > 1e-15 * top, weights, 0.0)
    inverted = np.divide(1.0, final, out=np.zeros_like(final), where=noisy)
    ways = [np.where(np.arange(values.shape[1]) < lacking, 0.0, 1.0) for lacking in range(p)]
    inverses = [np.einsum("npk,nk,nqk->npq", vectors, inverted * way, vectors) for way in ways]
    quiet = [np.einsum("npk,nk,nqk->npq", vectors, 1.0 - noisy * way, vectors) for way in ways]
    jumps = Decomposition(weights, offsets, is_complete)
    return Stencil(jumps, np.stack(inverses), np.stack(quiet), added, noisy.all(axis=1))
