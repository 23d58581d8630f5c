"""The specification of a study, as it is read from TOML."""

from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, Field, model_validator

from heatgrad.core.errors import SpecError
from heatgrad.core.lookup import nearest
from heatgrad.core.spec import (
    Positive,
    ShortName,
    Spec,
    canonical_json,
    digest,
    parse,
    read_toml,
)
from heatgrad.study.components import Component
from heatgrad.study.geometry_spec import GeometrySpec
from heatgrad.study.losses import LossSpec
from heatgrad.study.metric import METRICS, Metric
from heatgrad.study.question import AS_PUBLISHED, EACH_TUNED, MIN_BLOCKS
from heatgrad.study.recipe_spec import RecipeSpec
from heatgrad.study.sweep import expanded
from heatgrad.study.tuning_spec import Budget, Range, TuningSpec
from heatgrad.training import Device

__all__ = [
    "METRICS",
    "ArmSpec",
    "Metric",
    "ModelSpec",
    "ScheduleSpec",
    "StudySpec",
    "TaskSpec",
]

# Ten thousand blocks are more than any study runs, and few enough to be listed.
Blocks = Annotated[int, Field(ge=1, le=10_000)]


def _is_one_line(name: str) -> str:
    if not name or name != name.strip() or len(name.splitlines()) > 1 or len(name) > 80:
        raise ValueError(
            f"a name must be one line of 1 to 80 characters without spaces around it, got {name!r}"
        )
    return name


# Names stand in tables and messages.
Name = Annotated[str, AfterValidator(_is_one_line)]
Rate = Annotated[float, Field(gt=0)]


class ModelSpec(Component):
    """The network: a name of `heatgrad.models.MODELS` or `heatgrad.diffusion.networks.NETWORKS`.

    Or an import path. Further keys are its options.
    """


class ScheduleSpec(Component):
    """The learning-rate schedule, stepped once an epoch."""

    kind: str = "constant"


class TaskSpec(Component):
    """Data, with what this task does differently from the rest of the study.

    Attributes:
        kind: A name of `heatgrad.data.TASKS` or an import path; further keys are its options.
        note: A sentence for the report: what was chosen, and why.
        model: Network for this task.
        seeds: Number of matched blocks for this task.
        epochs: Passes over its training part.
        batch_size: Examples a step.
        lr: Learning rate of every arm that has none of its own.
        recipe: What is done beside plain steps, in place of the study's.
        budget: Settings tried for each arm, where the study tunes; 1 leaves the task untuned.
        sweep_of: The entry of the file that this task is a cell of, or empty.
        dials: What its cell is, by name; in a file, `sweep` holds a list for each dial.
    """

    note: str = ""
    model: ModelSpec | None = None
    seeds: Blocks | None = None
    epochs: Positive | None = None
    batch_size: Positive | None = None
    lr: Rate | None = None
    recipe: RecipeSpec | None = None
    budget: Budget | None = None
    sweep_of: str = ""
    dials: dict[str, float] = Field(default_factory=dict)


class ArmSpec(Component):
    """An optimizer under study.

    Attributes:
        kind: A name of `heatgrad.optim.OPTIMIZERS` or an import path; further keys are its
            options. Without `lr` it takes the task's, else the study's.
        control_of: The arm that this one is a control of.
        tune: Ranges of its options, beside those of the study's `tuning`.
    """

    control_of: str | None = None
    tune: dict[str, Range] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _lr_is_positive(self) -> "ArmSpec":
        lr = self.options.get("lr", 1.0)
        if isinstance(lr, bool) or not isinstance(lr, (int, float)) or lr <= 0:
            raise ValueError(f"lr must be a number greater than 0, got {lr!r}")
        return self


