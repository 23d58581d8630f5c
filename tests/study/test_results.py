"""Tables, verdicts and exports from records made by hand."""

import csv
from dataclasses import replace

import numpy as np
import pytest

from heatgrad.study import METRICS
from heatgrad.study.results import final_value
from heatgrad.study.trial import CURVES

BASE = [0.80, 0.81, 0.79, 0.82, 0.80, 0.78, 0.83, 0.81]


def gained(points):
    return [b + points / 100 for b in BASE]


FINALS = {
    ("spiral", "SGD"): BASE,
    ("spiral", "diffusion"): gained(3),
    ("spiral", "placebo"): gained(0.2),
}


@pytest.fixture
def values(spec):
    """Return a study of eight blocks."""
    return spec(seeds=8)


def said(results):
    return {
        (v.question.task, v.question.arm): (v.word, v.sentence, v.comparison, v.spread)
        for v in results.verdicts()
    }


def test_verdicts_of_a_complete_study(values, make_results):
    """Three points above the baseline and above the placebo: HELPS; the placebo does not."""
    verdicts = make_results(values, FINALS).verdicts()
    found = {v.question.arm: (v.word, v.question.role) for v in verdicts}
    assert found == {"diffusion": ("HELPS", "confirmatory"), "placebo": ("TRIVIAL", "control")}


def test_another_arm_changes_no_other_verdict(values, make_results):
    """An exploratory arm more or less, and any order of arms and rows: the others stay the same.

    A task more enlarges the family, so that adjusted p values may grow; here no word hangs on it.
    """
    before = said(make_results(values, FINALS))
    more = values | {"arms": {"Adam": {"kind": "Adam"}, **values["arms"]}}
    finals = FINALS | {("spiral", "Adam"): gained(9)}
    after = said(make_results(more, finals))
    assert set(after) == {*before, ("spiral", "Adam")}
    assert {name: after[name] for name in before} == before
    backwards = values | {"arms": dict(reversed(values["arms"].items()))}
    assert said(make_results(backwards, FINALS)) == before
    results = make_results(values, FINALS)
    assert said(replace(results, records=results.records[::-1])) == before
    two = values | {"tasks": {"other": values["tasks"]["spiral"], **values["tasks"]}}
    with_other = said(make_results(two, FINALS | {("other", "SGD"): BASE}))
    assert with_other == before


def test_a_new_control_is_asked_for_its_own_arm_only(values, make_results):
    """A control that ties turns its arm's HELPS into HELPS-NOT-BECAUSE, and no other's."""
    arms = {
        **values["arms"],
        "stronger": {"kind": "DiffusionSGD", "diffusion": 0.2},
        "norm": {"kind": "NormMatchedSGD", "diffusion": 0.1, "control_of": "diffusion"},
    }
    finals = FINALS | {("spiral", "norm"): gained(3), ("spiral", "stronger"): gained(3)}
    found = said(make_results(values | {"arms": arms}, finals))
    assert found["spiral", "diffusion"][0] == "HELPS-NOT-BECAUSE"
    assert found["spiral", "stronger"][0] == "INCONCLUSIVE"
    assert "no control" in found["spiral", "stronger"][1]
    assert found["spiral", "placebo"] == said(make_results(values, FINALS))["spiral", "placebo"]


def test_only_blocks_that_all_have_finished_are_compared(values, make_results):
    """With seven of the placebo's blocks there is no verdict; without any, no question."""
    seven = make_results(values, FINALS | {("spiral", "placebo"): gained(0)[:7]})
    assert seven.num_missing == 1
    assert {v.question.arm: v.word for v in seven.verdicts()} == {
        "diffusion": "NO VERDICT",
        "placebo": "NO VERDICT",
    }
    nothing = {key: final for key, final in FINALS.items() if key[1] != "SGD"}
    assert make_results(values, nothing).verdicts() == []


@pytest.mark.parametrize("metric", METRICS)
def test_a_diverged_run_ranks_worst(metric, values, make_results):
    """A diverged run is worse than any that finished, whatever its last numbers were."""
    scale = METRICS[metric]
    finals = {("spiral", "SGD"): [None, 1e30 if metric.endswith("loss") else 0.3, 0.5]}
    results = make_results(values | {"metric": metric}, finals)
    diverged, awful, fair = (final_value(record, metric) for record in results.records)
    assert diverged == scale.worst
    assert scale.sign * diverged <= scale.sign * awful < scale.sign * fair
    (row,) = results.table()
    assert (row["n"], row["diverged"]) == (3, 1)
    assert results.values("spiral", "SGD") == {0: diverged, 1: awful, 2: fair}


def test_the_table_holds_numpys_quartiles(values, make_results):
    """Median and quartiles of eight values, one row per task and arm, in the study's order."""
    rows = make_results(values | {"epochs": 1}, FINALS).table()
    assert [row["arm"] for row in rows] == ["SGD", "diffusion", "placebo"]
    low, median, high = np.percentile(BASE, [25, 50, 75])
    first = rows[0]
    assert (first["test_accuracy_q1"], first["test_accuracy"]) == (low, median)
    assert (first["test_accuracy_q3"], first["test_accuracy_max"]) == (high, max(BASE))
    assert (first["n"], first["diverged"], first["seconds"]) == (8, 0, 0.5)
    of_a_part = make_results(values | {"epochs": 2}, FINALS)  # as in a thin copy
    assert not of_a_part.is_whole
    assert np.isnan(of_a_part.table()[0]["seconds"])


