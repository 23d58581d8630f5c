"""Is the path of training smoother? The recorded measures, arm by arm."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from heatgrad.report.rows import Cell
from heatgrad.report.style import arm_styles
from heatgrad.study import Record, Results
from heatgrad.study.finals import is_whole
from heatgrad.study.question import AS_PUBLISHED
from heatgrad.study.statistics import path_over_chord

__all__ = ["PathRow", "path_rows"]


@dataclass(frozen=True)
class PathRow:
    """How smoothly one arm trained: medians over its runs that did not diverge.

    Attributes:
        arm: Name of the arm.
        color: The arm's colour.
        is_control: Whether it is a control.
        variation: Total variation of the gradient norm in an epoch, over its mean.
        roughness: Share of high-frequency energy in the gradient, by the Laplacian's symbol.
        cosine: Cosine of two successive gradients.
        detour: Length of the path, epoch by epoch, over its chord.
    """

    arm: str
    color: str
    is_control: bool
    variation: Cell
    roughness: Cell
    cosine: Cell
    detour: Cell


def path_rows(results: Results, task: str, *, regime: str = AS_PUBLISHED) -> list[PathRow]:
    """Return one row for each arm whose runs have recorded their paths.

    The first three are means over the epochs of a run; then the median over runs is taken.

    Args:
        results: Of the study.
        task: Name of the task.
        regime: Name of the regime.
    """
    study, styles = results.study, arm_styles(results.study)
    rows = []
    for arm in study.arms:
        runs = [
            record
            for record in results.select(task, arm, regime)
            if record.status == "finished"
            and is_whole(record)
            and len(record.curves.get("chord", ())) > 1
        ]
        if not runs:
            continue
        rows.append(
            PathRow(
                arm=arm,
                color=styles[arm].color,
                is_control=study.arms[arm].control_of is not None,
                variation=_median(runs, _mean_of("grad_tv"), 3),
                roughness=_median(runs, _mean_of("roughness"), 4),
                cosine=_median(runs, _mean_of("successive_cosine"), 3),
                detour=_median(runs, _detour, 2),
            )
        )
    return rows


def _median(runs: Sequence[Record], measure: Callable[[Record], float | None], digits: int) -> Cell:
    found = [value for value in map(measure, runs) if value is not None]
    if not found:
        return Cell()
    middle = statistics.median(found)
    return Cell(f"{middle:.{digits}f}", middle)


def _mean_of(curve: str) -> Callable[[Record], float | None]:
    def mean(record: Record) -> float | None:
        known = [value for value in record.curves[curve] if value is not None]
        return statistics.fmean(known) if known else None

    return mean


def _detour(record: Record) -> float | None:
    steps, chord = record.curves["step_length"], record.curves["chord"][-1]
    if chord is None or chord == 0 or None in steps:
        return None
    return float(path_over_chord(np.array(steps, dtype=np.float64), chord))
