"""What `DiffusionSGD` and its controls share: their options, and the diffusion of all groups."""

from collections.abc import Sequence
from functools import reduce
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from heatgrad.laplacian import max_explicit_diffusion, spectral_radius
from heatgrad.optim import checks, operators, sharded
from heatgrad.optim.base import TransformedSGD
from heatgrad.optim.dials import is_out_of_sight, is_zero
from heatgrad.optim.drop_in import ActiveGroup, uses_foreach
from heatgrad.optim.stability import StabilityReport, StabilityRow

__all__ = ["DiffusedSGD", "chain_ends", "diffuse"]


class DiffusedSGD(TransformedSGD):
    """SGD with the options of `DiffusionSGD`. Abstract."""

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float | Tensor = 0.0,
        nesterov: bool = False,
        *,
        diffusion: float = 0.0,
        mode: str = "global",
        boundary: str = "neumann",
        max_norm: float | None = None,
        maximize: bool = False,
        foreach: bool | None = None,
        fused: bool | None = None,
        differentiable: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "diffusion": diffusion,
            "mode": mode,
            "boundary": boundary,
            "max_norm": max_norm,
            "maximize": maximize,
            "foreach": foreach,
            "fused": fused,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a parameter group, after the checks that the constructor makes."""
        checks.check_is_dict(param_group)
        options = {**self.defaults, **param_group}
        checks.check_group(options)
        checks.check_groups_agree([*self.param_groups, options])
        super().add_param_group(param_group)
        checks.warn_about(self.param_groups[-1])

    def stability(self) -> StabilityReport:
        """Return, per group, λ, its bound and the gains on the frequencies of the gradient.

        Printed, the report is a table. A negative gain is a step uphill for that frequency.
        """
        rows = []
        length = sum(
            p.numel()
            for group in self.param_groups
            if group["mode"] == "global"
            for p in group["params"]
        )
        for index, options in enumerate(self.param_groups):
            mode, strength = options["mode"], float(options["diffusion"])
            if mode == "global":
                highest = spectral_radius([length], options["boundary"])
                gains, bound = (1 - strength * highest, 1.0), max_explicit_diffusion(1)
            else:
                gains, bound = _mean_gains(mode, strength)
            what = f"chain, {options['boundary']}" if mode == "global" else mode
            rows.append(
                StabilityRow(index, what, len(options["params"]), 1, strength, bound, gains)
            )
        return StabilityReport("lambda", tuple(rows))

    def _check_step(self) -> None:
        checks.check_groups_agree(self.param_groups)
        for group in self.param_groups:
            checks.check_transform(group)


def diffuse(groups: Sequence[ActiveGroup]) -> list[Tensor]:
    """Return the diffused gradients of all groups, in order, each by its group's mode.

    Global-mode groups form one chain across their borders; each element uses its own
    group's coefficient.
    """
    chain = [group for group in groups if group.options["mode"] == "global"]
    grads = [grad for group in chain for grad in group.grads]
    diffusion = [group.options["diffusion"] for group in chain for _ in group.grads]
    if not all(map(is_zero, diffusion)):
        values = [value for group in chain for value in group.values]
        foreach = all(uses_foreach(group.options, values) for group in chain)
        foreach = foreach and not any(map(is_out_of_sight, diffusion))
        stencil = operators.diffuse_chain_foreach if foreach else operators.diffuse_chain
        neighbours = chain_ends(chain, decayed=True)
        pairs = None if neighbours is None else neighbours.pairs()
        grads = stencil(grads, diffusion, chain[0].options["boundary"], pairs)
    chained = iter(grads)
    means = iter(_means([group for group in groups if group.options["mode"] != "global"]))
    diffused = []
    for group in groups:
        options = group.options
        for grad in group.grads:
            if options["mode"] == "global":
                diffused.append(next(chained))
            else:
                diffused.append(
                    operators.diffuse_layer(
                        grad, options["diffusion"], options["mode"], next(means)
                    )
                )
    return diffused


def chain_ends(chain: Sequence[ActiveGroup], *, decayed: bool) -> sharded.ChainNeighbours | None:
    """Return what lies next to each decayed gradient where some are parts of longer ones.

    Args:
        chain: The groups of the chain.
        decayed: Whether their gradients are decayed already.
    """
    layouts = [layout for group in chain for layout in group.layouts]
    if not any(layouts):
        return None
    grads = [grad for group in chain for grad in group.grads]
    return sharded.chain_neighbours(
        layouts,
        [
            tuple(value.shape if layout is None else layout.shape)
            for group in chain
            for value, layout in zip(group.grads, group.layouts, strict=True)
        ],
        [source for group in chain for source in group.sources(decayed=decayed)],
        chain[0].options["boundary"],
        dtype=reduce(torch.promote_types, (grad.dtype for grad in grads)),
        device=grads[0].device,
    )


def _means(groups: Sequence[ActiveGroup]) -> list[Tensor | None]:
    """Return, for each gradient, the mean over the whole one where only a part is held here."""
    layouts = [layout for group in groups for layout in group.layouts]
    means: list[Tensor | None] = [None] * len(layouts)
    modes = [group.options["mode"] for group in groups for _ in group.params]
    shapes = [param.shape for group in groups for param in group.params]
    cut = [
        i
        for i, layout in enumerate(layouts)
        if layout is not None and operators.has_deviation(shapes[i], modes[i])
    ]
    grads = [grad for group in groups for grad in group.grads]
    dims = [operators.averaged_dims(len(shapes[i]), modes[i]) for i in cut]
    sums = [
        grads[i].sum(axes, keepdim=True, dtype=torch.promote_types(grads[i].dtype, torch.float32))
        for i, axes in zip(cut, dims, strict=True)
    ]
    totals = sharded.sums_over_shards(sums, [layouts[i] for i in cut], dims)
    for i, total, axes in zip(cut, totals, dims, strict=True):
        means[i] = total / prod(shapes[i][axis] for axis in axes)
    return means


def _mean_gains(mode: str, strength: float) -> tuple[tuple[float, float], float]:
    """Return the smallest and largest gain of a mean-based mode, and its bound."""
    if mode == "layer":
        return (min(1.0, 1 - strength), 1.0), 2.0
    if mode == "layer_literal":
        return (1.0, 1 + strength), 0.0
    return (1 - strength, 1.0), 1.0
