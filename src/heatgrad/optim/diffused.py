"""What `DiffusionSGD` and its controls share: their options, and the diffusion of all groups."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.optim.optimizer import ParamsT

from heatgrad.laplacian import max_explicit_diffusion, spectral_radius
from heatgrad.optim import checks, operators
from heatgrad.optim.base import TransformedSGD
from heatgrad.optim.drop_in import ActiveGroup, uses_foreach
from heatgrad.optim.stability import StabilityReport, StabilityRow

__all__ = ["DiffusedSGD", "diffuse"]


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
    if any(diffusion):
        params = [param for group in chain for param in group.params]
        foreach = all(uses_foreach(group.options, params) for group in chain)
        stencil = operators.diffuse_chain_foreach if foreach else operators.diffuse_chain
        grads = stencil(grads, diffusion, chain[0].options["boundary"])
    chained = iter(grads)
    diffused = []
    for group in groups:
        options = group.options
        for grad in group.grads:
            if options["mode"] == "global":
                diffused.append(next(chained))
            else:
                diffused.append(
                    operators.diffuse_layer(grad, options["diffusion"], options["mode"])
                )
    return diffused


def _mean_gains(mode: str, strength: float) -> tuple[tuple[float, float], float]:
    """Return the smallest and largest gain of a mean-based mode, and its bound."""
    if mode == "layer":
        return (min(1.0, 1 - strength), 1.0), 2.0
    if mode == "layer_literal":
        return (1.0, 1 + strength), 0.0
    return (1 - strength, 1.0), 1.0
