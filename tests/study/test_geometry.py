"""Geometry in studies: measured from final weights, stored, resumed, compared."""

import copy
import re

import numpy as np
import pytest
import torch

from heatgrad.core.errors import HeatgradWarning, SpecError, StoreError
from heatgrad.landscape import (
    DataLoss,
    connect,
    hessian_spectrum,
    interpolate,
    sharpness,
    surface,
)
from heatgrad.study import Results, StudySpec, run_study
from heatgrad.study.geometry import measurements
from heatgrad.study.geometry_kinds import KINDS
from heatgrad.study.geometry_spec import GeometrySpec
from heatgrad.study.store import Store
from heatgrad.study.thin import thin
from heatgrad.study.trial import Trial, load_data, make_model

GEOMETRY = {
    "sharpness": {"kind": "sharpness", "radius": 0.1, "draws": 3, "margin": 0.01},
    "spectrum": {"kind": "spectrum", "vectors": 2, "steps": 10, "of": "largest", "margin": 1.0},
    "path": {"kind": "path", "points": 5, "margin": 0.001, "part": "test"},
    "to the placebo": {"kind": "path", "points": 3, "margin": 0.001, "to": "placebo"},
    "surface": {"kind": "surface", "points": 5, "examples": 100},
}


@pytest.fixture
def small_values(spec):
    return copy.deepcopy(spec())


@pytest.fixture
def values(small_values):
    return {**small_values, "geometry": copy.deepcopy(GEOMETRY)}


@pytest.fixture
def done(values, tmp_path):
    study = StudySpec.from_dict(values)
    return run_study(study, out=tmp_path / "run", workers=0), tmp_path / "run"


def network(results, place, arm, block):
    """Return a trial's trained network and its data."""
    record = next(r for r in results.records if (r.arm, r.block) == (arm, block))
    trial = Trial.model_validate(record.spec)
    data = load_data(trial)
    model = make_model(trial, data)
    store = Store.open(place)
    model.load_state_dict(store.weights(record.key))
    store.close()
    return model, data


def test_each_measure_is_the_library_s(done):
    results, place = done
    model, data = network(results, place, "diffusion", 1)
    base, _ = network(results, place, "SGD", 1)
    entropy = torch.nn.functional.cross_entropy
    loss = DataLoss(entropy, (data.x_train, data.y_train))
    get = results.geometry.found
    found = get("sharpness", "spiral", "diffusion")[1]
    assert found["value"] == pytest.approx(sharpness(model, loss, 0.1, draws=3).value, rel=1e-4)
    found = get("spectrum", "spiral", "diffusion")[1]
    spectrum = hessian_spectrum(model, loss, vectors=2, steps=10)
    assert found["largest"] == pytest.approx(spectrum.largest.value, rel=1e-3)
    assert found["trace"] == pytest.approx(spectrum.trace, rel=1e-3)
    assert np.trapezoid(found["density"], found["at"]) == pytest.approx(1, abs=0.01)
    found = get("path", "spiral", "diffusion")[1]
    test_loss = DataLoss(entropy, (data.x_test, data.y_test))
    path = interpolate(model, base, test_loss, points=5)
    np.testing.assert_allclose(found["losses"], path.losses, rtol=1e-4)
    found = get("surface", "spiral", "diffusion")
    assert list(found) == [0]
    model, data = network(results, place, "diffusion", 0)
    part = DataLoss(entropy, (data.x_train[:100], data.y_train[:100]))
    np.testing.assert_allclose(found[0]["losses"], surface(model, part, points=5).losses, rtol=1e-3)


def test_the_worst_case_and_a_curve_are_the_library_s(small_values, tmp_path):
    small_values["geometry"] = {
        "worst": {"kind": "worst-sharpness", "radius": 0.1, "steps": 3, "margin": 0.01},
        "curve": {"kind": "curve", "steps": 5, "lr": 0.02, "points": 4, "margin": 0.01},
    }
    place = tmp_path / "run"
    results = run_study(StudySpec.from_dict(small_values), out=place, workers=0)
    model, data = network(results, place, "diffusion", 1)
    base, _ = network(results, place, "SGD", 1)
    loss = DataLoss(torch.nn.functional.cross_entropy, (data.x_train, data.y_train))
    found = results.geometry.found("worst", "spiral", "diffusion")[1]
    worst = sharpness(model, loss, 0.1, kind="worst", steps=3).value
    assert found["value"] == pytest.approx(worst, rel=1e-3)
    found = results.geometry.found("curve", "spiral", "diffusion")[1]
    path = connect(model, base, loss, steps=5, lr=0.02).path(loss, points=4)
    np.testing.assert_allclose(found["losses"], path.losses, rtol=1e-3)


