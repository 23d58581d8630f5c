"""Training on a GPU is training on the CPU, but for rounding."""

import copy

import pytest
import torch

from heatgrad.core.errors import SpecError
from heatgrad.study import TrainSpec, run_training

VALUES = {
    "name": "there",
    "epochs": 2,
    "batch_size": 64,
    "task": {"kind": "Digits"},
    "model": {"kind": "ResNet", "depth": 8, "width": 4},
    "optimizer": {"kind": "DiffusionNesterov", "lr": 0.02, "groups": ["norm_weight"]},
    "recipe": {"augment": {"kind": "crop-flip", "pad": 1}, "average": 0.9},
}


def test_a_gpu_that_is_not_there_is_said_before_anything_is_made(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    spec = TrainSpec.from_dict(VALUES | {"device": "cuda"})
    with pytest.raises(SpecError, match=r"device 'cuda' needs a GPU .* use device = 'cpu'"):
        run_training(spec, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@pytest.mark.parametrize(
    "recipe", [{}, {"compile": True}, {"precision": "bfloat16"}, {"accumulate": 2}]
)
def test_the_same_on_a_gpu(recipe, tmp_path):
    values = copy.deepcopy(VALUES)
    here = run_training(TrainSpec.from_dict(values), out=tmp_path / "cpu")
    values["recipe"] |= recipe
    spec = TrainSpec.from_dict(values | {"device": "cuda"})
    there = run_training(spec, out=tmp_path / "gpu")
    assert there.records[0].train_loss == pytest.approx(here.records[0].train_loss, rel=0.05)
    again = run_training(spec, out=tmp_path / "gpu")  # from its last checkpoint: nothing to do
    assert [r.epoch for r in again.records] == [1, 2]
