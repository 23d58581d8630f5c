"""What every optimizer of ours shares with `torch.optim.SGD`: groups, checkpoints, code paths."""

from abc import ABC
from collections.abc import Sequence
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer, ParamsT

from heatgrad.optim import sharded, updates

__all__ = ["ActiveGroup", "DropInOptimizer", "uses_foreach"]


_GRAD, _LAYOUT = attrgetter("grad"), attrgetter("layout")
_NO_GRAD = type(None)
_DENSE = frozenset({torch.strided})


class ActiveGroup:
    """The parameters of one group that have a gradient, and that gradient on its way.

    Attributes:
        options: The parameter group's dict.
        params: Its parameters that have a gradient.
        values: What this process holds of them: the parameters themselves, or parts of a DTensor.
        layouts: How each is cut over processes; None where all of it is here.
        grads: Their gradients (of a DTensor the part that is held here): first as the caller left
            them, then decayed, diffused, clipped.
        buffers: What is held here of their momentum buffers, once they have been looked up.
    """

    def __init__(self, options: dict[str, Any]) -> None:
        self.options = options
        # Without a loop of the interpreter where every parameter has a gradient.
        self.params: list[Tensor] = options["params"]
        self.grads: list[Tensor] = list(map(_GRAD, self.params))
        if _NO_GRAD in set(map(type, self.grads)):
            self.params = [param for param in self.params if param.grad is not None]
            self.grads = list(map(_GRAD, self.params))
        if not _DENSE.issuperset(map(_LAYOUT, self.grads)):
            self._refuse_sparse()
        if options["fused"] and any(map(Tensor.is_complex, self.params)):
            raise RuntimeError("fused=True does not support complex parameters")
        self.buffers: list[Tensor | None] | None = None
        self.values = self.params
        self.layouts: list[sharded.Layout | None] = [None] * len(self.params)
        if sharded.are_sharded(self.params):
            if options["differentiable"]:
                raise RuntimeError(
                    "differentiable=True does not support DTensor parameters; use plain tensors"
                )
            self.values = [sharded.held_here(param) for param in self.params]
            self.grads = [sharded.gradient_held_here(param) for param in self.params]
            self.layouts = [sharded.layout_of(param) for param in self.params]

    def _refuse_sparse(self) -> None:
        for param, grad in zip(self.params, self.grads, strict=True):
            if grad.layout is not torch.strided:
                raise RuntimeError(
                    f"diffusion needs dense gradients, got layout {grad.layout} for a "
                    f"parameter of shape {tuple(param.shape)}; use torch.optim.SGD for it"
                )

    def sources(self, *, decayed: bool) -> list[sharded.Source]:
        """Return, for each gradient, what gives its decayed elements at an index."""
        decay, maximize = self.options["weight_decay"], self.options["maximize"]
        is_plain = decayed or not (maximize or isinstance(decay, Tensor) or decay != 0)

        def source(grad: Tensor, value: Tensor) -> sharded.Source:
            line = grad.reshape(-1)
            if is_plain:
                return line.__getitem__
            values = value.reshape(-1)
            return lambda index: updates.decay([values[index]], [line[index]], decay, maximize)[0]

        return [source(g, value) for g, value in zip(self.grads, self.values, strict=True)]


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

    def _buffers(self, group: ActiveGroup) -> list[Tensor | None]:
        """Return what this process holds of the momentum buffers, None where there is none yet."""
        if group.buffers is None:
            states = map(self.state.get, group.params)
            kept = [None if state is None else state.get("momentum_buffer") for state in states]
            if group.values is not group.params:
                kept = [None if x is None else sharded.held_here(x) for x in kept]
            group.buffers = kept
        return group.buffers

    def _filled_buffers(self, group: ActiveGroup) -> tuple[list[Tensor], list[int]]:
        """Return the momentum buffers, new ones of zeros where there is none, and their places."""
        buffers = self._buffers(group)
        new = [i for i, buffer in enumerate(buffers) if buffer is None]
        for i in new:
            buffers[i] = torch.zeros_like(group.values[i])
        if new:
            self._keep_buffers(group, buffers)
        return buffers, new  # type: ignore[return-value]

    def _keep_buffers(self, group: ActiveGroup, buffers: Sequence[Tensor | None]) -> None:
        """Put new or replaced momentum buffers into the state; a DTensor's are cut as it is."""
        for param, buffer in zip(group.params, buffers, strict=True):
            if buffer is None:
                continue
            if not sharded.is_sharded(param) or "momentum_buffer" not in self.state[param]:
                self.state[param]["momentum_buffer"] = sharded.as_sharded(buffer, param)


def uses_foreach(options: dict[str, Any], params: Sequence[Tensor]) -> bool:
    """Whether a group takes the multi-tensor path: on request, and on CUDA by default."""
    if options["differentiable"]:
        return False
    if options["foreach"] is None:
        return not options["fused"] and all(p.is_cuda for p in params)
    return bool(options["foreach"])
