"""From paired differences to a word and a sentence."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from heatgrad.study.spec import METRICS, Metric
from heatgrad.study.statistics import PairedComparison, compare_paired

__all__ = ["MIN_BLOCKS", "Question", "Verdict", "judge", "listed", "show_difference", "show_value"]

MIN_BLOCKS = 8
ALPHA = 0.05


@dataclass(frozen=True)
class Question:
    """What a verdict is asked about: one arm against its baseline on one task.

    All values are those of the primary metric, one per block, the blocks in the same order;
    a diverged run stands at the metric's worst value.

    Attributes:
        task: Name of the task.
        arm: Name of the arm.
        baseline: Name of the baseline.
        role: `"confirmatory"`, `"control"` or `"exploratory"`.
        metric: Key of `METRICS`.
        margin: Smallest difference that matters [metric].
        values: The arm's.
        baseline_values: The baseline's.
        controls: The values of each of the arm's controls, by name.
        needs_control: Whether the arm claims a mechanism that only a control can show.
        ceiling: Best possible value in each block, or None.
        diverged: Number of the arm's runs that diverged.
    """

    task: str
    arm: str
    baseline: str
    role: str
    metric: str
    margin: float
    values: tuple[float, ...]
    baseline_values: tuple[float, ...]
    controls: dict[str, tuple[float, ...]]
    needs_control: bool
    ceiling: tuple[float, ...] | None
    diverged: int


@dataclass(frozen=True)
class Verdict:
    """The answer to one question.

    Attributes:
        question: What was asked.
        word: `HELPS`, `HELPS-NOT-BECAUSE`, `HURTS`, `CEILING`, `TRIVIAL`, `EQUIVALENT`,
            `INCONCLUSIVE`, or `NO VERDICT` for fewer than 8 blocks.
        sentence: The reason, in one plain sentence.
        comparison: Paired comparison with the baseline, signed so that a gain is positive;
            None for `NO VERDICT`.
        spread: Smallest and largest paired difference, signed so that a gain is positive.
    """

    question: Question
    word: str
    sentence: str
    comparison: PairedComparison | None
    spread: tuple[float, float]


def judge(question: Question) -> Verdict:
    """Return the verdict on one question: a pure function of its values.

    The rules, the first that applies:

    1. fewer than 8 blocks: `NO VERDICT`, only the range is given;
    2. the interval lies above the margin: `HELPS`, if that against every control does too;
       `HELPS-NOT-BECAUSE`, if that against a control lies below the margin; `INCONCLUSIVE`, if
       neither is so, if a control is needed and there is none, or if a control diverged;
    3. the interval lies below minus the margin: `HURTS`;
    4. the baseline is, on average, within the margin of the ceiling: `CEILING`;
    5. the interval lies inside the margin and excludes 0: `TRIVIAL`;
    6. both one-sided tests reject a difference beyond the margin: `EQUIVALENT`;
    7. otherwise `INCONCLUSIVE`.
    """
    metric = METRICS[question.metric]
    values = metric.sign * np.array(question.values)
    baseline = metric.sign * np.array(question.baseline_values)
    differences = values - baseline
    spread = (float(differences.min()), float(differences.max()))
    if len(differences) < MIN_BLOCKS:
        sentence = (
            f"{len(differences)} matched run{'s' if len(differences) != 1 else ''}; a verdict "
            f"needs at least {MIN_BLOCKS}, so only the range of the differences is given."
        )
        return Verdict(question, "NO VERDICT", sentence, None, spread)
    comparison = compare_paired(values, baseline, margin=question.margin)
    word, sentence = _decide(question, comparison, metric, values, baseline)
    if question.diverged:
        sentence += f" {question.diverged} of its runs diverged and rank worst."
    fallen = question.baseline_values.count(metric.worst)
    if fallen:
        sentence += f" {fallen} of the runs of {question.baseline} diverged and rank worst."
    return Verdict(question, word, sentence, comparison, spread)


def show_value(value: float, metric: Metric, *, signed: bool = False, unit: bool = True) -> str:
    """Return a value or difference of a metric in the digits and unit people read it in.

    Example:
        >>> show_value(0.0042, METRICS["test_accuracy"], signed=True)
        '+0.42 points'
    """
    if abs(value) >= 1e5:
        return "∞" if value > 0 else "−∞"
    shown, digits = (100 * value, 2) if metric.percent else (value, 4)
    shown = round(shown, digits) + 0.0  # no negative zero
    text = f"{shown:+.{digits}f}" if signed else f"{shown:.{digits}f}"
    suffix = (" points" if signed else " %") if metric.percent and unit else ""
    return text.replace("-", "−") + suffix


def show_difference(value: float, metric: Metric, num_blocks: int, *, unit: bool = True) -> str:
    """Return a difference over blocks; in words if a diverged run's rank, no measurement, is in it.

    Example:
        >>> show_difference(-83333.1, METRICS["test_loss"], num_blocks=12)
        'a diverged run (worse)'
    """
    if not metric.percent and abs(value) >= metric.worst / (2 * num_blocks):
        return f"a diverged run ({'better' if value > 0 else 'worse'})"
    return show_value(value, metric, signed=True, unit=unit)


def _decide(
    question: Question,
    comparison: PairedComparison,
    metric: Metric,
    values: np.ndarray,
    baseline: np.ndarray,
) -> tuple[str, str]:
    margin, base = question.margin, question.baseline
    width = show_value(margin, metric, signed=True).lstrip("+")
    mean = show_difference(abs(comparison.mean), metric, comparison.num_blocks).lstrip("+")
    if comparison.low > margin:
        return _why_better(
            question,
            metric,
            values,
            f"beats {base} by {mean}, and by more than {width} in the whole interval",
        )
    if comparison.high < -margin:
        return "HURTS", f"It falls behind {base} by {mean}, more than the margin of {width}."
    gap = _gap_to_ceiling(question, metric, baseline)
    if gap is not None and gap <= margin:
        return (
            "CEILING",
            f"{base} is already within {width} of the best that any classifier could do here: "
            f"there is nothing to win.",
        )
    is_inside = -margin < comparison.low and comparison.high < margin
    if is_inside and not comparison.low <= 0 <= comparison.high:
        side = "better" if comparison.mean > 0 else "worse"
        return (
            "TRIVIAL",
            f"It is {side} than {base} by {mean}: a real difference, but smaller than the margin "
            f"of {width}.",
        )
    if comparison.equivalence_p <= ALPHA:
        return "EQUIVALENT", f"Any difference from {base} is smaller than the margin of {width}."
    if comparison.p <= ALPHA:
        side = "better" if comparison.mean > 0 else "worse"
        return (
            "INCONCLUSIVE",
            f"It is {side} than {base}, but whether by more than the margin of {width} is not "
            f"settled by {comparison.num_blocks} blocks.",
        )
    return (
        "INCONCLUSIVE",
        f"{comparison.num_blocks} blocks neither show a difference from {base} nor rule out one "
        f"beyond the margin of {width}.",
    )


def _why_better(
    question: Question, metric: Metric, values: np.ndarray, gain: str
) -> tuple[str, str]:
    """Tell a gain that every control shares from one that none does."""
    if question.needs_control and not question.controls:
        return (
            "INCONCLUSIVE",
            f"It {gain}, but the study has no control to show that diffusion is the reason.",
        )
    broken = [name for name, control in question.controls.items() if metric.worst in control]
    if broken:
        return (
            "INCONCLUSIVE",
            f"It {gain}, but runs of its control{_s(broken)} {listed(broken)} diverged, so that "
            f"they cannot show the reason.",
        )
    against = {
        name: compare_paired(values, metric.sign * np.array(control), margin=question.margin)
        for name, control in question.controls.items()
    }
    ties = [name for name, found in against.items() if found.high <= question.margin]
    if ties:
        return (
            "HELPS-NOT-BECAUSE",
            f"It {gain}, but leads its control{_s(ties)} {listed(ties)} by no more than the "
            f"margin: the gain does not come from the smoothing.",
        )
    open_ones = [name for name, found in against.items() if found.low <= question.margin]
    if open_ones:
        return (
            "INCONCLUSIVE",
            f"It {gain}, but whether it beats its control{_s(open_ones)} {listed(open_ones)} by "
            f"more than the margin is not settled.",
        )
    beaten = f", and its controls {listed(list(question.controls))}" if question.controls else ""
    return "HELPS", f"It {gain}{beaten}."


def _gap_to_ceiling(question: Question, metric: Metric, baseline: np.ndarray) -> float | None:
    if question.ceiling is None:
        return None
    return round(float(np.mean(metric.sign * np.array(question.ceiling) - baseline)), 8)


def _s(names: Sequence[str]) -> str:
    return "s" if len(names) > 1 else ""


def listed(names: Sequence[str]) -> str:
    """Return names as a phrase.

    Example:
        >>> listed(["a", "b", "c"])
        'a, b and c'
    """
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
