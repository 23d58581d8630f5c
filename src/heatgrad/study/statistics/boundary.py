"""Where on a phase map does an arm win? A fitted boundary, and whether it predicts."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from scipy import special

from heatgrad.study.statistics.signflip import RESOLUTION

__all__ = ["Boundary", "Prediction", "fit_boundary"]

_STEPS = 100
# Logits beyond are on their way to infinity.
_FAR = 30.0
_SMALLEST_MAP = 5


@dataclass(frozen=True)
class Prediction:
    """How well cells are predicted that were left out of the fit, one at a time.

    Attributes:
        log_loss: Mean of -log of the probability given to what happened, over runs [1].
        accuracy: Share of runs on the side of 1/2 that was predicted, ties counting half [1].
        constant_log_loss: Of the guess that every cell is like the mean of the others [1].
        constant_accuracy: Of the same guess [1].
    """

    log_loss: float
    accuracy: float
    constant_log_loss: float
    constant_accuracy: float

    @property
    def is_better(self) -> bool:
        """Whether the boundary has the smaller log loss of the two."""
        return self.log_loss < self.constant_log_loss


@dataclass(frozen=True)
class Boundary:
    """A logistic regression of "the arm beats its baseline" on two dials.

    Attributes:
        coefficients: Intercept, first dial, second dial, product; per standard deviation [1].
        centers: Means of the dials over the cells.
        scales: Standard deviations of the dials over the cells.
        prediction: Of cells left out.
        num_cells: Number of cells.
        num_runs: Number of pairs of runs.
        converged: Whether the fit did; without a ridge it cannot where a line separates wins from
            losses.
    """

    coefficients: tuple[float, float, float, float]
    centers: tuple[float, float]
    scales: tuple[float, float]
    prediction: Prediction
    num_cells: int
    num_runs: int
    converged: bool

    def probability(self, dials: Float[np.ndarray, "points 2"]) -> NDArray[np.float64]:
        """Return the fitted probability that the arm wins; the boundary is where it is 1/2.

        Args:
            dials: Settings, in the units that were fitted; not beyond those, preferably.
        """
        design = _design(np.asarray(dials, dtype=np.float64), self.centers, self.scales)
        return np.asarray(special.expit(design @ np.array(self.coefficients)))


def fit_boundary(
    dials: Float[np.ndarray, "cells 2"],
    differences: Float[np.ndarray, "cells blocks"],
    *,
    margin: float = 0.0,
    ridge: float = 0.1,
    resolution: float = RESOLUTION,
) -> Boundary:
    r"""Return where on two dials an arm beats its baseline, and whether that predicts other cells.

    In a run of the cell with standardised dials $z$ the arm wins with probability

    $$\pi(z) = \frac{1}{1 + e^{-\eta(z)}}, \qquad
    \eta(z) = \beta_0 + \beta_1 z_1 + \beta_2 z_2 + \beta_3 z_1 z_2 \tag{S.18}$$

    and $\beta$ minimises $-\sum \log$ likelihood $+ \tfrac r2 |\beta|^2$, by Newton's method. The
    ridge keeps the fit finite where a line separates wins from losses, as on a good map it does.
    Then each cell is left out in turn, and the fit to the others, and the constant fitted to the
    others (with the same ridge), predict it. Cells share blocks, so no standard errors are given.

    On a map without a boundary (5 x 5 cells of 8 runs, each a fair coin) the fit predicts better
    than the constant, by chance, in 13 % of the cases: a lead in log loss is a hint, no test.

    Args:
        dials: Two settings per cell, at least five cells, each dial with at least two settings;
            give logarithms where a dial is swept by factors.
        differences: Arm minus baseline, larger is better; NaN for a pair that is missing [metric].
        margin: What a win must exceed, at least 0 [metric].
        ridge: r, at least 0: the precision of a normal prior of every coefficient.
        resolution: Differences this close to the margin are half a win [metric].

    Raises:
        ValueError: If shapes do not fit, a number is infinite, a dial does not vary, or a cell has
            no pair.

    References:
        Cox (1958), The regression analysis of binary sequences. Theory page: Eq. (S.18).

    Example:
        >>> turns, noise = np.meshgrid(np.arange(5.0), np.linspace(0, 0.4, 5), indexing="ij")
        >>> gain = (turns - 2.2)[..., None] + np.random.default_rng(0).normal(0, 1, (5, 5, 8))
        >>> cells = np.column_stack([turns.ravel(), noise.ravel()])
        >>> fit = fit_boundary(cells, gain.reshape(25, 8))
        >>> fit.prediction.is_better, fit.probability(np.array([[4.0, 0.2]])).item() > 0.9
        (True, True)
    """
    dials, wins, counts = _checked(dials, differences, margin, ridge, resolution)
    centers, scales = dials.mean(axis=0), dials.std(axis=0)
    design = _design(dials, centers, scales)
    num_cells = len(dials)
    everything = np.ones((1, num_cells))
    fitted, converged = _fit(design, everything * wins, everything * counts, ridge)
    kept = 1 - np.eye(num_cells)
    others, _ = _fit(design, kept * wins, kept * counts, ridge)
    constants, _ = _fit(design[:, :1], kept * wins, kept * counts, ridge)
    log_loss, accuracy = _score((design * others).sum(axis=1), wins, counts)
    constant_log_loss, constant_accuracy = _score(constants[:, 0], wins, counts)
    b0, b1, b2, b3 = map(float, fitted[0])
    return Boundary(
        coefficients=(b0, b1, b2, b3),
        centers=(float(centers[0]), float(centers[1])),
        scales=(float(scales[0]), float(scales[1])),
        prediction=Prediction(log_loss, accuracy, constant_log_loss, constant_accuracy),
        num_cells=num_cells,
        num_runs=int(counts.sum()),
        converged=bool(converged[0]),
    )


def _checked(
    dials: Float[np.ndarray, "cells 2"],
    differences: Float[np.ndarray, "cells blocks"],
    margin: float,
    ridge: float,
    resolution: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the dials, the number of wins of each cell and that of its pairs."""
    z, d = np.asarray(dials, dtype=np.float64), np.asarray(differences, dtype=np.float64)
    if z.ndim != 2 or z.shape[1] != 2 or d.ndim != 2 or len(d) != len(z) or len(z) < _SMALLEST_MAP:
        raise ValueError(
            f"dials and differences must have a row for each of at least {_SMALLEST_MAP} cells, "
            f"two dials in each, got shapes {z.shape} and {d.shape}"
        )
    if not np.isfinite(z).all() or np.isinf(d).any():
        raise ValueError(
            "dials must be finite, differences finite or missing; give a diverged run the worst "
            "value of the metric"
        )
    if (np.ptp(z, axis=0) == 0).any():
        only = z[0, np.argmin(np.ptp(z, axis=0))]
        raise ValueError(f"each dial must have at least two settings, got one of {only:g} alone")
    if not (margin >= 0 and ridge >= 0):
        raise ValueError(f"margin and ridge must be at least 0, got {margin} and {ridge}")
    counts = (~np.isnan(d)).sum(axis=1).astype(np.float64)
    if (counts == 0).any():
        cell = z[counts == 0][0].tolist()
        raise ValueError(f"each cell must have a pair, got none at {cell}; leave the cell out")
    ties = np.abs(d - margin) <= resolution
    won = ((d > margin) & ~ties).sum(axis=1) + ties.sum(axis=1) / 2
    return z, won, counts


