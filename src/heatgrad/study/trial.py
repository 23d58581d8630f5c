"""One trial: an arm on a task in one block of seeds, resolved to the last option."""

import copy
import inspect
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler

from heatgrad.core.errors import SpecError
from heatgrad.core.random import stream_generator, stream_seed
from heatgrad.core.spec import Spec, canonical_json, digest
from heatgrad.data import TASKS, Dataset, Task
from heatgrad.data.split import stratified_split
from heatgrad.optim import OPTIMIZERS, diffusion_groups
from heatgrad.study.components import Component, build, find
from heatgrad.study.losses import LossSpec, make_loss
from heatgrad.study.networks import ALL_NETWORKS
from heatgrad.study.question import AS_PUBLISHED
from heatgrad.study.recipe_spec import RecipeSpec
from heatgrad.training import (
    ALONE,
    SCHEDULES,
    Backend,
    Checkpoints,
    Device,
    EpochRecord,
    Parallel,
    Processes,
    Recipe,
    Training,
    encoded,
    initialised,
    sharded,
    step_memory,
    weights_of,
)

__all__ = [
    "CURVES",
    "PROTOCOL",
    "Trial",
    "TrialResult",
    "as_trained_on",
    "load_data",
    "make_model",
    "make_optimizer",
    "make_recipe",
    "make_scheduler",
    "make_training",
    "result_of",
    "run_trial",
]

# Raised whenever the same spec would train or be recorded differently: the records of older code
# are then not taken for this one's.
PROTOCOL = 2
CURVES = tuple(name for name in EpochRecord.__dataclass_fields__ if name != "epoch")


class Trial(Spec):
    """Everything that decides a trial's result; its hash is the key of its record.

    Attributes:
        task_name: Name of the task in the study; empty without one.
        arm_name: Name of the arm in the study; empty without one.
        block: Number of the block of matched runs, from 0.
        role: What the block is for: `"report"`, or `"tuning"`.
        seed: The block's seed; it depends on the study's entropy, role and block alone.
        task: Data.
        model: Network.
        optimizer: Optimizer with its learning rate.
        schedule: Learning-rate schedule.
        loss: Loss, without options its name.
        epochs: Passes over the training part.
        batch_size: Examples a step.
        protocol: Version of the training protocol.
        backend: `"loop"`; `"replicas"`; or `"vmap"`: by `vmap` if `backend_of` finds out, from the
            trial's own network and data, that this can be done and is faster, else as `"loop"`.
            With the first it is no part of the key. Nor are the next five, where they are as
            here.
        device: Where it is trained.
        recipe: What is done beside plain steps.
        regime: How options were chosen.
        setting: In a tuning block, the number of the setting, from 0.
        held_out: In a tuning block, the share of the training part that stands in for the test
            part, which is not looked at [1].
    """

    task_name: str
    arm_name: str
    block: int
    role: str
    seed: int
    task: Component
    model: Component
    optimizer: Component
    schedule: Component
    loss: LossSpec
    epochs: int
    batch_size: int
    protocol: int = PROTOCOL
    backend: Backend = "loop"
    device: Device = "cpu"
    recipe: RecipeSpec = RecipeSpec()
    regime: str = AS_PUBLISHED
    setting: int | None = None
    held_out: float = 0.0

    def place_of(self, part: str) -> str:
        """Return where a part of the trial stands in its file, to begin a message.

        Of a trial that no study named, by itself.
        """
        if not self.task_name:
            return part
        return f"arms.{self.arm_name}" if part == "optimizer" else f"tasks.{self.task_name}: {part}"

    @property
    def key(self) -> str:
        """SHA-256 of the resolved trial."""
        fields = type(self).model_fields
        added = ("backend", "device", "recipe", "regime", "setting", "held_out")
        left_out = {name for name in added if getattr(self, name) == fields[name].default}
        return digest(self.model_dump(mode="json", exclude=left_out))


@dataclass(frozen=True)
class TrialResult:
    """What a trial leaves behind.

    Attributes:
        status: `"finished"`, or `"diverged"` if a loss became non-finite.
        curves: Per-epoch values by name of `CURVES`, to nine significant digits; None where a
            value is not finite.
        ceiling: Best possible accuracy against `noisy` and `clean` test labels, or None.
        num_parameters: Size of the network.
        num_train: Size of the training part.
        weights: Final parameters and buffers.
        chance: Accuracy of the best constant answer on the test labels, by metric, or None where
            it is not known.
        memory: What the optimizer takes of the memory, `kept` and `passing`, as `step_memory`
            counts it [B]; None for a tuning trial, and where it cannot be counted.
    """

    status: str
    curves: dict[str, list[float | None]]
    ceiling: dict[str, float] | None
    num_parameters: int
    num_train: int
    weights: dict[str, torch.Tensor]
    chance: dict[str, float] | None = None
    memory: dict[str, int] | None = None


