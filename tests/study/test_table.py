"""Verdicts on tables of other people's runs."""

import math

import pytest

from heatgrad.core.errors import SpecError
from heatgrad.study import compare_table, judge

SEEDS = [str(seed) for seed in range(8)]
BASE = [0.80, 0.81, 0.79, 0.82, 0.80, 0.78, 0.83, 0.81]
JITTER = [-0.001, 0.0005, 0.001, 0.0, -0.0005, 0.0008, 0.0002, -0.0008]


def arm(gain, scale=1.0):
    pairs = zip(SEEDS, BASE, JITTER, strict=True)
    return {seed: scale * (b + gain + j) for seed, b, j in pairs}


RUNS = {"SGD": dict(zip(SEEDS, BASE, strict=True)), "mine": arm(0.03), "norm": arm(0.001)}


def test_a_table_is_judged_as_a_study_is(make_question):
    """The same values, asked by hand."""
    (verdict,) = compare_table(
        RUNS, baseline="SGD", arms=["mine"], margin=0.01, metric="test_accuracy"
    )
    values = tuple(RUNS["mine"][seed] for seed in SEEDS)
    by_hand = judge(
        make_question(BASE, arm="mine", baseline="SGD", values=values, baseline_values=tuple(BASE))
    )
    assert (verdict.word, verdict.sentence) == (by_hand.word, by_hand.sentence)
    assert verdict.comparison == by_hand.comparison
    assert verdict.word == "HELPS"


def test_the_other_arms_are_the_family():
    """Without names all but baseline and controls are judged, and adjusted together."""
    verdicts = compare_table(RUNS, baseline="SGD", margin=0.01)
    assert [v.question.arm for v in verdicts] == ["mine", "norm"]
    assert [v.question.family_size for v in verdicts] == [2, 2]
    (alone,) = compare_table(RUNS, baseline="SGD", margin=0.01, controls=["norm"])
    assert (alone.question.family_size, alone.word) == (1, "HELPS")
    tied = {**RUNS, "norm": RUNS["mine"]}
    (shared,) = compare_table(tied, baseline="SGD", margin=0.01, controls=["norm"])
    assert shared.word == "HELPS-NOT-BECAUSE"
    assert "does not come from what sets them apart" in shared.sentence


@pytest.mark.parametrize("scale", [1e-7, 1.0, 1e7])
def test_units_do_not_matter(scale):
    """Values and margin in other units give the same word and p values, whatever their size."""
    runs = {name: {s: scale * v for s, v in run.items()} for name, run in RUNS.items()}
    found = compare_table(runs, baseline="SGD", margin=0.01 * scale)
    plain = compare_table(RUNS, baseline="SGD", margin=0.01)
    assert [v.word for v in found] == [v.word for v in plain] == ["HELPS", "TRIVIAL"]
    for one, other in zip(found, plain, strict=True):
        assert one.adjusted == other.adjusted
        assert one.comparison.low == pytest.approx(scale * other.comparison.low, rel=1e-6)


def test_less_may_be_better():
    """A loss of .03 less helps; the same numbers as a gain hurt."""
    down = {"SGD": RUNS["SGD"], "mine": arm(-0.03)}
    options = {"baseline": "SGD", "margin": 0.01, "metric": "val_loss"}
    (better,) = compare_table(down, higher_is_better=False, **options)
    (worse,) = compare_table(down, higher_is_better=True, **options)
    assert (better.word, worse.word) == ("HELPS", "HURTS")
    assert compare_table(down, baseline="SGD", margin=0.01, metric="test_loss")[0].word == "HELPS"
    with pytest.raises(SpecError, match="less of 'val_loss' sounds better; say which"):
        compare_table(down, **options)


@pytest.mark.parametrize("is_higher", [True, False])
def test_runs_that_are_not_finite_rank_worst(is_higher):
    """One diverged run makes nothing certain; five of eight are too many."""
    options = {"baseline": "SGD", "margin": 0.01, "higher_is_better": is_higher}
    gain = 0.03 if is_higher else -0.03
    for bad in (math.nan, math.inf, -math.inf):
        (once,) = compare_table({"SGD": RUNS["SGD"], "mine": arm(gain) | {"3": bad}}, **options)
        assert once.word == "INCONCLUSIVE"
        assert once.sentence.endswith("1 of its runs diverged and rank worst.")
        assert once.spread[0] < -1e5
    ruined = arm(gain) | dict.fromkeys(SEEDS[:5], math.nan)
    (invalid,) = compare_table({"SGD": RUNS["SGD"], "mine": ruined}, **options)
    assert invalid.word == "INVALID"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"baseline": "SDG"}, "baseline 'SDG' is not in the table; did you mean 'SGD'?"),
        ({"arms": ["mien"]}, "arm 'mien' is not in the table; did you mean 'mine'?"),
        ({"controls": ["none"]}, "control 'none' is not in the table"),
        ({"arms": ["SGD"]}, "baseline, arms and controls must differ, got SGD, SGD"),
        ({"controls": ["mine", "norm"]}, "no arm to compare with 'SGD'"),
        ({"margin": 0.0}, "margin must be a number greater than 0, got 0.0"),
        ({"margin": math.nan}, "margin must be a number greater than 0, got nan"),
    ],
)
def test_what_cannot_be_compared(changes, message):
    """One line: what is wrong, and the nearest name."""
    with pytest.raises(SpecError) as error:
        compare_table(RUNS, **({"baseline": "SGD", "margin": 0.01} | changes))
    assert str(error.value).startswith(message)


