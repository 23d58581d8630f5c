"""The loss of a fully connected network, by matrix products and one pass between them.

What `recalibrate` and a forward pass compute, for one thread, without what is not needed of either:
shifts in front of batch normalisation, running statistics written down, activations kept.
"""

import copy
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx, nn
from torch.nn.modules.dropout import _DropoutNd

from heatgrad.landscape.chain_cpu import moments, scale_shift
from heatgrad.landscape.objective import DataLoss

__all__ = ["Chain", "links_of"]

Vector = NDArray[np.float64]
Room = list[tuple[Tensor, NDArray[np.floating]]]  # for each layer, seen from both libraries


@dataclass
class Link:
    """A linear layer with the normalisation and the ReLU behind it, where there are such."""

    linear: nn.Linear
    norm: nn.BatchNorm1d | None = None
    rectify: bool = False


def links_of(model: nn.Module, inputs: Iterable[Tensor]) -> list[Link] | None:
    """Return the layers of a fully connected network in their order; None if it is another.

    Args:
        model: The network, in evaluation mode.
        inputs: All that it will be given.
    """
    links: list[Link] = []
    line = _in_line(model)
    if line is None or len(set(map(id, line))) < len(line):  # a layer that is used twice
        return None
    is_flat = isinstance(next(iter(line), None), nn.Flatten)
    if not is_flat and any(x.dim() != 2 for x in inputs):
        return None
    for module in line:
        last = links[-1] if links else None
        if type(module) is nn.Linear:
            links.append(Link(module))
        elif isinstance(module, nn.Flatten) and not links and _is_whole(module):
            continue
        elif type(module) is nn.BatchNorm1d and last and not (last.norm or last.rectify):
            last.norm = module
        elif type(module) is nn.ReLU and last:
            last.rectify = True
        elif not isinstance(module, nn.Identity | _DropoutNd):
            return None
    if any(link.norm is not None and link.norm.running_mean is None for link in links):
        return None
    is_plain = {type(p) for p in model.parameters()} == {nn.Parameter}
    like = {(p.dtype, p.device.type) for p in model.parameters()}
    known = like in ({(torch.float32, "cpu")}, {(torch.float64, "cpu")})
    hooked = any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    return links if links and is_plain and known and not hooked else None


class Chain:
    """The loss of a fully connected network, with statistics estimated anew.

    Args:
        links: Its layers, whose parameters are read whenever the loss is asked for.
        objective: Its loss.
        inputs: What running statistics are estimated by; None if the layers' own are taken.
    """

    def __init__(
        self, links: Sequence[Link], objective: DataLoss, inputs: Sequence[Tensor] | None
    ) -> None:
        self._links, self._objective = links, objective
        normed = [number for number, link in enumerate(links) if link.norm is not None]
        self._last = normed[-1] if normed else -1
        batches = [(x.flatten(1), y) for x, y in objective.batches()]
        self._inputs = [x.flatten(1) for x in inputs or ()] if normed else []
        counts = {len(x) for x in (*self._inputs, *(x for x, _ in batches))}
        like = links[0].linear.weight.detach()
        self._kind = like.numpy().dtype
        room = [like.new_empty(max(counts), link.linear.out_features) for link in links]
        self._rooms: dict[int, Room] = {n: [(t[:n], t[:n].numpy()) for t in room] for n in counts}
        self._batches = [(x, y, len(y) / objective.num_examples) for x, y in batches]

    @torch.no_grad()
    def loss(self) -> float:
        """Return the loss of the network as it is."""
        layers = [_Layer(link, self._kind) for link in self._links]
        if self._inputs:
            self._estimate(layers)
        for layer in layers:
            layer.settle()
        total = 0.0
        for x, y, share in self._batches:
            h = x
            for layer, (out, z) in zip(layers, self._rooms[len(x)], strict=True):
                torch.mm(h, layer.weight, out=out)
                scale_shift(z, layer.scale, layer.shift, layer.rectify)
                h = out
            total += float(self._objective.criterion(h, y)) * share
        return total

    def _estimate(self, layers: Sequence["_Layer"]) -> None:
        """Give layers the mean over the batches of means and unbiased variances."""
        for layer in layers:
            layer.forget()
        for x in self._inputs:
            h = x
            for number, (layer, (out, z)) in enumerate(
                zip(layers[: self._last + 1], self._rooms[len(x)], strict=False)
            ):
                torch.mm(h, layer.weight, out=out)
                if layer.is_normed:
                    layer.take(z, 1 / len(self._inputs))
                if number < self._last:
                    scale_shift(z, layer.scale, layer.shift, layer.rectify)
                h = out


class _Layer:
    """A link's numbers: shifts in front of normalisation are left out, of its means as well."""

    def __init__(self, link: Link, kind: np.dtype[np.floating]) -> None:
        size = link.linear.out_features
        self.weight = link.linear.weight.T
        self.rectify, self.is_normed = link.rectify, link.norm is not None
        self.scale, self.shift = np.ones(size, kind), np.zeros(size, kind)
        self._room, self._mean, self._variance = np.empty(size, kind), np.zeros(size), np.ones(size)
        shift = _double(link.linear.bias)
        if (norm := link.norm) is None:
            self.shift[:] = shift
            return
        self._gain, self._end, self._eps = _double(norm.weight, 1.0), _double(norm.bias), norm.eps
        self._means, self._variances = _double(norm.running_mean) - shift, _double(norm.running_var)

    def forget(self) -> None:
        """Drop the running statistics."""
        if self.is_normed:
            self._means, self._variances = np.zeros_like(self._mean), np.zeros_like(self._mean)

    def take(self, z: NDArray[np.floating], share: float) -> None:
        """Take a batch's statistics, and go by them."""
        moments(z, self._room, self._mean, self._variance)
        self._go_by(self._mean, self._variance)
        self._means += share * self._mean
        self._variances += share * len(z) / (len(z) - 1) * self._variance

    def settle(self) -> None:
        """Go by the running statistics."""
        if self.is_normed:
            self._go_by(self._means, self._variances)

    def _go_by(self, mean: Vector, variance: Vector) -> None:
        scale = self._gain / np.sqrt(variance + self._eps)
        self.scale[:] = scale
        self.shift[:] = self._end - scale * mean


def _double(values: Tensor | None, missing: float = 0.0) -> Vector:
    return np.asarray(missing) if values is None else values.detach().double().numpy()


def _is_whole(module: nn.Flatten) -> bool:
    return module.start_dim == 1 and module.end_dim == -1


def _in_line(model: nn.Module) -> list[nn.Module] | None:
    """Return the modules of a network whose graph is a line; None if it is not."""
    try:
        graph = fx.Tracer().trace(copy.deepcopy(model))
    except Exception:  # whatever the network does with what is no tensor: it is no chain
        return None
    nodes = list(graph.nodes)
    if [n.op for n in nodes] != ["placeholder", *["call_module"] * (len(nodes) - 2), "output"]:
        return None
    for before, node in itertools.pairwise(nodes):
        if node.all_input_nodes != [before] or len(node.args) != 1:
            return None
    modules = dict(model.named_modules())
    return [modules[str(node.target)] for node in nodes[1:-1]]
