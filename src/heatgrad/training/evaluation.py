"""Scoring a model on the test part of a data set, against noisy and clean labels."""

import math
from dataclasses import dataclass

import torch
from torch import nn

from heatgrad.core.random import own_random_state, stream_seed
from heatgrad.data import Dataset
from heatgrad.training.losses import Loss
from heatgrad.training.objective import Objective, is_objective
from heatgrad.training.processes import is_cut

__all__ = ["Evaluation", "evaluate"]

_MOST = 256  # examples that an objective is given at once


@dataclass(frozen=True)
class Evaluation:
    """The score of a model on a test set.

    Attributes:
        loss: Mean loss against the test labels as scored [loss].
        accuracy: Fraction right against the test labels as scored, noise included; NaN of an
            objective, which gives no answers [1].
        accuracy_clean: Fraction right against the labels before any flip; NaN alike [1].
    """

    loss: float
    accuracy: float
    accuracy_clean: float


@torch.no_grad()
def evaluate(
    model: nn.Module,
    dataset: Dataset,
    *,
    loss: Loss | Objective,
    batch_size: int = 2048,
    seed: int = 0,
) -> Evaluation:
    """Score `model` in evaluation mode and leave it in the mode it was in.

    Args:
        model: Maps a batch of inputs to logits, shape (batch, classes).
        dataset: Its test part is used.
        loss: Mean loss of a batch, or an objective.
        batch_size: Examples a forward pass (at most 256 of an objective); it bounds the memory,
            not the result. Where a GPU's memory runs out, passes of half as many are tried, down
            to one.
        seed: What an objective draws comes from the stream `(seed, "objective")`, the same at
            every call, so that epochs are compared without that chance.
    """
    was_training = model.training
    model.eval()
    if is_objective(loss):
        value = _value_of(loss, model, dataset, min(batch_size, _MOST), seed)
        model.train(was_training)
        return Evaluation(value, math.nan, math.nan)
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


def _value_of(
    objective: Objective, model: nn.Module, dataset: Dataset, batch_size: int, seed: int
) -> float:
    """Return the mean of an objective over the test part."""
    total = 0.0
    with own_random_state(dataset.x_test.device) as seed_with:
        seed_with(stream_seed(seed, "objective"))
        try:
            parts = (torch.split(v, batch_size) for v in (dataset.x_test, dataset.y_test))
            for x, y in zip(*parts, strict=True):
                total += float(objective(model, x, y)) * len(y)
        except torch.OutOfMemoryError:
            if batch_size == 1 or is_cut(model):
                raise
            return _value_of(objective, model, dataset, batch_size // 2, seed)
    return total / len(dataset.y_test)
