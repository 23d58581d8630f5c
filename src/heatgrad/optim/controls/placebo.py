"""Controls that diffuse between randomly chosen partners."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from heatgrad.core.random import stream_generator
from heatgrad.optim import checks
from heatgrad.optim.base import put
from heatgrad.optim.controls.lengths import (
    diffused_length,
    gradients_of,
    is_still,
    length_of,
    one_where_zero,
)
from heatgrad.optim.diffused import DiffusedSGD
from heatgrad.optim.drop_in import ActiveGroup
from heatgrad.optim.operators import diffuse_chain
from heatgrad.optim.updates import rescale

__all__ = ["NormMatchedPlaceboSGD", "PlaceboDiffusionSGD", "permutation"]


class _Permuted(DiffusedSGD):
    """SGD with the options of a placebo. Abstract."""

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
        seed: int = 0,
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
        self.defaults["seed"] = seed
        for group in self.param_groups:
            group.setdefault("seed", seed)
        checks.check_placebo(self.param_groups)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a parameter group; the mode is `"global"` and the seed one for the optimizer."""
        checks.check_is_dict(param_group)
        options = {**self.defaults, **param_group}
        checks.check_placebo([*self.param_groups, options])
        super().add_param_group(param_group)

    def _placebo(self, groups: Sequence[ActiveGroup]) -> list[Tensor]:
        """Return the gradients of all groups, diffused along the permuted chain. Eq. (R.10)."""
        grads = gradients_of(groups)
        if not grads:
            return []
        if any(layout is not None for group in groups for layout in group.layouts):
            raise RuntimeError(
                f"{type(self).__name__} permutes all elements and takes no sharded parameters; "
                "run the control on one device, or compare with NormMatchedSGD"
            )
        common = _common_dtype(grads)
        device = grads[0].device
        flat = torch.cat([grad.reshape(-1).to(device, common) for grad in grads])
        sizes = [grad.numel() for grad in grads]
        strengths = [group.options["diffusion"] for group in groups for _ in group.grads]
        order = permutation(groups[0].options["seed"], flat.numel()).to(device)
        boundary = groups[0].options["boundary"]
        # diffuse_chain with λ = 1 gives g + Lap g; the difference is Lap g.
        permuted = flat[order]
        lap = torch.empty_like(flat)
        lap[order] = diffuse_chain([permuted], [1.0], boundary)[0] - permuted
        parts = [
            own + strength * moved
            for own, moved, strength in zip(
                torch.split(flat, sizes), torch.split(lap, sizes), strengths, strict=True
            )
        ]
        return [_cast(part.view(g.shape), g) for part, g in zip(parts, grads, strict=True)]


class PlaceboDiffusionSGD(_Permuted):
    r"""SGD whose gradient is diffused between randomly chosen partners.

    $$g' = g + \lambda P^\top \mathcal{L} P g \tag{R.10}$$

    where $P$ is one random permutation of all elements, drawn from `seed` and then fixed. The
    operator has the same spectrum as `DiffusionSGD`'s; only the neighbourhood is meaningless.
    If diffusion helps and this helps as much, the neighbourhood did not matter. Needs memory
    for the permutation and a copy of all gradients. Mode is always `"global"`.

    Its other arguments are those of `DiffusionSGD`, without `mode`.

    Args:
        seed: Seed of the permutation. It is redrawn, from the same seed, when the number of
            elements that have a gradient changes.

    Example:
        >>> import torch
        >>> weight = torch.nn.Parameter(torch.zeros(4))
        >>> optimizer = PlaceboDiffusionSGD([weight], lr=1.0, diffusion=0.25)
        >>> weight.grad = torch.tensor([0.0, 4.0, 0.0, 0.0])
        >>> optimizer.step()  # seed 0 puts this element at an end of the line
        >>> weight.data
        tensor([ 0., -3., -1.,  0.])

    References:
        Theory page: Eq. (R.10).
    """

    def _transform(self, groups: Sequence[ActiveGroup]) -> None:
        if not is_still(groups):
            put(groups, self._placebo(groups))


class NormMatchedPlaceboSGD(_Permuted):
    r"""SGD in the placebo's direction, as far as `DiffusionSGD` would have gone.

    $$\tilde g = \frac{\lVert G g \rVert}{\lVert G_P g \rVert}\, G_P g, \qquad
    G = I + \lambda \mathcal{L}, \quad G_P = I + \lambda P^\top \mathcal{L} P \tag{R.13}$$

    with one norm over all parameters and the permutation $P$ of `PlaceboDiffusionSGD`. The steps of
    the plain placebo have lengths of their own: random partners are less alike than neighbours.
    Here only the direction differs from that of diffusion. If diffusion helps and this helps as
    much, the neighbourhood did not matter; if this falls behind where the plain placebo does too,
    shorter steps were not why. Where the placebo's gradient is zero, so is this one. Mode is always
    `"global"`; needs the memory of the placebo, and the time of the placebo and of diffusion.

    Its other arguments are those of `DiffusionSGD`, without `mode`.

    Args:
        seed: Seed of the permutation, as for `PlaceboDiffusionSGD`.

    Example:
        >>> import torch
        >>> weight = torch.nn.Parameter(torch.zeros(4))
        >>> optimizer = NormMatchedPlaceboSGD([weight], lr=1.0, diffusion=0.25)
        >>> weight.grad = torch.tensor([0.0, 4.0, 0.0, 0.0])
        >>> optimizer.step()  # along (0, 3, 1, 0), of the length of the diffused (1, 2, 1, 0)
        >>> weight.data
        tensor([ 0.0000, -2.3238, -0.7746,  0.0000])

    References:
        Theory page: Eq. (R.13).
    """

    def _transform(self, groups: Sequence[ActiveGroup]) -> None:
        if is_still(groups):
            return
        moved = self._placebo(groups)
        factor = diffused_length(groups) / one_where_zero(length_of(moved, groups))
        put(groups, rescale(moved, factor))


@lru_cache(maxsize=4)
def permutation(seed: int, count: int) -> Tensor:
    """Return the order in which a seed shuffles a number of elements."""
    return torch.randperm(count, generator=stream_generator(seed, "placebo"))


def _common_dtype(grads: Sequence[Tensor]) -> torch.dtype:
    common = torch.float32
    for grad in grads:
        common = torch.promote_types(common, grad.dtype)
    return common


def _cast(value: Tensor, grad: Tensor) -> Tensor:
    if value.is_complex() and not grad.is_complex():
        value = value.real
    return value.to(device=grad.device, dtype=grad.dtype)