def load_data(trial: Trial) -> Dataset:
    """Return the trial's data; the last ones are kept, since arms share them."""
    text = canonical_json(trial.task.model_dump())
    return _load_data(text, trial.task_name, trial.seed, trial.held_out)


def make_model(trial: Trial, dataset: Dataset) -> nn.Module:
    """Return the trial's network with the block's initial weights."""
    where = trial.place_of("model")
    target = find(trial.model, ALL_NETWORKS, "model", where)

    def construct() -> nn.Module:
        shape = tuple(dataset.input_shape)
        model: nn.Module = build(target, where, shape, dataset.num_classes, **trial.model.options)
        return model

    model = initialised(construct, seed=trial.seed)
    _check_is(model, nn.Module, f"{where} '{trial.model.kind}'")
    # Convolutions on a CPU are markedly faster in this layout; results differ by rounding at most.
    return model.to(memory_format=torch.channels_last) if len(dataset.input_shape) == 3 else model  # type: ignore[call-overload]


def as_trained_on(trial: Trial, model: nn.Module, dataset: Dataset) -> Dataset:
    """Return the data as a network is trained on them: encoded, if it works on latents.

    Args:
        trial: The trial.
        model: Its network.
        dataset: Its data, on the device of the network.
    """
    if not getattr(model, "is_trained_on_latents", False):
        return dataset
    was_training = model.training
    data: Dataset = build(encoded, trial.place_of("model"), dataset, model.eval().encode)
    model.train(was_training)
    return data


def make_optimizer(trial: Trial, model: nn.Module) -> torch.optim.Optimizer:
    """Return the trial's optimizer of a network; one that takes a `seed` gets the block's."""
    where = trial.place_of("optimizer")
    target = find(trial.optimizer, OPTIMIZERS, "optimizer", where)
    options = dict(trial.optimizer.options)
    if "seed" in inspect.signature(target).parameters:
        options.setdefault("seed", stream_seed(trial.seed, "method"))
    params: Any = model.parameters()
    if "groups" in options:
        params = build(_groups, where, model, options.pop("groups"), options)
    optimizer: torch.optim.Optimizer = build(target, where, params, **options)
    _check_is(optimizer, torch.optim.Optimizer, f"{where}: optimizer '{trial.optimizer.kind}'")
    return optimizer


def make_scheduler(trial: Trial, optimizer: torch.optim.Optimizer) -> LRScheduler:
    """Return the trial's schedule of the learning rate."""
    schedule = find(trial.schedule, SCHEDULES, "schedule", "schedule")
    scheduler: LRScheduler = build(
        schedule, "schedule", optimizer, trial.epochs, **trial.schedule.options
    )
    return scheduler


def make_recipe(trial: Trial, dataset: Dataset) -> Recipe:
    """Return what the trial's training does beside plain steps."""
    return trial.recipe.recipe(dataset, make_loss(trial.loss), trial.place_of("recipe"))


def make_training(
    trial: Trial, *, processes: Processes = ALONE, parallel: Parallel = "ddp"
) -> Training:
    """Return the trial's training before its first step.

    Args:
        trial: What is trained.
        processes: Those that train together.
        parallel: Where they are several: whether each has the whole network, or a part of it.
    """
    dataset = load_data(trial)
    model = make_model(trial, dataset).to(trial.device)
    dataset = as_trained_on(trial, model, dataset.to(trial.device))
    if processes.size > 1 and parallel == "fsdp":
        model = sharded(model)
    optimizer = make_optimizer(trial, model)
    training: Training = build(
        Training,
        "training" if not trial.task_name else f"tasks.{trial.task_name}",
        model,
        optimizer,
        dataset,
        loss=make_loss(trial.loss),
        epochs=trial.epochs,
        batch_size=trial.batch_size,
        seed=trial.seed,
        scheduler=make_scheduler(trial, optimizer),
        recipe=make_recipe(trial, dataset),
        processes=processes,
    )
    return training


def run_trial(
    trial: Trial,
    *,
    on_epoch: Callable[[EpochRecord], None] = lambda record: None,
    unfinished: Path | None = None,
    pause: float = 60.0,
) -> TrialResult:
    """Train and score one trial; the result depends on the trial alone.

    Args:
        trial: The resolved trial.
        on_epoch: Called with every epoch's record, for progress.
        unfinished: Folder in which a long training keeps a checkpoint, and from which it goes on.
        pause: Time between two checkpoints, at least [s].
    """
    training = make_training(trial)
    records = []
    checkpoints = None
    if unfinished is not None:
        checkpoints = Checkpoints(unfinished, identity=trial.key, keep=1)
        records = checkpoints.restore(training)
        for record in records:
            on_epoch(record)
    saved = time.monotonic()
    for record in training.records():
        records.append(record)
        on_epoch(record)
        is_last = training.num_done == trial.epochs or not record.is_finite
        if checkpoints is not None and not is_last and time.monotonic() > saved + pause:
            checkpoints.save(training, records)
            saved = time.monotonic()
    return result_of(trial, records, training.model, training.dataset)


