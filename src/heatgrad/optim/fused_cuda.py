"""The fused steps on a GPU: the tables of the triton kernels, and their launches.

Nothing here waits for the device, and numbers that lie on it stay there. A step may be captured
in a CUDA graph once a step outside of it has compiled the kernels and made the buffers. A replay
steps the memory that was captured, with the floats of that time; numbers that are tensors on the
device are read at every replay.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache, lru_cache
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from heatgrad.optim import sharded
from heatgrad.optim.device_tables import is_capturing, keep_for_replays, upload
from heatgrad.optim.dials import is_on_device
from heatgrad.optim.drop_in import ActiveGroup
from heatgrad.optim.fused_inputs import (
    Velocities,
    VelocityStep,
    chain_links,
    chain_numbers,
    moving_buffers,
    number,
    put_addresses,
)
from heatgrad.optim.velocity_tiles import cut_into_tiles, have_tiles

__all__ = ["TYPES", "can_diffuse_velocity", "is_available", "step_chain", "step_velocity"]

_COLUMNS = 16  # of the kernels' table of tensors
_NUMBERS = 6  # the first column that holds a float64
_MOST_REGISTERS = 80  # of a thread: three programs run on a multiprocessor at a time
_CHAIN_DIALS = ("lr", "momentum", None, None, "diffusion", "weight_decay")
# The types that are stepped, and in which one that is computed.
TYPES = {
    torch.float64: torch.float64,
    torch.float32: torch.float32,
    torch.bfloat16: torch.float32,
    torch.float16: torch.float32,
}


@cache
def is_available(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether triton is there, and compiles kernels of this type for this GPU."""
    if dtype not in TYPES or find_spec("triton") is None:
        return False
    return torch.version.hip is not None or torch.cuda.get_device_properties(device).major >= 8


def step_chain(
    groups: Sequence[ActiveGroup],
    buffers: Sequence[Velocities],
    neighbours: sharded.ChainNeighbours | None = None,
) -> None:
    """Step all tensors of one chain: decay, diffuse, clip, heavy ball.

    Equal to the plain path but for rounding: half types are rounded when they are stored, only.

    Args:
        groups: Groups in mode `"global"`, of tensors of one type on one device, dense.
        buffers: For each group the momentum buffers, and which are new.
        neighbours: Where some tensors are parts of longer ones; no part is of several runs, and
            the norm is not bounded.
    """
    from heatgrad.optim.kernels import chain_cuda as kernels

    params = [value for group in groups for value in group.values]
    grads = [grad for group in groups for grad in group.grads]
    velocities = [buffer for of_group, _ in buffers for buffer in of_group]
    numbers = chain_numbers(groups, buffers)
    boundary, max_norm = groups[0].options["boundary"], groups[0].options["max_norm"]
    sizes = tuple([param.numel() for param in params])
    plan = _chain_plan(sizes, boundary == "periodic", kernels.BLOCK, params[0].device)
    rows = _rows(params, grads, velocities, numbers)
    rows[:, 3:6] = plan.places
    if neighbours is not None:  # their places among what other processes have sent
        rows[:, 4] = 2 * (np.cumsum(neighbours.counts) - neighbours.counts)
        rows[:, 5] = rows[:, 4] + 1
    rows[0, _NUMBERS + 8 :].view(np.float64)[0] = 0.0 if max_norm is None else number(max_norm)
    table = upload(rows, params[0].device)
    first = 0
    for group in groups:
        last = first + len(group.params)
        for place, name in enumerate(_CHAIN_DIALS):
            if name is not None:
                _put_dial(table[first:last], place, group.options[name])
        first = last
    decays = any(is_on_device(g.options["weight_decay"]) for g in groups) or numbers[:, 5].any()
    _launch_chain(
        plan,
        table,
        None if neighbours is None else neighbours.values,
        params[0].dtype,
        decays=bool(decays),
        clips=max_norm is not None,
        is_dirichlet=boundary == "dirichlet",
    )
    torch.autograd.graph.increment_version([*params, *moving_buffers(groups, buffers)])


