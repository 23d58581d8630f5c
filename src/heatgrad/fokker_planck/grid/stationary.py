"""The stationary law of a chain on a grid."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray
from scipy import ndimage, sparse
from scipy.sparse.csgraph import connected_components

from heatgrad.fokker_planck.grid.cells import Grid
from heatgrad.fokker_planck.grid.confinement import confinement, peak_is_at
from heatgrad.fokker_planck.grid.generator import Generator
from heatgrad.fokker_planck.grid.solve import Factor, needs_iteration

__all__ = ["Stationary", "closed_class", "stationary_law"]

_ROUNDING = 1e-6
_RESIDUAL = 1e-9
_RESOLVENT = 1e-6
_REPINS = 3
_SHARED = 0.01
_ISOLATED = 1e-6

Status = Literal[
    "converged",
    "cut",
    "unconfined",
    "isolated",
    "not unique",
    "ill conditioned",
    "not converged",
]


@dataclass(frozen=True)
class Stationary:
    """A stationary law, and whether to believe it.

    Attributes:
        masses: Of the cells, which sum to 1, shape of the grid [1].
        status: "converged"; "unconfined" where a largest mass lies at a reflecting side of the
            box, as it does without confinement; "cut" where the mass at those sides is more than
            1e-6, so that a wider box would change the law; "isolated" where cells that wide jumps
            leave without a link lack more than 1e-6; "not unique" where other cells, without a
            path to these, could hold the mass as well; "ill conditioned" where rounding may
            matter; "not converged" where the equations do not hold. Where the sides are `walls` of
            the problem, it is neither "cut" nor "unconfined".
        boundary_mass: Mass of the cells at reflecting sides [1].
        isolated_mass: About what isolated cells lack: each as much as the nearest cell that has a
            share holds; 0 where detailed balance gives them theirs [1].
        residual: Largest |Q' p|, relative to the fastest rate and the largest mass [1].
        rounding: Bound for the relative effect of rounding: the rounding of the fastest rate times
            the longest mean time to come back to the densest cell; 0 with detailed balance [1].
        num_cut_off: Inside cells without a share in the law: no path leads to them, or none back.
        has_detailed_balance: Whether the law was written down, not solved for.
    """

    masses: Float[np.ndarray, "..."]
    status: Status
    boundary_mass: float
    isolated_mass: float
    residual: float
    rounding: float
    num_cut_off: int
    has_detailed_balance: bool


def stationary_law(
    grid: Grid,
    generator: Generator,
    *,
    method: Literal["auto", "solve"] = "auto",
    walls: bool = False,
) -> Stationary:
    r"""Return the stationary law on the closed class of cells that holds the densest.

    $$Q^\top \pi = 0, \qquad \pi_c = 1 \text{ pinned, then scaled to } \sum_i \pi_i = 1
    \tag{F.39}$$

    c is a cell of high density, found from the resolvent $(\epsilon - Q^\top)^{-1} 1$: pinned in a
    tail, the rest would overflow. With detailed balance π is $e^{-V}$ at the cells, exactly.

    In the corners of a box wide jumps do not fit, and may leave cells without any link of noise.
    Where D has full rank the process is not cut off there and has one law: with detailed balance
    that is $e^{-V}$ on all cells, isolated ones, too. Without it they have no share in the law,
    and the status says so where they lack one that counts. Where D is singular, cells without a
    path between them are the process's own, and its law is not unique.

    Args:
        grid: The cells.
        generator: A chain that loses no mass.
        method: "solve" solves even where detailed balance gives the law.
        walls: Whether the reflecting sides are part of the problem; then they cut nothing off.

    Raises:
        ValueError: If the chain loses mass, or the method is unknown.
    """
    if method not in ("auto", "solve"):
        raise ValueError(f"method must be 'auto' or 'solve', got {method!r}")
    if generator.kill.any():
        raise ValueError(
            "a stationary law needs a box that loses no mass, got an absorbing boundary; use "
            "boundary='reflect' and no region, or ask for the quasi-stationary law"
        )
    is_exact = method == "auto" and generator.potential is not None
    start = _density_guess(grid, generator)
    members, is_unique = closed_class(generator, start)
    if is_exact and generator.spans.all():
        members, is_unique = np.arange(generator.size), True
    part = generator.rates[members][:, members].tocsr()
    rounding, linear = 0.0, 0.0
    if is_exact:
        assert generator.potential is not None
        heights = generator.potential[members]
        masses = np.exp(heights.min() - heights)
    else:
        masses, rounding, linear = _pinned(part, start[members], grid.dim)
    masses = masses / masses.sum()
    scale = float(np.abs(part.diagonal()).max(initial=0.0)) * masses.max()
    residual = float(np.abs(part.T @ masses).max()) / scale if scale else 0.0
    full = np.zeros(grid.size)
    full[generator.cells[members]] = masses
    full = full.reshape(grid.shape)
    at = grid.at_walls()
    boundary_mass = float(full[at].sum())
    isolated_mass = _isolated_mass(grid, generator, members, full)
    status = _status(
        residual=max(residual, linear),
        rounding=rounding,
        is_unique=is_unique,
        boundary_mass=boundary_mass,
        isolated_mass=isolated_mass,
        walls=walls,
        is_peak=peak_is_at(full, at),
    )
    return Stationary(
        full,
        status,
        boundary_mass,
        isolated_mass,
        residual,
        rounding,
        generator.size - len(members),
        is_exact,
    )


def _status(
    *,
    residual: float,
    rounding: float,
    is_unique: bool,
    boundary_mass: float,
    isolated_mass: float,
    walls: bool,
    is_peak: bool,
) -> Status:
    """Return the worst that is to be said."""
    if not residual < _RESIDUAL:
        return "not converged"
    if not is_unique:
        return "not unique"
    if rounding > _ROUNDING:
        return "ill conditioned"
    found: Status = "converged" if walls else confinement(boundary_mass, is_peak)
    return "isolated" if found == "converged" and isolated_mass > _ISOLATED else found


def _density_guess(grid: Grid, generator: Generator) -> NDArray[np.float64]:
    """Return how the mass lies after a long random time, from a uniform start."""
    if generator.potential is not None:
        guess: NDArray[np.float64] = np.exp(generator.potential.min() - generator.potential)
        return guess
    shift = _RESOLVENT * float(np.median(np.abs(generator.rates.diagonal()))) or 1.0
    matrix = shift * sparse.eye(generator.size) - generator.rates.T
    factor = Factor(matrix, is_iterative=needs_iteration(generator.size, grid.dim))
    return factor.solve(np.full(generator.size, shift / generator.size))


def closed_class(
    generator: Generator, density: NDArray[np.float64]
) -> tuple[Int[np.ndarray, " members"], bool]:
    """Return the strongly connected cells that hold most and that no path leaves.

    The second value is whether each other such class holds next to nothing beside it. Corners of
    the box that wide offsets cut off keep what they started with, a few cells' worth: that is
    nothing.
    """
    links = generator.rates.copy()
    links.setdiag(0.0)
    links.eliminate_zeros()
    count, labels = connected_components(links, directed=True, connection="strong")
    entries = links.tocoo()
    leaves = np.zeros(count, dtype=bool)
    leaves[labels[entries.row[labels[entries.row] != labels[entries.col]]]] = True
    peaks = np.zeros(count)
    np.maximum.at(peaks, labels, density)
    best = int(np.argmax(np.where(leaves, -1.0, peaks)))
    held = np.bincount(labels, weights=density, minlength=count)
    most = held[best]
    held[leaves] = held[best] = 0.0
    return np.flatnonzero(labels == best), bool(held.max() <= _SHARED * most)


def _isolated_mass(
    grid: Grid,
    generator: Generator,
    members: Int[np.ndarray, " members"],
    masses: Float[np.ndarray, "..."],
) -> float:
    """Return what cells would hold that should have links of noise to the members, and have none.

    Upwind of the members, too, are cells without a share, but noise joins those to them.
    """
    is_member = np.zeros(generator.size, dtype=bool)
    is_member[members] = True
    if is_member.all():
        return 0.0
    noise = generator.weights.copy()
    noise.eliminate_zeros()
    _, labels = connected_components(noise, directed=False)
    main = np.bincount(labels[members]).argmax()
    lacking = generator.cells[~is_member & generator.spans & (labels != main)]
    if not len(lacking):
        return 0.0
    away = np.ones(grid.size, dtype=bool)
    away[generator.cells[members]] = False
    nearest = ndimage.distance_transform_edt(
        away.reshape(grid.shape), return_distances=False, return_indices=True
    )
    return float(masses[tuple(nearest)].ravel()[lacking].sum())


def _pinned(
    rates: sparse.csr_matrix, density: NDArray[np.float64], dim: int
) -> tuple[NDArray[np.float64], float, float]:
    """Return masses up to a factor, the effect of rounding, and the solver's residual."""
    size = rates.shape[0]
    if size == 1:
        return np.ones(1), 0.0, 0.0
    pin = int(np.argmax(density))
    for _ in range(_REPINS):
        rest = np.delete(np.arange(size), pin)
        factor = Factor(-rates[rest][:, rest].T, is_iterative=needs_iteration(size, dim))
        inflow = np.asarray(rates[pin, rest].todense()).ravel()
        masses = np.ones(size)
        masses[rest] = factor.solve(inflow)
        back = factor.solve(np.ones(size - 1), transpose=True)
        peak = int(np.argmax(masses))
        if masses[peak] < 1e3 or not np.isfinite(masses).all():
            break
        pin = peak
    eps = np.finfo(np.float64).eps
    rounding = float(eps * np.abs(rates.diagonal()).max() * back.max())
    if dim != 3 and (masses.min() < 0 or back.min() < 0):
        rounding = float("inf")  # Elimination keeps signs until rounding takes over.
    # Iteration leaves signs that elimination does not.
    return np.maximum(masses, 0.0), rounding, 0.0 if dim < 3 else factor.residual
