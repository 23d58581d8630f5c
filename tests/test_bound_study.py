"""What the study of velocity diffusion's stability says, its stored records show."""

import importlib
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from heatgrad.study import Results

FOLDER = Path(__file__).resolve().parents[1] / "studies" / "accelerated-pde" / "bound"
FAILING = {"D = 1.01": 7, "D = 1.05": 8, "D = 1.25": 8, "D = 2": 8}  # of 8 runs


@pytest.fixture
def script(monkeypatch):
    """Return the function `name -> module` of the study's scripts."""
    monkeypatch.syspath_prepend(FOLDER)
    for name in ("growth", "table"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return importlib.import_module


def test_runs_fail_above_the_bound_and_only_there(script):
    """Theorem 2 of [Sun]: up to β_max, or refined, every run trains; above, runs fail.

    1 % above it the growth of 1.4 % a step is just about enough within these 752 steps.
    """
    results = Results.load(FOLDER)
    (task,) = results.study.tasks
    baselines = results.select(task, "Nesterov")
    for arm in results.study.arms:
        records = results.select(task, arm)
        failures = [
            script("table").epoch_of_failure(*pair) for pair in zip(records, baselines, strict=True)
        ]
        assert len(failures) == 8
        assert sum(epoch is not None for epoch in failures) == FAILING.get(arm, 0), arm


@pytest.mark.parametrize("diffusion", [1.05, 1.25, 2.0])
@pytest.mark.parametrize(("column", "size"), [(1, 16), (2, 32)])
def test_the_highest_mode_grows_as_computed(script, diffusion, column, size):
    """|k| = D (1 + γ) cos²(π/2n) - γ, written out for γ = 0.9 and Neumann ends, to 1e-4."""
    k = diffusion * 1.9 * math.cos(math.pi / (2 * size)) ** 2 - 0.9
    assert -script("growth").gain(diffusion, size) == pytest.approx(k, rel=1e-12)
    found = script("table").rate(script("growth").read()[diffusion][:, column])
    assert found == pytest.approx(k, rel=1e-4)


def test_up_to_the_bound_the_highest_mode_stays_small(script):
    """With |k| < 1 it is a sum of fading gradients: under 1, where 1 % more leads to 1,000."""
    runs = script("growth").read()
    assert max(runs[0.5][:, 1:].max(), runs[1.0][:, 1:].max()) < 1
    assert runs[1.01][:, 2].max() > 1000


def test_the_steps_followed_are_those_of_the_records(script):
    """Batch losses, weighted by 93 batches of 64 and one of 48, give the recorded epoch's."""
    results = Results.load(FOLDER)
    for diffusion in (0.5, 1.0, 1.01):
        losses = script("growth").read()[diffusion][:94, 0]
        mean = np.average(losses, weights=[64] * 93 + [48])
        record = results.select("Fashion-MNIST", f"D = {diffusion:g}")[0]
        assert mean == pytest.approx(record.curves["train_loss"][0], rel=1e-4)


def test_the_tables_are_those_of_the_records():
    """Every line that the script prints stands in the study's README."""
    run = [sys.executable, str(FOLDER / "table.py")]
    printed = subprocess.run(run, capture_output=True, text=True, check=True).stdout
    page = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert [line for line in printed.splitlines() if line not in page.splitlines()] == []
