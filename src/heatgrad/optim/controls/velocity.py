"""The controls of a study of `DiffusionNesterov`."""

from typing import Any

from heatgrad.laplacian import Boundary, axis_eigenvalues
from heatgrad.optim import updates, velocity
from heatgrad.optim.diffusion_nesterov import DiffusionNesterov, VelocityGroup

__all__ = ["MomentumMatchedNesterov", "RefinedNesterov", "mean_frequency"]


class RefinedNesterov(DiffusionNesterov):
    r"""Nesterov's momentum without diffusion, with the step that `DiffusionNesterov` takes.

    $$v' = \gamma_c v + g, \qquad \theta' = \theta - \eta_c\,[g + \gamma_c v'] \tag{V.14}$$

    with the refined $\eta_c$ and $\gamma_c$ of Eq. (V.12) where $D = c > 1$, and the nominal ones
    where it is not. Above the bound diffusion comes with a smaller step and a larger momentum: if
    this does as well, they were what helped. Up to the bound it is plain SGD with Nesterov's
    momentum.

    Its arguments are those of `DiffusionNesterov`; only groups whose `diffusion` is above 1 are
    changed by it.

    Example:
        >>> import torch
        >>> weight = torch.nn.Parameter(torch.zeros(3))
        >>> optimizer = RefinedNesterov([weight], lr=1.0, momentum=0.0, diffusion=2.0)
        >>> weight.grad = torch.tensor([0.0, 3.0, 0.0])
        >>> optimizer.step()  # at twice the bound: η = 1/3, γ = 1/3
        >>> weight.data
        tensor([ 0.0000, -1.3333,  0.0000])

    References:
        Theory page: Eq. (V.14).
    """

    def _coefficients(self, options: dict[str, Any]) -> tuple[Any, Any, Any]:
        lr, momentum, _ = super()._coefficients(options)
        return lr, momentum, 0.0


class MomentumMatchedNesterov(DiffusionNesterov):
    r"""Nesterov's momentum without diffusion, with the momentum that it leaves on average.

    $$v' = \bar k v + g, \qquad \theta' = \theta - \eta\,[g + \bar k v'], \qquad
    \bar k = \gamma - \beta \bar s \tag{V.15}$$

    where $\bar s$ is the mean frequency of the Laplacian over all modes of the tensor's diffused
    axes: diffusion of the velocity is a momentum $\gamma - \beta s$ for each mode. If diffusion
    helps and this helps as much, less momentum was all it was. Above the bound $\eta$, $\gamma$ and
    $\beta$ are the refined ones, Eq. (V.12).

    Its arguments are those of `DiffusionNesterov`. `stability()` is that of the diffusion which it
    is matched to.

    Example:
        >>> import torch
        >>> weight = torch.nn.Parameter(torch.zeros(2))
        >>> optimizer = MomentumMatchedNesterov([weight], lr=1.0, momentum=0.6, diffusion=1.0)
        >>> weight.grad = torch.tensor([1.0, 1.0])
        >>> optimizer.step()  # beta 0.4, frequencies 0 and 2: momentum 0.2
        >>> weight.data
        tensor([-1.2000, -1.2000])

    References:
        Theory page: Eq. (V.15).
    """

    def _update(self, group: VelocityGroup) -> None:
        if not group.params:
            return
        how, options = group.how, group.options
        grads = updates.decay(
            group.values, group.grads, options["weight_decay"], options["maximize"]
        )
        buffers = self._buffers(group)
        for i, (param, value, grad) in enumerate(
            zip(group.params, group.values, grads, strict=True)
        ):
            mean = mean_frequency(tuple(param.shape), group.dims[i], how["boundary"])
            one = [buffers[i]]
            velocity.diffused_nesterov(
                [value],
                [grad],
                one,
                lr=how["lr"],
                momentum=how["momentum"] - how["beta"][i] * mean,
                beta=[0.0],
                dims=[()],
                boundary=how["boundary"],
                differentiable=options["differentiable"],
            )
            buffers[i] = one[0]
        self._keep_buffers(group, buffers)

    def _edges(self, groups: Any) -> None:
        """Nothing crosses a cut of a sharded tensor."""


def mean_frequency(shape: tuple[int, ...], dims: tuple[int, ...], boundary: Boundary) -> float:
    """Return the mean of s over all modes along some axes: the mean eigenvalue of minus Laplacian.

    Example:
        >>> mean_frequency((3, 4), (1,), "neumann")
        1.5
    """
    return sum(-float(axis_eigenvalues(shape[axis], boundary).mean()) for axis in dims)
