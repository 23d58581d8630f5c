"""The rules that turn the numbers of one comparison into a word and its reason."""

from dataclasses import dataclass

import numpy as np

from heatgrad.study.question import ALPHA, Question
from heatgrad.study.statistics import (
    PairedComparison,
    blocks_to_settle,
    compare_paired,
)
from heatgrad.study.wording import listed, plural, show_difference, show_p, show_value

__all__ = ["Adjusted", "Ruling", "decide", "no_comparison"]


@dataclass(frozen=True)
class Adjusted:
    """The p values of one comparison, adjusted for its family (alone: as they are).

    Attributes:
        beyond: Of a difference within the margin, against HELPS and HURTS.
        difference: Of no difference, against TRIVIAL.
        equivalence: Of a difference beyond the margin, against TRIVIAL and EQUIVALENT.
    """

    beyond: float
    difference: float
    equivalence: float


@dataclass(frozen=True)
class Ruling:
    """The outcome of the rules.

    Attributes:
        word: The verdict.
        sentence: Its reason.
        needed: Number of blocks that would settle an open question, or None.
        p: The adjusted p value of the claim that the word makes; None where it makes none.
    """

    word: str
    sentence: str
    needed: int | None = None
    p: float | None = None


def no_comparison(question: Question) -> Ruling | None:
    """Return INVALID or FLOOR where the runs cannot be compared, else None."""
    q = question
    if q.aa_failed:
        return Ruling(
            "INVALID",
            "Two arms with the same options gave different results on this task: its runs are "
            "not matched.",
        )
    for name, diverged in ((q.arm, q.diverged), (q.baseline, q.baseline_diverged)):
        if diverged > q.max_diverged * q.num_blocks:
            return Ruling(
                "INVALID",
                f"{diverged} of the {q.num_blocks} runs of {name} diverged, more than the "
                f"declared share of {100 * q.max_diverged:g} %.",
            )
    if q.search_boundary:
        return Ruling(
            "INVALID",
            f"The best {listed(q.search_boundary)} lies at the end of the range that was "
            f"searched: a better one may lie outside, so search a wider one.",
        )
    if q.chance is not None:
        chance = np.array(q.chance)
        leads = [q.metric.sign * (np.array(v) - chance) for v in (q.values, q.baseline_values)]
        if max(round(float(lead.mean()), 8) for lead in leads) <= q.margin:
            level = show_value(float(chance.mean()), q.metric)
            return Ruling(
                "FLOOR",
                f"It and {q.baseline} are both at chance ({level}): nothing was learnt that could "
                f"be compared.",
            )
    return None


def decide(question: Question, comparison: PairedComparison, adjusted: Adjusted) -> Ruling:
    """Return the word of the first rule that applies to runs that can be compared."""
    q, c, margin, base = question, comparison, question.margin, question.baseline
    width = show_value(margin, q.metric, signed=True).lstrip("+")
    mean = show_difference(abs(c.mean), q.metric, c.num_blocks).lstrip("+")
    gain = f"beats {base} by {mean}, and by more than {width} in the whole interval"
    loss = f"falls behind {base} by {mean}, more than the margin of {width}"
    is_beyond = adjusted.beyond <= ALPHA
    if c.low > margin and is_beyond:
        return _why_better(q, gain, adjusted.beyond)
    if c.high < -margin and is_beyond:
        return Ruling("HURTS", f"It {loss}.", p=adjusted.beyond)
    if _is_at_ceiling(q):
        return Ruling(
            "CEILING",
            f"{base} is already within {width} of the best that any classifier could do here: "
            f"there is nothing to win.",
        )
    side = "better" if c.mean > 0 else "worse"
    is_inside = -margin < c.low and c.high < margin
    differs = not c.low <= 0 <= c.high and adjusted.difference <= ALPHA
    if is_inside and differs and adjusted.equivalence <= ALPHA:
        return Ruling(
            "TRIVIAL",
            f"It is {side} than {base} by {mean}: a real difference, but smaller than the margin "
            f"of {width}.",
            p=max(adjusted.difference, adjusted.equivalence),
        )
    if adjusted.equivalence <= ALPHA:
        return Ruling(
            "EQUIVALENT",
            f"Any difference from {base} is smaller than the margin of {width}.",
            p=adjusted.equivalence,
        )
    alone = c.beyond_p <= ALPHA
    if c.low > margin and alone:
        sentence = f"It {gain}, but not {_after_holm(q, adjusted.beyond)}."
    elif c.high < -margin and alone:
        sentence = f"It {loss}, but not {_after_holm(q, adjusted.beyond)}."
    elif differs:
        sentence = (
            f"It is {side} than {base}, but whether by more than the margin of {width} is not "
            f"settled by {c.num_blocks} blocks."
        )
    elif not c.low <= 0 <= c.high:
        sentence = f"It is {side} than {base}, but not {_after_holm(q, adjusted.difference)}."
    elif c.equivalence_p <= ALPHA:
        sentence = (
            f"Any difference from {base} is smaller than the margin of {width} on its own, but "
            f"not {_after_holm(q, adjusted.equivalence)}."
        )
    else:
        sentence = (
            f"{c.num_blocks} blocks neither show a difference from {base} nor rule out one "
            f"beyond the margin of {width}."
        )
    return _open(q, sentence, [c])


