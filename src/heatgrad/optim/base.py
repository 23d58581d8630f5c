"""The drop-in SGD around a transformed gradient; its subclasses say which transform."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer, ParamsT, _use_grad_for_differentiable

from heatgrad.optim import checks, operators, updates

__all__ = ["ActiveGroup", "TransformedSGD", "diffuse"]


class ActiveGroup:
    """The parameters of one group that have a gradient, and that gradient on its way.

    Attributes:
        options: The parameter group's dict.
        params: Its parameters that have a gradient.
        grads: Their gradients: first as the caller left them, then decayed, diffused, clipped.
    """

    def __init__(self, options: dict[str, Any]) -> None:
        self.options = options
        self.params = [p for p in options["params"] if p.grad is not None]
        self.grads: list[Tensor] = [p.grad for p in self.params]
        for param in self.params:
            if param.grad.layout != torch.strided:
                raise RuntimeError(
                    f"diffusion needs dense gradients, got layout {param.grad.layout} for a "
                    f"parameter of shape {tuple(param.shape)}; use torch.optim.SGD for it"
                )


class TransformedSGD(Optimizer, ABC):
    """SGD whose gradient is transformed between weight decay and clipping. Abstract."""

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
        if fused and differentiable:
            raise RuntimeError("fused=True does not support differentiable=True")
        if fused and foreach:
            raise RuntimeError("fused=True and foreach=True cannot be set together")
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

    @abstractmethod
    def _transform(self, groups: Sequence[ActiveGroup]) -> None:
        """Replace each group's decayed gradients by the directions to follow."""

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a parameter group, after the checks that the constructor makes."""
        if not isinstance(param_group, dict):
            raise TypeError(
                f"param_group must be a dict such as {{'params': [...]}}, got "
                f"{type(param_group).__name__}"
            )
        options = {**self.defaults, **param_group}
        checks.check_group(options)
        checks.check_groups_agree([*self.param_groups, options])
        super().add_param_group(param_group)
        checks.warn_about(self.param_groups[-1])

    def __setstate__(self, state: dict[str, Any]) -> None:
        previous = self.__dict__.get("param_groups", [])
        super().__setstate__(state)
        # A checkpoint of a plain SGD has no diffusion: keep what the constructor was given.
        for index, group in enumerate(self.param_groups):
            known = previous[index] if index < len(previous) else self.defaults
            for name in self.defaults:
                group.setdefault(name, known[name])

    @torch.no_grad()
    def gradient_directions(self) -> tuple[list[Tensor], list[Tensor]]:
        """Return the decayed gradients before and after the transform; nothing is changed.

        Returns:
            Two lists with one tensor per parameter that has a gradient, in group order:
            the gradient with weight decay, and the direction made of it, not yet clipped.
        """
        groups = self._active_groups()
        before = [grad for group in groups for grad in group.grads]
        self._transform(groups)
        return before, [grad for group in groups for grad in group.grads]

    @_use_grad_for_differentiable
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Perform one optimization step.

        Args:
            closure: Re-evaluates the model and returns the loss; called once, with gradients
                enabled.

        Returns:
            The closure's value, or None.

        Raises:
            RuntimeError: If a gradient is sparse, or complex with `fused=True`.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        groups = self._active_groups()
        self._transform(groups)
        self._clip(groups)
        for group in groups:
            self._update(group)
        return loss

    def _active_groups(self) -> list[ActiveGroup]:
        # Groups may be edited between steps, or loaded: what decides the step is looked at again.
        checks.check_groups_agree(self.param_groups)
        groups = [ActiveGroup(options) for options in self.param_groups]
        for group in groups:
            options = group.options
            checks.check_transform(options)
            if options["fused"] and any(p.is_complex() for p in group.params):
                raise RuntimeError("fused=True does not support complex parameters")
            group.grads = updates.decay(
                group.params, group.grads, options["weight_decay"], options["maximize"]
            )
        return groups

    def _clip(self, groups: Sequence[ActiveGroup]) -> None:
        max_norm = groups[0].options["max_norm"]
        grads = [grad for group in groups for grad in group.grads]
        if max_norm is not None and grads:
            put(groups, updates.clip_by_global_norm(grads, max_norm))

    def _update(self, group: ActiveGroup) -> None:
        options, params = group.options, group.params
        if not params:
            return
        has_momentum = options["momentum"] != 0
        buffers = [self.state[p].get("momentum_buffer") if has_momentum else None for p in params]
        heavy_ball = {
            "lr": options["lr"],
            "momentum": options["momentum"],
            "dampening": options["dampening"],
            "nesterov": options["nesterov"],
        }
        if uses_foreach(options, params):
            updates.heavy_ball_foreach(params, group.grads, buffers, **heavy_ball)
        else:
            differentiable = options["differentiable"]
            updates.heavy_ball(
                params, group.grads, buffers, **heavy_ball, differentiable=differentiable
            )
        if has_momentum:
            for param, buffer in zip(params, buffers, strict=True):
                self.state[param]["momentum_buffer"] = buffer


def uses_foreach(options: dict[str, Any], params: Sequence[Tensor]) -> bool:
    """Whether a group takes the multi-tensor path: on request, and on CUDA by default."""
    if options["differentiable"]:
        return False
    if options["foreach"] is None:
        return not options["fused"] and all(p.is_cuda for p in params)
    return bool(options["foreach"])


def put(groups: Sequence[ActiveGroup], grads: Sequence[Tensor]) -> None:
    """Hand a list of gradients over all groups back to the groups, in order."""
    start = 0
    for group in groups:
        group.grads = list(grads[start : start + len(group.params)])
        start += len(group.params)


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
