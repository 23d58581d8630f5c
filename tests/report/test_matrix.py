import dataclasses

import pytest

from heatgrad.report.matrix import verdict_matrices
from heatgrad.report.rows import regimes_of, verdict_rows


def tuned(verdict, shift=0.0):
    """Return the same verdict under the other regime."""
    values = tuple(v + shift for v in verdict.question.values)
    question = dataclasses.replace(verdict.question, regime="each tuned", values=values)
    return dataclasses.replace(verdict, question=question)


def test_every_arm_stands_on_every_task(make_results):
    results = make_results(num_stored=None)
    verdicts = results.verdicts()
    anchors = {task: f"task-{n}" for n, task in enumerate(results.study.tasks)}
    (matrix,) = verdict_matrices(results.study, verdicts[::-1], anchors)
    assert matrix.title == "as published"
    assert [name for name, _ in matrix.columns] == list(results.study.tasks)
    assert [row.arm for row in matrix.rows] == [a for a in results.study.arms if a != "SGD"]
    words = {(v.question.arm, v.question.task): v.word for v in verdicts}
    for row in matrix.rows:
        found = [cell.word for cell in row.cells]
        assert found == [words[row.arm, task] for task in results.study.tasks]
    assert [row.role for row in matrix.rows][-3:] == ["control", "control", "exploratory"]
    assert matrix.rows[0].cells[0].difference == "+1.00"


def test_a_single_column_is_no_matrix(make_results):
    results = make_results(tasks={"s": {"kind": "Spiral"}})
    verdicts = results.verdicts()
    assert verdict_matrices(results.study, verdicts, {"s": "task-0"}) == []
    assert verdict_matrices(results.study, [], {"a": "0", "b": "1"}) == []
    both = [tuned(verdicts[0]), *verdicts]
    (matrix,) = verdict_matrices(results.study, both, {"s": "task-0"})
    assert matrix.title == "s"
    assert matrix.columns == (("as published", "task-0"), ("each tuned", "task-0"))
    first, *others = matrix.rows
    assert [cell.word for cell in first.cells] == [verdicts[0].word] * 2
    assert all(row.cells[1].word == "" for row in others)


def test_what_is_not_finished_is_empty_and_few_runs_are_a_range(make_results):
    results = make_results(seeds=3)
    verdicts = [v for v in results.verdicts() if v.question.task == "spiral"]
    anchors = {"spiral": "task-0", "digits": "task-3"}
    (matrix,) = verdict_matrices(results.study, verdicts, anchors)
    spiral, digits = matrix.rows[0].cells
    assert (spiral.word, spiral.difference) == ("NO VERDICT", "+1.00")
    assert (digits.word, digits.difference) == ("", "")


def test_the_published_regime_is_first(make_results):
    verdicts = make_results().verdicts()[:2]
    other = dataclasses.replace(verdicts[0].question, regime="a third")
    third = dataclasses.replace(verdicts[0], question=other)
    found = regimes_of([third, tuned(verdicts[0]), *verdicts])
    assert found == ["as published", "a third", "each tuned"]


def test_rows_of_another_regime_hold_its_own_values(make_results):
    """Medians of the records of that regime, and no others."""
    results = make_results()
    again = [
        dataclasses.replace(
            record,
            spec=record.spec | {"regime": "each tuned"},
            curves=record.curves
            | {"test_accuracy": [v - 0.25 for v in record.curves["test_accuracy"]]},
        )
        for record in results.records
        if record.arm in ("SGD", "Adam")
    ]
    both = dataclasses.replace(results, records=(*results.records, *again))
    published = [v for v in results.verdicts() if v.question.task == "spiral"]
    verdicts = [tuned(v, shift=0.1) for v in published[:2]]
    before = {row.arm: row for row in verdict_rows(both, "spiral", published)}
    rows = {row.arm: row for row in verdict_rows(both, "spiral", verdicts, regime="each tuned")}
    assert list(rows) == ["SGD", "Adam"]
    for arm in rows:
        assert rows[arm].value.key - before[arm].value.key == pytest.approx(-0.25)
    assert rows["SGD"].word == "baseline"


def test_rows_sort_by_numbers_and_not_by_words(make_results):
    results = make_results()
    verdicts = [v for v in results.verdicts() if v.question.task == "spiral"]
    for row in verdict_rows(results, "spiral", verdicts)[1:]:
        verdict = next(v for v in verdicts if v.question.arm == row.arm)
        assert row.difference.key == verdict.comparison.mean
        assert row.p.key == verdict.comparison.p
        assert row.n.key == 8
