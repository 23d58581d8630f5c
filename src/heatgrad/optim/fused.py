"""When the fused kernels may be taken, and the tables they work from."""

from collections.abc import Sequence
from functools import cache, lru_cache
from importlib.util import find_spec
from math import prod
from operator import attrgetter
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from heatgrad.optim import fused_cuda, sharded
from heatgrad.optim.dials import is_on_device, is_out_of_sight
from heatgrad.optim.drop_in import ActiveGroup
from heatgrad.optim.fused_inputs import (
    Velocities,
    VelocityStep,
    chain_links,
    chain_numbers,
    moving_buffers,
    put_addresses,
)
from heatgrad.optim.kernels.threads import for_each_run

__all__ = [
    "TYPES",
    "can_diffuse_velocity",
    "is_as_kernels_need",
    "is_safe",
    "step_chain",
    "step_velocity",
    "wants_fused",
]

_PLAIN_CLASSES = frozenset({Tensor, torch.nn.Parameter})  # a subclass may keep its memory elsewhere
_DTYPE = attrgetter("dtype")
TYPES = {torch.float32: np.float32, torch.float64: np.float64}


def wants_fused(groups: Sequence[ActiveGroup]) -> bool:
    """Whether the kernel is asked for, or is the default: where something diffuses.

    Without any diffusion the default is the plain path, which has the bits of torch's.
    """
    options = [group.options for group in groups if group.params]
    if not options or any(o["differentiable"] or o["foreach"] for o in options):
        return False
    if all(o["fused"] for o in options):
        return True
    is_open = all(o["fused"] is None and o["foreach"] is None for o in options)
    return is_open and any(is_out_of_sight(o["diffusion"]) or o["diffusion"] != 0 for o in options)


def is_safe(groups: Sequence[ActiveGroup], buffers: Sequence[Tensor | None]) -> bool:
    """Whether memory is as a kernel needs it: of one shape, device and type, dense, unshared.

    Args:
        groups: The groups of a step.
        buffers: Their momentum buffers, None where there is none yet.
    """
    values = [value for group in groups for value in group.values]
    grads = [grad for group in groups for grad in group.grads]
    device = values[-1].device
    for group in groups:
        for name in ("lr", "momentum", "diffusion", "weight_decay"):
            value = group.options[name]
            if isinstance(value, Tensor) and (
                value.requires_grad or (is_on_device(value) and value.device != device)
            ):
                return False
    return is_as_kernels_need(values, grads, buffers)


def is_as_kernels_need(
    values: Sequence[Tensor], grads: Sequence[Tensor], buffers: Sequence[Tensor | None]
) -> bool:
    """Whether memory is as `is_safe` says.

    Args:
        values: Parameters, at least one.
        grads: Their gradients.
        buffers: Their momentum buffers, None where there is none.
    """
    tensors = [buffer for buffer in buffers if buffer is not None]
    shapes = list(map(Tensor.size, values))
    if shapes != list(map(Tensor.size, grads)):
        return False
    if len(tensors) < len(values):
        shapes = [s for s, buffer in zip(shapes, buffers, strict=True) if buffer is not None]
    if shapes != list(map(Tensor.size, tensors)):
        return False
    tensors += values
    tensors += grads
    dtype, device = tensors[-1].dtype, tensors[-1].device
    if device.type == "cuda":
        is_known = fused_cuda.is_available(device, dtype)
    else:
        is_known = device.type == "cpu" and dtype in TYPES and _has_numba()
    if not is_known:
        return False
    # Without a loop of the interpreter: this is asked at every step, of every tensor.
    return (
        all(map(Tensor.is_contiguous, tensors))
        and _PLAIN_CLASSES.issuperset(map(type, tensors))
        and set(map(_DTYPE, tensors)) == {dtype}
        and set(map(Tensor.get_device, tensors)) == {tensors[-1].get_device()}
        and not any(map(Tensor.is_neg, tensors))
        and _have_memory_of_their_own(tensors)
    )


def _have_memory_of_their_own(tensors: Sequence[Tensor]) -> bool:
    """Whether tensors that have elements begin somewhere, each elsewhere.

    Those without memory are on the meta device, zeros that are not stored, or freed.
    """
    addresses = list(map(Tensor.data_ptr, tensors))
    if 0 in addresses:  # which is where empty tensors begin, too
        addresses = [tensor.data_ptr() for tensor in tensors if tensor.numel()]
    return 0 not in addresses and len(set(addresses)) == len(addresses)


@cache
def _has_numba() -> bool:
    return find_spec("numba") is not None


