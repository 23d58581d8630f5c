"""The Poisson equation with a random right-hand side."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from heatgrad.laplacian import Boundary
from heatgrad.pde.checks import check_count, check_field, check_named
from heatgrad.pde.chunks import in_chunks
from heatgrad.pde.differences import dual_norm, l2_norm, linear_residual
from heatgrad.pde.dirichlet import solve_dirichlet
from heatgrad.pde.grid import Grid
from heatgrad.pde.law import GaussianRandomField
from heatgrad.pde.speed import warn_if_slow

__all__ = ["Poisson"]


@dataclass(frozen=True)
class Poisson:
    r"""Lap u = a on the unit square, u = 0 on its border, a Gaussian.

    $$\operatorname{Lap} u = a, \qquad u|_{\partial} = 0, \qquad a \sim \text{(P.1) with }
    \alpha = 2,\ \tau = 3. \tag{P.3}$$

    Solved by 5-point differences and two sine transforms. The default n = 128 is the published
    grid; its transforms are slow, n = 129 or 65 are fast. Border values of a do not matter.

    Attributes:
        n: Nodes a side, border included, at least 6.

    Raises:
        ValueError: If n is too small.

    Warns:
        HeatgradWarning: If the transforms of this n are slow, with the nearest fast n.

    References:
        Theory page: Eqs. (P.3), (P.4). Huang et al. (2024), arXiv:2406.17763 (DiffusionPDE).

    Example:
        >>> problem = Poisson(33)
        >>> fields = problem.sample(2, torch.Generator().manual_seed(0))
        >>> fields["u"].shape, bool((problem.residual(fields) < 0.01).all())
        (torch.Size([2, 33, 33]), True)
    """

    n: int = 128
    names: ClassVar[tuple[str, ...]] = ("a", "u")
    is_linear: ClassVar[bool] = True
    boundaries: ClassVar[Mapping[str, Boundary]] = {"a": "neumann", "u": "dirichlet"}

    def __post_init__(self) -> None:
        check_count("n", self.n, 6)
        warn_if_slow(self.n)

    @property
    def grid(self) -> Grid:
        """The nodes."""
        return Grid(self.n, "nodes")

    @cached_property
    def law(self) -> GaussianRandomField:
        """The published law of a."""
        return GaussianRandomField(self.grid, "neumann", alpha=2.0, tau=3.0)

    def sample(
        self, num: int, generator: torch.Generator, *, device: torch.device | str | None = None
    ) -> dict[str, Float[Tensor, "num n n"]]:
        """Return pairs of a drawn from the law and u solved for, float64.

        Raises:
            ValueError: If `num` is negative.

        Example:
            >>> sorted(Poisson(9).sample(1, torch.Generator().manual_seed(0)))
            ['a', 'u']
        """
        a = self.law.sample(num, generator, device=device)
        return {"a": a, "u": self.solve(a)}

    def solve(self, a: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch n n"]:
        """Return u for any number of a; linear, differentiable, of their type and device.

        Raises:
            TypeError: If `a` is not float32 or float64.
            ValueError: If its shape is wrong or it is not finite.

        Example:
            >>> Poisson(9).solve(torch.zeros(2, 9, 9)).shape
            torch.Size([2, 9, 9])
        """
        check_field("a", a, self.grid.shape)
        flat = in_chunks(lambda part: solve_dirichlet(part), a.reshape(-1, self.n, self.n))
        return flat.reshape(a.shape)

    def residual(self, fields: Mapping[str, Float[Tensor, "num n n"]]) -> Float[Tensor, " num"]:
        r"""Return $\|\operatorname{Lap}_4 u - a\|_{-1} / \|a\|_{-1}$ for each pair.

        Fourth-order differences (P.5), which did not solve it, in the dual norm (P.7): the relative
        error of u in the energy norm, given a. The larger of two: with u on the border as it is,
        and as 0, so a wrong border is seen. NaN where a is 0.

        Raises:
            TypeError: If a field is not float32 or float64.
            ValueError: If a name is missing or unknown, a shape wrong or a value not finite.

        References:
            Theory page: Eq. (P.8).

        Example:
            >>> problem = Poisson(9)
            >>> fields = problem.sample(1, torch.Generator().manual_seed(0))
            >>> shrunk = {"a": 0.1 * fields["a"], "u": 0.1 * fields["u"]}
            >>> torch.allclose(problem.residual(shrunk), problem.residual(fields))
            True
        """
        a, u = check_named(fields, self.names, self.grid.shape)
        return linear_residual(a, u, 0.0, dual_norm)

    def strong_residual(
        self, fields: Mapping[str, Float[Tensor, "num n n"]]
    ) -> Float[Tensor, " num"]:
        r"""Return the same in the plain norm, $\|\operatorname{Lap}_4 u - a\| / \|a\|$.

        It weighs fine scales far more: on rough a it falls with h only, not with its square.

        Raises:
            TypeError: As `residual`.
            ValueError: As `residual`.

        Example:
            >>> problem = Poisson(9)
            >>> problem.strong_residual(problem.sample(1, torch.Generator())).shape
            torch.Size([1])
        """
        a, u = check_named(fields, self.names, self.grid.shape)
        return linear_residual(a, u, 0.0, l2_norm)
