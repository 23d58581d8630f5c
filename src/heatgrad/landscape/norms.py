"""Batch normalisation's running statistics, estimated anew for the weights that are there."""

import contextlib
import itertools
from collections.abc import Iterable, Iterator
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from heatgrad.landscape.objective import Objective

__all__ = [
    "EnoughError",
    "Statistics",
    "batch_norms",
    "check_statistics",
    "inputs_for",
    "kept",
    "last_norm",
    "recalibrate",
    "training_norms",
]

Statistics = Literal["recalibrate", "frozen"]


def batch_norms(model: nn.Module) -> list[_BatchNorm]:
    """Return the layers that keep running statistics."""
    return [m for m in model.modules() if isinstance(m, _BatchNorm) and m.running_mean is not None]


def check_statistics(statistics: str) -> None:
    """Refuse an unknown way to treat running statistics.

    Raises:
        ValueError: With those that are known.
    """
    if statistics not in get_args(Statistics):
        known = ", ".join(get_args(Statistics))
        raise ValueError(f"statistics must be one of {known}, got {statistics!r}")


def inputs_for(
    objective: Objective, model: nn.Module, statistics: str, given: Iterable[Tensor] | None
) -> list[Tensor] | None:
    """Return the inputs that statistics are estimated by; None where nothing is to be estimated.

    Args:
        objective: The loss, which may know its inputs.
        model: The network.
        statistics: `"recalibrate"`, or a way that needs none.
        given: Batches of inputs of the caller's, the same each time.

    Raises:
        ValueError: If statistics are to be estimated and no inputs are known.
    """
    if statistics != "recalibrate" or not batch_norms(model):
        return None
    inputs = given if given is not None else objective.inputs()
    if inputs is None:
        raise ValueError(
            "batch statistics are estimated anew for other weights, and a function tells no "
            "inputs: give a DataLoss, or recalibrate_on=batches, or statistics='frozen'"
        )
    return list(inputs)


@torch.no_grad()
def recalibrate(
    model: nn.Module,
    inputs: Iterable[Tensor],
    *,
    dropout: bool = False,
    until: nn.Module | None = None,
) -> None:
    """Replace the running statistics of a network by their mean over batches of inputs.

    The cumulative mean over the batches, in their order, as `torch.optim.swa_utils.update_bn`
    takes it; but dropout is off unless it is asked for, and every layer's mode is put back.

    Args:
        model: The network; its running statistics are changed.
        inputs: Batches, at least one.
        dropout: Whether dropout layers drop.
        until: The layer behind which no statistics are left to be taken (`last_norm`); what comes
            after is not computed.

    Raises:
        ValueError: If there is no batch.
    """
    layers = batch_norms(model)
    if not layers:
        return
    batches = iter(inputs)
    first = next(batches, None)
    if first is None:
        raise ValueError("batch statistics need at least one batch of inputs, got none")
    momenta = {layer: layer.momentum for layer in layers}
    stop = until.register_forward_hook(_stop) if until is not None else None
    try:
        for layer in layers:
            layer.reset_running_stats()
            layer.momentum = None
        with training_norms(model, dropout=dropout):
            for x in itertools.chain([first], batches):
                with contextlib.suppress(EnoughError):
                    model(x)
    except ValueError as error:
        if "Expected more than 1 value" not in str(error):
            raise
        raise ValueError(
            "batch statistics need batches of more than one example, got one; take a loader with "
            "drop_last=True or another batch_size, or statistics='frozen'"
        ) from error
    finally:
        if stop is not None:
            stop.remove()
        for layer, momentum in momenta.items():
            layer.momentum = momentum


@torch.no_grad()
def last_norm(model: nn.Module, x: Tensor) -> nn.Module | None:
    """Return the last layer of a forward pass that takes statistics; None if it is used twice."""
    used: list[nn.Module] = []
    hooks = [
        layer.register_forward_hook(lambda module, *_: used.append(module))
        for layer in batch_norms(model)
    ]
    try:
        model(x)
    finally:
        for hook in hooks:
            hook.remove()
    return used[-1] if used and used.count(used[-1]) == 1 else None


class EnoughError(Exception):
    """Ends a forward pass behind the last layer that takes statistics."""


def _stop(*_: object) -> None:
    raise EnoughError


@contextlib.contextmanager
def training_norms(model: nn.Module, *, dropout: bool = False) -> Iterator[nn.Module]:
    """Let batch normalisation take each batch's own statistics, and nothing else train.

    Args:
        model: The network; each module's mode is put back afterwards.
        dropout: Whether dropout layers drop.
    """
    modes = {module: module.training for module in model.modules()}
    try:
        for module in modes:
            drops = isinstance(module, _DropoutNd) or "Dropout" in type(module).__name__
            module.training = isinstance(module, _BatchNorm) or (dropout and drops)
        yield model
    finally:
        for module, mode in modes.items():
            module.training = mode


@contextlib.contextmanager
def kept(model: nn.Module) -> Iterator[nn.Module]:
    """Put every parameter and buffer of a network back to what it was, bit for bit."""
    tensors = [*model.parameters(), *model.buffers()]
    before = [tensor.detach().clone() for tensor in tensors]
    try:
        yield model
    finally:
        with torch.no_grad():
            for tensor, old in zip(tensors, before, strict=True):
                tensor.copy_(old)
