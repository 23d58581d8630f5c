"""The optimizers' steps for many replicas at once: one network a row.

A rule does to each row what the optimizer it stands for does to one network; tests equate the two.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from heatgrad.laplacian import solve_shifted
from heatgrad.optim import (
    DiffusionNesterov,
    DiffusionSGD,
    LaplacianSmoothingSGD,
    LayoutDiffusionSGD,
    LRMatchedSGD,
    NormMatchedPlaceboSGD,
    NormMatchedSGD,
    PlaceboDiffusionSGD,
    SobolevSGD,
    operators,
    updates,
    velocity,
)
from heatgrad.optim.axes import active_dims
from heatgrad.optim.controls import permutation
from heatgrad.optim.diffusion_nesterov import coefficients
from heatgrad.training.replicas.graphs import is_replayed
from heatgrad.training.replicas.stack import Stack

__all__ = ["Rule", "has_rule", "options_of", "rule_of"]

# Each element of a parameter is stepped for itself, so a stack of networks is one parameter more.
_ELEMENTWISE = (
    torch.optim.SGD,
    torch.optim.Adam,
    torch.optim.AdamW,
    torch.optim.NAdam,
    torch.optim.RAdam,
    torch.optim.Adamax,
    torch.optim.Adagrad,
    torch.optim.Adadelta,
    torch.optim.RMSprop,
)
# What concerns the parameters themselves, or the way a step is computed.
_NO_OPTIONS = {"params", "param_names", "foreach", "fused", "capturable", "differentiable"}


class Rule(ABC):
    """A step for some rows of a stack, by the options of their optimizers. Abstract."""

    def __init__(self, optimizers: Sequence[Optimizer], stack: Stack, rows: slice) -> None:
        self.optimizers = optimizers
        self.stack, self.rows = stack, rows
        self.values, self.grads = stack.values[rows], stack.grads[rows]

    @property
    def groups(self) -> list[dict[str, Any]]:
        """The parameter groups, the same in all rows but for the parameters."""
        return self.optimizers[0].param_groups

    @property
    def can_be_replayed(self) -> bool:
        """Whether every step does the same operations on the same memory."""
        return True

    @abstractmethod
    def step(self) -> None:
        """Step the rows along the stack's gradients."""

    def directions(self) -> tuple[Tensor, Tensor] | None:
        """Return the decayed gradients before and after a transform; None if there is none."""
        return None


class Elementwise(Rule):
    """An optimizer of torch's, with the stack for its parameter."""

    def __init__(self, optimizers: Sequence[Optimizer], stack: Stack, rows: slice) -> None:
        super().__init__(optimizers, stack, rows)
        param = torch.nn.Parameter(self.values)
        param.grad = self.grads
        self._param = param
        self._optimizer = type(optimizers[0])([param], **self._options())

    @property
    def can_be_replayed(self) -> bool:
        """Torch's Adagrad counts its steps on the host."""
        return not isinstance(self._optimizer, torch.optim.Adagrad)

    def _options(self) -> dict[str, Any]:
        left_out = _NO_OPTIONS | {"initial_lr", "decoupled_weight_decay"}
        options = {k: v for k, v in self.groups[0].items() if k not in left_out}
        if "capturable" in self.groups[0]:
            options["capturable"] = is_replayed(self.values.device)
        return options

    def step(self) -> None:
        self._optimizer.param_groups[0] |= self._options()
        self._optimizer.step()


class Transformed(Rule):
    """The heavy ball along a transformed gradient, as `TransformedSGD`. Abstract."""

    def __init__(self, optimizers: Sequence[Optimizer], stack: Stack, rows: slice) -> None:
        super().__init__(optimizers, stack, rows)
        self._buffers: list[Tensor | None] = [None]

    @property
    def options(self) -> dict[str, Any]:
        """The options of the only group."""
        return self.groups[0]

    @abstractmethod
    def transform(self, grads: Tensor) -> Tensor:
        """Return the directions of decayed gradients, or the gradients themselves."""

    def directions(self) -> tuple[Tensor, Tensor] | None:
        before = self._decayed()
        after = self.transform(before)
        return None if after is before else (before, after)

    def step(self) -> None:
        self._follow(self.values, self.transform(self._decayed()), self.options["lr"])

    def _follow(self, values: Tensor, grads: Tensor, lr: float) -> None:
        """Clip the directions, and step values along them."""
        options = self.options
        max_norm = options.get("max_norm")
        if max_norm is not None:
            lengths = _lengths(grads)
            grads = grads * (max_norm / lengths.clamp(min=max_norm)).to(grads.dtype)
        names = ("momentum", "dampening", "nesterov")
        updates.heavy_ball(
            [values],
            [grads],
            self._buffers,
            lr=lr,
            **{name: options[name] for name in names},
            differentiable=False,
        )

    def _decayed(self) -> Tensor:
        options = self.options
        return updates.decay(
            [self.values], [self.grads], options["weight_decay"], options["maximize"]
        )[0]

    def _by_parameter(self, grads: Tensor) -> list[tuple[str, Tensor]]:
        """Return views of rows of gradients, one for each parameter, shape (rows, *shape)."""
        stack = self.stack
        return [
            (name, grads[:, columns].view(-1, *stack.params[name].shape[1:]))
            for name, columns in stack.columns.items()
        ]


