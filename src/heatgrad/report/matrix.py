"""The verdict matrix: every arm on every task, at a glance."""

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
    """One arm on one task.

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
    """One arm on all tasks.

    Attributes:
        arm: Name of the arm.
        role: `"confirmatory"`, `"exploratory"` or `"control"`.
        color: The arm's colour.
        cells: One for each task of the matrix.
    """

    arm: str
    role: str
    color: str
    cells: tuple[MatrixCell, ...]


@dataclass(frozen=True)
class Matrix:
    """The verdicts of one regime.

    Attributes:
        regime: Name of the regime.
        tasks: Names of the tasks, each with the id of its part of the page.
        rows: The arms, in the study's order.
    """

    regime: str
    tasks: tuple[tuple[str, str], ...]
    rows: tuple[MatrixRow, ...]


def verdict_matrices(
    study: StudySpec, verdicts: Sequence[Verdict], anchors: Mapping[str, str]
) -> list[Matrix]:
    """Return one matrix a regime, "as published" first; none where it would be a single column.

    Args:
        study: The study.
        verdicts: All of it.
        anchors: By task that has records, the id of its part of the page.
    """
    regimes, styles = regimes_of(verdicts), arm_styles(study)
    if not verdicts or (len(anchors) < 2 and len(regimes) < 2):
        return []
    matrices = []
    for regime in regimes:
        by_place = {
            (verdict.question.arm, verdict.question.task): _cell(verdict)
            for verdict in verdicts
            if verdict.question.regime == regime
        }
        shown = {arm for arm, _ in by_place}
        rows = tuple(
            MatrixRow(
                arm,
                study.role_of(arm),
                styles[arm].color,
                tuple(by_place.get((arm, task), MatrixCell()) for task in anchors),
            )
            for arm in study.arms
            if arm in shown
        )
        matrices.append(Matrix(regime, tuple(anchors.items()), rows))
    return matrices


def _cell(verdict: Verdict) -> MatrixCell:
    comparison, question = verdict.comparison, verdict.question
    shown = verdict.spread if comparison is None else (comparison.mean,)
    numbers = [
        show_difference(value, question.metric, question.num_blocks, unit=False) for value in shown
    ]
    return MatrixCell(verdict.word, " to ".join(dict.fromkeys(numbers)), verdict.sentence)