def test_the_ceiling_of_the_metric_reaches_the_verdict(values, make_results):
    """A baseline within a point of the ceiling: the placebo's .2 points are no gain to look for."""
    ceiling = {"test_accuracy": 0.81, "test_accuracy_clean": 1.0}
    results = make_results(values, FINALS, ceiling=ceiling)
    assert {v.question.arm: v.word for v in results.verdicts()}["placebo"] == "CEILING"
    loss = make_results(values | {"metric": "test_loss"}, FINALS, ceiling=ceiling)
    assert all(v.question.ceiling is None for v in loss.verdicts())


def test_the_family_is_the_declared_one(values, make_results):
    """Two tasks are a family of two, also while the second has no runs: p = 2/256 counts twice."""
    two = values | {"tasks": {"other": values["tasks"]["spiral"], **values["tasks"]}}
    verdicts = make_results(two, FINALS).verdicts()
    found = {v.question.arm: v for v in verdicts}
    assert found["diffusion"].question.family_size == 2
    assert found["diffusion"].adjusted.beyond == 2 * 2 / 256
    assert found["placebo"].adjusted.beyond == found["placebo"].comparison.beyond_p


def test_the_level_of_chance_reaches_the_verdict(values, make_results):
    """A baseline and a placebo half a point above chance learnt nothing; diffusion did."""
    chance = {"test_accuracy": 0.80, "test_accuracy_clean": 0.5}
    found = make_results(values, FINALS, chance=chance).verdicts()
    assert {v.question.arm: v.word for v in found} == {"diffusion": "HELPS", "placebo": "FLOOR"}
    loss = make_results(values | {"metric": "test_loss"}, FINALS, chance=chance).verdicts()
    assert all(v.question.chance is None for v in loss)


def test_the_declared_share_of_diverged_runs_reaches_the_verdict(values, make_results):
    """Two of eight: too many for a share of .2, not for one of .25."""
    finals = FINALS | {("spiral", "placebo"): [None, None, *gained(0.2)[2:]]}
    for share, is_invalid in ((0.2, True), (0.25, False)):
        found = make_results(values | {"max_diverged": share}, finals).verdicts()
        words = {v.question.arm: v.word for v in found}
        assert (words["placebo"] == "INVALID") == is_invalid


def test_equal_arms_that_differ_make_a_task_invalid(values, make_results):
    """An A/A control: the baseline's options under another name, one run of eight off."""
    arms = {**values["arms"], "SGD again": {"kind": "SGD"}}
    again = ("spiral", "SGD again")
    equal = make_results(values | {"arms": arms}, FINALS | {again: BASE}).verdicts()
    assert {v.question.arm: v.word for v in equal} == {
        "diffusion": "HELPS",
        "placebo": "TRIVIAL",
        "SGD again": "EQUIVALENT",
    }
    off = [*BASE[:7], BASE[7] + 1e-6]
    differing = make_results(values | {"arms": arms}, FINALS | {again: off}).verdicts()
    assert {v.word for v in differing} == {"INVALID"}


def test_what_was_not_tuned_is_told(values, make_results):
    """The options of the trial, not of the study's defaults."""
    arms = {**values["arms"], "SGD": {"kind": "SGD", "lr": 0.3}}
    arms["diffusion"] = arms["diffusion"] | {"lr": 0.2}
    (verdict, _) = make_results(values | {"arms": arms}, FINALS).verdicts()
    fixed = ("lr 0.2", "batch size 32", "2 epochs", "constant schedule", "SimpleMLP")
    assert verdict.question.fixed == fixed
    assert verdict.caveats == (f"not tuned: {', '.join(fixed)}",)


def test_export_has_one_line_per_trial_and_epoch(values, make_results, tmp_path):
    """Read back by the csv module: the columns, every record, an empty cell for what was None."""
    finals = FINALS | {("spiral", "SGD"): [*BASE[:7], None]}
    results = make_results(values, finals)
    path = tmp_path / "t.csv"
    assert results.export_csv(path) == 24
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 24
    assert list(rows[0]) == ["regime", "task", "arm", "block", "seed", "status", "epoch", *CURVES]
    last = next(r for r in rows if (r["arm"], r["block"]) == ("SGD", "7"))
    assert (last["test_accuracy"], last["status"], last["epoch"]) == ("", "diverged", "1")
    assert [float(r["test_accuracy"]) for r in rows if r["arm"] == "diffusion"] == gained(3)


def test_export_of_older_records_leaves_newer_curves_empty(values, make_results, tmp_path):
    """A record that was made before a curve was known has an empty cell there, and all others."""
    results = make_results(values, FINALS)
    for record in results.records:
        del record.curves["roughness"]
    path = tmp_path / "t.csv"
    assert results.export_csv(path) == 24
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {(row["roughness"], row["chord"]) for row in rows} == {("", "0.5")}


def test_export_never_overwrites(values, make_results, tmp_path):
    """A file that is there stays as it is."""
    path = tmp_path / "t.csv"
    path.write_text("mine")
    with pytest.raises(FileExistsError):
        make_results(values, FINALS).export_csv(path)
    assert path.read_text() == "mine"


def test_names_with_commas_and_quotes_survive_the_export(spec, make_results, tmp_path):
    """A task called `a,"b"` comes back from the csv module as it went in."""
    values = spec(tasks={'a,"b";c': spec()["tasks"]["spiral"]})
    results = make_results(values, {('a,"b";c', "SGD"): [0.5, 0.6]})
    results.export_csv(tmp_path / "t.csv")
    with open(tmp_path / "t.csv", newline="", encoding="utf-8") as file:
        assert [row["task"] for row in csv.DictReader(file)] == ['a,"b";c'] * 2
