"""Processes that train together do what one does: the same update, whole files, one voice."""

import os
import shutil
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from heatgrad.core.errors import SpecError
from heatgrad.training import ALONE, Training, joined

SPEC = """
name = "together"
epochs = 2
batch_size = 64
parallel = "{parallel}"

[task]
kind = "Digits"

[model]
kind = "plain:Plain"

[optimizer]
kind = "DiffusionNesterov"
lr = 0.05
groups = ["conv_out"]

[recipe]
accumulate = 2
label_smoothing = 0.1
"""
# Without batch normalisation, which sees a share of a batch, and dropout.
MODEL = """
from torch import nn

class Plain(nn.Sequential):
    def __init__(self, input_shape, num_classes):
        conv = nn.Conv2d(1, 6, 3, stride=2, padding=1)
        super().__init__(conv, nn.Tanh(), nn.Flatten(), nn.Linear(96, num_classes))
"""


def train(folder, out, *, world):
    """Run `heatgrad train` in some processes; return what they said and the final weights."""
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={world}"]
    train = ["-m", "heatgrad", "train", "spec.toml", "--out", out]
    command = [sys.executable, *(torchrun if world > 1 else []), *train]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout + done.stderr, load_file(folder / out / "weights.safetensors")


def written(folder, parallel):
    (folder / "plain.py").write_text(MODEL)
    (folder / "spec.toml").write_text(SPEC.format(parallel=parallel))
    return folder


def check_alike(found, expected):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-5)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The final weights of one process."""
    return train(written(tmp_path_factory.mktemp("alone"), "ddp"), "out", world=1)[1]


def test_two_processes_train_as_one(alone, tmp_path):
    """The last batch of an epoch, of 29, is shared as 15 and 14, and weighted so."""
    _, together = train(written(tmp_path, "ddp"), "together", world=2)
    check_alike(together, alone)


def test_so_do_two_that_hold_a_part_of_the_network_each_and_they_go_on(alone, tmp_path):
    written(tmp_path, "fsdp")
    words, together = train(tmp_path, "together", world=2)
    assert words.count("epoch 1/2") == 1
    check_alike(together, alone)
    shutil.rmtree(tmp_path / "together" / "checkpoints" / "epoch-000002")
    words, again = train(tmp_path, "together", world=2)
    assert "going on after epoch 1" in words
    assert all(torch.equal(again[name], value) for name, value in together.items())


STARTED = {
    "WORLD_SIZE": "2",
    "RANK": "0",
    "LOCAL_RANK": "0",
    "MASTER_ADDR": "localhost",
    "MASTER_PORT": "29500",
}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"RANK": None}, "which needs what torchrun sets, got no RANK; start them with torchrun"),
        ({"RANK": "first"}, "got RANK 'first'; start them"),
        ({"RANK": "2"}, "got RANK 2 of WORLD_SIZE 2; start"),
        ({"WORLD_SIZE": "two"}, "got WORLD_SIZE 'two'; start"),
        ({"WORLD_SIZE": "0"}, "got RANK 0 of WORLD_SIZE 0; start"),
        ({"MASTER_ADDR": None}, "got no MASTER_ADDR; start"),
        ({"MASTER_PORT": None}, "got no MASTER_PORT; start"),
        ({"LOCAL_RANK": None}, "got no LOCAL_RANK; start"),
        ({"LOCAL_RANK": "1"}, "a GPU for each, got LOCAL_RANK 1 where 1 are seen; start 1 a machi"),
    ],
)
def test_processes_that_cannot_meet_are_refused_at_once(monkeypatch, changes, message):
    for name, value in (STARTED | changes).items():
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with (
        pytest.raises(SpecError, match=f"{message}.*, or unset WORLD_SIZE to train in one$"),
        joined("cuda"),
    ):
        pass


@pytest.mark.parametrize("size", [None, "1"])
def test_one_by_itself_is_alone(monkeypatch, size):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    if size is not None:
        monkeypatch.setenv("WORLD_SIZE", size)
    with joined("cpu") as processes:
        assert processes is ALONE


class Two:
    """Two processes, of which one is seen."""

    rank, size = 0, 2


def test_a_batch_is_at_least_two_for_each():
    with pytest.raises(ValueError, match="at least 4, two examples for each of 2 processes, got 3"):
        Training(None, None, None, loss=None, epochs=1, batch_size=3, seed=0, processes=Two())