def _why_better(question: Question, gain: str, p: float) -> Ruling:
    """Tell a gain that every control shares from one that none does."""
    q = question
    if q.needs_control and not q.controls:
        return Ruling(
            "INCONCLUSIVE",
            f"It {gain}, but the study has no control to show that diffusion is the reason.",
        )
    broken = [name for name, control in q.controls.items() if q.metric.worst in control]
    if broken:
        return Ruling(
            "INCONCLUSIVE",
            f"It {gain}, but runs of its control{plural(broken)} {listed(broken)} diverged, so "
            f"that they cannot show the reason.",
        )
    sign = q.metric.sign
    against = {
        name: compare_paired(
            sign * np.array(q.values),
            sign * np.array(control),
            margin=q.margin,
            resolution=q.metric.resolution,
        )
        for name, control in q.controls.items()
    }
    ties = [name for name, found in against.items() if found.high <= q.margin]
    if ties:
        return Ruling(
            "HELPS-NOT-BECAUSE",
            f"It {gain}, but leads its control{plural(ties)} {listed(ties)} by no more than the "
            f"margin: the gain does not come from {_mechanism(q)}.",
            p=p,
        )
    unsettled = [name for name, found in against.items() if found.low <= q.margin]
    if unsettled:
        return _open(
            q,
            f"It {gain}, but whether it beats its control{plural(unsettled)} {listed(unsettled)} "
            f"by more than the margin is not settled.",
            [against[name] for name in unsettled],
        )
    beaten = f", and its controls {listed(list(q.controls))}" if q.controls else ""
    return Ruling("HELPS", f"It {gain}{beaten}.", p=p)


def _open(question: Question, sentence: str, comparisons: list[PairedComparison]) -> Ruling:
    """Return INCONCLUSIVE with the number of blocks that would settle all comparisons."""
    q = question
    if q.diverged or q.baseline_diverged:  # the spread is that of a rank, no measurement
        return Ruling("INCONCLUSIVE", sentence)
    counts = [blocks_to_settle(c.mean, c.sd, q.margin, alpha=q.alpha) for c in comparisons]
    known = [count for count in counts if count is not None]
    if len(known) < len(counts):
        hope = "Not even 10,000 blocks would settle it: the mean is too close to the margin."
        return Ruling("INCONCLUSIVE", f"{sentence} {hope}")
    needed = max(*known, q.num_blocks + 1) if known else None
    hope = f"About {needed:,} blocks would settle it, if mean and spread stay as they are."
    return Ruling("INCONCLUSIVE", f"{sentence} {hope}", needed=needed)


def _is_at_ceiling(question: Question) -> bool:
    q = question
    if q.ceiling is None:
        return False
    gap = q.metric.sign * (np.array(q.ceiling) - np.array(q.baseline_values))
    return round(float(gap.mean()), 8) <= q.margin


def _after_holm(question: Question, p: float) -> str:
    count = question.family_size
    return f"after Holm's correction for the {count} comparisons of its family (p = {show_p(p)})"


def _mechanism(question: Question) -> str:
    return "the smoothing" if question.needs_control else "what sets them apart"
