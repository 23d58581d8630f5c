"""Pages of solutions from sensors and of the benchmark: what they say, and what they never say."""

import re

import numpy as np
import pytest

from heatgrad.report.findings import write_findings
from heatgrad.report.posteriors import posterior_findings
from heatgrad.report.solve import per_cent, solve_findings
from heatgrad.solving import (
    REPORTED_BY,
    BenchmarkRow,
    BenchmarkSpec,
    PosteriorBenchmark,
    SolveSpec,
    run_solve,
)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """Solve a small problem once."""
    spec = SolveSpec.from_dict(
        {"problem": "poisson", "options": {"n": 17}, "observe": {"u": 30}, "draws": 4}
    )
    return run_solve(spec, tmp_path_factory.mktemp("run"))


def test_a_solution_has_all_its_parts(found):
    """Fields with five panels where the truth is known, tables, a gallery; the unknown first."""
    page = solve_findings(found)
    assert [section.title for section in page.sections] == [
        "Field a", "Field u", "How good it is", "Draws",
    ]  # fmt: skip
    assert len(page.sections[0].pictures[0].svgs) == 4  # a has no sensors
    assert len(page.sections[1].pictures[0].svgs) == 5
    errors, costs = page.sections[2].grids
    assert len(errors.rows) == 2 * 2
    assert [name for name, _ in costs.rows] == [
        "pseudo-inverse guidance",
        "exact posterior",
        "truth",
    ]
    assert page.answer[0].startswith("a: the mean errs by")
    assert "the exact posterior by" in page.answer[0]


def test_numbers_of_the_page_are_those_of_the_scores(found):
    score = found.scores["exact"]["a"]
    rows = solve_findings(found).sections[2].grids[0].rows
    cells = next(c for name, c in rows if name == "exact posterior" and c[0].text == "a")
    assert [cell.key for cell in cells[1:4]] == [score.mean_error, score.draw_error, score.coverage]
    assert per_cent(float("nan")).text == ""


def test_names_of_figures_are_unique_and_the_page_is_one_file(found, tmp_path):
    """Two figures of one name would share their ids."""
    write_findings(solve_findings(found), tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    labels = re.findall(r'<svg role="img" aria-label="([^"]*)"', page)
    assert len(labels) == len(set(labels)) == 4 + 5 + 2 * 4
    assert "https://" not in page


def row(arm, seed, errors, *, direction="inverse", problem="darcy"):
    """Return a row by hand."""
    errors = np.array(errors)
    figures = ("mean_error", "draw_error", "coverage", "crps", "residual_mean", "residual_draw")
    values = dict.fromkeys((*figures, "seconds", "wrong"), errors)
    return BenchmarkRow(problem, direction, arm, f"The <{arm}>", seed, "a", 100, 29, 1.5, values)


def benchmark(rows):
    """Return a benchmark by hand, with a gallery."""
    fields = {
        name: np.random.default_rng(0).normal(size=(5, 5)) for name in ("truth", "mean", "std")
    }
    gallery = {**fields, "draws": np.ones((2, 5, 5)), "target": "a", "observed": "u"}
    about = {
        "parameters": 10, "numbers": 100, "epochs": 3, "seconds_prepared": 60.0,
        "seconds_trained": 600.0,
    }  # fmt: skip
    return PosteriorBenchmark(
        BenchmarkSpec(),
        tuple(rows),
        {("darcy", "inverse"): gallery},
        {("darcy", "trained"): about},
        {},
    )


def test_the_benchmark_compares_on_the_same_cases(tmp_path):
    """An arm of one case is held against the exact error of that case: 0.2 / 0.1, not 0.2 / 0.3."""
    rows = [
        row("exact", 0, [0.1, 0.5]),
        row("exact", 1, [0.1, 0.5]),
        row("dps", 0, [0.2]),
        row("dps", 1, [0.2]),
    ]
    page = posterior_findings(benchmark(rows))
    grid = page.sections[0].grids[0]
    place = grid.columns.index("mean / exact")
    cells = dict(grid.rows)
    assert cells["The <exact>"][place].key == pytest.approx(1.0)
    assert cells["The <dps>"][place].key == pytest.approx(2.0)
    costs = page.sections[0].grids[1]
    assert dict(costs.rows)["The <dps>"][costs.columns.index("cases")].text == "2"
    assert cells["The <exact>"][0].text == "30 % ± 0"
    write_findings(page, tmp_path / "page.html")
    assert "The &lt;dps&gt;" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_figures_of_others_stand_in_a_column_of_their_own():
    """Only there, and with no figure of ours in their rows."""
    grid = posterior_findings(benchmark([row("kriging", 0, [0.1])])).sections[0].grids[0]
    assert grid.columns[-1] == REPORTED_BY
    others = [cells for name, cells in grid.rows if "steps" in name]
    assert others
    assert all(cell.text == "" for cells in others for cell in cells[:-1])
    assert {cells[-1].text for cells in others} == {"6.78 %", "5.18 %", "7.87 %"}
    assert all(cells[-1].text == "" for name, cells in grid.rows if "steps" not in name)
