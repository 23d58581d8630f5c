"""The drop-in SGD around a transformed gradient; its subclasses say which transform."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import _use_grad_for_differentiable

from heatgrad.optim import sharded, updates
from heatgrad.optim.drop_in import ActiveGroup, DropInOptimizer, uses_foreach

__all__ = ["TransformedSGD", "put"]


class TransformedSGD(DropInOptimizer):
    """SGD whose gradient is transformed between weight decay and clipping. Abstract."""

    @abstractmethod
    def _transform(self, groups: Sequence[ActiveGroup]) -> None:
        """Replace each group's decayed gradients by the directions to follow."""

    @abstractmethod
    def _check_step(self) -> None:
        """Raise if what decides the transform is not usable; called before every step."""

    @torch.no_grad()
    def gradient_directions(self) -> tuple[list[Tensor], list[Tensor]]:
        """Return the decayed gradients before and after the transform; nothing is changed.

        Returns:
            Two lists with one tensor per parameter that has a gradient, in group order:
            the gradient with weight decay, and the direction made of it, not yet clipped.
        """
        groups = self._active_groups()
        self._decay(groups)
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
        if self._step_at_once(groups):
            return loss
        self._decay(groups)
        self._transform(groups)
        self._clip(groups)
        for group in groups:
            self._update(group)
        return loss

    def _step_at_once(self, groups: Sequence[ActiveGroup]) -> bool:
        """Do the whole step without storing any direction and return True, or return False."""
        return False

    def _active_groups(self) -> list[ActiveGroup]:
        # Groups may be edited between steps, or loaded: what decides the step is looked at again.
        self._check_step()
        return [ActiveGroup(options) for options in self.param_groups]

    def _decay(self, groups: Sequence[ActiveGroup]) -> None:
        for group in groups:
            options = group.options
            group.grads = updates.decay(
                group.values, group.grads, options["weight_decay"], options["maximize"]
            )

    def _clip(self, groups: Sequence[ActiveGroup]) -> None:
        max_norm = groups[0].options.get("max_norm")
        grads = [grad for group in groups for grad in group.grads]
        layouts = [layout for group in groups for layout in group.layouts]
        if max_norm is not None and grads:
            put(groups, updates.clip(grads, sharded.global_norm(grads, layouts), max_norm))

    def _rate(self, options: dict[str, Any]) -> float | Tensor:
        """Return the learning rate of a step of a group."""
        lr: float | Tensor = options["lr"]
        return lr

    def _update(self, group: ActiveGroup) -> None:
        options, params = group.options, group.values
        if not params:
            return
        has_momentum = options["momentum"] != 0
        buffers: list[Tensor | None] = [None] * len(params)
        if has_momentum:
            buffers = self._buffers(group)
        heavy_ball = {
            "lr": self._rate(options),
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
        self._keep_buffers(group, buffers)
        sharded.tell_written(group.params)


def put(groups: Sequence[ActiveGroup], grads: Sequence[Tensor]) -> None:
    """Hand a list of gradients over all groups back to the groups, in order."""
    start = 0
    for group in groups:
        group.grads = list(grads[start : start + len(group.params)])
        start += len(group.params)
