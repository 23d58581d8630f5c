"""Every word of a verdict, at and beside the border where it changes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heatgrad.study import METRICS, judge
from heatgrad.study.verdict import show_value

M = 0.01  # the margin of every question here
JITTER = np.linspace(-0.001, 0.001, 8)
WIDE = np.array([-0.05, 0.05, -0.04, 0.04, -0.03, 0.03, -0.06, 0.06])

# Differences of eight pairs, and the word that the rules give them when there is no ceiling.
WORDS = {
    "HELPS": (0.02 + JITTER, "beats B by 2.00 points"),
    "HURTS": (-0.02 + JITTER, "falls behind B by 2.00 points"),
    "TRIVIAL": (0.004 + JITTER, "a real difference, but smaller than the margin of 1.00 points"),
    "EQUIVALENT": (2 * JITTER, "smaller than the margin"),
    "INCONCLUSIVE": (WIDE, "neither show a difference"),
}


@pytest.mark.parametrize("word", WORDS)
def test_each_word_and_its_sentence(word, make_question):
    """Differences far from, or well inside, the margin of one point leave one rule each."""
    differences, phrase = WORDS[word]
    verdict = judge(make_question(differences))
    assert verdict.word == word
    assert phrase in verdict.sentence
    assert verdict.spread == pytest.approx((differences.min(), differences.max()), abs=1e-12)
    assert verdict.comparison.mean == pytest.approx(differences.mean(), abs=1e-12)


@pytest.mark.parametrize(
    ("difference", "word"),
    [
        (M, "INCONCLUSIVE"),
        (M + 1e-6, "HELPS"),
        (M - 1e-6, "TRIVIAL"),
        (-M, "INCONCLUSIVE"),
        (-M - 1e-6, "HURTS"),
        (-M + 1e-6, "TRIVIAL"),
        (0.0, "EQUIVALENT"),
        (1e-6, "TRIVIAL"),
    ],
)
def test_the_margin_itself_is_not_beyond_the_margin(difference, word, make_question):
    """Eight equal differences have a point for an interval, so each border can be stood on.

    The values differ by the margin only after rounding: 0.81 - 0.8 is not 0.01 in floats.
    """
    assert judge(make_question([difference] * 8)).word == word


def test_significant_but_not_settled(make_question):
    """All differences positive, on both sides of the margin: above, but not surely by more."""
    verdict = judge(make_question(0.01 + 4 * JITTER))
    assert verdict.word == "INCONCLUSIVE"
    assert "It is better than B, but whether by more than the margin" in verdict.sentence


@pytest.mark.parametrize("n", [1, 5, 7])
def test_fewer_than_eight_blocks_give_the_range_only(n, make_question):
    """However large the gain: `NO VERDICT`, no p value, the smallest and largest difference."""
    verdict = judge(make_question([0.1 + 0.01 * k for k in range(n)]))
    assert (verdict.word, verdict.comparison) == ("NO VERDICT", None)
    assert verdict.sentence.startswith(f"{n} matched run{'s' if n > 1 else ''};")
    assert verdict.spread == pytest.approx((0.1, 0.1 + 0.01 * (n - 1)))
    assert judge(make_question([0.1] * 8)).word == "HELPS"


@pytest.mark.parametrize(
    ("gap", "word"),
    [(0.0, "CEILING"), (M, "CEILING"), (M + 1e-6, "EQUIVALENT"), (-0.02, "CEILING")],
)
def test_a_baseline_at_the_ceiling_leaves_nothing_to_win(gap, word, make_question):
    """The mean gap decides, the margin included; a lucky baseline above the ceiling is at it."""
    question = make_question(2 * JITTER)
    scatter = np.tile([0.03, -0.03], 4)
    ceiling = tuple(b + gap + s for b, s in zip(question.baseline_values, scatter, strict=True))
    assert judge(make_question(2 * JITTER, ceiling=ceiling)).word == word


@pytest.mark.parametrize(
    ("word", "at_the_ceiling"),
    [
        ("HELPS", "HELPS"),
        ("HURTS", "HURTS"),
        ("TRIVIAL", "CEILING"),
        ("EQUIVALENT", "CEILING"),
        ("INCONCLUSIVE", "CEILING"),
    ],
)
def test_the_ceiling_comes_after_helps_and_hurts(word, at_the_ceiling, make_question):
    """A gain or loss beyond the margin is told even at the ceiling; the rest is not."""
    differences = WORDS[word][0]
    ceiling = make_question(differences).baseline_values
    assert judge(make_question(differences, ceiling=ceiling)).word == at_the_ceiling


def controlled(make_question, *gains, **changes):
    """Return the verdict on an arm 2 points above its baseline, its controls at given gains."""
    question = make_question(0.02 + JITTER)
    controls = {
        f"c{k}": tuple(b + gain for b in question.baseline_values) for k, gain in enumerate(gains)
    }
    return judge(make_question(0.02 + JITTER, controls=controls, needs_control=True, **changes))


def test_a_gain_that_a_control_shares_is_not_because(make_question):
    """Beaten controls: HELPS; one that ties: HELPS-NOT-BECAUSE, and its name; none: unknown."""
    helps = controlled(make_question, 0.0, -0.01)
    assert helps.word == "HELPS"
    assert "and its controls c0 and c1" in helps.sentence
    one = controlled(make_question, 0.0, 0.02)
    assert one.word == "HELPS-NOT-BECAUSE"
    assert "but leads its control c1 by no more" in one.sentence
    both = controlled(make_question, 0.02, 0.05)
    assert "but leads its controls c0 and c1 by no more" in both.sentence
    broken = controlled(make_question, 0.0)
    worst = make_question(0.02 + JITTER, controls={"c": (0.0,) * 8}, needs_control=True)
    assert broken.word == "HELPS"
    assert judge(worst).word == "INCONCLUSIVE"
    assert "control c diverged" in judge(worst).sentence
    none = controlled(make_question)
    assert none.word == "INCONCLUSIVE"
    assert "has no control" in none.sentence


def test_a_control_that_is_not_settled_settles_nothing(make_question):
    """An interval against a control that straddles the margin is no evidence of a tie."""
    question = make_question(0.05 + JITTER)
    wide = np.linspace(-2 * M, 2 * M, 8)
    control = tuple(v - M - w for v, w in zip(question.values, wide, strict=True))
    verdict = judge(make_question(0.05 + JITTER, controls={"c": control}, needs_control=True))
    assert verdict.word == "INCONCLUSIVE"
    assert "whether it beats its control c by more" in verdict.sentence


@pytest.mark.parametrize(("lead", "word"), [(M, "HELPS-NOT-BECAUSE"), (M + 1e-6, "HELPS")])
def test_a_control_must_be_beaten_by_more_than_the_margin(lead, word, make_question):
    """An arm ahead of its control by exactly the margin ties with it."""
    question = make_question([0.05] * 8)
    control = tuple(v - lead for v in question.values)
    verdict = judge(make_question([0.05] * 8, controls={"c": control}, needs_control=True))
    assert verdict.word == word


def test_an_arm_that_claims_no_mechanism_needs_no_control(make_question):
    """Momentum that beats SGD helps, without a control."""
    assert judge(make_question(0.02 + JITTER, needs_control=False)).word == "HELPS"


@pytest.mark.parametrize("metric", ["test_accuracy", "test_loss"])
def test_diverged_runs_rank_worst_and_are_told(metric, make_question):
    """At the worst value in every block the arm hurts; in one of eight nothing is settled."""
    worst, better = METRICS[metric].worst, METRICS[metric].sign * 0.02
    base = (0.8,) * 8
    ruined = make_question(
        [0.0] * 8,
        metric=metric,
        baseline_values=base,
        values=(worst,) * 8,
        diverged=8,
        max_diverged=1.0,
    )
    assert judge(ruined).word == "HURTS"
    assert judge(ruined).sentence.endswith("8 of its runs diverged and rank worst.")
    values = (worst, *(b + better for b in base[1:]))
    once = judge(
        make_question([0.0] * 8, metric=metric, baseline_values=base, values=values, diverged=1)
    )
    assert once.word == "INCONCLUSIVE"
    assert "1 of its runs diverged" in once.sentence
    assert once.spread[0] == pytest.approx(METRICS[metric].sign * (worst - 0.8))


def test_a_baseline_that_diverged_is_beaten(make_question):
    """Ranking worst holds for the baseline too."""
    fallen = {"baseline_values": (0.0,) * 8, "values": (0.8,) * 8}
    assert judge(make_question([0.0] * 8, max_diverged=1.0, **fallen)).word == "HELPS"
    assert judge(make_question([0.0] * 8, **fallen)).word == "INVALID"


@settings(max_examples=80, deadline=None)
@given(st.lists(st.integers(-40, 40), min_size=8, max_size=9), st.randoms(use_true_random=False))
def test_symmetries(make_question, numbers, random):
    """Lower-is-better is the mirror of higher-is-better; swapping arms swaps HELPS and HURTS.

    The order of the blocks says nothing, either.
    """
    differences = [x / 2000 for x in numbers]
    question = make_question(differences)
    word = judge(question).word
    mirror = make_question(
        differences,
        metric="test_loss",
        values=tuple(1 - v for v in question.values),
        baseline_values=tuple(1 - v for v in question.baseline_values),
    )
    assert judge(mirror).word == word
    assert judge(mirror).comparison.mean == pytest.approx(judge(question).comparison.mean)
    swapped = make_question(
        differences, values=question.baseline_values, baseline_values=question.values
    )
    assert judge(swapped).word == {"HELPS": "HURTS", "HURTS": "HELPS"}.get(word, word)
    pairs = list(zip(question.values, question.baseline_values, strict=True))
    random.shuffle(pairs)
    values, baseline = zip(*pairs, strict=True)
    shuffled = make_question(differences, values=values, baseline_values=baseline)
    assert judge(shuffled).word == word


def test_values_are_shown_in_the_units_people_read():
    """Points for differences of accuracies, a true minus sign, infinity for a diverged loss."""
    accuracy, loss = METRICS["test_accuracy"], METRICS["test_loss"]
    assert show_value(0.8125, accuracy) == "81.25 %"
    assert show_value(-0.0042, accuracy, signed=True) == "−0.42 points"
    assert show_value(0.0042, accuracy, signed=True, unit=False) == "+0.42"
    assert show_value(-0.25, loss) == "−0.2500"
    assert (show_value(1e6, loss), show_value(-1e6, loss)) == ("∞", "−∞")
