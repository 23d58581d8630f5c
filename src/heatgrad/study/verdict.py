"""From paired differences to a word and a sentence."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from heatgrad.study.question import ALPHA, MIN_BLOCKS, Question
from heatgrad.study.rules import Adjusted, Ruling, decide, no_comparison
from heatgrad.study.statistics import (
    EffectSizes,
    PairedComparison,
    bca_interval,
    benjamini_hochberg,
    compare_paired,
    detectable_difference,
    effect_sizes,
    holm,
    t_interval,
)
from heatgrad.study.wording import listed, show_difference, show_value

__all__ = [
    "ALPHA",
    "MIN_BLOCKS",
    "Question",
    "Verdict",
    "judge",
    "judge_all",
    "listed",
    "show_difference",
    "show_value",
]


@dataclass(frozen=True)
class Verdict:
    """The answer to one question.

    Attributes:
        question: What was asked; regime, budget and margin stand there.
        word: `INVALID`, `FLOOR`, `HELPS`, `HELPS-NOT-BECAUSE`, `HURTS`, `CEILING`, `TRIVIAL`,
            `EQUIVALENT`, `INCONCLUSIVE`, or `NO VERDICT` for fewer than 8 blocks.
        sentence: The reason, in plain words.
        comparison: Paired comparison with the baseline, signed so that a gain is positive;
            None for `NO VERDICT`.
        spread: Smallest and largest paired difference, signed so that a gain is positive.
        adjusted: The p values adjusted for the family; None where nothing was tested.
        p: The adjusted p value of the claim that the word makes; None where it makes none.
        q: q value of no difference among the exploratory arms; None for others.
        detectable: Smallest true difference that so many blocks of this spread find with
            probability 0.8, at Holm's first step; None where a run diverged [metric].
        needed: Number of blocks that would settle an `INCONCLUSIVE` question, or None.
        caveats: What the reader has to know beside the sentence.
    """

    question: Question
    word: str
    sentence: str
    comparison: PairedComparison | None
    spread: tuple[float, float]
    adjusted: Adjusted | None = None
    p: float | None = None
    q: float | None = None
    detectable: float | None = None
    needed: int | None = None
    caveats: tuple[str, ...] = ()

    @cached_property
    def effects(self) -> EffectSizes:
        """Effect sizes, signed so that a gain is positive; made when they are asked for."""
        return effect_sizes(*_signed(self.question), resolution=self.question.metric.resolution)

    @cached_property
    def t_interval(self) -> tuple[float, float]:
        """Student's interval of the mean difference; secondary."""
        return t_interval(np.array(self.question.gains))

    @cached_property
    def bca_interval(self) -> tuple[float, float]:
        """BCa bootstrap interval of the mean difference; secondary."""
        return bca_interval(np.array(self.question.gains))


def judge(question: Question) -> Verdict:
    """Return the verdict on one question: a pure function of its values.

    Of a confirmatory family larger than 1 the others are taken to show nothing; `judge_all`
    knows them.

    The rules, the first that applies (for a confirmatory arm each p value is adjusted by Holm's
    method within the family):

    1. fewer than 8 blocks: `NO VERDICT`, only the range is given;
    2. two equal arms differ, too many runs of the arm or its baseline diverged, or a tuned option
       lies at the end of its range: `INVALID`;
    3. the arm and its baseline are both within the margin of chance, or below: `FLOOR`;
    4. the interval lies above the margin: `HELPS`, if that against every control does too;
       `HELPS-NOT-BECAUSE`, if that against a control lies below the margin; `INCONCLUSIVE`, if
       neither is so, if a control is needed and there is none, or if a control diverged;
    5. the interval lies below minus the margin: `HURTS`;
    6. the baseline is, on average, within the margin of the ceiling: `CEILING`;
    7. the interval lies inside the margin and excludes 0: `TRIVIAL`;
    8. both one-sided tests reject a difference beyond the margin: `EQUIVALENT`;
    9. otherwise `INCONCLUSIVE`.
    """
    return judge_all([question])[0]


