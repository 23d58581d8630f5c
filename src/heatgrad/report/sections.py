"""The parts of a study's page: from results to worded rows and their figures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from heatgrad.report.pictures import (
    Picture,
    ceilings_of,
    curves_picture,
    data_picture,
    finals_picture,
    labels_are_noisy,
)
from heatgrad.report.style import arm_styles
from heatgrad.study import METRICS, Results, Verdict
from heatgrad.study.captions import conditions, show_adjusted
from heatgrad.study.metric import Metric
from heatgrad.study.trial import Trial
from heatgrad.study.wording import listed, show_difference, show_p, show_value

__all__ = ["Row", "TaskSection", "summary", "task_sections"]


# How a verdict reads in the summary, of one arm and of several.
_SAYS = {
    "INVALID": ("cannot be compared", "cannot be compared"),
    "FLOOR": ("is at chance, as {baseline} is", "are at chance, as {baseline} is"),
    "HELPS": ("helps", "help"),
    "HELPS-NOT-BECAUSE": (
        "helps, but no more than its controls",
        "help, but no more than controls",
    ),
    "HURTS": ("hurts", "hurt"),
    "CEILING": ("has nothing to win", "have nothing to win"),
    "TRIVIAL": ("differs by less than the margin", "differ by less than the margin"),
    "EQUIVALENT": ("is equivalent to {baseline}", "are equivalent to {baseline}"),
    "INCONCLUSIVE": ("is not settled", "are not settled"),
    "NO VERDICT": ("has too few runs for a verdict", "have too few runs for a verdict"),
}


@dataclass(frozen=True)
class Row:
    """A line of a verdict table, worded.

    Attributes:
        arm: Name of the arm.
        role: `"baseline"`, `"confirmatory"`, `"exploratory"` or `"control"`.
        color: The arm's colour.
        value: Median final value of the primary metric.
        clean: Median accuracy on clean labels, or empty where no label is noisy.
        difference: Mean paired difference from the baseline.
        interval: Its interval, or the range of the differences.
        p: Its p value.
        adjusted: The p value of what the word claims, adjusted; or a q value.
        n: Number of matched runs.
        word: The verdict.
        sentence: Its reason.
        seconds: Median training time of a run.
    """

    arm: str
    role: str
    color: str
    value: str
    clean: str
    difference: str
    interval: str
    p: str
    adjusted: str
    n: str
    word: str
    sentence: str
    seconds: str


@dataclass(frozen=True)
class TaskSection:
    """All that the page says about one task.

    Attributes:
        name: Name of the task.
        anchor: Id of its heading.
        note: What the spec says about it.
        ceiling: A sentence on the best possible accuracy, or empty.
        has_clean: Whether labels are noisy, so that clean accuracy is worth a column.
        budget: A sentence on steps, batch size, learning rate.
        rows: The verdict table.
        conditions: What its verdicts hang on.
        curves: Training curves.
        finals: Final values with intervals.
        data: A picture of the data, or None if they could not be loaded.
    """

    name: str
    anchor: str
    note: str
    ceiling: str
    has_clean: bool
    budget: str
    rows: list[Row]
    conditions: str
    curves: Picture
    finals: Picture
    data: Picture | None


def summary(results: Results, verdicts: Sequence[Verdict]) -> list[tuple[str, str]]:
    """Return the name of each task, and in words which arms do what on it."""
    sentences = []
    for task in results.study.tasks:
        by_word: dict[str, list[str]] = {}
        for verdict in verdicts:
            if verdict.question.task == task and verdict.question.role != "control":
                by_word.setdefault(verdict.word, []).append(verdict.question.arm)
        parts = [
            f"{listed(arms)} {_SAYS[word][len(arms) > 1].format(baseline=results.study.baseline)}"
            for word, arms in by_word.items()
        ]
        if parts:
            sentences.append((task, "; ".join(parts) + "."))
    return sentences


def task_sections(results: Results, verdicts: Sequence[Verdict]) -> list[TaskSection]:
    """Return the section of every task that has records, in the study's order."""
    table = results.table()
    sections = []
    for number, task in enumerate(results.study.tasks):
        records = [record for record in results.records if record.task == task]
        if records:
            sections.append(
                _section(
                    results,
                    f"task-{number}",
                    trials=[Trial.model_validate(record.spec) for record in records],
                    lines=[line for line in table if line["task"] == task],
                    verdicts=[v for v in verdicts if v.question.task == task],
                )
            )
    return sections


