"""The control with other neighbours: the chain of the transposed tensors."""

import copy
from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.optim.optimizer import ParamsT

from heatgrad.optim import checks
from heatgrad.optim.base import put
from heatgrad.optim.controls.lengths import is_still
from heatgrad.optim.dials import is_zero
from heatgrad.optim.diffused import DiffusedSGD, diffuse
from heatgrad.optim.drop_in import ActiveGroup

__all__ = ["LayoutDiffusionSGD"]


class LayoutDiffusionSGD(DiffusedSGD):
    r"""SGD whose gradient is diffused along the chain of the transposed tensors.

    $$g' = g + \lambda T^\top \mathcal{L} T g \tag{R.15}$$

    where $T$ puts the axes of every tensor in reverse order before it is flattened: the weight
    (out, in) of a linear layer is read as (in, out), and an element's neighbours are weights of
    the same input instead of the same output. Tensors of one axis are read as ever, and the first
    and last element of each tensor keep their places, so the chain joins the same tensors at the
    same elements. What is called a neighbour in a flattened gradient depends on how the tensors
    are laid out: if this does as well as `DiffusionSGD`, the layout did not matter; if it does not,
    what was found holds for one layout. Mode is always `"global"`: a mean has no neighbours.

    Its other arguments are those of `DiffusionSGD`, without `mode`.

    Example:
        >>> import torch
        >>> weight = torch.nn.Parameter(torch.zeros(2, 2))
        >>> optimizer = LayoutDiffusionSGD([weight], lr=1.0, diffusion=0.25)
        >>> weight.grad = torch.tensor([[4.0, 0.0], [0.0, 0.0]])
        >>> optimizer.step()  # its neighbour is the element below
        >>> weight.data
        tensor([[-3., 0.],
                [-1., 0.]])

    References:
        Theory page: Eq. (R.15).
    """

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
        boundary: str = "neumann",
        max_norm: float | None = None,
        maximize: bool = False,
        foreach: bool | None = None,
        fused: bool | None = None,
        differentiable: bool = False,
    ) -> None:
        super().__init__(
            params,
            lr,
            momentum,
            dampening,
            weight_decay,
            nesterov,
            diffusion=diffusion,
            boundary=boundary,
            max_norm=max_norm,
            maximize=maximize,
            foreach=foreach,
            fused=fused,
            differentiable=differentiable,
        )

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a parameter group; its mode is `"global"`."""
        checks.check_is_dict(param_group)
        checks.check_is_chain([{**self.defaults, **param_group}], "the layout control's")
        super().add_param_group(param_group)

    def _check_step(self) -> None:
        super()._check_step()
        checks.check_is_chain(self.param_groups, "the layout control's")

    def _transform(self, groups: Sequence[ActiveGroup]) -> None:
        if is_still(groups):
            return
        diffused = iter(diffuse([_transposed(group) for group in groups]))
        put(
            groups, [_back(next(diffused), grad, group) for group in groups for grad in group.grads]
        )


def _transposed(group: ActiveGroup) -> ActiveGroup:
    """Return a group with the axes of its gradients, and of how they are cut, in reverse order."""
    other = copy.copy(group)
    other.grads = [_reversed(grad) for grad in group.grads]
    other.layouts = [None if x is None else x.transposed for x in group.layouts]
    return other


def _back(diffused: Tensor, grad: Tensor, group: ActiveGroup) -> Tensor:
    """Return a diffused gradient in the shape of the gradient, and in memory's own order."""
    return grad if is_zero(group.options["diffusion"]) else _reversed(diffused).contiguous()


def _reversed(tensor: Tensor) -> Tensor:
    return tensor.permute(tuple(reversed(range(tensor.dim()))))
