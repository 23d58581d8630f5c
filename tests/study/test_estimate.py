"""The size of a study, told before it is run."""

import time

import pytest
import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

from heatgrad.data import Dataset
from heatgrad.study import StudySpec, run_study
from heatgrad.study.estimate import estimate


@pytest.fixture
def steps_taken():
    """Return a list that grows by one at every step of any optimizer."""
    steps = []
    handle = register_optimizer_step_post_hook(lambda *args: steps.append(1))
    yield steps
    handle.remove()


@pytest.mark.parametrize("batch_size", [32, 33, 100, 500])
def test_steps_are_those_that_a_run_takes(batch_size, spec, tmp_path, steps_taken):
    """100 rows: the estimate equals the steps counted in the run; 33 leaves a batch of one out."""
    study = StudySpec.from_dict(spec(batch_size=batch_size, backend="loop"))
    told = estimate(study, tmp_path / "a", workers=1)
    assert not list(tmp_path.iterdir())
    steps_taken.clear()
    run_study(study, out=tmp_path / "a", workers=0)
    # The check before a run steps each arm once; the memory of each trial's optimizer takes two.
    assert told.steps == len(steps_taken) - 3 - 2 * 6
    assert (told.num_trials, told.num_stored) == (6, 0)
    (task,) = told.tasks
    assert (task.task, task.trials, 6 * task.steps) == ("spiral", 6, told.steps)
    assert 0 < told.hours < 0.1
    assert told.hours == pytest.approx(6 * task.seconds / 3600)


def test_what_is_trained_at_once_is_told_as_it_is_run(spec, tmp_path):
    """The same steps, and a time."""
    at_once = estimate(StudySpec.from_dict(spec()), tmp_path / "a", workers=1)
    one_by_one = estimate(StudySpec.from_dict(spec(backend="loop")), tmp_path / "a", workers=1)
    assert at_once.steps == one_by_one.steps
    assert 0 < at_once.hours < 2 * one_by_one.hours  # so few steps are timed roughly


def test_what_is_stored_is_not_counted_and_nothing_is_written(spec, tmp_path):
    """After one arm's share of another run: the rest only; after all of it: nothing; same files."""
    folder = tmp_path / "a"
    study = StudySpec.from_dict(spec())

    def stop(epochs, trial):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_study(study, out=folder, workers=0, on_progress=stop)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    told = estimate(study, folder, workers=2)
    assert (told.num_trials, told.num_stored) == (6, 1)
    assert told.steps == 5 * told.tasks[0].steps
    assert 0 < told.hours < 6 * told.tasks[0].seconds / 2 / 3600
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    run_study(study, out=folder, workers=0)
    done = estimate(study, folder, workers=2)
    assert (done.num_stored, done.steps, done.hours) == (6, 0, 0.0)


@pytest.fixture
def slow_images(spec):
    """Two tasks of real images; scoring takes a millisecond an image."""
    task = {"kind": "Digits", "num_test": 500}
    changes = {"tasks": {"a": task, "b": task}, "model": {"kind": "SimpleCNN"}, "batch_size": 16}
    return StudySpec.from_dict(spec(**changes))


def test_a_part_of_the_test_set_is_scored_once_a_task(slow_images, tmp_path, monkeypatch):
    """At 1 ms an image 256 of 500 are enough; the time is that of 500, whatever the arms."""
    scored = []

    def score(model, dataset, **options):
        scored.append(len(dataset.y_test))
        time.sleep(0.001 * len(dataset.y_test))

    monkeypatch.setattr("heatgrad.study.estimate.evaluate", score)
    monkeypatch.setattr("heatgrad.study.estimate._time_of_step", lambda trial: 0.0)
    told = []
    found = estimate(slow_images, tmp_path / "a", workers=1, on_timed=lambda *now: told.append(now))
    assert scored == 2 * [16, 16, 32, 64, 128, 256]
    epochs = slow_images.epochs
    assert [row.seconds for row in found.tasks] == pytest.approx(2 * [0.5 * epochs], rel=0.2)
    assert told[-1] == (6, 6)
    assert told == sorted(told)


def test_what_is_timed_lies_on_the_device(slow_images, tmp_path, monkeypatch):
    """Without a GPU: what is asked of one, by whom. Every time is taken when it has ended."""
    moved, ended = set(), []
    monkeypatch.setattr("heatgrad.study.estimate.check_device", lambda device: None)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: ended.append(1))
    for kind in (torch.nn.Module, Dataset):
        monkeypatch.setattr(kind, "to", lambda x, *to, k=kind, **how: moved.add((k, to)) or x)
    estimate(slow_images.with_device("cuda"), tmp_path / "a", workers=1)
    assert {(torch.nn.Module, ("cuda",)), (Dataset, ("cuda",))} <= moved
    assert len(ended) >= 2 * (2 * 3 + 2)  # two at each arm's steps, two at each evaluation
