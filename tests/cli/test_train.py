"""`heatgrad train`, as a user calls it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SPEC = """
name = "small"
epochs = 3
batch_size = 32

[task]
kind = "Digits"
num_test = 1600

[model]
kind = "SimpleCNN"
channels = [4, 4]
hidden = 8

[optimizer]
kind = "SGD"
lr = 0.1
momentum = 0.9
"""


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("small.toml").write_text(SPEC)


def test_a_training_from_its_spec(heatgrad):
    done = heatgrad("train", "small.toml")
    assert done.code == 0, done.err
    assert done.out.startswith("runs/small/weights.safetensors (epoch 3, test accuracy")
    lines = done.err.splitlines()
    assert lines[0].startswith("197 training and 1,600 test examples, ")
    assert [line.split()[1] for line in lines[1:]] == ["1/3", "2/3", "3/3"]
    again = heatgrad("train", "small.toml")
    assert again.code == 0
    assert "finished before" in again.err
    assert again.out == done.out


def test_bad_specs_are_one_line(refused):
    Path("bad.toml").write_text(SPEC.replace("epochs", "epocs"))
    refused("train", "bad.toml", naming=["unknown key 'epocs'; did you mean 'epochs'"])
    refused("train", "none.toml", naming=["no spec file at 'none.toml'"])


def test_an_interruption_is_one_line_and_is_gone_on_from():
    Path("small.toml").write_text(SPEC.replace("epochs = 3", "epochs = 4000"))
    process = subprocess.Popen(
        [Path(sys.executable).with_name("heatgrad"), "train", "small.toml"],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    place = Path("runs/small/checkpoints")
    deadline = time.monotonic() + 120
    while not place.exists() or not any(place.glob("epoch-??????")):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=60)[1].splitlines()
    assert process.returncode == 1
    assert said[-1].startswith("heatgrad: interrupted; the epochs that are done are kept in")
    assert not any("Traceback" in line for line in said)


DENOISER = """
name = "denoiser"
epochs = 2
batch_size = 32
loss = { kind = "edm", drop_label = 0.1 }

[task]
kind = "Digits"
num_test = 1600

[model]
kind = "DenoisingTransformer"
patch = 4
width = 8
depth = 1

[optimizer]
kind = "Adam"
lr = 0.01
"""


def test_where_there_is_no_accuracy_none_is_said(heatgrad):
    Path("denoiser.toml").write_text(DENOISER)
    done = heatgrad("train", "denoiser.toml")
    assert done.code == 0, done.err
    assert done.out.startswith("runs/denoiser/weights.safetensors (epoch 2, test loss ")
    assert "accuracy" not in done.err + done.out
    assert "nan" not in done.err + done.out
    again = heatgrad("train", "denoiser.toml")
    assert again.out == done.out


def test_a_training_that_comes_along_is_named(refused):
    near = "did you mean 'mnist-diffusion'? choices: digits-diffusion"
    refused("train", "mnist-difusion", naming=["no training and no spec file", near])
