"""INVALID, FLOOR and the numbers that go with a verdict: detectable difference, blocks, caveats."""

import numpy as np
import pytest

from heatgrad.study import judge
from heatgrad.study.metric import METRICS
from heatgrad.study.statistics import blocks_to_settle, detectable_difference

M = 0.01  # the margin of every question here
JITTER = np.linspace(-0.001, 0.001, 8)
GAIN, LOSS = 0.02 + JITTER, -0.02 + JITTER


@pytest.mark.parametrize(("diverged", "word"), [(4, "HELPS"), (5, "INVALID")])
def test_more_than_the_declared_share_of_diverged_runs_is_invalid(diverged, word, make_question):
    """Half of eight is the default; five are more, the arm's or the baseline's."""
    verdict = judge(make_question(GAIN, diverged=diverged))
    assert verdict.word == word
    if word == "INVALID":
        said = "5 of the 8 runs of A diverged, more than the declared share of 50 %."
        assert verdict.sentence == said
    base = (0.0,) * diverged + (0.8,) * (8 - diverged)
    other = judge(make_question(GAIN, baseline_values=base))
    assert (other.word == "INVALID") == (diverged == 5)


@pytest.mark.parametrize(("share", "word"), [(0.0, "INVALID"), (0.125, "HELPS"), (1.0, "HELPS")])
def test_the_share_is_the_studys(share, word, make_question):
    """One of eight runs is not more than one eighth."""
    assert judge(make_question(GAIN, diverged=1, max_diverged=share)).word == word


def test_what_makes_a_comparison_invalid_is_said(make_question):
    """A failed A/A check, and a best setting at the end of its range."""
    aa = judge(make_question(GAIN, aa_failed=True))
    assert aa.word == "INVALID"
    assert "Two arms with the same options gave different results" in aa.sentence
    edge = judge(make_question(GAIN, search_boundary=("lr of A", "momentum of B")))
    assert edge.word == "INVALID"
    assert "The best lr of A and momentum of B lies at the end of the range" in edge.sentence


@pytest.mark.parametrize(
    ("above", "word"), [(0.0, "FLOOR"), (M, "FLOOR"), (M + 1e-6, "INCONCLUSIVE"), (-0.1, "FLOOR")]
)
def test_two_arms_at_chance_are_on_the_floor(above, word, make_question):
    """Both have to be there, on average, the margin included; below chance is there, too."""
    wide = np.array([-0.05, 0.05, -0.04, 0.04, -0.03, 0.03, -0.06, 0.06])
    base = (0.5 + above,) * 8
    values = tuple(b + w for b, w in zip(base, wide, strict=True))
    verdict = judge(make_question(wide, values=values, baseline_values=base, chance=(0.5,) * 8))
    assert verdict.word == word
    if word == "FLOOR":
        assert "are both at chance (50.00 %)" in verdict.sentence
    assert judge(make_question(wide, values=values, baseline_values=base)).word == "INCONCLUSIVE"


@pytest.mark.parametrize(("arm", "base", "word"), [(0.8, 0.5, "HELPS"), (0.5, 0.8, "HURTS")])
def test_one_arm_at_chance_is_no_floor(arm, base, word, make_question):
    """The arm or its baseline learnt something."""
    values = {"values": (arm,) * 8, "baseline_values": (base,) * 8, "chance": (0.5,) * 8}
    assert judge(make_question(JITTER, **values)).word == word


def test_the_order_of_the_rules(make_question):
    """Each rule added to all later ones takes the word."""
    at_the_top = {"ceiling": tuple(make_question(GAIN).baseline_values)}
    on_the_floor = {"chance": (0.9,) * 8}
    broken = {"aa_failed": True}
    few = {"values": (0.9,) * 7, "baseline_values": (0.8,) * 7}
    assert judge(make_question(GAIN, **at_the_top)).word == "HELPS"
    assert judge(make_question(LOSS, **at_the_top)).word == "HURTS"
    assert judge(make_question(GAIN, **at_the_top, **on_the_floor)).word == "FLOOR"
    assert judge(make_question(GAIN, **on_the_floor, **broken)).word == "INVALID"
    assert judge(make_question(GAIN, **broken, **few)).word == "NO VERDICT"


