"""A metric averaged over the last epochs, by hand."""

from dataclasses import replace

import pytest

from heatgrad.core.errors import SpecError
from heatgrad.study import StudySpec, run_study
from heatgrad.study.finals import final_value
from heatgrad.study.results import Results
from heatgrad.study.thin import thin


def test_the_mean_of_the_last_epochs(spec, tmp_path):
    """Each final value is the arithmetic mean of the curve's end; a thin copy keeps that much."""
    study = spec(seeds=8, epochs=3, metric_epochs=2)
    results = run_study(study, out=tmp_path / "whole", workers=0)
    for record in results.records:
        last = record.curves["test_accuracy"][-2:]
        assert results.values(record.task, record.arm)[record.block] == pytest.approx(sum(last) / 2)
    verdict = results.verdicts()[0]
    assert "3 epochs (mean of the last 2)" in verdict.question.fixed
    thin(tmp_path / "whole", tmp_path / "thin")
    copy = Results.load(tmp_path / "thin")
    assert copy.verdicts() == results.verdicts()
    assert {len(r.curves["test_loss"]) for r in copy.records} == {2}


def test_a_run_that_diverged_is_worst(spec, tmp_path):
    """Whatever it had reached before; a value that is not finite is no part of a mean."""
    record = run_study(spec(seeds=1, epochs=2), out=tmp_path, workers=0).records[0]
    assert final_value(replace(record, status="diverged"), "test_accuracy", 2) == 0.0
    curves = record.curves | {"test_loss": [None, 0.5]}
    assert final_value(replace(record, curves=curves), "test_loss", 2) == 1e6
    assert final_value(replace(record, curves=curves), "test_loss") == 0.5


def test_it_decides_the_results(spec):
    """So another number is another study; one epoch is what it always was."""
    plain, averaged = (StudySpec.from_dict(spec(**extra)) for extra in ({}, {"metric_epochs": 2}))
    assert plain.id != averaged.id
    assert plain.id == StudySpec.from_dict(spec(metric_epochs=1)).id


def test_it_needs_as_many_epochs(spec):
    """One line, with the task that has fewer."""
    tasks = {name: task | {"epochs": 1} for name, task in spec()["tasks"].items()}
    with pytest.raises(SpecError, match="metric_epochs must be at most the epochs of every task"):
        StudySpec.from_dict(spec(tasks=tasks, metric_epochs=2))
