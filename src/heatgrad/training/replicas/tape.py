"""Forward and backward of many multilayer perceptrons at once, in memory that is made once."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from heatgrad.models import MLP
from heatgrad.models.dropout import ByteDropout
from heatgrad.training.replicas import norm_torch
from heatgrad.training.replicas.stack import Stack

__all__ = ["Block", "Tape", "blocks_of"]


_VECTOR = 16  # elements, 64 bytes of float32


@dataclass(frozen=True)
class Block:
    """A linear layer, and what follows it.

    Attributes:
        linear: Name of the linear layer.
        norm: Name of the batch normalisation after it; None for the last layer.
        dropped: How many of the 256 values of a byte drop an element.
        eps: Of the batch normalisation.
        momentum: Of its running statistics.
    """

    linear: str
    norm: str | None = None
    dropped: int = 0
    eps: float = 0.0
    momentum: float = 0.0


def blocks_of(model: MLP) -> list[Block]:
    """Return the blocks of a multilayer perceptron."""
    names = [(f"layers.{name}", layer) for name, layer in model.layers.named_children()]
    blocks: list[Block] = []
    for name, layer in names:
        if isinstance(layer, nn.Linear):
            blocks.append(Block(name))
        elif isinstance(layer, nn.BatchNorm1d):
            assert layer.momentum is not None
            blocks[-1] = replace(blocks[-1], norm=name, eps=layer.eps, momentum=layer.momentum)
        elif isinstance(layer, ByteDropout):
            blocks[-1] = replace(blocks[-1], dropped=layer.dropped)
    return blocks


class Tape:
    """One training step's forward and backward, for some rows of a stack and one batch size."""

    def __init__(self, stack: Stack, rows: slice, blocks: Sequence[Block], batch: int) -> None:
        self.stack, self.rows, self.batch = stack, rows, batch
        count = len(range(*rows.indices(len(stack))))
        self.layers: list[_Layer] = []
        for place, block in enumerate(blocks):
            self.layers.append(_Layer(stack, rows, block, count, batch, is_first=place == 0))
        logits = self.layers[-1].z.view
        self._gradient = _Slab(logits, count, *logits.shape[1:])

    def forward(self, x: Tensor, bytes_: Sequence[Tensor], source: Tensor) -> Tensor:
        """Return the logits, shape (rows, batch, classes).

        Args:
            x: Inputs, shape (rows, batch, features).
            bytes_: Random bytes for each layer that drops, shape (sources, batch, units).
            source: The source of each row.
        """
        words = iter(bytes_)
        for layer in self.layers:
            x = layer.forward(x, next(words) if layer.block.dropped else None, source)
        return x

    def backward(self, gradient: Tensor) -> None:
        """Fill the stack's gradients, given that of the logits."""
        self._gradient.view.copy_(gradient)
        flowing: _Slab | None = self._gradient
        for layer in reversed(self.layers):
            assert flowing is not None
            flowing = layer.backward(flowing)


def is_compiled(device: torch.device) -> bool:
    """Whether batch normalisation, ReLU and dropout are one compiled pass."""
    return device.type == "cpu"