class StudySpec(Spec):
    """A matched comparison of optimizers: every arm on every task, seed by seed.

    Attributes:
        name: Short name; the default output folder is `runs/<name>`.
        title: One line for the report.
        question: The question in plain words.
        notes: Sentences for the report: what the source left open and what was chosen.
        entropy: Seed of all seeds; another value draws other blocks.
        seeds: Number of matched blocks.
        epochs: Passes over the training part.
        batch_size: Examples a step.
        lr: Learning rate of arms and tasks that have none of their own.
        loss: A name of `heatgrad.training.LOSSES` or an import path; or, with their options, a loss
            that calls the network itself: then the metric is a loss.
        metric: The primary metric, a key of `METRICS`, taken after the last epoch.
        metric_epochs: Number of last epochs over which it is averaged: 1, or more where it goes up
            and down from epoch to epoch, as it does at a large fixed learning rate.
        margin: Smallest difference of the metric that matters (accuracy: a fraction).
        backend: How trials are trained: `"loop"`, one by one; `"replicas"`, many at once (networks
            that are an `MLP`, optimizers that have a rule for it); `"auto"`, at once where that can
            be done, of small networks of your own by `vmap`. They differ by rounding, which
            training enlarges.
        device: Where trials are trained: `"cpu"`, or `"cuda"`, which rounds otherwise.
        baseline: The arm the others are compared with.
        confirmatory: The arms of the confirmatory family; arms that are neither in it nor a
            control are exploratory.
        max_diverged: Largest share of diverged runs, of an arm or its baseline, that leaves a
            comparison valid.
        tuning: How options are tuned; then every verdict is given twice, in the regimes "as
            published" (the options of the file) and "each tuned".
        schedule: Learning-rate schedule.
        recipe: What is done beside plain steps: augmentation, precision, averages.
        model: Network.
        tasks: Data sets by name.
        arms: Optimizers by name, in the order they are shown.
        geometry: What is measured of the loss landscape around the final weights, by name; no part
            of what decides the trials.
    """

    name: ShortName
    title: str = ""
    question: str = ""
    notes: tuple[str, ...] = Field(default=(), strict=False)
    entropy: Annotated[int, Field(ge=0)] = 0
    seeds: Blocks
    epochs: Positive
    batch_size: Positive
    lr: Rate
    loss: LossSpec = LossSpec(kind="cross_entropy")
    metric: Literal["test_accuracy", "test_accuracy_clean", "test_loss", "train_loss"]
    metric_epochs: Positive = 1
    margin: Rate
    backend: Literal["auto", "loop", "replicas"] = "auto"
    device: Device = "cpu"
    baseline: str
    confirmatory: tuple[str, ...] = Field(default=(), strict=False)
    max_diverged: Annotated[float, Field(ge=0, le=1)] = 0.5
    tuning: TuningSpec | None = None
    schedule: ScheduleSpec = ScheduleSpec()
    recipe: RecipeSpec = RecipeSpec()
    model: ModelSpec
    tasks: Annotated[dict[Name, TaskSpec], Field(min_length=1)]
    arms: Annotated[dict[Name, ArmSpec], Field(min_length=1)]
    geometry: dict[Name, GeometrySpec] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _one_task_per_cell(cls, data: Any) -> Any:
        """Turn a task with dials into one task for each cell of their grid."""
        tasks = data.get("tasks") if isinstance(data, dict) else None
        return {**data, "tasks": expanded(tasks)} if isinstance(tasks, dict) else data

    @model_validator(mode="after")
    def _arms_exist(self) -> "StudySpec":
        named = [("baseline", self.baseline), *(("confirmatory", arm) for arm in self.confirmatory)]
        named += [
            (f"arms.{name}.control_of", arm.control_of)
            for name, arm in self.arms.items()
            if arm.control_of is not None
        ]
        named += [(f"geometry.{name}.to", g.to) for name, g in self.geometry.items() if g.to]
        for key, arm in named:
            if arm not in self.arms:
                raise ValueError(f"{key} names an unknown arm '{arm}'; {nearest(arm, self.arms)}")
        if self.arms[self.baseline].control_of is not None:
            raise ValueError(
                f"the baseline '{self.baseline}' cannot be a control too; take control_of out of "
                f"arms.{self.baseline}"
            )
        for name, spec in self.arms.items():
            if spec.control_of == name:
                raise ValueError(f"arms.{name}.control_of names the arm itself")
            if spec.control_of is not None and self.arms[spec.control_of].control_of is not None:
                raise ValueError(
                    f"arms.{name}.control_of names '{spec.control_of}', which is a control itself"
                )
            if spec.control_of is not None and name in self.confirmatory:
                raise ValueError(f"'{name}' is a control and cannot be in the confirmatory family")
        if len(set(self.confirmatory)) < len(self.confirmatory):
            raise ValueError(f"confirmatory names an arm twice: {', '.join(self.confirmatory)}")
        if self.baseline in self.confirmatory:
            raise ValueError(f"the baseline '{self.baseline}' cannot be in its own family")
        return self

    @model_validator(mode="after")
    def _margin_fits(self) -> "StudySpec":
        if METRICS[self.metric].percent and self.margin >= 1:
            raise ValueError(
                f"margin of an accuracy must be a fraction below 1 (0.005 is half a point), got "
                f"{self.margin:g}"
            )
        return self

    @model_validator(mode="after")
    def _epochs_are_enough(self) -> "StudySpec":
        for name, task in self.tasks.items():
            epochs = task.epochs or self.epochs
            if epochs < self.metric_epochs:
                raise ValueError(
                    f"metric_epochs must be at most the epochs of every task, got "
                    f"{self.metric_epochs}, and {epochs} epochs of tasks.{name}"
                )
        return self

    @model_validator(mode="after")
    def _tuning_is_whole(self) -> "StudySpec":
        if self.tuning is None:
            for key in [
                *(f"arms.{name}.tune" for name, arm in self.arms.items() if arm.tune),
                *(f"tasks.{name}.budget" for name, task in self.tasks.items() if task.budget),
            ]:
                raise ValueError(f"{key} needs a table [tuning]")
            return self
        for name, arm in self.arms.items():
            if not self.tuning.space and not arm.tune:
                raise ValueError(
                    f"arms.{name} has nothing to tune; give a range for all in [tuning] (space.lr "
                    f"= [0.001, 1]) or for it (tune.lr = [0.001, 1])"
                )
        return self

    @classmethod
    def from_dict(cls, data: dict[str, Any], *, source: str = "study") -> "StudySpec":
        """Return the study that plain values describe, or raise SpecError with one line."""
        return parse(cls, data, source=source)

    @classmethod
    def from_toml(cls, path: Path) -> "StudySpec":
        """Return the study in a TOML file, or raise SpecError with one line."""
        return cls.from_dict(read_toml(path), source=str(path))

    @property
    def id(self) -> str:
        """The SHA-256 of everything that decides the results and how they are judged."""
        deciding = self.model_dump(mode="json", exclude={"title", "question", "notes", "geometry"})
        # What was added to the format later stands there only where it is used.
        if self.tuning is None:
            del deciding["tuning"]
        if self.device == "cpu":
            del deciding["device"]
        if self.metric_epochs == 1:
            del deciding["metric_epochs"]
        if self.recipe.is_plain:
            del deciding["recipe"]
        for task in deciding["tasks"].values():
            unset = [name for name in ("budget", "recipe") if task[name] is None]
            for name in ("note", "sweep_of", "dials", *unset):
                del task[name]
        for arm in deciding["arms"].values():
            if not arm["tune"]:
                del arm["tune"]
        return digest(deciding)

    def blocks_of(self, task: str) -> int:
        """Return the number of matched blocks of a task."""
        return self.tasks[task].seeds or self.seeds

    def recipe_of(self, task: str) -> RecipeSpec:
        """Return what is done beside plain steps on a task."""
        return self.tasks[task].recipe or self.recipe

    def budget_of(self, task: str) -> int:
        """Return the number of settings tried for each arm on a task, 1 where nothing is tuned."""
        if self.tuning is None:
            return 1
        return self.tasks[task].budget or self.tuning.budget

    def regimes_of(self, task: str) -> tuple[str, ...]:
        """Return the regimes in which a task is judged."""
        return (AS_PUBLISHED,) if self.budget_of(task) == 1 else (AS_PUBLISHED, EACH_TUNED)

    @property
    def regimes(self) -> tuple[str, ...]:
        """The regimes of all tasks, "as published" first."""
        return tuple(dict.fromkeys(r for task in self.tasks for r in self.regimes_of(task)))

    @property
    def num_trials(self) -> int:
        """Number of trials of the whole study, those for tuning included."""
        return len(self.arms) * sum(
            len(self.regimes_of(task)) * self.blocks_of(task) + self.num_tuning_trials_of(task)
            for task in self.tasks
        )

    def num_tuning_trials_of(self, task: str) -> int:
        """Return the number of trials that tune one arm on a task."""
        budget = self.budget_of(task)
        return 0 if self.tuning is None or budget == 1 else budget * self.tuning.blocks

    @property
    def family_size(self) -> int:
        """Number of comparisons in the largest confirmatory family, of any regime."""
        return max(self.family_size_of(regime) for regime in self.regimes)

    def family_size_of(self, regime: str) -> int:
        """Return the number of comparisons in a regime's confirmatory family.

        It is the confirmatory arms on all tasks of the regime with a verdict: a task with fewer
        than 8 blocks gets none, so that nothing is claimed there.
        """
        tasks = sum(
            self.blocks_of(task) >= MIN_BLOCKS and regime in self.regimes_of(task)
            for task in self.tasks
        )
        return len(self.confirmatory) * tasks

    def role_of(self, arm: str) -> str:
        """Return `"baseline"`, `"control"`, `"confirmatory"` or `"exploratory"`."""
        if arm == self.baseline:
            return "baseline"
        if self.arms[arm].control_of is not None:
            return "control"
        return "confirmatory" if arm in self.confirmatory else "exploratory"

    def likeness_of(self, arm: str) -> str:
        """Return a text that is the same for arms which are trained and tuned alike."""
        spec = self.arms[arm]
        tune = {option: where.model_dump() for option, where in spec.tune.items()}
        return canonical_json([spec.kind, spec.options, tune])

    def controls_of(self, arm: str) -> list[str]:
        """Return the names of an arm's controls."""
        return [name for name, spec in self.arms.items() if spec.control_of == arm]

    def with_seeds(self, seeds: int) -> "StudySpec":
        """Return the same study with another number of blocks, for every task.

        Raises:
            SpecError: If `seeds` is below 1 or above 10,000.
        """
        if not 1 <= seeds <= 10_000:
            raise SpecError(f"seeds must be from 1 to 10000, got {seeds}")
        tasks = {name: task.model_copy(update={"seeds": None}) for name, task in self.tasks.items()}
        return self.model_copy(update={"seeds": seeds, "tasks": tasks})

    def with_device(self, device: str) -> "StudySpec":
        """Return the same study on another device.

        Raises:
            SpecError: If it is neither `"cpu"` nor `"cuda"`.
        """
        if device not in get_args(Device):
            raise SpecError(f"device must be one of {', '.join(get_args(Device))}, got '{device}'")
        return self.model_copy(update={"device": device})

    def with_tasks(self, names: list[str]) -> "StudySpec":
        """Return the same study on some of its tasks only.

        Raises:
            SpecError: If a name is not a task of the study.
        """
        for name in names:
            if name not in self.tasks:
                raise SpecError(f"unknown task '{name}'; {nearest(name, self.tasks)}")
        return self.model_copy(update={"tasks": {name: self.tasks[name] for name in names}})