def _section(
    results: Results,
    anchor: str,
    *,
    trials: Sequence[Trial],
    lines: Sequence[Mapping[str, Any]],
    verdicts: Sequence[Verdict],
) -> TaskSection:
    task = trials[0].task_name
    has_clean = labels_are_noisy(results, task)
    return TaskSection(
        name=task,
        anchor=anchor,
        note=results.study.tasks[task].note,
        ceiling=_ceiling_sentence(ceilings_of(results, task), has_clean),
        has_clean=has_clean,
        budget=_budget(results, trials),
        rows=_rows(results, lines, verdicts),
        conditions=conditions(verdicts),
        curves=curves_picture(results, task, f"{anchor}-curves"),
        finals=finals_picture(results, task, f"{anchor}-finals"),
        data=data_picture(trials[0], f"{anchor}-data"),
    )


def _budget(results: Results, trials: Sequence[Trial]) -> str:
    trial = trials[0]
    record = next(r for r in results.records if r.task == trial.task_name)
    rates = [f"{lr:g}" for lr in sorted({t.optimizer.options["lr"] for t in trials})]
    rate = (
        f"learning rate {rates[0]} (shared by the arms, not tuned)"
        if len(rates) == 1
        else f"learning rates {listed(rates)} (by arm, not tuned)"
    )
    return (
        f"{trial.epochs} epochs of {record.num_train:,} examples, batch size {trial.batch_size}, "
        f"{rate}, {trial.model.kind} with {record.num_parameters:,} parameters."
    )


def _rows(
    results: Results, lines: Sequence[Mapping[str, Any]], verdicts: Sequence[Verdict]
) -> list[Row]:
    study = results.study
    styles = arm_styles(study)
    metric = METRICS[study.metric]
    by_arm = {verdict.question.arm: verdict for verdict in verdicts}
    rows = []
    for line in lines:
        arm = line["arm"]
        worded: dict[str, Any] = {
            "arm": arm,
            "color": styles[arm].color,
            "value": show_value(line[study.metric], metric),
            "clean": f"{100 * line['test_accuracy_clean']:.2f} %",
            "seconds": f"{line['seconds']:.1f} s",
        }
        if arm in by_arm:
            rows.append(Row(**worded, **_worded(by_arm[arm], metric)))
        else:
            is_baseline = arm == study.baseline
            rows.append(
                Row(
                    **worded,
                    role="baseline" if is_baseline else "unfinished",
                    difference="",
                    interval="",
                    p="",
                    adjusted="",
                    n=str(line["n"]),
                    word="baseline" if is_baseline else "NO VERDICT",
                    sentence="What the others are compared with."
                    if is_baseline
                    else "No block is finished in this arm, its baseline and its controls yet.",
                )
            )
    return rows


def _worded(verdict: Verdict, metric: Metric) -> dict[str, str]:
    comparison = verdict.comparison
    low, high = verdict.spread if comparison is None else (comparison.low, comparison.high)
    n = len(verdict.question.values)
    interval = " to ".join(show_difference(end, metric, n, unit=False) for end in (low, high))
    return {
        "role": verdict.question.role,
        "difference": ""
        if comparison is None
        else show_difference(comparison.mean, metric, n, unit=False),
        "interval": f"{interval} (range)" if comparison is None else interval,
        "p": "" if comparison is None else show_p(comparison.p),
        "adjusted": "" if comparison is None else show_adjusted(verdict).removeprefix("-"),
        "n": str(n),
        "word": verdict.word,
        "sentence": verdict.sentence,
    }


def _ceiling_sentence(ceilings: Mapping[str, float], has_clean: bool) -> str:
    if not ceilings:
        return ""
    best = f"{100 * ceilings['test_accuracy']:.1f} %"
    if not has_clean:
        return f"No classifier can expect more than {best} here (Bayes-optimal accuracy)."
    clean = f"{100 * ceilings['test_accuracy_clean']:.1f} %"
    return (
        f"No classifier can expect more than {best} on the noisy test labels, or {clean} on the "
        f"clean ones (Bayes-optimal accuracy)."
    )
