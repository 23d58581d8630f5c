"""What the fused steps of all devices are given, and what their tables share."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from heatgrad.optim.dials import is_on_device, is_out_of_sight
from heatgrad.optim.drop_in import ActiveGroup

__all__ = [
    "Velocities",
    "VelocityStep",
    "chain_links",
    "chain_numbers",
    "has_momentum",
    "moving_buffers",
    "number",
    "put_addresses",
]

# Of a group the momentum buffers, without momentum any tensors, and the places of those that have
# not been stepped yet, which are zero.
Velocities = tuple[Sequence[Tensor], Sequence[int]]


class VelocityStep(NamedTuple):
    """A step of `DiffusionNesterov`, Eqs. (V.6) and (V.7), of one group.

    Attributes:
        params: Parameters, stepped in place.
        grads: Gradients, not yet decayed.
        buffers: Velocities, stepped in place; zeros where they have not been stepped yet.
        lr: η, refined as the next two are.
        momentum: γ [1].
        per_axis: N β, shared by the N axes of a parameter [1].
        dims: Diffused axes of each parameter.
        boundary: Ends of the axes.
        weight_decay: wd.
        maximize: Whether to ascend.
        is_bounded: Whether β above β_max is an error.
    """

    params: Sequence[Tensor]
    grads: Sequence[Tensor]
    buffers: Sequence[Tensor]
    lr: float | Tensor
    momentum: float | Tensor
    per_axis: float | Tensor
    dims: Sequence[tuple[int, ...]]
    boundary: str
    weight_decay: float | Tensor
    maximize: bool
    is_bounded: bool = False


def chain_links(sizes: Sequence[int], is_periodic: bool) -> np.ndarray:
    """Return the tensors left and right of each in a chain, -1 at an end, int64."""
    filled = [k for k, size in enumerate(sizes) if size > 0]
    links = np.full((len(sizes), 2), -1, dtype=np.int64)
    for left, right in pairwise(filled):
        links[left, 1], links[right, 0] = right, left
    if is_periodic and filled:
        links[filled[0], 0], links[filled[-1], 1] = filled[-1], filled[0]
    return links


def chain_numbers(groups: Sequence[ActiveGroup], buffers: Sequence[Velocities]) -> np.ndarray:
    """Return one row of numbers per tensor, float64.

    lr, momentum, 1 - dampening, nesterov, diffusion, weight decay, sign and whether there is
    momentum. A number that lies on a device is not looked at: it stands as 0.
    """
    rows = []
    for group in groups:
        o = group.options
        rows.append(
            (
                number(o["lr"]),
                number(o["momentum"]),
                1 - o["dampening"],
                o["nesterov"],
                number(o["diffusion"]),
                number(o["weight_decay"]),
                -1.0 if o["maximize"] else 1.0,
                has_momentum(o),
            )
        )
    counts = [len(group.params) for group in groups]
    table = np.array(rows, dtype=np.float64).repeat(counts, axis=0)
    start = 0
    for count, (_, places) in zip(counts, buffers, strict=True):
        if places:  # as in torch, the first velocity is the gradient, not dampened
            table[[start + place for place in places], 2] = 1
        start += count
    return table


def has_momentum(options: dict[str, Any]) -> bool:
    """Whether a group has momentum; a number on a device is taken for some."""
    return is_out_of_sight(options["momentum"]) or bool(options["momentum"] != 0)


def moving_buffers(groups: Sequence[ActiveGroup], buffers: Sequence[Velocities]) -> list[Tensor]:
    """Return the momentum buffers of the groups that have momentum: a step writes to them."""
    return [
        buffer
        for group, (of_group, _) in zip(groups, buffers, strict=True)
        if has_momentum(group.options)
        for buffer in of_group
    ]


def put_addresses(
    table: np.ndarray, params: Sequence[Tensor], grads: Sequence[Tensor], buffers: Sequence[Tensor]
) -> None:
    """Put the addresses of p, g and v into the first three columns, one row per tensor."""
    for column, tensors in enumerate((params, grads, buffers)):
        table[:, column] = list(map(Tensor.data_ptr, tensors))


def number(value: float | Tensor) -> float:
    """Return a number of the host as it is, and one of a device as 0."""
    return 0.0 if is_on_device(value) else float(value)
