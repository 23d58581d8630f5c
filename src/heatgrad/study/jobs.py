"""Jobs: trials that a worker trains at once, or one alone."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from heatgrad.data import Dataset
from heatgrad.study.losses import make_loss
from heatgrad.study.trial import (
    Trial,
    TrialResult,
    load_data,
    make_model,
    make_optimizer,
    make_scheduler,
    result_of,
    run_trial,
)
from heatgrad.training import (
    Backend,
    EpochRecord,
    Replica,
    backend_of,
    train_replicas,
)

__all__ = ["Job", "jobs_of", "run_job", "run_short"]

Job = tuple[Trial, ...]

_MOST = {"cpu": 64, "cuda": 1024}  # trials at once
_MOST_BYTES = 1 << 29  # of data that are held at once
# Operations of a job on a CPU, some minutes: an interruption loses what is under way.
_MOST_WORK = 3e13


def jobs_of(trials: Sequence[Trial], workers: int) -> list[Job]:
    """Return the trials as jobs, in order, so that each worker has about as much to do.

    What is trained at once has the same network, budget and kind of data. The arms of a block stay
    together, since they share data and dropout masks. Where a trial is long, a job is a block or
    two, so that an interruption loses minutes.
    """
    alike: dict[str, list[Trial]] = {}
    for trial in trials:
        alike.setdefault(_likeness(trial), []).append(trial)
    jobs: list[Job] = []
    for group in alike.values():
        if group[0].backend == "loop":
            jobs += [(trial,) for trial in group]
            continue
        most = min(_most(group[0]), math.ceil(len(group) / max(1, workers)))
        job: list[Trial] = []
        for block in _blocks(group, most):
            if job and len(job) + len(block) > most:
                jobs.append(tuple(job))
                job = []
            job += block
        jobs.append(tuple(job))
    places = {trial.key: place for place, trial in enumerate(trials)}
    return sorted(jobs, key=lambda job: places[job[0].key])


def _most(trial: Trial) -> int:
    """Return how many trials like one are trained at once."""
    most = _MOST[trial.device]
    if trial.device != "cpu":
        return most
    dataset = load_data(trial)
    size = sum(p.numel() for p in make_model(trial, dataset).parameters())
    work = 6 * size * len(dataset.y_train) * trial.epochs  # a product forward, two back
    return max(1, min(most, int(_MOST_WORK / work)))


def run_job(
    job: Job,
    *,
    on_epoch: Callable[[int], None] = lambda place: None,
    unfinished: Callable[[str], Path | None] = lambda key: None,
) -> Iterator[tuple[Trial, TrialResult]]:
    """Train the trials of a job and yield each with its result, first those that train alone.

    Args:
        job: Of `jobs_of`.
        on_epoch: Called with the place in the job of each trial that has done an epoch.
        unfinished: Gives the folder of checkpoints of a trial that is trained alone, by its key.
    """
    if job[0].backend == "loop":
        for place, trial in enumerate(job):
            told = _told(on_epoch, place)
            yield trial, run_trial(trial, on_epoch=told, unfinished=unfinished(trial.key))
        return
    start = 0
    for part in _parts(job):
        ways = _ready(part)
        for place in ways.pop("loop", {}):  # one by one, and each is done when it is done
            trial = part[place][0]
            yield trial, run_trial(trial, on_epoch=_told(on_epoch, start + place))
        for way, replicas in ways.items():
            records = _train(part[0][0], replicas, way, _from(start, on_epoch))
            for place, replica in replicas.items():
                trial, dataset = part[place]
                yield trial, result_of(trial, records[place], replica.model, dataset)
        start += len(part)


def _from(start: int, on_epoch: Callable[[int], None]) -> Callable[[int], None]:
    return lambda place: on_epoch(start + place)


def _told(on_epoch: Callable[[int], None], place: int) -> Callable[[EpochRecord], None]:
    return lambda record: on_epoch(place)


def run_short(job: Sequence[Trial], num_steps: int) -> float:
    """Return the seconds of one epoch that is cut to a few steps, its evaluation included.

    Args:
        job: Trials of one block that are trained at once.
        num_steps: Steps, at least 1.
    """
    dataset = _cut(load_data(job[0]), num_steps * job[0].batch_size)
    short = [(trial.model_copy(update={"epochs": 1}), dataset) for trial in job]
    ways = _ready(short)
    started = time.perf_counter()
    for way, replicas in ways.items():
        _train(short[0][0], replicas, way, lambda place: None)
    return time.perf_counter() - started


def _cut(dataset: Dataset, count: int) -> Dataset:
    names = ("x_train", "y_train", "y_train_clean")
    return replace(dataset, **{name: getattr(dataset, name)[:count] for name in names})


def _ready(part: Sequence[tuple[Trial, Dataset]]) -> dict[Backend, dict[int, Replica]]:
    """Return what is to be trained, by how, and by its place in the part."""
    ways: dict[Backend, dict[int, Replica]] = {}
    for place, (trial, dataset) in enumerate(part):
        model = make_model(trial, dataset)
        optimizer = make_optimizer(trial, model)
        scheduler = make_scheduler(trial, optimizer)
        loss = make_loss(trial.loss)
        # What it is trained with must not matter, so each is asked alone.
        way = backend_of([model], [optimizer], dataset, loss=loss, batch_size=trial.batch_size)
        replica = Replica(model, optimizer, dataset, trial.seed, scheduler)
        ways.setdefault(way, {})[place] = replica
    return ways


def _train(
    like: Trial, replicas: dict[int, Replica], way: Backend, on_epoch: Callable[[int], None]
) -> dict[int, list[EpochRecord]]:
    """Train replicas as a trial says; return their records, by their places."""
    records: dict[int, list[EpochRecord]] = {place: [] for place in replicas}
    epochs = train_replicas(
        list(replicas.values()),
        loss=make_loss(like.loss),
        epochs=like.epochs,
        batch_size=like.batch_size,
        backend=way,
        device=like.device,
    )
    for of_epoch in epochs:
        for place, record in zip(replicas, of_epoch, strict=True):
            if record is not None:
                records[place].append(record)
                on_epoch(place)
    return records


def _likeness(trial: Trial) -> str:
    if trial.backend == "loop":
        return trial.key
    names = {"task_name", "task", "model", "schedule", "loss", "epochs", "batch_size", "held_out"}
    return trial.model_dump_json(include=names | {"device"})


def _blocks(trials: Sequence[Trial], most: int) -> list[list[Trial]]:
    """Return the trials of each block, in pieces of at most `most`."""
    blocks: dict[tuple[str, int], list[Trial]] = {}
    for trial in trials:
        blocks.setdefault((trial.role, trial.block), []).append(trial)
    return [block[i : i + most] for block in blocks.values() for i in range(0, len(block), most)]


def _parts(job: Job) -> Iterator[list[tuple[Trial, Dataset]]]:
    """Load the data of a job; yield parts whose data are of one shape and fit in memory."""
    part: list[tuple[Trial, Dataset]] = []
    held: dict[int, int] = {}
    for trial in job:
        dataset = load_data(trial)
        size = _bytes_of(dataset)
        is_new = id(dataset) not in held
        is_full = is_new and sum(held.values()) + size > _MOST_BYTES
        if part and (is_full or _shapes(dataset) != _shapes(part[0][1])):
            yield part
            part, held = [], {}
        held[id(dataset)] = size
        part.append((trial, dataset))
    yield part


def _bytes_of(dataset: Dataset) -> int:
    return sum(x.numel() * x.element_size() for x in (dataset.x_train, dataset.x_test))


def _shapes(dataset: Dataset) -> tuple[torch.Size, torch.Size, int]:
    return dataset.x_train.shape, dataset.x_test.shape, dataset.num_classes
