"""A finished trial as it lies in the store."""

from dataclasses import dataclass
from typing import Any

__all__ = ["Measured", "Record"]


@dataclass(frozen=True)
class Record:
    """A finished trial as it lies in the store.

    Attributes:
        key: Hash of the resolved trial.
        task: Name of the task.
        arm: Name of the arm.
        block: Number of the matched block.
        role: What the block was for.
        status: `"finished"` or `"diverged"`.
        spec: The resolved trial.
        curves: Per-epoch values by name; None where a value was not finite.
        ceiling: Best possible accuracies by metric name, or None.
        num_parameters: Size of the network.
        num_train: Size of the training part.
        environment: Versions, hardware and commit of the run.
        seconds: Wall time of the whole trial, evaluation included [s].
        stored_at: Time of storing, UTC, ISO 8601.
        chance: Accuracies of the best constant answer by metric name, or None if not recorded.
        memory: Bytes that the optimizer keeps (`kept`), and that a step takes for a moment
            (`passing`), or None if not recorded.
    """

    key: str
    task: str
    arm: str
    block: int
    role: str
    status: str
    spec: dict[str, Any]
    curves: dict[str, list[float | None]]
    ceiling: dict[str, float] | None
    num_parameters: int
    num_train: int
    environment: dict[str, Any]
    seconds: float
    stored_at: str
    chance: dict[str, float] | None = None
    memory: dict[str, int] | None = None


@dataclass(frozen=True)
class Measured:
    """What was measured around the end of a trial, as it lies in the store.

    Attributes:
        key: Hash of the resolved measurement.
        name: Of the measurement in the study.
        trial: Key of the trial.
        value: What was found.
        seconds: Wall time [s].
        stored_at: Time of storing, UTC, ISO 8601.
    """

    key: str
    name: str
    trial: str
    value: dict[str, Any]
    seconds: float
    stored_at: str
