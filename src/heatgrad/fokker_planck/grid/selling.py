"""Selling's decomposition: a diffusion matrix as a sum of jumps along the grid."""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

__all__ = ["Decomposition", "selling"]

_ROUNDING = 1e-14
_PASSES = 500


@dataclass(frozen=True)
class Decomposition:
    """Matrices as sums of weighted jumps, three in the plane and six in space.

    Attributes:
        weights: ρ, not negative, shape (n, k) [1 / time].
        offsets: e, whole numbers of cells, shape (n, k, p).
        is_complete: Whether the sum is the matrix, shape (n,); False where the offsets grew too
            wide before it was.
    """

    weights: Float[np.ndarray, "n k"]
    offsets: Int[np.ndarray, "n k p"]
    is_complete: NDArray[np.bool_]

    @property
    def width(self) -> NDArray[np.int64]:
        """The largest entry of each matrix's offsets that carry weight, shape (n,)."""
        used = np.where(self.weights > 0, np.abs(self.offsets).max(axis=2), 0)
        widest: NDArray[np.int64] = used.max(axis=1)
        return widest


def selling(matrices: Float[np.ndarray, "n p p"], *, max_offset: int = 10_000) -> Decomposition:
    r"""Return matrices as sums of nonnegative weights times outer products of integer offsets.

    $$D = \sum_{i<j} \rho_{ij}\, e_{ij} e_{ij}^\top, \qquad \rho_{ij} = -\langle b_i, D b_j \rangle
    \ge 0, \qquad e_{ij} \perp b_k, \; k \ne i, j \tag{F.30}$$

    for an obtuse superbase: integer vectors $b_0 + \dots + b_p = 0$ of determinant 1 with
    $\langle b_i, D b_j \rangle \le 0$. While a pair has a positive product,

    $$b_i \to -b_i, \qquad b_k \to b_k + \tfrac{2}{p-1} b_i, \quad k \ne i, j. \tag{F.31}$$

    A singular matrix has a decomposition only where its range is along integer vectors.

    Args:
        matrices: Symmetric positive semidefinite, in units of the cells, p = 1, 2 or 3.
        max_offset: Widest jump that is looked for [cells].

    Returns:
        Weights that are zero where an offset is not needed. Incomplete rows have no meaning.

    Raises:
        ValueError: If the matrices are not square, of dimension 1 to 3.

    References:
        Selling (1874); Fehrenbach and Mirebeau (2014), J. Math. Imaging Vision 49;
        Bonnans, Bonnet and Mirebeau (2022). Theory page: Eqs. (F.30) and (F.31).

    Example:
        >>> found = selling(np.array([[[1.0, 0.8], [0.8, 0.7]]]))
        >>> found.offsets[0].tolist(), found.weights[0].round(3).tolist()
        ([[1, 1], [1, 0], [-2, -1]], [0.6, 0.0, 0.1])
    """
    n, p = matrices.shape[:2]
    if matrices.shape != (n, p, p) or not 1 <= p <= 3:
        raise ValueError(f"matrices must be of shape (n, p, p), p = 1 to 3, got {matrices.shape}")
    if p == 1:
        ones = np.ones((n, 1, 1), dtype=np.int64)
        return Decomposition(matrices[:, 0, :], ones, np.ones(n, dtype=bool))
    base = np.concatenate([np.eye(p, dtype=np.int64), -np.ones((1, p), dtype=np.int64)])
    bases = np.tile(base, (n, 1, 1))
    is_complete = _make_obtuse(bases, matrices, max_offset)
    pairs = list(combinations(range(p + 1), 2))
    products = np.stack([_product(bases, matrices, pair)[0] for pair in pairs], axis=1)
    offsets = np.stack([_across(bases, pair) for pair in pairs], axis=1)
    found = Decomposition(np.maximum(-products, 0.0), offsets, is_complete)
    is_complete &= found.width <= max_offset
    return found


def _make_obtuse(
    bases: Int[np.ndarray, "n q p"], matrices: Float[np.ndarray, "n p p"], max_offset: int
) -> NDArray[np.bool_]:
    """Change the superbases in place; return which became obtuse."""
    p = matrices.shape[1]
    is_complete = np.zeros(len(bases), dtype=bool)
    todo = np.arange(len(bases))
    for _ in range(_PASSES):
        if not len(todo):
            break
        now, at = bases[todo], matrices[todo]
        acute = np.zeros(len(todo), dtype=bool)
        for i, j in combinations(range(p + 1), 2):
            # Later pairs wait for the next pass where an earlier one has changed the base.
            value, rounding = _product(now, at, (i, j))
            flip = (value > rounding) & ~acute
            acute |= flip
            others = [k for k in range(p + 1) if k not in (i, j)]
            for k in others:
                now[flip, k] += (2 // (p - 1)) * now[flip, i]
            now[flip, i] *= -1
        bases[todo] = now
        is_complete[todo[~acute]] = True
        narrow = np.abs(now).max(axis=(1, 2)) <= 2 * max_offset
        todo = todo[acute & narrow]
    return is_complete


def _product(
    bases: Int[np.ndarray, "n q p"], matrices: Float[np.ndarray, "n p p"], pair: tuple[int, int]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return <b_i, D b_j> and the size of its rounding error."""
    i, j = pair
    value = np.einsum("np,npq,nq->n", bases[:, i], matrices, bases[:, j])
    size = np.einsum("np,npq,nq->n", np.abs(bases[:, i]), np.abs(matrices), np.abs(bases[:, j]))
    return value, _ROUNDING * size


def _across(bases: Int[np.ndarray, "n q p"], pair: tuple[int, int]) -> Int[np.ndarray, "n p"]:
    """Return the integer vector orthogonal to the others of the superbase."""
    others = [k for k in range(bases.shape[1]) if k not in pair]
    first = bases[:, others[0]]
    if len(others) == 1:
        return np.stack([-first[:, 1], first[:, 0]], axis=1)
    found: NDArray[np.int64] = np.cross(first, bases[:, others[1]])
    return found
