"""A study whose process is killed, or interrupted, at any moment loses nothing but time."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

from heatgrad.study import Results, run_study

pytestmark = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc")

# A shell may start its background jobs with Ctrl-C ignored; ours has to hear it.
COMMAND = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "from heatgrad.cli.main import main; main()"
)
SPEC = """
name = "killed"
seeds = {seeds}
epochs = 10
batch_size = 16
lr = 0.05
metric = "test_accuracy"
margin = 0.01
backend = "loop"
baseline = "SGD"

[model]
kind = "SimpleMLP"
width = 16

[tasks.blobs]
kind = "own_parts:Blobs"
count = 400

[arms.SGD]
kind = "SGD"

[arms.diffusion]
kind = "DiffusionSGD"
diffusion = 0.1

[arms.placebo]
kind = "PlaceboDiffusionSGD"
diffusion = 0.1
control_of = "diffusion"
"""


class Runs:
    """Starts the same command again and again, and finds every process that came of it."""

    def __init__(self, folder, seeds):
        self.spec, self.out = folder / "spec.toml", folder / "out"
        self.spec.write_text(SPEC.format(seeds=seeds))
        self.mark = f"HEATGRAD_TEST_MARK={uuid.uuid4().hex}"

    def start(self, workers=2):
        """Start the command in a session of its own."""
        name, _, value = self.mark.partition("=")
        arguments = [
            "study",
            "run",
            str(self.spec),
            "--out",
            str(self.out),
            "--workers",
            str(workers),
        ]
        return subprocess.Popen(
            [sys.executable, "-c", COMMAND, *arguments],
            env=os.environ | {name: value},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def stored(self):
        """Return the number of records, read by SQLite alone; 0 before there is a store."""
        try:
            uri = f"file:{self.out / 'store.sqlite'}?mode=ro"
            connection = sqlite3.connect(uri, uri=True, timeout=5)
            try:
                return connection.execute("SELECT count(*) FROM trials").fetchone()[0]
            finally:
                connection.close()
        except sqlite3.Error:
            return 0

    def wait_for(self, count, process):
        """Wait until `count` records are stored, or the process has ended."""
        deadline = time.monotonic() + 120
        while self.stored() < count and process.poll() is None:
            assert time.monotonic() < deadline, "nothing was stored for two minutes"
            time.sleep(0.02)

    def alive(self):
        """Return the ids of all processes with our mark in their environment."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    if self.mark.encode() in (entry / "environ").read_bytes().split(b"\0"):
                        found.append(int(entry.name))
                except OSError:
                    continue  # it has just ended, or is not ours
        return found

    def assert_gone(self, within=30.0):
        """Wait until no process is left; a worker looks for its parent once it has started."""
        deadline = time.monotonic() + within
        while self.alive():
            assert time.monotonic() < deadline, f"processes left behind: {self.alive()}"
            time.sleep(0.05)

    def kill_at_random(self, random, *, by_time):
        """Start, kill -9 the main process alone at a random moment, return what is stored."""
        process = self.start()
        if by_time:  # while it starts, while the store is made, or later
            time.sleep(random.uniform(1, 8))
        else:
            self.wait_for(self.stored() + random.randint(1, 2), process)
            time.sleep(random.uniform(0, 0.3))
        process.kill()
        process.communicate()
        self.assert_gone()
        return self.stored()


def check(tmp_path, bits, *, seeds, kills):
    runs, moments = Runs(tmp_path, seeds), random.Random(2)
    counts = [0]
    for number in range(kills):
        counts.append(runs.kill_at_random(moments, by_time=number % 2 == 0))
    assert counts == sorted(counts)
    assert 0 < counts[-1] < 3 * seeds
    kept = {r.key: r for r in Results.load(runs.out).records}
    assert len(kept) == counts[-1]
    process = runs.start()
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    runs.assert_gone()
    results = Results.load(runs.out)
    assert results.num_missing == 0
    assert {r.key: r for r in results.records if r.key in kept} == kept
    whole = run_study(runs.spec, out=tmp_path / "whole", workers=0)
    assert bits(results) == bits(whole)
    names = sorted(path.name for path in (runs.out / "weights").iterdir())
    assert names == sorted(f"{r.key}.safetensors" for r in results.records)
    for name in names:
        assert (runs.out / "weights" / name).read_bytes() == (
            tmp_path / "whole" / "weights" / name
        ).read_bytes()


def test_killed_three_times(tmp_path, own_module, bits):
    """After three kill -9 at random moments the records equal an undisturbed run's, bit for bit.

    What was stored once stays; no worker outlives its parent by more than its own start.
    """
    check(tmp_path, bits, seeds=4, kills=3)


@pytest.mark.slow
def test_killed_ten_times(tmp_path, own_module, bits):
    """The same with ten kills of a longer study."""
    check(tmp_path, bits, seeds=10, kills=10)


def test_interrupted(tmp_path, own_module):
    """Ctrl-C reaches the whole group: one line on stderr, exit code 1, a store that is settled."""
    runs = Runs(tmp_path, seeds=20)
    process = runs.start(workers=1)
    runs.wait_for(1, process)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    runs.assert_gone()
    assert process.returncode == 1
    assert errors.splitlines() == [
        f"heatgrad: interrupted; finished trials are stored in '{runs.out}', "
        f"the same command resumes"
    ]
    results = Results.load(runs.out)
    assert 1 <= len(results.records) < results.num_planned
    assert sorted(path.name for path in runs.out.iterdir()) == ["store.sqlite", "weights"]