def test_seeds_that_do_not_match_are_named():
    """Both sides, and a few of many."""
    odd = dict.fromkeys((*SEEDS[1:], "8", "9", "10", "11", "12"), 0.8)
    with pytest.raises(SpecError) as error:
        compare_table({"SGD": RUNS["SGD"], "odd": odd}, baseline="SGD", margin=0.01)
    assert "0 only in 'SGD', 8, 9, 10 and 2 more only in 'odd'" in str(error.value)


def test_too_few_seeds_give_a_range_and_too_many_arms_an_error():
    """Seven seeds: NO VERDICT. Seven arms with eight seeds: nine seeds are needed."""
    few = {name: dict(list(run.items())[:7]) for name, run in RUNS.items()}
    assert {v.word for v in compare_table(few, baseline="SGD", margin=0.01)} == {"NO VERDICT"}
    many = {"SGD": RUNS["SGD"], **{f"a{k}": RUNS["mine"] for k in range(7)}}
    with pytest.raises(SpecError, match=r"7 arms are too many for 8 seeds: .* 9 seeds are needed"):
        compare_table(many, baseline="SGD", margin=0.01)


def spread(center, gain=0.0, count=10):
    return {str(seed): center + 0.001 * ((7 * seed) % 10) + gain for seed in range(count)}


def test_a_run_that_explodes_elsewhere_changes_nothing():
    """In a control, or in another arm: the interval and p of this one stay."""
    runs = {"SGD": spread(2.0), "mine": spread(2.0, -0.05), "Adam": spread(2.0)}
    how = {"baseline": "SGD", "margin": 0.01, "metric": "loss", "higher_is_better": False}
    alone = compare_table(runs, arms=["mine"], controls=["Adam"], **how)[0].comparison
    runs["Adam"]["3"] = 1e8
    (beside,) = compare_table(runs, arms=["mine"], controls=["Adam"], **how)
    assert beside.word == "HELPS"
    assert (beside.comparison.low, beside.comparison.high) == (alone.low, alone.high)
    assert beside.comparison.p == alone.p
    both = compare_table(runs, **how)[0]
    assert both.word == "HELPS"
    assert (both.comparison.low, both.comparison.high) == (alone.low, alone.high)


def test_a_large_offset_hides_no_difference():
    """Doubles know 1e9 + 2 well."""
    runs = {"a": spread(1e9), "b": spread(1e9, 2.0)}
    (verdict,) = compare_table(runs, baseline="a", margin=0.5, metric="score")
    assert verdict.word == "HELPS"
    assert verdict.comparison.mean == pytest.approx(2, abs=1e-5)


def test_a_diverged_run_ranks_below_what_is_worse_than_a_known_metrics_worst():
    """Losses of five million are finite; what is not is worse."""
    runs = {"SGD": spread(5e6), "mine": spread(5e6, -2000.0)}
    for seed in range(5):
        runs["mine"][str(seed)] = float("nan")
    (verdict,) = compare_table(runs, baseline="SGD", margin=1000, metric="test_loss")
    assert verdict.word != "HELPS"
    assert verdict.comparison.mean < 0


def test_an_accuracy_of_zero_is_no_divergence():
    """As on a task of many classes: a number like others, of arm and baseline."""
    runs = {"SGD": spread(0.5), "mine": spread(0.6)}
    for seed in range(7):
        runs["SGD"][str(seed)] = 0.0
    (verdict,) = compare_table(runs, baseline="SGD", margin=0.01, metric="test_accuracy")
    assert verdict.word == "HELPS"
    assert "diverged" not in verdict.sentence


@pytest.mark.parametrize("name", ["val/loss", "valLoss", "val-nll", "eval_WER", "rmse", "testLoss"])
def test_costs_by_the_names_that_loggers_give(name):
    with pytest.raises(SpecError, match=f"less of '{name}' sounds better"):
        compare_table({"a": spread(1), "b": spread(2)}, baseline="a", margin=0.1, metric=name)


@pytest.mark.parametrize("name", ["acc", "val/acc", "glossary", "lossless_share"])
def test_other_names_are_no_costs(name):
    runs = {"a": spread(1), "b": spread(2)}
    assert compare_table(runs, baseline="a", margin=0.1, metric=name)[0].word == "HELPS"


def test_values_that_are_too_large():
    runs = {"a": spread(1e303), "b": spread(1)}
    with pytest.raises(SpecError, match=r"at most 1e\+300 in size, got 1e\+303; scale them"):
        compare_table(runs, baseline="a", margin=0.1)


def test_a_table_of_the_baseline_alone():
    with pytest.raises(SpecError, match=r"no arm to compare with 'S': .* holds \(S\)"):
        compare_table({"S": spread(1)}, baseline="S", margin=0.1)
