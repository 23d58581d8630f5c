"""Load, check, run and resume studies."""

import itertools
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from heatgrad.core.environment import check_device, describe_environment
from heatgrad.core.errors import HeatgradWarning, SpecError
from heatgrad.core.lookup import nearest
from heatgrad.core.spec import canonical_json, shown
from heatgrad.data import TASKS
from heatgrad.study.components import Component, build, find
from heatgrad.study.design import ranges_of
from heatgrad.study.geometry import measurements, rehearse
from heatgrad.study.losses import has_accuracy
from heatgrad.study.metric import METRICS
from heatgrad.study.plan import plan, plan_tuned
from heatgrad.study.pool import Progress, measure_all, run_trials
from heatgrad.study.presets import PRESETS, preset_file
from heatgrad.study.question import ALPHA, EACH_TUNED, MIN_BLOCKS
from heatgrad.study.ray_pool import check_address, run_on_ray
from heatgrad.study.results import Results
from heatgrad.study.spec import StudySpec
from heatgrad.study.statistics import blocks_for_family, largest_family, smallest_p
from heatgrad.study.store import Store, is_url
from heatgrad.study.trial import (
    Trial,
    load_data,
    make_model,
    make_optimizer,
    make_recipe,
    make_scheduler,
)
from heatgrad.study.tuning import chosen_settings
from heatgrad.training import initialised

__all__ = [
    "Workload",
    "default_workers",
    "load_study",
    "run_study",
    "workload",
]


@dataclass(frozen=True)
class Workload:
    """What a run has to do, and what is done.

    Attributes:
        num_trials: Trials of the whole study.
        num_stored: Trials already in the store.
        epochs: Epochs still to be trained.
        todo: The trials that can be run now; those with tuned options wait for the tuning.
    """

    num_trials: int
    num_stored: int
    epochs: int
    todo: tuple[Trial, ...]


def load_study(
    source: str | Path | Mapping[str, Any],
    *,
    tasks: Sequence[str] = (),
    seeds: int | None = None,
    device: str | None = None,
    small: bool = False,
) -> StudySpec:
    """Return a study, its names and options checked.

    Args:
        source: The name of a preset, the path of a TOML file, or the values of one.
        tasks: Only these of its tasks; all where none is named.
        seeds: Another number of blocks, for every task.
        device: Another device, `"cpu"` or `"cuda"`.
        small: Whether the preset's small form is meant, which two cores can run.

    Raises:
        SpecError: If there is no such preset or file, or something in it cannot be used; the
            message names the key and the nearest valid name. Also if the confirmatory family is
            larger than the number of blocks can decide.

    Example:
        >>> load_study("demo").baseline
        'SGD'
    """
    if isinstance(source, Mapping):
        study = StudySpec.from_dict(dict(source))
    elif not isinstance(source, (str, os.PathLike)):
        raise SpecError(
            f"a study is the name of a preset, the path of a TOML file or a dict, got {source!r}"
        )
    elif small:
        study = StudySpec.from_toml(preset_file(str(source), small=True))
    elif str(source) in PRESETS:
        study = StudySpec.from_toml(PRESETS[str(source)])
    elif Path(source).suffix == ".toml" or _exists(Path(source)):
        study = StudySpec.from_toml(Path(source))
    else:
        name = shown(Path(source))
        raise SpecError(f"no preset and no spec file '{name}'; {nearest(name, PRESETS)}")
    if tasks:
        study = study.with_tasks(list(tasks))
    if seeds is not None:
        study = study.with_seeds(seeds)
    if device is not None:
        study = study.with_device(device)
    check_family(study)
    _check_names(study)
    return study


def check_family(study: StudySpec) -> None:
    """Refuse a family in which not even the smallest p value could decide.

    Raises:
        SpecError: If 2 / 2^n, for a task of n >= 8 blocks, is above 0.05 over the family's size.
    """
    size, needed = study.family_size, blocks_for_family(max(1, study.family_size), alpha=ALPHA)
    counts = [study.blocks_of(task) for task in study.tasks]
    judged = [count for count in counts if count >= MIN_BLOCKS]
    if size and min(judged) < needed:
        n = min(judged)
        raise SpecError(
            f"the confirmatory family is too large for {n} blocks: {len(study.confirmatory)} "
            f"arms on {len(judged)} task{'s' if len(judged) > 1 else ''} are {size} comparisons, "
            f"and the smallest p value, {smallest_p(n):.2g}, is above {ALPHA:g} / {size}; "
            f"{needed} blocks are needed (seeds = {needed}), or a family of at most "
            f"{largest_family(n, alpha=ALPHA)}"
        )


