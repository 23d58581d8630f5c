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

    def _options(self) -> dict[str, Any]:
        left_out = _NO_OPTIONS | {"initial_lr", "decoupled_weight_decay"}
        return {k: v for k, v in self.groups[0].items() if k not in left_out}

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
        options = self.options
        grads = self.transform(self._decayed())
        max_norm = options.get("max_norm")
        if max_norm is not None:
            lengths = _lengths(grads)
            grads = grads * (max_norm / lengths.clamp(min=max_norm)).to(grads.dtype)
        names = ("lr", "momentum", "dampening", "nesterov")
        updates.heavy_ball(
            [self.values],
            [grads],
            self._buffers,
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
        length = _lengths(grads)
        factor = _lengths(diffused) / torch.where(length > 0, length, torch.ones_like(length))
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


_RULES: dict[type[Optimizer], type[Rule]] = {
    **dict.fromkeys(_ELEMENTWISE, Elementwise),
    DiffusionSGD: Diffused,
    NormMatchedSGD: NormMatched,
    PlaceboDiffusionSGD: Placebo,
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