def judge_all(questions: Sequence[Question]) -> list[Verdict]:
    """Return the verdicts on the questions of one study, in their order.

    Confirmatory arms of one regime are one family: their p values are adjusted together, those of
    equivalence in a family of their own. Exploratory arms get q values, from which no word
    follows. So neither the order, nor an arm outside the family, changes the word of another.

    References:
        Theory page: Eqs. (S.10) and (S.11).
    """
    rulings = [_without_a_test(question) for question in questions]
    comparisons = [
        _compare(question) if question.num_blocks >= MIN_BLOCKS else None for question in questions
    ]
    tested = [
        number
        for number, comparison in enumerate(comparisons)
        if comparison is not None and not questions[number].aa_failed
    ]
    adjusted = {number: _alone(comparisons[number]) for number in tested}
    q_values: dict[int, float] = {}
    for regime in {question.regime for question in questions}:
        members = [n for n in tested if questions[n].regime == regime]
        family = [n for n in members if questions[n].role == "confirmatory"]
        size = max([len(family), *(questions[n].family_size for n in family)])
        adjusted |= _in_family({n: comparisons[n] for n in family}, size)
        rest = [n for n in members if questions[n].role == "exploratory"]
        found = benjamini_hochberg(np.array([adjusted[n].difference for n in rest]))
        q_values |= dict(zip(rest, map(float, found), strict=True))
    return [
        _verdict(question, rulings[n], comparisons[n], adjusted.get(n), q_values.get(n))
        for n, question in enumerate(questions)
    ]


def _verdict(
    question: Question,
    ruling: Ruling | None,
    comparison: PairedComparison | None,
    adjusted: Adjusted | None,
    q: float | None,
) -> Verdict:
    if ruling is None:
        assert comparison is not None
        assert adjusted is not None
        ruling = decide(question, comparison, adjusted)
    sentence, has_diverged = ruling.sentence, question.diverged or question.baseline_diverged
    if ruling.word not in ("NO VERDICT", "INVALID"):
        sentence += _divergence(question)
    return Verdict(
        question=question,
        word=ruling.word,
        sentence=sentence,
        comparison=comparison,
        spread=(min(question.gains), max(question.gains)),
        adjusted=adjusted,
        p=ruling.p,
        q=q,
        detectable=None
        if comparison is None or has_diverged
        else detectable_difference(comparison.sd, comparison.num_blocks, alpha=question.alpha),
        needed=ruling.needed,
        caveats=_caveats(question),
    )


def _without_a_test(question: Question) -> Ruling | None:
    n = question.num_blocks
    if n >= MIN_BLOCKS:
        return no_comparison(question)
    return Ruling(
        "NO VERDICT",
        f"{n} matched run{'s' if n != 1 else ''}; a verdict needs at least {MIN_BLOCKS}, so only "
        f"the range of the differences is given.",
    )


def _signed(question: Question) -> tuple[np.ndarray, np.ndarray]:
    sign = question.metric.sign
    return sign * np.array(question.values), sign * np.array(question.baseline_values)


def _compare(question: Question) -> PairedComparison:
    values, baseline = _signed(question)
    return compare_paired(
        values, baseline, margin=question.margin, resolution=question.metric.resolution
    )


def _alone(comparison: PairedComparison | None) -> Adjusted:
    assert comparison is not None
    return Adjusted(comparison.beyond_p, comparison.p, comparison.equivalence_p)


def _in_family(family: dict[int, PairedComparison | None], size: int) -> dict[int, Adjusted]:
    """Adjust the p values of a family; members that are not there yet count with p = 1."""
    alone = {n: _alone(comparison) for n, comparison in family.items()}
    missing = [1.0] * (size - len(alone))
    beyond = [p.beyond for p in alone.values()]
    beyond_adjusted = holm(np.array(beyond + missing))
    equivalence = holm(np.array([p.equivalence for p in alone.values()] + missing))
    found = {}
    for place, (number, p) in enumerate(alone.items()):
        # No difference is a part of "within the margin": a member leaves the family only when
        # that is rejected as a whole. So the others stand there with that p value.
        claims = [*beyond[:place], p.difference, *beyond[place + 1 :], *missing]
        found[number] = Adjusted(
            beyond=float(beyond_adjusted[place]),
            difference=float(holm(np.array(claims))[place]),
            equivalence=float(equivalence[place]),
        )
    return found


def _divergence(question: Question) -> str:
    text = ""
    if question.diverged:
        text += f" {question.diverged} of its runs diverged and rank worst."
    fallen = question.baseline_diverged
    if fallen:
        text += f" {fallen} of the runs of {question.baseline} diverged and rank worst."
    return text


def _caveats(question: Question) -> tuple[str, ...]:
    caveats = []
    if question.tuned:
        caveats.append(f"chosen of {question.budget} settings: {', '.join(question.tuned)}")
    if question.fixed and question.budget is not None:
        caveats.append(f"not tuned: {', '.join(question.fixed)}")
    if question.role == "exploratory":
        caveats.append("exploratory: not in the declared family, a lead and no proof")
    if question.role == "control":
        caveats.append("a control: its word describes it, and is not adjusted")
    return tuple(caveats)
