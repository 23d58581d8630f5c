"""One training by a spec: the trial that a study runs, kept in a folder, resumed bit for bit."""

import copy
import csv
import os

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from heatgrad.core.errors import RunError, SpecError, StoreError
from heatgrad.data import Task
from heatgrad.study import TrainSpec, run_training
from heatgrad.study.trial import run_trial
from heatgrad.training import Checkpoints

VALUES = {
    "name": "small",
    "seed": 4,
    "epochs": 3,
    "batch_size": 32,
    "task": {"kind": "Digits", "num_test": 1600},
    "model": {"kind": "SimpleCNN", "channels": [4, 4], "hidden": 8},
    "optimizer": {"kind": "DiffusionNesterov", "lr": 0.1, "diffusion": 0.2},
    "schedule": {"kind": "cosine"},
    "recipe": {"augment": {"kind": "crop-flip", "pad": 1}, "average": 0.9},
}


@pytest.fixture
def values():
    return copy.deepcopy(VALUES)


def run(values, out, **options):
    return run_training(TrainSpec.from_dict(values), out=out, **options)


def test_it_is_the_trial_that_a_study_runs(values, tmp_path):
    trained = run(values, tmp_path)
    result = run_trial(TrainSpec.from_dict(values).trial())
    weights = load_file(trained.weights)
    assert weights.keys() == result.weights.keys()
    assert all(torch.equal(weights[name], value) for name, value in result.weights.items())
    with (tmp_path / "curves.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["epoch"]) for row in rows] == [1, 2, 3]
    losses = [f"{float(row['train_loss']):.9g}" for row in rows]
    assert losses == [f"{value:.9g}" for value in result.curves["train_loss"]]


class Killed(BaseException):
    pass


def test_a_killed_one_goes_on_to_the_same_bits(values, tmp_path):
    whole = run(values, tmp_path / "whole")
    done, started = [], []

    def kill(record):
        done.append(record.epoch)
        if record.epoch == 3:  # trained, but not stored
            raise Killed

    with pytest.raises(Killed):
        run(values, tmp_path / "again", on_epoch=kill)
    again = run(
        values,
        tmp_path / "again",
        on_start=lambda training: started.append(training.num_done),
        on_epoch=lambda record: done.append(record.epoch),
    )
    assert (started, done) == ([2], [1, 2, 3, 3])
    first, second = (load_file(trained.weights) for trained in (whole, again))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert [r.epoch for r in again.records] == [1, 2, 3]


def test_a_finished_one_is_not_trained_again(values, tmp_path):
    run(values, tmp_path)
    told = []
    assert len(run(values, tmp_path, on_epoch=told.append).records) == 3
    assert told == []


def test_every_example_is_counted(values, tmp_path):
    seen = []
    run(values, tmp_path, on_step=seen.append)
    assert sum(seen) == 3 * 197


def test_another_training_has_another_folder(values, tmp_path):
    run(values, tmp_path)
    with pytest.raises(StoreError, match="is a checkpoint of another training"):
        run(values | {"seed": 5}, tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch": 3}, "unknown key 'batch'; did you mean 'batch_size'"),
        ({"model": {"kind": "Resnet"}}, "model: unknown model 'Resnet'; did you mean 'ResNet'"),
        ({"optimizer": {"kind": "SGD", "lr": -1.0}}, "optimizer: Invalid learning rate: -1.0"),
        ({"recipe": {"average": 2.0}}, "'recipe.average': input should be less than 1"),
        ({"loss": "entropy"}, "unknown loss 'entropy'"),
        ({"task": {"kind": "CIFAR10", "root": "/nowhere"}}, "no file at '/nowhere/"),
        (
            {"model": {"kind": "tests.study.test_train_run:wrong_channels"}},
            r"model '.*wrong_channels' on inputs of shape \(1, 8, 8\): .* to have 3 channels",
        ),
    ],
)
def test_what_cannot_be_used_is_said_before_the_start(values, tmp_path, change, message):
    with pytest.raises((SpecError, ValueError), match=message):
        run(values | change, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def wrong_channels(input_shape, num_classes):
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.Flatten(), torch.nn.Linear(144, num_classes)
    )


