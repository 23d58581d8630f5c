"""Controls that diffuse the velocity between channels put into a random order."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT, _use_grad_for_differentiable

from heatgrad.core.random import stream_generator
from heatgrad.laplacian import Boundary, apply_stencil
from heatgrad.optim import sharded, updates
from heatgrad.optim.controls.lengths import one_where_zero
from heatgrad.optim.diffusion_nesterov import DiffusionNesterov, VelocityGroup

__all__ = ["NormMatchedPlaceboNesterov", "PlaceboDiffusionNesterov"]

Order = dict[int, Tensor]  # of the cells along each diffused axis


class _Move(NamedTuple):
    """Where a parameter goes, and what its velocity becomes."""

    group: VelocityGroup
    place: int
    direction: Tensor
    velocity: Tensor


class PlaceboDiffusionNesterov(DiffusionNesterov):
    r"""`DiffusionNesterov` along axes whose cells are put into a random order.

    $$v' = \gamma v + g + \beta P^\top \mathcal L P v, \qquad
    \theta' = \theta - \eta\,[g + \gamma v' + \beta P^\top \mathcal L P v'] \tag{V.16}$$

    where $P$ permutes each diffused axis of each tensor, drawn from `seed` and then fixed. Spectrum
    and step are those of `DiffusionNesterov`; only the neighbourhood is meaningless. If diffusion
    helps and this helps as much, which channels are neighbours did not matter.

    Its other arguments are those of `DiffusionNesterov`, but `foreach` and `fused` change nothing:
    it knows only the plain path. It takes memory for a few copies of all tensors, and no sharded
    parameters.

    Args:
        seed: Seed of the permutations; those of a parameter depend on its place among all.

    Raises:
        RuntimeError: For sharded parameters.

    Example:
        >>> import torch
        >>> weight = torch.nn.Parameter(torch.zeros(4))
        >>> optimizer = PlaceboDiffusionNesterov([weight], lr=1.0, momentum=0.0)
        >>> weight.grad = torch.tensor([0.0, 4.0, 0.0, 0.0])
        >>> optimizer.step()
        >>> weight.detach().sum().item()  # nothing is lost, it goes to others
        -4.0

    References:
        Theory page: Eq. (V.16).
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        momentum: float = 0.9,
        *,
        diffusion: float | Tensor = 1.0,
        seed: int = 0,
        dims: int | tuple[int, ...] | None = None,
        boundary: Boundary = "neumann",
        weight_decay: float | Tensor = 0.0,
        stability: str = "refine",
        maximize: bool = False,
        foreach: bool | None = None,
        fused: bool | None = None,
        differentiable: bool = False,
    ) -> None:
        super().__init__(
            params,
            lr,
            momentum,
            diffusion=diffusion,
            dims=dims,
            boundary=boundary,
            weight_decay=weight_decay,
            stability=stability,
            maximize=maximize,
            foreach=foreach,
            fused=fused,
            differentiable=differentiable,
        )
        self.defaults["seed"] = seed
        for group in self.param_groups:
            group.setdefault("seed", seed)

    @_use_grad_for_differentiable
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Perform one optimization step; see `DiffusionNesterov.step`."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        groups = self._velocity_groups()
        if any(layout is not None for group in groups for layout in group.layouts):
            raise RuntimeError(
                f"{type(self).__name__} permutes whole axes and takes no sharded parameters; run "
                f"the control on one device, or compare with MomentumMatchedNesterov"
            )
        places = {id(p): i for i, p in enumerate(p for g in self.param_groups for p in g["params"])}
        moves = [
            self._move(group, i, places[id(param)])
            for group in groups
            for i, param in enumerate(group.params)
        ]
        factor = self._factor(moves)
        for move in moves:
            param = move.group.params[move.place]
            updates.descend(param, move.direction * factor, updates.scalar(move.group.how["lr"]))
            self.state[param]["momentum_buffer"] = move.velocity
        return loss

    def _move(self, group: VelocityGroup, i: int, number: int) -> _Move:
        param, dims = group.params[i], group.dims[i]
        order = {axis: self._order(group.options["seed"], number, axis, param) for axis in dims}
        return self._moved(group, i, order)

    def _moved(self, group: VelocityGroup, i: int, order: Order) -> _Move:
        """Return the step of Eq. (V.16) of one tensor, under an order of its axes."""
        options, how = group.options, group.how
        param, momentum, beta = group.params[i], how["momentum"], how["beta"][i]
        (grad,) = updates.decay(
            [param], [group.grads[i]], options["weight_decay"], options["maximize"]
        )

        def spread(v: Tensor) -> Tensor:
            lap = apply_stencil(_permuted(v, order), group.dims[i], how["boundary"])
            return _permuted(lap, {axis: p.argsort() for axis, p in order.items()}).mul_(beta)

        old = self.state[param].get("momentum_buffer")
        new = grad.clone() if old is None else old * momentum + grad + spread(old)
        return _Move(group, i, grad + new * momentum + spread(new), new)

    def _order(self, seed: int, number: int, axis: int, param: Tensor) -> Tensor:
        return _axis_order(seed, number, axis, param.shape[axis]).to(param.device)

    def _factor(self, moves: Sequence[_Move]) -> Tensor | float:
        return 1.0


class NormMatchedPlaceboNesterov(PlaceboDiffusionNesterov):
    r"""`PlaceboDiffusionNesterov`, as far as `DiffusionNesterov` would have gone.

    $$\theta' = \theta - \eta\,\frac{\lVert u \rVert}{\lVert u_P \rVert}\,u_P \tag{V.17}$$

    where $u_P$ is the direction in the brackets of Eq. (V.16) and $u$ that of Eq. (V.7) from the
    same velocity, with one norm over all parameters, each times its learning rate. The velocity is
    the placebo's. Random neighbours are less alike than real ones, so the plain placebo's steps are
    shorter where order means something; here only the direction differs.

    Its arguments are those of `PlaceboDiffusionNesterov`.

    Example:
        >>> import torch
        >>> weight = torch.nn.Parameter(torch.zeros(4))
        >>> optimizer = NormMatchedPlaceboNesterov([weight], lr=1.0, momentum=0.0)
        >>> weight.grad = torch.tensor([0.0, 4.0, 0.0, 0.0])
        >>> optimizer.step()
        >>> round(weight.detach().norm().item() ** 2, 5)  # as long as the diffused (1, 2, 1, 0)
        6.0

    References:
        Theory page: Eq. (V.17).
    """

    def _factor(self, moves: Sequence[_Move]) -> Tensor | float:
        if not moves:
            return 1.0
        diffused = [self._moved(move.group, move.place, {}) for move in moves]
        length, own = (_length(of) for of in (diffused, moves))
        return (length / one_where_zero(own)).to(moves[0].direction.dtype)


@lru_cache(maxsize=1024)
def _axis_order(seed: int, number: int, axis: int, count: int) -> Tensor:
    """Return the order in which a seed shuffles an axis of a parameter."""
    return torch.randperm(count, generator=stream_generator(seed, "placebo", number, axis))


def _permuted(x: Tensor, order: Order) -> Tensor:
    for axis, places in order.items():
        x = x.index_select(axis, places)
    return x


def _length(moves: Sequence[_Move]) -> Tensor:
    steps = [move.direction * updates.scalar(move.group.how["lr"]) for move in moves]
    return sharded.global_norm(steps, [None] * len(steps))
