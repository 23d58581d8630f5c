"""A continuous-time Markov chain on the cells of a grid, whose generator is that of a process."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray
from scipy import sparse
from torch.func import vmap

from heatgrad.fokker_planck.grid.cells import Grid, on_points
from heatgrad.fokker_planck.grid.cuts import Cuts, cut_links
from heatgrad.fokker_planck.grid.fields import Stencil, diffusion_at, drift_at, make_stencil
from heatgrad.fokker_planck.grid.links import Jumps, half_links
from heatgrad.fokker_planck.grid.rates import bernoulli, jump_rate
from heatgrad.fokker_planck.processes.process import Process, scalar_valued
from heatgrad.fokker_planck.processes.region import Region

__all__ = ["Generator", "make_generator"]


@dataclass(frozen=True)
class Generator:
    r"""The rates of a Markov chain between cells.

    $$Q_{ij} = q_{ij} \ge 0, \quad i \ne j, \qquad
    Q_{ii} = -\kappa_i - \sum_{j \ne i} q_{ij} \tag{F.36}$$

    Masses obey $\dot p = Q^\top p$, expectations $\dot f = Q f$.

    Attributes:
        rates: Q on the cells inside, a sparse matrix of shape (m, m) [1 / time].
        kill: κ, the rate at which each cell's mass leaves for good, shape (m,) [1 / time].
        cells: Number of each inside cell on the grid, shape (m,).
        potential: V at the cells if all links obey detailed balance with $e^{-V}$, else None.
        weights: ρ of each link, a sparse symmetric matrix [1 / time].
        fluxes: f of each link, antisymmetric, with the entries of `weights` [1 / time].
        width: Widest jump [cells].
        added: Largest diffusion added in a direction of little or no noise, in units of cells.
        has_absorbing: Whether a side or a region's boundary absorbs, reached or not.
        spans: Which cells have a D of full rank. The process joins those to all around them: where
            no link of noise does, the box is too narrow for their jumps.
    """

    rates: Any
    kill: Float[np.ndarray, " m"]
    cells: Int[np.ndarray, " m"]
    potential: Float[np.ndarray, " m"] | None
    weights: Any
    fluxes: Any
    width: int
    added: float
    has_absorbing: bool
    spans: NDArray[np.bool_]

    @property
    def size(self) -> int:
        """m, number of cells inside."""
        return len(self.cells)

    @property
    def fastest(self) -> float:
        """Largest rate at which a cell is left [1 / time]."""
        return float(np.abs(self.rates.diagonal()).max())


def make_generator(grid: Grid, process: Process, region: Region | None) -> Generator:
    r"""Return the chain of a process in a box, or in the part of it where a region is positive.

    The drift's share of a link along e, in units of cells, is

    $$f_e = \rho_e\, e^\top D^{+} a + e^\top (I - D D^{+})\, a \;[\text{the last along axes only}]
    \tag{F.37}$$

    and a link takes the mean of both ends' ρ and f. $D^+$ leaves directions without noise out; it
    also leaves out the least noisy ones of a cell where that has less numerical diffusion: a drift
    across nearly degenerate noise would otherwise go along wide offsets, upwind. With constant D
    and a potential V that gives the drift, the difference of V at a link's ends replaces -f/ρ, and
    detailed balance is exact.

    Args:
        grid: The box and what bounds it.
        process: Evaluated at the centres, and at the boundary.
        region: Positive inside, its boundary absorbing; None for the whole box.

    Raises:
        ValueError: If a value is not finite, D not symmetric and positive semidefinite, or no cell
            lies inside.
    """
    centers = grid.centers()
    inside = np.ones(grid.size, dtype=bool)
    if region is not None:
        region = scalar_valued("region", region)
        inside = on_points("region", vmap(region), centers) > 0
        if not inside.any():
            raise ValueError("region must hold the centre of a cell, got none; refine or move it")
    cells = np.flatnonzero(inside)
    points = centers[cells]
    max_offset = _max_offset(grid)
    diffusion = diffusion_at(process, points)
    stencil = make_stencil(grid, diffusion, max_offset=max_offset)
    potential = _potential(grid, process, points) if stencil.is_constant else None
    drift = None
    if potential is None:
        drift = drift_at(process, points, has_constant_diffusion=stencil.is_constant)
        drift = drift / grid.spacing
    jumps = half_links(stencil, drift, len(cells), grid.spacing)
    number = np.full(grid.size, -1)
    number[cells] = np.arange(len(cells))
    cuts = cut_links(grid, region, points, number, jumps.rows, jumps.offsets)
    weights, fluxes = _interior(jumps, cuts, len(cells))
    rates = weights.copy()
    if potential is None:
        rates.data = jump_rate(weights.data, fluxes.data)
    else:
        links = weights.tocoo()
        rise = potential[links.col] - potential[links.row]
        rates.data = weights.data * bernoulli(rise)
        fluxes.data = -weights.data * rise
    kill = np.zeros(len(cells))
    if len(cuts.half):
        np.add.at(
            kill,
            jumps.rows[cuts.half],
            _cut_rates(grid, process, stencil, jumps, cuts, diffusion, points, potential),
        )
    leave = np.asarray(rates.sum(axis=1)).ravel() + kill
    full = (rates - sparse.diags(leave)).tocsr()
    used = jumps.weights > 0
    width = int(np.abs(jumps.offsets[used]).max(initial=0))
    added = float(stencil.added.max(initial=0.0))
    absorbs = region is not None or any("absorb" in pair for pair in grid.sides)
    spans = stencil.spans[stencil.rows(np.arange(len(cells)))]
    return Generator(full, kill, cells, potential, weights, fluxes, width, added, absorbs, spans)


def _max_offset(grid: Grid) -> int:
    fewest = min(grid.shape)
    return max(1, min(int(np.ceil(np.sqrt(fewest))), (fewest - 1) // 2))


def _potential(
    grid: Grid, process: Process, points: Float[np.ndarray, "m p"]
) -> Float[np.ndarray, " m"] | None:
    """Return V at the cells, if it gives the drift and closes along the periodic axes."""
    if not process.is_reversible:
        return None
    values = on_points("scaled_potential", process.scaled_potential, points)
    for k in np.flatnonzero(grid.is_periodic):
        ends = []
        for at in (grid.low[k], grid.high[k]):
            moved = points.copy()
            moved[:, k] = at
            ends.append(on_points("scaled_potential", process.scaled_potential, moved))
        if np.abs(ends[1] - ends[0]).max() > 1e-9 * (1 + np.abs(ends[0]).max()):
            return None
    heights: NDArray[np.float64] = values - values.min()
    return heights


def _interior(jumps: Jumps, cuts: Cuts, size: int) -> tuple[Any, Any]:
    """Return the weights and fluxes of the links between cells, each the mean of its ends."""
    linked = cuts.target >= 0
    rows, cols = jumps.rows[linked], cuts.target[linked]
    # One sum of duplicates for both: the weight is the real part, the flux the imaginary.
    half = (jumps.weights[linked] + 1j * jumps.fluxes[linked]) / 2
    both = sparse.coo_matrix(
        (
            np.concatenate([half, half.conj()]),
            (np.concatenate([rows, cols]), np.concatenate([cols, rows])),
        ),
        shape=(size, size),
    ).tocsr()
    both.sort_indices()
    return both.real.tocsr(), both.imag.tocsr()


def _cut_rates(
    grid: Grid,
    process: Process,
    stencil: Stencil,
    jumps: Jumps,
    cuts: Cuts,
    diffusion: Float[np.ndarray, "m p p"],
    points: Float[np.ndarray, "m p"],
    potential: Float[np.ndarray, " m"] | None,
) -> NDArray[np.float64]:
    r"""Return the rates of the links that end at an absorbing boundary.

    $$\kappa = \frac{\rho}{\theta} B\Bigl(-\frac{\theta f}{\rho}\Bigr) \tag{F.38}$$

    with θ the part of the link inside. D and a are taken at the boundary, D by its share along the
    normal: where $n \cdot D n = 0$ there only a drift outward absorbs, as Fichera's condition says.
    """
    half, share = cuts.half, cuts.share
    rows = jumps.rows[half]
    rho = jumps.weights[half]
    if potential is not None:
        low = on_points("scaled_potential", process.scaled_potential, points[rows])
        rise = on_points("scaled_potential", process.scaled_potential, cuts.points) - low
        found: NDArray[np.float64] = rho / share * bernoulli(rise)
        return found
    at = stencil.rows(rows)
    drift = drift_at(process, cuts.points, has_constant_diffusion=stencil.is_constant)
    drift = drift / grid.spacing
    offsets = jumps.offsets[half].astype(np.float64)
    is_quiet = rho == 0
    way = jumps.way[rows]
    along = np.einsum("np,npq,nq->n", offsets, stencil.inverses[way, at], drift)
    quiet = np.einsum("np,npq,nq->n", offsets, stencil.quiet[way, at], drift)
    flux = np.where(is_quiet, quiet, rho * along)
    if not stencil.is_constant:
        normal = cuts.normals
        there = np.einsum("np,npq,nq->n", normal, diffusion_at(process, cuts.points), normal)
        here = np.einsum("np,npq,nq->n", normal, diffusion[rows], normal)
        ratio = np.divide(there, here, out=np.ones_like(here), where=here > 0)
        rho = rho * np.clip(ratio, 0.0, None)
    return jump_rate(rho / share, flux)
