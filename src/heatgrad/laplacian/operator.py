"""The Laplacian as an object: which axes, which boundary, and what can be done with it."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Inexact
from torch import Tensor

from heatgrad.laplacian.boundary import Boundary, check_boundary, check_dims, resolve_dims
from heatgrad.laplacian.bounds import num_active_dims, spectral_radius
from heatgrad.laplacian.eigenbasis import from_eigenbasis, to_eigenbasis
from heatgrad.laplacian.eigenvalues import grid_eigenvalues
from heatgrad.laplacian.solve import solve_shifted
from heatgrad.laplacian.stencil import apply_stencil

__all__ = ["Laplacian"]


@dataclass(frozen=True)
class Laplacian:
    r"""The discrete Laplacian along chosen axes of a tensor, at grid spacing 1.

    $$(\operatorname{Lap} x)_j = \sum_{k \in \text{dims}} x_{j+e_k} - 2 x_j + x_{j-e_k} \tag{L.1}$$

    A symmetric operator with eigenvalues in [-4N, 0] for N diffused axes. It acts on floating
    point (half types included) and complex tensors on any device, and never modifies them.

    Attributes:
        dims: Axes to diffuse: None for all, an int, or a tuple; negative ones count from the end.
            Other axes are a batch.
        boundary: What stands outside the grid, Eq. (L.2): `"neumann"` a copy of the edge,
            `"periodic"` the other end, `"dirichlet"` zero.

    Raises:
        TypeError: If `dims` is of another type.
        ValueError: If `boundary` is unknown or `dims` names an axis twice.

    References:
        Theory page: Eqs. (L.1) to (L.3).

    Example:
        >>> lap = Laplacian(dims=0, boundary="neumann")
        >>> x = torch.tensor([0.0, 0.0, 1.0, 1.0])
        >>> lap(x)
        tensor([ 0.,  1., -1.,  0.])
        >>> smooth = lap.solve(x, shift=1.0, scale=2.0)
        >>> torch.allclose(smooth - 2.0 * lap(smooth), x, atol=1e-6)
        True
    """

    dims: int | tuple[int, ...] | None = None
    boundary: Boundary = "neumann"

    def __post_init__(self) -> None:
        check_dims(self.dims)
        check_boundary(self.boundary)

    def __call__(self, x: Inexact[Tensor, "*shape"]) -> Inexact[Tensor, "*shape"]:
        """Return Lap x, Eq. (L.1); see `apply_stencil`.

        Example:
            >>> Laplacian(dims=-1, boundary="dirichlet")(torch.ones(2, 3))
            tensor([[-1.,  0., -1.],
                    [-1.,  0., -1.]])
        """
        return apply_stencil(x, self.dims, self.boundary)

    def eigenvalues(
        self,
        shape: Sequence[int],
        *,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str | None = None,
    ) -> Float[Tensor, "..."]:
        r"""Return the eigenvalues on a grid, $\Lambda_m = \sum_k \Lambda^{(k)}_{m_k}$, Eq. (L.8).

        Args:
            shape: Shape of the tensors to be diffused, batch axes included.
            dtype: Real floating-point type of the result.
            device: Where the result lies; torch's default if None.

        Returns:
            Values from -4N to 0 [1], shape as `shape` with 1 on every axis that is not diffused: it
            broadcasts against `transform` of a tensor of that shape.

        Raises:
            TypeError: If `dtype` is not a real floating-point type.
            ValueError: If an axis is out of range or named twice, or a size is negative.

        Example:
            >>> Laplacian(dims=1, boundary="dirichlet").eigenvalues((5, 1))
            tensor([[-2.0000]], dtype=torch.float64)
        """
        axes = resolve_dims(self.dims, len(shape))
        return grid_eigenvalues(tuple(shape), axes, self.boundary, dtype=dtype, device=device)

    def transform(self, x: Inexact[Tensor, "*shape"]) -> Inexact[Tensor, "*shape"]:
        r"""Return the coefficients of `x` in the orthonormal eigenbasis.

        DCT-II, unitary DFT or DST-I, Eqs. (L.5) to (L.7): lengths are kept, and
        `transform(lap(x))` is `eigenvalues(x.shape) * transform(x)`.

        Args:
            x: Real or complex tensor [any].

        Returns:
            Coefficients of the same shape. Neumann and Dirichlet: of the type of `x`, half types
            computed in float32. Periodic: complex (complex64 for half types), all n of them in
            the order of `torch.fft.fft`; for even n the Nyquist mode m = n/2 stands once.

        Raises:
            TypeError: If `x` is sparse or of an integer type.
            ValueError: If an axis is out of range or named twice.

        Example:
            >>> lap = Laplacian(boundary="neumann")
            >>> lap.transform(torch.ones(4)).round(decimals=3).abs()
            tensor([2., 0., 0., 0.])
        """
        return to_eigenbasis(x, resolve_dims(self.dims, x.ndim), self.boundary)

    def inverse_transform(self, y: Inexact[Tensor, "*shape"]) -> Inexact[Tensor, "*shape"]:
        """Return the tensor whose `transform` is `y`.

        Args:
            y: Coefficients [any].

        Returns:
            Values of the same shape; with a periodic boundary complex, so take `.real` where the
            original was real.

        Raises:
            TypeError: If `y` is sparse or of an integer type.
            ValueError: If an axis is out of range or named twice.

        Example:
            >>> lap = Laplacian(boundary="periodic")
            >>> x = torch.tensor([3.0, -1.0, 2.0])
            >>> torch.allclose(lap.inverse_transform(lap.transform(x)).real, x)
            True
        """
        return from_eigenbasis(y, resolve_dims(self.dims, y.ndim), self.boundary)

    def solve(
        self, y: Inexact[Tensor, "*shape"], shift: float, scale: float
    ) -> Inexact[Tensor, "*shape"]:
        r"""Return the x with $(\text{shift}\,I - \text{scale}\operatorname{Lap})\,x = y$.

        See `solve_shifted` for the arguments, the errors and the case of shift 0 (L.12).

        Args:
            y: Right-hand side, real or complex [any].
            shift: Coefficient of the identity, finite and not negative [1].
            scale: Coefficient of minus the Laplacian, finite and not negative [1].

        Returns:
            The solution, of the shape, type and device of `y`.

        Raises:
            TypeError: If `y` is sparse or of an integer type.
            ValueError: If a coefficient is negative or not finite, the operator is singular, or
                shift is 0 and `y` has a mean that constants cannot balance.

        Example:
            >>> Laplacian(boundary="dirichlet").solve(torch.tensor([1.0]), shift=0.0, scale=1.0)
            tensor([0.5000])
        """
        return solve_shifted(y, self.dims, self.boundary, shift=shift, scale=scale)

    def num_active_dims(self, shape: Sequence[int]) -> int:
        """Return N for a tensor of this shape: its diffused axes that can move anything.

        Raises:
            ValueError: If an axis is out of range or named twice.

        Example:
            >>> Laplacian(dims=(2, 3)).num_active_dims((16, 8, 3, 1))
            1
        """
        return num_active_dims(self._sizes(shape), self.boundary)

    def spectral_radius(self, shape: Sequence[int]) -> float:
        """Return the largest absolute eigenvalue for a tensor of this shape, Eq. (L.9) [1].

        Raises:
            ValueError: If an axis is out of range or named twice.

        Example:
            >>> Laplacian(boundary="periodic").spectral_radius((2,))
            4.0
        """
        return spectral_radius(self._sizes(shape), self.boundary)

    def _sizes(self, shape: Sequence[int]) -> list[int]:
        return [shape[axis] for axis in resolve_dims(self.dims, len(shape))]
