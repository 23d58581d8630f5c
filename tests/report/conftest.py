"""Shared parts of these tests: results made by hand, an axes to draw on, a page to read."""

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure

from heatgrad.report import write_report
from heatgrad.study import Record, Results, StudySpec
from heatgrad.study.geometry import measurements
from heatgrad.study.plan import plan
from heatgrad.study.store import Measured
from heatgrad.study.trial import CURVES

ENVIRONMENT = {
    "heatgrad": "0.1.0",
    "commit": None,
    "python": "3.11.0",
    "torch": "2.6.0",
    "numpy": "2.0.0",
    "system": "Linux x86_64",
    "processor": "a processor",
    "threads": 1,
}

TASKS = {
    "spiral": {"kind": "Spiral", "num_samples": 300, "num_test": 100, "note": "Two arms."},
    "manifold": {
        "kind": "FragmentedManifold",
        "num_samples": 300,
        "num_test": 100,
        "label_noise": [0.0, 0.3],
        "note": "Ten clusters.",
    },
    "digits": {"kind": "Digits", "note": "Images."},
}
ARMS = {
    "SGD": {"kind": "SGD"},
    "SGD momentum": {"kind": "SGD", "momentum": 0.9},
    "Adam": {"kind": "Adam"},
    "diffusion 0.1": {"kind": "DiffusionSGD", "diffusion": 0.1},
    "norm-matched 0.1": {
        "kind": "NormMatchedSGD",
        "diffusion": 0.1,
        "control_of": "diffusion 0.1",
    },
    "placebo 0.1": {
        "kind": "PlaceboDiffusionSGD",
        "diffusion": 0.1,
        "control_of": "diffusion 0.1",
    },
    "an_arm_of_a_name_that_is_long_and_cannot_be_broken": {
        "kind": "DiffusionSGD",
        "diffusion": 0.05,
    },
}


def _record(trial, *, gain, num_epochs, is_diverged):
    """Return a record with smooth curves that scatter from block to block."""
    rate = trial.task.options.get("label_noise", 0.0)
    rng = np.random.default_rng([trial.block, round(100 * rate)])
    clean = 0.9 - 0.4 / np.arange(1, num_epochs + 1) + gain + rng.normal(0, 0.004)
    noisy = clean * (1 - 2 * rate) + rate
    values = dict.fromkeys(CURVES, np.ones(num_epochs)) | {
        "test_accuracy": noisy,
        "test_accuracy_clean": clean if rate else noisy,
        "train_loss": 2.0 / np.arange(1, num_epochs + 1) + rate,
        "test_loss": 2.5 / np.arange(1, num_epochs + 1) + rate,
        "diffusion_ratio": np.full(num_epochs, 0.9),
    }
    curves = {name: [round(float(v), 9) for v in curve] for name, curve in values.items()}
    if is_diverged:
        for name in ("train_loss", "test_loss"):
            curves[name][-1] = None
    return Record(
        key=trial.key,
        task=trial.task_name,
        arm=trial.arm_name,
        block=trial.block,
        role=trial.role,
        status="diverged" if is_diverged else "finished",
        spec=trial.model_dump(mode="json"),
        curves=curves,
        ceiling={"test_accuracy": 0.97 * (1 - 2 * rate) + rate, "test_accuracy_clean": 0.97}
        if trial.task.kind != "Digits"
        else None,
        num_parameters=1234,
        num_train=200,
        environment=ENVIRONMENT,
        seconds=1.5,
        stored_at="2025-01-01T00:00:00+00:00",
    )


