"""Boundary conditions by name, and the axes that a Laplacian acts on."""

from typing import Literal, get_args

__all__ = [
    "BOUNDARIES",
    "Boundary",
    "check_boundary",
    "check_dims",
    "resolve_dims",
]

Boundary = Literal["neumann", "periodic", "dirichlet"]
"""`neumann`: copy of the edge; `periodic`: wrap; `dirichlet`: zero outside. Eq. (L.2)."""

BOUNDARIES: tuple[Boundary, ...] = get_args(Boundary)
"""The names of the boundary conditions."""


def check_boundary(boundary: str) -> None:
    """Raise ValueError unless `boundary` is one of `BOUNDARIES`."""
    if boundary not in BOUNDARIES:
        choices = ", ".join(f"'{name}'" for name in BOUNDARIES)
        raise ValueError(f"boundary must be one of {choices}, got {boundary!r}")


def check_dims(dims: int | tuple[int, ...] | None) -> None:
    """Raise TypeError unless `dims` is None, an int or a tuple of ints, ValueError on a repeat."""
    if dims is None:
        return
    entries = dims if isinstance(dims, tuple) else (dims,)
    if any(not isinstance(dim, int) or isinstance(dim, bool) for dim in entries):
        raise TypeError(
            f"dims must be None (all axes), an int or a tuple of ints, got {dims!r}; "
            f"write e.g. dims=(0, 1)"
        )
    if len(set(entries)) < len(entries):
        raise ValueError(f"dims must name each axis once, got {dims!r}; drop the repeated axis")


def resolve_dims(dims: int | tuple[int, ...] | None, ndim: int) -> tuple[int, ...]:
    """Return the axes that `dims` means on a tensor with `ndim` axes.

    Args:
        dims: None for all axes, or an axis, or a tuple of axes; negative ones count from the end.
        ndim: Number of axes of the tensor, at least 0.

    Returns:
        Non-negative axes in increasing order, so that the order in `dims` changes no digit.

    Raises:
        TypeError: If `dims` is of another type.
        ValueError: If an axis is out of range or named twice.

    Example:
        >>> resolve_dims((-1, 0), 3)
        (0, 2)
        >>> resolve_dims(None, 3)
        (0, 1, 2)
    """
    check_dims(dims)
    if dims is None:
        return tuple(range(ndim))
    entries = dims if isinstance(dims, tuple) else (dims,)
    for dim in entries:
        if not -ndim <= dim < ndim:
            bounds = f"lie in {-ndim}..{ndim - 1}" if ndim else "be empty"
            raise ValueError(
                f"dims must {bounds} for a tensor with {ndim} axes, got {dim}; "
                f"use dims=None for all axes"
            )
    resolved = tuple(sorted(dim % ndim for dim in entries))
    if len(set(resolved)) < len(resolved):
        raise ValueError(
            f"dims must name each axis once, got {dims!r} for a tensor with {ndim} axes; "
            f"drop the repeated axis"
        )
    return resolved
