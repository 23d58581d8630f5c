"""The fused steps as operators of torch, so that a compiled step is one call of a kernel.

Numbers that a schedule turns come in one tensor: as tensors they may change without a new graph.
Outside of compiled code the steps are called directly, which costs less.
"""

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any, NamedTuple

import torch
from torch import Tensor

from heatgrad.optim import checks, fused, fused_cuda
from heatgrad.optim.dials import is_on_device
from heatgrad.optim.drop_in import ActiveGroup
from heatgrad.optim.fused_inputs import Velocities, VelocityStep

__all__ = ["can_compile", "step_chain", "step_velocity"]

_TURNED = ("lr", "momentum", "diffusion", "weight_decay")
_HAS_NUMBA, _HAS_TRITON = (find_spec(name) is not None for name in ("numba", "triton"))


def can_compile(groups: Sequence[ActiveGroup], buffers: Sequence[Tensor | None]) -> bool:
    """Whether a step that is being compiled may call a kernel; `fused.is_safe`, in fewer words."""
    first = groups[0].values[0]
    if first.device.type == "cuda":
        is_known = _HAS_TRITON and first.dtype in fused_cuda.TYPES
        if torch.version.hip is None:
            is_known = is_known and torch.cuda.get_device_properties(first.device).major >= 8
    else:
        is_known = first.device.type == "cpu" and _HAS_NUMBA and first.dtype in fused.TYPES
    if not is_known:
        return False
    values = [value for group in groups for value in group.values]
    if any(b is not None and b.shape != v.shape for b, v in zip(buffers, values, strict=True)):
        return False
    if not all(b is None or _is_as(b, first) for b in buffers):
        return False
    for group in groups:
        if any(g.shape != v.shape for g, v in zip(group.grads, group.values, strict=True)):
            return False
        if group.values is not group.params:  # parts of tensors that are cut over processes
            return False
        for name in _TURNED:
            value = group.options[name]
            if isinstance(value, Tensor) and value.requires_grad:
                return False
        if not all(_is_as(tensor, first) for tensor in (*group.values, *group.grads)):
            return False
    return True


def _is_as(tensor: Tensor, first: Tensor) -> bool:
    """Whether a tensor is of one's type and device, dense, and holds what its memory holds."""
    is_alike = tensor.dtype == first.dtype and tensor.device == first.device
    return is_alike and tensor.is_contiguous() and not tensor.is_neg()


def step_chain(groups: Sequence[ActiveGroup], buffers: Sequence[Velocities]) -> None:
    """Call the operator of `fused.step_chain`."""
    moves = [group.options["momentum"] != 0 for group in groups]
    counts = [len(group.values) for group in groups]
    new = []
    for number, (_, places) in enumerate(buffers):
        new += [sum(counts[:number]) + place for place in places if moves[number]]
    options = [group.options for group in groups]
    max_norm = options[0]["max_norm"]
    _step_chain(
        [value for group in groups for value in group.values],
        [grad for group in groups for grad in group.grads],
        [
            v
            for (of_group, _), is_kept in zip(buffers, moves, strict=True)
            for v in of_group
            if is_kept
        ],
        torch.stack([_together([o[name] for name in _TURNED]) for o in options]),
        counts,
        new,
        moves,
        [float(o["dampening"]) for o in options],
        [bool(o["nesterov"]) for o in options],
        [bool(o["maximize"]) for o in options],
        options[0]["boundary"],
        None if max_norm is None else float(max_norm),
    )


def step_velocity(step: VelocityStep) -> None:
    """Call the operator of `fused.step_velocity`."""
    _step_velocity(
        list(step.params),
        list(step.grads),
        list(step.buffers),
        _together([step.lr, step.momentum, step.per_axis, step.weight_decay]),
        [len(axes) for axes in step.dims],
        [axis for axes in step.dims for axis in axes],
        step.boundary,
        step.maximize,
        step.is_bounded,
    )


class _Group(NamedTuple):
    """What a step reads of an `ActiveGroup`."""

    options: dict[str, Any]
    params: list[Tensor]
    values: list[Tensor]
    grads: list[Tensor]
    layouts: list[None]


