"""Sums over all parts of a tensor, wherever they are held."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from heatgrad.core.vectors import norm
from heatgrad.optim.sharded.layout import Layout

__all__ = ["global_norm", "sums_over_shards", "total_of_shards"]


def sums_over_shards(
    values: Sequence[Tensor], layouts: Sequence[Layout | None], axes: Sequence[tuple[int, ...]]
) -> list[Tensor]:
    """Return the sums over all parts of what each process has summed over its own.

    One all-reduce for each mesh axis that cuts anything.

    Args:
        values: Sums over `axes` of the parts that are held here, any shapes.
        layouts: How each tensor is cut.
        axes: The axes that each has been summed over; other cuts leave separate sums.
    """
    import torch.distributed as dist

    summed = list(values)
    cuts: dict[tuple[Any, int], list[int]] = {}
    for i, layout in enumerate(layouts):
        if layout is None:
            continue
        for mesh_axis, axis in layout.cuts:
            if axis in axes[i]:
                cuts.setdefault((layout.mesh, mesh_axis), []).append(i)
    for (mesh, mesh_axis), places in cuts.items():
        flat = torch.cat([summed[i].reshape(-1) for i in places])
        wire = torch.view_as_real(flat) if flat.is_complex() else flat
        dist.all_reduce(wire, group=mesh.get_group(mesh_axis))
        parts = torch.split(flat, [summed[i].numel() for i in places])
        for i, part in zip(places, parts, strict=True):
            summed[i] = part.view(summed[i].shape)
    return summed


def total_of_shards(values: Tensor, layouts: Sequence[Layout | None]) -> Tensor:
    """Return the sum of numbers over all tensors and all their parts, 0-d.

    Args:
        values: What each process has found for its part of each tensor, shape (tensors,).
        layouts: How each tensor is cut.
    """
    # Tensors that are cut alike are summed together.
    alike: dict[Any, list[int]] = {}
    for i, layout in enumerate(layouts):
        key = None if layout is None else (layout.mesh, tuple(sorted(m for m, _ in layout.cuts)))
        alike.setdefault(key, []).append(i)
    parts = [values[places].sum() for places in alike.values()]
    firsts = [layouts[places[0]] for places in alike.values()]
    axes = [() if layout is None else layout.cut_axes for layout in firsts]
    return torch.stack(sums_over_shards(parts, firsts, axes)).sum()


def global_norm(parts: Sequence[Tensor], layouts: Sequence[Layout | None]) -> Tensor:
    """Return the Euclidean norm over whole tensors, of which parts are held here; 0-d, float64."""
    if not any(layouts):
        return norm(parts)
    squares = [norm([part]).square() for part in parts]
    device = squares[0].device
    return total_of_shards(torch.stack([s.to(device) for s in squares]), layouts).sqrt()
