"""When and where a chain on a grid ends: exit times, committors, quasi-stationary laws."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from scipy.sparse.csgraph import breadth_first_order, connected_components

from heatgrad.fokker_planck.grid.cells import Grid
from heatgrad.fokker_planck.grid.confinement import confinement, mass_at_walls, peak_is_at
from heatgrad.fokker_planck.grid.generator import Generator
from heatgrad.fokker_planck.grid.solve import Factor, needs_iteration

__all__ = [
    "Committor",
    "ExitTimes",
    "QuasiStationary",
    "committor_of",
    "exit_times_of",
    "exits_surely",
    "quasi_stationary_law",
]

_ROUNDING = 1e-6
_RESIDUAL = 1e-8
_ITERATIONS = 500
_CHANGE = 1e-12

ExitStatus = Literal[
    "converged",
    "cut",
    "unconfined",
    "never",
    "not everywhere",
    "ill conditioned",
    "not converged",
]


@dataclass(frozen=True)
class ExitTimes:
    """Times until the process leaves, from every cell.

    Attributes:
        grid: The cells.
        mean: Mean time, zero outside, infinite where the process may stay for ever, shape of the
            grid [time].
        second: Mean of the squared time, or None where not asked for [time²].
        status: "converged"; "unconfined" where what stays long lies most densely at a reflecting
            side of the box, as it does without confinement, whose true mean may be infinite; "cut"
            where the share at those sides is more than 1e-6, so that a wider box would change the
            times; "never" where no cell, "not everywhere" where not every cell has a finite mean;
            "ill conditioned" where rounding may matter; "not converged". Where the sides are
            `walls` of the problem, it is neither "cut" nor "unconfined".
        boundary_mass: Share at reflecting sides of where the process is before it leaves, once it
            has stayed long; the largest of the connected parts [1].
        num_never: Inside cells with an infinite mean.
        residual: Of the linear systems [1].
        rounding: Bound for the relative effect of rounding [1].
        is_balanced: Whether detailed balance fixed the slowest mode, which takes most of the
            effect of rounding away.
    """

    grid: Grid
    mean: Float[np.ndarray, "..."]
    second: Float[np.ndarray, "..."] | None
    status: ExitStatus
    boundary_mass: float
    num_never: int
    residual: float
    rounding: float
    is_balanced: bool

    @property
    def std(self) -> Float[np.ndarray, "..."]:
        """Standard deviation of the time from every cell [time].

        Raises:
            ValueError: If the second moment was not asked for.
        """
        if self.second is None:
            raise ValueError("the standard deviation needs mean_exit_time(moments=2)")
        finite = np.isfinite(self.mean)
        spread = np.full(self.mean.shape, np.nan)
        spread[finite] = np.sqrt(np.maximum(self.second[finite] - self.mean[finite] ** 2, 0.0))
        return spread

    def at(self, point: ArrayLike) -> float:
        """Return the mean time from a point, linear between centres [time].

        Raises:
            ValueError: If the point lies outside the box.
        """
        self.grid.cell_of(point)
        x = np.atleast_1d(np.asarray(point, dtype=np.float64))
        return float(self.grid.interpolate(self.mean, x[None])[0])


@dataclass(frozen=True)
class Committor:
    """The chance to meet one set of cells before another.

    Attributes:
        value: From every cell; 0 on the first set and outside, 1 on the second [1].
        status: "converged", or "not converged".
        num_stuck: Cells from which neither set is ever met; their value is 0.
        residual: Of the linear system [1].
    """

    value: Float[np.ndarray, "..."]
    status: Literal["converged", "not converged"]
    num_stuck: int
    residual: float


@dataclass(frozen=True)
class QuasiStationary:
    """The law that the process has where it has not left for a long time.

    Attributes:
        masses: Of the cells, which sum to 1 [1].
        rate: λ, the slowest decay; from this law the exit time is exponential [1 / time].
        time: 1 / rate [time].
        mean_exit_time: From the densest cell [time].
        ratio: That time the rate: near 1 where escape is metastable [1].
        status: "converged"; "cut" or "unconfined" as of `ExitTimes`; or "not converged".
        boundary_mass: Of the cells at reflecting sides [1].
    """

    masses: Float[np.ndarray, "..."]
    rate: float
    time: float
    mean_exit_time: float
    ratio: float
    status: Literal["converged", "cut", "unconfined", "not converged"]
    boundary_mass: float


def exits_surely(generator: Generator) -> NDArray[np.bool_]:
    """Return from which cells the chain leaves with certainty."""
    return _absorbed(generator.rates, generator.kill > 0)


def exit_times_of(
    grid: Grid, generator: Generator, *, moments: Literal[1, 2] = 1, walls: bool = False
) -> ExitTimes:
    r"""Return the mean exit time, and its second moment, from every cell.

    $$-Q \tau_1 = 1, \qquad -Q \tau_2 = 2 \tau_1 \tag{F.42}$$

    Behind a high barrier the solution is nearly constant, of a size that hangs on differences of
    rates below their rounding. With detailed balance what leaves is known without one:

    $$\sum_i \pi_i \kappa_i \tau_{1,i} = \sum_i \pi_i, \qquad \sum_i \pi_i \kappa_i \tau_{2,i} = 2
    \sum_i \pi_i \tau_{1,i} \tag{F.43}$$

    on each connected part. As much of the slowest mode is added as that takes.

    Args:
        grid: The cells.
        generator: A chain that loses mass.
        moments: 1, or 2 for the second moment, too.
        walls: Whether the reflecting sides are part of the problem; then they cut nothing off.

    Raises:
        ValueError: If nothing absorbs, or `moments` is neither 1 nor 2.
    """
    if moments not in (1, 2):
        raise ValueError(f"moments must be 1 or 2, got {moments!r}")
    _check_absorbing(generator)
    sure = exits_surely(generator)
    num_never = int((~sure).sum())
    fields = [np.full(generator.size, np.inf) for _ in range(moments)]
    residual, rounding = 0.0, 0.0
    boundary_mass, is_peak = 0.0, False
    is_balanced = generator.potential is not None
    if sure.any():
        part = generator.rates[sure][:, sure]
        factor = Factor(-part, is_iterative=needs_iteration(len(sure), grid.dim))
        right = np.ones(int(sure.sum()))
        slow = None
        for order, field in enumerate(fields, start=1):
            found = factor.solve(order * right)
            if generator.potential is not None:
                slow = factor.solve(found / found.max()) if slow is None else slow
                found = _balanced(
                    part,
                    generator.potential[sure],
                    generator.kill[sure],
                    found,
                    order * right,
                    slow,
                )
            field[sure] = right = found
        residual = factor.residual
        boundary_mass, is_peak = mass_at_walls(grid, generator, sure, factor, slow)
        eps = np.finfo(np.float64).eps
        leave = np.abs(generator.rates.diagonal()[sure])
        # Cell by cell: one at the boundary leaves at a high rate, which rounds a short time.
        rounding = float(eps * (leave * fields[0][sure]).max())
    shaped = []
    for field in fields:
        full = np.zeros(grid.size)
        full[generator.cells] = field
        shaped.append(full.reshape(grid.shape))
    # A slow mode of the right size leaves the rest, which rounding spoils only once it is large.
    bound = 1.0 if is_balanced else _ROUNDING
    status: ExitStatus
    if not residual < _RESIDUAL or not all((f[sure] >= 0).all() for f in fields):
        status = "not converged"
    elif rounding > bound:
        status = "ill conditioned"
    elif num_never:
        status = "never" if num_never == generator.size else "not everywhere"
    else:
        status = "converged" if walls else confinement(boundary_mass, is_peak)
    second = shaped[1] if moments == 2 else None
    return ExitTimes(
        grid,
        shaped[0],
        second,
        status,
        boundary_mass,
        num_never,
        residual,
        rounding,
        is_balanced,
    )


def committor_of(
    grid: Grid, generator: Generator, first: NDArray[np.bool_], second: NDArray[np.bool_]
) -> Committor:
    r"""Return the chance to meet the second set of cells before the first.

    $$(Q q)_i = 0, \qquad q = 0 \text{ on } A, \quad q = 1 \text{ on } B \tag{F.44}$$

    A path that leaves the box or region first meets neither.

    The sets are rounded to cells, and no link is cut where it crosses their border, as links are
    at a region's: a path is held to meet a set at the centre of the first cell of it, up to a cell
    beyond the border. That is an error of order 1 in the spacing, save where the border passes
    through the last centres of the set.

    Raises:
        ValueError: If the sets overlap.
    """
    if (first & second).any():
        raise ValueError(
            f"the two sets must not overlap, got {int((first & second).sum())} cells in both"
        )
    a, b = (mask.ravel()[generator.cells] for mask in (first, second))
    if not (a.any() and b.any()):
        raise ValueError("both sets must hold a cell inside the region, got one that does not")
    between = ~(a | b)
    q = b.astype(np.float64)
    into_b = np.asarray(generator.rates[:, b].sum(axis=1)).ravel()
    into_a = np.asarray(generator.rates[:, a].sum(axis=1)).ravel()
    ends = between & (into_a + into_b + generator.kill > 0)
    part = generator.rates[between][:, between]
    reaches = _reaches(part, ends[between])
    num_stuck = int((~reaches).sum())
    residual = 0.0
    if reaches.any():
        cells = np.flatnonzero(between)[reaches]
        factor = Factor(
            -generator.rates[cells][:, cells],
            is_iterative=needs_iteration(len(cells), grid.dim),
        )
        q[cells] = np.clip(factor.solve(into_b[cells]), 0.0, 1.0)
        residual = factor.residual
    full = np.zeros(grid.size)
    full[generator.cells] = q
    status: Literal["converged", "not converged"] = (
        "converged" if residual < _RESIDUAL else "not converged"
    )
    return Committor(full.reshape(grid.shape), status, num_stuck, residual)


def quasi_stationary_law(
    grid: Grid, generator: Generator, *, walls: bool = False
) -> QuasiStationary:
    r"""Return the quasi-stationary law and its rate, by inverse iteration.

    $$Q^\top \nu = -\lambda \nu, \qquad \sum_i \nu_i \tau_{1,i} = 1 / \lambda \tag{F.45}$$

    Raises:
        ValueError: If nothing absorbs, or the process need not leave.
    """
    times = exit_times_of(grid, generator, walls=True)
    sure = exits_surely(generator)
    if not sure.any():
        raise ValueError("a quasi-stationary law needs cells that the process leaves, got none")
    part = generator.rates[sure][:, sure]
    tau = times.mean.ravel()[generator.cells[sure]]
    factor = Factor(-part, is_iterative=needs_iteration(len(sure), grid.dim))
    law = tau / tau.sum()
    status: Literal["converged", "cut", "unconfined", "not converged"] = "not converged"
    for _ in range(_ITERATIONS):
        new = factor.solve(law, transpose=True)
        new = np.maximum(new, 0.0) / np.maximum(new, 0.0).sum()
        change = float(np.abs(new - law).sum())
        law = new
        if change < _CHANGE:
            status = "converged"
            break
    time = float(law @ tau)
    densest = float(tau[np.argmax(law)])
    full = np.zeros(grid.size)
    full[generator.cells[sure]] = law
    if times.status not in ("converged", "not everywhere"):
        status = "not converged"
    at = grid.at_walls()
    boundary_mass = float(full[at.ravel()].sum())
    if status == "converged" and not walls:
        status = confinement(boundary_mass, peak_is_at(full, at.ravel()))
    return QuasiStationary(
        full.reshape(grid.shape), 1 / time, time, densest, densest / time, status, boundary_mass
    )


def _check_absorbing(generator: Generator) -> None:
    """Refuse a chain without a boundary to leave through.

    Raises:
        ValueError: If no side absorbs and there is no region.
    """
    if not generator.has_absorbing:
        raise ValueError(
            "exit times need an absorbing set, got none; use boundary='absorb' for a side, or a "
            "region"
        )


def _balanced(
    rates: Any,
    potential: NDArray[np.float64],
    kill: NDArray[np.float64],
    found: NDArray[np.float64],
    right: NDArray[np.float64],
    slow: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Add as much of the slow mode on each connected part as makes what leaves it right."""
    count, labels = connected_components(rates, directed=False)
    lowest = np.full(count, np.inf)
    np.minimum.at(lowest, labels, potential)
    law = np.exp(lowest[labels] - potential)
    leaves = np.bincount(labels, weights=law * kill * slow, minlength=count)
    lacks = np.bincount(labels, weights=law * (right - kill * found), minlength=count)
    share = np.divide(lacks, leaves, out=np.zeros(count), where=leaves > 0)
    better: NDArray[np.float64] = found + share[labels] * slow
    return better


def _absorbed(rates: Any, ends: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return from which cells every path goes on to an end."""
    stays = ~_reaches(rates, ends)
    return ~_reaches(rates, stays) if stays.any() else np.ones(len(ends), dtype=bool)


def _reaches(rates: Any, ends: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return from which cells a path leads to one of the ends, those among them."""
    size = len(ends)
    found = np.zeros(size, dtype=bool)
    if not ends.any():
        return found
    links = (rates - sparse.diags(rates.diagonal())).tocoo()
    keep = links.data > 0
    goals = np.flatnonzero(ends)
    # Backwards from one more vertex, behind all ends.
    row = np.concatenate([links.col[keep], np.full(len(goals), size)])
    col = np.concatenate([links.row[keep], goals])
    graph = sparse.csr_matrix((np.ones(len(row)), (row, col)), shape=(size + 1, size + 1))
    order = breadth_first_order(graph, size, return_predecessors=False)
    found[order[order < size]] = True
    return found
