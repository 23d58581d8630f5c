"""Gradient diffusion for any optimizer, through its own step hooks."""

from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor
from torch.optim import Optimizer

from heatgrad.laplacian import Boundary, check_boundary, max_explicit_diffusion, solve_shifted
from heatgrad.optim import checks, operators, sharded
from heatgrad.optim.axes import active_dims
from heatgrad.optim.diffused import diffuse
from heatgrad.optim.drop_in import ActiveGroup
from heatgrad.optim.lines import smooth_lines, step_lines

__all__ = ["HOOK_MODES", "GradientDiffusion", "diffuse_gradients"]

HOOK_MODES = ("global", "stencil", "implicit", *operators.LAYER_MODES)


def diffuse_gradients(
    optimizer: Optimizer,
    diffusion: float,
    *,
    mode: str = "global",
    dims: int | tuple[int, ...] | None = None,
    boundary: Boundary = "neumann",
) -> "GradientDiffusion":
    r"""Let an optimizer follow diffused gradients, whatever it is.

    At each step the gradients are diffused just before the optimizer reads them, and `p.grad` is
    given back afterwards: the caller's tensors are neither written to nor replaced. A closure is
    honoured: its gradients are diffused each time it has been called. After a step that raised they
    are given back at the next one, or by `remove`. What the optimizer adds to
    the gradient itself (torch's coupled weight decay, say) is added after the diffusion.

    The hook belongs to this optimizer object: checkpoints and copies do not hold it, so make it
    again where you make the optimizer again.

    Args:
        optimizer: Any `torch.optim.Optimizer`, before a framework wraps it.
        diffusion: λ or σ of the operator, at least 0 [1].
        mode: `"global"`: the stencil along the chain of all gradients, Eq. (R.2), λ at most 1/2.
            `"stencil"`: $g + \lambda\mathcal L g$ along `dims` of each tensor, λ at most 1/(2N).
            `"implicit"`: $(I - \lambda\mathcal L)^{-1} g$ along `dims`, any λ. `"layer"`,
            `"layer_literal"`, `"centralize"`, `"centralize_channel"`: as in `DiffusionSGD`.
        dims: Axes of `"stencil"` and `"implicit"`: None for all of each tensor.
        boundary: Ends of the chain or of the axes.

    Returns:
        A handle: its `diffusion` may be changed between steps, `remove()` ends the effect, and as
        a context manager it removes itself.

    Raises:
        TypeError: If the optimizer has no step hooks, as a framework's wrapper.
        ValueError: If an argument is out of range, or an axis beyond a parameter's rank.

    Example:
        >>> weight = torch.nn.Parameter(torch.zeros(3))
        >>> optimizer = torch.optim.SGD([weight], lr=1.0)
        >>> handle = diffuse_gradients(optimizer, 0.25)
        >>> weight.grad = torch.tensor([0.0, 4.0, 0.0])
        >>> optimizer.step()
        >>> weight.data, weight.grad
        (tensor([-1., -2., -1.]), tensor([0., 4., 0.]))
        >>> handle.remove()
    """
    return GradientDiffusion(optimizer, diffusion, mode=mode, dims=dims, boundary=boundary)


