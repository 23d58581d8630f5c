"""Shared parts of these tests: the command in this process, a tiny spec, a finished study."""

import hashlib
import shutil
import sqlite3
import sys
from dataclasses import dataclass

import pytest

from heatgrad.cli.main import main
from heatgrad.study import run_study

SPEC = """
name = "tiny"
title = "A tiny study"
seeds = 2
epochs = 2
batch_size = 64
lr = 0.05
metric = "test_accuracy"
margin = 0.005
baseline = "SGD"
confirmatory = ["diffusion"]

[model]
kind = "SimpleMLP"

[tasks.spiral]
kind = "Spiral"
num_samples = 256
num_test = 128

[tasks.other]
kind = "Spiral"
num_samples = 128
num_test = 64

[arms.SGD]
kind = "SGD"

[arms.diffusion]
kind = "DiffusionSGD"
diffusion = 0.05

[arms.placebo]
kind = "PlaceboDiffusionSGD"
diffusion = 0.05
control_of = "diffusion"
"""


@dataclass(frozen=True)
class Outcome:
    """What a command left behind: its exit code and what it printed."""

    code: int
    out: str
    err: str


@pytest.fixture
def heatgrad(monkeypatch, capsys):
    """Return the function `(*arguments) -> Outcome` that runs the command in this process."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["heatgrad", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            main()
        printed = capsys.readouterr()
        return Outcome(stopped.value.code or 0, printed.out, printed.err)

    return call


@pytest.fixture
def refused(heatgrad):
    """Return the function `(*arguments, naming) -> None`: one line on stderr, exit code 2."""

    def call(*arguments, naming):
        outcome = heatgrad(*arguments)
        assert outcome.code == 2, outcome
        assert outcome.err.startswith("heatgrad: ")
        assert outcome.err.count("\n") == 1
        assert outcome.err.endswith("\n")
        for words in naming:
            assert words in outcome.err, outcome.err

    return call


@pytest.fixture
def write_spec(tmp_path):
    """Return the function `(old, new) -> path` of the tiny spec, with one text replaced."""

    def write(old="", new=""):
        assert old in SPEC
        path = tmp_path / "spec.toml"
        path.write_text(SPEC.replace(old, new, 1) if old else SPEC)
        return path

    return write


@pytest.fixture(scope="session")
def finished_once(tmp_path_factory):
    """Run the tiny study once."""
    base = tmp_path_factory.mktemp("tiny")
    (base / "spec.toml").write_text(SPEC)
    run_study(base / "spec.toml", out=base / "run", workers=0)
    return base / "run"


@pytest.fixture
def finished(finished_once, tmp_path):
    """Return a folder of one's own that holds the finished tiny study."""
    return shutil.copytree(finished_once, tmp_path / "run")


@pytest.fixture
def unfinished(finished):
    """Return the same folder without the last block's placebos and the other task."""
    alter(finished, "DELETE FROM trials WHERE task = 'other' OR (arm = 'placebo' AND block = 1)")
    return finished


@pytest.fixture
def no_page(monkeypatch):
    """Skip drawing the page, where a test is not about it."""
    monkeypatch.setattr("heatgrad.report.write_report", lambda results, path: None)


@pytest.fixture
def alter_store():
    """Return the function `(folder, statement)` that changes a store behind its back."""
    return alter


@pytest.fixture
def fingerprint():
    """Return the function `folder -> {path: hash}` of every file below it."""

    def fingerprint_(folder):
        return {
            str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }

    return fingerprint_


def alter(folder, statement):
    connection = sqlite3.connect(folder / "store.sqlite")
    with connection:
        connection.execute(statement)
    connection.close()
