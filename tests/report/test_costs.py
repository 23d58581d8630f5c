import dataclasses
import math

import numpy as np
import pytest

from heatgrad.report import write_report
from heatgrad.report.costs import cost_of, cost_table, epochs_to
from heatgrad.study import METRICS

ACCURACY, LOSS = METRICS["test_accuracy"], METRICS["test_loss"]
TASKS = {"s": {"kind": "Spiral", "num_samples": 130, "num_test": 50}}
ARMS = {"SGD": {"kind": "SGD"}, "Adam": {"kind": "Adam"}}


@pytest.fixture
def timed(make_results):
    """Return the function `seconds, accuracies -> results` of two arms in matched blocks."""

    def make(seconds, curves=None, *, status=None, backend="loop"):
        num_epochs = 3
        found = make_results(
            tasks=TASKS,
            arms=ARMS,
            confirmatory=[],
            seeds=len(seconds["SGD"]),
            num_epochs=num_epochs,
        )
        records = []
        for record in found.records:
            mine = {"seconds": [seconds[record.arm][record.block]] * num_epochs}
            if curves:
                mine["test_accuracy"] = curves[record.arm][record.block]
            records.append(
                dataclasses.replace(
                    record,
                    curves=record.curves | mine,
                    spec=record.spec | {"backend": backend, "batch_size": 50},
                    num_train=120,
                    status=(status or {}).get((record.arm, record.block), "finished"),
                )
            )
        return dataclasses.replace(found, records=tuple(records))

    return make


def test_times_by_hand(timed):
    """120 examples in batches of 50 are 3 steps; ratios are taken block by block."""
    seconds = {"SGD": [1.0, 2.0, 10.0], "Adam": [2.0, 3.0, 15.0]}
    results = timed(seconds)
    arms = [results.select("s", arm) for arm in ("Adam", "SGD")]
    cost = cost_of(*arms, target=0.5, metric="test_accuracy")
    assert cost.epoch_seconds == 3
    assert cost.step_seconds == pytest.approx(1)
    np.testing.assert_allclose(cost.ratios, np.percentile([2, 1.5, 1.5], [25, 50, 75]))
    unmatched = cost_of(arms[0][:1], arms[1][1:], target=0.5, metric="test_accuracy")
    assert unmatched.ratios is None


def test_a_run_that_never_arrives_counts_as_later_than_any(timed):
    curves = {
        "SGD": [[0.5, 0.6, 0.7]] * 3,
        "Adam": [[0.8, 0.1, 0.1], [0.1, 0.7, 0.9], [0.1, 0.2, 0.3]],
    }
    results = timed({"SGD": [1.0] * 3, "Adam": [1.0] * 3}, curves)
    table = cost_table(results, "s")
    assert table.target == "70.00 %"
    sgd, adam = table.rows
    assert (adam.epochs.text, adam.steps.text, adam.reached.text) == ("2", "6", "2 of 3")
    assert (sgd.epochs.text, sgd.reached.text, sgd.ratio.text) == ("3", "3 of 3", "")
    assert not table.is_early
    fallen = timed({"SGD": [1.0] * 3, "Adam": [1.0] * 3}, curves, status={("Adam", 0): "diverged"})
    adam = cost_table(fallen, "s").rows[1]
    assert (adam.epochs.text, adam.steps.text, adam.reached.text) == ("> 3", "", "1 of 3")
    assert adam.epochs.key == math.inf


def test_half_of_the_runs_are_not_enough(timed):
    curves = {"SGD": [[0.9] * 3] * 2, "Adam": [[0.9] * 3, [0.1] * 3]}
    results = timed({"SGD": [1.0] * 2, "Adam": [1.0] * 2}, curves)
    cost = cost_of(
        results.select("s", "Adam"), results.select("s", "SGD"), target=0.9, metric="test_accuracy"
    )
    assert cost.epochs == cost.steps == math.inf


def test_a_target_that_all_reach_at_once_says_nothing(timed):
    curves = {arm: [[0.9, 0.8, 0.8]] * 3 for arm in ARMS}
    assert cost_table(timed({arm: [1.0] * 3 for arm in ARMS}, curves), "s").is_early


def test_memory_by_hand(timed, tmp_path):
    """The first run that tells, over its own parameters; no column where none does."""
    results = timed({arm: [1.0] * 3 for arm in ARMS})
    table = cost_table(results, "s")
    assert not table.has_memory
    records = [
        dataclasses.replace(r, num_parameters=50, memory={"kept": 400, "passing": 120})
        if (r.arm, r.block) == ("Adam", 1)
        else r
        for r in results.records
    ]
    told = dataclasses.replace(results, records=tuple(records))
    table = cost_table(told, "s")
    assert [row.kept.text for row in table.rows] == ["", "8.0 B"]
    assert [row.passing.text for row in table.rows] == ["", "2.4 B"]
    pages = []
    for name, some in (("with", told), ("without", results)):
        write_report(some, tmp_path / f"{name}.html")
        pages.append((tmp_path / f"{name}.html").read_text())
    assert ["memory kept" in page for page in pages] == [True, False]


def test_what_is_trained_at_once_has_no_ratio(timed):
    table = cost_table(timed({arm: [1.0] * 3 for arm in ARMS}, backend="replicas"), "s")
    assert table.is_shared
    assert [row.ratio.text for row in table.rows] == ["", ""]


@pytest.mark.parametrize(
    ("curve", "metric", "epoch"),
    [
        ([0.5, 0.7], ACCURACY, 2),
        ([0.7 - 1e-10], ACCURACY, 1),
        ([None, 0.69], ACCURACY, None),
        ([0.8, 0.7, 0.9], LOSS, 2),
        ([], LOSS, None),
    ],
)
def test_first_epochs(curve, metric, epoch):
    assert epochs_to(curve, 0.7, metric) == epoch


def test_no_baseline_no_table(timed):
    results = timed({arm: [1.0] * 3 for arm in ARMS})
    alone = dataclasses.replace(results, records=tuple(results.select("s", "Adam")))
    assert cost_table(alone, "s") is None
