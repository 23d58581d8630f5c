"""Shared parts of these tests: small studies, hand-made records and questions, a user's module."""

import os
import textwrap

import pytest

from heatgrad.study import METRICS, Record, Results, StudySpec
from heatgrad.study.plan import plan
from heatgrad.study.trial import CURVES
from heatgrad.study.verdict import Question

SMALL = {
    "name": "small",
    "seeds": 2,
    "epochs": 2,
    "batch_size": 32,
    "lr": 0.1,
    "metric": "test_accuracy",
    "margin": 0.01,
    "baseline": "SGD",
    "confirmatory": ["diffusion"],
    "model": {"kind": "SimpleMLP", "width": 8},
    "tasks": {
        "spiral": {
            "kind": "Spiral",
            "num_samples": 200,
            "num_test": 100,
            "turns": 1.0,
            "radius": 2.0,
            "sigma": 0.4,
        }
    },
    "arms": {
        "SGD": {"kind": "SGD"},
        "diffusion": {"kind": "DiffusionSGD", "diffusion": 0.1},
        "placebo": {
            "kind": "PlaceboDiffusionSGD",
            "diffusion": 0.1,
            "control_of": "diffusion",
        },
    },
}

# Parts of a user's own, small enough to load at once in every worker process.
MODULE = '''
    """A task, an optimizer and a model of a user's own."""

    from dataclasses import dataclass

    import torch

    from heatgrad.data import Dataset, Task


    @dataclass(frozen=True, kw_only=True)
    class Blobs(Task):
        count: int = 400

        def generate(self, seed: int) -> Dataset:
            generator = torch.Generator().manual_seed(seed)
            y = torch.arange(self.count) % 2
            x = torch.randn(self.count, 2, generator=generator) + y[:, None]
            half = self.count // 2
            return Dataset.from_clean(
                x_train=x[:half], y_train=y[:half], x_test=x[half:], y_test=y[half:], num_classes=2
            )


    class SignSGD(torch.optim.Optimizer):
        def __init__(self, params, lr: float, scale: float = 1.0) -> None:
            super().__init__(params, {"lr": lr, "scale": scale})

        @torch.no_grad()
        def step(self, closure=None):
            for group in self.param_groups:
                for p in group["params"]:
                    torch.rand(3)
                    p -= group["lr"] * group["scale"] * p.grad.sign()


    class Linear(torch.nn.Linear):
        def __init__(self, input_shape, num_classes, *, bias: bool = True) -> None:
            super().__init__(*input_shape, num_classes, bias=bias)
'''


@pytest.fixture
def spec():
    """Return the function `(**changes) -> values` of a study that runs in a second."""
    return lambda **changes: {**SMALL, **changes}


@pytest.fixture
def own_module(tmp_path, monkeypatch):
    """Put the module `own_parts` on the path, for this process and those it starts."""
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "own_parts.py").write_text(textwrap.dedent(MODULE))
    monkeypatch.syspath_prepend(folder)
    paths = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    return folder


@pytest.fixture(scope="session")
def bits():
    """Return the function `results -> {key: all that must repeat}`: no times, no environment."""

    def collect(results):
        return {
            r.key: (
                r.task, r.arm, r.block, r.role, r.status, r.spec, r.ceiling, r.num_parameters,
                r.num_train, r.chance,
                {name: v for name, v in r.curves.items() if name != "seconds"},
            )
            for r in results.records
        }  # fmt: skip

    return collect


@pytest.fixture(scope="session")
def make_results():
    """Return the function `(values, finals) -> Results` of records made by hand.

    `finals` maps (task, arm) to the final values of the primary metric, block by block; None
    stands for a run that diverged. Every other metric is at its worst.
    """

    def make(values, finals, *, ceiling=None, chance=None):
        study = StudySpec.from_dict(values)
        records = []
        for trial in plan(study):
            final = finals.get((trial.task_name, trial.arm_name), ())
            if trial.block >= len(final):
                continue
            value = final[trial.block]
            curves = {name: [0.5] for name in CURVES}
            curves |= {name: [metric.worst] for name, metric in METRICS.items()}
            curves[study.metric] = [value]
            records.append(
                Record(
                    key=trial.key,
                    task=trial.task_name,
                    arm=trial.arm_name,
                    block=trial.block,
                    role=trial.role,
                    status="diverged" if value is None else "finished",
                    spec=trial.model_dump(mode="json"),
                    curves=curves,
                    ceiling=ceiling,
                    num_parameters=1,
                    num_train=1,
                    environment={},
                    seconds=1.0,
                    stored_at="2026-01-01T00:00:00+00:00",
                    chance=chance,
                )
            )
        return Results(study, tuple(records), len(plan(study)))

    return make


@pytest.fixture(scope="session")
def make_question():
    """Return the function `(differences, **changes) -> Question` about an accuracy near 0.8."""

    def make(differences, **changes):
        base = tuple(0.8 + 0.01 * (k % 3) for k in range(len(differences)))
        options = {
            "task": "t",
            "arm": "A",
            "baseline": "B",
            "role": "confirmatory",
            "metric": "test_accuracy",
            "margin": 0.01,
            "values": tuple(b + d for b, d in zip(base, differences, strict=True)),
            "baseline_values": base,
            "controls": {},
            "needs_control": False,
            "ceiling": None,
            "diverged": 0,
        }
        options |= changes
        return Question(**(options | {"metric": METRICS[options["metric"]]}))

    return make
