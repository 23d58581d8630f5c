"""The Navier-Stokes equations on the torus, in vorticity, from a random start."""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from typing import ClassVar, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from heatgrad.laplacian import Boundary
from heatgrad.pde.checks import check_count, check_field, check_named, check_positive
from heatgrad.pde.chunks import in_chunks
from heatgrad.pde.differences import l2_norm
from heatgrad.pde.grid import Grid
from heatgrad.pde.law import GaussianRandomField
from heatgrad.pde.navier_stokes.check import flow_rate, flow_until, time_derivative
from heatgrad.pde.navier_stokes.steps import COURANT_LIMITS, Scheme, Vorticity, advance
from heatgrad.pde.navier_stokes.torus import Dealias, diagonal_forcing, torus_of

__all__ = ["NavierStokes"]


_JUDGE_DT = 0.05  # of the second solver at 64 points a side, shorter on finer grids


@dataclass(frozen=True)
class NavierStokes:
    r"""Vorticity of a forced viscous flow on the unit torus.

    $$w_t + \mathbf v \cdot \nabla w = \nu \operatorname{Lap} w + f, \qquad
    \mathbf v = (\psi_y, -\psi_x), \quad -\operatorname{Lap} \psi = w, \tag{P.20}$$

    with $w_0$ from the periodic law (P.2) with $\alpha = 2.5$, $\tau = 7$, scale $\sqrt2$. Solved
    in Fourier space with the 2/3 rule. The mean of w stays what it is, and moves nothing.

    Attributes:
        n: Points a side, even, at least 4.
        viscosity: $\nu$, not negative [length^2 / time].
        time: At which w1 is taken, positive [time].
        dt: Longest time step; between two snapshots equal steps of at most this [time].
        scheme: `rk4`, `heun` or the published `euler`, see `Scheme`.
        dealias: `full`, or the published `product`, see `Dealias`.
        force: f(x, y), or None for 0.

    Raises:
        TypeError: If n is no whole number.
        ValueError: If an option is out of range.

    References:
        Li et al. (2021), arXiv:2010.08895v3, section 5.3 and appendix A.3.3. Theory page:
        Eqs. (P.2), (P.20) to (P.25).

    Example:
        >>> problem = NavierStokes(16)
        >>> fields = problem.sample(2, torch.Generator().manual_seed(0))
        >>> problem.solve(fields["w0"], times=(0.5, 1.0)).shape
        torch.Size([2, 2, 16, 16])
    """

    n: int = 64
    viscosity: float = 1e-3
    _: KW_ONLY
    time: float = 1.0
    dt: float = 0.05
    scheme: Scheme = "rk4"
    dealias: Dealias = "full"
    force: Callable[[Tensor, Tensor], Tensor] | None = diagonal_forcing
    names: ClassVar[tuple[str, ...]] = ("w0", "w1")
    is_linear: ClassVar[bool] = False
    boundaries: ClassVar[Mapping[str, Boundary]] = {"w0": "periodic", "w1": "periodic"}

    def __post_init__(self) -> None:
        check_count("n", self.n, 4)
        if self.n % 2:
            raise ValueError(f"n must be even, got {self.n}")
        check_positive("viscosity", self.viscosity, zero=True)
        check_positive("time", self.time)
        check_positive("dt", self.dt)
        for name, value, choices in (
            ("scheme", self.scheme, get_args(Scheme)),
            ("dealias", self.dealias, get_args(Dealias)),
        ):
            if value not in choices:
                raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}")

    @classmethod
    def published(cls, n: int = 128) -> "NavierStokes":
        """Return the published solver: explicit Euler with dt = 1e-4, the 2/3 rule on the product.

        Example:
            >>> NavierStokes.published().scheme
            'euler'
        """
        return cls(n, dt=1e-4, scheme="euler", dealias="product")

    @property
    def grid(self) -> Grid:
        """The points."""
        return Grid(self.n, "torus")

    @cached_property
    def law(self) -> GaussianRandomField:
        """The published law of w0."""
        return GaussianRandomField(self.grid, "periodic", alpha=2.5, tau=7.0, scale=math.sqrt(2))

    def sample(
        self, num: int, generator: torch.Generator, *, device: torch.device | str | None = None
    ) -> dict[str, Float[Tensor, "num n n"]]:
        """Return pairs of w0 drawn from the law and w1 solved for, float64.

        Raises:
            ValueError: If `num` is negative.

        Example:
            >>> sorted(NavierStokes(8).sample(1, torch.Generator().manual_seed(0)))
            ['w0', 'w1']
        """
        w0 = self.law.sample(num, generator, device=device)
        return {"w0": w0, "w1": self.solve(w0, (self.time,))[..., 0, :, :]}

    def solve(
        self, w0: Float[Tensor, "*batch n n"], times: Sequence[float] | None = None
    ) -> Float[Tensor, "*batch times n n"]:
        """Return snapshots of the flow from each w0, of its type and device; differentiable.

        Backward passes hold about 2 sqrt(steps) states: blocks of steps are run again.

        Args:
            w0: Vorticity at time 0 [1 / time].
            times: Of the snapshots, increasing, from 0 on; (`time`,) if None [time].

        Returns:
            Shape (..., times, n, n) [1 / time].

        Raises:
            TypeError: If `w0` is not float32 or float64.
            ValueError: If its shape is wrong or it is not finite, the times do not increase or are
                negative, or dt is too long for the speed of the flow.

        Example:
            >>> NavierStokes(8).solve(torch.zeros(3, 8, 8)).shape
            torch.Size([3, 1, 8, 8])
        """
        check_field("w0", w0, self.grid.shape)
        moments = (self.time,) if times is None else tuple(float(time) for time in times)
        if not moments or not all(math.isfinite(time) and time >= 0 for time in moments):
            raise ValueError(f"times must be finite and at least 0, got {moments}")
        if any(after <= before for before, after in itertools.pairwise(moments)):
            raise ValueError(f"times must increase, got {moments}")
        if not w0.numel():
            return w0.new_empty((*w0.shape[:-2], len(moments), *self.grid.shape))
        self._check_speed(w0)
        flat = w0.reshape(-1, self.n, self.n)
        found = in_chunks(lambda part: self._snapshots(part, moments), flat)
        if not bool(found.detach().isfinite().all()):
            raise ValueError(
                f"the flow must stay finite, but it grew without bound; lower dt={self.dt}"
            )
        return found.reshape(*w0.shape[:-2], len(moments), self.n, self.n)

    def residual(self, fields: Mapping[str, Float[Tensor, "num n n"]]) -> Float[Tensor, " num"]:
        r"""Return $\|w_1 - \Phi(w_0)\| / \|\Phi(w_0)\|$, where a second solver gives $\Phi$.

        From w0 to w1 is too far for a difference in time, so w0 is integrated in another
        discretisation: products in flux form padded by 3/2, exponential time differencing, in
        steps of at most `dt`.

        Raises:
            TypeError: If a field is not float32 or float64.
            ValueError: If a name is missing or unknown, a shape wrong or a value not finite.

        References:
            Theory page: Eqs. (P.26), (P.27), (P.29).

        Example:
            >>> problem = NavierStokes(32)
            >>> fields = problem.sample(1, torch.Generator().manual_seed(0))
            >>> bool(problem.residual(fields) < 1e-3)
            True
        """
        w0, w1 = check_named(fields, self.names, self.grid.shape)
        if not w0.numel():
            return w0.new_empty(0)
        shortest = min(self.dt, _JUDGE_DT * 64 / self.n)
        steps = math.ceil(self.time / shortest)
        force = self._force(w0)
        truth = in_chunks(
            lambda part: flow_until(part, self.viscosity, force, self.time, steps), w0
        )
        return l2_norm(w1 - truth) / l2_norm(truth)

    def snapshot_residual(
        self, snapshots: Float[Tensor, "num times n n"], times: Sequence[float]
    ) -> Float[Tensor, " num"]:
        r"""Return the relative residual of the equation itself over a series of snapshots.

        $$\Bigl(\sum_t \|w_t - R(w)\|^2 \Big/ \sum_t \|R(w)\|^2\Bigr)^{1/2}, \qquad
        R(w) = -\nabla\cdot(\mathbf v w) + \nu \operatorname{Lap} w + f, \tag{P.28}$$

        with $w_t$ from the nearest seven snapshots, at their true times: of sixth order in their
        distance, so it judges them only as far as they lie close.

        Args:
            snapshots: Vorticity at each time.
            times: At least 2, increasing [time].

        Raises:
            TypeError: If `snapshots` is not float32 or float64.
            ValueError: If a shape is wrong, a value not finite, or the times do not increase.

        Example:
            >>> problem = NavierStokes(8)
            >>> times = (0.1, 0.2, 0.3)
            >>> w = problem.solve(problem.law.sample(2, torch.Generator()), times)
            >>> problem.snapshot_residual(w, times).shape
            torch.Size([2])
        """
        check_field("snapshots", snapshots, self.grid.shape)
        if snapshots.ndim != 4:
            raise ValueError(
                f"snapshots must have shape (num, times, n, n), got {tuple(snapshots.shape)}"
            )
        rate = flow_rate(snapshots, self.viscosity, self._force(snapshots))
        defect = time_derivative(snapshots, times) - rate
        return l2_norm(defect.flatten(1, 2)) / l2_norm(rate.flatten(1, 2))

    def _force(self, like: Tensor) -> Tensor:
        points = self.grid.points()
        if self.force is None:
            return like.new_zeros(self.grid.shape)
        return self.force(points[..., 0], points[..., 1]).to(like)

    def _snapshots(self, w0: Tensor, times: Sequence[float]) -> Tensor:
        torus = torus_of(self.n, w0.dtype, w0.device)
        equation = Vorticity(torus, self.viscosity, torch.fft.rfft2(self._force(w0)), self.dealias)
        spectrum, now, found = torch.fft.rfft2(w0), 0.0, []
        for time in times:
            steps = math.ceil((time - now) / self.dt - 1e-9)
            if steps:
                step = equation.stepper(self.scheme, (time - now) / steps)
                spectrum = advance(step, spectrum, steps)
            found.append(torch.fft.irfft2(spectrum, s=self.grid.shape))
            now = time
        return torch.stack(found, 1)

    def _check_speed(self, w0: Tensor) -> None:
        """Raise if dt is too long for the fastest point of the start."""
        torus = torus_of(self.n, w0.dtype, w0.device)
        with torch.no_grad():
            velocity = torch.stack(torus.velocity(torch.fft.rfft2(w0.detach())))
            speed = float(torch.fft.irfft2(velocity, s=self.grid.shape).abs().sum(0).max())
        limit = COURANT_LIMITS[self.scheme] / max(speed * 2 * math.pi * self.n / 3, 1e-300)
        if min(self.dt, self.time) > limit:
            raise ValueError(
                f"dt must be at most {limit:.3g} for scheme {self.scheme} at the speed "
                f"{speed:.3g} of this flow, got {self.dt}; lower dt"
            )
