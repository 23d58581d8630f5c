"""A schedule of the diffusion, beside any schedule of the learning rate."""

from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

__all__ = ["LinearDiffusionDecay"]


class LinearDiffusionDecay:
    r"""Lowers the diffusion of every group linearly to zero.

    $$D_k = D_0 \max(0, 1 - k/K) \tag{V.13}$$

    after $k$ calls of `step`, with $D_0$ what each group had at the start. A group's tensor is
    changed in place, so compiled code and CUDA graphs see the new value.

    Args:
        optimizer: Any optimizer whose groups have `diffusion`.
        num_steps: K, the number of calls after which it is zero, at least 1. To reach zero in the
            last of E epochs, call `step` after each epoch and give E - 1.

    Raises:
        TypeError: If the optimizer is none of torch's.
        ValueError: If no group has `diffusion`, or `num_steps` is below 1.

    Example:
        >>> from heatgrad.optim import DiffusionNesterov
        >>> optimizer = DiffusionNesterov([torch.nn.Parameter(torch.ones(3))], diffusion=1.0)
        >>> schedule = LinearDiffusionDecay(optimizer, num_steps=4)
        >>> schedule.step()
        >>> optimizer.param_groups[0]["diffusion"]
        0.75

    References:
        [Sun] appendix D. Theory page: Eq. (V.13).
    """

    def __init__(self, optimizer: Optimizer, num_steps: int) -> None:
        if isinstance(num_steps, bool) or not isinstance(num_steps, int) or num_steps < 1:
            raise ValueError(f"num_steps must be a whole number, at least 1, got {num_steps!r}")
        if not isinstance(optimizer, Optimizer):
            raise TypeError(
                f"optimizer must be a torch.optim.Optimizer, got {type(optimizer).__name__}"
            )
        if not any("diffusion" in group for group in optimizer.param_groups):
            raise ValueError(
                "no parameter group has 'diffusion'; give an optimizer of heatgrad, such as "
                "DiffusionNesterov"
            )
        self.optimizer = optimizer
        self.num_steps = num_steps
        self.num_done = 0
        self.initial = [
            float(group["diffusion"]) if "diffusion" in group else None
            for group in optimizer.param_groups
        ]

    def step(self) -> None:
        """Lower the diffusion by one step; a group added later keeps its own.

        A tensor given to the optimizer's constructor is one for all groups, those added later too.
        """
        self.num_done += 1
        self._apply()

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint needs, as plain values."""
        return {
            "num_steps": self.num_steps,
            "num_done": self.num_done,
            "initial": list(self.initial),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where a checkpoint was; the groups' diffusion is set accordingly.

        Raises:
            ValueError: If it is not the state of a schedule over as many groups.
        """
        missing = sorted({"num_steps", "num_done", "initial"} - set(state))
        if missing:
            raise ValueError(
                f"state must be what state_dict() of a LinearDiffusionDecay returned, got one "
                f"without {', '.join(missing)}"
            )
        if len(state["initial"]) != len(self.initial):
            raise ValueError(
                f"state must be of a schedule over {len(self.initial)} parameter groups, got "
                f"{len(state['initial'])}; make the optimizer's groups as they were"
            )
        self.num_steps = state["num_steps"]
        self.num_done = state["num_done"]
        self.initial = list(state["initial"])
        self._apply()

    @torch.no_grad()
    def _apply(self) -> None:
        share = max(0.0, 1 - self.num_done / self.num_steps)
        for group, initial in zip(self.optimizer.param_groups, self.initial, strict=False):
            if initial is None:
                continue
            if isinstance(group["diffusion"], Tensor):
                group["diffusion"].fill_(initial * share)
            else:
                group["diffusion"] = initial * share