@torch.library.custom_op("heatgrad::step_chain", mutates_args=("params", "velocities"))
def _step_chain(
    params: list[Tensor],
    grads: list[Tensor],
    velocities: list[Tensor],
    turned: Tensor,
    counts: list[int],
    new: list[int],
    moves: list[bool],
    dampening: list[float],
    nesterov: list[bool],
    maximize: list[bool],
    boundary: str,
    max_norm: float | None,
) -> None:
    groups: list[Any] = []
    buffers = []
    start = taken = 0
    for i, count in enumerate(counts):
        stop = start + count
        values = params[start:stop]
        options = dict(zip(_TURNED, _apart(turned[i]), strict=True))
        checks.check_rates(options)  # In compiled code this is the first look at the numbers.
        checks.check_diffusion(options["diffusion"], "global")
        if not moves[i]:
            options["momentum"] = 0.0
        options |= {
            "dampening": dampening[i],
            "nesterov": nesterov[i],
            "maximize": maximize[i],
            "boundary": boundary,
            "max_norm": max_norm,
        }
        groups.append(_Group(options, values, values, grads[start:stop], [None] * count))
        if moves[i]:
            places = [place - start for place in new if start <= place < stop]
            buffers.append((velocities[taken : taken + count], places))
            taken += count
        else:
            buffers.append((values, []))
        start = stop
    rest = iter(velocities)
    of_each = [next(rest) if moves[i] else None for i, n in enumerate(counts) for _ in range(n)]
    _check_memory(params, grads, of_each)
    fused.step_chain(groups, buffers)


@torch.library.custom_op("heatgrad::step_velocity", mutates_args=("params", "velocities"))
def _step_velocity(
    params: list[Tensor],
    grads: list[Tensor],
    velocities: list[Tensor],
    turned: Tensor,
    num_axes: list[int],
    axes: list[int],
    boundary: str,
    maximize: bool,
    is_bounded: bool,
) -> None:
    lr, momentum, per_axis, weight_decay = _apart(turned)
    if not is_on_device(lr):  # In compiled code this is the first look at the numbers.
        checks.check_velocity_numbers(lr, momentum, per_axis, is_bounded=is_bounded)
    _check_memory(params, grads, velocities)
    rest = iter(axes)
    step = VelocityStep(
        params,
        grads,
        velocities,
        lr=lr,
        momentum=momentum,
        per_axis=per_axis,
        dims=[tuple(next(rest) for _ in range(n)) for n in num_axes],
        boundary=boundary,
        weight_decay=weight_decay,
        maximize=maximize,
    )
    fused.step_velocity(step)


@_step_chain.register_fake
@_step_velocity.register_fake
def _(*arguments: object) -> None:
    """Nothing is returned."""


def _check_memory(
    params: Sequence[Tensor], grads: Sequence[Tensor], velocities: Sequence[Tensor | None]
) -> None:
    """Refuse what has changed since the step was compiled, of which torch.compile is not told."""
    if not fused.is_as_kernels_need(params, grads, velocities):
        raise RuntimeError(
            "a compiled step needs parameters, gradients and momentum buffers of one type, shape "
            "and device, dense and unshared, as when it was compiled, got others (as after "
            "model.double()); call torch.compiler.reset() to have it compiled anew"
        )


def _together(numbers: list[float | Tensor]) -> Tensor:
    """Return numbers as one tensor; on a device if one of them is."""
    devices = [n.device for n in numbers if isinstance(n, Tensor) and n.device.type != "cpu"]
    device = devices[0] if devices else torch.device("cpu")
    return torch.stack(
        [
            n.detach().reshape(()).to(device, torch.float64)
            if isinstance(n, Tensor)
            else torch.full((), n, dtype=torch.float64, device=device)
            for n in numbers
        ]
    )


def _apart(numbers: Tensor) -> list[Any]:
    """Return what `_together` has joined: floats, or tensors that lie on a device."""
    return numbers.tolist() if numbers.device.type == "cpu" else list(numbers.unbind())
