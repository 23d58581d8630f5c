"""The loss of many networks of one architecture, stacked and taken through together."""

import contextlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.modules.batchnorm import _BatchNorm

from heatgrad.landscape.norms import EnoughError, batch_norms
from heatgrad.landscape.objective import DataLoss

__all__ = ["stacked_losses"]

_MOST_BYTES = 1 << 30  # of one layer's outputs, over all networks that go together
Stack = dict[str, Tensor]
Found = dict[int, tuple[Tensor, Tensor]]  # of each layer the means and variances of its channels


@torch.no_grad()
def stacked_losses(
    model: nn.Module,
    objective: DataLoss,
    params: Sequence[Tensor],
    places: Iterable[Sequence[Tensor]],
    inputs: Sequence[Tensor] | None,
    until: nn.Module | None,
) -> NDArray[np.float64] | None:
    """Return the loss at each place, or None if the network cannot be mapped over.

    Args:
        model: The network, in evaluation mode.
        objective: Its loss.
        params: Its parameters that are moved.
        places: Their values.
        inputs: What running statistics are estimated by, anew at every place; None if they stay.
        until: The last layer that takes statistics, if it is known.
    """
    names = {id(param): name for name, param in model.named_parameters()}
    moved = [names[id(param)] for param in params]
    at_once = max(1, _MOST_BYTES // _bytes_of(model, objective, inputs))
    losses: list[NDArray[np.float64]] = []
    places = iter(places)
    while chunk := list(itertools.islice(places, at_once)):
        stack = {name: torch.stack(parts) for name, *parts in zip(moved, *chunk, strict=True)}
        try:
            found = None if inputs is None else _statistics(model, stack, inputs, until)
            losses.append(_losses(model, objective, stack, found))
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, ValueError):  # an operation that vmap does not know
            return None
    return np.concatenate(losses)


def _losses(
    model: nn.Module, objective: DataLoss, stack: Stack, found: Found | None
) -> NDArray[np.float64]:
    def term(weights: Stack, statistics: Found | None, x: Tensor, y: Tensor) -> Tensor:
        def use(layer: _BatchNorm, h: Tensor) -> Tensor:
            mean, variance = (statistics or {})[id(layer)]
            return _normalised(layer, h, mean, variance)

        with _norms_as(model, use if statistics is not None else None):
            return objective.criterion(functional_call(model, weights, (x,)), y)

    total = None
    for x, y in objective.batches():
        one = vmap(term, in_dims=(0, 0 if found else None, None, None))(stack, found, x, y)
        one = one.double() * (len(y) / objective.num_examples)
        total = one if total is None else total + one
    return np.asarray(total.cpu().numpy()) if total is not None else np.zeros(0)


def _statistics(
    model: nn.Module, stack: Stack, inputs: Sequence[Tensor], until: nn.Module | None
) -> Found:
    """Return the mean over the batches of each layer's means and unbiased variances."""

    def taken(weights: Stack, x: Tensor) -> dict[int, list[tuple[Tensor, Tensor]]]:
        seen: dict[int, list[tuple[Tensor, Tensor]]] = {}

        def take(layer: _BatchNorm, h: Tensor) -> Tensor:
            over = [d for d in range(h.dim()) if d != 1]
            variance, mean = torch.var_mean(h, over, correction=0)
            count = h.numel() / h.shape[1]
            unbiased = variance * (count / (count - 1))
            seen.setdefault(id(layer), []).append((mean, unbiased))
            if layer is until:
                raise EnoughError
            return _normalised(layer, h, mean, variance)

        with _norms_as(model, take), contextlib.suppress(EnoughError):
            functional_call(model, weights, (x,))
        return seen

    sums: dict[int, tuple[Tensor, Tensor]] = {}
    counts: dict[int, int] = {}
    for x in inputs:
        for layer, pairs in vmap(taken, in_dims=(0, None))(stack, x).items():
            for pair in pairs:
                old = sums.get(layer)
                sums[layer] = pair if old is None else (old[0] + pair[0], old[1] + pair[1])
                counts[layer] = counts.get(layer, 0) + 1
    return {layer: (m / counts[layer], v / counts[layer]) for layer, (m, v) in sums.items()}


def _normalised(layer: _BatchNorm, h: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    scale = torch.rsqrt(variance + layer.eps)
    if layer.weight is not None:
        scale = scale * layer.weight
    shift = -mean * scale
    if layer.bias is not None:
        shift = shift + layer.bias
    shape = [1, -1, *[1] * (h.dim() - 2)]
    return torch.addcmul(shift.view(shape), h, scale.view(shape))


@contextlib.contextmanager
def _norms_as(
    model: nn.Module, forward: Callable[[_BatchNorm, Tensor], Tensor] | None
) -> Iterator[None]:
    """Let batch normalisation be computed by another function."""
    layers: list[Any] = [] if forward is None else batch_norms(model)
    for layer in layers:
        layer.forward = lambda h, layer=layer: forward(layer, h)  # type: ignore[misc]
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward


def _bytes_of(model: nn.Module, objective: DataLoss, inputs: Sequence[Tensor] | None) -> int:
    """Return the size of the largest output of a layer."""
    sizes = [1]
    hooks = [
        module.register_forward_hook(
            lambda _m, _i, out: sizes.append(
                out.numel() * out.element_size() if isinstance(out, Tensor) else 1
            )
        )
        for module in model.modules()
    ]
    try:
        model(next(objective.batches())[0])
        for x in (inputs or ())[:1]:
            model(x)
    finally:
        for hook in hooks:
            hook.remove()
    return max(sizes)
