"""The parameters and buffers of many networks of one architecture, each stacked in one tensor."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

__all__ = ["Stack"]


class Stack:
    """Networks of one architecture, laid side by side.

    Args:
        models: The networks.
        device: Where they are laid; where they are themselves, unless another is given.

    Attributes:
        values: All parameters, one network a row, shape (replicas, size).
        grads: Their gradients, shape (replicas, size).
        params: Views of `values` by name, shape (replicas, *shape).
        param_grads: Views of `grads` by name, shape (replicas, *shape).
        buffers: Stacked buffers by name, shape (replicas, *shape).
        columns: The columns of each parameter by name.
    """

    def __init__(self, models: Sequence[nn.Module], device: torch.device | None = None) -> None:
        self._models = list(models)
        first = dict(models[0].named_parameters())
        dtype = next(iter(first.values())).dtype
        device = device or next(iter(first.values())).device
        size = sum(param.numel() for param in first.values())
        self.values = torch.empty(len(models), size, dtype=dtype, device=device)
        self.grads = torch.zeros_like(self.values)
        self.columns: dict[str, slice] = {}
        start = 0
        for name, param in first.items():
            self.columns[name] = slice(start, start + param.numel())
            start += param.numel()
        shapes = {name: param.shape for name, param in first.items()}
        self.params = {n: self._view(self.values, n, shape) for n, shape in shapes.items()}
        self.param_grads = {n: self._view(self.grads, n, shape) for n, shape in shapes.items()}
        with torch.no_grad():
            for row, model in enumerate(models):
                for name, param in model.named_parameters():
                    self.params[name][row].copy_(param)
        states = [dict(model.named_buffers()) for model in models]
        self.buffers = {n: torch.stack([s[n] for s in states]).to(device) for n in states[0]}

    def __len__(self) -> int:
        return len(self._models)

    def named_parameters(self, row: int) -> list[tuple[str, nn.Parameter]]:
        """Return the parameters of the network that a row came from."""
        return list(self._models[row].named_parameters())

    @torch.no_grad()
    def write_back(self, row: int) -> None:
        """Put a replica's parameters and buffers into the network it came from."""
        model = self._models[row]
        for name, param in model.named_parameters():
            param.copy_(self.params[name][row])
        for name, buffer in model.named_buffers():
            buffer.copy_(self.buffers[name][row])

    def _view(self, matrix: Tensor, name: str, shape: torch.Size) -> Tensor:
        return matrix[:, self.columns[name]].view(len(self), *shape)
