"""The Fokker-Planck equation on a grid: one Markov chain, and all that it tells."""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Literal

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from heatgrad.fokker_planck.grid.cells import Sides, make_grid
from heatgrad.fokker_planck.grid.diagnostics import Diagnostics, diagnose
from heatgrad.fokker_planck.grid.evolve import Evolution, Stepper, evolve_law
from heatgrad.fokker_planck.grid.exits import (
    Committor,
    ExitTimes,
    QuasiStationary,
    committor_of,
    exit_times_of,
    exits_surely,
    quasi_stationary_law,
)
from heatgrad.fokker_planck.grid.generator import Generator, make_generator
from heatgrad.fokker_planck.grid.laws import Law, as_law, as_mask, mean_of
from heatgrad.fokker_planck.grid.measures import (
    current_of,
    dissipation_of,
    entropy_of,
    fisher_of,
)
from heatgrad.fokker_planck.grid.modes import Modes, slow_modes
from heatgrad.fokker_planck.grid.stationary import Stationary, closed_class, stationary_law
from heatgrad.fokker_planck.processes.process import Process
from heatgrad.fokker_planck.processes.region import Region

__all__ = ["FokkerPlanck"]

CellSet = NDArray[np.bool_] | Callable[[Tensor], Tensor]


class FokkerPlanck:
    r"""A diffusion process in a box, as a continuous-time Markov chain on its cells.

    Rates of Scharfetter and Gummel (F.33) on Selling's decomposition of D (F.30) make a generator
    with nonnegative rates and rows that sum to zero for every positive semidefinite D: laws stay
    positive and keep their mass, and where $b = -D \nabla V$ the stationary law is $e^{-V}$ at the
    centres, with detailed balance. Elsewhere the scheme has order 2 in the spacing while the cell
    Péclet number is below 1, and order 1 beyond, where it is upwind: also along directions without
    noise. `diagnostics` says which, `richardson` helps.

    A status speaks of the chain: whether its equations are solved, and whether the box ends where
    there is mass. Of how far the chain is from the process, of numerical diffusion above all, only
    `diagnostics` speaks, and a comparison of several n.

    Laws are masses of cells, arrays of the grid's shape that sum to 1.

    Args:
        process: The process, of 1 to 3 coordinates.
        low: Lower corner of the box, a number or one per axis [param].
        high: Upper corner [param].
        n: Cells along each axis, one number or one per axis, at least 4.
        boundary: "reflect", "absorb" or "periodic": one for all, or one per axis, or pairs (below,
            above) per axis. What crosses an absorbing side is gone.
        region: A function of a point, positive inside, whose boundary absorbs; links are cut where
            they cross it, at order 2 where it is smooth.
        walls: Whether the reflecting sides are part of the problem, as of a process that is meant
            to reflect there. Unless they are, they stand for a wider space, and results say "cut"
            or "unconfined" where they matter.

    Attributes:
        process: As given.
        walls: As given.
        grid: The cells.
        generator: The chain.
        is_inside: Which cells belong to it, shape of the grid.

    Raises:
        ValueError: If the box is none, or has more than three axes; the process has another
            dimension; a value is not finite; D is not symmetric and positive semidefinite; or the
            region holds no cell.

    References:
        Scharfetter and Gummel (1969); Fehrenbach and Mirebeau (2014); Bonnans, Bonnet and Mirebeau
        (2022). Theory page: Eqs. (F.30) to (F.52).

    Example:
        >>> from heatgrad.fokker_planck.processes.langevin import Langevin
        >>> wells = Langevin(lambda x: ((x**2 - 1) ** 2).sum(), temperature=0.2)
        >>> chain = FokkerPlanck(wells, -2.0, 2.0, 100)
        >>> law = chain.stationary()
        >>> law.status, chain.mean(law.masses, lambda x: x[0] ** 2).round(3)
        ('converged', np.float64(0.937))
    """

    def __init__(
        self,
        process: Process,
        low: ArrayLike,
        high: ArrayLike,
        n: int | Sequence[int],
        *,
        boundary: Sides = "reflect",
        region: Region | None = None,
        walls: bool = False,
    ) -> None:
        if not isinstance(walls, bool):
            raise ValueError(f"walls must be True or False, got {walls!r}")
        self.process, self.walls = process, walls
        self.grid = make_grid(low, high, n, boundary)
        if process.dim is not None and process.dim != self.grid.dim:
            raise ValueError(
                f"the box must have the process's {process.dim} coordinates, got {self.grid.dim}"
            )
        self.generator: Generator = make_generator(self.grid, process, region)
        inside = np.zeros(self.grid.size, dtype=bool)
        inside[self.generator.cells] = True
        self.is_inside: NDArray[np.bool_] = inside.reshape(self.grid.shape)

    def law(self, law: Law) -> Float[np.ndarray, "..."]:
        """Return a point, a `Gaussian` or masses as masses of the cells."""
        return as_law(self.grid, law, self.is_inside)

    def density(self, masses: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
        """Return masses as a density at the centres [1 / param^p]."""
        return masses / self.grid.volume

    def mean(
        self, masses: Float[np.ndarray, "..."], function: Callable[[Tensor], Tensor]
    ) -> NDArray[np.float64]:
        """Return the expectation of a function of one point, of any shape."""
        return mean_of(self.grid, masses, function)

    def evolve(
        self, start: Law, times: ArrayLike, *, method: Stepper = "implicit-euler", steps: int = 20
    ) -> Evolution:
        """Return the law at later times; see `evolve_law`.

        Args:
            start: A point, a `Gaussian`, or masses.
            times: Ascending, at least 0 [time].
            method: "implicit-euler" (order 1, positive), "tr-bdf2" (order 2, not positive), or
                "expm", the reference.
            steps: Equal steps from each time to the next.
        """
        return evolve_law(
            self.grid, self.generator, self.law(start), times, method=method, steps=steps
        )

    def stationary(self, *, method: Literal["auto", "solve"] = "auto") -> Stationary:
        """Return the stationary law; see `stationary_law`."""
        if method == "auto":
            return self._law
        return stationary_law(self.grid, self.generator, method=method, walls=self.walls)

    def mean_exit_time(self, *, moments: Literal[1, 2] = 1) -> ExitTimes:
        """Return the mean time to an absorbing boundary, or two moments; see `exit_times_of`."""
        return exit_times_of(self.grid, self.generator, moments=moments, walls=self.walls)

    def committor(self, a: CellSet, b: CellSet) -> Committor:
        """Return the chance to meet b before a, each a mask or a function positive on it.

        Both are rounded to cells, an error of order 1 in the spacing; see `committor_of`.
        """
        return committor_of(
            self.grid, self.generator, as_mask(self.grid, "a", a), as_mask(self.grid, "b", b)
        )

    def quasi_stationary(self) -> QuasiStationary:
        """Return the law and rate of what stays long, a check of exit times."""
        return quasi_stationary_law(self.grid, self.generator, walls=self.walls)

    def spectrum(self, k: int = 6) -> Modes:
        """Return the slowest modes: of the closed class, or of what leaves under absorption."""
        if self.generator.kill.any():
            cells = np.flatnonzero(exits_surely(self.generator))
        else:
            law = self._law.masses.ravel()[self.generator.cells]
            cells, _ = closed_class(self.generator, law)
            cells = cells[law[cells] > 0]
        return slow_modes(self.grid, self.generator, cells, k)

    def entropy(self, masses: Float[np.ndarray, "..."]) -> float:
        """Return the Kullback-Leibler divergence from the stationary law; see `entropy_of`."""
        return entropy_of(self.law(masses), self._law.masses)

    def dissipation(self, masses: Float[np.ndarray, "..."]) -> float:
        """Return how fast the entropy falls [1 / time]; see `dissipation_of`."""
        return dissipation_of(self.generator, self.law(masses), self._law.masses)

    def fisher(self, masses: Float[np.ndarray, "..."], *, metric: ArrayLike | None = None) -> float:
        """Return the relative Fisher information, in a metric or the plain one; see `fisher_of`."""
        return fisher_of(self.grid, self.law(masses), self._law.masses, metric)

    def current(self, masses: Float[np.ndarray, "..."]) -> Float[np.ndarray, "... p"]:
        """Return the probability current at the centres; see `current_of`."""
        return current_of(self.grid, self.generator, self.law(masses))

    def diagnostics(self, masses: Float[np.ndarray, "..."] | None = None) -> Diagnostics:
        """Return how far the chain is from the process.

        Args:
            masses: The law that means are taken under; unless given, the stationary law, or a
                uniform one under absorption.
        """
        if masses is not None:
            law = self.law(masses)
        elif self.generator.kill.any():
            law = self.is_inside / self.is_inside.sum()
        else:
            law = self._law.masses
        return diagnose(self.grid, self.generator, law, stationary=self._law_if_any())

    @cached_property
    def _law(self) -> Stationary:
        return stationary_law(self.grid, self.generator, walls=self.walls)

    def _law_if_any(self) -> NDArray[np.float64] | None:
        return None if self.generator.kill.any() else self._law.masses
