"""The lines of a verdict table, in words and with the numbers that they are sorted by."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from heatgrad.report.style import arm_styles
from heatgrad.study import METRICS, Results, Verdict
from heatgrad.study.captions import show_adjusted
from heatgrad.study.metric import Metric
from heatgrad.study.question import AS_PUBLISHED
from heatgrad.study.wording import show_difference, show_p, show_value

__all__ = ["EMPTY", "Cell", "Row", "regimes_of", "silent", "verdict_rows", "worded"]


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes:
        text: What is read.
        key: What it is sorted by; None (last, whatever the direction) where it has no number.
    """

    text: str = ""
    key: float | None = None


EMPTY = Cell()


@dataclass(frozen=True)
class Row:
    """A line of a verdict table, worded.

    Attributes:
        arm: Name of the arm.
        role: `"baseline"`, `"confirmatory"`, `"exploratory"`, `"control"` or `"unfinished"`.
        color: The arm's colour.
        word: The verdict.
        sentence: Its reason.
        value: Median final value of the primary metric; of a measure of the landscape the mean.
        difference: Mean paired difference from the baseline.
        interval: Its interval, or the range of the differences.
        p: Its p value.
        adjusted: The p value of what the word claims, adjusted; or a q value.
        n: Number of matched runs.
        clean: Median accuracy on clean labels.
        seconds: Median training time of a run.
    """

    arm: str
    role: str
    color: str
    word: str
    sentence: str
    value: Cell
    difference: Cell
    interval: Cell
    p: Cell
    adjusted: str
    n: Cell
    clean: Cell = EMPTY
    seconds: Cell = EMPTY


def regimes_of(verdicts: Sequence[Verdict]) -> list[str]:
    """Return the regimes of some verdicts, "as published" first.

    Example:
        >>> regimes_of([])
        ['as published']
    """
    found = dict.fromkeys(verdict.question.regime for verdict in verdicts) or {AS_PUBLISHED: None}
    return sorted(found, key=lambda regime: regime != AS_PUBLISHED)


def verdict_rows(
    results: Results, task: str, verdicts: Sequence[Verdict], *, regime: str = AS_PUBLISHED
) -> list[Row]:
    """Return the lines of one task under one regime, in the study's order.

    Args:
        results: Of the study.
        task: Name of the task.
        verdicts: Of this task and regime.
        regime: Name of the regime.
    """
    by_arm = {verdict.question.arm: verdict for verdict in verdicts}
    styles, study = arm_styles(results.study), results.study
    rows = []
    for line in results.table(regime, task):
        arm = line["arm"]
        said = by_arm.get(arm)
        words = silent(arm == study.baseline, line["n"]) if said is None else worded(said)
        medians: dict[str, Any] = _recorded(line, METRICS[study.metric])
        rows.append(Row(arm=arm, color=styles[arm].color, **medians, **words))
    return rows


def _recorded(line: Mapping[str, Any], metric: Metric) -> dict[str, Cell]:
    name = next(name for name, known in METRICS.items() if known is metric)
    clean = line["test_accuracy_clean"]
    return {
        "value": Cell(show_value(line[name], metric), line[name]),
        "clean": Cell(f"{100 * clean:.2f} %", clean),
        "seconds": EMPTY
        if math.isnan(line["seconds"])
        else Cell(f"{line['seconds']:.1f} s", line["seconds"]),
    }


def silent(is_baseline: bool, n: int) -> dict[str, Any]:
    """Return what stands in the cells of a line without a verdict."""
    return {
        "role": "baseline" if is_baseline else "unfinished",
        "word": "baseline" if is_baseline else "NO VERDICT",
        "sentence": "What the others are compared with."
        if is_baseline
        else "No block is finished in this arm, its baseline and its controls yet.",
        "difference": EMPTY,
        "interval": EMPTY,
        "p": EMPTY,
        "adjusted": "",
        "n": Cell(str(n), n),
    }


def worded(verdict: Verdict) -> dict[str, Any]:
    """Return what a verdict says in the cells of a line."""
    comparison, metric = verdict.comparison, verdict.question.metric
    low, high = verdict.spread if comparison is None else (comparison.low, comparison.high)
    n = verdict.question.num_blocks
    ends = " to ".join(show_difference(end, metric, n, unit=False) for end in (low, high))
    return {
        "role": verdict.question.role,
        "word": verdict.word,
        "sentence": verdict.sentence,
        "difference": EMPTY
        if comparison is None
        else Cell(show_difference(comparison.mean, metric, n, unit=False), comparison.mean),
        "interval": Cell(f"{ends} (range)" if comparison is None else ends, low),
        "p": EMPTY if comparison is None else Cell(show_p(comparison.p), comparison.p),
        "adjusted": "" if comparison is None else show_adjusted(verdict).removeprefix("-"),
        "n": Cell(str(n), n),
    }
