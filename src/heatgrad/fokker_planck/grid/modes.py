"""The slowest modes of a chain on a grid."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigs, eigsh

from heatgrad.fokker_planck.grid.cells import Grid
from heatgrad.fokker_planck.grid.generator import Generator
from heatgrad.fokker_planck.grid.solve import Factor, needs_iteration

__all__ = ["Modes", "slow_modes"]

_SHIFT = 1e-8
_RESIDUAL = 1e-7
_TAIL = 30.0
_ROUNDS = 100
_CHANGE = 1e-12


@dataclass(frozen=True)
class Modes:
    """Eigenvalues of minus the generator, the slowest first.

    Attributes:
        values: Real with detailed balance, else complex, shape (k,) [1 / time]. Without absorption
            the first is 0, and the real part of the second is the spectral gap.
        functions: Eigenfunctions of the backward equation, the largest entry 1, 0 on cells that
            the modes are not of, shape (k, *grid) [1].
        status: "converged", or "not converged" where a residual is too large.
        residuals: |Q f + λ f| relative to the fastest rate, the largest entry, shape (k,) [1].
    """

    values: NDArray[Any]
    functions: NDArray[Any]
    status: Literal["converged", "not converged"]
    residuals: Float[np.ndarray, " k"]


def slow_modes(grid: Grid, generator: Generator, cells: Int[np.ndarray, " n"], k: int) -> Modes:
    r"""Return the k eigenvalues nearest to zero, by iteration with a shifted inverse.

    $$-Q f = \lambda f, \qquad (\delta - Q)^{-1} f = \frac{f}{\lambda + \delta} \tag{F.46}$$

    At δ = 0 the matrix is singular; δ is a small share of the usual rate. With detailed balance the
    matrix is made symmetric, entry by entry: $S_{ij} = \sqrt{q_{ij} q_{ji}}$.

    Args:
        grid: The cells.
        generator: The chain.
        cells: The inside cells that the modes live on.
        k: How many, at least 1 and below the number of cells less one.

    Raises:
        ValueError: If k is out of range.
    """
    if isinstance(k, bool) or not isinstance(k, int) or not 1 <= k < len(cells) - 1:
        raise ValueError(f"k must be an integer from 1 to {len(cells) - 2}, got {k!r}")
    part = generator.rates[cells][:, cells].tocsr()
    shift = _SHIFT * float(np.median(np.abs(part.diagonal())))
    eye = sparse.eye(len(cells), format="csr")
    is_iterative = needs_iteration(len(cells), grid.dim)
    start = np.random.default_rng(0).standard_normal(len(cells))
    count = min(k + 2, len(cells) - 2)
    if generator.potential is None:
        backward = Factor(shift * eye - part, is_iterative=is_iterative)
        values, functions = _general(backward, shift, count, start)
    else:
        heights = generator.potential[cells]
        flat = _symmetric(part)
        middle = Factor(shift * eye - flat, is_iterative=is_iterative)
        values, functions = _nearest(middle, shift, count, start)
        functions = _unscaled(functions, values, heights - heights.min(), part, is_iterative)
    order = np.argsort(values.real, kind="stable")[:k]
    values, functions = values[order], functions[order]
    peak = np.take_along_axis(functions, np.abs(functions).argmax(axis=1, keepdims=True), axis=1)
    functions = functions / peak
    apart = (part @ functions.T).T + values[:, None] * functions
    residuals = np.abs(apart).max(axis=1) / generator.fastest
    full = np.zeros((k, grid.size), dtype=functions.dtype)
    full[:, generator.cells[cells]] = functions
    good = bool((residuals < _RESIDUAL).all()) and len(values) == k
    return Modes(
        values, full.reshape(k, *grid.shape), "converged" if good else "not converged", residuals
    )


def _symmetric(rates: Any) -> Any:
    """Return the rates made symmetric; the diagonal stays."""
    off = rates - sparse.diags(rates.diagonal())
    return (off.multiply(off.T)).sqrt() + sparse.diags(rates.diagonal())


def _nearest(
    factor: Factor, shift: float, count: int, start: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return eigenvalues of minus a symmetric matrix, and its vectors as rows."""
    operator = LinearOperator((len(start),) * 2, matvec=factor.solve, dtype=np.float64)
    try:
        inverse, vectors = eigsh(operator, k=count, which="LM", v0=start, ncv=_basis(count, start))
    except ArpackNoConvergence as failure:
        inverse, vectors = failure.eigenvalues, failure.eigenvectors
    return 1 / inverse - shift, vectors.T


def _general(
    factor: Factor, shift: float, count: int, start: NDArray[np.float64]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return eigenvalues of minus a matrix, and its right vectors as rows."""
    operator = LinearOperator((len(start),) * 2, matvec=factor.solve, dtype=np.float64)
    try:
        inverse, vectors = eigs(operator, k=count, which="LM", v0=start, ncv=_basis(count, start))
    except ArpackNoConvergence as failure:
        inverse, vectors = failure.eigenvalues, failure.eigenvectors
    return 1 / inverse - shift, vectors.T


def _basis(count: int, start: NDArray[np.float64]) -> int:
    return min(len(start) - 1, max(4 * count, 30))


def _unscaled(
    vectors: NDArray[np.float64],
    values: NDArray[np.float64],
    heights: NDArray[np.float64],
    rates: Any,
    is_iterative: bool,
) -> NDArray[np.float64]:
    r"""Return eigenfunctions of the backward equation from those of the symmetric matrix.

    In the tails the vectors are rounding, divided by next to nothing: there the eigenfunctions are
    solved for instead, from their values on the other cells. With t the tails and s the others

    $$-Q_{tt} f_t = Q_{ts} f_s + \lambda f_t \tag{F.54}$$

    repeated, since what is slow does not live in the tails.
    """
    safe = heights < _TAIL
    functions = vectors * np.where(safe, np.exp(np.minimum(heights, _TAIL) / 2), 0.0)
    if safe.all():
        return functions
    tail, rest = np.flatnonzero(~safe), np.flatnonzero(safe)
    factor = Factor(-rates[tail][:, tail], is_iterative=is_iterative)
    across = rates[tail][:, rest]
    for function, value in zip(functions, values, strict=True):
        inflow = across @ function[rest]
        for _ in range(_ROUNDS):
            old = function[tail]
            function[tail] = factor.solve(inflow + value * old)
            if np.abs(function[tail] - old).max() <= _CHANGE * np.abs(function).max():
                break
    return functions
