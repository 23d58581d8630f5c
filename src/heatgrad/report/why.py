"""Why an arm differs: what it does to the gradient, and how far it leads its controls."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from heatgrad.report.rows import EMPTY, Cell
from heatgrad.report.style import arm_styles
from heatgrad.study import Record, Results, Verdict, compare_paired
from heatgrad.study.finals import is_whole
from heatgrad.study.question import AS_PUBLISHED, MIN_BLOCKS, Question
from heatgrad.study.spec import ArmSpec
from heatgrad.study.wording import show_difference

__all__ = ["Why", "WhyRow", "change_of_gradient", "lead_over", "why_on"]

# What a control keeps of its arm; `study` names its kind.
_KEEPS = {
    "NormMatchedSGD": "the length of the diffused step",
    "LRMatchedSGD": "the learning rate that fits the length of its steps",
    "PlaceboDiffusionSGD": "mixing of random partners",
    "NormMatchedPlaceboSGD": "mixing of random partners, at the same length,",
    "LayoutDiffusionSGD": "smoothing along the other memory layout",
}
_NOTHING = "what it keeps of its arm"


@dataclass(frozen=True)
class WhyRow:
    """A line: an arm that changes its gradient, or a control of the arm above it.

    Attributes:
        arm: Name of the arm.
        color: Its colour.
        is_control: Whether it is a control.
        ratio: Norm of the gradient that is followed over the plain one.
        cosine: Cosine of the angle between the two.
        angle: That angle, in degrees.
        lead: Mean paired difference of the controlled arm from this control.
        interval: Its 95 % sign-flip interval, or range.
        reading: What follows.
    """

    arm: str
    color: str
    is_control: bool
    ratio: Cell
    cosine: Cell
    angle: Cell
    lead: Cell = EMPTY
    interval: Cell = EMPTY
    reading: str = ""


@dataclass(frozen=True)
class Why:
    """What there is to say about one task under one regime.

    Attributes:
        task: Name of the task.
        regime: Name of the regime.
        sentences: In words, one for each arm that has controls.
        rows: The numbers.
    """

    task: str
    regime: str
    sentences: tuple[str, ...]
    rows: tuple[WhyRow, ...]


def change_of_gradient(records: Sequence[Record]) -> tuple[float, float] | None:
    """Return the norm ratio and the cosine: mean over epochs, then median over runs.

    None where no run has recorded them in all of its epochs.
    """
    found = []
    for name in ("diffusion_ratio", "diffusion_cosine"):
        whole = filter(is_whole, records)
        curves = [[v for v in r.curves.get(name, ()) if v is not None] for r in whole]
        means = [statistics.fmean(curve) for curve in curves if curve]
        if not means:
            return None
        found.append(statistics.median(means))
    return found[0], found[1]


def lead_over(question: Question, control: str, keeps: str) -> tuple[Cell, Cell, str]:
    """Return an arm's mean lead over a control, its interval, and what follows.

    Args:
        question: The question about the arm; it holds the values of its controls.
        control: Name of the control.
        keeps: What the control keeps of the arm, as the subject of a sentence.
    """
    q, metric, n = question, question.metric, question.num_blocks
    values, others = (metric.sign * np.array(v) for v in (q.values, q.controls[control]))
    if n < MIN_BLOCKS:
        low, high = float((values - others).min()), float((values - others).max())
        mean = EMPTY
    else:
        found = compare_paired(values, others, margin=q.margin, resolution=metric.resolution)
        low, high = found.low, found.high
        mean = Cell(show_difference(found.mean, metric, n, unit=False), found.mean)
    ends = " to ".join(show_difference(end, metric, n, unit=False) for end in (low, high))
    if n < MIN_BLOCKS:
        return mean, Cell(f"{ends} (range)", low), f"fewer than {MIN_BLOCKS} runs, no reading"
    if metric.worst in q.controls[control] or metric.worst in q.values:
        return mean, Cell(ends, low), "runs diverged and rank worst, no reading"
    if low > q.margin:
        reading = f"beyond the margin; {keeps} is not the whole reason"
    elif high < -q.margin:
        reading = "the control is better, by more than the margin"
    elif -q.margin < low and high < q.margin:
        reading = f"within the margin; {keeps} does as well"
    elif high <= q.margin:
        reading = f"at most the margin; {keeps} does as well"
    else:
        reading = "not settled by these runs"
    return mean, Cell(ends, low), reading


def why_on(
    results: Results, task: str, verdicts: Sequence[Verdict], *, regime: str = AS_PUBLISHED
) -> Why | None:
    """Return what the probes and the controls say on a task; None where they say nothing.

    Args:
        results: Of the study.
        task: Name of the task.
        verdicts: On this task, under this regime.
        regime: Name of the regime.
    """
    study, styles = results.study, arm_styles(results.study)
    by_arm = {verdict.question.arm: verdict.question for verdict in verdicts}
    rows: list[WhyRow] = []
    sentences = []
    for arm in study.arms:
        if study.arms[arm].control_of is not None:
            continue
        changed = _changed(results, task, arm, regime)
        judged = by_arm[arm].controls if arm in by_arm else {}
        controls = [
            name
            for name in study.controls_of(arm)
            if name in judged or results.select(task, name, regime)
        ]
        is_plain = changed is None or max(abs(1 - changed[0]), abs(1 - changed[1])) < 1e-6
        if is_plain and not controls:
            continue
        rows.append(WhyRow(arm, styles[arm].color, False, *_shown(changed)))
        parts = [] if is_plain or changed is None else [_in_words(arm, *changed)]
        for name in controls:
            cells = _shown(_changed(results, task, name, regime))
            row = WhyRow(name, styles[name].color, True, *cells)
            if arm in by_arm and name in by_arm[arm].controls:
                keeps = _keeps(study.arms[arm], study.arms[name])
                lead, interval, reading = lead_over(by_arm[arm], name, keeps)
                row = WhyRow(name, styles[name].color, True, *cells, lead, interval, reading)
                parts.append(_against(arm, row, by_arm[arm]))
            rows.append(row)
        if controls and parts:
            sentences.append(" ".join(parts))
    return Why(task, regime, tuple(sentences), tuple(rows)) if rows else None


def _keeps(arm: ArmSpec, control: ArmSpec) -> str:
    if (arm.kind, arm.options) == (control.kind, control.options):
        return "the same arm once more"
    return _KEEPS.get(control.kind, _NOTHING)


def _changed(results: Results, task: str, arm: str, regime: str) -> tuple[float, float] | None:
    return change_of_gradient(results.select(task, arm, regime))


def _shown(changed: tuple[float, float] | None) -> tuple[Cell, Cell, Cell]:
    if changed is None:
        return EMPTY, EMPTY, EMPTY
    ratio, cosine = changed
    angle = math.degrees(math.acos(max(-1.0, min(1.0, cosine))))
    return (
        Cell(f"{ratio:.3f}", ratio),
        Cell(f"{cosine:.4f}", cosine),
        Cell(f"{angle:.1f}°", angle),
    )


def _in_words(arm: str, ratio: float, cosine: float) -> str:
    angle = math.degrees(math.acos(max(-1.0, min(1.0, cosine))))
    verb = "shortens" if ratio < 1 else "lengthens"
    return f"{arm} {verb} the gradient to {ratio:.3f} of its length and turns it by {angle:.1f}°."


def _against(arm: str, row: WhyRow, question: Question) -> str:
    interval = row.interval.text
    if row.lead.key is None:
        return f"The lead of {arm} over {row.arm} is {interval}: {row.reading}."
    lead = show_difference(row.lead.key, question.metric, question.num_blocks)
    return f"The lead of {arm} over {row.arm} is {lead} ({interval}): {row.reading}."