def result_of(
    trial: Trial, records: Sequence[EpochRecord], model: nn.Module, dataset: Dataset
) -> TrialResult:
    """Return what a trained network and its records leave behind; of a tuning trial, the end."""
    is_tuning = trial.role == "tuning"
    rows = [asdict(record) for record in records[-1 if is_tuning else 0 :]]
    return TrialResult(
        status="finished" if records[-1].is_finite else "diverged",
        curves={name: [_recorded(row[name]) for row in rows] for name in CURVES},
        ceiling=_ceiling(dataset),
        num_parameters=sum(p.numel() for p in model.parameters()),
        num_train=len(dataset.y_train),
        weights={} if is_tuning else weights_of(model),
        chance=_chance(dataset),
        memory=None if is_tuning else _memory(trial, copy.deepcopy(model)),
    )


def _groups(model: nn.Module, kinds: Any, options: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the parameter groups of an arm that names the kinds of parameters it diffuses."""
    if not isinstance(kinds, list | tuple) or not all(isinstance(kind, str) for kind in kinds):
        raise ValueError(f"groups must be a list of texts such as ['norm_weight'], got {kinds!r}")
    if options.get("dims") is not None:
        raise ValueError(f"groups decide the axes, got dims = {options['dims']!r} too; omit one")
    how = {name: options[name] for name in ("diffusion", "boundary") if name in options}
    return diffusion_groups(model, *kinds, **how)


def _check_is(value: Any, kind: type, what: str) -> None:
    """Raise SpecError if a part of the user's own gave something else than it must."""
    if not isinstance(value, kind):
        raise SpecError(
            f"{what} must give a {kind.__module__.partition('.')[0]} {kind.__name__}, got "
            f"{type(value).__name__}"
        )


@lru_cache(maxsize=2)
def _load_data(task_json: str, task_name: str, seed: int, held_out: float) -> Dataset:
    component = Component.model_validate(json.loads(task_json))
    where = f"tasks.{task_name}" if task_name else "task"
    target = find(component, TASKS, "task", where)
    task: Task = build(target, where, **component.options)
    _check_is(task, Task, f"{where}: task '{component.kind}'")
    dataset: Dataset = build(task.load, where, seed)
    _check_is(dataset, Dataset, f"{where}: generate")
    return dataset if held_out == 0 else _with_validation(dataset, held_out, seed, where)


def _with_validation(dataset: Dataset, share: float, seed: int, where: str) -> Dataset:
    """Return the data without the test part, in whose place a share of the training part stands."""
    labels = dataset.y_train
    count = round(share * len(labels))
    if not 0 < count < len(labels) - 1:
        raise SpecError(
            f"{where}: of {len(labels)} training examples a share of {share:g} cannot be held out "
            f"to tune by; give more examples or another held_out"
        )
    kept, held = stratified_split(labels, count, stream_generator(seed, "validation"))
    return Dataset(
        x_train=dataset.x_train[kept],
        y_train=labels[kept],
        y_train_clean=dataset.y_train_clean[kept],
        x_test=dataset.x_train[held],
        y_test=labels[held],
        y_test_clean=dataset.y_train_clean[held],
        num_classes=dataset.num_classes,
        pixels=dataset.pixels,
    )


def _memory(trial: Trial, model: nn.Module) -> dict[str, int] | None:
    """Return the memory of the trial's optimizer on a network, which is changed."""
    for param in model.parameters():
        param.grad = torch.zeros_like(param)
    try:
        return asdict(step_memory(make_optimizer(trial, model)))
    except Exception:  # whatever a step of the user's own may raise; its training is done
        return None


def _ceiling(dataset: Dataset) -> dict[str, float] | None:
    if dataset.ceiling is None:
        return None
    return {
        "test_accuracy": dataset.ceiling.noisy,
        "test_accuracy_clean": dataset.ceiling.clean,
    }


def _chance(dataset: Dataset) -> dict[str, float]:
    """Return the share of the most frequent class, at least 1 / num_classes."""
    labels = {"test_accuracy": dataset.y_test, "test_accuracy_clean": dataset.y_test_clean}
    return {name: _rounded(y.bincount().max().item() / len(y)) for name, y in labels.items()}


def _recorded(value: float) -> float | None:
    """Return nine significant digits, all that float32 training has; None if not finite."""
    return _rounded(value) if math.isfinite(value) else None


def _rounded(value: float) -> float:
    return float(f"{value:.9g}")
