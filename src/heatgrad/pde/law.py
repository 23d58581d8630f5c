"""Gaussian random fields with a spectrum of Matern type, on the eigenbasis of the Laplacian."""

import math
from dataclasses import KW_ONLY, dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from heatgrad.laplacian import Boundary, Laplacian, check_boundary
from heatgrad.pde.checks import check_count, check_positive
from heatgrad.pde.grid import Grid

__all__ = ["GaussianRandomField"]

_KINDS = {
    "neumann": ("nodes", "cells"),
    "dirichlet": ("nodes",),
    "periodic": ("torus",),
}


@dataclass(frozen=True)
class GaussianRandomField:
    r"""A zero-mean Gaussian field whose coefficients in the orthonormal basis are independent.

    $$a = \sum_k s_k \xi_k \phi_k, \qquad s_k = c\, N\, \tau^{\alpha-1}
    (\lambda_k + \tau^2)^{-\alpha/2}, \qquad \xi_k \sim N(0, 1), \tag{P.1}$$

    with the *continuous* symbol $\lambda_k = \pi^2 |k|^2$ (`neumann`, k from 0; `dirichlet`, k
    from 1) or $4 \pi^2 |k|^2$ (`periodic`, Eq. P.2) on the basis of `heatgrad.laplacian`: DCT-II,
    DST-I, unitary DFT. The factor N, the points a side, makes the law of the field the same on
    every grid: the published `S = 128` on 128 x 128 points is scale 1.

    Neumann on `nodes`: the DCT-II of n values is used as it is, as published, so its cosines are
    those of n cell centres, shown at n nodes. Dirichlet: the basis lives on the n - 2 inner nodes,
    N = n - 1, and the border is 0. Periodic: $s_k$ is the root of $E|\hat a_k|^2$ of the unitary
    coefficients; modes k and -k are conjugate, and for even n the Nyquist modes have |k| = n/2 and
    are real where they are their own conjugate, with the full variance.

    Attributes:
        grid: Where the values stand.
        boundary: Which basis.
        alpha: Exponent of the spectrum, above 1 for fields of finite variance [1].
        tau: Inverse length below which the spectrum is flat, positive [1 / length].
        scale: c, not negative [field].
        zero_mean: Whether the constant mode is left out (no matter with `dirichlet`).

    Raises:
        ValueError: If an option is out of range or the boundary does not fit the grid.

    References:
        Theory page: Eqs. (P.1), (P.2).

    Example:
        >>> law = GaussianRandomField(Grid(8, "cells"), "neumann", alpha=2.0, tau=3.0)
        >>> law.sample(5, torch.Generator().manual_seed(0)).shape
        torch.Size([5, 8, 8])
    """

    grid: Grid
    boundary: Boundary
    _: KW_ONLY
    alpha: float = 2.0
    tau: float = 3.0
    scale: float = 1.0
    zero_mean: bool = True

    def __post_init__(self) -> None:
        check_boundary(self.boundary)
        kinds = _KINDS[self.boundary]
        if self.grid.kind not in kinds:
            raise ValueError(
                f"a {self.boundary} field must stand on a grid of {' or '.join(kinds)}, "
                f"got {self.grid.kind}"
            )
        if self.boundary == "dirichlet":
            check_count("n of a dirichlet field", self.grid.n, 3)
        if not (self.alpha > 1 and math.isfinite(self.alpha)):
            raise ValueError(
                f"alpha must be finite and above 1, got {self.alpha}; at 1 the field of a fine "
                f"grid has infinite variance"
            )
        check_positive("tau", self.tau)
        check_positive("scale", self.scale, zero=True)

    @cached_property
    def std(self) -> Float[Tensor, "m m"]:
        """Standard deviations of the coefficients in the order of `Laplacian(...).transform`.

        Shape (n, n); with `dirichlet` (n - 2, n - 2), of the inner nodes. Float64, on the CPU.

        Example:
            >>> law = GaussianRandomField(Grid(4, "torus"), "periodic", alpha=2.0, tau=1.0)
            >>> law.std[0, 0].item(), bool(law.std[1, 0] == law.std[3, 0])
            (0.0, True)
        """
        k = self._wavenumbers()
        unit = 2 * math.pi if self.boundary == "periodic" else math.pi
        symbol = unit**2 * (k[:, None] ** 2 + k[None, :] ** 2)
        gain = self.scale * self._size * self.tau ** (self.alpha - 1)
        std: Tensor = gain * (symbol + self.tau**2) ** (-self.alpha / 2)  # Eq. (P.1)
        if self.zero_mean and self.boundary != "dirichlet":
            std[0, 0] = 0.0
        return std

    def sample(
        self,
        num: int,
        generator: torch.Generator,
        *,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str | None = None,
    ) -> Float[Tensor, "num n n"]:
        """Return independent draws; noise is drawn in float64 on the CPU, then moved.

        Args:
            num: How many, at least 0.
            generator: A generator of the CPU.
            dtype: Floating-point type of the result.
            device: Where the result lies; the CPU if None.

        Returns:
            Values, shape (num, n, n) [field].

        Raises:
            ValueError: If `num` is negative.

        Example:
            >>> law = GaussianRandomField(Grid(5), "dirichlet", alpha=2.0, tau=1.0)
            >>> law.sample(1, torch.Generator().manual_seed(0))[0, 0].tolist()
            [0.0, 0.0, 0.0, 0.0, 0.0]
        """
        check_count("num", num, 0)
        m = self.std.shape[0]
        xi = torch.randn((num, m, m), generator=generator, dtype=torch.float64).to(device)
        lap = Laplacian(dims=(-2, -1), boundary=self.boundary)
        std = self.std.to(device)
        if self.boundary == "periodic":  # white noise has unit E|.|^2 in every mode, Nyquist's too
            colored: Tensor = lap.inverse_transform(std * lap.transform(xi)).real
            return colored.to(dtype)
        values = lap.inverse_transform(std * xi).to(dtype)
        return torch.nn.functional.pad(values, (1, 1, 1, 1)) if m < self.grid.n else values

    def covariance(self, points: Float[Tensor, "points 2"]) -> Float[Tensor, "points points"]:
        """Return the covariance of the values at points of the square, grid points or not.

        The sum over all modes, n^2 numbers a point. Between grid points the basis functions
        themselves are taken (of the Nyquist mode the cosine), not an interpolation.

        Args:
            points: x and y of each, in the unit square [length].

        Returns:
            Symmetric matrix [field^2], float64.

        Raises:
            ValueError: If `points` has another shape or leaves the square.

        Example:
            >>> law = GaussianRandomField(Grid(9), "dirichlet", alpha=2.0, tau=1.0)
            >>> bool(law.covariance(torch.tensor([[0.0, 0.3]]).double()).abs() < 1e-20)
            True
        """
        if points.ndim != 2 or points.shape[-1] != 2:
            raise ValueError(f"points must have shape (num, 2), got {tuple(points.shape)}")
        if not bool(((points >= 0) & (points <= 1)).all()):
            raise ValueError("points must lie in the unit square, got one outside or NaN")
        x = points.double()
        std = self.std.to(x.device)
        one, two = self._functions(x[:, 0]), self._functions(x[:, 1])
        weighted = (one[:, :, None] * two[:, None, :] * std).flatten(1)
        covariance: Tensor = (weighted @ weighted.mH).real
        return covariance

    @property
    def _size(self) -> int:
        return self.grid.n - 1 if self.boundary == "dirichlet" else self.grid.n

    def _wavenumbers(self) -> Float[Tensor, " m"]:
        n = self.grid.n
        if self.boundary == "periodic":
            k: Tensor = torch.fft.fftfreq(n, 1 / n, dtype=torch.float64)
            return k
        if self.boundary == "dirichlet":
            return torch.arange(1, n - 1, dtype=torch.float64)
        return torch.arange(n, dtype=torch.float64)

    def _functions(self, x: Tensor) -> Tensor:
        """Return the orthonormal basis functions of one axis at coordinates x, (points, m)."""
        n, k = self.grid.n, self._wavenumbers().to(x.device)
        if self.boundary == "periodic":
            return torch.exp(2j * math.pi * x[:, None] * k) / math.sqrt(n)
        if self.boundary == "dirichlet":
            return math.sqrt(2 / (n - 1)) * torch.sin(math.pi * x[:, None] * k)
        place = (x * (n - 1) + 0.5) / n if self.grid.kind == "nodes" else x
        norm = torch.full_like(k, 2 / n)
        norm[0] = 1 / n
        return norm.sqrt() * torch.cos(math.pi * place[:, None] * k)