def workload(study: StudySpec, store: Store | None) -> Workload:
    """Return what is left to do of a study, given what is stored."""
    stored = store.keys() if store is not None else set()
    trials, waiting = plan(study), 0
    if EACH_TUNED in study.regimes:
        chosen = chosen_settings(study, store.records()) if store is not None else None
        if chosen is not None:
            trials += plan_tuned(study, chosen)
        else:
            waiting = sum(
                trial.epochs
                for trial in trials
                if trial.role == "report" and EACH_TUNED in study.regimes_of(trial.task_name)
            )
    todo = tuple(trial for trial in trials if trial.key not in stored)
    return Workload(
        num_trials=study.num_trials,
        num_stored=len(trials) - len(todo),
        epochs=sum(trial.epochs for trial in todo) + waiting,
        todo=todo,
    )


def run_study(
    study: StudySpec | str | Path | Mapping[str, Any],
    *,
    out: str | Path | None = None,
    store: str | None = None,
    workers: int | None = None,
    ray: str | None = None,
    on_progress: Progress = lambda epochs, trial: None,
    on_measured: Callable[[int, int], None] = lambda done, total: None,
) -> Results:
    """Run what is left of a study and return its results.

    Every finished trial is stored at once; the same call resumes after any interruption and
    gives the same results, bit for bit but for times. In a script of your own, call it under
    `if __name__ == "__main__":`, since workers are started as new processes.

    Args:
        study: A study, or what `load_study` takes.
        out: Folder of the results, made if needed; default `runs/<name>`.
        store: URL of a database that holds the results instead of the folder, as in
            `"postgresql+psycopg://host/name"`; with one study in it.
        workers: Number of processes, one thread each; default one per core; 0 runs here. On a
            cluster the number of tasks at once; default one per core of it.
        ray: Address of a Ray cluster that does the work, or `"auto"` for the one at hand.
        on_progress: Called with the number of epochs done in this call, and with each trial
            as it is stored.
        on_measured: Called with the number of measurements of the landscape that were made in
            this call, and with the number to be made, where the study has a table `geometry`.

    Raises:
        SpecError: If the study cannot be used.
        DataError: If data are missing or damaged.
        StoreError: If the folder or the database cannot be used.
        RunError: If the run stopped before its end; what was finished is stored.
    """
    if not isinstance(study, StudySpec):
        study = load_study(study)
    folder = Path(out) if out is not None else Path("runs") / study.name
    least = 0 if ray is None else 1
    if workers is not None and workers < least:
        raise SpecError(f"workers must be at least {least}, got {workers}")
    place = _place(folder, store, ray)
    if ray is None:
        check_device(study.device)
    check_study(study)
    opened = Store.create(place, study)
    try:
        done = 0
        while todo := workload(study, opened).todo:  # once more with the options that were tuned
            if ray is not None:
                opened.close()  # settled: the tasks use a folder otherwise than one machine does
                run_on_ray(
                    todo,
                    address=ray,
                    place=place,
                    folder=folder,
                    workers=workers,
                    on_progress=_after(done, on_progress),
                    device=study.device,
                )
                opened = Store.create(place, study)
            else:
                count = default_workers(study) if workers is None else workers
                run_trials(
                    todo,
                    place=place,
                    folder=folder,
                    environment=describe_environment(study.device),
                    workers=min(count, len(todo)),
                    on_progress=_after(done, on_progress),
                )
            done += sum(trial.epochs for trial in todo)
        _measure_what_is_left(study, opened, place, folder, workers, on_measured)
    finally:
        opened.close()
    return Results.load(place)


def _measure_what_is_left(
    study: StudySpec,
    store: Store,
    place: str | Path,
    folder: Path,
    workers: int | None,
    on_measured: Callable[[int, int], None],
) -> None:
    known = store.geometry()
    todo = [m for m in measurements(study, store.records()) if m.key not in known]
    if not todo:
        return
    count = default_workers() if workers is None else workers
    numbers = itertools.count(1)
    failures = measure_all(
        todo,
        place=place,
        folder=folder,
        workers=min(count, len(todo)),
        on_measured=lambda: on_measured(next(numbers), len(todo)),
    )
    if failures:
        warnings.warn(
            f"{len(failures)} of {len(todo)} measurements of the landscape could not be made, and "
            f"their blocks are left out; the same command tries them again: {failures[0]}",
            HeatgradWarning,
            stacklevel=3,
        )


