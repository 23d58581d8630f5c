"""SGD on the diffused gradient ([Ray])."""

from collections.abc import Sequence

from heatgrad.optim import fused, sharded
from heatgrad.optim.base import put
from heatgrad.optim.diffused import DiffusedSGD, chain_ends, diffuse
from heatgrad.optim.drop_in import ActiveGroup
from heatgrad.optim.fused_inputs import has_momentum

__all__ = ["DiffusionSGD"]


class DiffusionSGD(DiffusedSGD):
    r"""SGD that follows the gradient after one explicit step of diffusion.

    $$g \leftarrow g + \mathrm{wd}\,\theta, \quad g' = g + \lambda \mathcal{L} g, \quad
    \tilde g = \min(1, \tau/\lVert g'\rVert)\, g', \quad v' = \mu v + \tilde g, \quad
    \theta' = \theta - \eta v' \tag{R.1-R.8}$$

    A drop-in for `torch.optim.SGD`: positional arguments, defaults, state and checkpoints are
    torch's, and with `diffusion=0` (and no `max_norm`) the two agree bit for bit. `p.grad` is
    never written to. When not to use it: to first order, diffusion shortens the step, so
    compare it with `NormMatchedSGD` before you credit the smoothing; do not expect it to stand
    in for momentum.

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
        foreach: Multi-tensor path; None takes it on CUDA. Bitwise equal to the plain path (half
            types: each is bitwise torch's own, and those two differ on the CPU).
        fused: One pass over memory by a compiled kernel, equal to the plain path but for rounding;
            it is taken on a CPU in mode `global` for dense float32 and float64 tensors, else the
            plain path is. None takes it where something diffuses. Refused with `foreach=True`,
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

    def _step_fused(self, groups: Sequence[ActiveGroup]) -> bool:
        if not fused.wants_fused(groups):
            return False
        active = [group for group in groups if group.params]
        if any(group.options["mode"] != "global" for group in active):
            return False
        moving = [group for group in active if has_momentum(group.options)]
        if not fused.is_safe(active, [b for group in moving for b in self._buffers(group)]):
            return False
        layouts = [layout for group in active for layout in group.layouts]
        if any(layout is not None and layout.num_runs > 1 for layout in layouts):
            return False  # each run has neighbours of its own
        if (
            any(layouts)
            and active[0].options["max_norm"] is not None
            and active[0].values[0].is_cuda
        ):
            return False  # on a GPU the kernels do not add up squares of other processes
        neighbours = chain_ends(active, decayed=False)
        buffers = [
            self._filled_buffers(group) if group in moving else (group.values, [])
            for group in active
        ]
        fused.step_chain(active, buffers, neighbours)
        for group in active:
            sharded.tell_written(group.params)
        return True