def _design(
    dials: NDArray[np.float64],
    centers: NDArray[np.float64] | tuple[float, float],
    scales: NDArray[np.float64] | tuple[float, float],
) -> NDArray[np.float64]:
    """Return 1, both dials and their product, standardised."""
    z = (dials - np.asarray(centers)) / np.asarray(scales)
    return np.column_stack([np.ones(len(z)), z, z[:, 0] * z[:, 1]])


def _fit(
    design: NDArray[np.float64],
    wins: NDArray[np.float64],
    counts: NDArray[np.float64],
    ridge: float,
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the coefficients of several fits, a row of wins and counts each, by Newton."""
    num_terms = design.shape[1]
    beta = np.zeros((len(wins), num_terms))
    penalty = ridge * np.eye(num_terms)

    def cost(b: NDArray[np.float64]) -> NDArray[np.float64]:
        eta = b @ design.T
        loss = counts * np.logaddexp(0.0, eta) - wins * eta
        total: NDArray[np.float64] = loss.sum(axis=1) + ridge / 2 * (b**2).sum(axis=1)
        return total

    converged = np.zeros(len(wins), dtype=bool)
    current = cost(beta)
    for _ in range(_STEPS):
        pi = special.expit(beta @ design.T)
        gradient = (counts * pi - wins) @ design + ridge * beta
        weights = counts * pi * (1 - pi)
        hessian = np.einsum("fc,ci,cj->fij", weights, design, design) + penalty
        # Where wins and losses separate and there is no ridge, the Hessian vanishes on the way.
        step = (np.linalg.pinv(hessian, hermitian=True) @ gradient[..., None])[..., 0]
        is_far = np.abs(beta @ design.T).max(axis=1) > _FAR
        step[is_far] = 0.0
        converged = np.abs(gradient).max(axis=1) <= 1e-9 * counts.sum(axis=1)
        if (converged | is_far).all():
            break
        size = np.ones((len(wins), 1))
        while ((trial := cost(beta - size * step)) > current + 1e-12 * np.abs(current)).any():
            size[trial > current + 1e-12 * np.abs(current)] /= 2
        beta, current = beta - size * step, trial
    return beta, converged & ~is_far


def _score(
    eta: NDArray[np.float64], wins: NDArray[np.float64], counts: NDArray[np.float64]
) -> tuple[float, float]:
    """Return log loss and accuracy of logits, over all runs."""
    loss = counts * np.logaddexp(0.0, eta) - wins * eta
    right = np.where(eta > 0, wins, counts - wins)
    right = np.where(eta == 0, counts / 2, right)
    return float(loss.sum() / counts.sum()), float(right.sum() / counts.sum())
