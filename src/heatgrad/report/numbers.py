"""Every number of a verdict beside the primary interval, and what the reader has to know."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from heatgrad.report.rows import EMPTY, Cell
from heatgrad.study import Verdict
from heatgrad.study.wording import show_difference, show_p, show_value

__all__ = ["NumbersRow", "numbers_rows"]


@dataclass(frozen=True)
class NumbersRow:
    """The secondary numbers of one verdict.

    Attributes:
        arm: Name of the arm.
        role: Its role.
        color: Its colour.
        student: Student's interval of the mean difference.
        bca: The BCa bootstrap interval of the same.
        centre: Hodges-Lehmann's estimate.
        equivalence: p value of the two one-sided tests, not adjusted.
        effect: Mean over standard deviation of the differences.
        better: Probability that a run beats the baseline's, with its interval.
        detectable: The difference that so many blocks would find.
        chosen: The options that were tuned, or empty.
    """

    arm: str
    role: str
    color: str
    student: Cell
    bca: Cell
    centre: Cell
    equivalence: Cell
    effect: Cell
    better: Cell
    detectable: Cell
    chosen: str


def numbers_rows(verdicts: Sequence[Verdict], colors: Mapping[str, str]) -> list[NumbersRow]:
    """Return a line for each verdict that rests on a comparison."""
    return [
        _row(verdict, colors[verdict.question.arm]) for verdict in verdicts if verdict.comparison
    ]


def _row(verdict: Verdict, color: str) -> NumbersRow:
    q, c, effects = verdict.question, verdict.comparison, verdict.effects
    assert c is not None

    def interval(low: float, high: float) -> Cell:
        ends = (show_difference(end, q.metric, c.num_blocks, unit=False) for end in (low, high))
        return Cell(" to ".join(ends), low)

    centre = show_difference(effects.hodges_lehmann, q.metric, c.num_blocks, unit=False)
    share = f"{effects.prob_better:.2f} ({effects.prob_better_low:.2f} to "
    detectable = EMPTY
    if verdict.detectable is not None:
        size = show_value(verdict.detectable, q.metric, signed=True, unit=False).lstrip("+")
        detectable = Cell(size, verdict.detectable)
    return NumbersRow(
        arm=q.arm,
        role=q.role,
        color=color,
        student=interval(*verdict.t_interval),
        bca=interval(*verdict.bca_interval),
        centre=Cell(centre, effects.hodges_lehmann),
        equivalence=Cell(show_p(c.equivalence_p), c.equivalence_p),
        effect=Cell(f"{effects.d_z:.2f}".replace("-", "−"), effects.d_z),
        better=Cell(f"{share}{effects.prob_better_high:.2f})", effects.prob_better),
        detectable=detectable,
        chosen=", ".join(q.tuned),
    )
