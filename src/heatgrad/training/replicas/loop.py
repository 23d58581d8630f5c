"""The training loop for many replicas: what `train` does to each, all at once."""

import math
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from heatgrad.data import Dataset
from heatgrad.models import MLP
from heatgrad.training.evaluation import Evaluation, evaluate
from heatgrad.training.loop import train
from heatgrad.training.losses import Loss
from heatgrad.training.objective import Objective, is_objective
from heatgrad.training.path import Looks, distances, flat_values, total_variation
from heatgrad.training.probe import GradientProbe
from heatgrad.training.record import EpochRecord, mean_of
from heatgrad.training.replicas.batches import Batches
from heatgrad.training.replicas.graphs import Replayed, is_replayed
from heatgrad.training.replicas.mapped import Mapped
from heatgrad.training.replicas.passes import Passes
from heatgrad.training.replicas.rules import Rule, options_of, rule_of
from heatgrad.training.replicas.stack import Stack
from heatgrad.training.replicas.support import Backend, backend_of
from heatgrad.training.replicas.taped import Taped

__all__ = ["Replica", "train_replicas"]


@dataclass(frozen=True, eq=False)
class Replica:
    """One network to be trained.

    Attributes:
        model: The network, trained in place.
        optimizer: Of its parameters; read, never stepped.
        dataset: Its data; replicas with the same data and seed share the same object.
        seed: Seed of its batch order and dropout.
        scheduler: Stepped after every epoch.
    """

    model: nn.Module
    optimizer: Optimizer
    dataset: Dataset
    seed: int
    scheduler: LRScheduler | None = None


def train_replicas(
    replicas: Sequence[Replica],
    *,
    loss: Loss | Objective,
    epochs: int,
    batch_size: int,
    backend: Backend | None = None,
    device: str | torch.device = "cpu",
) -> Iterator[list[EpochRecord | None]]:
    """Train many networks at once, each as `train` would, and yield their records.

    Equal to `train` of each but for rounding, and on the CPU the same whatever other replicas
    there are. On a GPU each step is replayed from CUDA graphs.

    Args:
        replicas: Networks of one architecture, in training, with data of one shape.
        loss: Mean loss of a batch, or an objective, which the loop alone can train.
        epochs: Passes over the training part, at least 1.
        batch_size: Examples a step, at least 1.
        backend: How: `"replicas"` by hand-written passes, `"vmap"`, or `"loop"`, one by one; None
            for the answer of `backend_of`.
        device: Where it is done; the networks stay on the CPU, where they come back to. Elsewhere
            than there with hand-written passes only.

    Yields:
        After each epoch one record for each replica; None for one that had ended before, at a
        loss that was not finite.

    Raises:
        ValueError: If a back end is asked for that has no rule for an optimizer, or no passes for
            the networks or the device. If it is not the loop, and the loss an objective.
    """
    if backend is None:
        models, optimizers = [r.model for r in replicas], [r.optimizer for r in replicas]
        data = replicas[0].dataset
        backend = backend_of(models, optimizers, data, loss=loss, batch_size=batch_size)
    device = torch.device(device)
    if device.type != "cpu" and backend != "replicas":
        raise ValueError(
            f"device '{device}' needs networks that are an MLP and optimizers that have a rule, "
            f"of which these would be trained by '{backend}'; use device='cpu'"
        )
    if backend == "loop":
        yield from _one_by_one(replicas, loss, epochs, batch_size)
        return
    if is_objective(loss):
        raise ValueError(
            f"a loss that calls the network itself is trained one network after the other, got "
            f"backend '{backend}'; use backend='loop'"
        )
    run = _Run(replicas, loss, batch_size, backend, device)
    for epoch in range(1, epochs + 1):
        yield run.epoch(epoch)
        if not run.alive:
            break


def _one_by_one(
    replicas: Sequence[Replica], loss: Loss | Objective, epochs: int, batch_size: int
) -> Iterator[list[EpochRecord | None]]:
    runs = [
        train(
            replica.model,
            replica.optimizer,
            replica.dataset,
            loss=loss,
            epochs=epochs,
            batch_size=batch_size,
            seed=replica.seed,
            scheduler=replica.scheduler,
        )
        for replica in replicas
    ]
    while any(records := [next(run, None) for run in runs]):
        yield records


