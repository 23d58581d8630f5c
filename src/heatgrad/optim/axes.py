"""The axes of a tensor along which a diffusion moves anything."""

from functools import lru_cache

import torch

from heatgrad.laplacian import Boundary, num_active_dims, resolve_dims

__all__ = ["active_dims"]


def active_dims(
    shape: torch.Size, dims: int | tuple[int, ...] | None, boundary: Boundary
) -> tuple[int, ...]:
    """Return the axes that move anything on a tensor of this shape; N is their number."""
    if torch.compiler.is_compiling():  # which traces the function itself, not a cache
        return _active_dims(shape, dims, boundary)
    return _remembered(shape, dims, boundary)


def _active_dims(
    shape: torch.Size, dims: int | tuple[int, ...] | None, boundary: Boundary
) -> tuple[int, ...]:
    axes = resolve_dims(dims, len(shape))
    return tuple(axis for axis in axes if num_active_dims((shape[axis],), boundary))


_remembered = lru_cache(maxsize=4096)(_active_dims)
