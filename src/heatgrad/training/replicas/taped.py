"""The passes of multilayer perceptrons: tapes for training, folded layers for scoring."""

from collections.abc import Collection, Sequence

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from heatgrad.data import Dataset
from heatgrad.models import MLP
from heatgrad.training.evaluation import Evaluation
from heatgrad.training.losses import Loss
from heatgrad.training.replicas.graphs import Replayed, is_replayed
from heatgrad.training.replicas.passes import ROWS, Passes
from heatgrad.training.replicas.stack import Stack
from heatgrad.training.replicas.tape import Tape, blocks_of, folded, logits_of, random_bytes

__all__ = ["Taped"]

_EVALUATED = 256  # examples


class Taped(Passes):
    """A hand-written backward, in memory that is made once.

    Args:
        model: One of the networks.
        stack: All of them.
        data: The data set of each source.
        source: The source of each row.
        loss: Mean loss of a batch.
    """

    def __init__(
        self, model: MLP, stack: Stack, data: Sequence[Dataset], source: Tensor, loss: Loss
    ) -> None:
        self.stack, self.data, self.loss = stack, data, loss
        self.blocks = blocks_of(model)
        count, self.device = len(stack), stack.values.device
        self.source = source.to(self.device)
        # In a cache a few rows are faster than many; on a GPU the more the better.
        rows = count if is_replayed(self.device) else ROWS
        self.parts = [slice(i, min(i + rows, count)) for i in range(0, count, rows)]
        self.losses = torch.zeros(count, dtype=torch.float64, device=self.device)
        self.units = [stack.params[f"{b.linear}.weight"].shape[1] for b in self.blocks]
        self.tapes: dict[int, list[tuple[slice, Tape]]] = {}
        self.replayed: dict[int, Replayed] = {}  # by the size of a batch

    def gradients(self, x: Tensor, y: Tensor, seeds: Sequence[int]) -> Tensor:
        """Fill the stack's gradients for one step; return the losses."""
        batch = x.shape[1]
        x = x.flatten(2).to(self.stack.values.dtype)
        drawn = [random_bytes(self.blocks, self.units, batch, seed) for seed in seeds]
        bytes_ = [torch.stack(layer).to(self.device) for layer in zip(*drawn, strict=True)]
        if is_replayed(self.device):
            self.replayed.setdefault(batch, Replayed(self._pass))(x, y, *bytes_)
        else:
            self._pass(x, y, *bytes_)
        return self.losses.cpu()

    def _pass(self, x: Tensor, y: Tensor, *bytes_: Tensor) -> None:
        for rows, tape in self._tapes(x.shape[1]):
            source = self.source[rows]
            logits = tape.forward(x[source], bytes_, source)
            value, gradient = loss_and_gradient(self.loss, logits, y[source])
            self.losses[rows] = value
            tape.backward(gradient)

    def scores(self, rows: Collection[int]) -> dict[int, Evaluation]:
        """Return the scores of all rows."""
        layers = folded(self.stack, self.blocks)
        totals = torch.zeros_like(self.losses)
        right, right_clean = torch.zeros_like(totals), torch.zeros_like(totals)
        num_test = len(self.data[0].y_test)
        for start in range(0, num_test, _EVALUATED):
            part = slice(start, start + _EVALUATED)
            x = torch.stack([d.x_test[part].flatten(1) for d in self.data]).to(layers[0][0])
            y, clean = (
                torch.stack([labels[part] for labels in group]).to(self.device)
                for group in zip(*((d.y_test, d.y_test_clean) for d in self.data), strict=True)
            )
            for some in self.parts:
                source = self.source[some]
                logits = logits_of(layers, some, x[source])
                totals[some] += loss_of(self.loss, logits, y[source]) * x.shape[1]
                predicted = logits.argmax(dim=2)
                right[some] += (predicted == y[source]).sum(1)
                right_clean[some] += (predicted == clean[source]).sum(1)
        found = zip(totals.tolist(), right.tolist(), right_clean.tolist(), strict=True)
        return {
            row: Evaluation(*(value / num_test for value in values))
            for row, values in enumerate(found)
        }

    def _tapes(self, batch: int) -> list[tuple[slice, Tape]]:
        if batch not in self.tapes:
            self.tapes[batch] = [
                (rows, Tape(self.stack, rows, self.blocks, batch)) for rows in self.parts
            ]
        return self.tapes[batch]


def loss_of(loss: Loss, logits: Tensor, labels: Tensor) -> Tensor:
    """Return the loss of each replica, shape (replicas,)."""
    if loss is cross_entropy:
        return (
            cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none")
            .view(labels.shape)
            .mean(1)
        )
    return torch.stack([loss(row, label) for row, label in zip(logits, labels, strict=True)])


def loss_and_gradient(loss: Loss, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return the loss of each replica, and its gradient by the logits."""
    if loss is cross_entropy:
        log_p = logits.log_softmax(2)
        index = labels.unsqueeze(2)
        value = -log_p.gather(2, index).squeeze(2).mean(1)
        gradient = log_p.exp_().scatter_add_(2, index, log_p.new_full((), -1.0).expand(index.shape))
        return value, gradient.mul_(1 / labels.shape[1])
    with torch.enable_grad():  # of the user's own: nothing is known of it
        leaf = logits.detach().requires_grad_()
        value = loss_of(loss, leaf, labels)
        (gradient,) = torch.autograd.grad(value.sum(), leaf)
    return value.detach(), gradient.contiguous()
