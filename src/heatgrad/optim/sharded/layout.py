"""Which part of a tensor this process holds, and which process holds any other."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = [
    "Layout",
    "are_sharded",
    "as_sharded",
    "gradient_held_here",
    "held_here",
    "is_sharded",
    "layout_of",
    "tell_written",
]


@dataclass(frozen=True)
class Layout:
    """A tensor cut into boxes over a mesh of processes.

    Attributes:
        shape: Sizes of the whole tensor.
        mesh_shape: Sizes of the mesh.
        cuts: Mesh axis and tensor axis of each cut, in the order of cutting; each is torch's
            `chunk`: all parts but the last ones are of equal size, and the last may be empty.
        coordinate: Where this process stands in the mesh.
        mesh: The `DeviceMesh`, or anything that can be hashed where no messages are sent.
    """

    shape: tuple[int, ...]
    mesh_shape: tuple[int, ...]
    cuts: tuple[tuple[int, int], ...]
    coordinate: tuple[int, ...]
    mesh: Any = None

    @cached_property
    def cut_axes(self) -> tuple[int, ...]:
        """The tensor axes that are cut, in order."""
        return tuple(sorted({axis for _, axis in self.cuts}))

    @cached_property
    def transposed(self) -> "Layout":
        """How the tensor with its axes in reverse order is cut, of which parts are held alike."""
        cuts = tuple((mesh_axis, len(self.shape) - 1 - axis) for mesh_axis, axis in self.cuts)
        return replace(self, shape=self.shape[::-1], cuts=cuts)

    @cached_property
    def box(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """First index and size, along each axis, of what this process holds."""
        first, sizes = [0] * len(self.shape), list(self.shape)
        for mesh_axis, axis in self.cuts:
            part = max(1, -(-sizes[axis] // self.mesh_shape[mesh_axis]))
            start = min(self.coordinate[mesh_axis] * part, sizes[axis])
            first[axis] += start
            sizes[axis] = min(part, sizes[axis] - start)
        return tuple(first), tuple(sizes)

    @cached_property
    def num_runs(self) -> int:
        """How many runs of the flattened whole tensor it holds."""
        _, sizes = self.box
        return 0 if 0 in sizes else prod(sizes[: self.cut_axes[-1]])

    def locate(self, where: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return who holds elements of the tensor, and where.

        Args:
            where: Indices into the flattened whole tensor, int64, shape (n,).

        Returns:
            The holders' indices into the flattened mesh and the indices into their flattened
            parts, int64, shape (n,). Of several replicas it is the one of this process.
        """
        index = np.unravel_index(where, self.shape) if self.shape else ()
        first = [np.zeros_like(where) for _ in self.shape]
        sizes = [np.full_like(where, size) for size in self.shape]
        holder = [np.full_like(where, place) for place in self.coordinate]
        for mesh_axis, axis in self.cuts:
            part = np.maximum(1, -(-sizes[axis] // self.mesh_shape[mesh_axis]))
            turn = (index[axis] - first[axis]) // part
            holder[mesh_axis] = turn
            first[axis] = first[axis] + turn * part
            sizes[axis] = np.minimum(part, sizes[axis] - turn * part)
        place = np.zeros_like(where)
        for axis in range(len(self.shape)):
            place = place * sizes[axis] + (index[axis] - first[axis])
        return np.ravel_multi_index(holder, self.mesh_shape), place


def is_sharded(tensor: Tensor) -> bool:
    """Whether a tensor is a `DTensor`."""
    module = sys.modules.get("torch.distributed.tensor")  # whoever has one has imported it
    return module is not None and isinstance(tensor, module.DTensor)


def are_sharded(tensors: Sequence[Tensor]) -> bool:
    """Whether any of the tensors is a `DTensor`; quick where the program has none."""
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and any(
        issubclass(kind, module.DTensor) for kind in set(map(type, tensors))
    )


def held_here(tensor: Tensor) -> Tensor:
    """Return the part of a tensor that this process holds, sharing its memory."""
    if not is_sharded(tensor):
        return tensor
    part: Tensor = tensor.to_local()  # type: ignore[attr-defined]
    return part


def gradient_held_here(param: Tensor) -> Tensor:
    """Return the part of a parameter's gradient that belongs to the part of it held here."""
    grad = param.grad
    assert grad is not None
    if is_sharded(param) and grad.placements != param.placements:  # type: ignore[attr-defined]
        grad = grad.redistribute(placements=param.placements)  # type: ignore[attr-defined]
    return held_here(grad)


def tell_written(params: Sequence[Tensor]) -> None:
    """Tell autograd that parameters were written to, where only their parts have been."""
    if are_sharded(params):
        wholes = [param for param in params if is_sharded(param)]
        torch.autograd.graph.increment_version(wholes)


def as_sharded(part: Tensor, like: Tensor) -> Tensor:
    """Return a part as the tensor of which it is one, cut as `like`; the memory is shared."""
    if not is_sharded(like):
        return part
    from torch.distributed.tensor import DTensor

    whole: Tensor = DTensor.from_local(
        part,
        like.device_mesh,  # type: ignore[attr-defined]
        like.placements,  # type: ignore[attr-defined]
        run_check=False,
        shape=like.shape,
        stride=like.stride(),
    )
    return whole


def layout_of(tensor: Tensor) -> Layout | None:
    """Return how a tensor is cut; None if this process holds all of it, or nothing is to be held.

    Raises:
        RuntimeError: If it is cut in a way that is not known here.
    """
    if not is_sharded(tensor) or tensor.numel() == 0:
        return None
    layout = _layout(tensor.shape, tensor.device_mesh, tensor.placements)  # type: ignore[attr-defined]
    sizes = tuple(held_here(tensor).shape)
    if layout is not None and layout.box[1] != sizes:
        raise RuntimeError(
            f"a tensor of shape {tuple(tensor.shape)} with placements {tensor.placements} holds "  # type: ignore[attr-defined]
            f"{sizes} here, not the {layout.box[1]} of torch.chunk; diffusion needs Shard or "
            "Replicate"
        )
    return layout


@lru_cache(maxsize=4096)
def _layout(shape: torch.Size, mesh: Any, placements: Sequence[Any]) -> Layout | None:
    plain: list[tuple[int, int]] = []
    strided: list[tuple[int, int]] = []
    for mesh_axis, placement in enumerate(placements):
        if placement.is_replicate() or mesh.size(mesh_axis) == 1:
            continue
        if not hasattr(placement, "dim"):
            raise RuntimeError(f"diffusion needs placements Shard or Replicate, got {placement}")
        # FSDP over a tensor-parallel axis names its cut first, but cuts last.
        late = hasattr(placement, "split_factor")
        (strided if late else plain).append((mesh_axis, placement.dim % max(1, len(shape))))
    cuts = tuple(plain + strided[::-1])
    if not cuts:
        return None
    return Layout(tuple(shape), tuple(mesh.mesh.shape), cuts, tuple(mesh.get_coordinate()), mesh)
