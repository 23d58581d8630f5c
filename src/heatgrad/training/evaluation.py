"""Scoring a model on the test part of a data set, against noisy and clean labels."""

from dataclasses import dataclass

import torch
from torch import nn

from heatgrad.data import Dataset
from heatgrad.training.losses import Loss
from heatgrad.training.processes import is_cut

__all__ = ["Evaluation", "evaluate"]


@dataclass(frozen=True)
class Evaluation:
    """The score of a model on a test set.

    Attributes:
        loss: Mean loss against the test labels as scored [loss].
        accuracy: Fraction right against the test labels as scored, noise included [1].
        accuracy_clean: Fraction right against the labels before any flip [1].
    """

    loss: float
    accuracy: float
    accuracy_clean: float


@torch.no_grad()
def evaluate(
    model: nn.Module, dataset: Dataset, *, loss: Loss, batch_size: int = 2048
) -> Evaluation:
    """Score `model` in evaluation mode and leave it in the mode it was in.

    Args:
        model: Maps a batch of inputs to logits, shape (batch, classes).
        dataset: Its test part is used.
        loss: Mean loss of a batch.
        batch_size: Examples a forward pass; it bounds the memory, not the result. Where a GPU's
            memory runs out, passes of half as many are tried, down to one.
    """
    was_training = model.training
    model.eval()
    total = 0.0
    right = right_clean = 0
    start, count = 0, len(dataset.y_test)
    while start < count:
        part = slice(start, start + batch_size)
        labels = dataset.y_test[part]
        try:
            logits = model(dataset.x_test[part])
            batch_loss = float(loss(logits, labels))
        except torch.OutOfMemoryError:
            if batch_size == 1 or is_cut(model):  # of a cut network all take the same passes
                raise
            batch_size //= 2
            continue
        predicted = logits.argmax(dim=1)
        total += batch_loss * len(labels)
        right += int((predicted == labels).sum())
        right_clean += int((predicted == dataset.y_test_clean[part]).sum())
        start += len(labels)
    model.train(was_training)
    return Evaluation(total / count, right / count, right_clean / count)
