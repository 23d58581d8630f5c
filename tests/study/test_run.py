"""Running and resuming: the same records whatever the number of processes or interruptions."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from heatgrad.study import Results, Store, StudySpec, run_study
from heatgrad.study.jobs import jobs_of
from heatgrad.study.plan import plan
from heatgrad.study.run import workload
from heatgrad.study.trial import load_data, make_model
from heatgrad.training import LOSSES, evaluate


class StopError(Exception):
    """Raised from a progress callback, as Ctrl-C would be."""


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def weights_of(results, folder):
    return {r.key: load_file(folder / "weights" / f"{r.key}.safetensors") for r in results.records}


def test_processes_change_nothing(spec, own_module, bits, tmp_path):
    """No or two worker processes, parts of ours and a user's: equal records and weights."""
    tasks = spec()["tasks"] | {"own": {"kind": "own_parts:Blobs", "count": 120, "label_noise": 0.1}}
    own = {"kind": "own_parts:SignSGD", "scale": 0.1}
    linear = {"kind": "own_parts:Linear", "bias": False}
    tasks["linear"] = tasks["own"] | {"model": linear}
    values = spec(tasks=tasks, arms=spec()["arms"] | {"own": own}, seeds=1)
    here = run_study(values, out=tmp_path / "here", workers=0)
    seen = []
    there = run_study(
        values, out=tmp_path / "there", workers=2, on_progress=lambda n, t: seen.append((n, t))
    )
    assert len(here.records) == here.num_planned == 3 * 4
    assert bits(here) == bits(there)
    first, second = weights_of(here, tmp_path / "here"), weights_of(there, tmp_path / "there")
    assert all(torch.equal(first[k][name], second[k][name]) for k in first for name in first[k])
    keys = [trial.key for _, trial in seen if trial is not None]
    assert sorted(keys) == sorted(first)
    assert seen[-1][0] == 12 * 2
    # One file that can be copied, and the weights; nothing half-written.
    expected = ["store.sqlite", *(f"weights/{key}.safetensors" for key in sorted(first))]
    assert files(tmp_path / "here") == files(tmp_path / "there") == expected


@pytest.mark.parametrize("after", [1, 4])
def test_an_interrupted_run_resumes_where_it_was(after, spec, bits, tmp_path):
    """What was stored stays, byte for byte; the rest is run; all equals an undisturbed run."""
    values = spec()
    whole = run_study(values, out=tmp_path / "whole", workers=0)
    done = []

    def stop(epochs, trial):
        done.append(trial.key)
        if len(done) == after:
            raise StopError

    folder = tmp_path / "parts"
    with pytest.raises(StopError):
        run_study(values, out=folder, workers=0, on_progress=stop)
    part = Results.load(folder)
    assert (len(part.records), part.num_missing) == (after, 6 - after)
    kept = {r.key: r for r in part.records}
    resumed = []
    results = run_study(
        values, out=folder, workers=0, on_progress=lambda epochs, trial: resumed.append(trial.key)
    )
    assert len(resumed) == 6 - after
    assert not set(resumed) & set(done)
    assert {r.key: r for r in results.records if r.key in kept} == kept
    assert bits(results) == bits(whole)


def test_a_second_run_does_nothing(spec, tmp_path):
    """No progress, and the records with their times of storing as they were."""
    first = run_study(spec(), out=tmp_path / "a", workers=0)

    def fail(epochs, trial):
        raise AssertionError("a trial was run again")

    stored = (tmp_path / "a" / "store.sqlite").stat().st_size
    second = run_study(spec(), out=tmp_path / "a", workers=2, on_progress=fail)
    assert second.records == first.records
    assert (tmp_path / "a" / "store.sqlite").stat().st_size == stored


