"""How far a chain on a grid is from the process that it stands for."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from heatgrad.fokker_planck.grid.cells import Grid
from heatgrad.fokker_planck.grid.generator import Generator
from heatgrad.fokker_planck.grid.measures import link_steps, numerical_diffusion_of

__all__ = ["Diagnostics", "diagnose"]

_TAIL = 1e-6


@dataclass(frozen=True)
class Diagnostics:
    """How far the chain is from what it stands for.

    Attributes:
        mass_defect: Largest |row sum + κ| of the generator, relative to its fastest rate [1].
        least_mass: Smallest mass of a cell in the law, relative to the largest [1].
        balance_defect: Largest |π_i q_ij - π_j q_ji| relative to the largest π_i q_ij, of the
            stationary law; NaN under absorption [1].
        peclet: Largest cell Péclet number |f| / 2ρ on links of cells that hold all but 1e-6 of the
            law; infinite on links without noise. Beyond 1 the scheme is of order 1 there [1].
        numerical_diffusion: Mean under the law of the trace of the diffusion that the scheme adds
            [param² / time].
        added_diffusion: Bound for the eigenvalues of what was added to a D without a narrow
            decomposition [param² / time].
        diffusion: Mean under the law of the trace of the links' own diffusion [param² / time].
        widest_jump: Widest offset of a link [cells].
        num_cut_off: Inside cells that no path joins to the most.
    """

    mass_defect: float
    least_mass: float
    balance_defect: float
    peclet: float
    numerical_diffusion: float
    added_diffusion: float
    diffusion: float
    widest_jump: int
    num_cut_off: int


def diagnose(
    grid: Grid,
    generator: Generator,
    law: Float[np.ndarray, "..."],
    *,
    stationary: Float[np.ndarray, "..."] | None,
) -> Diagnostics:
    """Return the defects of a chain, means under a law."""
    p = law.ravel()[generator.cells]
    sums = np.asarray(generator.rates.sum(axis=1)).ravel() + generator.kill
    steps = link_steps(grid, generator)
    own = generator.weights.tocoo()
    trace = np.bincount(
        own.row, weights=own.data * (steps**2).sum(axis=1) / 2, minlength=generator.size
    )
    return Diagnostics(
        mass_defect=float(np.abs(sums).max()) / (generator.fastest or 1.0),
        least_mass=float(p.min() / p.max()),
        balance_defect=_balance_defect(generator, stationary),
        peclet=_peclet(generator, p),
        numerical_diffusion=float(p @ numerical_diffusion_of(grid, generator)),
        added_diffusion=generator.added * float(grid.spacing.max()) ** 2,
        diffusion=float(p @ trace),
        widest_jump=generator.width,
        num_cut_off=_num_cut_off(generator),
    )


def _peclet(generator: Generator, p: NDArray[np.float64]) -> float:
    """Return the largest cell Péclet number on links within the bulk of a law."""
    order = np.argsort(p)
    bulk = np.zeros(len(p), dtype=bool)
    bulk[order[np.cumsum(p[order]) > _TAIL]] = True
    links = generator.weights.tocoo()
    flux = np.abs(generator.fluxes.data)
    held = bulk[links.row] & bulk[links.col] & (flux > 0)
    weight = 2 * links.data[held]
    ratio = np.divide(flux[held], weight, out=np.full(len(weight), np.inf), where=weight > 0)
    return float(ratio.max(initial=0.0))


def _balance_defect(generator: Generator, stationary: Float[np.ndarray, "..."] | None) -> float:
    if stationary is None:
        return float("nan")
    pi = stationary.ravel()[generator.cells]
    flow = sparse.diags(pi) @ generator.rates
    flow = flow - sparse.diags(flow.diagonal())
    top = float(flow.max())
    return float(np.abs(flow - flow.T).max()) / top if top else 0.0


def _num_cut_off(generator: Generator) -> int:
    """Return how many cells no path, either way along links, joins to the largest set."""
    size = generator.size
    ends = np.flatnonzero(generator.kill > 0)
    links = generator.rates.tocoo()
    used = links.data > 0
    # All ends meet in one more vertex: what leaves is not cut off.
    row = np.concatenate([links.row[used], ends])
    col = np.concatenate([links.col[used], np.full(len(ends), size)])
    graph = sparse.csr_matrix((np.ones(len(row)), (row, col)), shape=(size + 1, size + 1))
    _, labels = connected_components(graph, directed=False)
    counts = np.bincount(labels[:size])
    return int(size - counts.max())