def step_chain(
    groups: Sequence[ActiveGroup],
    buffers: Sequence[Velocities],
    neighbours: sharded.ChainNeighbours | None = None,
) -> None:
    """Step all tensors of one chain: decay, diffuse, clip, heavy ball.

    Equal to the plain path but for rounding: the kernel multiplies and adds in one operation.

    Args:
        groups: Groups in mode `"global"`, for which `is_safe` holds.
        buffers: For each group the momentum buffers, and which are new.
        neighbours: Where some tensors are parts of longer ones; no part is of several runs.
    """
    if groups[0].values[0].is_cuda:
        fused_cuda.step_chain(groups, buffers, neighbours)
        return
    from heatgrad.optim.kernels import chain_cpu

    params = [value for group in groups for value in group.values]
    grads = [grad for group in groups for grad in group.grads]
    velocities = [buffer for of_group, _ in buffers for buffer in of_group]
    dtype = TYPES[params[0].dtype]
    coefficients = chain_numbers(groups, buffers).astype(dtype)
    sizes = tuple(map(Tensor.numel, params))
    boundary = groups[0].options["boundary"]
    plan = _plan(sizes, boundary == "periodic", chain_cpu.BLOCK, neighbours is not None)
    table = _addresses(params, grads, velocities)
    table[:, 3] = sizes
    if neighbours is not None:
        pairs = np.zeros((len(params), 2), dtype)
        pairs[np.array(neighbours.counts) == 1] = neighbours.values.numpy().reshape(-1, 2)
        beside = pairs.reshape(-1)  # lives as long as its addresses are used
        table, coefficients = _with_neighbours(table, coefficients, beside)
    chain = (
        table,
        plan.blocks,
        plan.chain,
        np.empty(0, dtype),
        coefficients,
        boundary == "dirichlet",
    )
    num_blocks, size = len(plan.blocks), sum(sizes)
    scale = dtype(1)
    max_norm = groups[0].options["max_norm"]
    if max_norm is not None:
        squares = np.zeros(num_blocks)
        for_each_run(chain_cpu.square_norms, (*chain, squares), num_blocks, size)
        # In the order of the blocks, whoever has summed them.
        of_tensor = np.zeros(len(params))
        np.add.at(of_tensor, plan.blocks[:, 0], squares)
        layouts = [layout for group in groups for layout in group.layouts]
        norm = float(sharded.total_of_shards(torch.from_numpy(of_tensor), layouts).sqrt())
        scale = dtype(1) if norm <= max_norm else dtype(max_norm / norm)
    borders = np.empty((num_blocks if coefficients[:, 5].any() else 0, 2), dtype)
    if len(borders):
        chain_cpu.gather_borders(*chain, borders)
    for_each_run(chain_cpu.step_blocks, (*chain, borders, scale), num_blocks, size)
    torch.autograd.graph.increment_version([*params, *moving_buffers(groups, buffers)])


def _addresses(
    params: Sequence[Tensor], grads: Sequence[Tensor], buffers: Sequence[Tensor]
) -> np.ndarray:
    """Return the kernels' table with the addresses filled in, int64, shape (tensors, 4)."""
    table = np.empty((len(params), 4), dtype=np.int64)
    put_addresses(table, params, grads, buffers)
    return table