def _launch_chain(
    plan: "_ChainPlan",
    table: Tensor,
    beside: Tensor | None,
    dtype: torch.dtype,
    *,
    decays: bool,
    clips: bool,
    is_dirichlet: bool,
) -> None:
    from heatgrad.optim.kernels import chain_cuda as kernels

    num_blocks, device = len(plan.blocks), table.device
    if num_blocks == 0:
        return
    wide = TYPES[dtype]
    ends = {"DIRICHLET": is_dirichlet, "HAS_BESIDE": beside is not None}
    sizes = {**_types(dtype), "BLOCK": kernels.BLOCK}
    borders = scale = None
    with _on(device):
        if decays or clips:
            borders = torch.empty((num_blocks, 2), dtype=wide, device=device)
            kernels.gather_borders[(-(-2 * num_blocks // kernels.LANES),)](
                plan.blocks,
                table,
                beside,
                borders,
                num_blocks,
                **ends,
                **sizes,
                LANES=kernels.LANES,
                enable_fp_fusion=True,
            )
        if clips:
            squares = torch.empty(num_blocks, dtype=torch.float64, device=device)
            scale = torch.empty(1, dtype=torch.float64, device=device)
            kernels.square_norms[(num_blocks,)](
                plan.blocks, table, borders, squares, DECAYS=decays, **sizes, **_launch(dtype)
            )
            kernels.norm_scale[(1,)](
                squares, table, scale, num_blocks, LANES=kernels.LANES, enable_fp_fusion=True
            )
        kernels.step_blocks[(num_blocks,)](
            plan.blocks,
            table,
            beside,
            borders,
            scale,
            DECAYS=decays,
            CLIPS=clips,
            **ends,
            **sizes,
            **_launch(dtype),
        )
    if is_capturing():
        keep_for_replays(plan)


class _ChainPlan(NamedTuple):
    """How a chain of tensors is cut; it depends on their sizes alone.

    Attributes:
        blocks: Tensor, and number within it, of each block, int32, on the device.
        places: Size of each tensor, and the tensors left and right of it, -1 at an end, int64.
    """

    blocks: Tensor
    places: np.ndarray


@lru_cache(maxsize=64)
def _chain_plan(
    sizes: tuple[int, ...], is_periodic: bool, block: int, device: torch.device
) -> _ChainPlan:
    blocks = [(k, i) for k, size in enumerate(sizes) for i in range(-(-size // block))]
    places = np.column_stack([np.array(sizes, np.int64), chain_links(sizes, is_periodic)])
    table = torch.tensor(blocks, dtype=torch.int32).view(-1, 2)
    return _ChainPlan(table.to(device), places)


def can_diffuse_velocity(params: Sequence[Tensor], dims: Sequence[tuple[int, ...]]) -> bool:
    """Whether the kernel can step these tensors along these axes in place."""
    from heatgrad.optim.kernels import velocity_cuda as kernels

    return _have_tiles(tuple([param.shape for param in params]), tuple(dims), kernels.TILE)


_have_tiles = lru_cache(maxsize=256)(have_tiles)


def step_velocity(step: VelocityStep) -> None:
    """Step all tensors of one group: decay, Eqs. (V.6) and (V.7).

    Equal to `diffused_nesterov` but for rounding.
    """
    params, dims = step.params, step.dims
    dials = (step.lr, step.momentum, step.per_axis, step.weight_decay)
    device = params[0].device
    numbers = np.empty((len(params), 5))
    numbers[:] = (*(number(dial) for dial in dials), -1.0 if step.maximize else 1.0)
    rows = _rows(params, step.grads, step.buffers, numbers)
    is_aligned = not (rows[:, :3] % 16).any()
    shapes = tuple([param.shape for param in params])
    is_periodic = step.boundary == "periodic"
    plan = _velocity_plan(shapes, tuple(dims), is_periodic, is_aligned, device)
    rows[:, 3] = [len(axes) for axes in dims]
    table = upload(rows, device)
    for place, dial in enumerate(dials):
        _put_dial(table, place, dial)
    _launch_velocity(plan, table, params[0], step.boundary)
    torch.autograd.graph.increment_version([*params, *step.buffers])


def _launch_velocity(plan: "_VelocityPlan", table: Tensor, like: Tensor, boundary: str) -> None:
    from heatgrad.optim.kernels import velocity_cuda as kernels

    device = table.device
    if len(plan.tiles) == 0:
        return
    options = {
        "AXES": plan.axes.shape[1] // 2,
        "ENDS": ("neumann", "periodic", "dirichlet").index(boundary),
        **_types(like.dtype),
    }
    edges = None
    with _on(device):
        if plan.plane:
            edges = torch.empty(2 * plan.plane, dtype=like.dtype, device=device)
            kernels.gather_edges[(len(plan.chunks),)](
                plan.chunks,
                plan.cuts,
                table,
                plan.axes,
                edges,
                plan.plane,
                **options,
                LANES=kernels.LANES,
                enable_fp_fusion=True,
            )
        kernels.step_tiles[(len(plan.tiles),)](
            plan.tiles,
            table,
            plan.axes,
            edges,
            plan.plane,
            HAS_CUTS=plan.plane > 0,
            **options,
            TILE=kernels.TILE,
            **_launch(like.dtype),
        )
    if is_capturing():
        keep_for_replays(plan)


class _VelocityPlan(NamedTuple):
    """`velocity_tiles.Tiles`, with its tables on the device."""

    tiles: Tensor
    axes: Tensor
    cuts: Tensor
    chunks: Tensor
    plane: int


@lru_cache(maxsize=64)
def _velocity_plan(
    shapes: tuple[tuple[int, ...], ...],
    dims: tuple[tuple[int, ...], ...],
    is_periodic: bool,
    is_aligned: bool,
    device: torch.device,
) -> _VelocityPlan:
    from heatgrad.optim.kernels import velocity_cuda as kernels

    cut = cut_into_tiles(
        shapes,
        dims,
        is_periodic=is_periodic,
        is_aligned=is_aligned,
        tile=kernels.TILE,
        longest_cut=kernels.LONGEST_CUT,
        lanes=kernels.LANES,
    )

    def put(table: np.ndarray) -> Tensor:
        return torch.from_numpy(table).to(device)

    return _VelocityPlan(put(cut.tiles), put(cut.axes), put(cut.cuts), put(cut.chunks), cut.plane)


def _rows(
    params: Sequence[Tensor],
    grads: Sequence[Tensor],
    buffers: Sequence[Tensor],
    numbers: np.ndarray,
) -> np.ndarray:
    """Return the kernels' table of tensors with addresses and numbers, on the host."""
    rows = np.zeros((len(params), _COLUMNS), dtype=np.int64)
    put_addresses(rows, params, grads, buffers)
    rows[:, _NUMBERS : _NUMBERS + numbers.shape[1]] = numbers.view(np.int64)
    return rows


def _put_dial(table: Tensor, place: int, value: float | Tensor) -> None:
    """Put a number that lies on the device into rows of the table, without looking at it."""
    if isinstance(value, Tensor) and is_on_device(value):
        table[:, _NUMBERS + place].view(torch.float64).copy_(value.view(1))


def _types(dtype: torch.dtype) -> dict[str, Any]:
    """Return triton's types of what is stepped and of what is computed."""
    from triton import language

    named = {"DTYPE": dtype, "WIDE": TYPES[dtype]}
    return {
        key: getattr(language, str(value).removeprefix("torch.")) for key, value in named.items()
    }


def _launch(dtype: torch.dtype) -> dict[str, Any]:
    """Return how the large launches are made: eight elements a thread."""
    options = {"num_warps": 8, "enable_fp_fusion": True}
    if torch.version.hip is None and dtype != torch.float64:
        options["maxnreg"] = _MOST_REGISTERS
    return options


def _on(device: torch.device) -> AbstractContextManager[None]:
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()
