"""The smoothness table: medians of what the runs have recorded."""

import dataclasses
import statistics

import pytest

from heatgrad.report.paths import path_rows


def walked(results, **curves):
    """Return the results with the same path curves in every run, scaled by the block."""
    records = [
        dataclasses.replace(r, curves=r.curves | {k: v(r.block) for k, v in curves.items()})
        for r in results.records
    ]
    return dataclasses.replace(results, records=tuple(records))


@pytest.fixture
def results(make_results):
    return walked(
        make_results(),
        grad_tv=lambda b: [0.1 * (b + 1), None, 0.3 * (b + 1)],
        roughness=lambda b: [0.5, 0.5, 0.2],
        successive_cosine=lambda b: [None, None, None],
        step_length=lambda b: [1.0, 2.0, 3.0 + b],
        chord=lambda b: [1.0, 1.5, 3.0],
    )


def test_means_over_epochs_then_medians_over_runs(results):
    """By hand; an epoch without a value is left out, and a curve without any is empty."""
    row = path_rows(results, "spiral")[0]
    blocks = range(8)
    assert row.variation.key == pytest.approx(statistics.median(0.2 * (b + 1) for b in blocks))
    assert row.roughness.text == "0.4000"
    assert row.cosine.text == ""
    assert row.detour.key == pytest.approx(statistics.median((6.0 + b) / 3 for b in blocks))


def test_runs_without_a_path_have_no_row(make_results):
    """Older records, thin copies, and arms of which every run diverged."""
    results = make_results()
    bare = dataclasses.replace(
        results,
        records=tuple(
            dataclasses.replace(r, curves={k: v for k, v in r.curves.items() if k != "chord"})
            for r in results.records
        ),
    )
    assert path_rows(bare, "spiral") == []
