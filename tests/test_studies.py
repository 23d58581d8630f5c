"""The stored records of the published studies are complete, current, and come out again."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from heatgrad.core.environment import describe_environment
from heatgrad.report import write_report
from heatgrad.study import Results
from heatgrad.study.trial import PROTOCOL, Trial, run_trial

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = sorted(path.parent for path in (ROOT / "studies").glob("*/*/store.sqlite"))


@pytest.mark.parametrize(
    "folder", ["when-does-diffusion-help/landscape", "accelerated-pde"], ids=lambda f: f
)
def test_a_page_says_what_its_records_say(folder):
    """Every line that its script prints stands in its README."""
    place = ROOT / "studies" / folder
    run = [sys.executable, str(place / "table.py")]
    printed = subprocess.run(run, capture_output=True, text=True, check=True).stdout
    page = (place / "README.md").read_text(encoding="utf-8").splitlines()
    assert [line for line in printed.splitlines() if line not in page] == []


def test_there_are_stored_studies():
    assert FOLDERS


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_records_are_complete_and_of_this_protocol(folder):
    results = Results.load(folder)
    assert results.num_missing == 0
    assert {record.spec["protocol"] for record in results.records} == {PROTOCOL}


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_their_pages_can_be_written(folder, tmp_path):
    write_report(Results.load(folder), tmp_path / "page.html")


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_trial_comes_out_again(folder):
    """A record's own spec, cut to one epoch: the learning rate is constant, so it is the first.

    Processors round differently, and steps carry that on: 1 %. Adam, which divides by small
    numbers, is left out, and so are runs that diverged, in which rounding grows as all else does.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        _again(folder)
    finally:
        torch.set_num_threads(threads)


def _again(folder):
    results = Results.load(folder)
    for arm in results.study.arms:
        record = results.select(next(iter(results.study.tasks)), arm)[0]
        if results.study.arms[arm].kind == "Adam" or record.status == "diverged":
            continue
        trial = Trial.model_validate(record.spec)
        if trial.task.kind in ("MNIST", "FashionMNIST") and not os.environ.get("HEATGRAD_DATA"):
            pytest.skip("HEATGRAD_DATA is not set: no real images")
        if trial.task.kind == "CIFAR10":
            pytest.skip("convolutions at large rates: half a minute a trial, and rounding grows")
        here = describe_environment()["processor"]
        has_convolutions = trial.model.kind in ("ResNet", "SimpleCNN")
        if has_convolutions and record.environment["processor"] != here:
            pytest.skip("convolutions of another processor: rounding grows beyond 1 % in an epoch")
        if len(record.curves["lr"]) < trial.epochs:
            _check_last_epoch(trial, record)
            continue
        assert trial.schedule.kind == "constant"
        again = run_trial(trial.model_copy(update={"epochs": 1})).curves
        for name in ("train_loss", "test_loss", "grad_norm", "diffusion_ratio"):
            assert again[name][0] == pytest.approx(record.curves[name][0], rel=0.01), (arm, name)
        accuracy = record.curves["test_accuracy"][0]
        assert again["test_accuracy"][0] == pytest.approx(accuracy, abs=0.01)


def _check_last_epoch(trial, record):
    """Of a thin copy the last epoch is kept: a short trial is trained to its end."""
    if trial.epochs * record.num_train > 100_000:
        pytest.skip("a thin copy of long trials: only their last epochs are kept")
    again = run_trial(trial).curves
    for name, tolerance in (("test_accuracy", 0.02), ("train_loss", 0.02)):
        value = record.curves[name][-1]
        assert again[name][-1] == pytest.approx(value, abs=tolerance), (trial.arm_name, name)
