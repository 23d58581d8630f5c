"""Rivals that smooth the gradient by an implicit solve: [LSGD] and [Lao]."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, Literal

from torch import Tensor
from torch.optim.optimizer import ParamsT

from heatgrad.laplacian import Boundary
from heatgrad.optim import checks
from heatgrad.optim.base import TransformedSGD
from heatgrad.optim.drop_in import ActiveGroup
from heatgrad.optim.lines import Axis, smooth_lines

__all__ = ["LaplacianSmoothingSGD", "SobolevSGD"]


class _SmoothedSGD(TransformedSGD):
    """SGD whose gradient is smoothed tensor by tensor. Abstract."""

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float | Tensor = 0.0,
        nesterov: bool = False,
        *,
        diffusion: float = 1.0,
        boundary: Boundary = "periodic",
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
            "boundary": boundary,
            "maximize": maximize,
            "foreach": foreach,
            "fused": fused,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a parameter group, after the checks that the constructor makes."""
        checks.check_is_dict(param_group)
        checks.check_smoothing_group({**self.defaults, **param_group})
        super().add_param_group(param_group)

    def _check_step(self) -> None:
        for group in self.param_groups:
            checks.check_smoothing(group)

    def _transform(self, groups: Sequence[ActiveGroup]) -> None:
        for group in groups:
            sigma, boundary = group.options["diffusion"], group.options["boundary"]
            if sigma != 0 and group.params:
                axes = [self._axis(param.dim()) for param in group.params]
                group.grads = smooth_lines(group, axes, sigma, boundary)

    @abstractmethod
    def _axis(self, num_dims: int) -> Axis | None:
        """Return the axis of the lines of a tensor; None if it is left alone."""


class LaplacianSmoothingSGD(_SmoothedSGD):
    r"""SGD along the implicitly smoothed gradient of Osher et al. (2018).

    $$g' = (I - \sigma\,\mathcal L)^{-1} g \tag{R.11}$$

    per tensor, flattened in logical order, by two real FFTs. It keeps the sum of the gradient
    (periodic and Neumann ends), never lets its norm grow, and is stable for every σ. When not to
    use it: at large σ most of the gradient is gone, so compare it with a smaller step.

    Its other arguments are those of `torch.optim.SGD`.

    Args:
        params: Parameters, groups, or `model.named_parameters()`.
        lr: η, a float or a one-element tensor.
        diffusion: σ, per group, at least 0 [1].
        boundary: Ends of each tensor's line, per group; the paper's are `"periodic"`.

    Raises:
        ValueError: If an option is negative, not finite or unknown.
        RuntimeError: For sparse gradients, and `fused` beside what it excludes.

    Example:
        >>> import torch
        >>> weight = torch.nn.Parameter(torch.zeros(3))
        >>> optimizer = LaplacianSmoothingSGD([weight], lr=1.0, diffusion=1.0)
        >>> weight.grad = torch.tensor([0.0, 4.0, 0.0])
        >>> optimizer.step()
        >>> weight.data.round(decimals=4)
        tensor([-1., -2., -1.])

    References:
        Osher et al. (2018), arXiv:1806.06317. Theory page: Eq. (R.11).
    """

    def _axis(self, num_dims: int) -> Literal["all"]:
        return "all"


class SobolevSGD(_SmoothedSGD):
    r"""SGD along the Sobolev gradient in the direction of the output channels.

    $$g' = (I - \sigma\,\mathcal L_0)^{-1} g \tag{R.12}$$

    along dim 0 of every tensor of at least two axes, one line for each other index: the gradient in
    the metric $\langle x, y\rangle + \sigma \langle \partial_0 x, \partial_0 y\rangle$. Tensors of
    fewer axes are left alone. This is our derivation of the channel-directed gradients of Lao et
    al. (2020), whose constants, ends and exact metric are not known to us: it does not claim to
    reproduce that paper's numbers. When not to use it: as for `LaplacianSmoothingSGD`.

    Its other arguments are those of `torch.optim.SGD`.

    Args:
        params: Parameters, groups, or `model.named_parameters()`.
        lr: η, a float or a one-element tensor.
        diffusion: σ, per group, at least 0 [1].
        boundary: Ends of each line, per group.

    Raises:
        ValueError: If an option is negative, not finite or unknown.
        RuntimeError: For sparse gradients, and `fused` beside what it excludes.

    Example:
        >>> import torch
        >>> weight = torch.nn.Parameter(torch.zeros(3, 1))
        >>> optimizer = SobolevSGD([weight], lr=1.0, diffusion=1.0, boundary="neumann")
        >>> weight.grad = torch.tensor([[0.0], [4.0], [0.0]])
        >>> optimizer.step()
        >>> weight.data.round(decimals=4).tolist()
        [[-1.0], [-2.0], [-1.0]]

    References:
        Lao et al. (2020), arXiv:2008.10766. Theory page: Eq. (R.12).
    """

    def _axis(self, num_dims: int) -> int | None:
        return 0 if num_dims > 1 else None
