"""The training loop that every trial runs."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from heatgrad.core.random import stream_generator, stream_seed
from heatgrad.data import Dataset
from heatgrad.training.evaluation import evaluate
from heatgrad.training.losses import Loss
from heatgrad.training.path import Looks, distances, flat_gradient, flat_values, total_variation
from heatgrad.training.probe import GradientProbe, probe_gradient
from heatgrad.training.recipe import Recipe

__all__ = [
    "PLAIN",
    "PROBES_PER_EPOCH",
    "EpochRecord",
    "epoch_plan",
    "initialised",
    "mean_of",
    "steps_per_epoch",
    "train",
]

PROBES_PER_EPOCH = 8
PLAIN = Recipe()


@dataclass(frozen=True)
class EpochRecord:
    """What is known after an epoch of training.

    Attributes:
        epoch: Number of epochs done, from 1.
        lr: Learning rate of the first group during the epoch.
        train_loss: Mean of the batch losses during the epoch, dropout on [loss].
        test_loss: Loss on the test labels as scored [loss].
        test_accuracy: Accuracy against the test labels as scored [1].
        test_accuracy_clean: Accuracy against the test labels before any flip [1].
        grad_norm: Mean gradient norm over a few evenly spaced steps [loss/param].
        diffusion_ratio: Mean norm ratio of the transformed to the plain gradient, same steps [1].
        diffusion_cosine: Mean cosine of the angle between the two, same steps [1].
        grad_tv: Total variation of the gradient norm over the same steps: the sum of its changes,
            each positive, over its mean [1].
        roughness: Mean share of high-frequency energy of the plain gradient, same steps; see
            `heatgrad.training.roughness` [1].
        successive_cosine: Mean cosine between the plain gradients of such a step and of the step
            after it; NaN in an epoch of one step [1].
        step_length: Distance of the parameters to where they were before the epoch [param].
        chord: Distance of the parameters to where training started [param].
        seconds: Time spent training, without evaluation and probes [s].
    """

    epoch: int
    lr: float
    train_loss: float
    test_loss: float
    test_accuracy: float
    test_accuracy_clean: float
    grad_norm: float
    diffusion_ratio: float
    diffusion_cosine: float
    grad_tv: float
    roughness: float
    successive_cosine: float
    step_length: float
    chord: float
    seconds: float

    @property
    def is_finite(self) -> bool:
        """Whether neither loss has become infinite or NaN."""
        return math.isfinite(self.train_loss) and math.isfinite(self.test_loss)


def initialised(build: Callable[[], nn.Module], *, seed: int) -> nn.Module:
    """Return `build()` with its weights drawn from the stream `(seed, "init")`.

    The caller's random state is left as it was.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(stream_seed(seed, "init"))
        return build()


def steps_per_epoch(num_train: int, batch_size: int) -> int:
    """Return the number of batches of an epoch; a last one of a single example is left out.

    Example:
        >>> steps_per_epoch(64, 32), steps_per_epoch(65, 32), steps_per_epoch(66, 32)
        (2, 2, 3)
    """
    is_last_single = num_train > 1 and batch_size > 1 and num_train % batch_size == 1
    return math.ceil(num_train / batch_size) - is_last_single


