"""Nesterov's momentum with a diffused velocity ([Sun])."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT, _use_grad_for_differentiable

from heatgrad.laplacian import Boundary, spectral_radius
from heatgrad.optim import checks, fused, fused_ops, sharded, updates, velocity
from heatgrad.optim.accelerated_pde import max_stable_diffusion, refine
from heatgrad.optim.axes import active_dims, active_dims_of_all
from heatgrad.optim.dials import is_zero
from heatgrad.optim.drop_in import ActiveGroup, DropInOptimizer, uses_foreach
from heatgrad.optim.fused_inputs import VelocityStep
from heatgrad.optim.stability import StabilityReport, StabilityRow

__all__ = ["DiffusionNesterov", "VelocityGroup", "coefficients"]

# What a checkpoint says to torch.optim.SGD.
_NESTEROV = {"dampening": 0.0, "nesterov": True}


class DiffusionNesterov(DropInOptimizer):
    r"""SGD with Nesterov's momentum whose velocity diffuses along chosen axes of each tensor.

    $$v' = \gamma v + g + \beta\,\mathcal L v, \qquad
    \theta' = \theta - \eta\,[g + \gamma v' + \beta\,\mathcal L v'] \tag{V.6, V.7}$$

    with $g$ the gradient plus weight decay. It is the semi-implicit Euler scheme of an accelerated
    PDE with viscosity, stable up to $\beta_{\max} = (1+\gamma)/4N$ for $N$ diffused axes. A drop-in
    for `torch.optim.SGD(nesterov=True)`: its state and checkpoints are torch's, `p.grad` is never
    written to, and with `diffusion=0` the two agree bit for bit (with `fused=True`, to rounding).
    When not to use it: where the axis has no order that means something, a placebo over permuted
    channels should do as well; above 1 it is mostly a smaller step, so compare it with plain
    Nesterov at the refined values.

    Args:
        params: Parameters, groups (see `diffusion_groups`), or `model.named_parameters()`.
        lr: η, a float or a one-element tensor.
        momentum: γ, at least 0 and at most 1 [1].
        diffusion: β in units of β_max, per group; a float, or a one-element tensor that may be
            changed in place; on a device its value is not checked [1].
        dims: Axes to diffuse, per group: None for all axes of each tensor, an int, or a tuple;
            negative ones count from the end. Axes of one cell do not count in N (Dirichlet: do).
        boundary: Ends of each axis, per group: `"neumann"`, `"periodic"` or `"dirichlet"`.
        weight_decay: wd, added to the gradient first, as in torch.
        stability: What is done with `diffusion` above 1, per group. `"refine"`: the time step is
            divided by it, and learning rate and momentum are recomputed, Eq. (V.12). `"error"`: a
            ValueError. `"off"`: nothing, to show the instability.
        maximize: Ascend instead of descend.
        foreach: Multi-tensor path; None takes it on CUDA, where `fused` is not taken. Equal to the
            plain path but for rounding.
        fused: One pass over memory by a compiled kernel, equal to the plain path but for rounding;
            taken for dense tensors on a CPU (numba; float32 and float64) or a GPU (triton; half
            types too). Along several axes, all from the first of them on must have at most 16,384
            cells on a CPU, 1,024 on a GPU. None takes it where something diffuses. Refused with
            `foreach=True`, `differentiable=True` or complex parameters, as in torch.
        differentiable: Let autograd follow the step.

    Raises:
        ValueError: If an option is negative, not finite or unknown, an axis is beyond a
            parameter's rank, or `diffusion` is above 1 with `stability="error"`.
        RuntimeError: For sparse gradients, and `fused` beside what it excludes.

    Example:
        >>> import torch
        >>> weight = torch.nn.Parameter(torch.zeros(3))
        >>> optimizer = DiffusionNesterov([weight], lr=1.0, momentum=0.0, diffusion=1.0)
        >>> weight.grad = torch.tensor([0.0, 4.0, 0.0])
        >>> optimizer.step()  # g + beta_max Lap g, with beta_max = 1/4
        >>> weight.data
        tensor([-1., -2., -1.])

    References:
        [Sun] Eqs. (4)-(11), Algorithm 1. Theory page: Eqs. (V.6)-(V.12).
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        momentum: float = 0.9,
        *,
        diffusion: float | Tensor = 1.0,
        dims: int | tuple[int, ...] | None = None,
        boundary: Boundary = "neumann",
        weight_decay: float | Tensor = 0.0,
        stability: str = "refine",
        maximize: bool = False,
        foreach: bool | None = None,
        fused: bool | None = None,
        differentiable: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "diffusion": diffusion,
            "dims": tuple(dims) if isinstance(dims, list) else dims,  # as a spec file has it
            "boundary": boundary,
            "weight_decay": weight_decay,
            "stability": stability,
            "maximize": maximize,
            "foreach": foreach,
            "fused": fused,
            "differentiable": differentiable,
            **_NESTEROV,
        }
        super().__init__(params, defaults)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:
            group.update(_NESTEROV)  # whatever SGD the checkpoint is of
            if isinstance(group["dims"], list):  # as JSON has it
                group["dims"] = tuple(group["dims"])

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a parameter group, after the checks that the constructor makes."""
        checks.check_is_dict(param_group)
        if isinstance(param_group.get("dims"), list):
            param_group["dims"] = tuple(param_group["dims"])
        checks.check_velocity_group({**self.defaults, **param_group})
        super().add_param_group(param_group)
        try:
            checks.check_axes(self.param_groups[-1])
        except (ValueError, TypeError):
            self.param_groups.pop()
            raise

    @_use_grad_for_differentiable
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Perform one optimization step.

        Args:
            closure: Re-evaluates the model and returns the loss; called once, with gradients
                enabled.

        Returns:
            The closure's value, or None.

        Raises:
            ValueError: If a schedule has pushed a group's options out of their range.
            RuntimeError: If a gradient is sparse, or complex with `fused=True`.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        groups = self._velocity_groups()
        edges = self._edges(groups)
        start = 0
        for group in groups:
            self._update(group)
            if edges is not None:
                edges.mend(group.values, self._buffers(group), start, **group.how)
            sharded.tell_written(group.params)
            start += len(group.params)
        return loss

    def _velocity_groups(self) -> list["VelocityGroup"]:
        """Return the groups of a step, once their options have been checked."""
        for options in self.param_groups:
            checks.check_velocity(options)
        return [
            VelocityGroup(options, self._coefficients(options)) for options in self.param_groups
        ]

    def _coefficients(self, options: dict[str, Any]) -> tuple[Any, Any, Any]:
        """Return the η, γ and Nβ that a group is stepped by."""
        return coefficients(options)

    def stability(self) -> StabilityReport:
        r"""Return, per group and number of diffused axes, N, β, β_max and the gains.

        The gains are those of the velocity from one step to the next, $\gamma - \beta s$ for the
        frequencies $s$ of the group's own tensors. Printed, the report is a table.
        """
        rows = []
        for index, options in enumerate(self.param_groups):
            _, momentum, per_axis = (float(value) for value in self._coefficients(options))
            by_count: dict[int, list[Tensor]] = {}
            for param in options["params"]:
                axes = active_dims(param.shape, options["dims"], options["boundary"])
                by_count.setdefault(len(axes), []).append(param)
            for count, params in sorted(by_count.items()):
                beta = per_axis / count if count else 0.0
                highest = max(_highest(param, options) for param in params)
                rows.append(
                    StabilityRow(
                        group=index,
                        what=f"velocity, dims {_named(options['dims'])}, {options['boundary']}",
                        num_tensors=len(params),
                        num_dims=count,
                        coefficient=beta,
                        bound=max_stable_diffusion(min(1.0, momentum), count),
                        gains=(momentum - beta * highest, momentum),
                    )
                )
        return StabilityReport("beta", tuple(rows))

    def _update(self, group: "VelocityGroup") -> None:
        options, params, how = group.options, group.values, group.how
        if not params:
            return
        if group.has_velocity and fused.wants_fused([group]) and self._step_fused(group):
            return
        grads = updates.decay(params, group.grads, options["weight_decay"], options["maximize"])
        buffers: list[Tensor | None] = [None] * len(params)
        if group.has_velocity:
            buffers = self._buffers(group)
        if uses_foreach(options, params):
            velocity.diffused_nesterov_foreach(params, grads, buffers, dims=group.dims, **how)
        else:
            differentiable = options["differentiable"]
            velocity.diffused_nesterov(
                params, grads, buffers, dims=group.dims, **how, differentiable=differentiable
            )
        if group.has_velocity:
            self._keep_buffers(group, buffers)

    def _step_fused(self, group: "VelocityGroup") -> bool:
        """Step a group in a kernel and return True, or return False."""
        if not fused.can_diffuse_velocity(group.values, group.dims):
            return False
        if torch.compiler.is_compiling():
            if not fused_ops.can_compile([group], self._buffers(group)):
                return False
            step_velocity = fused_ops.step_velocity
        else:
            if not fused.is_safe([group], self._buffers(group)):
                return False
            step_velocity = fused.step_velocity
        step = VelocityStep(
            group.values,
            group.grads,
            self._filled_buffers(group)[0],
            lr=group.how["lr"],
            momentum=group.how["momentum"],
            per_axis=group.per_axis,
            dims=group.dims,
            boundary=group.how["boundary"],
            weight_decay=group.options["weight_decay"],
            maximize=group.options["maximize"],
            is_bounded=group.options["stability"] == "error",
        )
        step_velocity(step)
        return True

    def _edges(self, groups: Sequence["VelocityGroup"]) -> sharded.VelocityEdges | None:
        """Begin what is done next to the cuts of sharded tensors; None where nothing is cut."""
        layouts = [layout for group in groups for layout in group.layouts]
        if not any(layouts):
            return None
        edges = sharded.VelocityEdges(
            layouts,
            [
                () if is_zero(beta) else axes
                for group in groups
                for axes, beta in zip(group.dims, group.how["beta"], strict=True)
            ],
            [group.options["boundary"] for group in groups for _ in group.params],
        )
        edges.begin(
            [value for group in groups for value in group.values],
            [source for group in groups for source in group.sources(decayed=False)],
            [velocity for group in groups for velocity in self._buffers(group)],
        )
        return edges


class VelocityGroup(ActiveGroup):
    """An active group with what moves its velocity.

    Args:
        options: The parameter group's dict.
        values: η, γ and Nβ.

    Attributes:
        dims: Diffused axes of each parameter that move anything.
        how: η, γ and the β of each parameter, refined above the bound, and the boundary.
        per_axis: N β, shared by the N axes of a parameter.
        has_velocity: Whether anything of the velocity outlives the step.
    """

    def __init__(self, options: dict[str, Any], values: tuple[Any, Any, Any]) -> None:
        super().__init__(options)
        dims, boundary = options["dims"], options["boundary"]
        shapes = tuple([param.shape for param in self.params])
        try:
            self.dims = active_dims_of_all(shapes, dims, boundary)
        except (ValueError, TypeError):
            checks.check_axes(options)  # which names the parameter
            raise
        lr, momentum, self.per_axis = values
        shares = {n: self.per_axis / n for n in {len(axes) for axes in self.dims} if n > 0}
        beta = [shares.get(len(axes), 0.0) for axes in self.dims]
        self.has_velocity = not (is_zero(momentum) and all(map(is_zero, beta)))
        self.how: dict[str, Any] = {
            "lr": lr,
            "momentum": momentum,
            "beta": beta,
            "boundary": boundary,
        }


def coefficients(options: dict[str, Any]) -> tuple[Any, Any, Any]:
    """Return a group's η, γ and Nβ, refined above the bound. Eqs. (V.11), (V.12)."""
    lr = options["lr"]
    momentum, diffusion = updates.scalar(options["momentum"]), updates.scalar(options["diffusion"])
    if options["stability"] == "refine":
        if isinstance(diffusion, Tensor):
            lr, momentum = refine(lr, momentum, diffusion.clamp(min=1))
            diffusion = diffusion.clamp(max=1)
        elif diffusion > 1:
            lr, momentum = refine(lr, momentum, diffusion)
            diffusion = 1.0
    return lr, momentum, diffusion * (1 + momentum) / 4


def _highest(param: Tensor, options: dict[str, Any]) -> float:
    """Return the highest frequency s of a tensor, the spectral radius of its Laplacian."""
    axes = active_dims(param.shape, options["dims"], options["boundary"])
    return spectral_radius([param.shape[axis] for axis in axes], options["boundary"])


def _named(dims: int | tuple[int, ...] | None) -> str:
    return "all" if dims is None else str(dims)