def _place(folder: Path, store: str | None, ray: str | None) -> str | Path:
    """Return where the results go, a folder or a URL, once it can be what is asked for."""
    if ray is not None:
        check_address(ray)
    if store is None:
        return folder
    if not is_url(store):
        raise SpecError(
            f"store must be the URL of a database, as in postgresql+psycopg://HOST/NAME, got "
            f"'{store}'; give a folder with --out"
        )
    if ray is not None and store.startswith("sqlite:"):
        raise SpecError(
            "a file of SQLite cannot be the store of a cluster; give a database of PostgreSQL, or "
            "with --out a folder that all machines share"
        )
    return store


def check_study(study: StudySpec) -> None:
    """Build every part of a study once, so that what cannot work is said before the run.

    What an optimizer or a schedule warns of is said here, once, and not again by the workers.

    Raises:
        SpecError: If an option is refused.
        DataError: If data are missing or damaged.
    """
    check_family(study)
    _check_names(study)
    models: dict[str, torch.nn.Module] = {}
    said: dict[str, None] = {}
    for trial in _one_of_each(study):
        is_new = trial.task_name not in models
        if is_new:
            models[trial.task_name] = make_model(trial, load_data(trial))
            make_recipe(trial, load_data(trial))
        load_data(trial)  # with a share held out, where the trial tunes
        model = models[trial.task_name]
        for param in model.parameters():
            param.grad = torch.zeros_like(param)
        with warnings.catch_warnings(record=True) as raised:
            warnings.simplefilter("always")
            optimizer = make_optimizer(trial, model)
            build(optimizer.step, f"arms.{trial.arm_name}")
        said |= {f"arms.{trial.arm_name}: {warning.message}": None for warning in raised}
        if is_new:
            with warnings.catch_warnings(record=True) as raised:
                warnings.simplefilter("always")
                make_scheduler(trial, optimizer)
            said |= {f"tasks.{trial.task_name}: {warning.message}": None for warning in raised}
    for trial in {trial.task_name: trial for trial in plan(study.with_seeds(1))}.values():
        for name, spec in study.geometry.items():
            rehearse(name, spec, trial)
    for text in said:
        warnings.warn(text, HeatgradWarning, stacklevel=3)


def _after(done: int, on_progress: Progress) -> Progress:
    return lambda epochs, trial: on_progress(done + epochs, trial)


def default_workers(study: StudySpec | None = None) -> int:
    """Return the number of cores this process may use; for a study on a GPU one."""
    if study is not None and study.device != "cpu":
        return 1
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _stand_in() -> torch.nn.Module:
    """Return a tiny network that has parameters of every kind of `diffusion_groups`."""
    nn = torch.nn
    return initialised(lambda: nn.Sequential(nn.Conv2d(2, 2, 3), nn.BatchNorm2d(2)), seed=0)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name that no file can have
        return False


def _one_of_each(study: StudySpec) -> Iterator[Trial]:
    """Yield the first block of each arm on each task, and with tuned options at their ends."""
    for trial in plan(study.with_seeds(1)):
        if trial.role == "report":
            yield trial
        elif trial.block == trial.setting == 0:
            ranges = ranges_of(study, trial.arm_name)
            for end in (0.0, 1.0):
                options = {name: where.at(end) for name, where in ranges.items()}
                optimizer = Component(
                    kind=trial.optimizer.kind, options=trial.optimizer.options | options
                )
                yield trial.model_copy(update={"optimizer": optimizer})


def _check_loss(study: StudySpec) -> None:
    """Refuse a metric and a geometry that a loss does not have."""
    if has_accuracy(study.loss):
        return
    kind = study.loss.kind
    if METRICS[study.metric].percent:
        raise SpecError(
            f"metric '{study.metric}' needs a loss of logits and labels, got '{kind}', which calls "
            f"the network itself and knows no accuracy; use metric = 'test_loss'"
        )
    if study.geometry:
        raise SpecError(
            f"geometry needs a loss of logits and labels, got '{kind}', which draws noise; leave "
            f"geometry out"
        )


def _check_names(study: StudySpec) -> None:
    _check_loss(study)
    tasks, arms = set(), set()
    for trial in _one_of_each(study):
        if trial.task_name not in tasks:
            tasks.add(trial.task_name)
            where = f"tasks.{trial.task_name}"
            build(find(trial.task, TASKS, "task", where), where, **trial.task.options)
        arm = canonical_json(trial.optimizer.model_dump())
        if arm not in arms:
            arms.add(arm)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                optimizer = make_optimizer(trial, _stand_in())
                make_scheduler(trial, optimizer)