@pytest.fixture(scope="session")
def make_results():
    """Return a function that makes results by hand: no training, the same on every call."""

    def make(
        *, tasks=TASKS, arms=ARMS, seeds=8, num_epochs=3, num_stored=None, diverged=(), **options
    ):
        spec = {
            "name": "by-hand",
            "title": "A study by hand",
            "seeds": seeds,
            "epochs": num_epochs,
            "batch_size": 50,
            "lr": 0.1,
            "metric": "test_accuracy",
            "margin": 0.005,
            "baseline": next(iter(arms)),
            "confirmatory": [a for a in list(arms)[1:] if a in ("SGD momentum", "diffusion 0.1")],
            "model": {"kind": "SimpleMLP"},
            "tasks": tasks,
            "arms": arms,
        }
        study = StudySpec.from_dict(spec | options)
        trials = plan(study)
        gains = {arm: 0.01 * place for place, arm in enumerate(study.arms)}
        records = [
            _record(
                trial,
                gain=gains[trial.arm_name],
                num_epochs=1 if (trial.arm_name, trial.block) in diverged else num_epochs,
                is_diverged=(trial.arm_name, trial.block) in diverged,
            )
            for trial in trials[:num_stored]
        ]
        names, arm_names = list(study.tasks), list(study.arms)
        records.sort(key=lambda r: (names.index(r.task), arm_names.index(r.arm), r.block))
        return Results(study, tuple(records), len(trials))

    return make


@pytest.fixture(scope="session")
def page_path(make_results, tmp_path_factory):
    """Write the page of a finished study of four tasks once."""
    path = tmp_path_factory.mktemp("page") / "report.html"
    write_report(make_results(notes=["A note."], question="A question?"), path)
    return path


GEOMETRY = {
    "sharpness": {"kind": "sharpness", "radius": 0.05, "margin": 0.001},
    "spectrum": {"kind": "spectrum", "of": "largest", "margin": 1.0},
    "path": {"kind": "path", "margin": 0.01},
    "surface": {"kind": "surface", "points": 11},
}


def _measured(measurement):
    """Return what might have been measured: arms differ, blocks scatter, a surface has a hole."""
    trial, kind = measurement.trial, measurement.spec.kind
    place = list(ARMS).index(trial.arm_name)
    rng = np.random.default_rng([trial.block, place])
    at = np.linspace(0, 1, 11)
    if kind == "sharpness":
        value = {"value": 0.01 * (1 + place) + rng.normal(0, 1e-4), "error": 0.001, "loss": 0.1}
    elif kind == "spectrum":
        grid = np.linspace(-1, 10, 61)
        density = np.exp(-(grid**2)) + 0.01 * np.exp(-((grid - 5 - place) ** 2))
        value = {"largest": 5.0 + place + rng.normal(), "trace": 9.0, "negative_mass": 0.4}
        value |= {"at": grid.tolist(), "density": density.tolist()}
    elif kind == "path":
        losses = 0.1 + 0.02 * place * at * (1 - at)
        value = {"value": 0.005 * place, "at": at.tolist(), "losses": losses.tolist()}
    else:
        side = np.linspace(-1, 1, 11)
        losses = (0.1 + side[:, None] ** 2 + (1 + place) * side[None, :] ** 2).tolist()
        losses[0][0] = losses[0][10] = losses[10][0] = losses[10][10] = None
        value = {"across": side.tolist(), "up": side.tolist(), "losses": losses, "holes": 4}
    key, name = measurement.key, measurement.name
    return Measured(key, name, trial.key, value, 1.0, "2025-01-01T00:00:00+00:00")


@pytest.fixture(scope="session")
def measured_results(make_results):
    """Return results of three arms on one task, with everything of the landscape measured."""
    arms = {name: ARMS[name] for name in ("SGD", "Adam", "diffusion 0.1")}
    tasks = {"spiral": TASKS["spiral"]}
    results = make_results(arms=arms, tasks=tasks, geometry=GEOMETRY, confirmatory=["Adam"])
    found = [_measured(m) for m in measurements(results.study, results.records)]
    return replace(results, measured={one.key: one for one in found})


@pytest.fixture(scope="session")
def landscape_path(measured_results, tmp_path_factory):
    """Write the page of that study once."""
    path = tmp_path_factory.mktemp("landscape") / "report.html"
    write_report(measured_results, path)
    return path


@pytest.fixture(scope="session")
def page(page_path):
    """Return the text of that page."""
    return page_path.read_text(encoding="utf-8")


@pytest.fixture
def ax():
    """Return axes to draw on."""
    return Figure().subplots()