@pytest.mark.parametrize(("backend", "error"), [("loop", 0.0), ("replicas", 1e-6)])
def test_final_weights_reproduce_the_stored_score(backend, error, spec, tmp_path):
    """Loaded with safetensors into the trial's network they score as recorded.

    To nine digits after a loop; replicas are scored all at once, which rounds otherwise.
    """
    values = spec(backend=backend)
    results = run_study(values, out=tmp_path / "a", workers=0)
    planned = {trial.key: trial for trial in plan(StudySpec.from_dict(values))}
    for record in results.records:
        trial = planned[record.key]
        data = load_data(trial)
        model = make_model(trial, data)
        path = tmp_path / "a" / "weights" / f"{record.key}.safetensors"
        model.load_state_dict(load_file(path))
        score = evaluate(model, data, loss=LOSSES["cross_entropy"])
        assert score.accuracy == record.curves["test_accuracy"][-1]
        assert score.accuracy_clean == record.curves["test_accuracy_clean"][-1]
        assert float(f"{score.loss:.9g}") == pytest.approx(record.curves["test_loss"][-1], error)
        assert record.num_parameters == sum(p.numel() for p in model.parameters())
        with safe_open(path, "pt") as file:
            assert file.metadata() == {"trial": record.key}


def test_a_record_says_all_that_decided_it(spec, tmp_path):
    """The stored spec is the planned trial, JSON and back; versions and times are there."""
    results = run_study(spec(), out=tmp_path / "a", workers=0)
    planned = {trial.key: trial for trial in plan(StudySpec.from_dict(spec()))}
    for record in results.records:
        assert record.spec == json.loads(planned[record.key].model_dump_json())
        assert record.environment["torch"] == torch.__version__
        assert record.environment["threads"] == 1
        assert record.seconds > 0
        assert record.stored_at.endswith("+00:00")
        assert record.ceiling.keys() == {"test_accuracy", "test_accuracy_clean"}


def test_a_diverged_trial_is_stored_and_the_study_goes_on(spec, tmp_path):
    """The arm with lr 1e6 is there in every block, ranks worst, and is not run again.

    All eight of its runs diverge, which this study declares to be no reason not to judge.
    """
    arms = {"SGD": {"kind": "SGD"}, "wild": {"kind": "SGD", "lr": 1e6}}
    values = spec(arms=arms, confirmatory=["wild"], loss="squared_error", epochs=20, seeds=8)
    values["max_diverged"] = 1.0
    results = run_study(values, out=tmp_path / "a", workers=0)
    assert results.num_missing == 0
    status = {(r.arm, r.status) for r in results.records}
    assert status == {("SGD", "finished"), ("wild", "diverged")}
    (verdict,) = results.verdicts()
    assert verdict.word == "HURTS"
    assert verdict.sentence.endswith("8 of its runs diverged and rank worst.")
    rows = {row["arm"]: row for row in results.table()}
    assert rows["wild"]["diverged"] == 8
    assert (rows["wild"]["test_accuracy"], rows["wild"]["test_loss"]) == (0.0, 1e6)
    lines = results.export_csv(tmp_path / "t.csv")
    assert lines == sum(len(r.curves["lr"]) for r in results.records) < 16 * 20
    store = Store.open(tmp_path / "a")
    assert not workload(StudySpec.from_dict(values), store).todo
    store.close()


def test_the_default_folder_is_named_after_the_study(spec, tmp_path, monkeypatch):
    """`runs/<name>` below the working directory, and nowhere else."""
    monkeypatch.chdir(tmp_path)
    run_study(spec(seeds=1, epochs=1), workers=0)
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]
    assert len(Results.load(Path("runs/small")).records) == 3


def test_threads_are_given_back(spec, tmp_path):
    """A run in this process uses one thread, and leaves the number as it was."""
    torch.set_num_threads(2)
    try:
        run_study(spec(seeds=1, epochs=1), out=tmp_path / "a", workers=0)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


def test_long_trials_are_few_at_once(spec, monkeypatch):
    """By their operations: 6 a parameter, example and epoch; at least one, blocks kept whole."""
    study = StudySpec.from_dict(spec(seeds=6))
    trials = plan(study)
    assert [len(job) for job in jobs_of(trials, 1)] == [18]
    data = load_data(trials[0])
    size = sum(p.numel() for p in make_model(trials[0], data).parameters())
    for most, lengths in ((7, [6, 6, 6]), (3, [3] * 6), (0.5, [1] * 18)):
        work = most * 6 * size * len(data.y_train) * study.epochs
        monkeypatch.setattr("heatgrad.study.jobs._MOST_WORK", work)
        assert [len(job) for job in jobs_of(trials, 1)] == lengths