class _Slab:
    """Memory for one array a replica, each beginning where a vector of the machine does.

    Products of matrices sum in another order where they begin elsewhere: so every replica has the
    same, whichever its place.
    """

    def __init__(self, like: Tensor, count: int, *shape: int) -> None:
        size = prod(shape)
        rows = like.new_zeros(count, -(-size // _VECTOR) * _VECTOR)
        self.view = rows[:, :size].view(count, *shape)
        self.raw: Any = rows.numpy() if is_compiled(like.device) else self.view  # for the kernels


class _Layer:
    """A linear layer and what follows it, with copies of the weights that are laid out alike."""

    def __init__(
        self, stack: Stack, rows: slice, block: Block, count: int, batch: int, *, is_first: bool
    ) -> None:
        self.block = block
        self.params = [stack.params[f"{block.linear}.{name}"][rows] for name in ("weight", "bias")]
        self.grads = [
            stack.param_grads[f"{block.linear}.{name}"][rows] for name in ("weight", "bias")
        ]
        units, features = self.params[0].shape[1:]
        like = self.params[0]
        self.x = _Slab(like, count, batch, features) if is_first else None
        self.weight = _Slab(like, count, units, features).view
        self.weight_grad = _Slab(like, count, units, features).view
        self.z = _Slab(like, count, batch, units)
        self.dx = None if is_first else _Slab(like, count, batch, features)
        self.norm = None if block.norm is None else _Norm(stack, rows, block, count, batch, units)

    def forward(self, x: Tensor, bytes_: Tensor | None, source: Tensor) -> Tensor:
        weight, bias = self.params
        self.weight.copy_(weight)
        self.input = x if self.x is None else self.x.view.copy_(x)
        z = self.z.view
        torch.baddbmm(bias.unsqueeze(1), self.input, self.weight.transpose(1, 2), out=z)
        return z if self.norm is None else self.norm.forward(self.z, bytes_, source)

    def backward(self, gradient: _Slab) -> _Slab | None:
        if self.norm is not None:
            self.norm.backward(gradient, self.z)
        weight_grad, bias_grad = self.grads
        torch.bmm(gradient.view.transpose(1, 2), self.input, out=self.weight_grad)
        weight_grad.copy_(self.weight_grad)
        torch.sum(gradient.view, 1, out=bias_grad)
        if self.dx is not None:
            torch.bmm(gradient.view, self.weight, out=self.dx.view)
        return self.dx


class _Norm:
    """Batch normalisation, ReLU and dropout."""

    def __init__(
        self, stack: Stack, rows: slice, block: Block, count: int, batch: int, units: int
    ) -> None:
        self.block, self.batch = block, batch
        self.scale = stack.params[f"{block.norm}.weight"][rows]
        self.shift = stack.params[f"{block.norm}.bias"][rows]
        self.scale_grad = stack.param_grads[f"{block.norm}.weight"][rows]
        self.shift_grad = stack.param_grads[f"{block.norm}.bias"][rows]
        self.mean = stack.buffers[f"{block.norm}.running_mean"][rows]
        self.var = stack.buffers[f"{block.norm}.running_var"][rows]
        self.seen = stack.buffers[f"{block.norm}.num_batches_tracked"][rows]
        self.unbias = batch / max(1, batch - 1)
        self.y = _Slab(self.scale, count, batch, units)
        device = self.scale.device
        self.none = torch.zeros(1, batch, units, dtype=torch.uint8, device=device)
        # scale, shift, mean, 1 / sd, variance; then the gradients of the first two
        self.table = self.scale.new_empty(7, count, units)
        self.kernels: Any = norm_torch
        self.columns: list[Any] = list(self.table)
        self.eps: Any = block.eps
        if is_compiled(device):
            from heatgrad.training.replicas import norm_cpu

            self.kernels = norm_cpu
            self.columns = [column.numpy() for column in self.table]
            self.eps = self.y.raw.dtype.type(block.eps)

    def forward(self, z: _Slab, bytes_: Tensor | None, source: Tensor) -> Tensor:
        self.table[0].copy_(self.scale)
        self.table[1].copy_(self.shift)
        scale, shift, mean, inv, var = self.columns[:5]
        words = self.none if bytes_ is None else bytes_
        compiled = self.kernels is not norm_torch
        self.kernels.forward(
            z.raw,
            scale,
            shift,
            words.numpy() if compiled else words,
            source.numpy() if compiled else source,
            self.block.dropped,
            self.eps,
            self.y.raw,
            mean,
            inv,
            var,
        )
        self.mean.lerp_(self.table[2], self.block.momentum)
        self.var.lerp_(self.table[4] * self.unbias, self.block.momentum)
        self.seen += 1
        return self.y.view

    def backward(self, gradient: _Slab, z: _Slab) -> None:
        scale, _, mean, inv, _, scale_grad, shift_grad = self.columns
        self.kernels.backward(
            gradient.raw,
            z.raw,
            self.y.raw,
            self.batch,
            scale,
            mean,
            inv,
            self.block.dropped,
            scale_grad,
            shift_grad,
        )
        self.scale_grad.copy_(self.table[5])
        self.shift_grad.copy_(self.table[6])


def random_bytes(
    blocks: Sequence[Block], units: Sequence[int], batch: int, seed: int
) -> list[Tensor]:
    """Return what the dropout layers of one network would draw in one step, shape (batch, units).

    Args:
        blocks: The network's.
        units: The number of units of each block.
        batch: Examples of the step.
        seed: Seed of the step's dropout.
    """
    generator = torch.Generator().manual_seed(seed)
    drawn = []
    for block, width in zip(blocks, units, strict=True):
        if block.dropped:
            words = torch.empty(-(-batch * width // 8), dtype=torch.int64)
            words.random_(torch.iinfo(torch.int64).min, None, generator=generator)
            drawn.append(words.view(torch.uint8)[: batch * width].view(batch, width))
    return drawn


def folded(stack: Stack, blocks: Sequence[Block]) -> list[tuple[Tensor, Tensor]]:
    """Return weight and bias of each block in evaluation mode, batch normalisation included.

    Returns:
        Weights of shape (replicas, features, units) and biases of shape (replicas, 1, units).
    """
    layers = []
    for block in blocks:
        weight = stack.params[f"{block.linear}.weight"].transpose(1, 2)
        bias = stack.params[f"{block.linear}.bias"].unsqueeze(1)
        if block.norm is not None:
            scale = stack.params[f"{block.norm}.weight"]
            scale = scale / torch.sqrt(stack.buffers[f"{block.norm}.running_var"] + block.eps)
            scale = scale.unsqueeze(1)
            mean = stack.buffers[f"{block.norm}.running_mean"].unsqueeze(1)
            shift = stack.params[f"{block.norm}.bias"].unsqueeze(1)
            weight, bias = weight * scale, (bias - mean) * scale + shift
        layers.append((weight, bias))
    return layers


def logits_of(layers: Sequence[tuple[Tensor, Tensor]], rows: slice, x: Tensor) -> Tensor:
    """Return the logits in evaluation mode, shape (rows, examples, classes)."""
    for place, (weight, bias) in enumerate(layers):
        if place:
            x = x.relu_()
        x = torch.baddbmm(bias[rows], x, weight[rows])
    return x
