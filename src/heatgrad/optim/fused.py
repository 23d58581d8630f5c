"""When the fused kernels may be taken, and the tables they work from."""

from collections.abc import Sequence
from functools import lru_cache
from importlib.util import find_spec
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from heatgrad.optim.drop_in import ActiveGroup

__all__ = ["is_safe", "step_chain", "wants_fused"]

_TYPES = {torch.float32: np.float32, torch.float64: np.float64}


def wants_fused(groups: Sequence[ActiveGroup]) -> bool:
    """Whether the kernel is asked for, or is the default: on a CPU, where something diffuses.

    Without any diffusion the default is the plain path, which has the bits of torch's.
    """
    options = [group.options for group in groups if group.params]
    if not options or any(o["differentiable"] or o["foreach"] for o in options):
        return False
    if all(o["fused"] for o in options):
        return True
    is_open = all(o["fused"] is None and o["foreach"] is None for o in options)
    return is_open and any(float(o["diffusion"]) != 0 for o in options)


def is_safe(groups: Sequence[ActiveGroup]) -> bool:
    """Whether memory is as the CPU kernels need it: one type, dense, in logical order."""
    if torch.compiler.is_compiling() or find_spec("numba") is None:
        return False
    params = [param for group in groups for param in group.params]
    dtype = params[0].dtype
    if dtype not in _TYPES:
        return False
    for group in groups:
        for name in ("lr", "weight_decay"):
            value = group.options[name]
            if isinstance(value, Tensor) and (value.requires_grad or value.device.type != "cpu"):
                return False
    return all(
        type(tensor) in (Tensor, torch.nn.Parameter)
        and tensor.dtype == dtype
        and tensor.device.type == "cpu"
        and tensor.layout == torch.strided
        and tensor.is_contiguous()
        for group in groups
        for pair in zip(group.params, group.grads, strict=True)
        for tensor in pair
    )


def step_chain(groups: Sequence[ActiveGroup], state: dict[Tensor, Any]) -> None:
    """Step all tensors of one chain: decay, diffuse, clip, heavy ball.

    Equal to the plain path but for rounding: the kernel multiplies and adds in one operation.

    Args:
        groups: Groups in mode `"global"`, for which `is_safe` holds.
        state: The optimizer's state; momentum buffers are made in it.
    """
    from heatgrad.optim.kernels import chain_cpu
    from heatgrad.optim.kernels.threads import for_each_run

    params = [param for group in groups for param in group.params]
    grads = [grad for group in groups for grad in group.grads]
    dtype = _TYPES[params[0].dtype]
    buffers, coefficients = _coefficients(groups, state, dtype)
    sizes = tuple(param.numel() for param in params)
    plan = _plan(sizes, groups[0].options["boundary"] == "periodic", chain_cpu.BLOCK)
    table = np.array(
        [
            (p.data_ptr(), g.data_ptr(), v.data_ptr(), p.numel())
            for p, g, v in zip(params, grads, buffers, strict=True)
        ],
        dtype=np.int64,
    )
    ends = groups[0].options["boundary"] == "dirichlet"
    like = np.empty(0, dtype)
    chain = (table, plan.blocks, plan.chain, like, coefficients, ends)
    num_blocks, size = len(plan.blocks), sum(sizes)
    scale = dtype(1)
    max_norm = groups[0].options["max_norm"]
    if max_norm is not None:
        squares = np.empty(num_blocks)
        for_each_run(
            lambda first, last: chain_cpu.square_norms(*chain, squares, first, last),
            num_blocks,
            size,
        )
        # In the order of the blocks, whoever has summed them.
        norm = np.sqrt(squares.sum())
        scale = dtype(1) if norm <= max_norm else dtype(max_norm / norm)
    borders = np.empty((num_blocks if coefficients[:, 5].any() else 0, 2), dtype)
    if len(borders):
        chain_cpu.gather_borders(*chain, borders)
    for_each_run(
        lambda first, last: chain_cpu.step_blocks(*chain, borders, scale, first, last),
        num_blocks,
        size,
    )
    torch.autograd.graph.increment_version(params)
    if any(group.options["momentum"] != 0 for group in groups):
        torch.autograd.graph.increment_version([b for b in buffers if b.numel()])


class _Plan(NamedTuple):
    """How a chain of tensors is cut; it depends on their sizes alone.

    Attributes:
        blocks: Tensor, first and last element of each block, int64.
        chain: The tensors left and right of each, -1 at an end, int64.
    """

    blocks: np.ndarray
    chain: np.ndarray


@lru_cache(maxsize=64)
def _plan(sizes: tuple[int, ...], is_periodic: bool, block: int) -> _Plan:
    blocks = [
        (k, start, min(start + block, size))
        for k, size in enumerate(sizes)
        for start in range(0, size, block)
    ]
    filled = [k for k, size in enumerate(sizes) if size > 0]
    chain = np.full((len(sizes), 2), -1, dtype=np.int64)
    for left, right in pairwise(filled):
        chain[left, 1], chain[right, 0] = right, left
    if is_periodic and filled:
        chain[filled[0], 0], chain[filled[-1], 1] = filled[-1], filled[0]
    return _Plan(np.array(blocks, dtype=np.int64).reshape(-1, 3), chain)


def _coefficients(
    groups: Sequence[ActiveGroup], state: dict[Tensor, Any], dtype: Any
) -> tuple[list[Tensor], np.ndarray]:
    """Return the momentum buffers, made where missing, and one row of numbers per tensor."""
    buffers, rows = [], []
    for group in groups:
        o = group.options
        row = [
            float(o["lr"]),
            o["momentum"],
            1 - o["dampening"],
            o["nesterov"],
            float(o["diffusion"]),
            float(o["weight_decay"]),
            -1.0 if o["maximize"] else 1.0,
            o["momentum"] != 0,
        ]
        for param in group.params:
            if o["momentum"] == 0:
                buffers.append(param)  # its address stands in the table, and is not used
                rows.append(row)
                continue
            buffer = state[param].get("momentum_buffer")
            if buffer is None:
                # As in torch, the first velocity is the gradient, not dampened.
                buffer = state[param]["momentum_buffer"] = torch.zeros_like(param)
                rows.append([*row[:2], 1.0, *row[3:]])
            else:
                rows.append(row)
            buffers.append(buffer)
    return buffers, np.array(rows, dtype=dtype).reshape(-1, 8)
