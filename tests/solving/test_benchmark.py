"""The benchmark on tiny problems: every arm, the same cases, kept, gone on with, written."""

import csv

import numpy as np
import pytest

from heatgrad.core.errors import SpecError
from heatgrad.solving import (
    REPORTED,
    REPORTED_BY,
    BenchmarkSpec,
    NetworkSpec,
    arms_of,
    benchmark,
    run_benchmark,
    train_prior,
    write_records,
)

SPEC = BenchmarkSpec(
    problems=("poisson", "darcy", "navier-stokes"),
    cases=3, seeds=2, sensors=30, draws=4, steps=4,
    dps_cases=2, adam_cases=1, dps_steps=4, adam_steps=4,
)  # fmt: skip


@pytest.fixture
def small(cache, tiny, monkeypatch):
    """Train tiny priors in place of those of the benchmark."""

    def priors(spec, problem):
        options = {"n": 16 if problem == "navier-stokes" else 17}
        found = {"trained": tiny(problem=problem, options=options, epochs=1)}
        if problem == "poisson":
            unet = NetworkSpec(kind="DenoisingUNet", options={"width": 8}).model_dump()
            found["grid"] = tiny(
                problem=problem, options=options, space="grid", base="none", copies=1, network=unet
            )
        return found

    monkeypatch.setattr(benchmark, "benchmark_priors", priors)
    return priors


def test_every_arm_answers_the_same_cases(small, tmp_path):
    """Shapes by hand; pseudo-inverse guidance is near the exact posterior on the same cases."""
    for problem in SPEC.problems:
        for prior in small(SPEC, problem).values():
            train_prior(prior)
    told = []
    found = run_benchmark(SPEC, tmp_path / "run", tell=told.append)
    arms = [(p, d, a) for p in SPEC.problems for d in ("forward", "inverse") for a in arms_of(p, d)]
    assert len(found.rows) == SPEC.seeds * len(arms)
    by_name = {(r.problem, r.direction, r.arm, r.seed): r for r in found.rows}
    exact = by_name["poisson", "forward", "exact", 0]
    mine = by_name["poisson", "forward", "pseudo-inverse", 0]
    assert mine.values["mean_error"] == pytest.approx(exact.values["mean_error"], rel=0.1)
    assert (exact.target, by_name["poisson", "inverse", "exact", 0].target) == ("u", "a")
    assert len(by_name["poisson", "forward", "dps", 1].values["mean_error"]) == 2
    assert len(by_name["darcy", "inverse", "adam", 1].values["wrong"]) == 1
    assert "wrong" not in by_name["darcy", "forward", "kriging", 0].values
    assert mine.numbers == 17 * 17
    assert by_name["poisson", "forward", "grid", 0].numbers == 2 * 17 * 17
    assert np.isfinite(by_name["navier-stokes", "forward", "exact", 0].values["crps"]).all()
    assert set(found.priors) == {
        ("poisson", "trained"), ("poisson", "grid"), ("darcy", "trained"),
        ("navier-stokes", "trained"),
    }  # fmt: skip
    assert found.galleries["darcy", "inverse"]["draws"].shape == (4, 17, 17)
    count = len(told)
    again = run_benchmark(SPEC, tmp_path / "run", tell=told.append)
    assert len(told) == count
    write_records(again, tmp_path / "records.csv")
    with (tmp_path / "records.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == len(found.rows)
    assert float(lines[0]["mean_error"]) == pytest.approx(
        exact.values["mean_error"].mean(), rel=1e-5
    )


def test_only_what_is_asked_for_is_run(cache, tmp_path):
    """No prior is needed for the exact posterior of a linear problem."""
    spec = BenchmarkSpec(problems=("poisson",), cases=1, seeds=1, sensors=20, draws=2)
    with pytest.warns(match="slow"):
        found = run_benchmark(spec, tmp_path, only=["poisson/forward/exact"])
    assert [row.arm for row in found.rows] == ["exact"]


def test_a_missing_prior_is_named_with_its_remedy(cache, tmp_path):
    with pytest.raises(SpecError, match="--train"):
        run_benchmark(BenchmarkSpec(problems=("darcy",)), tmp_path)


def test_figures_of_others_are_labelled():
    """The values of the published table, at two places; no figure is without its label."""
    assert REPORTED_BY == "as reported by FunDPS, on another test set"
    poisson = {figure.method: figure for figure in REPORTED["poisson"]}
    assert (poisson["FunDPS, 500 steps"].forward, poisson["FunDPS, 500 steps"].inverse) == (
        1.99,
        20.47,
    )
    darcy = {figure.method: figure for figure in REPORTED["darcy"]}
    assert darcy["DiffusionPDE, 2000 steps"].inverse == 7.87
    assert not any("PISD" in f.method for figures in REPORTED.values() for f in figures)