def test_an_open_question_comes_with_the_blocks_that_would_settle_it(make_question):
    """The number is that of the observed mean and spread; a closed one has none."""
    wide = 0.004 + np.array([-0.02, 0.02, -0.01, 0.01, -0.015, 0.015, -0.02, 0.02])
    verdict = judge(make_question(wide))
    needed = blocks_to_settle(wide.mean(), wide.std(ddof=1), M)
    assert (verdict.word, verdict.needed) == ("INCONCLUSIVE", needed)
    assert f"About {needed} blocks would settle it" in verdict.sentence
    assert judge(make_question(GAIN)).needed is None
    on_it = judge(make_question(wide - 0.004 + M))
    assert on_it.needed is None
    assert "Not even 10,000 blocks would settle it" in on_it.sentence


def test_what_is_needed_is_more_than_there_is(make_question):
    """Eight lucky blocks may seem enough by their spread; one more is the least to ask for."""
    verdict = judge(make_question(GAIN, family_size=7))
    assert verdict.word == "INCONCLUSIVE"
    assert verdict.needed == 9


def test_blocks_against_a_control_are_those_of_the_control(make_question):
    """Where the baseline is beaten and a control is not settled, the control decides."""
    gain = 0.05 + JITTER
    question = make_question(gain)
    lead = 0.013 + np.linspace(-2 * M, 2 * M, 8)
    control = tuple(v - w for v, w in zip(question.values, lead, strict=True))
    verdict = judge(make_question(gain, controls={"c": control}, needs_control=True))
    assert verdict.needed == blocks_to_settle(lead.mean(), lead.std(ddof=1), M)


def test_ranks_are_no_spread(make_question):
    """With a diverged run the spread is that of a rank: nothing is promised from it."""
    base = (0.8,) * 8
    verdict = judge(
        make_question(JITTER, values=(0.0, *base[1:]), baseline_values=base, diverged=1)
    )
    assert (verdict.word, verdict.detectable, verdict.needed) == ("INCONCLUSIVE", None, None)


def test_the_detectable_difference_is_that_of_the_families_first_step(make_question):
    """Of one confirmatory comparison in three at .05 / 3; of an exploratory one at .05."""
    sd = float(np.std(GAIN, ddof=1))
    three = judge(make_question(GAIN, family_size=3))
    assert three.detectable == pytest.approx(detectable_difference(sd, 8, alpha=0.05 / 3))
    alone = judge(make_question(GAIN, family_size=3, role="exploratory"))
    assert alone.detectable == pytest.approx(detectable_difference(sd, 8))


def test_caveats(make_question):
    """Fixed options of an untuned arm, and the role of one that proves nothing."""
    fixed = ("lr 0.01", "30 epochs")
    plain = judge(make_question(GAIN, fixed=fixed))
    assert plain.caveats == ("not tuned: lr 0.01, 30 epochs",)
    tuned = judge(make_question(GAIN, fixed=fixed[1:], tuned=("lr 0.03",), budget=8))
    assert tuned.caveats == ("chosen of 8 settings: lr 0.03", "not tuned: 30 epochs")
    (lead,) = judge(make_question(GAIN, role="exploratory")).caveats
    assert lead.startswith("exploratory")
    (control,) = judge(make_question(GAIN, role="control")).caveats
    assert control.startswith("a control")
    assert (plain.question.regime, plain.question.budget) == ("as published", 1)


def test_secondary_numbers_have_the_sign_of_a_gain(make_question):
    """For a loss, less is a gain: intervals and effects turn with the metric."""
    question = make_question(
        GAIN,
        metric="test_loss",
        values=tuple(0.5 - g for g in GAIN),
        baseline_values=(0.5,) * 8,
    )
    verdict = judge(question)
    assert verdict.effects.hodges_lehmann == pytest.approx(0.02)
    assert verdict.effects.prob_better == 1.0
    for low, high in (verdict.t_interval, verdict.bca_interval):
        assert 0.019 < low < 0.02 < high < 0.021
    assert METRICS["test_loss"].sign == -1.0
