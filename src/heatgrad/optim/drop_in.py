"""What every optimizer of ours shares with `torch.optim.SGD`: groups, checkpoints, code paths."""

from abc import ABC
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer, ParamsT

__all__ = ["ActiveGroup", "DropInOptimizer", "uses_foreach"]


class ActiveGroup:
    """The parameters of one group that have a gradient, and that gradient on its way.

    Attributes:
        options: The parameter group's dict.
        params: Its parameters that have a gradient.
        grads: Their gradients: first as the caller left them, then decayed, diffused, clipped.
    """

    def __init__(self, options: dict[str, Any]) -> None:
        self.options = options
        pairs = [(p, grad) for p in options["params"] if (grad := p.grad) is not None]
        self.params: list[Tensor] = [param for param, _ in pairs]
        self.grads: list[Tensor] = [grad for _, grad in pairs]
        for param, grad in pairs:
            if grad.layout is not torch.strided:
                raise RuntimeError(
                    f"diffusion needs dense gradients, got layout {grad.layout} for a "
                    f"parameter of shape {tuple(param.shape)}; use torch.optim.SGD for it"
                )


class DropInOptimizer(Optimizer, ABC):
    """Base of a drop-in for torch's SGD. Abstract."""

    def __init__(self, params: ParamsT, defaults: dict[str, Any]) -> None:
        if defaults["fused"] and defaults["differentiable"]:
            raise RuntimeError("fused=True does not support differentiable=True")
        if defaults["fused"] and defaults["foreach"]:
            raise RuntimeError("fused=True and foreach=True cannot be set together")
        super().__init__(params, defaults)

    def __setstate__(self, state: dict[str, Any]) -> None:
        previous = self.__dict__.get("param_groups", [])
        super().__setstate__(state)
        # A checkpoint of a plain SGD has no diffusion: keep what the constructor was given.
        for index, group in enumerate(self.param_groups):
            known = previous[index] if index < len(previous) else self.defaults
            for name in self.defaults:
                group.setdefault(name, known[name])


def uses_foreach(options: dict[str, Any], params: Sequence[Tensor]) -> bool:
    """Whether a group takes the multi-tensor path: on request, and on CUDA by default."""
    if options["differentiable"]:
        return False
    if options["foreach"] is None:
        return not options["fused"] and all(p.is_cuda for p in params)
    return bool(options["foreach"])
