"""The linear systems of a Rosenbrock step: (shift I + H) u = r, dense or by products."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from heatgrad.flow.problem import Problem

__all__ = ["DenseInner", "Inner", "KrylovInner", "minres"]


class Inner(ABC):
    """Solves with a Hessian at one place, plus a multiple of the identity."""

    @abstractmethod
    def at(self, theta: Tensor) -> None:
        """Go to a place."""

    @abstractmethod
    def shift(self, shift: float) -> bool:
        """Set the multiple of the identity; False if the sum cannot be inverted."""

    @abstractmethod
    def solve(self, right: Tensor, tolerance: float) -> Tensor | None:
        """Return the solution, its root mean square error within `tolerance`; None if not found."""

    @abstractmethod
    def stats(self) -> Mapping[str, int]:
        """Return what was counted so far."""


class DenseInner(Inner):
    """One Hessian a place, one LU decomposition a shift.

    Args:
        problem: The loss.
    """

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._counts = {"hessians": 0, "decompositions": 0}

    def at(self, theta: Tensor) -> None:
        """Take the Hessian."""
        self._hessian = self._problem.hessian(theta)
        self._eye = torch.eye(len(theta), dtype=theta.dtype, device=theta.device)
        self._counts["hessians"] += 1

    def shift(self, shift: float) -> bool:
        """Decompose."""
        matrix = self._hessian + shift * self._eye
        if not matrix.isfinite().all():
            return False
        self._lu, self._pivots, info = torch.linalg.lu_factor_ex(matrix)
        self._counts["decompositions"] += 1
        return int(info) == 0

    def solve(self, right: Tensor, tolerance: float) -> Tensor:
        """Return the solution, to rounding."""
        solved: Tensor = torch.linalg.lu_solve(self._lu, self._pivots, right[:, None])
        return solved[:, 0]

    def stats(self) -> Mapping[str, int]:
        """Return the Hessians and decompositions so far."""
        return dict(self._counts)


class KrylovInner(Inner):
    r"""Products with the Hessian only, by MINRES without a preconditioner.

    The iteration ends when the residual $\rho$ shows that the error is small enough:

    $$|u - u^*| \le h\gamma\, |\rho| \quad \text{where } \nabla^2 L \succeq 0. \tag{A.9}$$

    Where the Hessian has eigenvalues below 0 the bound is only a guide. The number of products
    grows like the root of h λ_max, so that steps end growing when `max_products` are reached: the
    farther the flow is followed, the dearer each decade of time.

    Args:
        problem: The loss.
        max_products: Of one solve; a step that needs more is refused and made shorter.
    """

    def __init__(self, problem: Problem, *, max_products: int = 1000) -> None:
        self._problem = problem
        self._most = max_products
        self._counts = {"products": 0, "unsolved": 0}

    def at(self, theta: Tensor) -> None:
        """Prepare the product with the Hessian."""
        self._product = self._problem.product(theta)

    def shift(self, shift: float) -> bool:
        """Keep the shift."""
        self._shift = shift
        return True

    def solve(self, right: Tensor, tolerance: float) -> Tensor | None:
        """Return the solution; None if `max_products` are not enough."""

        def times(v: Tensor) -> Tensor:
            self._counts["products"] += 1
            return self._product(v) + self._shift * v

        residual = self._shift * tolerance * len(right) ** 0.5  # Eq. (A.9)
        found = minres(times, right, tolerance=residual, most=self._most)
        self._counts["unsolved"] += found is None
        return found

    def stats(self) -> Mapping[str, int]:
        """Return the products and the solves that were given up so far."""
        return dict(self._counts)


def minres(
    times: Callable[[Tensor], Tensor], right: Tensor, *, tolerance: float, most: int
) -> Tensor | None:
    """Return x with A x near b, A symmetric, by the method of minimal residuals.

    Args:
        times: The product of A with a vector.
        right: b, shape (p,).
        tolerance: Length of b - A x at which to stop.
        most: Products at most; None is returned if they are not enough.

    References:
        Paige and Saunders (1975), SIAM J. Numer. Anal. 12, 617-629.

    Example:
        >>> A = torch.diag(torch.tensor([1.0, -2.0, 4.0], dtype=torch.float64))
        >>> b = torch.ones(3, dtype=torch.float64)
        >>> minres(A.mv, b, tolerance=1e-12, most=9)
        tensor([ 1.0000, -0.5000,  0.2500], dtype=torch.float64)
    """
    x = torch.zeros_like(right)
    length = beta = float(right.norm())
    if length <= tolerance:
        return x
    before, now, y = right, right, right  # unscaled Lanczos vectors
    last_beta, dbar, epsilon, cos, sin = 0.0, 0.0, 0.0, -1.0, 0.0
    w, w_before = torch.zeros_like(right), torch.zeros_like(right)
    for number in range(most):
        v = y / beta
        y = times(v)
        if number:
            y = y - (beta / last_beta) * before
        alpha = float(v @ y)
        y = y - (alpha / beta) * now
        before, now = now, y
        last_beta, beta = beta, float(y.norm())
        old_epsilon, delta = epsilon, cos * dbar + sin * alpha
        gbar, epsilon, dbar = sin * dbar - cos * alpha, sin * beta, -cos * beta
        gamma = max((gbar**2 + beta**2) ** 0.5, 1e-300)
        cos, sin = gbar / gamma, beta / gamma
        w, w_before = (v - old_epsilon * w_before - delta * w) / gamma, w
        x = x + cos * length * w
        length *= sin
        if length <= tolerance or beta <= 1e-300:
            # Rounding makes the estimate too good: the residual itself has the last word.
            return x if float((right - times(x)).norm()) <= 10 * tolerance else None
    return None
