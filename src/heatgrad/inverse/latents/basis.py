"""Real orthonormal modes of a field, by its boundary condition."""

from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

from heatgrad.inverse.latents.truncation import Square, Truncation
from heatgrad.laplacian import Boundary, Laplacian, check_boundary, dst1, idct2
from heatgrad.pde.grid import Grid

__all__ = [
    "Basis",
    "axis_functions",
    "from_modes",
    "in_mode_order",
    "num_modes",
    "to_modes",
    "wavenumbers",
]

_DENSE = 256  # points a side up to which products with small matrices are faster than FFTs

_KINDS = {"neumann": ("nodes", "cells"), "dirichlet": ("nodes",), "periodic": ("torus",)}


@dataclass(frozen=True)
class Basis:
    r"""The modes that stand for a field: which functions, and which of them.

    The functions follow the boundary condition, Eq. (I.1): `neumann` the DCT-II of all values;
    `dirichlet` the DST-I of the inner nodes, the border being 0; `periodic` the Hartley functions
    $\cos\theta + \sin\theta$, $\theta = 2 \pi k \cdot x$.

    Attributes:
        boundary: Of the field.
        truncation: Which modes; all of them if None.

    Raises:
        ValueError: If the boundary is unknown.

    References:
        Theory page: Eq. (I.1).

    Example:
        >>> Basis("neumann", Square(8)).truncation.size
        8
    """

    boundary: Boundary
    truncation: Truncation | None = None

    def __post_init__(self) -> None:
        check_boundary(self.boundary)

    def on(self, grid: Grid) -> Truncation:
        """Return which modes of a grid are kept.

        Raises:
            ValueError: If the boundary does not fit the grid, or it has too few modes.

        Example:
            >>> Basis("dirichlet").on(Grid(9))
            Square(m=7)
        """
        kinds = _KINDS[self.boundary]
        if grid.kind not in kinds:
            raise ValueError(
                f"a {self.boundary} basis needs a grid of {' or '.join(kinds)}, got {grid.kind}"
            )
        count = num_modes(grid, self.boundary)
        kept = Square(count) if self.truncation is None else self.truncation
        if kept.needed > count:
            raise ValueError(
                f"{kept} needs {kept.needed} modes a side, and a {self.boundary} field on "
                f"{grid.n} points has {count}; keep fewer, or use a finer grid"
            )
        return kept


def num_modes(grid: Grid, boundary: Boundary) -> int:
    """Return how many modes a side a field has: n, with a zero border n - 2.

    Example:
        >>> num_modes(Grid(128), "dirichlet")
        126
    """
    return grid.n - 2 if boundary == "dirichlet" else grid.n


def wavenumbers(count: int, boundary: Boundary) -> Float[Tensor, " count"]:
    """Return the wavenumber of each mode of one axis, of low frequency first, float64.

    `neumann` 0, 1, 2, ...; `dirichlet` 1, 2, 3, ..., both in half-periods; `periodic` 0, 1, -1, 2,
    -2, ... in periods, for an even count with the Nyquist mode count / 2 last, once.

    Example:
        >>> wavenumbers(6, "periodic").tolist()
        [0.0, 1.0, -1.0, 2.0, -2.0, 3.0]
    """
    k = torch.arange(count, dtype=torch.float64)
    if boundary == "periodic":
        return torch.where(k % 2 == 1, (k + 1) / 2, -k / 2) + 0.0
    return k + 1 if boundary == "dirichlet" else k


