"""Runs recorded from a loop that is not ours: many writers, kills, reruns, bad input."""

import csv
import math
import multiprocessing
import os
import signal
import time

import numpy as np
import pytest
import torch

from heatgrad.core.errors import DataError, HeatgradError, RunError, SpecError, StoreError
from heatgrad.study import compare_table, is_recorded, read_runs, record

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


def write_runs(path, arm, runs, epochs, pause):
    for seed in range(runs):
        with record(path, arm=arm, seed=seed) as run:
            for epoch in range(epochs):
                run.log(epoch=epoch, acc=seed + epoch / 1000, **{f"only_{arm}": epoch})
                time.sleep(pause)


def writer(*arguments):
    """Start a process that records `(path, arm, runs, epochs of each, pause [s])`."""
    process = multiprocessing.get_context("fork").Process(target=write_runs, args=arguments)
    process.start()
    return process


def ended(process):
    process.join(60)
    return process.exitcode


def rows(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def run_of(path, arm="a", seed=0, values=(0.5, 0.6), **options):
    with record(path, arm=arm, seed=seed, **options) as run:
        for value in values:
            run.log(acc=value)


def stop_run(path, seed, values, error):
    """Log some values, then raise."""
    with record(path, arm="a", seed=seed) as run:
        for value in values:
            run.log(acc=value)
        raise error


@pytest.fixture
def path(tmp_path):
    """Return the place of a table in a folder that is not there yet."""
    return tmp_path / "runs" / "mine.csv"


def test_a_table_that_anything_reads(path):
    """By the csv module: a row per call, numbers that read back the same, the status last."""
    with record(path, arm='Adam, "W"', seed=3) as run:
        run.log(epoch=1, acc=np.float32(0.1), loss=torch.tensor(1 / 3, requires_grad=True))
        run.log(epoch=2, acc=1, loss=1e-17)
    assert rows(path) == [
        {"arm": 'Adam, "W"', "seed": "3", "epoch": "1", "acc": repr(float(np.float32(0.1))),
         "loss": repr(torch.tensor(1 / 3).item()), "status": ""},
        {"arm": 'Adam, "W"', "seed": "3", "epoch": "2", "acc": "1.0", "loss": "1e-17",
         "status": "finished"},
    ]  # fmt: skip
    assert [p.name for p in path.parent.iterdir()] == ["mine.csv"]


def test_a_recorded_table_is_judged_as_its_last_values(path):
    """The same finals, given by hand, get the same verdict."""
    finals = {arm: {} for arm in ("SGD", "mine")}
    for seed in range(8):
        for arm, gain in (("SGD", 0.0), ("mine", 0.03)):
            last = 0.8 + 0.01 * (seed % 3) + gain * (1 + 0.01 * seed)
            run_of(path, arm, seed, (0.1, 0.99, last))
            finals[arm][str(seed)] = last
    assert read_runs(path, "acc") == finals
    options = {"baseline": "SGD", "margin": 0.01}
    (verdict,) = compare_table(read_runs(path, "acc"), **options)
    assert verdict == compare_table(finals, **options)[0]
    assert verdict.word == "HELPS"


@needs_fork
def test_many_processes_write_at_a_time(path):
    """Three writers with columns of their own: every row of every run is there, whole."""
    processes = [writer(path, arm, 6, 20, 0.0) for arm in "abc"]
    assert [ended(process) for process in processes] == [0, 0, 0]
    found = {(r["arm"], r["seed"], r["epoch"]): r for r in rows(path)}
    assert len(rows(path)) == len(found) == 3 * 6 * 20
    for (arm, seed, epoch), row in found.items():
        assert float(row["acc"]) == int(seed) + int(epoch) / 1000
        assert [row[f"only_{other}"] != "" for other in "abc"] == [other == arm for other in "abc"]
        assert row["status"] == ("finished" if epoch == "19" else "")


@needs_fork
def test_a_killed_process_leaves_what_it_had_logged(path):
    """The other writer goes on; the killed run is refused, then recorded again, alone."""
    killed, other = writer(path, "a", 1, 10_000, 0.002), writer(path, "b", 1, 40, 0.005)
    while not path.exists() or path.read_text().count("\na,0,") < 10:
        time.sleep(0.01)
    killed.kill()
    assert ended(killed) == -signal.SIGKILL
    assert ended(other) == 0
    epochs = [int(r["epoch"]) for r in rows(path) if r["arm"] == "a"]
    assert epochs == list(range(len(epochs)))
    assert len(epochs) >= 10
    with pytest.raises(DataError, match=r"arm 'a', seed 0 did not end \(its last epoch is \d+\)"):
        read_runs(path, "acc")
    assert read_runs(path, "acc", arms=["b"])["b"] == {"0": 0.039}
    assert (is_recorded(path, arm="a", seed=0), is_recorded(path, arm="b", seed=0)) == (False, True)
    run_of(path)
    assert [r["acc"] for r in rows(path) if r["arm"] == "a"] == ["0.5", "0.6"]
    with pytest.warns(UserWarning, match="end at different epochs"):
        assert read_runs(path, "acc") == {"b": {"0": 0.039}, "a": {"0": 0.6}}


def test_a_row_cut_at_any_byte_changes_no_value(path):
    """What a power cut left of the last row is never read as a run, nor kept by the next one."""
    run_of(path, seed=1, values=[0.5])
    run = record(path, arm="a", seed=12)
    run.log(acc=0.25)
    run.log(acc=0.75)
    content = path.read_bytes()
    whole = content[: content.rstrip(b"\n").rindex(b"\n") + 1]
    for end in range(len(whole), len(content)):
        path.write_bytes(content[:end])
        assert read_runs(path, "acc", epoch=0)["a"] == {"1": 0.5, "12": 0.25}
        with pytest.raises(DataError, match="seed 12 did not end"):
            read_runs(path, "acc")
        run_of(path, seed=2, values=[0.125])
        seen = [(r["seed"], r["acc"]) for r in rows(path)]
        last = [("12", "0.75")] if end == len(content) - 1 else []
        assert seen == [("1", "0.5"), ("12", "0.25"), *last, ("2", "0.125")]


def test_a_run_that_raised_diverged_and_one_that_was_stopped_did_not_end(path):
    """The error goes on; before the first row, too. Ctrl-C says nothing about the training."""
    for seed, values in ((0, [0.5]), (1, [])):
        with pytest.raises(ZeroDivisionError):
            stop_run(path, seed, values, ZeroDivisionError)
    run_of(path, seed=2)
    found = read_runs(path, "acc")["a"]
    assert math.isnan(found["0"])
    assert math.isnan(found["1"])
    assert found["2"] == 0.6
    run_of(path, seed=0)  # a mended loop may be run again
    assert read_runs(path, "acc")["a"]["0"] == 0.6
    with pytest.raises(KeyboardInterrupt):
        stop_run(path, 3, [0.5], KeyboardInterrupt)
    with pytest.raises(DataError, match="seed 3 did not end"):
        read_runs(path, "acc")


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_is_divergence(bad, path):
    """Whatever comes later; of another metric it says nothing."""
    with record(path, arm="a", seed=0) as run:
        for acc in (0.5, bad, 0.6):
            run.log(acc=acc, loss=1.0)
    assert not math.isfinite(read_runs(path, "acc")["a"]["0"])
    assert read_runs(path, "acc", epoch=0) == {"a": {"0": 0.5}}
    assert read_runs(path, "loss") == {"a": {"0": 1.0}}


def test_a_finished_run_is_replaced_only_when_told(path):
    """The refusal comes before the training, and changes nothing."""
    run_of(path, "b", 1)
    run_of(path)
    before = path.read_bytes()
    with pytest.raises(StoreError, match="has a finished run of arm 'a', seed 0; give replace=Tr"):
        record(path, arm="a", seed="0")
    assert path.read_bytes() == before
    run_of(path, values=[0.9], replace=True)
    assert [(r["arm"], r["acc"]) for r in rows(path)] == [("b", "0.5"), ("b", "0.6"), ("a", "0.9")]
    assert not is_recorded(path, arm="a", seed=9)


def test_two_recordings_of_one_run_are_found_out(path):
    """They mix their rows; no value is made of that."""
    one, two = (record(path, arm="a", seed=0) for _ in range(2))
    one.log(acc=0.1)
    two.log(acc=0.2)
    one.log(acc=0.3)
    two.log(acc=0.4)
    one.close()
    with pytest.raises(DataError, match="seed 0 of arm 'a' stands there twice at epoch 1"):
        read_runs(path, "acc")


def test_a_table_saved_by_a_spreadsheet_goes_on(path):
    """A byte order mark, carriage returns, no newline at the end."""
    run_of(path)
    text = path.read_text().rstrip("\n").replace("\n", "\r\n")
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    run_of(path, seed=1, values=[0.7])
    assert read_runs(path, "acc", epoch=0) == {"a": {"0": 0.5, "1": 0.7}}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p: record(p, arm="", seed=0), "arm must be one line of 1 to 80 characters"),
        (lambda p: record(p, arm="a\nb", seed=0), r"got 'a\nb'"),
        (lambda p: record(p, arm="a", seed=1.5), "seed must be a whole number or a name, got 1.5"),
        (lambda p: record(p, arm="a", seed=True), "seed must be a whole number or a name"),
        (lambda p: record(p, arm="a", seed=0).log(acc="high"), "acc must be a number"),
        (lambda p: record(p, arm="a", seed=0).log(acc=torch.ones(2)), "a tensor of one element"),
        (lambda p: record(p, arm="a", seed=0).log(acc=None), "acc must be a number"),
        (lambda p: record(p, arm="a", seed=0).log(status=1.0), "'status' is a column of its own"),
        (lambda p: record(p, arm="a", seed=0).log(epoch=0.5), "epoch must be a whole number"),
        (lambda p: record(p, arm="a", seed=0).close(), "nothing was logged of arm 'a', seed 0"),
    ],
)
def test_what_cannot_be_recorded(call, message, path):
    """One line: what is required, what was received."""
    with pytest.raises(HeatgradError) as error:
        call(path)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_closed_run_takes_no_more(path):
    """Closing twice is nothing; logging after is an error."""
    run = record(path, arm="a", seed=0)
    run.log(acc=0.5)
    run.close()
    run.close()
    with pytest.raises(RunError, match="this run of arm 'a' is closed"):
        run.log(acc=0.6)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"arm,seed,acc\na,0,1\n", "is not a table of recorded runs: its columns are arm, seed"),
        (b"\xff\xfe\x00", "cannot record into"),
        (b"arm,seed,epoch,acc,status\na,0\n", "has a row of 2 cells under 5 columns, of arm 'a'"),
    ],
)
def test_files_of_something_else_are_left_alone(content, message, path):
    """They are refused before the training, unchanged."""
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(StoreError, match=message):
        record(path, arm="a", seed=0)
    assert path.read_bytes() == content
    with pytest.raises(StoreError, match=r"cannot record into .*: Is a directory"):
        record(path.parent, arm="a", seed=0)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_is_no_divergence(path, monkeypatch):
    """The row that does not fit leaves no trace; the run did not end, so it can be run again."""
    write = os.write

    def half(handle, line):
        write(handle, line[: len(line) // 2])
        with open("/dev/full", "wb", buffering=0) as full:
            return full.write(line)

    with record(path, arm="b", seed=0) as run:
        run.log(acc=0.5)
    run = record(path, arm="a", seed=0)
    run.log(acc=0.5)
    before = path.read_bytes()
    monkeypatch.setattr(os, "write", half)
    with pytest.raises(StoreError, match=r"cannot record into .*: No space left"):
        run.log(acc=0.6)
    assert path.read_bytes() == before
    monkeypatch.undo()
    run_of(path, values=[0.7])
    assert [row["acc"] for row in rows(path)] == ["0.5", "0.7"]


def test_a_spec_error_in_the_loop_is_no_divergence(path):
    """A wrong name or value is the recorder's refusal, not the training's failure."""
    with pytest.raises(SpecError):
        run_of(path, values=[0.5, "high"])
    assert [row["status"] for row in rows(path)] == [""]
