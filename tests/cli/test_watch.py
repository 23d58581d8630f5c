import dataclasses
import io
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console

from heatgrad.cli.watch import frame, pace, watch_study
from heatgrad.study import Results

START = datetime(2025, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def stored(finished):
    """Return the function `(seconds after START) -> records` stored at those times."""
    record = Results.load(finished).records[0]

    def make(times, *, seconds=10.0):
        return [
            dataclasses.replace(
                record,
                stored_at=(START + timedelta(seconds=t)).isoformat(timespec="seconds"),
                seconds=seconds,
            )
            for t in times
        ]

    return make


@pytest.fixture
def console():
    """Return a terminal that writes into a text."""
    return Console(file=io.StringIO(), width=110, force_terminal=True, color_system=None)


def test_a_steady_study(stored):
    """One trial each 10 s, the first begun at 0: 6 a minute; 30 more take 5 minutes."""
    found = pace(stored(range(10, 101, 10)), 30, now=START + timedelta(seconds=100))
    assert found.per_hour == pytest.approx(360)
    assert found.end == START + timedelta(seconds=400)
    assert found.silence == 0


def test_trials_before_a_pause_do_not_count(stored):
    times = [10, 20, 30, 20_000, 20_010, 20_020]
    found = pace(stored(reversed(times)), 3, now=START + timedelta(seconds=20_020))
    assert found.per_hour == pytest.approx(3 * 3600 / 30)


def test_trials_that_take_hours_are_no_pause(stored):
    times = [7200, 14_400, 21_600]
    found = pace(stored(times, seconds=7200.0), 1, now=START + timedelta(seconds=21_600))
    assert found.per_hour == pytest.approx(0.5)
    assert found.end == START + timedelta(seconds=28_800)


def test_batches_are_spread_over_their_time(stored):
    """64 trials at once every 1,000 s, each with its share of the time: the bursts even out."""
    times = [t for t in (1000, 2000, 3000) for _ in range(64)]
    found = pace(stored(times, seconds=1000 / 64), 64, now=START + timedelta(seconds=3000))
    assert 3600 * 64 / 1000 <= found.per_hour <= 3600 * 96 / 1000


def test_silence(stored):
    found = pace(stored([10]), 5, now=START + timedelta(hours=3))
    assert (found.per_hour, found.end) == (None, None)
    assert found.silence == pytest.approx(3 * 3600 - 10)
    assert pace([], 5, now=START) == dataclasses.replace(found, silence=None)


def test_once_is_one_frame(heatgrad, unfinished, alter_store):
    """The store holds 5 of 12 trials, of which one is made to have diverged."""
    alter_store(
        unfinished,
        "UPDATE trials SET status = 'diverged' WHERE arm = 'SGD' AND block = 1",
    )
    outcome = heatgrad("study", "watch", unfinished, "--once")
    assert outcome.code == 0
    assert outcome.out.count("study tiny in") == 1
    assert "5 of 12 trials" in outcome.out
    assert "1 diverged" in outcome.out
    assert "2/2, 1 diverged" in outcome.out
    assert "0/2" in outcome.out
    assert "\x1b" not in outcome.out
    assert outcome.err == ""


def test_a_pipe_sees_one_frame(heatgrad, unfinished):
    outcome = heatgrad("study", "watch", unfinished)
    assert (outcome.code, outcome.out.count("study tiny in")) == (0, 1)


def test_looking_changes_nothing(heatgrad, unfinished, fingerprint):
    before = fingerprint(unfinished)
    heatgrad("study", "watch", unfinished, "--once")
    assert fingerprint(unfinished) == before


def test_a_terminal_is_watched_until_the_study_is_done(
    console, unfinished, finished_once, monkeypatch
):
    """Between two looks the rest is stored; the third look would be one too many."""
    naps = []

    def nap(seconds):
        naps.append(seconds)
        (unfinished / "store.sqlite").write_bytes((finished_once / "store.sqlite").read_bytes())

    monkeypatch.setattr("heatgrad.cli.watch.time.sleep", nap)
    watch_study(unfinished, console, every=0.5)
    assert len(naps) == 1
    assert naps[0] >= 0.5
    text = console.file.getvalue()
    assert text.index("5 of 12 trials") < text.index("12 of 12 trials")
    assert "done" in text


def test_ctrl_c_is_a_way_to_leave(console, unfinished, monkeypatch):
    def interrupt(seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr("heatgrad.cli.watch.time.sleep", interrupt)
    watch_study(unfinished, console)
    assert "5 of 12 trials" in console.file.getvalue()


def test_no_study_is_one_line(refused, tmp_path):
    refused("study", "watch", tmp_path, naming=["no study in", "heatgrad study run"])


def test_many_tasks_stand_below_each_other(finished, console):
    """A sweep has more tasks than a terminal has columns."""
    results = Results.load(finished)
    tasks = {f"t{k}": results.study.tasks["other"] for k in range(5)}
    study = results.study.model_copy(update={"tasks": tasks})
    many = dataclasses.replace(results, study=study, records=(), num_planned=30)
    console.print(frame(many, finished, now=START))
    lines = console.file.getvalue().splitlines()
    assert sum(line.count("0/2") for line in lines if "t3" in line) == 3
    assert "no trial is finished yet" in console.file.getvalue()
