"""Many verdicts at once: Holm's families, q values, and what changes none of the others."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from heatgrad.study import judge, judge_all
from heatgrad.study.statistics import compare_paired

M = 0.01
JITTER = np.linspace(-0.001, 0.001, 8)
# Differences of eight pairs in multiples of 1/2000, far beyond the margin and around it.
rows = st.lists(st.integers(-40, 60), min_size=8, max_size=8).map(lambda x: [k / 2000 for k in x])


def questions(make_question, table, role="confirmatory", **changes):
    """Return one question per row of differences, all of one family."""
    size = len(table) if role == "confirmatory" else 1
    return [
        make_question(row, arm=f"{role} {k}", role=role, family_size=size, **changes)
        for k, row in enumerate(table)
    ]


def said(verdicts):
    """Return all that a verdict says, by arm, but for the q value of a map."""
    return {v.question.arm: replace(v, q=None) for v in verdicts}


@settings(max_examples=25, deadline=None)
@given(
    st.lists(rows, min_size=1, max_size=3),
    st.lists(rows, min_size=1, max_size=2),
    st.randoms(use_true_random=False),
)
def test_arms_outside_the_family_and_orders_change_nothing(make_question, inside, outside, random):
    """Exploratory arms and controls more or less, shuffled arms, shuffled blocks."""
    family = questions(make_question, inside)
    before = said(judge_all(family))
    others = questions(make_question, outside, role="exploratory")
    others += questions(make_question, outside, role="control")
    everything = [*family, *others]
    after = said(judge_all(everything))
    assert {arm: after[arm] for arm in before} == before
    random.shuffle(everything)
    assert said(judge_all(everything)) == after
    order = list(range(8))
    random.shuffle(order)
    shuffled = [
        replace(
            q,
            values=tuple(q.values[k] for k in order),
            baseline_values=tuple(q.baseline_values[k] for k in order),
        )
        for q in everything
    ]
    words = {v.question.arm: (v.word, v.adjusted) for v in judge_all(shuffled)}
    assert words == {arm: (v.word, v.adjusted) for arm, v in after.items()}


@settings(max_examples=25, deadline=None)
@given(st.lists(rows, min_size=1, max_size=4))
def test_cached_equals_fresh(make_question, table):
    """The same questions again, and numbers that are made when asked for."""
    family = questions(make_question, table)
    first, again = judge_all(family), judge_all(family)
    assert first == again
    assert [v.effects for v in first] == [v.effects for v in again]
    assert [v.bca_interval for v in first] == [v.bca_interval for v in first]


@settings(max_examples=40, deadline=None)
@given(st.lists(rows, min_size=1, max_size=4))
def test_adjusted_values_are_holms_by_statsmodels(make_question, table):
    """`multipletests` of the p values at the margin, and of those of equivalence, apart."""
    verdicts = judge_all(questions(make_question, table))
    compared = [v.comparison for v in verdicts]
    beyond = multipletests([c.beyond_p for c in compared], method="holm")[1]
    inside = multipletests([c.equivalence_p for c in compared], method="holm")[1]
    assert [v.adjusted.beyond for v in verdicts] == pytest.approx(list(beyond))
    assert [v.adjusted.equivalence for v in verdicts] == pytest.approx(list(inside))


def by_partition(compared, member):
    """The p value of no difference by closed testing, written out.

    Each comparison's parameter lies at 0, within the margin but not at 0, or beyond; the first is
    tested by p, the second by the p value at the margin, an intersection by Bonferroni.
    """
    worst = 0.0
    others = [c for k, c in enumerate(compared) if k != member]
    for count in range(len(others) + 1):
        for chosen in itertools.combinations(others, count):
            for tests in itertools.product(("p", "beyond_p"), repeat=count):
                values = [getattr(c, t) for c, t in zip(chosen, tests, strict=True)]
                values.append(compared[member].p)
                worst = max(worst, min(1.0, len(values) * min(values)))
    return worst


@settings(max_examples=25, deadline=None)
@given(st.lists(rows, min_size=1, max_size=4))
def test_no_difference_is_adjusted_as_in_closed_testing(make_question, table):
    """Every intersection that holds "no difference" has to fall, by Bonferroni."""
    verdicts = judge_all(questions(make_question, table))
    compared = [v.comparison for v in verdicts]
    for k, verdict in enumerate(verdicts):
        assert verdict.adjusted.difference == pytest.approx(by_partition(compared, k))


@settings(max_examples=60, deadline=None)
@given(rows, st.integers(1, 6))
def test_words_and_p_values_tell_one_story(make_question, row, size):
    """HELPS and HURTS are p at the margin <= .05 after Holm; alone, the interval beyond it.

    The others of the family are not there yet, so that Holm is Bonferroni.
    """
    verdict = judge(make_question(row, family_size=size))
    c = verdict.comparison
    assert verdict.adjusted.beyond == min(1.0, size * c.beyond_p)
    assert (verdict.word in ("HELPS", "HURTS")) == (verdict.adjusted.beyond <= 0.05)
    assert (c.beyond_p <= 0.05) == (c.low > M or c.high < -M)
    assert c.beyond_p >= c.p
    if verdict.word in ("TRIVIAL", "EQUIVALENT"):
        assert verdict.adjusted.equivalence <= 0.05
    if verdict.p is not None:
        assert verdict.p <= 0.05


def test_a_gain_may_fail_in_a_large_family_and_pass_in_a_small_one(make_question):
    """A gain with p = 2/256: times 6 is .047, times 7 is .055."""
    assert judge(make_question(0.02 + JITTER, family_size=6)).word == "HELPS"
    verdict = judge(make_question(0.02 + JITTER, family_size=7))
    assert verdict.word == "INCONCLUSIVE"
    assert "but not after Holm's correction for the 7 comparisons" in verdict.sentence
    assert "(p = 0.055)" in verdict.sentence
    hurt = judge(make_question(-0.02 + JITTER, family_size=7))
    assert hurt.sentence.startswith("It falls behind B by 2.00 points")
    assert hurt.word == "INCONCLUSIVE"


def test_certain_members_help_the_others(make_question):
    """Seven gains fail together at eight blocks; with six rejected first, Holm's step is one."""
    d = np.array([0.012, 0.013, 0.014, 0.015, 0.016, 0.017, 0.018, 0.019, 0.0108, 0.02])
    weak = [0.009, *d[1:]]
    strong = compare_paired(0.5 + d, np.full(10, 0.5), margin=M)
    assert strong.beyond_p == 2 / 1024
    table = [list(d)] * 6 + [weak]
    verdicts = judge_all(questions(make_question, table))
    last = verdicts[-1]
    assert [v.word for v in verdicts] == ["HELPS"] * 7
    assert last.adjusted.beyond == pytest.approx(max(7 * 2 / 1024, last.comparison.beyond_p))


