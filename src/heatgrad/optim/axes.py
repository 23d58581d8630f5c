"""The axes of a tensor along which a diffusion moves anything."""

from functools import lru_cache

import torch

from heatgrad.laplacian import Boundary, num_active_dims, resolve_dims

__all__ = ["active_dims", "active_dims_of_all"]


def active_dims(
    shape: torch.Size, dims: int | tuple[int, ...] | None, boundary: Boundary
) -> tuple[int, ...]:
    """Return the axes that move anything on a tensor of this shape; N is their number."""
    if torch.compiler.is_compiling():  # which traces the function itself, not a cache
        return _active_dims(shape, dims, boundary)
    return _remembered(shape, dims, boundary)


def active_dims_of_all(
    shapes: tuple[torch.Size, ...], dims: int | tuple[int, ...] | None, boundary: Boundary
) -> tuple[tuple[int, ...], ...]:
    """Return `active_dims` of each shape; a list that was asked for before is one look-up."""
    if torch.compiler.is_compiling():
        return tuple(_active_dims(shape, dims, boundary) for shape in shapes)
    return _all_remembered(shapes, dims, boundary)


def _active_dims(
    shape: torch.Size, dims: int | tuple[int, ...] | None, boundary: Boundary
) -> tuple[int, ...]:
    axes = resolve_dims(dims, len(shape))
    return tuple(axis for axis in axes if num_active_dims((shape[axis],), boundary))


_remembered = lru_cache(maxsize=4096)(_active_dims)


@lru_cache(maxsize=256)
def _all_remembered(
    shapes: tuple[torch.Size, ...], dims: int | tuple[int, ...] | None, boundary: Boundary
) -> tuple[tuple[int, ...], ...]:
    return tuple(_remembered(shape, dims, boundary) for shape in shapes)
