"""The results of a study: its records, its table, its verdicts."""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from heatgrad.core.spec import canonical_json
from heatgrad.study.spec import METRICS, StudySpec
from heatgrad.study.store import Record, Store
from heatgrad.study.trial import CURVES
from heatgrad.study.verdict import Question, Verdict, judge_all

__all__ = ["Results", "final_value"]


@dataclass(frozen=True)
class Results:
    """Everything that figures, tables and verdicts are made from.

    Attributes:
        study: The specification.
        records: The stored trials of its plan, by task and arm in the study's order, by block;
            of those that were run again under a newer protocol, the newest.
        num_planned: Number of trials of the whole study.
    """

    study: StudySpec
    records: tuple[Record, ...]
    num_planned: int

    @classmethod
    def load(cls, place: str | Path) -> "Results":
        """Return the results stored in a folder, or in a database by its URL.

        Raises:
            StoreError: If there is no store that can be read.
        """
        store = Store.open(place)
        try:
            study = store.study
            newest: dict[tuple[str, str, int], Record] = {}
            for record in sorted(store.records(), key=lambda r: r.stored_at):
                newest[record.task, record.arm, record.block] = record
        finally:
            store.close()
        records = [
            newest[task, arm, block]
            for task in study.tasks
            for arm in study.arms
            for block in range(study.blocks_of(task))
            if (task, arm, block) in newest
        ]
        return cls(study, tuple(records), study.num_trials)

    @property
    def num_missing(self) -> int:
        """Number of planned trials that are not stored yet."""
        return self.num_planned - len(self.records)

    def select(self, task: str, arm: str) -> list[Record]:
        """Return the records of one arm on one task, by block."""
        return [r for r in self.records if r.task == task and r.arm == arm]

    def values(self, task: str, arm: str, metric: str | None = None) -> dict[int, float]:
        """Return the final value of a metric by block; a diverged run has the worst value."""
        name = metric or self.study.metric
        return {record.block: final_value(record, name) for record in self.select(task, arm)}

    def table(self) -> list[dict[str, Any]]:
        """Return one row per task and arm: number of runs, medians and quartiles, cost.

        Values are those after the last epoch. `seconds` is the median training time of a run.
        """
        rows = []
        for task in self.study.tasks:
            for arm in self.study.arms:
                records = self.select(task, arm)
                if not records:
                    continue
                row: dict[str, Any] = {
                    "task": task,
                    "arm": arm,
                    "n": len(records),
                    "diverged": sum(r.status == "diverged" for r in records),
                }
                for metric in METRICS:
                    values = [final_value(r, metric) for r in records]
                    quartiles = np.percentile(values, [25, 50, 75])
                    row[metric] = float(quartiles[1])
                    row[f"{metric}_q1"] = float(quartiles[0])
                    row[f"{metric}_q3"] = float(quartiles[2])
                    row[f"{metric}_min"] = min(values)
                    row[f"{metric}_max"] = max(values)
                row["seconds"] = float(np.median([_training_seconds(r) for r in records]))
                rows.append(row)
        return rows

    def verdicts(self) -> list[Verdict]:
        """Return the verdict on every arm but the baseline, task by task.

        Only blocks that the arm, its baseline and its controls have all finished are used.
        """
        questions = []
        for task in self.study.tasks:
            aa_failed = not self._repeats(task)
            for arm in self.study.arms:
                question = self._question(task, arm, aa_failed=aa_failed)
                if question is not None:
                    questions.append(question)
        return judge_all(questions)

    def export_csv(self, path: str | Path) -> int:
        """Write one line per trial and epoch; return the number of lines.

        Args:
            path: The file to write; it must not exist.

        Raises:
            FileExistsError: If the file is there already.
        """
        columns = ("task", "arm", "block", "seed", "status", "epoch", *CURVES)
        count = 0
        with open(path, "x", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(columns)
            for r in self.records:
                for epoch in range(len(r.curves["lr"])):
                    values = [r.curves[name][epoch] for name in CURVES]
                    head = (r.task, r.arm, r.block, r.spec["seed"], r.status, epoch + 1)
                    writer.writerow([*head, *("" if v is None else v for v in values)])
                    count += 1
        return count

    def _question(self, task: str, arm: str, *, aa_failed: bool) -> Question | None:
        study = self.study
        if arm == study.baseline:
            return None
        controls = study.controls_of(arm)
        by_arm = {name: self.values(task, name) for name in (arm, study.baseline, *controls)}
        blocks = sorted(set.intersection(*(set(values) for values in by_arm.values())))
        if not blocks:
            return None
        spec = study.arms[arm]
        records = [r for r in self.select(task, arm) if r.block in blocks]
        return Question(
            task=task,
            arm=arm,
            baseline=study.baseline,
            role=study.role_of(arm),
            metric=METRICS[study.metric],
            margin=study.margin,
            values=tuple(by_arm[arm][b] for b in blocks),
            baseline_values=tuple(by_arm[study.baseline][b] for b in blocks),
            controls={name: tuple(by_arm[name][b] for b in blocks) for name in controls},
            needs_control="diffusion" in spec.options and spec.control_of is None,
            ceiling=_of_metric([r.ceiling for r in records], study.metric),
            diverged=sum(r.status == "diverged" for r in records),
            chance=_of_metric([r.chance for r in records], study.metric),
            max_diverged=study.max_diverged,
            aa_failed=aa_failed,
            fixed=_fixed(records[0]),
            family_size=max(1, study.family_size),
        )

    def _repeats(self, task: str) -> bool:
        """Whether arms with the same options, as an A/A control has, gave the same curves."""
        groups: dict[str, list[str]] = {}
        for name, spec in self.study.arms.items():
            groups.setdefault(canonical_json([spec.kind, spec.options]), []).append(name)
        for names in groups.values():
            curves: dict[int, dict[str, list[float | None]]] = {}
            for name in names if len(names) > 1 else ():
                for record in self.select(task, name):
                    seen = {k: v for k, v in record.curves.items() if k != "seconds"}
                    if curves.setdefault(record.block, seen) != seen:
                        return False
        return True


def final_value(record: Record, metric: str) -> float:
    """Return a metric after the last epoch, or its worst value if the run diverged.

    A finite value that is worse still is ranked with the diverged ones.
    """
    value, scale = record.curves[metric][-1], METRICS[metric]
    if record.status == "diverged" or value is None:
        return scale.worst
    return scale.sign * max(scale.sign * value, scale.sign * scale.worst)


def _of_metric(levels: list[dict[str, float] | None], metric: str) -> tuple[float, ...] | None:
    """Return a level of each block, or None if it is not known in all."""
    values = [level.get(metric) if level else None for level in levels]
    known = tuple(value for value in values if value is not None)
    return known if len(known) == len(values) else None


def _fixed(record: Record) -> tuple[str, ...]:
    """Return the options of a trial that its result may hang on, in words."""
    spec = record.spec
    return (
        f"lr {spec['optimizer']['options']['lr']:g}",
        f"batch size {spec['batch_size']}",
        f"{spec['epochs']} epochs",
        f"{spec['schedule']['kind']} schedule",
        str(spec["model"]["kind"]),
    )


def _training_seconds(record: Record) -> float:
    return sum(value or 0.0 for value in record.curves["seconds"])
