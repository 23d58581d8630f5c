"""The verdict matrix: every arm on every task, or in every regime, at a glance."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from heatgrad.report.rows import regimes_of
from heatgrad.report.style import arm_styles
from heatgrad.study import Verdict
from heatgrad.study.spec import StudySpec
from heatgrad.study.wording import show_difference

__all__ = ["Matrix", "MatrixCell", "MatrixRow", "verdict_matrices"]


@dataclass(frozen=True)
class MatrixCell:
    """One arm in one column.

    Attributes:
        word: The verdict, or empty where no block is finished yet.
        difference: Mean paired difference; the range where there are too few runs for a mean.
        sentence: The reason of the word.
    """

    word: str = ""
    difference: str = ""
    sentence: str = ""


@dataclass(frozen=True)
class MatrixRow:
    """One arm in all columns.

    Attributes:
        arm: Name of the arm.
        role: `"confirmatory"`, `"exploratory"` or `"control"`.
        color: The arm's colour.
        cells: One for each column of the matrix.
    """

    arm: str
    role: str
    color: str
    cells: tuple[MatrixCell, ...]


@dataclass(frozen=True)
class Matrix:
    """The verdicts of one regime, or on one task.

    Attributes:
        title: What the verdicts have in common: the regime, or the task.
        columns: Names of the tasks, or regimes, each with the id of its part of the page.
        rows: The arms, in the study's order.
    """

    title: str
    columns: tuple[tuple[str, str], ...]
    rows: tuple[MatrixRow, ...]


def verdict_matrices(
    study: StudySpec, verdicts: Sequence[Verdict], anchors: Mapping[str, str]
) -> list[Matrix]:
    """Return one matrix a regime, "as published" first; of a single task one of all regimes.

    There is none where it would be a single column.

    Args:
        study: The study.
        verdicts: All of it.
        anchors: By task that has records, the id of its part of the page.
    """
    regimes = regimes_of(verdicts)
    if not verdicts or (len(anchors) < 2 and len(regimes) < 2):
        return []
    if len(anchors) == 1:
        ((task, anchor),) = anchors.items()
        return [_matrix(study, verdicts, task, {r: (task, r, anchor) for r in regimes})]
    return [
        _matrix(study, verdicts, regime, {t: (t, regime, anchor) for t, anchor in anchors.items()})
        for regime in regimes
    ]


def _matrix(
    study: StudySpec,
    verdicts: Sequence[Verdict],
    title: str,
    columns: Mapping[str, tuple[str, str, str]],
) -> Matrix:
    """Return a matrix, given task, regime and anchor of each column by its name."""
    places = {(task, regime) for task, regime, _ in columns.values()}
    cells: dict[tuple[str, str, str], MatrixCell] = {}
    for verdict in verdicts:
        question = verdict.question
        if (question.task, question.regime) in places:
            cells[question.arm, question.task, question.regime] = _cell(verdict)
    shown, styles = {arm for arm, _, _ in cells}, arm_styles(study)
    rows = tuple(
        MatrixRow(
            arm,
            study.role_of(arm),
            styles[arm].color,
            tuple(cells.get((arm, task, r), MatrixCell()) for task, r, _ in columns.values()),
        )
        for arm in study.arms
        if arm in shown
    )
    return Matrix(title, tuple((name, anchor) for name, (_, _, anchor) in columns.items()), rows)


def _cell(verdict: Verdict) -> MatrixCell:
    comparison, question = verdict.comparison, verdict.question
    shown = verdict.spread if comparison is None else (comparison.mean,)
    numbers = [
        show_difference(value, question.metric, question.num_blocks, unit=False) for value in shown
    ]
    return MatrixCell(verdict.word, " to ".join(dict.fromkeys(numbers)), verdict.sentence)
