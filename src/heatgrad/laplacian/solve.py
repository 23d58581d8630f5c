"""The implicit solve: the inverse of `shift I - scale Lap` in the eigenbasis."""

import math

import torch
from jaxtyping import Inexact
from torch import Tensor

from heatgrad.laplacian.boundary import Boundary, check_boundary, resolve_dims
from heatgrad.laplacian.bounds import spectral_radius
from heatgrad.laplacian.eigenbasis import from_eigenbasis, to_eigenbasis
from heatgrad.laplacian.eigenvalues import eigenvalue_angles, grid_eigenvalues
from heatgrad.laplacian.precision import working_dtype

__all__ = ["solve_shifted"]


def solve_shifted(
    y: Inexact[Tensor, "*shape"],
    dims: int | tuple[int, ...] | None,
    boundary: Boundary,
    *,
    shift: float,
    scale: float,
) -> Inexact[Tensor, "*shape"]:
    r"""Return the x with $(\text{shift}\,I - \text{scale}\operatorname{Lap})\,x = y$.

    Shift 1 and scale $\sigma$ is implicit smoothing (backward Euler), stable for every
    $\sigma \ge 0$, Eq. (L.11). Shift 0 is the Poisson equation. It takes two fast transforms.

    Args:
        y: Right-hand side, real or complex [any].
        dims: Axes of the Laplacian; None for all, negative ones count from the end.
        boundary: Boundary condition.
        shift: Coefficient of the identity, finite and not negative [1].
        scale: Coefficient of minus the Laplacian, finite and not negative [1].

    Returns:
        The solution, of the shape, type and device of `y`: real for real `y`. Half types are
        computed in float32. With shift 0 and a Neumann or periodic boundary it is the one of
        zero mean along the diffused axes.

    Raises:
        TypeError: If `y` is sparse or of an integer type.
        ValueError: If shift or scale is negative or not finite; if the operator is singular, or
            so small or large that its eigenvalues leave the range of the number type; if shift
            is 0, constants are eigenvectors, and a mean of `y` along the diffused axes is not
            zero, Eq. (L.12). Zero means: at most the square root of the machine epsilon of the
            type of `y`, times its largest absolute value along those axes. That is far above
            what rounding leaves after `y - y.mean()`, and a mean below it is dropped.

    References:
        Theory page: Eqs. (L.11), (L.12).

    Example:
        >>> y = torch.tensor([0.0, 3.0, 0.0])
        >>> solve_shifted(y, None, "neumann", shift=1.0, scale=1.0)
        tensor([0.7500, 1.5000, 0.7500])
    """
    check_boundary(boundary)
    axes = resolve_dims(dims, y.ndim)
    values = y.to(working_dtype(y, "y"))
    sizes = [y.shape[axis] for axis in axes]
    real_dtype = values.real.dtype
    _check_coefficients(shift, scale, num_axes=len(axes))
    if y.numel() == 0:
        return values.clone().to(y.dtype)
    _check_range(shift, scale, sizes, boundary, real_dtype)
    if not axes:
        return (values / shift).to(y.dtype)
    if shift == 0 and boundary != "dirichlet":
        _check_zero_mean(values, axes, torch.finfo(y.dtype).eps)

    eigenvalues = grid_eigenvalues(
        tuple(y.shape), axes, boundary, dtype=real_dtype, device=y.device
    )
    operator = shift - scale * eigenvalues  # Eq. (L.11): zero on the constant mode if shift is
    gain = torch.where(operator > 0, 1 / operator, 0)
    if boundary == "periodic" and not y.is_complex():
        # Half of the spectrum of real values is redundant: modes m and n - m are conjugate.
        last = axes[-1]
        half = torch.fft.rfftn(values, dim=axes, norm="ortho")
        half = half * gain.narrow(last, 0, half.shape[last])
        solution: Tensor = torch.fft.irfftn(half, s=sizes, dim=axes, norm="ortho")
        return solution.to(y.dtype)
    spectrum = to_eigenbasis(values, axes, boundary) * gain
    return from_eigenbasis(spectrum, axes, boundary).to(y.dtype)


def _check_coefficients(shift: float, scale: float, *, num_axes: int) -> None:
    for name, value in (("shift", shift), ("scale", scale)):
        if not (math.isfinite(value) and value >= 0):
            raise ValueError(f"{name} must be finite and at least 0, got {value}")
    if shift == 0 and (scale == 0 or num_axes == 0):
        raise ValueError(
            f"shift I - scale Lap must be invertible, got shift={shift}, scale={scale} with "
            f"{num_axes} diffused axes, which is zero; use a positive shift"
        )


def _check_range(
    shift: float, scale: float, sizes: list[int], boundary: Boundary, dtype: torch.dtype
) -> None:
    """Raise unless every eigenvalue that is divided by is a normal number of `dtype`."""
    slowest = [_slowest_rate(n, boundary) for n in sizes]
    if boundary == "dirichlet":
        smallest = shift + scale * sum(slowest)
    else:
        # The constant mode has the eigenvalue `shift`, and is left out where that is 0.
        smallest = shift or scale * min((rate for rate in slowest if rate > 0), default=1.0)
    largest = shift + scale * spectral_radius(sizes, boundary)
    limits = torch.finfo(dtype)
    if not (limits.tiny <= smallest and largest <= limits.max):
        raise ValueError(
            f"shift I - scale Lap must have eigenvalues between {limits.tiny:.2g} and "
            f"{limits.max:.2g} in {dtype}, got {smallest:.2g} to {largest:.2g} from "
            f"shift={shift}, scale={scale}; divide shift, scale and y by a common factor"
        )


def _slowest_rate(n: int, boundary: Boundary) -> float:
    """Return the smallest nonzero eigenvalue of -Lap on one axis; 0 if there is none."""
    unit, _ = eigenvalue_angles(n, boundary)
    return 4 * math.sin(unit) ** 2 if n > 1 or boundary == "dirichlet" else 0.0


def _check_zero_mean(y: Tensor, axes: tuple[int, ...], epsilon: float) -> None:
    tolerance = math.sqrt(epsilon)
    mean = y.detach().mean(axes).abs()
    limit = tolerance * y.detach().abs().amax(axes)
    if not bool((mean <= limit).all()):
        worst = (mean - limit).nan_to_num(nan=math.inf).argmax()
        raise ValueError(
            f"y must have zero mean along the diffused axes {axes} when shift is 0 (to "
            f"{tolerance:.1e} of its largest value there), got mean {mean.flatten()[worst]:.3g}; "
            f"subtract y.mean({axes}, keepdim=True) or use a positive shift"
        )