def to_modes(
    field: Float[Tensor, "*batch n n"], boundary: Boundary, *, count: int | None = None
) -> Float[Tensor, "*batch modes modes"]:
    r"""Return the coefficients of fields in the real orthonormal basis, of low frequency first.

    $$c_k = \sum_x \phi_k(x) f(x), \qquad \sum_x \phi_k(x) \phi_l(x) = \delta_{kl}. \tag{I.1}$$

    Periodic: $\phi_k(x) = (\cos\theta + \sin\theta) / n$ with $\theta = 2 \pi k \cdot x$, so that
    $c_k = \operatorname{Re} \hat f_k - \operatorname{Im} \hat f_k$ of the unitary DFT: real, and of
    variance $E|\hat f_k|^2$ and uncorrelated for every stationary law, the Nyquist modes included.

    Args:
        field: Values; with `dirichlet` those on the border are not looked at.
        boundary: Which basis.
        count: Modes a side that are wanted, the lowest; all if None.

    Returns:
        Of the type and device of the fields.

    References:
        Bracewell (1983), J. Opt. Soc. Am. 73, 1832. Theory page: Eq. (I.1).

    Example:
        >>> to_modes(torch.ones(4, 4), "neumann")[0, 0].item()
        4.0
    """
    n = field.shape[-1]
    if boundary != "periodic" and n <= _DENSE:
        line = _matrix(n, boundary).to(field)[:, :count]
        return line.T @ field @ line
    if boundary == "dirichlet":
        field = field[..., 1:-1, 1:-1]
    modes = Laplacian(dims=(-2, -1), boundary=boundary).transform(field)
    if boundary == "periodic":
        modes = in_mode_order(modes.real - modes.imag)
    return modes[..., :count, :count]


def from_modes(
    modes: Float[Tensor, "*batch modes modes"], boundary: Boundary, *, count: int | None = None
) -> Float[Tensor, "*batch n n"]:
    """Return the fields that have these coefficients: the transpose of `to_modes`.

    FFTs, O(n² log n) a field; up to 256 points a side products with the n x modes matrix of one
    axis, which are faster there.

    Args:
        modes: Of low frequency first.
        boundary: Which basis.
        count: Modes a side that a field has, those beyond the given ones being 0; as many as are
            given if None.

    Example:
        >>> x = torch.randn(2, 5, 5, generator=torch.Generator().manual_seed(0))
        >>> torch.allclose(from_modes(to_modes(x, "periodic"), "periodic"), x, atol=1e-6)
        True
    """
    kept = modes.shape[-1]
    count = kept if count is None else count
    n = count + 2 if boundary == "dirichlet" else count
    if boundary != "periodic" and n <= _DENSE:
        line = _matrix(n, boundary).to(modes)[:, :kept]
        return line @ modes @ line.T
    modes = pad(modes, (0, count - kept, 0, count - kept))
    lap = Laplacian(dims=(-2, -1), boundary=boundary)
    if boundary == "periodic":  # the Hartley transform is its own inverse
        order = _positions(modes.shape[-1]).to(modes.device)
        both = lap.transform(modes[..., order, :][..., order])
        return both.real - both.imag
    field = lap.inverse_transform(modes)
    return pad(field, (1, 1, 1, 1)) if boundary == "dirichlet" else field


def axis_functions(n: int, boundary: Boundary) -> Float[Tensor, "n modes"]:
    """Return the basis functions of one axis of n points, one a column: cosines or sines.

    Those of a periodic axis are no products of functions of one axis.

    Raises:
        ValueError: If the boundary is periodic.

    Example:
        >>> axis_functions(3, "dirichlet").tolist()
        [[0.0], [1.0], [0.0]]
    """
    if boundary == "periodic":
        raise ValueError("boundary must be neumann or dirichlet, got 'periodic'")
    if boundary == "neumann":
        return idct2(torch.eye(n, dtype=torch.float64), 0)
    return pad(dst1(torch.eye(n - 2, dtype=torch.float64), 0), (0, 0, 1, 1))


@lru_cache(maxsize=16)
def _matrix(n: int, boundary: Boundary) -> Tensor:
    return axis_functions(n, boundary)


def in_mode_order(modes: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch n n"]:
    """Return numbers that stand in the order of `torch.fft.fft` in that of `wavenumbers`.

    Example:
        >>> in_mode_order(torch.fft.fftfreq(3, 1 / 3).expand(3, 3))[0].tolist()
        [0.0, 1.0, -1.0]
    """
    order = _order(modes.shape[-1]).to(modes.device)
    return modes[..., order, :][..., order]


@lru_cache(maxsize=16)
def _order(n: int) -> Tensor:
    """Return the place in the order of `torch.fft.fft` of each mode."""
    return wavenumbers(n, "periodic").long() % n


@lru_cache(maxsize=16)
def _positions(n: int) -> Tensor:
    """Return the place among the modes of each one of `torch.fft.fft`."""
    return _order(n).argsort()