def _with_neighbours(
    table: np.ndarray, coefficients: np.ndarray, beside: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the tables with a row more for each neighbour: a tensor of one, that is not stepped.

    The neighbours are decayed already.
    """
    addresses = beside.ctypes.data + beside.itemsize * np.arange(len(beside))
    rows = np.stack([addresses, addresses, addresses, np.ones_like(addresses)], axis=1)
    plain = np.zeros((len(beside), coefficients.shape[1]), coefficients.dtype)
    plain[:, 6] = 1  # the sign
    return np.concatenate([table, rows]), np.concatenate([coefficients, plain])


def can_diffuse_velocity(params: Sequence[Tensor], dims: Sequence[tuple[int, ...]]) -> bool:
    """Whether the kernel knows a way along these axes of each tensor."""
    if params[0].is_cuda:
        return fused_cuda.can_diffuse_velocity(params, dims)
    return _have_ways(tuple([param.shape for param in params]), tuple(dims))


@lru_cache(maxsize=256)
def _have_ways(shapes: tuple[tuple[int, ...], ...], dims: tuple[tuple[int, ...], ...]) -> bool:
    return all(
        _way(shape, axes)[0] is not None
        for shape, axes in zip(shapes, dims, strict=True)
        if 0 not in shape
    )


def step_velocity(step: VelocityStep) -> None:
    """Step all tensors of one group: decay, Eqs. (V.6) and (V.7).

    Equal to `diffused_nesterov` but for rounding. `is_safe` and `can_diffuse_velocity` must hold.
    """
    if step.params[0].is_cuda:
        fused_cuda.step_velocity(step)
        return
    from heatgrad.optim.kernels import velocity_cpu

    params, dims = step.params, step.dims
    dtype = TYPES[params[0].dtype]
    shapes = tuple([param.shape for param in params])
    plan = _velocity_plan(shapes, tuple(dims), velocity_cpu.COLUMNS)
    table = _addresses(params, step.grads, step.buffers)
    table[:, 3] = plan.sizes
    coefficients = np.empty((len(params), 5), dtype)
    dials = (step.lr, step.momentum, step.per_axis, step.weight_decay)
    coefficients[:] = (*map(float, dials), -1.0 if step.maximize else 1.0)
    coefficients[:, 2] /= plan.num_axes
    ends = ("neumann", "periodic", "dirichlet").index(step.boundary)
    like = np.empty(0, dtype)
    arguments = (table, plan.axes, plan.blocks, like, coefficients, ends)
    size = int(plan.sizes.sum())
    for_each_run(velocity_cpu.step_blocks, arguments, len(plan.blocks), size)
    torch.autograd.graph.increment_version([*params, *step.buffers])


class _VelocityPlan(NamedTuple):
    """How the tensors of a group are cut; it depends on their shapes and axes alone.

    Attributes:
        blocks: Kind, tensor and three numbers of each block, int64.
        axes: Sizes and strides of each tensor's diffused axes, int64.
        sizes: Elements of each tensor, int64.
        num_axes: Axes among which a tensor's strength is shared, at least 1, int64.
    """

    blocks: np.ndarray
    axes: np.ndarray
    sizes: np.ndarray
    num_axes: np.ndarray


@lru_cache(maxsize=64)
def _velocity_plan(
    shapes: tuple[tuple[int, ...], ...], dims: tuple[tuple[int, ...], ...], columns: int
) -> _VelocityPlan:
    from heatgrad.optim.kernels import velocity_cpu

    longest = max((len(axes) for axes in dims), default=0)
    steps = np.zeros((len(shapes), 2 * longest + 2), dtype=np.int64)
    blocks: list[tuple[int, int, int, int, int]] = []
    for k, (shape, axes) in enumerate(zip(shapes, dims, strict=True)):
        size = prod(shape)
        if size == 0:
            continue
        for turn, axis in enumerate(axes):
            steps[k, 2 * turn : 2 * turn + 2] = shape[axis], prod(shape[axis + 1 :])
        kind, length = _way(shape, axes)
        if kind == "plain":
            step = velocity_cpu.LONGEST_SLAB
            blocks += [
                (velocity_cpu.PLAIN, k, start, min(start + step, size), 0)
                for start in range(0, size, step)
            ]
        elif kind in ("lines", "slabs"):
            way = velocity_cpu.LINES if kind == "lines" else velocity_cpu.SLABS
            at_once = max(1, velocity_cpu.LONGEST_SLAB // length)
            count = size // length
            blocks += [
                (way, k, length, start, min(start + at_once, count))
                for start in range(0, count, at_once)
            ]
        else:
            width = int(steps[k, 1])
            step = -(-width // -(-width // columns))  # tiles of about one width
            blocks += [
                (velocity_cpu.ROWS, k, base, low, min(low + step, width))
                for base in range(0, size, length)
                for low in range(0, width, step)
            ]
    # The largest tensors first: then the last blocks, which threads wait for, are small.
    blocks.sort(key=lambda block: -prod(shapes[block[1]]))
    return _VelocityPlan(
        np.array(blocks, dtype=np.int64).reshape(-1, 5),
        steps,
        np.array([prod(shape) for shape in shapes], dtype=np.int64),
        np.array([max(1, len(axes)) for axes in dims], dtype=np.int64),
    )


def _way(shape: tuple[int, ...], axes: tuple[int, ...]) -> tuple[str | None, int]:
    """Return how the kernel steps a tensor, and the elements from its first diffused axis on."""
    from heatgrad.optim.kernels import velocity_cpu

    if not axes:
        return "plain", 0
    length, width = prod(shape[axes[0] :]), prod(shape[axes[0] + 1 :])
    if len(axes) == 1:
        return ("rows" if width >= velocity_cpu.WIDE else "lines"), length
    return ("slabs" if length <= velocity_cpu.LONGEST_SLAB else None), length


class _Plan(NamedTuple):
    """How a chain of tensors is cut; it depends on their sizes alone.

    Attributes:
        blocks: Tensor, first and last element of each block, int64.
        chain: The tensors left and right of each, -1 at an end, int64.
    """

    blocks: np.ndarray
    chain: np.ndarray


@lru_cache(maxsize=64)
def _plan(
    sizes: tuple[int, ...], is_periodic: bool, block: int, has_neighbours: bool = False
) -> _Plan:
    blocks = [
        (k, start, min(start + block, size))
        for k, size in enumerate(sizes)
        for start in range(0, size, block)
    ]
    chain = chain_links(sizes, is_periodic)
    if has_neighbours:  # they stand behind all tensors
        chain = len(sizes) + np.arange(2 * len(sizes)).reshape(-1, 2)
    return _Plan(np.array(blocks, dtype=np.int64).reshape(-1, 3), chain)