def test_divergence_is_said(values, tmp_path):
    values["optimizer"] = {"kind": "SGD", "lr": 1e30}
    values["recipe"] = {}
    with pytest.raises(RunError, match=r"diverged in epoch 1 .*lower the learning rate"):
        run(values, tmp_path)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory."),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"),
        MemoryError(),
    ],
)
def test_when_memory_runs_out_the_remedy_is_said(values, tmp_path, error):
    def fail(examples):
        raise error

    with pytest.raises(RunError, match=r"memory ran out with batches of 32 .*accumulate = 2\)"):
        run(values, tmp_path, on_step=fail)


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("trial.load_data", r"memory ran out before the first step \(CUDA out .*num_train"),
        ("trial.Dataset.to", r"memory ran out before the first step \(CUDA out .*num_train"),
        ("trial.Training", r"training: memory ran out \(CUDA out of memory\.\); take fewer"),
    ],
)
def test_before_the_start_too(values, tmp_path, monkeypatch, place, message):
    def fail(*arguments, **options):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(f"heatgrad.study.{place}", fail)
    with pytest.raises(RunError, match=message):
        run(values, tmp_path)
    assert not any(tmp_path.iterdir())


def test_and_while_data_are_read(values, tmp_path):
    values["task"] = {"kind": "tests.study.test_train_run:TooLarge"}
    with pytest.raises(RunError, match=r"task: memory ran out \(MemoryError\); .* \(num_train"):
        run(values, tmp_path)


class TooLarge(Task):
    def generate(self, seed):
        """Raise what reading too much does."""
        raise MemoryError


def test_an_error_of_the_user_s_own_is_one_line_and_a_traceback(values, tmp_path):
    def fail(examples):
        raise KeyError("mine")

    with pytest.raises(RunError, match=r"the training stopped with KeyError: 'mine'; .*error.txt"):
        run(values, tmp_path, on_step=fail)
    assert "raise KeyError" in (tmp_path / "error.txt").read_text()


@pytest.mark.parametrize(
    "error",
    [
        SafetensorError("Error while serializing: I/O error: No space left on device"),
        OSError(28, "No space left on device"),
    ],
)
def test_a_full_disk_at_the_end_is_said_and_gone_on_from(values, tmp_path, monkeypatch, error):
    def full(tensors, path):
        path.write_bytes(b"half of it")
        raise error

    with monkeypatch.context() as patch:
        patch.setattr("heatgrad.study.train_run.save_file", full)
        with pytest.raises(RunError, match=r"weights.safetensors' \(.*No space left.*goes on$"):
            run(values, tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "checkpoints",
        "curves.csv",
        "spec.json",
    ]
    trained = run(values, tmp_path)
    assert load_file(trained.weights)


def test_files_are_what_the_umask_says(values, tmp_path):
    before = os.umask(0o027)
    try:
        trained = run(values, tmp_path)
    finally:
        os.umask(before)
    files = [p for p in tmp_path.rglob("*") if p.is_file()]
    assert trained.weights in files
    assert {oct(p.stat().st_mode & 0o777) for p in files} == {"0o640"}


@pytest.mark.parametrize("name", ["weights.safetensors", "curves.csv", "spec.json"])
def test_the_files_of_others_are_not_overwritten(values, tmp_path, name):
    (tmp_path / name).write_text("mine")
    with pytest.raises(StoreError, match=f"{name}' would be overwritten, .*give another folder"):
        run(values, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "mine"


def test_a_full_disk_keeps_the_epochs_before(values, tmp_path, monkeypatch):
    real, calls = Checkpoints.save, []

    def save(self, training, records):
        calls.append(1)
        if len(calls) == 2:
            monkeypatch.setattr("heatgrad.training.checkpoint.torch.save", full)
        return real(self, training, records)

    def full(*arguments):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "save", save)
        with pytest.raises(RunError, match=r"No space left on device.*goes on from '.*000001'"):
            run(values, tmp_path)
    monkeypatch.undo()
    started = []
    run(values, tmp_path, on_start=lambda training: started.append(training.num_done))
    assert started == [1]
