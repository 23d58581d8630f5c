"""Whether the reflecting sides of a box cut off what a wider box would hold."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components

from heatgrad.fokker_planck.grid.cells import Grid
from heatgrad.fokker_planck.grid.generator import Generator
from heatgrad.fokker_planck.grid.solve import Factor

__all__ = ["confinement", "mass_at_walls", "peak_is_at"]

_CUT = 1e-6
_SWEEPS = 4


def mass_at_walls(
    grid: Grid,
    generator: Generator,
    sure: NDArray[np.bool_],
    factor: Factor,
    slow: NDArray[np.float64] | None,
) -> tuple[float, bool]:
    r"""Return the share of what stays long at reflecting sides, and whether it is densest there.

    The law of what stays long is nearly the quasi-stationary one on each connected part,

    $$\nu_i \propto \pi_i s_i \;[\text{detailed balance}], \qquad
    \nu \propto (-Q^\top)^{-k} 1 \;[\text{else}] \tag{F.53}$$

    with s the second iterate of the inverse from 1.
    """
    at = grid.at_walls().ravel()[generator.cells[sure]]
    if not at.any():
        return 0.0, False
    count, labels = connected_components(generator.rates[sure][:, sure], directed=False)
    if generator.potential is not None and slow is not None:
        heights = generator.potential[sure]
        lowest = np.full(count, np.inf)
        np.minimum.at(lowest, labels, heights)
        law = np.exp(lowest[labels] - heights) * np.maximum(slow, 0.0)
        return _worst(law, at, labels)
    law = np.ones(len(at))
    share, is_peak = 0.0, False
    for _ in range(_SWEEPS):
        law = np.maximum(factor.solve(law, transpose=True), 0.0)
        law /= law.max()
        share, is_peak = _worst(law, at, labels)
        if share <= _CUT:  # More sweeps take out more of where it began.
            break
    return share, is_peak


def _worst(
    law: NDArray[np.float64], at: NDArray[np.bool_], labels: NDArray[np.int32]
) -> tuple[float, bool]:
    """Return the largest share at some cells of all parts, and whether one is densest there."""
    total = np.bincount(labels, weights=law)
    held = np.bincount(labels, weights=law * at)
    shares = np.divide(held, total, out=np.zeros_like(total), where=total > 0)
    worst = int(np.argmax(shares))
    return float(shares[worst]), peak_is_at(law[labels == worst], at[labels == worst])


def peak_is_at(law: NDArray[np.float64], at: NDArray[np.bool_]) -> bool:
    """Return whether a law is densest at some cells, up to rounding."""
    return bool(law[at].max(initial=0.0) >= (1 - 1e-9) * law.max())


def confinement(boundary_mass: float, is_peak: bool) -> Literal["converged", "cut", "unconfined"]:
    """Return the worst that is to be said of reflecting sides that are no walls of the problem."""
    if is_peak:
        return "unconfined"
    return "cut" if boundary_mass > _CUT else "converged"
