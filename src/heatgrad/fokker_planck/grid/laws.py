"""Laws on a grid: how they start, and what is asked of them. Masses of cells, which sum to 1."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.func import vmap

from heatgrad.fokker_planck.grid.cells import Grid, on_points
from heatgrad.fokker_planck.processes.process import scalar_valued

__all__ = ["Gaussian", "Law", "as_law", "as_mask", "mean_of"]


@dataclass(frozen=True)
class Gaussian:
    """A normal law to start from.

    Attributes:
        mean: Shape (p,) [param].
        cov: Positive definite, shape (p, p) [param²].

    Example:
        >>> Gaussian((0.0, 1.0), ((1.0, 0.0), (0.0, 0.5))).mean
        (0.0, 1.0)
    """

    mean: Sequence[float]
    cov: Sequence[Sequence[float]] | NDArray[np.float64]


# A point, whose cell gets all mass; a Gaussian; or masses of the cells.
Law = Gaussian | ArrayLike


def as_law(grid: Grid, law: Law, inside: NDArray[np.bool_]) -> Float[np.ndarray, "..."]:
    """Return a law as masses of the cells, shape `grid.shape`.

    A Gaussian is sampled at the centres and scaled to mass 1; masses must sum to 1 already.

    Args:
        grid: The cells.
        law: A point of p coordinates, a `Gaussian`, or masses of shape `grid.shape`.
        inside: Cells that may hold mass, shape `grid.shape`.

    Raises:
        ValueError: If the law does not fit the grid, is negative, or has no mass inside.
    """
    if isinstance(law, Gaussian):
        masses = _gaussian(grid, law) * inside
        total = masses.sum()
        if not total > 0:
            raise ValueError(f"initial law must have mass inside, got none for {law}")
        scaled: NDArray[np.float64] = masses / total
        return scaled
    array = np.asarray(law, dtype=np.float64)
    if array.size == grid.dim and array.shape != grid.shape:
        masses = np.zeros(grid.size)
        masses[grid.cell_of(array)] = 1.0
        masses = masses.reshape(grid.shape)
    elif array.shape == grid.shape:
        masses = array
    else:
        raise ValueError(
            f"a law must be a point of {grid.dim} coordinates, a Gaussian, or masses of shape "
            f"{grid.shape}, got shape {array.shape}"
        )
    if not np.isfinite(masses).all() or masses.min() < -1e-9 or abs(masses.sum() - 1) > 1e-9:
        raise ValueError(
            f"masses must not be negative and sum to 1, got a sum of {masses.sum():.6g} and a "
            f"least value of {masses.min():.3g}; divide by the sum"
        )
    if np.abs(masses[~inside]).sum() > 1e-9:
        raise ValueError("a law must have its mass inside the region, got some outside")
    return masses * inside


def as_mask(
    grid: Grid, name: str, where: NDArray[np.bool_] | Callable[[Tensor], Tensor]
) -> NDArray[np.bool_]:
    """Return cells as a mask, from one or from a function that is positive on them.

    Raises:
        ValueError: If it has the wrong shape or type, or holds no cell.
    """
    if callable(where):
        mask = (on_points(name, vmap(scalar_valued(name, where)), grid.centers()) > 0).reshape(
            grid.shape
        )
    else:
        mask = np.asarray(where)
        if mask.shape != grid.shape or mask.dtype != bool:
            raise ValueError(
                f"{name} must be a function of a point or a boolean array of shape {grid.shape}, "
                f"got {mask.dtype} of shape {mask.shape}"
            )
    if not mask.any():
        raise ValueError(f"{name} must hold the centre of a cell, got none")
    return mask


def mean_of(
    grid: Grid, masses: Float[np.ndarray, "..."], function: Callable[[Tensor], Tensor]
) -> NDArray[np.float64]:
    """Return the expectation of a function of one point, of any shape, under a law."""
    flat = masses.ravel()
    held = np.flatnonzero(flat)
    values = on_points("function", vmap(function), grid.centers()[held])
    found: NDArray[np.float64] = np.tensordot(flat[held], values, axes=1)
    return found


def _gaussian(grid: Grid, law: Gaussian) -> Float[np.ndarray, "..."]:
    mean = np.asarray(law.mean, dtype=np.float64)
    cov = np.asarray(law.cov, dtype=np.float64)
    p = grid.dim
    if mean.shape != (p,) or cov.shape != (p, p) or not (np.linalg.eigvalsh(cov) > 0).all():
        raise ValueError(
            f"a Gaussian must have a mean of {p} coordinates and a positive definite covariance, "
            f"got {law}"
        )
    away = grid.centers() - mean
    power = np.einsum("np,pq,nq->n", away, np.linalg.inv(cov), away) / 2
    masses: NDArray[np.float64] = np.exp(power.min() - power).reshape(grid.shape)
    return masses