class _Run:
    def __init__(
        self,
        replicas: Sequence[Replica],
        loss: Loss,
        batch_size: int,
        backend: Backend,
        device: torch.device,
    ) -> None:
        self.loss = loss
        # Rows that are stepped alike lie side by side.
        keys = [(type(r.optimizer).__name__, repr(options_of(r.optimizer))) for r in replicas]
        self.order = sorted(range(len(replicas)), key=lambda i: keys[i])
        self.replicas = [replicas[i] for i in self.order]
        self.stack = Stack([replica.model for replica in self.replicas], device)
        self.rules = self._rules([keys[i] for i in self.order])
        sources: dict[tuple[int, int], int] = {}
        self.source = torch.tensor(
            [sources.setdefault((id(r.dataset), r.seed), len(sources)) for r in self.replicas]
        )
        first = [self.source.tolist().index(k) for k in range(len(sources))]
        self.data = [self.replicas[row].dataset for row in first]
        self.batches = Batches(self.data, [seed for _, seed in sources], batch_size, device)
        self.alive = set(range(len(replicas)))
        self.passes = self._passes(backend)
        self.replayed = [
            Replayed(rule.step) if is_replayed(device) and rule.can_be_replayed else None
            for rule in self.rules
        ]
        self.start = self.stack.values.clone()

    def _rules(self, keys: Sequence[object]) -> list[Rule]:
        starts = [i for i in range(len(keys)) if i == 0 or keys[i] != keys[i - 1]]
        rules = []
        for start, stop in zip(starts, [*starts[1:], len(keys)], strict=True):
            optimizers = [replica.optimizer for replica in self.replicas[start:stop]]
            rules.append(rule_of(optimizers, self.stack, slice(start, stop)))
        return rules

    def _passes(self, backend: Backend) -> Passes:
        models = [replica.model for replica in self.replicas]
        parts = self.stack, self.data, self.source, self.loss
        if backend == "vmap":
            return Mapped(models, *parts)
        first = models[0]
        if not isinstance(first, MLP):
            raise ValueError(
                f"backend 'replicas' needs networks that are an MLP, got {type(first).__name__}; "
                f"leave it out"
            )
        return Taped(first, *parts)

    @torch.no_grad()
    def epoch(self, epoch: int) -> list[EpochRecord | None]:
        count = len(self.stack)
        lrs = [float(r.optimizer.param_groups[0]["lr"]) for r in self.replicas]
        totals = torch.zeros(count, dtype=torch.float64)
        seen = torch.zeros(count, dtype=torch.float64)
        probes: list[list[GradientProbe]] = [[] for _ in range(count)]
        looks = Looks(count)
        at_start = self.stack.values.clone()
        running = set(self.alive)
        is_running = torch.tensor([row in running for row in range(count)])
        probing = 0.0
        started = time.perf_counter()
        for x, y, seeds, is_probed in self.batches.epoch(epoch):
            losses = self.passes.gradients(x, y, seeds)
            size = y.shape[1]
            totals += torch.where(is_running, losses * size, 0.0)
            seen += torch.where(is_running, float(size), 0.0)
            if not bool(losses.isfinite().all()):
                for row in [row for row in running if not math.isfinite(losses[row])]:
                    self.stack.write_back(row)  # as it is now: the step is not made
                    running.discard(row)
                    is_running[row] = False
            if looks.wants(is_probed=is_probed):
                before = time.perf_counter()
                looks.look(self.stack.grads, running, is_probed=is_probed)
                for row, probe in enumerate(self._probes() if is_probed else ()):
                    if row in running:
                        probes[row].append(probe)
                probing += time.perf_counter() - before
            self._step()
        seconds = (time.perf_counter() - started - probing) / count
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # the optimizers themselves do not step
            for replica in self.replicas:
                if replica.scheduler is not None:
                    replica.scheduler.step()
        for row in running:
            self.stack.write_back(row)
        scores = self._scores(running)
        after = self._values(running)
        steps_made, chords = (distances(after, then).tolist() for then in (at_start, self.start))
        records: list[EpochRecord | None] = [None] * count
        for row in self.alive:
            norms = [probe.norm for probe in probes[row]]
            record = EpochRecord(
                epoch=epoch,
                lr=lrs[row],
                train_loss=float(totals[row] / seen[row]),
                test_loss=scores[row].loss,
                test_accuracy=scores[row].accuracy,
                test_accuracy_clean=scores[row].accuracy_clean,
                grad_norm=mean_of(norms),
                diffusion_ratio=mean_of([probe.ratio for probe in probes[row]]),
                diffusion_cosine=mean_of([probe.cosine for probe in probes[row]]),
                grad_tv=total_variation(norms),
                roughness=mean_of(looks.roughness[row]),
                successive_cosine=mean_of(looks.cosines[row]),
                step_length=steps_made[row],
                chord=chords[row],
                seconds=seconds,
            )
            records[self.order[row]] = record
        self.alive = {row for row in self.alive if records[self.order[row]].is_finite}  # type: ignore[union-attr]
        return records

    def _values(self, running: set[int]) -> Tensor:
        """Return the parameters of each row, of those that ended as they were then."""
        ended = self.alive - running
        if not ended:
            return self.stack.values
        values = self.stack.values.clone()
        for row in ended:
            values[row] = flat_values(self.replicas[row].model)[0]
        return values

    def _step(self) -> None:
        for rule, replayed in zip(self.rules, self.replayed, strict=True):
            if replayed is None:
                rule.step()
            else:
                replayed(state=repr(options_of(rule.optimizers[0])))

    def _probes(self) -> list[GradientProbe]:
        lengths = torch.linalg.vector_norm(self.stack.grads, dim=1, dtype=torch.float64)
        ratios, cosines = torch.ones_like(lengths), torch.ones_like(lengths)
        for rule in self.rules:
            found = rule.directions()
            if found is None:
                continue
            before, after = (rows.double() for rows in found)
            a, b = (torch.linalg.vector_norm(rows, dim=1) for rows in (before, after))
            ratios[rule.rows] = b / a
            cosines[rule.rows] = (before * after).sum(1) / (a * b)
        return [
            GradientProbe(*values)
            for values in zip(lengths.tolist(), ratios.tolist(), cosines.tolist(), strict=True)
        ]

    def _scores(self, running: set[int]) -> dict[int, Evaluation]:
        scores = self.passes.scores(running)
        for row in self.alive - running:  # stopped in this epoch: its network is as it was then
            replica = self.replicas[row]
            scores[row] = evaluate(replica.model, replica.dataset, loss=self.loss)
        return scores
