"""The page of a thin copy says what it lacks; that of the whole study has it in every regime."""

import dataclasses

import pytest

from heatgrad.report import write_report
from heatgrad.report.numbers import numbers_rows
from heatgrad.study import METRICS, Results
from heatgrad.study.wording import show_value

TASKS = {"s": {"kind": "Digits"}}


@pytest.fixture(scope="module")
def both(make_results):
    """Return results of one task in two regimes."""
    tuning = {"budget": 8, "blocks": 1, "space": {"lr": [0.01, 1.0]}}
    results = make_results(tasks=TASKS, tuning=tuning)
    again = [
        dataclasses.replace(
            record,
            key=f"tuned {record.key}",
            spec=record.spec | {"regime": "each tuned"},
        )
        for record in results.records
        if record.role == "report"
    ]
    reported = [record for record in results.records if record.role == "report"]
    return Results(results.study, (*reported, *again), results.num_planned)


def thinned(results):
    records = [
        dataclasses.replace(r, curves={name: curve[-1:] for name, curve in r.curves.items()})
        for r in results.records
    ]
    return dataclasses.replace(results, records=tuple(records))


def written(results, path):
    write_report(results, path)
    return path.read_text(encoding="utf-8")


def test_every_regime_has_its_curves_costs_and_final_values(both, tmp_path):
    text = written(both, tmp_path / "page.html")
    assert "Made from a copy" not in text
    for regime in ("as published", "each tuned"):
        assert f"Costs on s, {regime}" in text
        assert f"Numbers of the verdicts on s, {regime}" in text
    assert text.count("Line: median over runs") == 2
    finals = text[text.index('id="finals"') : text.index('id="data"')]
    assert finals.count("n = 8.") == 2


def test_a_thin_copy_shows_no_times_costs_or_curves(both, tmp_path):
    copy = thinned(both)
    assert both.is_whole
    assert not copy.is_whole
    text = written(copy, tmp_path / "page.html")
    assert "Made from a copy that holds the end of each run" in text
    assert "Costs on s" not in text
    assert "Line: median over runs" not in text
    assert "norm ratio of" not in text
    assert 'id="finals"' in text
    words = [verdict.word for verdict in both.verdicts()]
    assert [verdict.word for verdict in copy.verdicts()] == words


def test_every_number_and_what_to_mind_stand_on_the_page(both, tmp_path):
    verdicts = [v for v in both.verdicts() if v.question.regime == "each tuned"]
    rows = numbers_rows(verdicts, dict.fromkeys(both.study.arms, "#000000"))
    metric = METRICS["test_accuracy"]
    for verdict, row in zip(verdicts, rows, strict=True):
        assert row.arm == verdict.question.arm
        size = show_value(verdict.detectable, metric, unit=False)
        assert row.detectable.text == size
        assert row.centre.key == verdict.effects.hodges_lehmann
        assert row.student.key == verdict.t_interval[0]
        assert row.chosen == ", ".join(verdict.question.tuned)
    text = written(both, tmp_path / "page.html")
    assert rows[0].student.text in text
    assert "Hodges-Lehmann" in text


def test_a_page_that_cannot_be_written_says_that_nothing_is_lost(both, tmp_path, monkeypatch):
    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_text", full)
    with pytest.raises(Exception, match=r"No space left on device; what was run is stored"):
        write_report(both, tmp_path / "page.html")
