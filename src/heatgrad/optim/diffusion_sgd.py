"""SGD on the diffused gradient ([Ray])."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from heatgrad.optim import accumulate, fused, fused_ops, operators, sharded
from heatgrad.optim.base import put
from heatgrad.optim.dials import is_zero
from heatgrad.optim.diffused import DiffusedSGD, chain_ends, diffuse
from heatgrad.optim.drop_in import ActiveGroup, uses_foreach
from heatgrad.optim.fused_inputs import Velocities, has_momentum

__all__ = ["DiffusionSGD"]


class DiffusionSGD(DiffusedSGD):
    r"""SGD that follows the gradient after one explicit step of diffusion.

    $$g \leftarrow g + \mathrm{wd}\,\theta, \quad g' = g + \lambda \mathcal{L} g, \quad
    \tilde g = \min(1, \tau/\lVert g'\rVert)\, g', \quad v' = \mu v + \tilde g, \quad
    \theta' = \theta - \eta v' \tag{R.1-R.8}$$

    A drop-in for `torch.optim.SGD`: positional arguments, defaults, state and checkpoints are
    torch's, and with `diffusion=0` (and no `max_norm`) the two agree bit for bit (with
    `fused=True`, to rounding). `p.grad` is never written to. When not to use it: to first order,
    diffusion shortens the step, so compare it with `NormMatchedSGD` before you credit the
    smoothing; do not expect it to stand in for momentum.

    Args:
        params: Parameters, groups, or `model.named_parameters()`.
        lr: η, a float or a one-element tensor.
        momentum: μ of the heavy ball [1].
        dampening: As in torch; acts on the diffused gradient [1].
        weight_decay: wd, added to the gradient before diffusion.
        nesterov: As in torch; acts on the diffused gradient.
        diffusion: λ, per group [1]. Mode `global`: at most 1/2, and above 1/4 (a warning) the
            highest frequencies change sign. Mode `layer`: at most 2, above 1 a warning.
        mode: Per group. `"global"`: the 1-D Laplacian along the chain of all flattened
            gradients of all global-mode groups, in order (parameters without a gradient are
            passed over). `"layer"`: toward the tensor's mean. `"layer_literal"`: [Ray] B.1 as
            printed, which amplifies deviations from the mean. `"centralize"`: minus the
            tensor's mean. `"centralize_channel"`: minus the mean of each output channel. The
            last two take `diffusion` 1 or 0 and leave one-element means alone.
        boundary: Ends of the global chain: `"neumann"`, `"periodic"` or `"dirichlet"`.
        max_norm: τ, bound on the norm of the diffused gradient over all parameters, or None.
        maximize: Ascend instead of descend.
        foreach: Multi-tensor path; None takes it on CUDA. The heavy ball alone is accumulated
            neighbour by neighbour, equal to the plain path but for rounding; everything else
            bitwise (half types: each is bitwise torch's own, and those two differ on the CPU).
        fused: One pass over memory by a compiled kernel, equal to the plain path but for rounding;
            it is taken in mode `global` for dense tensors on a CPU (numba; float32 and float64) or
            a GPU (triton; half types too), else the plain path is. None takes it where something
            diffuses. Refused with `foreach=True`,
            `differentiable=True` or complex parameters, as in torch.
        differentiable: Let autograd follow the step.

    Raises:
        ValueError: If an option is negative, not finite, above its bound or unknown, or if
            `max_norm` or the chain's boundary differ between groups.
        RuntimeError: For sparse gradients, and `fused` beside what it excludes.

    Example:
        >>> import torch
        >>> weight = torch.nn.Parameter(torch.zeros(3))
        >>> optimizer = DiffusionSGD([weight], lr=1.0, diffusion=0.25)
        >>> weight.grad = torch.tensor([0.0, 4.0, 0.0])
        >>> optimizer.step()
        >>> weight.data
        tensor([-1., -2., -1.])

    References:
        [Ray] 3.1, B.1, B.2, C. Theory page: Eqs. (R.1)-(R.8), with the rows "the paper says /
        we do / why".
    """

    def _transform(self, groups: Sequence[ActiveGroup]) -> None:
        put(groups, diffuse(groups))

    def _step_at_once(self, groups: Sequence[ActiveGroup]) -> bool:
        active = [group for group in groups if group.params]
        if any(group.options["mode"] != "global" for group in active):
            return False
        if torch.compiler.is_compiling():
            return fused.wants_fused(active) and self._step_compiled(active)
        if fused.wants_fused(active):
            buffers = [buffer for group in active for buffer in self._buffers(group)]
            if fused.is_safe(active, buffers):
                return self._step_fused(active)
        return self._step_accumulating(active)

    def _step_fused(self, groups: Sequence[ActiveGroup]) -> bool:
        layouts = [layout for group in groups for layout in group.layouts]
        is_cut = any(layouts)
        if is_cut and any(layout is not None and layout.num_runs > 1 for layout in layouts):
            return False  # each run has neighbours of its own
        if is_cut and groups[0].values[0].is_cuda and groups[0].options["max_norm"] is not None:
            return False  # on a GPU the kernels do not add up what other processes find
        # Asked for under the same condition on every process, whichever path each of them takes.
        is_still = all(is_zero(group.options["diffusion"]) for group in groups)
        neighbours = None if is_still else chain_ends(groups, decayed=False)
        fused.step_chain(groups, self._velocities(groups), neighbours)
        for group in groups:
            sharded.tell_written(group.params)
        return True

    def _step_compiled(self, groups: Sequence[ActiveGroup]) -> bool:
        buffers = [buffer for group in groups for buffer in self._buffers(group)]
        if not fused_ops.can_compile(groups, buffers):
            return False
        fused_ops.step_chain(groups, self._velocities(groups))
        return True

    def _velocities(self, groups: Sequence[ActiveGroup]) -> list[Velocities]:
        """Return what the fused steps are given as momentum buffers."""
        return [
            self._filled_buffers(group) if has_momentum(group.options) else (group.values, [])
            for group in groups
        ]

    def _step_accumulating(self, groups: Sequence[ActiveGroup]) -> bool:
        """Do the step with multi-tensor operations that never store the diffused gradient."""
        buffers = [self._buffers(group) for group in groups]
        if not groups or not all(
            uses_foreach(group.options, group.values)
            and _is_heavy_ball(group.options)
            and accumulate.can_accumulate(group.values, of_group)
            for group, of_group in zip(groups, buffers, strict=True)
        ):
            return False
        self._decay(groups)
        neighbours = chain_ends(groups, decayed=True)
        grads = [grad for group in groups for grad in group.grads]
        pairs = None if neighbours is None else neighbours.pairs()
        runs = operators.chain_runs(grads, groups[0].options["boundary"], pairs)
        start = 0
        for group, of_group in zip(groups, buffers, strict=True):
            stop = start + len(group.params)
            accumulate.heavy_ball_along_chain(
                group.values,
                [(k - start, grad, ends) for k, grad, ends in runs if start <= k < stop],
                [buffer for buffer in of_group if buffer is not None],
                **{name: group.options[name] for name in _HEAVY_BALL},
            )
            sharded.tell_written(group.params)
            start = stop
        return True


_HEAVY_BALL = ("diffusion", "lr", "momentum", "dampening")


def _is_heavy_ball(options: dict[str, Any]) -> bool:
    """Whether a group's step is the heavy ball alone, with plain numbers."""
    return (
        options["momentum"] != 0
        and not options["nesterov"]
        and options["max_norm"] is None
        and options["diffusion"] != 0
        and not any(isinstance(options[name], Tensor) for name in ("diffusion", "momentum"))
        and not torch.compiler.is_compiling()
    )
