"""Escapes from specifications: what they find, that they go on, what they refuse."""

import math

import numpy as np
import pytest

from heatgrad.core.errors import SpecError, StoreError
from heatgrad.dynamics import ESCAPES, EscapeSpec, run_escape

WELL = {
    "name": "well",
    "start": [-1.0],
    "target": [1.0],
    "times": [1, 100],
    "process": {"kind": "langevin", "potential": "double-well", "temperature": 0.15},
    "grid": {"low": [-2.5], "high": [2.5], "n": [200]},
    "monte_carlo": {"replicas": 300, "dt": 0.02, "t_max": 200},
}
WELLS = {
    "name": "wells",
    "start": [0.97, 0.97],
    "target": [-1.0, -1.0],
    "process": {"kind": "sgd", "problem": "noisy-wells", "lr": 0.2, "batch_size": 1},
    "grid": {"low": [-2.2, -2.6], "high": [2.2, 2.6], "n": [40, 40]},
    "monte_carlo": {"replicas": 100, "dt": 0.1, "t_max": 30},
}


def test_every_method_says_the_same(tmp_path):
    """Quadrature, grid and ensemble of one double well; half of the mass ends on either side."""
    found = run_escape(EscapeSpec.from_dict(WELL), tmp_path / "run")
    rows = {row.method: row for row in found.rows}
    assert set(rows) == {"quadrature", "grid", "eyring-kramers", "sde"}
    assert abs(rows["grid"].relative) < 1e-3
    assert abs(rows["sde"].z) < 5
    assert found.landmarks.barrier == pytest.approx(0.25, abs=1e-9)
    assert found.grid["mass_target_end"] == pytest.approx(0.5, abs=1e-6)
    assert found.grid["masses"].sum(1) == pytest.approx(np.ones(3), abs=1e-12)
    assert "needs an SGDDiffusion" in found.skipped["sgd"]


def test_true_sgd_stands_beside_its_diffusion(tmp_path):
    """The saddle of the mean loss is found; both ensembles have a survival curve from 1 to 0."""
    found = run_escape(EscapeSpec.from_dict(WELLS), tmp_path / "run")
    assert {"grid", "sde", "sgd"} <= {row.method for row in found.rows}
    assert set(found.survival) == {"sde", "sgd"}
    for times, alive in found.survival.values():
        assert times[0] == 0
        assert alive[0] == 1
        assert (np.diff(alive) <= 0).all()
    assert found.landmarks.depth == pytest.approx(0.1, rel=0.05)  # twice the tilt


def test_steps_that_are_done_are_not_done_again(tmp_path):
    """The second run tells of no step and finds the same numbers."""
    spec, told = EscapeSpec.from_dict(WELL), []
    first = run_escape(spec, tmp_path / "run")
    again = run_escape(spec, tmp_path / "run", tell=told.append)
    assert told == []
    assert [(r.method, r.value) for r in again.rows] == [(r.method, r.value) for r in first.rows]
    with pytest.raises(StoreError, match="another specification"):
        run_escape(EscapeSpec.from_dict(WELL | {"start": [-1.1]}), tmp_path / "run")


def test_an_ensemble_says_how_far_it_is(tmp_path):
    """Steps done rise, up to the t_max / dt steps that an ensemble of the wells has at most."""
    seen = []
    asked = WELLS | {"grid": None, "monte_carlo": {"replicas": 20, "dt": 0.05, "t_max": 30}}
    run_escape(EscapeSpec.from_dict(asked), tmp_path / "a", progress=lambda *at: seen.append(at))
    assert {total for _, total in seen} == {600, 150}  # of the diffusion, and of true SGD
    done = [steps for steps, total in seen if total == 600]
    assert done == sorted(done)
    assert done[0] == 100


@pytest.mark.parametrize("name", ESCAPES)
def test_presets_can_be_read(name):
    spec = EscapeSpec.from_toml(ESCAPES[name])
    assert spec.name == name
    assert spec.title
    assert spec.question
    assert math.isfinite(float(spec.process.process().drift(_point(spec)).sum()))


def _point(spec):
    import torch

    return torch.tensor([spec.start], dtype=torch.float64)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"target": None}, "give a target"),
        ({"target": [1.0, 0.0]}, "target must have 1 coordinates"),
        ({"target": [-1.2]}, "target must lie in another well"),
        ({"times": [1], "grid": None}, "times need a table"),
        ({"grid": {"low": [-2.5], "high": [2.5, 1.0], "n": [200]}}, "one number for each axis"),
        ({"process": WELL["process"] | {"temperature": 0.0}}, "temperature"),
        ({"process": WELL["process"] | {"potential": "double-wel"}}, "did you mean 'double-well'"),
        ({"region": {"kind": "half-space", "normal": [1.0], "offset": -3.0}}, "region must hold"),
        ({"region": {"kind": "ball", "center": [0.0, 0.0], "radius": 2.0}}, "region must have 1"),
        ({"grid": {"low": [-2.5], "high": [2.5], "n": [2]}}, "grid.n"),
        ({"speed": 1}, "unknown key 'speed'"),
    ],
)
def test_what_cannot_be_asked_is_said(change, message, tmp_path):
    """One line, before or at the step that cannot be done."""
    with pytest.raises(SpecError, match=message):
        run_escape(EscapeSpec.from_dict(WELL | change), tmp_path / "run")


def test_where_it_concentrates(tmp_path):
    """Closed form in one well: U'' = 2 at the minimum, so S = T / 2 and the gap is 2."""
    marks = run_escape(EscapeSpec.from_dict(WELL | {"monte_carlo": None}), tmp_path).landmarks
    assert marks.rate == pytest.approx(2, rel=1e-9)
    assert marks.spread == pytest.approx(math.sqrt(0.15 / 2), rel=1e-9)
    assert marks.crossover == pytest.approx(math.log(1 + 1 / (0.15 / 2)) / 4, rel=1e-9)


def test_when_none_left(tmp_path):
    """The page gives a bound, not a number."""
    from heatgrad.report import escape_findings

    short = {"replicas": 20, "dt": 0.01, "t_max": 0.05}
    spec = EscapeSpec.from_dict(WELL | {"monte_carlo": short, "grid": None, "times": []})
    answer = " ".join(escape_findings(run_escape(spec, tmp_path)).answer)
    assert "none left; the mean time is above" in answer
    assert "nan" not in answer


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"grid": {"low": [3.0], "high": [-3.0], "n": [50]}}, "low must lie below high"),
        ({"grid": {"low": [-0.5], "high": [2.0], "n": [50]}}, "grid must hold the start"),
        (
            {"region": {"kind": "half-space", "normal": [1.0], "offset": -1.5}},
            "region must hold the start",
        ),
        (
            {"region": {"kind": "half-space", "normal": [0.0], "offset": 1.0}},
            "normal must not be zero",
        ),
    ],
)
def test_what_cannot_be_is_said_before_anything_runs(change, message):
    with pytest.raises(SpecError, match=message):
        EscapeSpec.from_dict(WELL | change)


def test_a_grid_without_the_other_well_is_refused(tmp_path):
    asked = WELL | {"grid": {"low": [-2.5], "high": [0.5], "n": [50]}, "monte_carlo": None}
    with pytest.raises(SpecError, match="must hold the minimum that target leads to"):
        run_escape(EscapeSpec.from_dict(asked), tmp_path / "run")
