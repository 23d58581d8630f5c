"""The training loop that every trial runs."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from heatgrad.core.random import own_random_state, stream_generator, stream_seed
from heatgrad.data import Dataset
from heatgrad.training.evaluation import evaluate
from heatgrad.training.losses import Loss
from heatgrad.training.objective import Objective
from heatgrad.training.order import epoch_plan
from heatgrad.training.path import Looks, distances, flat_gradient, flat_values, total_variation
from heatgrad.training.probe import GradientProbe, probe_gradient
from heatgrad.training.processes import ALONE, Processes, is_cut, optimizer_state, whole
from heatgrad.training.recipe import Recipe
from heatgrad.training.record import EpochRecord, mean_of

__all__ = ["PLAIN", "Training", "initialised", "train"]

PLAIN = Recipe()


def initialised(build: Callable[[], nn.Module], *, seed: int) -> nn.Module:
    """Return `build()` with its weights drawn from the stream `(seed, "init")`.

    The caller's random state is left as it was.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(stream_seed(seed, "init"))
        return build()


class Training:
    """A training that can be left after any epoch and gone on with, bit for bit, elsewhere.

    Batch order comes from `(seed, "order", epoch)`, dropout masks from `(seed, "dropout", epoch)`,
    renewed at every step, and augmentation from `(seed, "augment", epoch)`: none depends on the
    optimizer, nor on random numbers that it draws, nor on the epochs before. A last batch of a
    single example is left out, since batch normalisation cannot use it (unless all are, with
    `batch_size` 1).

    Args:
        model: Maps inputs to logits, or what its objective takes; trained in place, with its
            weights as they are at the start.
        optimizer: Steps on the model's parameters.
        dataset: Held in memory, on the device of the network, where everything is done.
        loss: Mean loss of a batch, or an `Objective`, which calls the network itself: then
            accuracies are NaN, and the test loss is drawn from `(seed, "objective")`, the same
            after every epoch.
        epochs: Passes over the training part, at least 1.
        batch_size: Examples a step, at least 1.
        seed: Seed of the block of matched runs.
        scheduler: Stepped after every epoch.
        recipe: What is done beside plain steps.
        processes: Those that train together, each with a network of the same weights (or cut over
            them by FSDP2): every batch is shared out, and batch normalisation sees a share.

    Attributes:
        num_done: Epochs that are done. The arguments, too, are attributes.

    Raises:
        ValueError: If `epochs` is below 1, `batch_size` below 1 (2 a process, of several), or the
            recipe does not fit the loss or the processes.

    Example:
        >>> from heatgrad.data import Digits
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> options = {"loss": nn.functional.cross_entropy, "epochs": 2, "batch_size": 32}
        >>> training = Training(model, optimizer, Digits().load(0), seed=0, **options)
        >>> [record.epoch for record in training.records()]
        [1, 2]
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        dataset: Dataset,
        *,
        loss: Loss | Objective,
        epochs: int,
        batch_size: int,
        seed: int,
        scheduler: LRScheduler | None = None,
        recipe: Recipe = PLAIN,
        processes: Processes = ALONE,
    ) -> None:
        if epochs < 1 or batch_size < 1:
            raise ValueError(
                f"epochs and batch_size must be at least 1, got {epochs} and {batch_size}"
            )
        if processes.size > 1 and batch_size < 2 * processes.size:
            raise ValueError(
                f"batch_size must be at least {2 * processes.size}, two examples for each of "
                f"{processes.size} processes, got {batch_size}"
            )
        self.model, self.optimizer, self.dataset = model, optimizer, dataset
        self.epochs, self.batch_size, self.seed = epochs, batch_size, seed
        self.recipe, self.processes = recipe, processes
        self.num_done = 0
        self.loss, self._trained_by = loss, recipe.training_loss(loss)
        self._schedules = {"scheduler": scheduler, "decay": recipe.decay(optimizer, epochs)}
        if recipe.average and is_cut(model):
            raise ValueError(
                f"an average of weights needs whole networks, got average = {recipe.average:g} "
                f"and weights cut over processes; use parallel = 'ddp', or average = 0"
            )
        self._average = recipe.averaged(model)
        self._start = flat_values(model)
        if recipe.compile:
            model.compile()  # in place: the names of its parameters stay
        self._forward = processes.forward_of(model)

    def records(
        self, *, on_step: Callable[[int], None] = lambda examples: None
    ) -> Iterator[EpochRecord]:
        """Train the epochs that are left, and yield one record an epoch.

        Args:
            on_step: Called after every step with the number of its examples.

        Yields:
            One `EpochRecord` an epoch; if its `is_finite` is false, it is the last.
        """
        while self.num_done < self.epochs:
            record = self._epoch(self.num_done + 1, on_step)
            self.num_done += 1
            if self._average is not None and self.num_done == self.epochs:
                self.model.load_state_dict(self._average.module.state_dict())
            yield record
            if not record.is_finite:
                return

    def state_dict(self) -> dict[str, Any]:
        """Return what is needed to go on, beside the network's own state: plain values, tensors.

        What is cut over processes is whole in it, so all of them must call this together.
        """
        kept = {name: s.state_dict() for name, s in self._schedules.items() if s is not None}
        if self._average is not None:
            kept["average"] = self._average.state_dict()
        return {
            "num_done": self.num_done,
            "optimizer": whole(self.optimizer.state_dict()),
            "start": self._start,
            **kept,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where a training with the same arguments was left.

        Args:
            state: Of `state_dict`; the network's own state is loaded by the caller.

        Raises:
            ValueError: If it is that of another training.
        """
        own = self.state_dict()
        if state.keys() != own.keys():
            raise ValueError(
                f"state must be that of the same training, with {', '.join(own)}, got "
                f"{', '.join(map(str, state))}"
            )
        self.optimizer.load_state_dict(optimizer_state(state["optimizer"], self.optimizer))
        for name, schedule in self._schedules.items():
            if schedule is not None:
                schedule.load_state_dict(state[name])
        if self._average is not None:
            self._average.load_state_dict(state["average"])
        self._start, self.num_done = state["start"].to(self._start), state["num_done"]

    def _epoch(self, epoch: int, on_step: Callable[[int], None]) -> EpochRecord:
        lr = float(self.optimizer.param_groups[0]["lr"])
        before = flat_values(self.model)
        train_loss, probes, looks, seconds = self._pass(epoch, on_step)
        for schedule in self._schedules.values():
            if schedule is not None:
                schedule.step()
        scored = self.model if self._average is None else self._average.module
        for network in dict.fromkeys((self.model, scored)):  # in this order in all processes
            self.processes.agree(network)
        with self.recipe.autocast(self.dataset.x_test.device):
            score = evaluate(scored, self.dataset, loss=self.loss, seed=self.seed)
        after = flat_values(self.model)
        norms = [probe.norm for probe in probes]
        return EpochRecord(
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
            chord=float(distances(after, self._start)),
            seconds=seconds,
        )

    def _pass(
        self, epoch: int, on_step: Callable[[int], None]
    ) -> tuple[float, list[GradientProbe], Looks, float]:
        """Return the mean batch loss, what was seen of gradients, and the seconds of one pass.

        A batch whose loss is not finite ends the pass before its step.
        """
        model, optimizer, dataset = self.model, self.optimizer, self.dataset
        device = dataset.x_train.device
        count = len(dataset.y_train)
        rank, size = self.processes.rank, self.processes.size
        steps = epoch_plan(count, self.batch_size, self.seed, epoch, device=device)
        drawn = stream_generator(self.seed, "augment", epoch, *([rank] if rank else []))
        total, seen = 0.0, 0
        probes: list[GradientProbe] = []
        looks = Looks(1)
        probing = 0.0
        model.train()
        started = time.perf_counter()
        with own_random_state(device) as seed_with:
            for batch, mask, is_probed in steps:
                if size > 1 and len(batch) < 2 * size:  # not two for each process
                    continue
                seed_with(mask + rank)
                optimizer.zero_grad()
                own = self.processes.share(batch)
                x, y = dataset.x_train[own], dataset.y_train[own]
                if self.recipe.augment is not None:
                    x = self.recipe.augment(x, drawn)
                batch_loss = self.recipe.gradient(
                    self._forward,
                    x,
                    y,
                    self._trained_by,
                    processes=self.processes,
                    of=len(batch),
                )
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
                if self._average is not None:
                    self._average.update_parameters(model)
                on_step(len(batch))
        seconds = time.perf_counter() - started - probing
        return total / seen, probes, looks, seconds


def train(
    model: nn.Module,
    optimizer: Optimizer,
    dataset: Dataset,
    *,
    loss: Loss | Objective,
    epochs: int,
    batch_size: int,
    seed: int,
    scheduler: LRScheduler | None = None,
    recipe: Recipe = PLAIN,
) -> Iterator[EpochRecord]:
    """Train and yield one record an epoch; stop at a non-finite loss.

    Arguments, yields and errors are those of `Training`.
    """
    yield from Training(
        model,
        optimizer,
        dataset,
        loss=loss,
        epochs=epochs,
        batch_size=batch_size,
        seed=seed,
        scheduler=scheduler,
        recipe=recipe,
    ).records()