def test_the_kinds_are_those_that_are_named():
    assert set(GeometrySpec.model_fields["kind"].annotation.__args__) == set(KINDS)


@pytest.mark.parametrize("workers", [0, 1])
def test_what_cannot_be_measured_leaves_the_rest(small_values, tmp_path, monkeypatch, workers):
    """The rehearsal would refuse this one; it stands for what only trained networks refuse."""
    monkeypatch.setattr("heatgrad.study.run.rehearse", lambda *arguments: None)
    bad = GEOMETRY["sharpness"] | {"radius": -1.0}
    small_values["geometry"] = {"bad": bad, "sharpness": GEOMETRY["sharpness"]}
    study, told = StudySpec.from_dict(small_values), []
    said = r"6 of 12 measurements .* geometry.bad: radius must be positive.*\(spiral, \w+, block \d"
    with pytest.warns(HeatgradWarning, match=said):
        results = run_study(
            study,
            out=tmp_path / "run",
            workers=workers,
            on_measured=lambda n, total: told.append(n),
        )
    assert told == list(range(1, 13))
    assert len(results.geometry.values("sharpness", "spiral", "SGD")) == 2
    assert results.geometry.values("bad", "spiral", "SGD") == {}
    assert results.geometry.num_missing == 6


def test_what_is_stored_is_not_measured_again(done, values, monkeypatch):
    results, place = done
    assert results.geometry.num_missing == 0
    assert results.geometry.num_planned == 3 * 2 * 4 + 3
    told = []
    monkeypatch.setattr("heatgrad.study.geometry.measure", lambda m, s: told.append(m) or {})
    run_study(StudySpec.from_dict(values), out=place, workers=0)
    assert told == []
    values["geometry"]["sharpness"]["radius"] = 0.2
    values["geometry"]["spectrum"]["of"] = "trace"  # read from what is there
    run_study(StudySpec.from_dict(values), out=place, workers=0)
    assert {m.name for m in told} == {"sharpness"}
    assert len(told) == 6


def test_workers_find_the_same(done, values, tmp_path):
    results, _ = done
    told = []
    other = run_study(
        StudySpec.from_dict(values),
        out=tmp_path / "other",
        workers=2,
        on_measured=lambda n, total: told.append((n, total)),
    )
    assert told == [(n, 27) for n in range(1, 28)]
    assert {k: m.value for k, m in other.measured.items()} == {
        k: m.value for k, m in results.measured.items()
    }


def test_geometry_may_come_later(small_values, values, tmp_path):
    """It decides no trial: a study that ran without it is the same study."""
    place = tmp_path / "run"
    before = run_study(StudySpec.from_dict(small_values), out=place, workers=0)
    assert before.geometry.num_planned == 0
    stored = [r.stored_at for r in before.records]
    after = run_study(StudySpec.from_dict(values), out=place, workers=0)
    assert [r.stored_at for r in after.records] == stored
    assert after.geometry.num_missing == 0
    assert Results.load(place).study.geometry.keys() == GEOMETRY.keys()


def test_a_thin_copy_keeps_what_was_measured(done, tmp_path):
    results, place = done
    thin(place, tmp_path / "thin")
    kept = Results.load(tmp_path / "thin")
    assert kept.measured == results.measured
    assert kept.geometry.num_missing == 0


def test_without_weights_nothing_new_can_be_measured(done, values, tmp_path):
    _, place = done
    thin(place, tmp_path / "thin")
    values["geometry"]["sharpness"]["radius"] = 0.2
    with pytest.raises(StoreError, match=r"no weights of trial '.*a copy made by 'heatgrad study"):
        run_study(StudySpec.from_dict(values), out=tmp_path / "thin", workers=0)


