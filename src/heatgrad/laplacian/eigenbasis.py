"""The eigenbasis of the Laplacian along several axes: one transform per boundary condition."""

import torch
from jaxtyping import Inexact
from torch import Tensor

from heatgrad.laplacian.boundary import Boundary
from heatgrad.laplacian.precision import working_dtype
from heatgrad.laplacian.transforms import dct2, dst1, idct2

__all__ = ["from_eigenbasis", "to_eigenbasis"]


def to_eigenbasis(
    x: Inexact[Tensor, "*shape"], axes: tuple[int, ...], boundary: Boundary
) -> Inexact[Tensor, "*shape"]:
    """Return the coefficients of `x` in the eigenbasis of the Laplacian along `axes`.

    Args:
        x: Real or complex tensor [any].
        axes: Non-negative axes, as `resolve_dims` returns them.
        boundary: `neumann`: DCT-II; `periodic`: unitary DFT; `dirichlet`: DST-I.

    Returns:
        Coefficients of the same shape. Periodic ones are complex (complex64 for half types) and
        stand in the order of `torch.fft.fft`, all n of them: for even n the Nyquist mode m = n/2
        appears once, and is real if `x` is real and has one axis.

    Raises:
        TypeError: If `x` is sparse or of an integer type.

    References:
        Theory page: Eqs. (L.5) to (L.7).

    Example:
        >>> x = torch.tensor([[1.0, 1.0], [1.0, 1.0]])
        >>> to_eigenbasis(x, (0, 1), "neumann").round(decimals=3).abs()
        tensor([[2., 0.],
                [0., 0.]])
    """
    working = x.to(working_dtype(x))
    if boundary == "periodic":
        spectrum = working + 0j  # complex, whatever x is
        return torch.fft.fftn(spectrum, dim=axes, norm="ortho") if axes and x.numel() else spectrum
    transform = dct2 if boundary == "neumann" else dst1
    for axis in axes:
        working = transform(working, axis)
    return working.to(x.dtype)


def from_eigenbasis(
    y: Inexact[Tensor, "*shape"], axes: tuple[int, ...], boundary: Boundary
) -> Inexact[Tensor, "*shape"]:
    """Return the tensor that has the coefficients `y`: the inverse of `to_eigenbasis`.

    Args:
        y: Coefficients [any].
        axes: Non-negative axes, as `resolve_dims` returns them.
        boundary: As in `to_eigenbasis`.

    Returns:
        Values of the same shape; complex for a periodic boundary, so take `.real` where the
        original was real.

    Raises:
        TypeError: If `y` is sparse or of an integer type.

    References:
        Theory page: Eqs. (L.5) to (L.7).

    Example:
        >>> values = from_eigenbasis(torch.tensor([2.0, 0.0, 0.0, 0.0]), (0,), "periodic")
        >>> torch.allclose(values.real, torch.ones(4))
        True
    """
    working = y.to(working_dtype(y, "y"))
    if boundary == "periodic":
        values = working + 0j
        return torch.fft.ifftn(values, dim=axes, norm="ortho") if axes and y.numel() else values
    transform = idct2 if boundary == "neumann" else dst1
    for axis in axes:
        working = transform(working, axis)
    return working.to(y.dtype)
