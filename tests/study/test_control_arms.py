"""Every control as an arm of a study, by its name in a file, with both ways of training."""

import pytest
import torch

from heatgrad.study import StudySpec, run_study
from heatgrad.study.plan import plan
from heatgrad.study.trial import make_optimizer

CONTROLS = {
    "norm-matched placebo": "NormMatchedPlaceboSGD",
    "lr-matched": "LRMatchedSGD",
    "layout": "LayoutDiffusionSGD",
}
STUDY = """
name = "controls"
seeds = 2
epochs = 2
batch_size = 32
lr = 0.1
metric = "test_accuracy"
margin = 0.01
backend = "{backend}"
baseline = "SGD"
confirmatory = ["diffusion"]
model = {{ kind = "SimpleMLP", width = 8 }}

[tasks.spiral]
kind = "Spiral"
num_samples = 200
num_test = 100

[arms.SGD]
kind = "SGD"

[arms.diffusion]
kind = "DiffusionSGD"
diffusion = 0.1
"""
ARM = """
[arms."{name}"]
kind = "{kind}"
diffusion = 0.1
control_of = "diffusion"
"""


def write(folder, backend):
    path = folder / f"{backend}.toml"
    arms = [ARM.format(name=name, kind=kind) for name, kind in CONTROLS.items()]
    path.write_text(STUDY.format(backend=backend) + "".join(arms), encoding="utf-8")
    return path


def test_they_run_from_a_file_one_by_one_and_at_once(tmp_path):
    """The same trials under both back ends; the curves differ by the rounding of float32."""
    found = {}
    for backend in ("loop", "replicas"):
        study = StudySpec.from_toml(write(tmp_path, backend))
        assert study.controls_of("diffusion") == list(CONTROLS)
        results = run_study(study, out=tmp_path / backend, workers=0)
        assert {r.status for r in results.records} == {"finished"}
        assert {study.role_of(arm) for arm in CONTROLS} == {"control"}
        found[backend] = {(r.arm, r.block): r.curves for r in results.records}
    assert found["loop"].keys() == found["replicas"].keys()
    for key, curves in found["loop"].items():
        for name in ("train_loss", "test_loss", "diffusion_ratio"):
            other = found["replicas"][key][name]
            assert curves[name] == pytest.approx(other, rel=1e-3), (key, name)
    assert len({str(curves["test_loss"]) for curves in found["loop"].values()}) == 2 * 5


def test_the_norm_matched_placebo_has_the_placebos_seed(spec):
    """In one block both placebos draw the same permutation, in another one another."""
    arms = spec()["arms"] | {"matched": {"kind": "NormMatchedPlaceboSGD", "diffusion": 0.1}}
    trials = [t for t in plan(StudySpec.from_dict(spec(arms=arms))) if "SGD" in t.optimizer.kind]
    seeds = {}
    for trial in trials:
        if trial.arm_name in ("placebo", "matched"):
            group = make_optimizer(trial, torch.nn.Linear(2, 1)).param_groups[0]
            seeds.setdefault(trial.block, set()).add(group["seed"])
    assert [len(of_block) for of_block in seeds.values()] == [1, 1]
    assert seeds[0] != seeds[1]
