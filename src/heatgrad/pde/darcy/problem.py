"""Flow through a random medium of two conductivities."""

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from typing import ClassVar, get_args

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

from heatgrad.laplacian import Boundary
from heatgrad.pde.checks import check_count, check_field, check_named, check_positive
from heatgrad.pde.chunks import in_chunks
from heatgrad.pde.darcy.conjugate import solve_faces
from heatgrad.pde.darcy.faces import FaceMean, face_means
from heatgrad.pde.darcy.residual import element_form, energy_dual_norm
from heatgrad.pde.darcy.spline import spline_between
from heatgrad.pde.dirichlet import inside, with_zero_border
from heatgrad.pde.grid import Grid, Kind
from heatgrad.pde.law import GaussianRandomField
from heatgrad.pde.speed import warn_if_slow

__all__ = ["Darcy"]

_RTOL = {torch.float64: 1e-12, torch.float32: 1e-6}


@dataclass(frozen=True)
class Darcy:
    r"""-div(a grad u) = 1 on the unit square, u = 0 on its border, a of two values.

    $$-\nabla \cdot (a \nabla u) = 1, \qquad u|_\partial = 0, \qquad a = \begin{cases}
    12 & g \ge 0 \\ 3 & g < 0 \end{cases} \tag{P.10}$$

    with g from the law (P.1) with $\alpha = 2$, $\tau = 3$. Solved by 5-point finite volumes with
    conjugate gradients that the constant-coefficient solve preconditions.

    Attributes:
        n: Points a side, at least 6.
        high: Value where g is not negative, positive.
        low: Value elsewhere, positive.
        face_mean: Conductivity between two nodes: `arithmetic`, as published, or `harmonic`.
        placement: `nodes`: a and u at nodes. `cells`: at cell centres, as published; then
            splines carry a to the nodes and u back (P.14). Where they overshoot, a is cut at its
            least and largest value, unlike the published: there half of the media have faces of
            negative conductivity.

    Raises:
        TypeError: If n is no whole number.
        ValueError: If an option is out of range.

    Warns:
        HeatgradWarning: If the transforms of this n are slow, with the nearest fast n.

    References:
        Li et al. (2021), arXiv:2010.08895v3, section 5.2 and appendix A.3.2. Theory page:
        Eqs. (P.10) to (P.16).

    Example:
        >>> problem = Darcy(17)
        >>> fields = problem.sample(2, torch.Generator().manual_seed(0))
        >>> fields["a"].unique().tolist(), bool((fields["u"] >= 0).all())
        ([3.0, 12.0], True)
    """

    n: int = 65
    _: KW_ONLY
    high: float = 12.0
    low: float = 3.0
    face_mean: FaceMean = "arithmetic"
    placement: Kind = "nodes"
    names: ClassVar[tuple[str, ...]] = ("a", "u")
    is_linear: ClassVar[bool] = False
    boundaries: ClassVar[Mapping[str, Boundary]] = {"a": "neumann", "u": "dirichlet"}

    def __post_init__(self) -> None:
        check_count("n", self.n, 6)
        check_positive("high", self.high)
        check_positive("low", self.low)
        for name, value, choices in (
            ("face_mean", self.face_mean, get_args(FaceMean)),
            ("placement", self.placement, ("nodes", "cells")),
        ):
            if value not in choices:
                raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}")
        warn_if_slow(self.n)

    @classmethod
    def published(cls, n: int = 128) -> "Darcy":
        """Return the published problem: values at cell centres, splines, arithmetic faces.

        Warns:
            HeatgradWarning: If n is a slow size, as 128 is.

        Example:
            >>> Darcy.published(65).placement
            'cells'
        """
        return cls(n, placement="cells")

    @property
    def grid(self) -> Grid:
        """The points."""
        return Grid(self.n, self.placement)

    @cached_property
    def law(self) -> GaussianRandomField:
        """The law of the field g that decides between the two values."""
        return GaussianRandomField(self.grid, "neumann", alpha=2.0, tau=3.0)

    def medium(self, g: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Return the conductivity of a field g: `high` where it is not negative, else `low`.

        Example:
            >>> Darcy(9).medium(torch.tensor([[-0.1, 0.0]])).tolist()
            [[3.0, 12.0]]
        """
        return torch.where(g >= 0, torch.full_like(g, self.high), self.low)

    def nearest_medium(self, a: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Return the medium of two values nearest to any field a; halfway goes to `high`.

        Example:
            >>> Darcy(9).nearest_medium(torch.tensor([[7.4, 7.5]])).tolist()
            [[3.0, 12.0]]
        """
        middle = (self.high + self.low) / 2
        return self.medium(a - middle if self.high >= self.low else middle - a)

    def wrong_share(
        self, found: Float[Tensor, "*batch n m"], truth: Float[Tensor, "*batch n m"]
    ) -> Float[Tensor, "*batch"]:
        """Return the share of points at which the nearest media differ, one number a field.

        Example:
            >>> Darcy(9).wrong_share(torch.tensor([[8.0, 2.0]]), torch.tensor([[12.0, 12.0]]))
            tensor(0.5000)
        """
        wrong = self.nearest_medium(found) != self.nearest_medium(truth)
        return wrong.to(found.dtype).mean((-2, -1))

    def sample(
        self, num: int, generator: torch.Generator, *, device: torch.device | str | None = None
    ) -> dict[str, Float[Tensor, "num n n"]]:
        """Return pairs of a medium a drawn from the law and u solved for, float64.

        Raises:
            ValueError: If `num` is negative.

        Example:
            >>> sorted(Darcy(9).sample(1, torch.Generator().manual_seed(0)))
            ['a', 'u']
        """
        a = self.medium(self.law.sample(num, generator, device=device))
        return {"a": a, "u": self.solve(a)}

    def solve(
        self, a: Float[Tensor, "*batch n n"], source: Float[Tensor, "*batch n n"] | float = 1.0
    ) -> Float[Tensor, "*batch n n"]:
        """Return u for any number of media, of their type and device; differentiable by adjoints.

        To a relative residual of 1e-12 in float64, 1e-6 in float32.

        Args:
            a: Conductivities, positive at the nodes.
            source: The right-hand side, a number or one that broadcasts against `a`.

        Raises:
            TypeError: If `a` is not float32 or float64.
            ValueError: If a shape is wrong, or `a` not finite or not positive at every node.
            RuntimeError: If the iterations do not converge, as where conductivities differ by
                orders of magnitude.

        Example:
            >>> Darcy(9).solve(torch.ones(2, 9, 9)).shape
            torch.Size([2, 9, 9])
        """
        check_field("a", a, self.grid.shape)
        if not bool((a.detach() > 0).all()):
            raise ValueError(
                f"a must be positive, got {float(a.detach().min()):.3g}; use nearest_medium(a)"
            )
        f = torch.as_tensor(source, dtype=a.dtype, device=a.device).expand(a.shape)
        check_field("source", f, self.grid.shape)
        if self.placement == "cells":
            f = spline_between(f, "cells", "nodes")
        f = inside(f) / (self.n - 1) ** 2
        u = pad(self._solve_nodes(self._at_nodes(a), f), (1, 1, 1, 1))
        return u if self.placement == "nodes" else spline_between(u, "nodes", "cells")

    def residual(self, fields: Mapping[str, Float[Tensor, "num n n"]]) -> Float[Tensor, " num"]:
        r"""Return the weak residual by bilinear elements, relative to that of u = 0.

        $$\|r\|_* / \|b\|_*, \qquad r_i = \int a \nabla u \cdot \nabla \varphi_i - b_i, \quad
        b_i = \int \varphi_i, \tag{P.15}$$

        in the norm (P.16). At jumps of a no strong form exists, and two discretisations differ:
        see the theory page for what it is on true pairs. With `placement="cells"` both fields go
        to the nodes by splines first, and u on the border is then taken for 0; else it is the
        larger of two: with u on the border as it is, and as 0.

        Raises:
            TypeError: If a field is not float32 or float64.
            ValueError: If a name is missing or unknown, a shape wrong or a value not finite.

        Example:
            >>> problem = Darcy(33)
            >>> fields = problem.sample(1, torch.Generator().manual_seed(0))
            >>> bool(problem.residual(fields) < 0.1)
            True
        """
        a, u = check_named(fields, self.names, self.grid.shape)
        if self.placement == "cells":
            a, u = self._at_nodes(a), spline_between(u, "cells", "nodes")
        load = torch.full_like(inside(a), 1 / (self.n - 1) ** 2)
        found = energy_dual_norm(element_form(a, with_zero_border(u)) - load)
        if self.placement == "nodes":
            found = torch.maximum(found, energy_dual_norm(element_form(a, u) - load))
        return found / energy_dual_norm(load)

    def _at_nodes(self, a: Tensor) -> Tensor:
        """Return the conductivity at nodes, without the spline's overshoots."""
        if self.placement == "nodes":
            return a
        least, most = a.amin((-2, -1), keepdim=True), a.amax((-2, -1), keepdim=True)
        return spline_between(a, "cells", "nodes").clamp(least, most)

    def _solve_nodes(self, a: Tensor, f: Tensor) -> Tensor:
        """Solve on the inner nodes."""
        m = self.n - 2

        def solve(one: Tensor, right: Tensor) -> Tensor:
            return solve_faces(*face_means(one, self.face_mean), right, rtol=_RTOL[a.dtype])

        flat = in_chunks(solve, a.reshape(-1, self.n, self.n), f.reshape(-1, m, m))
        return flat.reshape(f.shape)