class Diffused(Transformed):
    """`DiffusionSGD`."""

    def transform(self, grads: Tensor) -> Tensor:
        options = self.options
        mode, strength = options["mode"], options["diffusion"]
        if strength == 0:
            return grads
        if mode == "global":
            ends = operators.chain_neighbours([grads], options["boundary"])
            (along,) = operators.diffuse_chain([grads], [strength], options["boundary"], ends)
            return along
        diffused = torch.empty_like(grads)
        for name, part in self._by_parameter(grads):
            shape = part.shape[1:]
            out = part
            if operators.has_deviation(shape, mode):
                dims = [dim + 1 for dim in operators.averaged_dims(len(shape), mode)]
                mean = part.mean(dim=dims, keepdim=True)
                out = operators.diffuse_layer(part, strength, mode, mean)
            diffused[:, self.stack.columns[name]] = out.reshape(len(out), -1)
        return diffused


class NormMatched(Diffused):
    """`NormMatchedSGD`."""

    def transform(self, grads: Tensor) -> Tensor:
        diffused = super().transform(grads)
        if diffused is grads:
            return grads
        factor = _lengths(diffused) / _one_where_zero(_lengths(grads))
        return grads * factor.to(grads.dtype)


class Placebo(Diffused):
    """`PlaceboDiffusionSGD`; each row has its own permutation."""

    def __init__(self, optimizers: Sequence[Optimizer], stack: Stack, rows: slice) -> None:
        super().__init__(optimizers, stack, rows)
        size = self.values.shape[1]
        seeds = [optimizer.param_groups[0]["seed"] for optimizer in optimizers]
        self._order = torch.stack([permutation(seed, size) for seed in seeds])
        self._order = self._order.to(self.values.device)

    def transform(self, grads: Tensor) -> Tensor:
        strength, boundary = self.options["diffusion"], self.options["boundary"]
        if strength == 0:
            return grads
        shuffled = grads.gather(1, self._order)
        ends = operators.chain_neighbours([shuffled], boundary)
        moved = operators.diffuse_chain([shuffled], [1.0], boundary, ends)[0] - shuffled
        lap = torch.empty_like(grads).scatter_(1, self._order, moved)
        diffused: Tensor = grads + strength * lap
        return diffused


class Smoothed(Transformed):
    """`LaplacianSmoothingSGD` and `SobolevSGD`."""

    @property
    def can_be_replayed(self) -> bool:
        """A fast transform may plan anew."""
        return False

    def transform(self, grads: Tensor) -> Tensor:
        sigma, boundary = self.options["diffusion"], self.options["boundary"]
        if sigma == 0:
            return grads
        smoothed = torch.empty_like(grads)
        is_sobolev = isinstance(self.optimizers[0], SobolevSGD)
        for name, part in self._by_parameter(grads):
            columns = self.stack.columns[name]
            if is_sobolev and part.dim() <= 2:
                smoothed[:, columns] = grads[:, columns]
                continue
            for row, lines in enumerate(part):
                # Row by row: how a fast transform rounds depends on what it is given at once.
                lines = (lines if is_sobolev else lines.reshape(-1)).clone()
                solved = solve_shifted(lines, 0, boundary, shift=1.0, scale=sigma)
                smoothed[row, columns] = solved.reshape(-1)
        return smoothed


class Velocity(Rule):
    """`DiffusionNesterov`, group by group."""

    def __init__(self, optimizers: Sequence[Optimizer], stack: Stack, rows: slice) -> None:
        super().__init__(optimizers, stack, rows)
        names = {id(param): name for name, param in stack.named_parameters(rows.start)}
        self._names = [[names[id(p)] for p in group["params"]] for group in self.groups]
        self._buffers: list[list[Tensor | None]] = [[None] * len(names) for names in self._names]

    def step(self) -> None:
        for group, names, buffers in zip(self.groups, self._names, self._buffers, strict=True):
            if not names:
                continue
            params = [self.stack.params[name][self.rows] for name in names]
            grads = [self.stack.param_grads[name][self.rows] for name in names]
            dims = [active_dims(p.shape[1:], group["dims"], group["boundary"]) for p in params]
            lr, momentum, per_axis = coefficients(group)
            velocity.diffused_nesterov(
                params,
                updates.decay(params, grads, group["weight_decay"], group["maximize"]),
                buffers,
                lr=lr,
                momentum=momentum,
                beta=[per_axis / len(axes) if axes else 0.0 for axes in dims],
                dims=[tuple(axis + 1 for axis in axes) for axes in dims],
                boundary=group["boundary"],
                differentiable=False,
            )


class NormMatchedPlacebo(Placebo):
    """`NormMatchedPlaceboSGD`."""

    def transform(self, grads: Tensor) -> Tensor:
        placebo = super().transform(grads)
        if placebo is grads:
            return grads
        factor = _lengths(Diffused.transform(self, grads)) / _one_where_zero(_lengths(placebo))
        return placebo * factor.to(grads.dtype)