def train(
    model: nn.Module,
    optimizer: Optimizer,
    dataset: Dataset,
    *,
    loss: Loss,
    epochs: int,
    batch_size: int,
    seed: int,
    scheduler: LRScheduler | None = None,
    recipe: Recipe = PLAIN,
) -> Iterator[EpochRecord]:
    """Train on the CPU and yield one record an epoch; stop at a non-finite loss.

    Batch order comes from `(seed, "order", epoch)`, dropout masks from `(seed, "dropout", epoch)`,
    renewed at every step, and augmentation from `(seed, "augment", epoch)`: none depends on the
    optimizer, nor on random numbers that it draws. A last batch of a single example is left out,
    since batch normalisation cannot use it (unless all are, with `batch_size` 1).

    Args:
        model: Maps inputs to logits; trained in place.
        optimizer: Steps on the model's parameters.
        dataset: Held in memory.
        loss: Mean loss of a batch.
        epochs: Passes over the training part, at least 1.
        batch_size: Examples a step, at least 1.
        seed: Seed of the block of matched runs.
        scheduler: Stepped after every epoch.
        recipe: What is done beside plain steps.

    Yields:
        One `EpochRecord` an epoch; if its `is_finite` is false, it is the last.

    Raises:
        ValueError: If `epochs` or `batch_size` is below 1, or the recipe does not fit the loss.
    """
    if epochs < 1 or batch_size < 1:
        raise ValueError(f"epochs and batch_size must be at least 1, got {epochs} and {batch_size}")
    trained_by, decay = recipe.training_loss(loss), recipe.decay(optimizer, epochs)
    average = recipe.averaged(model)
    start = flat_values(model)
    for epoch in range(1, epochs + 1):
        lr = float(optimizer.param_groups[0]["lr"])
        before = flat_values(model)
        train_loss, probes, looks, seconds = _train_epoch(
            model,
            optimizer,
            dataset,
            loss=trained_by,
            batch_size=batch_size,
            seed=seed,
            epoch=epoch,
            recipe=recipe,
            after_step=None if average is None else average.update_parameters,
        )
        for schedule in (scheduler, decay):
            if schedule is not None:
                schedule.step()
        scored = model if average is None else average.module
        with recipe.autocast(dataset.x_test.device):
            score = evaluate(scored, dataset, loss=loss)
        after = flat_values(model)
        norms = [probe.norm for probe in probes]
        record = EpochRecord(
            epoch=epoch,
            lr=lr,
            train_loss=train_loss,
            test_loss=score.loss,
            test_accuracy=score.accuracy,
            test_accuracy_clean=score.accuracy_clean,
            grad_norm=mean_of(norms),
            diffusion_ratio=mean_of([probe.ratio for probe in probes]),
            diffusion_cosine=mean_of([probe.cosine for probe in probes]),
            grad_tv=total_variation(norms),
            roughness=mean_of(looks.roughness[0]),
            successive_cosine=mean_of(looks.cosines[0]),
            step_length=float(distances(after, before)),
            chord=float(distances(after, start)),
            seconds=seconds,
        )
        if average is not None and epoch == epochs:
            model.load_state_dict(average.module.state_dict())
        yield record
        if not record.is_finite:
            return


def epoch_plan(
    num_train: int, batch_size: int, seed: int, epoch: int
) -> list[tuple[Tensor, int, bool]]:
    """Return, for each step of an epoch, its examples, its seed of dropout and if it is probed."""
    order = torch.randperm(num_train, generator=stream_generator(seed, "order", epoch))
    batches = torch.split(order, batch_size)[: steps_per_epoch(num_train, batch_size)]
    seeds = torch.randint(
        2**31, (len(batches),), generator=stream_generator(seed, "dropout", epoch)
    ).tolist()
    probed = {k * len(batches) // PROBES_PER_EPOCH for k in range(PROBES_PER_EPOCH)}
    return [(b, s, k in probed) for k, (b, s) in enumerate(zip(batches, seeds, strict=True))]


def mean_of(values: Sequence[float]) -> float:
    """Return the mean of values; NaN if there is none or one is not finite."""
    if not values or not all(map(math.isfinite, values)):
        return math.nan
    return math.fsum(values) / len(values)


def _train_epoch(
    model: nn.Module,
    optimizer: Optimizer,
    dataset: Dataset,
    *,
    loss: Loss,
    batch_size: int,
    seed: int,
    epoch: int,
    recipe: Recipe,
    after_step: Callable[[nn.Module], None] | None,
) -> tuple[float, list[GradientProbe], Looks, float]:
    """Return the mean batch loss, what was seen of gradients, and the seconds of one pass.

    A batch whose loss is not finite ends the pass before its step.
    """
    steps = epoch_plan(len(dataset.y_train), batch_size, seed, epoch)
    total, seen = 0.0, 0
    probes: list[GradientProbe] = []
    looks = Looks(1)
    probing = 0.0
    drawn = stream_generator(seed, "augment", epoch)
    model.train()
    started = time.perf_counter()
    with torch.random.fork_rng(devices=[]):
        for batch, mask, is_probed in steps:
            torch.default_generator.manual_seed(mask)
            optimizer.zero_grad()
            x, y = dataset.x_train[batch], dataset.y_train[batch]
            if recipe.augment is not None:
                x = recipe.augment(x, drawn)
            batch_loss = recipe.gradient(model, x, y, loss)
            total += batch_loss * len(batch)
            seen += len(batch)
            if not math.isfinite(batch_loss):
                break
            if looks.wants(is_probed=is_probed):
                before = time.perf_counter()
                looks.look(flat_gradient(model), {0}, is_probed=is_probed)
                if is_probed:
                    probes.append(probe_gradient(optimizer))
                probing += time.perf_counter() - before
            optimizer.step()
            if after_step is not None:
                after_step(model)
    seconds = time.perf_counter() - started - probing
    return total / seen, probes, looks, seconds
