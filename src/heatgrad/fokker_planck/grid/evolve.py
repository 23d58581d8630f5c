"""How a law on a grid moves in time."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from scipy.sparse.linalg import expm_multiply

from heatgrad.fokker_planck.grid.cells import Grid
from heatgrad.fokker_planck.grid.generator import Generator
from heatgrad.fokker_planck.grid.solve import Factor, needs_iteration

__all__ = ["Evolution", "Stepper", "evolve_law"]

Stepper = Literal["implicit-euler", "tr-bdf2", "expm"]

_MOST_WORK = 1e6
_GAMMA = 2 - np.sqrt(2.0)
_CUT = 1e-6


@dataclass(frozen=True)
class Evolution:
    """A law at several times.

    Attributes:
        times: As asked for, shape (times,) [time].
        masses: Of the cells at each time, shape (times, *grid) [1].
        lost: Mass that has left through an absorbing boundary, shape (times,) [1].
        status: "positive"; "negative" where a step undershot zero by more than rounding, which
            "tr-bdf2" does where a step is long for a sharp law; "cut" where more than 1e-6 of the
            mass came to a reflecting side; "not converged" where a linear system was not solved.
        mass_defect: Largest |mass + lost - 1| over all steps [1].
        least: Smallest mass of a cell over all steps, relative to the largest of its step [1].
        boundary_mass: Mass at the reflecting sides at each time, shape (times,) [1].
        num_steps: Steps taken.
    """

    times: Float[np.ndarray, " times"]
    masses: Float[np.ndarray, "..."]
    lost: Float[np.ndarray, " times"]
    status: Literal["positive", "negative", "cut", "not converged"]
    mass_defect: float
    least: float
    boundary_mass: Float[np.ndarray, " times"]
    num_steps: int


@dataclass
class _Run:
    """What is known so far."""

    p: NDArray[np.float64]
    lost: float = 0.0
    defect: float = 0.0
    least: float = 0.0
    residual: float = 0.0
    num_steps: int = 0

    def note(self) -> None:
        self.num_steps += 1
        self.defect = max(self.defect, abs(float(self.p.sum()) + self.lost - 1))
        top = float(self.p.max(initial=0.0))
        if top > 0:
            self.least = min(self.least, float(self.p.min()) / top)


def evolve_law(
    grid: Grid,
    generator: Generator,
    start: Float[np.ndarray, "..."],
    times: ArrayLike,
    *,
    method: Stepper = "implicit-euler",
    steps: int = 20,
) -> Evolution:
    r"""Return a law at later times.

    $$(I - \Delta t\, Q^\top)\, p_+ = p \quad \text{[order 1, positive for every } \Delta t]
    \tag{F.40}$$

    $$\bigl(I - \tfrac{\gamma \Delta t}{2} Q^\top\bigr)\, p_\gamma = \bigl(I + \tfrac{\gamma
    \Delta t}{2} Q^\top\bigr)\, p, \qquad \bigl(I - \tfrac{\gamma \Delta t}{2} Q^\top\bigr)\, p_+ =
    \frac{p_\gamma - (1 - \gamma)^2 p}{\gamma (2 - \gamma)}, \quad \gamma = 2 - \sqrt 2 \tag{F.41}$$

    The second, TR-BDF2, has order 2 and damps what is fast, but **is not positive**. "expm" is the
    reference, $e^{t Q^\top} p$ to rounding, at a cost that grows like the time over the shortest
    sojourn. Equal steps share a factorisation. Rounding in a solve may shift the mass; each step
    scales that away, which keeps signs.

    Args:
        grid: The cells.
        generator: The chain.
        start: Masses at time 0, shape of the grid.
        times: Ascending, at least 0 [time].
        method: One of the three.
        steps: Equal steps from each time to the next, at least 1; "expm" takes none.

    Raises:
        ValueError: If the method is unknown, the times do not ascend, `steps` is below 1, or
            "expm" would take more than a million products.
    """
    at = np.atleast_1d(np.asarray(times, dtype=np.float64))
    is_list = at.ndim == 1 and len(at) > 0 and bool(np.isfinite(at).all())
    if not is_list or (np.diff(at, prepend=0) < 0).any():
        raise ValueError(f"times must ascend from at least 0 and be finite, got {times!r}")
    if method not in ("implicit-euler", "tr-bdf2", "expm"):
        raise ValueError(f"method must be 'implicit-euler', 'tr-bdf2' or 'expm', got {method!r}")
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise ValueError(f"steps must be an integer of at least 1, got {steps!r}")
    work = float(at[-1]) * generator.fastest
    if method == "expm" and work > _MOST_WORK:
        raise ValueError(
            f"'expm' takes about time x fastest rate = {work:.3g} products, at most "
            f"{_MOST_WORK:.0e} are allowed; use 'tr-bdf2' or 'implicit-euler'"
        )
    run = _Run(np.asarray(start, dtype=np.float64).ravel()[generator.cells])
    stepper = _Steps(generator, needs_iteration(generator.size, grid.dim))
    masses = np.zeros((len(at), grid.size))
    lost = np.zeros(len(at))
    now = 0.0
    for row, t in enumerate(at):
        if t > now:
            if method == "expm":
                stepper.exponential(run, t - now)
            else:
                for _ in range(steps):
                    stepper.step(run, (t - now) / steps, method)
        now = float(t)
        masses[row, generator.cells], lost[row] = run.p, run.lost
    shaped = masses.reshape(len(at), *grid.shape)
    at_walls = shaped[:, grid.at_walls()].sum(axis=1)
    return Evolution(
        at, shaped, lost, _status(run, at_walls), run.defect, run.least, at_walls, run.num_steps
    )


def _status(
    run: _Run, at_walls: NDArray[np.float64]
) -> Literal["positive", "negative", "cut", "not converged"]:
    if not run.residual < 1e-8:
        return "not converged"
    if run.least < -1e-12:
        return "negative"
    return "cut" if at_walls.max() > _CUT else "positive"


class _Steps:
    """Steps of every length, with a factorisation for the last length."""

    def __init__(self, generator: Generator, is_iterative: bool) -> None:
        self._forward = generator.rates.T.tocsr()
        self._kill = generator.kill
        self._is_iterative = is_iterative
        self._length = float("nan")
        self._factor: Factor | None = None

    def step(self, run: _Run, dt: float, method: Stepper) -> None:
        if method == "tr-bdf2":
            self._tr_bdf2(run, dt)
        else:
            self._euler(run, dt)
        run.note()

    def exponential(self, run: _Run, dt: float) -> None:
        p = expm_multiply(self._forward * dt, run.p)
        if self._kill.any():
            run.lost += float(run.p.sum() - p.sum())
        run.p = p
        run.note()

    def _solve(self, run: _Run, right: NDArray[np.float64], length: float) -> NDArray[np.float64]:
        # Times such as 0.1, 0.2, 0.3 differ by rounding, steps of theirs count as equal.
        if self._factor is None or abs(length - self._length) > 1e-12 * length:
            eye = sparse.eye(len(right), format="csr")
            matrix = eye - length * self._forward
            self._factor = Factor(matrix, is_iterative=self._is_iterative)
            self._length = length
        found = self._factor.solve(right)
        run.residual = max(run.residual, self._factor.residual)
        return found

    def _euler(self, run: _Run, dt: float) -> None:
        p = self._solve(run, run.p, dt)
        gone = dt * float(self._kill @ p)
        scale = float(run.p.sum()) / (float(p.sum()) + gone)
        run.p = p * scale
        run.lost += gone * scale

    def _tr_bdf2(self, run: _Run, dt: float) -> None:
        half = _GAMMA * dt / 2
        middle = self._solve(run, run.p + half * (self._forward @ run.p), half)
        share = _GAMMA * (2 - _GAMMA)
        p = self._solve(run, (middle - (1 - _GAMMA) ** 2 * run.p) / share, half)
        before = float(run.p.sum())
        if self._kill.any():
            run.lost += before - float(p.sum())
            run.p = p
        else:
            run.p = p * (before / float(p.sum()))
