"""The specification of one training, as it is read from TOML."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from heatgrad.core.spec import Positive, ShortName, Spec, parse, read_toml
from heatgrad.data import TASKS
from heatgrad.optim import OPTIMIZERS
from heatgrad.study.components import Component, resolve
from heatgrad.study.losses import LossSpec, resolved_loss
from heatgrad.study.networks import ALL_NETWORKS
from heatgrad.study.recipe_spec import RecipeSpec
from heatgrad.study.spec import ModelSpec, ScheduleSpec
from heatgrad.study.trial import Trial
from heatgrad.training import SCHEDULES, Device, Parallel

__all__ = ["TrainSpec"]


class TrainSpec(Spec):
    """One training: a task, a network, an optimizer, and how long.

    Attributes:
        name: Short name; the default output folder is `runs/<name>`.
        seed: Of data, initial weights, order, dropout and augmentation.
        epochs: Passes over the training part.
        batch_size: Examples a step.
        loss: A name of `heatgrad.training.LOSSES`; `"edm"`, `"simple"`, `"hybrid"` or
            `"reconstruction"`, alone or as a table with options; or an import path.
        task: Data: a name of `heatgrad.data.TASKS` or an import path, and its options.
        model: Network: a name of `heatgrad.models.MODELS` or of
            `heatgrad.diffusion.networks.NETWORKS`, or an import path, and its options.
        optimizer: A name of `heatgrad.optim.OPTIMIZERS` or an import path, and its options.
        schedule: Learning-rate schedule.
        recipe: What is done beside plain steps.
        device: Where it is trained, `"cpu"` or `"cuda"`.
        parallel: Where `torchrun` starts several processes: `"ddp"`, each with the whole network,
            or `"fsdp"`, each with a part of it (FSDP2).
    """

    name: ShortName
    seed: Annotated[int, Field(ge=0)] = 0
    epochs: Positive
    batch_size: Positive
    loss: LossSpec = LossSpec(kind="cross_entropy")
    task: Component
    model: ModelSpec
    optimizer: Component
    schedule: ScheduleSpec = ScheduleSpec()
    recipe: RecipeSpec = RecipeSpec()
    device: Device = "cpu"
    parallel: Parallel = "ddp"

    @classmethod
    def from_dict(cls, data: dict[str, Any], *, source: str = "training") -> "TrainSpec":
        """Return the training that plain values describe, or raise SpecError with one line."""
        return parse(cls, data, source=source)

    @classmethod
    def from_toml(cls, path: str | Path) -> "TrainSpec":
        """Return the training in a TOML file, or raise SpecError with one line."""
        return cls.from_dict(read_toml(Path(path)), source=str(path))

    def trial(self) -> Trial:
        """Return the training as the trial that a study would run, resolved to the last option.

        Raises:
            SpecError: If a name or an option is unknown.
        """
        model = resolve(self.model, ALL_NETWORKS, "model", "model")
        return Trial(
            task_name="",
            arm_name="",
            block=0,
            role="report",
            seed=self.seed,
            task=resolve(self.task, TASKS, "task", "task"),
            model=model,
            optimizer=resolve(self.optimizer, OPTIMIZERS, "optimizer", "optimizer"),
            schedule=resolve(self.schedule, SCHEDULES, "schedule", "schedule"),
            loss=resolved_loss(self.loss, model),
            epochs=self.epochs,
            batch_size=self.batch_size,
            recipe=self.recipe.resolved("recipe"),
            device=self.device,
        )

    def resolved(self) -> "TrainSpec":
        """Return the training with its parts written out to the last option.

        Raises:
            SpecError: If a name or an option is unknown.
        """
        trial = self.trial()
        parts = {
            "task": trial.task,
            "model": ModelSpec(**trial.model.model_dump()),
            "optimizer": trial.optimizer,
            "schedule": ScheduleSpec(**trial.schedule.model_dump()),
            "loss": trial.loss,
            "recipe": trial.recipe,
        }
        return self.model_copy(update=parts)
