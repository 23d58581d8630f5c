"""The passes of any network whose forward `torch.func.vmap` can map over stacked weights."""

import copy
from collections.abc import Collection, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap
from torch.utils._python_dispatch import TorchDispatchMode

from heatgrad.data import Dataset
from heatgrad.training.evaluation import Evaluation, evaluate
from heatgrad.training.losses import Loss
from heatgrad.training.replicas.drawn import Feed, draw, with_drawn_masks
from heatgrad.training.replicas.passes import ROWS, Passes
from heatgrad.training.replicas.stack import Stack

__all__ = ["Mapped", "Mapping", "disturbed", "keeps_its_bits"]

_VECTOR = 64  # bytes
_TRIES = 3
_Named = dict[str, Tensor]


class Mapping:
    """One training step's forward and backward of many networks, as one of theirs.

    Args:
        model: One of the networks; a copy is kept.
        loss: Mean loss of a batch.
    """

    def __init__(self, model: nn.Module, loss: Loss) -> None:
        self._feed = Feed()
        self._model = with_drawn_masks(copy.deepcopy(model).train(), self._feed)
        self._loss = loss
        self._calls: dict[int, list[tuple[nn.Module, Tensor]]] = {}
        self._step = vmap(grad_and_value(self._loss_of))

    def __call__(
        self, params: _Named, buffers: _Named, x: Tensor, y: Tensor, masks: Sequence[Tensor]
    ) -> tuple[_Named, Tensor]:
        """Return the gradients and the losses; the buffers are changed as a forward changes them.

        Args:
            params: By name, shape (rows, *shape).
            buffers: By name, shape (rows, *shape).
            x: Inputs, shape (rows, batch, *shape).
            y: Labels, shape (rows, batch).
            masks: Of each call of a dropout layer, shape (rows, *shape).
        """
        with torch.enable_grad(), _EvenPlaces():  # type: ignore[no-untyped-call]
            grads, losses = self._step(params, buffers, x, y, tuple(masks))
        return grads, losses.detach()

    def masks(self, x: Tensor, seed: int) -> list[Tensor]:
        """Return the masks of the dropout layers for inputs of one network, shape (batch, ...)."""
        if len(x) not in self._calls:
            self._feed.calls = []
            with torch.no_grad():
                self._model(x)
            self._calls[len(x)], self._feed.calls = self._feed.calls, None
        return draw(self._calls[len(x)], seed)

    def _loss_of(
        self, params: _Named, buffers: _Named, x: Tensor, y: Tensor, masks: tuple[Tensor, ...]
    ) -> Tensor:
        self._feed.start(masks)
        return self._loss(functional_call(self._model, (params, buffers), (x,)), y)


