"""Measurements of the loss landscape around the ends of a study's trials."""

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

from torch import nn

from heatgrad.core.errors import SpecError, StoreError
from heatgrad.core.spec import digest
from heatgrad.landscape import DataLoss, align
from heatgrad.landscape.surface import check_grid
from heatgrad.study.geometry_kinds import KINDS, Value
from heatgrad.study.geometry_spec import GeometrySpec
from heatgrad.study.losses import make_loss
from heatgrad.study.question import AS_PUBLISHED
from heatgrad.study.spec import StudySpec
from heatgrad.study.store import Measured, Record, Store
from heatgrad.study.trial import Trial, load_data, make_model
from heatgrad.training import Loss, is_objective

__all__ = [
    "Measurement",
    "loss_on",
    "measure",
    "measure_and_store",
    "measurements",
    "rehearse",
    "trained_network",
]

# Raised whenever the same measurement would give something else.
_PROTOCOL = 1

R = TypeVar("R")


@dataclass(frozen=True)
class Measurement:
    """One measurement of one trial's end.

    Attributes:
        name: Of the measurement in the study.
        spec: What is measured.
        trial: Whose final weights.
        end: Of a path or a curve, the trial that it leads to.
    """

    name: str
    spec: GeometrySpec
    trial: Trial
    end: Trial | None = None

    @property
    def key(self) -> str:
        """SHA-256 of everything that decides the result."""
        what = self.spec.model_dump(mode="json", exclude={"margin", "of", "blocks"})
        end = None if self.end is None else self.end.key
        return digest([_PROTOCOL, what, self.trial.key, end])


def measurements(study: StudySpec, records: Iterable[Record]) -> list[Measurement]:
    """Return what is measured of the trials that are there; of a trial that diverged, nothing."""
    ends = {
        (r.spec.get("regime", AS_PUBLISHED), r.task, r.arm, r.block): Trial.model_validate(r.spec)
        for r in records
        if r.role == "report" and r.status == "finished"
    }
    found = []
    for name, spec in study.geometry.items():
        blocks = spec.blocks or (1 if spec.kind == "surface" else math.inf)
        for (regime, task, arm, block), trial in ends.items():
            if task not in study.tasks or arm not in study.arms or block >= blocks:
                continue
            if not KINDS[spec.kind].is_path:
                found.append(Measurement(name, spec, trial))
                continue
            end = ends.get((regime, task, spec.to or study.baseline, block))
            if end is not None:
                found.append(Measurement(name, spec, trial, end))
    return found


def measure(measurement: Measurement, store: Store) -> Value:
    """Return what a measurement finds: what arms are compared by, and what is drawn."""
    trial, spec, end = measurement.trial, measurement.spec, measurement.end
    model = trained_network(trial, store)
    other = model if end is None or end.key == trial.key else trained_network(end, store)
    return _found(measurement.name, spec, model, other, loss_on(trial, spec.part, spec.examples))


def rehearse(name: str, spec: GeometrySpec, trial: Trial) -> None:
    """Make a measurement of a network that is not trained, a short one, so that it can be made.

    Raises:
        SpecError: If an option is refused.
    """
    few = {
        key: 6 - value % 2 if type(value) is int and value > 6 and key != "seed" else value
        for key, value in spec.options.items()
    }
    if spec.kind == "surface":
        _checked(name, check_grid, spec.options.get("points", 25), spec.options.get("reach", 1.0))
    model = make_model(trial, load_data(trial)).eval()
    short = spec.model_copy(update={"options": few})
    _found(name, short, model, model, loss_on(trial, spec.part, min(64, spec.examples)))


def _found(
    name: str, spec: GeometrySpec, model: nn.Module, end: nn.Module, loss: DataLoss
) -> Value:
    kind, start = KINDS[spec.kind], model
    if kind.is_path and spec.align:
        start = _checked(name, align, end, model, inputs=next(loss.inputs())).model
    return _checked(name, kind.measure, start, end, loss, **spec.options)


def _checked(name: str, function: Callable[..., R], *arguments: Any, **options: Any) -> R:
    """Return what a function returns; what it refuses is said of the table in the spec."""
    try:
        return function(*arguments, **options)
    except (ValueError, TypeError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise SpecError(f"geometry.{name}: {reason}") from error


def measure_and_store(measurement: Measurement, store: Store) -> str | None:
    """Measure, and store what was found; return the reason if that cannot be measured."""
    started = time.perf_counter()
    try:
        value = measure(measurement, store)
    except SpecError as error:
        of = measurement.trial
        return f"{error} ({of.task_name}, {of.arm_name}, block {of.block}, {of.regime})"
    stored_at = datetime.now(UTC).isoformat(timespec="seconds")
    seconds = time.perf_counter() - started
    key, trial = measurement.key, measurement.trial.key
    store.add_geometry([Measured(key, measurement.name, trial, value, seconds, stored_at)])
    return None


def trained_network(trial: Trial, store: Store) -> nn.Module:
    """Return a trial's network with its final weights, in evaluation mode.

    Raises:
        StoreError: If they are not stored.
    """
    model = make_model(trial, load_data(trial))
    try:
        weights = store.weights(trial.key)
    except StoreError as error:
        raise StoreError(
            f"{error}; a copy made by 'heatgrad study thin' has none: measure where the study ran"
        ) from None
    model.load_state_dict(weights)
    return model.eval()


def loss_on(trial: Trial, part: str, examples: int) -> DataLoss:
    """Return a trial's loss over its data.

    Args:
        trial: The trial.
        part: `"train"` or `"test"`.
        examples: The first so many at most.
    """
    data = load_data(trial)
    x, y = (data.x_train, data.y_train) if part == "train" else (data.x_test, data.y_test)
    return DataLoss(_scored(trial), (x[:examples], y[:examples]))


def _scored(trial: Trial) -> Loss:
    """Return a trial's loss of logits and labels."""
    loss = make_loss(trial.loss)
    if is_objective(loss):
        raise SpecError(
            f"a landscape needs a loss of logits and labels, got '{trial.loss.kind}', which draws "
            f"noise"
        )
    return loss
