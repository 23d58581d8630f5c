"""The results of a study: its records, its table, its verdicts."""

import csv
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from heatgrad.study.design import ranges_of
from heatgrad.study.finals import final_value, is_whole
from heatgrad.study.geometry_results import Geometry
from heatgrad.study.question import AS_PUBLISHED
from heatgrad.study.recipe_spec import RecipeSpec
from heatgrad.study.spec import METRICS, StudySpec
from heatgrad.study.store import Measured, Record, Store
from heatgrad.study.trial import CURVES
from heatgrad.study.tuning import Tuning, tunings
from heatgrad.study.verdict import Question, Verdict, judge_all

__all__ = ["COLUMNS", "Results", "final_value", "regime_of"]

COLUMNS = ("regime", "task", "arm", "block", "seed", "status", "epoch", *CURVES)


@dataclass(frozen=True)
class Results:
    """Everything that figures, tables and verdicts are made from.

    Attributes:
        study: The specification.
        records: The stored trials that verdicts are made of, by regime, task and arm in the
            study's order, by block; of those that were run again under a newer protocol, the
            newest.
        num_planned: Number of trials of the whole study.
        tuning_records: The stored trials of tuning blocks.
        measured: What was measured of the loss landscape around their ends, by key.
    """

    study: StudySpec
    records: tuple[Record, ...]
    num_planned: int
    tuning_records: tuple[Record, ...] = ()
    measured: Mapping[str, Measured] = field(default_factory=dict)

    @classmethod
    def load(cls, place: str | Path) -> "Results":
        """Return the results stored in a folder, or in a database by its URL.

        Raises:
            StoreError: If there is no store that can be read.
        """
        store = Store.open(place)
        try:
            study, measured = store.study, store.geometry()
            newest: dict[tuple[str, ...], Record] = {}
            for record in sorted(store.records(), key=lambda r: r.stored_at):
                newest[_place(record)] = record
        finally:
            store.close()
        arms, tasks = list(study.arms), list(study.tasks)
        kept = [r for r in newest.values() if r.task in tasks and r.arm in arms]
        kept.sort(key=lambda r: (tasks.index(r.task), arms.index(r.arm), r.block))
        reported = [
            record
            for regime in study.regimes
            for record in kept
            if record.role == "report"
            and regime_of(record) == regime
            and record.block < study.blocks_of(record.task)
        ]
        tuning = [record for record in kept if record.role == "tuning"]
        return cls(study, tuple(reported), study.num_trials, tuple(tuning), measured)

    @property
    def num_missing(self) -> int:
        """Number of planned trials that are not stored yet."""
        return self.num_planned - len(self.records) - len(self.tuning_records)

    @property
    def is_whole(self) -> bool:
        """Whether every run has its whole curves: a thin copy has their ends."""
        return all(map(is_whole, self.records))

    @cached_property
    def tunings(self) -> dict[tuple[str, str], Tuning]:
        """The finished searches for an arm's options, by task and arm."""
        return tunings(self.study, self.tuning_records)

    @cached_property
    def geometry(self) -> Geometry:
        """What was measured of the loss landscape, and its verdicts."""
        return Geometry(self.study, self.records, self.measured)

    def select(self, task: str, arm: str, regime: str = AS_PUBLISHED) -> list[Record]:
        """Return the records of one arm on one task in one regime, by block."""
        return self._by_place.get((regime, task, arm), [])

    def values(
        self, task: str, arm: str, metric: str | None = None, regime: str = AS_PUBLISHED
    ) -> dict[int, float]:
        """Return the final value of a metric by block; a diverged run has the worst value."""
        name = metric or self.study.metric
        epochs = self.study.metric_epochs
        return {r.block: final_value(r, name, epochs) for r in self.select(task, arm, regime)}

    def table(self, regime: str = AS_PUBLISHED, only: str | None = None) -> list[dict[str, Any]]:
        """Return one row per task and arm: number of runs, medians and quartiles, cost.

        Values are final ones, over the study's `metric_epochs`. `seconds` is the median training
        time of a run, NaN in a thin copy.

        Args:
            regime: How options were chosen.
            only: The one task whose rows are wanted; None for all.
        """
        rows = []
        for task in self.study.tasks if only is None else (only,):
            for arm in self.study.arms:
                records = self.select(task, arm, regime)
                if not records:
                    continue
                row: dict[str, Any] = {
                    "task": task,
                    "arm": arm,
                    "n": len(records),
                    "diverged": sum(r.status == "diverged" for r in records),
                }
                for metric in METRICS:
                    values = [final_value(r, metric, self.study.metric_epochs) for r in records]
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
        """Return the verdict on every arm but the baseline, regime by regime, task by task.

        Only blocks that the arm, its baseline and its controls have all finished are used.
        """
        questions = []
        for regime in self.study.regimes:
            for task in self.study.tasks:
                aa_failed = not self._repeats(task, regime)
                for arm in self.study.arms:
                    question = self._question(task, arm, regime, aa_failed=aa_failed)
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
        count = 0
        with open(path, "x", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            for row in self.by_epoch():
                writer.writerow(
                    {name: "" if value is None else value for name, value in row.items()}
                )
                count += 1
        return count

    def by_epoch(self) -> Iterator[dict[str, Any]]:
        """Yield one row per trial and epoch, with the columns `COLUMNS`.

        A value is None where it was not finite, or where an older record lacks the curve.
        """
        for r in self.records:
            for epoch in range(len(r.curves["lr"])):
                head = (regime_of(r), r.task, r.arm, r.block, r.spec["seed"], r.status, epoch + 1)
                curves = (r.curves.get(name) for name in CURVES)
                values = (None if curve is None else curve[epoch] for curve in curves)
                yield dict(zip(COLUMNS, (*head, *values), strict=True))

    @cached_property
    def _by_place(self) -> dict[tuple[str, str, str], list[Record]]:
        found: dict[tuple[str, str, str], list[Record]] = {}
        for record in self.records:
            found.setdefault((regime_of(record), record.task, record.arm), []).append(record)
        return found

    def _question(self, task: str, arm: str, regime: str, *, aa_failed: bool) -> Question | None:
        study = self.study
        if arm == study.baseline:
            return None
        controls = study.controls_of(arm)
        compared = (arm, study.baseline, *controls)
        by_arm = {name: self.values(task, name, regime=regime) for name in compared}
        blocks = sorted(set.intersection(*(set(values) for values in by_arm.values())))
        if not blocks:
            return None
        spec = study.arms[arm]
        records = [r for r in self.select(task, arm, regime) if r.block in blocks]
        options = records[0].spec["optimizer"]["options"]
        tuned = [] if regime == AS_PUBLISHED else sorted(ranges_of(study, arm))
        return Question(
            task=task,
            arm=arm,
            baseline=study.baseline,
            role=study.role_of(arm),
            metric=METRICS[study.metric].shown_for(study.margin),
            margin=study.margin,
            values=tuple(by_arm[arm][b] for b in blocks),
            baseline_values=tuple(by_arm[study.baseline][b] for b in blocks),
            controls={name: tuple(by_arm[name][b] for b in blocks) for name in controls},
            needs_control="diffusion" in spec.options and spec.control_of is None,
            ceiling=_of_metric([r.ceiling for r in records], study.metric),
            diverged=sum(r.status == "diverged" for r in records),
            chance=_of_metric([r.chance for r in records], study.metric),
            max_diverged=study.max_diverged,
            search_boundary=self._at_boundary(task, compared, regime),
            aa_failed=aa_failed,
            regime=regime,
            budget=study.budget_of(task) if tuned else 1,
            fixed=_fixed(records[0], tuned, study.metric_epochs),
            tuned=tuple(f"{name} {options[name]:g}" for name in tuned),
            family_size=max(1, study.family_size_of(regime)),
        )

    def _at_boundary(self, task: str, arms: Sequence[str], regime: str) -> tuple[str, ...]:
        if regime == AS_PUBLISHED:
            return ()
        searches = [self.tunings[task, arm] for arm in arms if (task, arm) in self.tunings]
        return tuple(f"{name} of {s.arm}" for s in searches for name in s.at_boundary)

    def _repeats(self, task: str, regime: str) -> bool:
        """Whether arms with the same options, as an A/A control has, gave the same curves."""
        groups: dict[str, list[str]] = {}
        for name in self.study.arms:
            groups.setdefault(self.study.likeness_of(name), []).append(name)
        for names in groups.values():
            curves: dict[tuple[Any, ...], dict[str, list[float | None]]] = {}
            for name in names if len(names) > 1 else ():
                for record in self.select(task, name, regime):
                    seen = {k: v for k, v in record.curves.items() if k != "seconds"}
                    # Older records lack the newer curves.
                    same = record.block, record.spec.get("protocol"), len(seen)
                    if curves.setdefault(same, seen) != seen:
                        return False
        return True


def regime_of(record: Record) -> str:
    """Return how the options of a stored trial were chosen."""
    regime: str = record.spec.get("regime", AS_PUBLISHED)
    return regime


def _of_metric(levels: list[dict[str, float] | None], metric: str) -> tuple[float, ...] | None:
    """Return a level of each block, or None if it is not known in all."""
    values = [level.get(metric) if level else None for level in levels]
    known = tuple(value for value in values if value is not None)
    return known if len(known) == len(values) else None


def _place(record: Record) -> tuple[str, ...]:
    """Return what a record is one of, whatever the protocol."""
    setting = str(record.spec.get("setting"))
    return record.role, regime_of(record), record.task, record.arm, str(record.block), setting


def _fixed(record: Record, tuned: Sequence[str], averaged: int) -> tuple[str, ...]:
    """Return the options of a trial that its result may hang on and that were set, in words."""
    spec = record.spec
    return (
        *([] if "lr" in tuned else [f"lr {spec['optimizer']['options']['lr']:g}"]),
        f"batch size {spec['batch_size']}",
        f"{spec['epochs']} epochs{f' (mean of the last {averaged})' if averaged > 1 else ''}",
        f"{spec['schedule']['kind']} schedule",
        str(spec["model"]["kind"]),
        *RecipeSpec.model_validate(spec.get("recipe", {})).words,
    )


def _training_seconds(record: Record) -> float:
    """Return the training time of a run; NaN where only its last epoch is there."""
    if not is_whole(record):
        return math.nan
    return sum(value or 0.0 for value in record.curves["seconds"])