def test_verdicts_are_those_of_paired_differences(values, tmp_path):
    """Ten blocks: the baseline's path to itself is flat; words and controls as everywhere."""
    values["seeds"], values["epochs"] = 10, 1
    values["geometry"] = {"path": values["geometry"]["path"] | {"margin": 10.0}}
    results = run_study(StudySpec.from_dict(values), out=tmp_path / "run", workers=0)
    assert max(results.geometry.values("path", "spiral", "SGD").values()) < 1e-12
    verdicts = {v.question.arm: v for v in results.geometry.verdicts("path")}
    assert verdicts.keys() == {"diffusion", "placebo"}
    found = verdicts["diffusion"]
    barriers = results.geometry.values("path", "spiral", "diffusion")
    assert found.question.values == tuple(barriers[b] for b in range(10))
    assert found.comparison.mean == pytest.approx(-np.mean(list(barriers.values())))
    assert found.word in ("EQUIVALENT", "TRIVIAL")
    assert found.question.role == "exploratory"
    assert verdicts["placebo"].question.role == "control"


def test_a_run_that_diverged_ranks_worst(values, tmp_path):
    values["arms"]["wild"] = {"kind": "SGD", "lr": 1e30}
    values["geometry"] = {"sharpness": values["geometry"]["sharpness"]}
    results = run_study(StudySpec.from_dict(values), out=tmp_path / "run", workers=0)
    worst = results.study.geometry["sharpness"].metric.worst
    assert results.geometry.values("sharpness", "spiral", "wild") == {0: worst, 1: worst}
    assert results.geometry.found("sharpness", "spiral", "wild") == {}
    assert results.geometry.num_missing == 0


def test_a_path_to_a_run_that_diverged_ranks_worst(values, tmp_path):
    values["arms"]["wild"] = {"kind": "SGD", "lr": 1e30}
    values["geometry"] = {"path": values["geometry"]["path"] | {"to": "wild"}}
    results = run_study(StudySpec.from_dict(values), out=tmp_path / "run", workers=0)
    worst = results.study.geometry["path"].metric.worst
    assert results.geometry.values("path", "spiral", "diffusion") == {0: worst, 1: worst}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "shapness", "margin": 1.0}, "'spectrum', 'path', 'curve' or 'surface'"),
        ({"kind": "sharpness", "margin": 0.1}, "needs 'radius'"),
        ({"kind": "sharpness", "radius": 0.1}, "kind 'sharpness' needs a margin"),
        ({"kind": "surface", "margin": 0.1}, "kind 'surface' takes no margin"),
        ({"kind": "path", "margin": 0.1, "to": "SDG"}, r"unknown arm 'SDG'; did you mean 'SGD'\?"),
        (
            {"kind": "sharpness", "margin": 0.1, "radius": 0.1, "drws": 3},
            r"no option 'drws' of 'sharpness'; did you mean 'draws'\?",
        ),
        (
            {"kind": "sharpness", "margin": 0.1, "radius": 0.1, "steps": 3},
            "no option 'steps' of 'sharpness'",
        ),
        ({"kind": "surface", "to": "SGD"}, "'to' belongs to kind 'path' and 'curve', not to"),
        ({"kind": "path", "margin": 0.1, "of": "largest"}, "'of' belongs to kind 'spectrum'"),
        ({"kind": "surface", "directions": "pca"}, "directions must be 'filter' or 'hessian'"),
        ({"kind": "path", "margin": 0.1, "model_a": 1}, "no option 'model_a' of 'path'"),
    ],
)
def test_bad_tables_say_what_to_write(small_values, change, message):
    with pytest.raises(SpecError, match=message) as caught:
        StudySpec.from_dict({**small_values, "geometry": {"mine": change}})
    assert "geometry" in str(caught.value)


def test_bad_values_are_said_before_the_run(values, tmp_path):
    values["geometry"]["sharpness"]["radius"] = -1.0
    with pytest.raises(SpecError, match=re.escape("geometry.sharpness: radius must be positive")):
        run_study(StudySpec.from_dict(values), out=tmp_path / "run", workers=0)
    assert not (tmp_path / "run" / "store.sqlite").exists()


def test_the_key_depends_on_what_decides(done, values):
    results, _ = done
    keys = [m.key for m in measurements(results.study, results.records)]
    assert len(set(keys)) == len(keys) == 27
    values["geometry"]["sharpness"] |= {"margin": 5.0}
    again = [m.key for m in measurements(StudySpec.from_dict(values), results.records)]
    assert again == keys