class Layout(Diffused):
    """`LayoutDiffusionSGD`."""

    def transform(self, grads: Tensor) -> Tensor:
        if self.options["diffusion"] == 0:
            return grads
        turned = torch.cat([_turned(part) for _, part in self._by_parameter(grads)], 1)
        diffused = super().transform(turned)
        back = torch.empty_like(grads)
        for name, columns in self.stack.columns.items():
            shape = self.stack.params[name].shape[1:]
            back[:, columns] = _turned(diffused[:, columns].view(-1, *reversed(shape)))
        return back


class LRMatched(Diffused):
    """`LRMatchedSGD`; each row has its own mean."""

    def __init__(self, optimizers: Sequence[Optimizer], stack: Stack, rows: slice) -> None:
        super().__init__(optimizers, stack, rows)
        self._total = self.values.new_zeros((len(self.values), 1), dtype=torch.float64)
        self._number = torch.zeros_like(self._total)

    def transform(self, grads: Tensor) -> Tensor:
        if self.options["diffusion"] == 0:
            return grads
        return grads * _mean(*self._with_ratio_of(grads)).to(grads.dtype)

    def step(self) -> None:
        if self.options["diffusion"] == 0:
            super().step()
            return
        grads = self._decayed()
        total, number = self._with_ratio_of(grads)
        self._total.copy_(total)
        self._number.copy_(number)
        rate = self.options["lr"] * _mean(self._total, self._number)
        moved = torch.zeros_like(self.values)
        self._follow(moved, grads, 1.0)
        self.values.add_(moved.mul_(rate.to(moved.dtype)))

    def _with_ratio_of(self, grads: Tensor) -> tuple[Tensor, Tensor]:
        """Return the sum and number of each row's ratios so far and that of decayed gradients."""
        length, diffused = _lengths(grads), _lengths(super().transform(grads))
        max_norm = self.options["max_norm"]
        if max_norm is not None:
            length, diffused = length.clamp(max=max_norm), diffused.clamp(max=max_norm)
        ratio = diffused / _one_where_zero(length)
        is_counted = (length > 0) & ratio.isfinite()
        return self._total + torch.where(is_counted, ratio, 0.0), self._number + is_counted


_RULES: dict[type[Optimizer], type[Rule]] = {
    **dict.fromkeys(_ELEMENTWISE, Elementwise),
    DiffusionSGD: Diffused,
    NormMatchedSGD: NormMatched,
    PlaceboDiffusionSGD: Placebo,
    NormMatchedPlaceboSGD: NormMatchedPlacebo,
    LRMatchedSGD: LRMatched,
    LayoutDiffusionSGD: Layout,
    LaplacianSmoothingSGD: Smoothed,
    SobolevSGD: Smoothed,
    DiffusionNesterov: Velocity,
}


def has_rule(kind: type[Optimizer]) -> bool:
    """Whether there is a rule for a class of optimizers."""
    return kind in _RULES


def rule_of(optimizers: Sequence[Optimizer], stack: Stack, rows: slice) -> Rule:
    """Return the rule that stands for optimizers of one class with the same options.

    Raises:
        ValueError: If there is none, or they have several groups that would form one chain.
    """
    first = optimizers[0]
    kind = _RULES.get(type(first))
    if kind is None:
        raise ValueError(
            f"replicas can be trained with {', '.join(k.__name__ for k in _RULES)}, got "
            f"{type(first).__name__}; use train for it"
        )
    if kind is not Velocity and len(first.param_groups) > 1:
        raise ValueError(
            f"{type(first).__name__} of replicas must have one parameter group, got "
            f"{len(first.param_groups)}; use train for it"
        )
    return kind(optimizers, stack, rows)


def options_of(optimizer: Optimizer) -> list[dict[str, Any]]:
    """Return what two optimizers must have in common to be stepped together."""
    return [
        {k: v for k, v in group.items() if k not in {"params", "param_names", "seed"}}
        for group in optimizer.param_groups
    ]


def _lengths(rows: Tensor) -> Tensor:
    """Return the Euclidean norm of each row, float64, shape (rows, 1)."""
    lengths: Tensor = torch.linalg.vector_norm(rows, dim=1, keepdim=True, dtype=torch.float64)
    return lengths


def _one_where_zero(lengths: Tensor) -> Tensor:
    """Return lengths to divide by: a zero is divided by one, and stays zero."""
    return torch.where(lengths > 0, lengths, torch.ones_like(lengths))


def _mean(total: Tensor, number: Tensor) -> Tensor:
    """Return the mean of each row's ratios; 1 where there is none yet."""
    return torch.where(number > 0, total / number.clamp(min=1), torch.ones_like(total))


def _turned(part: Tensor) -> Tensor:
    """Return one parameter's rows, shape (rows, *shape), flattened with its axes reversed."""
    return part.permute(0, *range(part.dim() - 1, 0, -1)).flatten(1)
