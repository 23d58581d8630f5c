"""The stencil: second differences along chosen axes, as a pure function."""

from collections.abc import Sequence

import torch
from jaxtyping import Inexact
from torch import Tensor

from heatgrad.laplacian.boundary import Boundary, check_boundary, resolve_dims
from heatgrad.laplacian.precision import working_dtype

__all__ = ["apply_stencil", "apply_stencil_foreach"]


def apply_stencil(
    x: Inexact[Tensor, "*shape"],
    dims: int | tuple[int, ...] | None = None,
    boundary: Boundary = "neumann",
) -> Inexact[Tensor, "*shape"]:
    r"""Return the discrete Laplacian of `x` along `dims`, at grid spacing 1.

    $$(\operatorname{Lap} x)_j = \sum_{k \in \text{dims}} x_{j+e_k} - 2 x_j + x_{j-e_k} \tag{L.1}$$

    It is computed as the difference of the fluxes through the two faces of each cell, Eq. (L.4),
    so a constant gives exactly zero inside. Neighbours are neighbours in the logical index, never
    in memory.

    Args:
        x: Real or complex tensor; the parts of a complex one diffuse apart [any].
        dims: Axes to diffuse; None for all, negative ones count from the end.
        boundary: What stands outside the grid, Eq. (L.2).

    Returns:
        A new tensor of the same shape, type and device [as `x`]. Half types are computed in
        float32 and rounded once. Neumann and periodic axes of length 1 contribute zero; Dirichlet
        ones -2x. On a periodic axis of length 2 the one neighbour counts twice.

    Raises:
        TypeError: If `x` is sparse or of an integer type, or `dims` of a wrong type.
        ValueError: If `boundary` is unknown or an axis is out of range or named twice.

    References:
        Theory page: Eqs. (L.1), (L.2), (L.4).

    Example:
        >>> import torch
        >>> apply_stencil(torch.tensor([0.0, 1.0, 0.0, 0.0]))
        tensor([ 1., -2.,  1.,  0.])
        >>> apply_stencil(torch.tensor([1.0, 0.0, 0.0]), boundary="periodic")
        tensor([-2.,  1.,  1.])
    """
    check_boundary(boundary)
    axes = resolve_dims(dims, x.ndim)
    values = x.to(working_dtype(x))
    # Zero, but part of the autograd graph, and NaN where x is not finite.
    total = values - values
    if x.numel() > 0:
        for axis in axes:
            _accumulate(total, values, axis, boundary)
    return total.to(x.dtype)


def apply_stencil_foreach(
    xs: Sequence[Tensor], dims: Sequence[tuple[int, ...]], boundary: Boundary
) -> list[Tensor]:
    """Return `apply_stencil` of each tensor, bit for bit, in a few multi-tensor operations.

    Args:
        xs: Real or complex tensors of any shapes, on one device.
        dims: Axes of each tensor, as `resolve_dims` gives them.
        boundary: What stands outside the grids, Eq. (L.2).
    """
    values = [x.to(working_dtype(x)) for x in xs]
    totals = list(torch._foreach_sub(values, values))
    for turn in range(max((0, *map(len, dims)))):
        moved = [
            (total, x, axes[turn])
            for total, x, axes in zip(totals, values, dims, strict=True)
            if len(axes) > turn and x.numel() > 0
        ]
        if not moved:
            continue
        if boundary == "periodic":
            _accumulate_wrapped(moved)
        else:
            _accumulate_flux(moved)
        if boundary == "dirichlet":
            for end in (0, -1):
                torch._foreach_sub_(
                    [total.narrow(axis, end % x.shape[axis], 1) for total, x, axis in moved],
                    [x.narrow(axis, end % x.shape[axis], 1) for _, x, axis in moved],
                )
    return [total.to(x.dtype) for total, x in zip(totals, xs, strict=True)]


def _accumulate_flux(moved: Sequence[tuple[Tensor, Tensor, int]]) -> None:
    """Add what flows through the inner faces of each tensor along its axis. Eq. (L.4)."""
    wide = [(total, x, axis, x.shape[axis] - 1) for total, x, axis in moved if x.shape[axis] > 1]
    if not wide:
        return
    fluxes = torch._foreach_sub(
        [x.narrow(axis, 1, n) for _, x, axis, n in wide],
        [x.narrow(axis, 0, n) for _, x, axis, n in wide],
    )
    torch._foreach_add_([total.narrow(axis, 0, n) for total, _, axis, n in wide], fluxes)
    torch._foreach_sub_([total.narrow(axis, 1, n) for total, _, axis, n in wide], fluxes)


def _accumulate_wrapped(moved: Sequence[tuple[Tensor, Tensor, int]]) -> None:
    """The same through all faces of a periodic axis."""
    wide = [(total, x, axis) for total, x, axis in moved if x.shape[axis] > 1]
    if not wide:
        return
    fluxes = torch._foreach_sub([x.roll(-1, axis) for _, x, axis in wide], [x for _, x, _ in wide])
    totals = [total for total, _, _ in wide]
    torch._foreach_add_(totals, fluxes)
    back = [flux.roll(1, axis) for flux, (_, _, axis) in zip(fluxes, wide, strict=True)]
    torch._foreach_sub_(totals, back)


def _accumulate(total: Tensor, x: Tensor, axis: int, boundary: Boundary) -> None:
    """Add the second difference of `x` along one axis to `total`, in place. Eq. (L.4)."""
    n = x.shape[axis]
    if boundary == "periodic":
        if n > 1:
            flux = x.roll(-1, axis) - x
            total.add_(flux).sub_(flux.roll(1, axis))
        return
    if n > 1:
        flux = x.diff(dim=axis)
        total.narrow(axis, 0, n - 1).add_(flux)
        total.narrow(axis, 1, n - 1).sub_(flux)
    if boundary == "dirichlet":
        # What flows out to the zeros beyond both ends.
        total.narrow(axis, 0, 1).sub_(x.narrow(axis, 0, 1))
        total.narrow(axis, n - 1, 1).sub_(x.narrow(axis, n - 1, 1))
