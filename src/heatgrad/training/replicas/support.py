"""How replicas can be trained: at once by hand-written passes, at once by `vmap`, or one by one."""

import copy
import math
import warnings
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.optim import Optimizer

from heatgrad.data import Dataset
from heatgrad.models import MLP
from heatgrad.optim import DiffusionNesterov
from heatgrad.training.losses import Loss
from heatgrad.training.objective import Objective, is_objective
from heatgrad.training.order import steps_per_epoch
from heatgrad.training.replicas.mapped import Mapping, disturbed, keeps_its_bits
from heatgrad.training.replicas.rules import has_rule

__all__ = ["Backend", "Device", "backend_of", "can_train"]

Backend = Literal["replicas", "vmap", "loop"]
Device = Literal["cpu", "cuda"]

_TRIED = 8  # examples of the steps that are tried
_SMALL = 1 << 13  # parameters


def can_train(model: type[nn.Module], optimizer: type[Optimizer]) -> bool:
    """Whether networks of a class have hand-written passes, and a class of optimizers a rule."""
    is_ours = issubclass(model, MLP) and model.forward is MLP.forward
    return is_ours and has_rule(optimizer)


def backend_of(
    models: Sequence[nn.Module],
    optimizers: Sequence[Optimizer],
    dataset: Dataset,
    *,
    loss: Loss | Objective,
    batch_size: int,
    always: bool = False,
) -> Backend:
    """Return how networks of one architecture are trained best.

    `"vmap"` is for networks without hand-written passes. That it can map one is found out by
    trying: two steps of two networks in float64 must equal those of the loop, dropout and batch
    statistics included, and a network's place among others must change none of its bits. It is
    chosen where it is faster: for small networks (at most 8,192 parameters) without convolutions,
    whose time goes into many short operations.

    The answer does not depend on the number of networks. An objective is trained by the loop.

    Args:
        models: The networks.
        optimizers: One of each.
        dataset: Data of the shape of all.
        loss: Mean loss of a batch, or an objective.
        batch_size: Examples a step, at least 1.
        always: Whether `"vmap"` is chosen where it can be used but is not faster, too.
    """
    if is_objective(loss):
        return "loop"
    pairs = list(zip(models, optimizers, strict=True))
    if not all(has_rule(type(o)) and _is_whole(m, o) for m, o in pairs):
        return "loop"
    if all(can_train(type(m), type(o)) for m, o in pairs):
        return "replicas"
    model = models[0]
    is_worth_it = always or _is_small(model)
    if not (is_worth_it and _are_alike(models) and _can_map(model, dataset, loss, batch_size)):
        return "loop"
    return "vmap"


def _is_whole(model: nn.Module, optimizer: Optimizer) -> bool:
    """Whether an optimizer steps all parameters, and as one chain if they are one to it."""
    own = [id(param) for param in model.parameters()]
    stepped = [[id(param) for param in group["params"]] for group in optimizer.param_groups]
    if isinstance(optimizer, DiffusionNesterov):
        return sorted(own) == sorted(param for group in stepped for param in group)
    return stepped == [own]


def _are_alike(models: Sequence[nn.Module]) -> bool:
    """Whether networks are of one class, with real parameters of one type on the CPU."""

    def form(model: nn.Module) -> list[object]:
        named = [*model.named_parameters(), *model.named_buffers()]
        return [type(model), *((name, value.shape, value.dtype) for name, value in named)]

    params = list(models[0].parameters())
    is_plain = all(
        p.requires_grad and p.device.type == "cpu" and p.dtype == params[0].dtype for p in params
    )
    is_real = params[0].is_floating_point()
    return is_plain and is_real and all(form(model) == form(models[0]) for model in models[1:])


def _is_small(model: nn.Module) -> bool:
    has_convolutions = any(isinstance(layer, _ConvNd) for layer in model.modules())
    return not has_convolutions and sum(p.numel() for p in model.parameters()) <= _SMALL


def _can_map(model: nn.Module, dataset: Dataset, loss: Loss, batch_size: int) -> bool:
    with warnings.catch_warnings():
        # What vmap does one by one is better left to the loop.
        warnings.filterwarnings("error", message=".*performance drop.*")
        try:
            return _agrees(model, dataset, loss) and _keeps_bits(model, dataset, loss, batch_size)
        except Exception:  # whatever a network may raise that cannot be mapped
            return False


def _agrees(model: nn.Module, dataset: Dataset, loss: Loss) -> bool:
    """Whether two steps of two networks in float64 are those of the loop."""
    count = min(_TRIED, len(dataset.y_train))
    x, y = _wide(dataset.x_train[:count]), dataset.y_train[:count]
    inputs, labels = [x, x.flip(0)], [y, y.flip(0)]
    networks = [copy.deepcopy(model).double().train() for _ in range(2)]
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for param in networks[1].parameters():
            param.copy_(disturbed(param, generator))
    mapping = Mapping(networks[0], loss)
    params = _stacked([dict(network.named_parameters()) for network in networks])
    buffers = _stacked([dict(network.named_buffers()) for network in networks])
    for step in range(2):
        drawn = [mapping.masks(x, 2 * step + row) for row, x in enumerate(inputs)]
        masks = [torch.stack(layer) for layer in zip(*drawn, strict=True)]
        grads, values = mapping(params, buffers, torch.stack(inputs), torch.stack(labels), masks)
        for row, network in enumerate(networks):
            network.zero_grad()
            with torch.random.fork_rng(devices=[]):
                torch.default_generator.manual_seed(2 * step + row)
                value = loss(network(inputs[row]), labels[row])
                with torch.enable_grad():
                    value.backward()  # type: ignore[no-untyped-call]
            pairs = [(values[row], value.detach())]
            for name, param in network.named_parameters():
                if param.grad is None:
                    return False  # which its optimizer would pass over
                pairs.append((grads[name][row], param.grad))
            pairs += [(buffers[name][row], b) for name, b in network.named_buffers()]
            if not all(_is_close(a, b) for a, b in pairs):
                return False
            with torch.no_grad():
                for name, param in network.named_parameters():
                    param.sub_(param.grad, alpha=0.01)  # type: ignore[arg-type]
                    params[name][row] = param
    return True


def _keeps_bits(model: nn.Module, dataset: Dataset, loss: Loss, batch_size: int) -> bool:
    """Whether no place among others is felt, with any batch of an epoch."""
    num_train = len(dataset.y_train)
    steps = steps_per_epoch(num_train, batch_size)
    last = min(num_train, steps * batch_size) - (steps - 1) * batch_size
    mapping = Mapping(model, loss)
    return all(
        keeps_its_bits(mapping, model, dataset.x_train[:size], dataset.y_train[:size])
        for size in {min(batch_size, num_train), last}
    )


def _is_close(a: Tensor, b: Tensor) -> bool:
    if not a.is_floating_point():
        return torch.equal(a, b)
    scale = float(b.abs().max()) if b.numel() else 0.0
    return math.isfinite(scale) and torch.allclose(a, b, rtol=1e-10, atol=1e-13 * (1 + scale))


def _stacked(named: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.stack([some[name].detach() for some in named]) for name in named[0]}


def _wide(x: Tensor) -> Tensor:
    return x.double() if x.is_floating_point() else x
