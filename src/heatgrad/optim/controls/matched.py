"""Controls that follow the plain gradient as far as diffusion would, at each step or on average."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from heatgrad.optim.base import put
from heatgrad.optim.controls.lengths import (
    diffused_length,
    gradients_of,
    is_still,
    length_of,
    one_where_zero,
)
from heatgrad.optim.dials import is_zero
from heatgrad.optim.diffused import DiffusedSGD
from heatgrad.optim.drop_in import ActiveGroup
from heatgrad.optim.updates import rescale, scalar

__all__ = ["LRMatchedSGD", "NormMatchedSGD"]

# Where the first parameter group keeps the sum of all ratios so far, and their number.
_STATE = ("ratio_sum", "num_ratios")


class NormMatchedSGD(DiffusedSGD):
    r"""SGD along the plain gradient, as far as `DiffusionSGD` would have gone.

    $$\tilde g = \frac{\lVert g + \lambda \mathcal{L} g \rVert}{\lVert g \rVert}\, g \tag{R.9}$$

    with one norm over all parameters. If diffusion helps and this helps as much, it worked as
    a smaller learning rate. A zero gradient stays zero.

    Its arguments are those of `DiffusionSGD`.

    Example:
        >>> import torch
        >>> weight = torch.nn.Parameter(torch.zeros(2))
        >>> optimizer = NormMatchedSGD([weight], lr=1.0, diffusion=0.25)
        >>> weight.grad = torch.tensor([3.0, -3.0])
        >>> optimizer.step()  # the diffused gradient is (1.5, -1.5)
        >>> weight.data
        tensor([-1.5000,  1.5000])

    References:
        Theory page: Eq. (R.9).
    """

    def _transform(self, groups: Sequence[ActiveGroup]) -> None:
        if is_still(groups):
            return
        plain = gradients_of(groups)
        factor = diffused_length(groups) / one_where_zero(length_of(plain, groups))
        put(groups, rescale(plain, factor))


class LRMatchedSGD(DiffusedSGD):
    r"""SGD along the plain gradient, with the learning rate that diffusion comes to on average.

    $$r_s = \frac{\lVert g_s + \lambda \mathcal{L} g_s \rVert}{\lVert g_s \rVert}, \qquad
    \bar r_t = \frac1t \sum_{s \le t} r_s, \qquad v_t = \mu v_{t-1} + g_t, \qquad
    \theta_{t+1} = \theta_t - \eta\, \bar r_t\, v_t \tag{R.14}$$

    with one norm over all parameters; with `max_norm` both lengths are those after clipping. The
    learning rate is matched, the length of a single step is not: if `NormMatchedSGD` does better,
    the lengths followed the gradient usefully; if both do as well as diffusion, a smaller learning
    rate is all it was. The momentum buffer is that of `torch.optim.SGD`.

    The mean is over all steps since the optimizer was made: another λ, learning rate or group does
    not start it anew. A step is not counted if its gradient is zero or not finite, or if all λ are
    0; in the last case it is plain SGD's. Sum and number of the ratios stand in the first parameter
    group (`ratio_sum` and `num_ratios`, 0-d float64 tensors), where a checkpoint keeps every digit
    of them. Loading one takes the mean from it; one that has none (of `torch.optim.SGD`, or from
    before the first step) starts it anew.

    Its arguments are those of `DiffusionSGD`.

    Example:
        >>> import torch
        >>> weight = torch.nn.Parameter(torch.zeros(2))
        >>> optimizer = LRMatchedSGD([weight], lr=1.0, diffusion=0.25)
        >>> weight.grad = torch.tensor([3.0, -3.0])
        >>> optimizer.step()  # diffused, half as long
        >>> weight.data
        tensor([-1.5000,  1.5000])
        >>> weight.grad = torch.tensor([1.0, 1.0])
        >>> optimizer.step()  # diffused, the same: on average 3/4
        >>> weight.data
        tensor([-2.2500,  0.7500])

    References:
        Theory page: Eq. (R.14).
    """

    @torch.no_grad()
    def gradient_directions(self) -> tuple[list[Tensor], list[Tensor]]:
        """Return the decayed gradients, and the same times what scales the learning rate.

        Nothing is changed: the gradients at hand count for what is returned, not for later steps.

        Returns:
            Two lists with one tensor per parameter that has a gradient, in group order.
        """
        groups = self._active_groups()
        self._decay(groups)
        plain = gradients_of(groups)
        if is_still(groups):
            return plain, plain
        return plain, rescale(plain, _mean(*self._with_ratio_of(groups)))

    def _transform(self, groups: Sequence[ActiveGroup]) -> None:
        """Count the step's ratio; the gradients are followed as they are."""
        if is_still(groups):
            return
        for name, value in zip(_STATE, self._with_ratio_of(groups), strict=True):
            self.param_groups[0][name] = value

    def _rate(self, options: dict[str, Any]) -> float | Tensor:
        lr: float | Tensor = options["lr"]
        if all(is_zero(group["diffusion"]) for group in self.param_groups):
            return lr
        return scalar(lr) * _mean(*(self.param_groups[0][name] for name in _STATE))

    def _with_ratio_of(self, groups: Sequence[ActiveGroup]) -> tuple[Tensor, Tensor]:
        """Return the sum and the number of the ratios so far and that of decayed gradients."""
        max_norm = groups[0].options["max_norm"]
        length, diffused = length_of(gradients_of(groups), groups), diffused_length(groups)
        if max_norm is not None:
            length, diffused = length.clamp(max=max_norm), diffused.clamp(max=max_norm)
        ratio = diffused / one_where_zero(length)
        is_counted = (length > 0) & ratio.isfinite()
        nothing = torch.zeros_like(ratio)
        total, number = (self.param_groups[0].get(name, nothing) for name in _STATE)
        return total + torch.where(is_counted, ratio, nothing), number + is_counted


def _mean(total: Tensor, number: Tensor) -> Tensor:
    """Return the mean of ratios; 1 where there is none yet."""
    return torch.where(number > 0, total / number.clamp(min=1), torch.ones_like(total))
