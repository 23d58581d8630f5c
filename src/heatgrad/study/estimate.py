"""How long a study would take, from a few measured steps."""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from heatgrad.core.environment import check_device
from heatgrad.data import Dataset
from heatgrad.study.jobs import run_short
from heatgrad.study.losses import make_loss
from heatgrad.study.plan import plan
from heatgrad.study.question import EACH_TUNED
from heatgrad.study.run import workload
from heatgrad.study.spec import StudySpec
from heatgrad.study.store import Store
from heatgrad.study.trial import (
    Trial,
    as_trained_on,
    load_data,
    make_model,
    make_optimizer,
    make_recipe,
)
from heatgrad.training import evaluate, steps_per_epoch

__all__ = ["Estimate", "TaskEstimate", "estimate"]

_SECONDS_MEASURED = 0.2


@dataclass(frozen=True)
class TaskEstimate:
    """The size of one task's part of a study.

    Attributes:
        task: Name of the task.
        trials: Its trials.
        steps: Optimizer steps of one trial.
        seconds: Estimated time of one trial on one thread, mean over the arms [s].
    """

    task: str
    trials: int
    steps: int
    seconds: float


@dataclass(frozen=True)
class Estimate:
    """The size of a study.

    Attributes:
        tasks: One entry per task.
        num_trials: All trials.
        num_stored: Those already stored.
        steps: Optimizer steps still to do.
        hours: Estimated time for them [h].
    """

    tasks: tuple[TaskEstimate, ...]
    num_trials: int
    num_stored: int
    steps: int
    hours: float


def estimate(
    study: StudySpec,
    place: str | Path,
    *,
    workers: int,
    on_timed: Callable[[int, int], None] = lambda done, total: None,
) -> Estimate:
    """Return what is left to do of a study and how long it may take; nothing is written.

    A few steps of every arm and an evaluation of a part of the test set are timed on every task, on
    one thread or the study's device; what is trained at once, at once.

    Args:
        study: What is to be run.
        place: Folder or URL of its store, if there is one.
        workers: Number of processes.
        on_timed: Called with the number of arms and tasks that are timed, and that of all.

    Raises:
        SpecError: If the study's device is not there.
    """
    check_device(study.device)
    store = Store.open(place) if Store.is_in(place) else None
    try:
        work = workload(study, store)
    finally:
        if store is not None:
            store.close()
    trials = [trial for trial in plan(study) if trial.role == "report"]
    rows: dict[str, TaskEstimate] = {}
    cost: dict[tuple[str, str], float] = {}
    total = len(study.tasks) * len(study.arms)
    for name in study.tasks:
        mine = [trial for trial in trials if trial.task_name == name]
        arms = {trial.arm_name: trial for trial in mine}
        together = tuple(trial for trial in arms.values() if trial.backend != "loop")
        if together:
            share = _measure_together(together)
            cost |= {(name, trial.arm_name): share for trial in together}
        alone = [trial for trial in arms.values() if trial not in together]
        evaluation = _time_of_evaluation(alone[0]) if alone else 0.0  # arms share the network
        for trial in alone:
            epoch = _steps_per_epoch(trial) * _time_of_step(trial) + evaluation
            cost[name, trial.arm_name] = trial.epochs * epoch
            on_timed(len(cost), total)
        on_timed(len(cost), total)
        count = mine[0].epochs * _steps_per_epoch(mine[0])
        mean = sum(cost[name, arm] for arm in arms) / len(arms)
        regimes = len(study.regimes_of(name))
        number = regimes * len(mine) + len(study.arms) * study.num_tuning_trials_of(name)
        rows[name] = TaskEstimate(name, number, count, mean)
    left = [(trial.task_name, trial.arm_name) for trial in work.todo]
    if work.num_stored + len(left) < work.num_trials:  # those with tuned options, not known yet
        left += [
            (trial.task_name, trial.arm_name)
            for trial in trials
            if EACH_TUNED in study.regimes_of(trial.task_name)
        ]
    seconds = sum(cost[place] for place in left)
    return Estimate(
        tasks=tuple(rows.values()),
        num_trials=work.num_trials,
        num_stored=work.num_stored,
        steps=sum(rows[task].steps for task, _ in left),
        hours=seconds / max(1, workers) / 3600,
    )


def _measure_together(trials: Sequence[Trial]) -> float:
    """Return the seconds that a trial takes of those that are trained at once.

    Two trainings of a few steps differ by the steps; what they share is the evaluation.
    """
    with _one_thread():
        count = _steps_per_epoch(trials[0])
        few, many = min(2, count), min(20, count)
        run_short(trials, few)  # data are made, kernels compiled
        short, long = run_short(trials, few), run_short(trials, many)
    step = (long - short) / (many - few) if many > few else long / many
    evaluation = max(0.0, short - few * step)
    return trials[0].epochs * (count * step + evaluation) / len(trials)


def _steps_per_epoch(trial: Trial) -> int:
    return steps_per_epoch(len(load_data(trial).y_train), trial.batch_size)


def _time_of_step(trial: Trial) -> float:
    """Return the seconds of a step of a trial that is trained alone."""
    with _one_thread():
        dataset = load_data(trial)
        model = make_model(trial, dataset)
        dataset = as_trained_on(trial, model, dataset)
        model = model.to(trial.device)
        loss = make_loss(trial.loss)
        optimizer, recipe = make_optimizer(trial, model), make_recipe(trial, dataset)
        trained_by, generator = recipe.training_loss(loss), torch.Generator()
        batch = _cut(dataset, num_train=trial.batch_size).to(trial.device)
        count, started = -2, 0.0  # two steps to warm up
        while count < 1 or time.perf_counter() - started < _SECONDS_MEASURED:
            if count == 0:
                started = _now(trial)
            optimizer.zero_grad()
            x = batch.x_train
            changed = x if recipe.augment is None else recipe.augment(x, generator)
            recipe.gradient(model, changed, batch.y_train, trained_by)
            optimizer.step()
            count += 1
        return (_now(trial) - started) / count


def _time_of_evaluation(trial: Trial) -> float:
    """Return the seconds of an evaluation, from a part of the test set that takes long enough."""
    with _one_thread():
        dataset = load_data(trial)
        model = make_model(trial, dataset)
        dataset = as_trained_on(trial, model, dataset)
        model = model.to(trial.device)
        loss, recipe = make_loss(trial.loss), make_recipe(trial, dataset)
        whole = len(dataset.y_test)

        def seconds_of(num_test: int) -> float:
            part = _cut(dataset, num_test=num_test).to(trial.device)
            started = _now(trial)
            with recipe.autocast(part.x_test.device):
                evaluate(model, part, loss=loss)
            return _now(trial) - started

        num_test = min(trial.batch_size, whole)
        seconds_of(num_test)  # to warm up
        while (seconds := seconds_of(num_test)) < _SECONDS_MEASURED and num_test < whole:
            num_test = min(2 * num_test, whole)
        return seconds * whole / num_test


def _cut(dataset: Dataset, *, num_train: int = 1, num_test: int = 1) -> Dataset:
    """Return the first examples of both parts."""
    kept: dict[str, Any] = {}
    for part, count in (("train", num_train), ("test", num_test)):
        for name in (f"x_{part}", f"y_{part}", f"y_{part}_clean"):
            kept[name] = getattr(dataset, name)[:count]
    return replace(dataset, **kept)


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Count on one thread, as the workers do."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _now(trial: Trial) -> float:
    """Return the time, when the trial's device has done what it was given [s]."""
    if trial.device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()
