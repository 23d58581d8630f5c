"""What the tuning blocks say: the setting of each arm that does best on held-out examples."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from heatgrad.study.design import Setting, ranges_of
from heatgrad.study.finals import final_value
from heatgrad.study.metric import METRICS, Metric
from heatgrad.study.spec import StudySpec
from heatgrad.study.store import Record
from heatgrad.study.tuning_spec import Range

__all__ = ["Tuning", "chosen_settings", "tunings"]

_EDGE = 0.1  # of a range, at either end


@dataclass(frozen=True)
class Tuning:
    """The search for one arm's options on one task.

    Attributes:
        task: Name of the task.
        arm: Name of the arm.
        metric: What the values are.
        ranges: Where each option was searched.
        settings: What was tried, K settings in the order of the design.
        values: Final value on the held-out examples, the metric's worst for a run that diverged,
            shape (blocks, K).
        diverged: Share of the runs that diverged [1].
    """

    task: str
    arm: str
    metric: Metric
    ranges: dict[str, Range]
    settings: tuple[Setting, ...]
    values: np.ndarray
    diverged: float

    @cached_property
    def best(self) -> int:
        """Number of the setting with the best mean over the blocks; of equal ones the first."""
        return int(np.argmax(self.metric.sign * self.values.mean(axis=0)))

    @property
    def chosen(self) -> Setting:
        """The options of the best setting."""
        return self.settings[self.best]

    @property
    def at_boundary(self) -> tuple[str, ...]:
        """Names of the options whose best value lies within a tenth of an end of its range."""
        places = {name: r.place_of(self.chosen[name]) for name, r in self.ranges.items()}
        return tuple(n for n, place in places.items() if not _EDGE <= place <= 1 - _EDGE)

    @property
    def curves(self) -> np.ndarray:
        """The value of what would have been chosen after each setting, shape (blocks, K).

        The choice is the one that the mean over the blocks makes, as in `best`.
        """
        means = self.metric.sign * self.values.mean(axis=0)
        so_far = [int(np.argmax(means[: k + 1])) for k in range(len(means))]
        return self.values[:, so_far]


def tunings(study: StudySpec, records: Sequence[Record]) -> dict[tuple[str, str], Tuning]:
    """Return the searches that are finished, by task and arm.

    Args:
        study: The study.
        records: Its records; only those of tuning blocks are looked at.
    """
    if study.tuning is None:
        return {}
    metric = METRICS[study.metric]
    found: dict[tuple[str, str], dict[tuple[int, int], Record]] = {}
    for record in records:
        if record.role == "tuning":
            place = record.block, record.spec["setting"]
            found.setdefault((record.task, record.arm), {})[place] = record
    searches = {}
    for task in study.tasks:
        budget = study.budget_of(task)
        for arm in study.arms if budget > 1 else ():
            runs = found.get((task, arm), {})
            places = [[(b, k) for k in range(budget)] for b in range(study.tuning.blocks)]
            if any(place not in runs for row in places for place in row):
                continue
            values = [
                [final_value(runs[place], study.metric, study.metric_epochs) for place in row]
                for row in places
            ]
            ranges = ranges_of(study, arm)
            tried = [runs[place].spec["optimizer"]["options"] for place in places[0]]
            searches[task, arm] = Tuning(
                task=task,
                arm=arm,
                metric=metric,
                ranges=ranges,
                settings=tuple({name: options[name] for name in ranges} for options in tried),
                values=np.array(values),
                diverged=sum(r.status == "diverged" for r in runs.values()) / len(runs),
            )
    return searches


def chosen_settings(
    study: StudySpec, records: Sequence[Record]
) -> dict[tuple[str, str], Setting] | None:
    """Return the options chosen for each tuned task and arm; None before all are tuned."""
    searches = tunings(study, records)
    tuned = [task for task in study.tasks if study.budget_of(task) > 1]
    if len(searches) < len(tuned) * len(study.arms):
        return None
    return {place: search.chosen for place, search in searches.items()}
