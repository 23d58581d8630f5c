"""What a study measured of the loss landscape, and how its arms compare."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from heatgrad.study.geometry import Measurement, measurements
from heatgrad.study.geometry_kinds import KINDS
from heatgrad.study.question import AS_PUBLISHED
from heatgrad.study.spec import StudySpec
from heatgrad.study.store import Measured, Record
from heatgrad.study.verdict import Question, Verdict, judge_all

__all__ = ["Geometry"]

Place = tuple[str, str, str]  # regime, task, arm


@dataclass(frozen=True)
class Geometry:
    """What a study measured around the ends of its trials.

    Attributes:
        study: The specification.
        records: The reported trials.
        measured: What is stored, by key.
    """

    study: StudySpec
    records: tuple[Record, ...]
    measured: Mapping[str, Measured]

    @property
    def num_planned(self) -> int:
        """Number of measurements of the trials that are there."""
        return len(self._planned)

    @property
    def num_missing(self) -> int:
        """Number of those that are not stored yet."""
        return sum(m.key not in self.measured for m in self._planned)

    def found(self, name: str, task: str, arm: str, regime: str = AS_PUBLISHED) -> dict[int, Any]:
        """Return what a measurement found, by block."""
        return self._by_place.get(name, {}).get((regime, task, arm), {})

    def values(
        self, name: str, task: str, arm: str, regime: str = AS_PUBLISHED
    ) -> dict[int, float]:
        """Return the number that arms are compared by, by block.

        The worst value stands for a run that diverged or whose path leads to one that did, and
        for what is not finite.
        """
        spec = self.study.geometry[name]
        worst = spec.metric.worst
        values = {}
        for block, found in self.found(name, task, arm, regime).items():
            value = found[spec.of if spec.kind == "spectrum" else "value"]
            values[block] = worst if value is None else float(value)
        diverged = set(self._diverged.get((regime, task, arm), ()))
        if KINDS[spec.kind].is_path:
            end = spec.to or self.study.baseline
            lost = self._diverged.get((regime, task, end), set())
            diverged |= lost & self._finished.get((regime, task, arm), set())
        return values | {b: worst for b in diverged if spec.blocks is None or b < spec.blocks}

    def verdicts(self, name: str) -> list[Verdict]:
        """Return the verdict on every arm by one measurement, regime by regime, task by task.

        Less is better. Arms are exploratory: the study's family is that of its primary metric.
        """
        questions = []
        for regime in self.study.regimes:
            for task in self.study.tasks:
                for arm in self.study.arms:
                    question = self._question(name, task, arm, regime)
                    if question is not None:
                        questions.append(question)
        return judge_all(questions)

    def _question(self, name: str, task: str, arm: str, regime: str) -> Question | None:
        study, spec = self.study, self.study.geometry[name]
        if arm == study.baseline or spec.margin is None:
            return None
        controls = study.controls_of(arm)
        by_arm = {
            other: self.values(name, task, other, regime)
            for other in (arm, study.baseline, *controls)
        }
        blocks = sorted(set.intersection(*(set(values) for values in by_arm.values())))
        if not blocks:
            return None
        diverged = self._diverged.get((regime, task, arm), ())
        own = study.arms[arm]
        return Question(
            task=task,
            arm=arm,
            baseline=study.baseline,
            role="control" if own.control_of is not None else "exploratory",
            metric=spec.metric,
            margin=spec.margin,
            values=tuple(by_arm[arm][b] for b in blocks),
            baseline_values=tuple(by_arm[study.baseline][b] for b in blocks),
            controls={control: tuple(by_arm[control][b] for b in blocks) for control in controls},
            needs_control="diffusion" in own.options and own.control_of is None,
            ceiling=None,
            diverged=sum(block in diverged for block in blocks),
            max_diverged=study.max_diverged,
            regime=regime,
            budget=None,
        )

    @cached_property
    def _planned(self) -> list[Measurement]:
        return measurements(self.study, self.records)

    @cached_property
    def _by_place(self) -> dict[str, dict[Place, dict[int, Any]]]:
        found: dict[str, dict[Place, dict[int, Any]]] = {}
        for m in self._planned:
            if m.key in self.measured:
                place = m.trial.regime, m.trial.task_name, m.trial.arm_name
                of_place = found.setdefault(m.name, {}).setdefault(place, {})
                of_place[m.trial.block] = self.measured[m.key].value
        return found

    @cached_property
    def _diverged(self) -> dict[Place, set[int]]:
        return self._blocks("diverged")

    @cached_property
    def _finished(self) -> dict[Place, set[int]]:
        return self._blocks("finished")

    def _blocks(self, status: str) -> dict[Place, set[int]]:
        found: dict[Place, set[int]] = {}
        for r in self.records:
            if r.status == status:
                place = r.spec.get("regime", AS_PUBLISHED), r.task, r.arm
                found.setdefault(place, set()).add(r.block)
        return found
