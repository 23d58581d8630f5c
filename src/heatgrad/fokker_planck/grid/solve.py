"""Linear systems with the generator's matrices: one sparse factorisation, or iteration."""

from typing import Any

import numpy as np
from jaxtyping import Float
from scipy import sparse
from scipy.sparse.linalg import LinearOperator, bicgstab, gmres, spilu, splu

__all__ = ["Factor", "needs_iteration"]

_SMALL_IN_SPACE = 16_000
_TOLERANCE = 1e-12
_PRODUCTS = 300
_RESTART = 60
_ROUNDS = 5


def needs_iteration(size: int, dim: int) -> bool:
    """Return whether a factorisation in space would fill in too much."""
    return dim == 3 and size > _SMALL_IN_SPACE


class Factor:
    """An M-matrix, factorised once and solved often.

    Elimination without pivoting is stable for these matrices, and keeps the sign: the inverse has
    no negative entry, nor has its factors'. A symmetric order of least degree then has about half
    the fill of the column order that pivoting needs.

    Args:
        matrix: Positive diagonal, the rest at most 0, rows or columns that sum to at least 0.
        is_iterative: Whether to iterate, behind an incomplete factorisation.

    Attributes:
        residual: Largest of all solutions so far: relative to the right-hand side where iterated,
            else to that and the largest terms that cancel, which rounding cannot better.
    """

    def __init__(self, matrix: Any, *, is_iterative: bool = False) -> None:
        self._matrix = sparse.csc_matrix(matrix)
        self._is_iterative = is_iterative
        self.residual = 0.0
        self._size = float(np.abs(self._matrix.data).max(initial=0.0))
        options = {
            "permc_spec": "MMD_AT_PLUS_A",
            "diag_pivot_thresh": 0.0,
            "options": {"SymmetricMode": True},
        }
        if is_iterative:
            self._lu = spilu(self._matrix, drop_tol=1e-2, fill_factor=5, **options)
        else:
            self._lu = splu(self._matrix, **options)

    def solve(
        self, right: Float[np.ndarray, " m"], *, transpose: bool = False
    ) -> Float[np.ndarray, " m"]:
        """Return the solution of A x = right, or of A' x = right."""
        side = "T" if transpose else "N"
        matrix = self._matrix.T if transpose else self._matrix
        if self._is_iterative:
            ahead = LinearOperator(matrix.shape, matvec=lambda v: self._lu.solve(v, side))
            x, failed = bicgstab(matrix, right, M=ahead, rtol=_TOLERANCE, maxiter=_PRODUCTS)
            if failed:
                x, _ = gmres(
                    matrix, right, M=ahead, rtol=_TOLERANCE, restart=_RESTART, maxiter=_ROUNDS
                )
        else:
            x = self._lu.solve(right, side)
        scale = float(np.abs(right).max(initial=0.0))
        if not self._is_iterative:
            scale += self._size * float(np.abs(x).max(initial=0.0))
        if scale:
            apart = float(np.abs(matrix @ x - right).max()) / scale
            self.residual = max(self.residual, apart)
        found: Float[np.ndarray, " m"] = x
        return found