def test_members_that_are_not_judged_make_no_claim_easier(make_question):
    """A failed A/A check voids the p value: that member counts with p = 1.

    A member that merely diverged was tested, and takes its part in Holm's steps.
    """
    gain = [0.02 + JITTER] * 3
    broken = questions(make_question, gain, aa_failed=False)
    broken[0] = replace(broken[0], aa_failed=True)
    first, second, _ = judge_all(broken)
    assert (first.word, first.adjusted) == ("INVALID", None)
    assert second.adjusted.beyond == pytest.approx(3 * 2 / 256)
    assert second.word == "HELPS"


def test_regimes_are_families_of_their_own(make_question):
    """Three arms in each of two regimes: p = 2/256 is multiplied by three, not by six."""
    table = [0.02 + JITTER] * 3
    both = questions(make_question, table) + questions(make_question, table, regime="each tuned")
    assert {v.adjusted.beyond for v in judge_all(both)} == {3 * 2 / 256}


def test_exploratory_arms_get_q_values_and_words_of_their_own(make_question):
    """Benjamini and Hochberg over the exploratory arms alone; no word hangs on it."""
    table = [0.02 + JITTER, 2 * JITTER, 0.004 + JITTER, -0.02 + JITTER]
    explored = questions(make_question, table, role="exploratory")
    family = questions(make_question, table[:1])
    verdicts = judge_all([*family, *explored])
    assert verdicts[0].q is None
    rest = verdicts[1:]
    theirs = multipletests([v.comparison.p for v in rest], method="fdr_bh")[1]
    assert [v.q for v in rest] == pytest.approx(list(theirs))
    assert [v.word for v in rest] == ["HELPS", "EQUIVALENT", "TRIVIAL", "HURTS"]
    assert [v.word for v in rest] == [judge(q).word for q in explored]


def test_no_questions_no_verdicts():
    """An empty study."""
    assert judge_all([]) == []
