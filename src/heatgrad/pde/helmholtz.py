"""The Helmholtz equation with a random right-hand side."""

import math
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from heatgrad.laplacian import Boundary
from heatgrad.pde.checks import check_count, check_field, check_named, check_positive
from heatgrad.pde.chunks import in_chunks
from heatgrad.pde.differences import dual_norm, l2_norm, linear_residual
from heatgrad.pde.dirichlet import dirichlet_symbol, solve_dirichlet, with_zero_border
from heatgrad.pde.grid import Grid
from heatgrad.pde.law import GaussianRandomField
from heatgrad.pde.speed import warn_if_slow

__all__ = ["Helmholtz"]

_NEAR = 1e-3  # relative distance to an eigenvalue at which a solution means nothing


@dataclass(frozen=True)
class Helmholtz:
    r"""Lap u + k² u = a on the unit square, u = 0 on its border, a Gaussian.

    $$\operatorname{Lap} u + k^2 u = a, \qquad u|_{\partial} = 0. \tag{P.6}$$

    Solved as `Poisson` is. The published k = 1 is far below the first eigenvalue $2\pi^2$: a
    perturbation of Poisson by 5 %, not a wave.

    Attributes:
        n: Nodes a side, border included, at least 6.
        k: Wave number, not negative [1 / length].
        zero_border: Whether drawn a are set to 0 on the border, as published. It changes no u.

    Raises:
        ValueError: If n is too small, k² within 0.1 % of an eigenvalue
            $\pi^2(m_1^2 + m_2^2)$, or the grid too coarse to tell on which side of one it lies.

    Warns:
        HeatgradWarning: If the transforms of this n are slow, with the nearest fast n.

    References:
        Theory page: Eqs. (P.4), (P.6). Huang et al. (2024), arXiv:2406.17763 (DiffusionPDE).

    Example:
        >>> problem = Helmholtz(33, k=2.0)
        >>> fields = problem.sample(2, torch.Generator().manual_seed(0))
        >>> bool((problem.residual(fields) < 0.01).all())
        True
        >>> Helmholtz(33, k=math.sqrt(5) * math.pi)
        Traceback (most recent call last):
        ValueError: k² must not be close to an eigenvalue, ...
    """

    n: int = 128
    k: float = 1.0
    _: KW_ONLY
    zero_border: bool = False
    names: ClassVar[tuple[str, ...]] = ("a", "u")
    is_linear: ClassVar[bool] = True
    boundaries: ClassVar[Mapping[str, Boundary]] = {"a": "neumann", "u": "dirichlet"}

    def __post_init__(self) -> None:
        check_count("n", self.n, 6)
        check_positive("k", self.k, zero=True)
        _check_resonance(self.n, self.k)
        warn_if_slow(self.n)

    @classmethod
    def published(cls) -> "Helmholtz":
        """Return the published problem: 128 x 128, k = 1, a zero on the border.

        Warns:
            HeatgradWarning: 128 is a slow size.
        """
        return cls(128, 1.0, zero_border=True)

    @property
    def grid(self) -> Grid:
        """The nodes."""
        return Grid(self.n, "nodes")

    @cached_property
    def law(self) -> GaussianRandomField:
        """The published law of a, before its border is set to 0."""
        return GaussianRandomField(self.grid, "neumann", alpha=2.0, tau=3.0)

    def sample(
        self, num: int, generator: torch.Generator, *, device: torch.device | str | None = None
    ) -> dict[str, Float[Tensor, "num n n"]]:
        """Return pairs of a drawn from the law and u solved for, float64.

        Raises:
            ValueError: If `num` is negative.

        Example:
            >>> sorted(Helmholtz(9).sample(1, torch.Generator().manual_seed(0)))
            ['a', 'u']
        """
        a = self.law.sample(num, generator, device=device)
        if self.zero_border:
            a = with_zero_border(a)
        return {"a": a, "u": self.solve(a)}

    def solve(self, a: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch n n"]:
        """Return u for any number of a; linear, differentiable, of their type and device.

        Raises:
            TypeError: If `a` is not float32 or float64.
            ValueError: If its shape is wrong or it is not finite.

        Example:
            >>> Helmholtz(9).solve(torch.zeros(2, 9, 9)).shape
            torch.Size([2, 9, 9])
        """
        check_field("a", a, self.grid.shape)
        flat = in_chunks(
            lambda part: solve_dirichlet(part, self.k**2), a.reshape(-1, self.n, self.n)
        )
        return flat.reshape(a.shape)

    def residual(self, fields: Mapping[str, Float[Tensor, "num n n"]]) -> Float[Tensor, " num"]:
        r"""Return $\|\operatorname{Lap}_4 u + k^2 u - a\|_{-1} / \|a\|_{-1}$ for each pair.

        As `Poisson.residual`: fourth-order differences in the dual norm, NaN where a is 0.

        Raises:
            TypeError: If a field is not float32 or float64.
            ValueError: If a name is missing or unknown, a shape wrong or a value not finite.

        References:
            Theory page: Eq. (P.8).

        Example:
            >>> problem = Helmholtz(9)
            >>> problem.residual(problem.sample(3, torch.Generator())).shape
            torch.Size([3])
        """
        a, u = check_named(fields, self.names, self.grid.shape)
        return linear_residual(a, u, self.k**2, dual_norm)

    def strong_residual(
        self, fields: Mapping[str, Float[Tensor, "num n n"]]
    ) -> Float[Tensor, " num"]:
        """Return the same in the plain norm, as `Poisson.strong_residual`.

        Raises:
            TypeError: As `residual`.
            ValueError: As `residual`.

        Example:
            >>> problem = Helmholtz(9)
            >>> problem.strong_residual(problem.sample(3, torch.Generator())).shape
            torch.Size([3])
        """
        a, u = check_named(fields, self.names, self.grid.shape)
        return linear_residual(a, u, self.k**2, l2_norm)


def _check_resonance(n: int, k: float) -> None:
    """Raise if k² is at an eigenvalue, or on different sides of it for the equation and grid."""
    m = torch.arange(1, n - 1, dtype=torch.float64)
    squares = m[:, None] ** 2 + m**2
    true, grid = math.pi**2 * squares, -dirichlet_symbol(n)
    gap = torch.minimum((k**2 - true).abs(), (k**2 - grid).abs()) / true
    worst = int(gap.argmin())
    if float(gap.flatten()[worst]) < _NEAR:
        nearest = int(squares.flatten()[worst])
        raise ValueError(
            f"k² must not be close to an eigenvalue, got k² = {k**2:.6g} within 0.1 % of "
            f"π² · {nearest} = {math.pi**2 * nearest:.6g} (on the grid "
            f"{grid.flatten()[worst]:.6g}); change k"
        )
    if bool(((k**2 > grid) != (k**2 > true)).any()):
        raise ValueError(
            f"n must be large enough to place k² = {k**2:.6g} among the eigenvalues "
            f"π²(m₁² + m₂²), got {n} nodes, where one of them is on the other side; raise n"
        )