class GradientDiffusion:
    """The handle of `diffuse_gradients`; see there.

    Example:
        >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(3))], lr=1.0)
        >>> with diffuse_gradients(optimizer, 0.25) as handle:
        ...     handle.diffusion = 0.1  # as a schedule would, between steps

    Attributes:
        diffusion: λ or σ; may be changed between steps [1].
        mode: The operator.
        dims: Axes, where the operator has any.
        boundary: Ends.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        diffusion: float,
        *,
        mode: str,
        dims: int | tuple[int, ...] | None,
        boundary: Boundary,
    ) -> None:
        self.diffusion, self.mode, self.dims, self.boundary = diffusion, mode, dims, boundary
        self._optimizer = optimizer
        self._held: list[tuple[Tensor, Tensor, Tensor]] = []
        self._check()
        if not hasattr(optimizer, "_optimizer_step_pre_hooks"):  # a wrapper such as Accelerate's
            raise TypeError(
                f"diffuse_gradients needs an optimizer with torch's step hooks, got "
                f"{type(optimizer).__name__}; call it on the optimizer before it is wrapped"
            )
        for hook in getattr(optimizer, "_optimizer_step_pre_hooks", {}).values():
            if isinstance(getattr(hook, "__self__", None), GradientDiffusion):
                raise ValueError(
                    "optimizer must have one gradient diffusion at most, got a second one; "
                    "remove() the first handle, or change its diffusion"
                )
        if any(group.get("differentiable") for group in optimizer.param_groups):
            raise ValueError(
                "optimizer must not be differentiable, got differentiable=True; autograd does not "
                "follow the diffusion"
            )
        for group in optimizer.param_groups:
            checks.check_axes({**group, "dims": dims})
            if mode == "stencil":
                axes = [active_dims(p.shape, dims, boundary) for p in group["params"]]
                self._check_bound(group["params"], axes)
        self._hooks = [
            optimizer.register_step_pre_hook(self._before),
            optimizer.register_step_post_hook(self._after),
        ]

    def remove(self) -> None:
        """Leave the optimizer as it was; removing twice does nothing."""
        self._give_back()
        for hook in self._hooks:
            hook.remove()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.remove()

    def _check(self) -> None:
        if self.mode not in HOOK_MODES:
            raise ValueError(f"mode must be one of {', '.join(HOOK_MODES)}, got {self.mode!r}")
        check_boundary(self.boundary)
        checks.check_diffusion(self.diffusion, self.mode)

    def _before(
        self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        self._check()
        # A step that raised has not come to the post-hook: what it held goes back first.
        self._give_back()
        if len(args) > 1 and args[1] is not None:
            return (args[0], self._around(args[1]), *args[2:]), kwargs
        if kwargs.get("closure") is not None:
            return args, {**kwargs, "closure": self._around(kwargs["closure"])}
        self._take()
        return args, kwargs

    def _after(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        self._give_back()

    def _around(self, closure: Callable[[], Any]) -> Callable[[], Any]:
        def diffused() -> Any:
            self._give_back()
            loss = closure()
            self._take()
            return loss

        return diffused

    @torch.no_grad()
    def _take(self) -> None:
        if self.diffusion == 0:
            return
        params = [
            p
            for group in self._optimizer.param_groups
            for p in group["params"]
            if p.grad is not None
        ]
        if not params:
            return
        grads = [param.grad for param in params]
        group = ActiveGroup({**_PLAIN, "params": params})
        layouts = list(group.grads)
        diffused = self._diffuse(group)
        for param, grad, like, part in zip(params, grads, layouts, diffused, strict=True):
            param.grad = sharded.as_sharded(_laid_out_as(like, part), param)
            self._held.append((param, grad, param.grad))

    def _give_back(self) -> None:
        for param, grad, diffused in self._held:
            if param.grad is diffused:  # else the caller has made a new one since
                param.grad = grad
        self._held = []

    def _diffuse(self, group: ActiveGroup) -> list[Tensor]:
        strength, boundary = self.diffusion, self.boundary
        group.options |= {"diffusion": strength, "mode": self.mode, "boundary": boundary}
        if self.mode not in ("implicit", "stencil"):
            return diffuse([group])
        axes = [active_dims(p.shape, self.dims, boundary) for p in group.params]
        if self.mode == "stencil":
            self._check_bound(group.params, axes)
            return self._step(group, axes)
        cut = [
            len(dims) > 1 and layout is not None and bool(set(dims) & set(layout.cut_axes))
            for dims, layout in zip(axes, group.layouts, strict=True)
        ]
        if any(cut):
            shape = tuple(group.params[cut.index(True)].shape)
            raise RuntimeError(
                "mode='implicit' along several axes needs them whole on each process, got a "
                f"sharded parameter of shape {shape}; give one axis in dims"
            )
        single = [dims[0] if len(dims) == 1 else None for dims in axes]
        solved = smooth_lines(group, single, strength, boundary)
        return [
            solve_shifted(grad, dims, boundary, shift=1.0, scale=strength)
            if len(dims) > 1
            else grad
            for grad, dims in zip(solved, axes, strict=True)
        ]

    def _step(self, group: ActiveGroup, axes: list[tuple[int, ...]]) -> list[Tensor]:
        """Return g + λ Lap g, axis by axis."""
        diffused = group.grads
        for turn in range(max(map(len, axes))):
            moving = [dims[turn] if turn < len(dims) else None for dims in axes]
            moved = step_lines(group, moving, self.diffusion, self.boundary)
            diffused = [grad + more for grad, more in zip(diffused, moved, strict=True)]
        return diffused

    def _check_bound(self, params: list[Tensor], axes: list[tuple[int, ...]]) -> None:
        for param, dims in zip(params, axes, strict=True):
            bound = max_explicit_diffusion(len(dims))
            if dims and self.diffusion > bound:
                raise ValueError(
                    f"diffusion must be at most {bound:g} along {len(dims)} axes of a tensor of "
                    f"shape {tuple(param.shape)} (above it the highest frequencies grow), got "
                    f"{float(self.diffusion):g}; lower it, or use mode='implicit'"
                )


def _laid_out_as(like: Tensor, part: Tensor) -> Tensor:
    """Return values in memory laid out as a gradient was: some optimizers look at memory only."""
    if part.stride() == like.stride():
        return part
    return torch.empty_like(like).copy_(part)


# What a group has in one of our own optimizers, set so that it changes nothing.
_PLAIN = {
    "weight_decay": 0.0,
    "maximize": False,
    "foreach": None,
    "fused": None,
    "differentiable": False,
}