class Mapped(Passes):
    """Gradients by `vmap`, `ROWS` rows at a time; scores one by one.

    It is always the same number of rows, filled up where there are fewer: so shapes, by which
    operations may round, do not depend on the number of networks. That rows do not feel their
    place among these, `keeps_its_bits` finds out.

    Args:
        models: The networks.
        stack: Their parameters and buffers.
        data: The data set of each source.
        source: The source of each row.
        loss: Mean loss of a batch.
    """

    def __init__(
        self,
        models: Sequence[nn.Module],
        stack: Stack,
        data: Sequence[Dataset],
        source: Tensor,
        loss: Loss,
    ) -> None:
        self.models, self.stack, self.data, self.source = models, stack, data, source
        self.loss = loss
        self.mapping = Mapping(models[0], loss)
        places = torch.arange(-(-len(stack) // ROWS) * ROWS)
        self._parts = torch.where(places < len(stack), places, 0).view(-1, ROWS)

    def gradients(self, x: Tensor, y: Tensor, seeds: Sequence[int]) -> Tensor:
        """Fill the stack's gradients for one step; return the losses."""
        drawn = [self.mapping.masks(some, seed) for some, seed in zip(x, seeds, strict=True)]
        masks = [torch.stack(layer) for layer in zip(*drawn, strict=True)]
        losses = torch.empty(len(self.stack), dtype=torch.float64)
        for start, rows in zip(range(0, len(self.stack), ROWS), self._parts, strict=True):
            source = self.source[rows]
            params = {name: _aligned(value[rows]) for name, value in self.stack.params.items()}
            buffers = {name: value[rows] for name, value in self.stack.buffers.items()}
            some = [mask[source] for mask in masks]
            grads, value = self.mapping(params, buffers, x[source], y[source], some)
            count = min(ROWS, len(self.stack) - start)
            own = slice(start, start + count)
            for name, grad in grads.items():
                self.stack.param_grads[name][own] = grad[:count]
            for name, buffer in buffers.items():
                self.stack.buffers[name][own] = buffer[:count]
            losses[own] = value[:count].double()
        return losses

    def scores(self, rows: Collection[int]) -> dict[int, Evaluation]:
        """Return the scores of these rows."""
        return {
            row: evaluate(self.models[row], self.data[int(self.source[row])], loss=self.loss)
            for row in rows
        }


class _EvenPlaces(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Let rows be rounded alike: wherever they begin, they begin where a vector does.

    A product of matrices adds in another order where its operands begin elsewhere; a sum over
    columns does in the last ones, which are those of the last row if rows lie side by side.
    """

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func is torch.ops.aten.bmm.default:
            a, b = map(_aligned_matrices, args)
            out = _slab(a, (*a.shape[:2], b.shape[2]))
            return torch.bmm(a, b, out=out)
        if func is torch.ops.aten.sum.dim_IntList:
            args = (args[0].contiguous(), *args[1:])
        return func(*args, **(kwargs or {}))


def keeps_its_bits(mapping: Mapping, model: nn.Module, x: Tensor, y: Tensor) -> bool:
    """Whether `ROWS` times the same network gives the same bits in each row.

    Products of matrices, and what is computed in vectors, may round by where their operands begin.
    A few networks are tried, since a sum in another order is the same by chance now and then.

    Args:
        mapping: The step.
        model: A network.
        x: Inputs of one step of it.
        y: Labels.
    """
    masks = mapping.masks(x, 0)
    generator = torch.Generator().manual_seed(0)
    inputs, labels, *drawn = (_repeated(value) for value in (x, y, *masks))
    for _ in range(_TRIES):
        params = {
            name: _aligned(_repeated(disturbed(param, generator)))
            for name, param in model.named_parameters()
        }
        buffers = {name: _repeated(buffer) for name, buffer in model.named_buffers()}
        grads, losses = mapping(params, buffers, inputs, labels, drawn)
        for rows in [*grads.values(), losses, *buffers.values()]:
            if not bool((rows == rows[:1]).all()):
                return False
    return True


def disturbed(param: Tensor, generator: torch.Generator) -> Tensor:
    """Return a parameter that is changed by about a tenth."""
    value = param.detach()
    noise = torch.randn(value.shape, generator=generator, dtype=value.dtype)
    return value + 0.1 * noise * (1 + value.abs())


def _repeated(value: Tensor) -> Tensor:
    rows = value.detach().expand(ROWS, *value.shape)
    return rows.clone(memory_format=torch.contiguous_format)


def _aligned(rows: Tensor) -> Tensor:
    """Return a copy in which each row begins where a vector of the machine does."""
    return _slab(rows, rows.shape).copy_(rows)


def _aligned_matrices(matrices: Tensor) -> Tensor:
    """Return a copy as `_aligned`, transposed in memory where the matrices are."""
    if matrices.stride(1) < matrices.stride(2):
        return _aligned(matrices.transpose(1, 2)).transpose(1, 2)
    return _aligned(matrices)


def _slab(like: Tensor, shape: Sequence[int]) -> Tensor:
    """Return memory for rows that begin where a vector of the machine does."""
    size, step = prod(shape[1:]), _VECTOR // like.element_size()
    return like.new_empty(shape[0], -(-size // step) * step)[:, :size].view(shape)
