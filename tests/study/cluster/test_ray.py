"""A study on a Ray cluster of two nodes, one of them killed: the results of one process."""

import os
import re
import signal
import subprocess
import sys
import time

import pytest
import torch

from heatgrad.core.errors import RunError, SpecError
from heatgrad.study import Results, Store, run_study

pytestmark = pytest.mark.cluster

# Says on which node it has begun to train: at the second step, since a check takes one before.
MODULE = """
import os, sys, time, uuid
from pathlib import Path

import torch


class Slow(torch.optim.SGD):
    def __init__(self, params, lr: float, folder: str, pause: float) -> None:
        super().__init__(params, lr=lr)
        self.folder, self.pause, self.count = folder, pause, 0

    def step(self, closure=None):
        self.count += 1
        if self.count == 2:
            ray = sys.modules.get("ray")
            is_there = ray and ray.is_initialized()
            node = ray.get_runtime_context().get_node_id() if is_there else "here"
            (Path(self.folder) / f"{node}.{uuid.uuid4().hex}").touch()
        time.sleep(self.pause)
        super().step(closure)


class Failing(torch.optim.SGD):
    count = 0

    def step(self, closure=None):
        Failing.count += 1
        if Failing.count > 4:
            raise ZeroDivisionError("boom on a node")
        super().step(closure)


class Deadly(torch.optim.SGD):
    count = 0

    def step(self, closure=None):
        Deadly.count += 1
        if Deadly.count > 4:
            os._exit(1)
        super().step(closure)
"""


@pytest.fixture(scope="module")
def cluster():
    """Start a head with one core; tests add the second node, and may kill it."""
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    cluster = Cluster()
    cluster.add_node(num_cpus=1, object_store_memory=80 * 2**20, include_dashboard=False)
    yield cluster
    ray.shutdown()
    cluster.shutdown()


@pytest.fixture
def slow(tmp_path, monkeypatch, spec):
    """Return the function `(**changes) -> values` of a study with slow arms, and their marks."""
    folder = tmp_path / "slow"
    folder.mkdir()
    (folder / "slow_parts.py").write_text(MODULE)
    monkeypatch.syspath_prepend(folder)
    marks = tmp_path / "marks"
    marks.mkdir()
    options = {"kind": "slow_parts:Slow", "folder": str(marks), "pause": 0.03}

    def values(**changes):
        arms = {"SGD": options, "faster": options | {"lr": 0.2}}
        return spec(arms=arms, confirmatory=[], seeds=4, epochs=6, **changes)

    return values, marks


def nodes_of(marks):
    return [path.name.partition(".")[0] for path in marks.iterdir()]


def shown(results):
    return [{k: v for k, v in row.items() if k != "seconds"} for row in results.table()]


def test_a_node_is_killed_in_mid_study(
    slow, cluster, server, database, bits, stored_weights, tmp_path
):
    """Tasks on it run again elsewhere; records, table and weights equal those of one process."""
    values, marks = slow
    node = cluster.add_node(num_cpus=1, object_store_memory=80 * 2**20)
    url, seen, killed = server.url(database), [], []

    def kill(epochs, trial):
        seen.append((epochs, trial))
        if not killed and node.node_id in nodes_of(marks):
            cluster.remove_node(node, allow_graceful=False)
            killed.append(len(Results.load(url).records))

    there = run_study(values(), store=url, ray=cluster.address, on_progress=kill)
    assert killed
    assert killed[0] < 8
    assert there.num_missing == 0
    # What it was training was begun once more.
    begun = nodes_of(marks)
    assert len(begun) > 8
    assert len(set(begun)) == 2
    here = run_study(values(), out=tmp_path / "here", workers=0)
    assert bits(there) == bits(here)
    assert shown(there) == shown(here)
    weights = stored_weights(Store.open(url), there)
    assert weights == stored_weights(Store.open(tmp_path / "here"), here)
    assert sorted(t.key for _, t in seen if t) == sorted(weights)
    assert seen[-1][0] <= 8 * 6


@pytest.mark.parametrize("tuning", [None, {"budget": 8, "blocks": 1, "space": {"lr": [0.01, 1]}}])
def test_a_folder_that_all_nodes_share(tuning, spec, cluster, bits, tmp_path):
    """Trained at once, on two nodes: the folder of one process, one file that can be copied.

    A study that tunes goes there twice: once to tune, once with what was found.
    """
    values = spec(seeds=3, **({"tuning": tuning} if tuning else {}))
    node = cluster.add_node(num_cpus=1, object_store_memory=80 * 2**20)
    try:
        there = run_study(values, out=tmp_path / "there", ray=cluster.address)
    finally:
        cluster.remove_node(node)
    here = run_study(values, out=tmp_path / "here", workers=0)
    assert here.num_missing == there.num_missing == 0
    assert here.study.regimes == there.study.regimes
    assert bits(there) == bits(here)
    files = [
        sorted(str(path.relative_to(tmp_path / name)) for path in (tmp_path / name).rglob("*"))
        for name in ("here", "there")
    ]
    assert files[0] == files[1]
    for record in here.records:
        name = f"weights/{record.key}.safetensors"
        assert (tmp_path / "here" / name).read_bytes() == (tmp_path / "there" / name).read_bytes()


def test_a_part_that_fails_on_a_node(slow, cluster, spec, tmp_path):
    """One line; the traceback of the node is in the driver's folder."""
    arms = {"SGD": {"kind": "SGD"}, "bad": {"kind": "slow_parts:Failing"}}
    out = tmp_path / "out"
    with pytest.raises(RunError, match=r"bad on spiral.*ZeroDivisionError: boom on a n") as caught:
        run_study(spec(arms=arms, confirmatory=[], seeds=1), out=out, ray=cluster.address)
    assert "\n" not in str(caught.value)
    (log,) = out.glob("failed-*.txt")
    assert "boom on a node" in log.read_text()
    assert not list(out.glob(".reached*"))


def test_a_task_whose_worker_always_dies(slow, cluster, spec, tmp_path, monkeypatch):
    """Given up after its retries, in one line; what finished beside it is stored."""
    monkeypatch.setattr("heatgrad.study.ray_pool._RETRIES", 1)
    arms = {"SGD": {"kind": "SGD"}, "bad": {"kind": "slow_parts:Deadly"}}
    out = tmp_path / "out"
    with pytest.raises(RunError, match=r"a task was lost 2 times .*the same command resumes"):
        run_study(
            spec(arms=arms, confirmatory=[], seeds=1, backend="loop"),
            out=out, ray=cluster.address, workers=1,
        )  # fmt: skip
    assert [record.arm for record in Results.load(out).records] == ["SGD"]


def test_interrupted(slow, cluster, bits, tmp_path):
    """Ctrl-C: one line, exit code 1, nothing is stored any more; the same command resumes."""
    values, _ = slow
    out, given = tmp_path / "out", values(name="cut")
    code = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"sys.path.insert(0, {str(tmp_path / 'slow')!r})\n"
        "import heatgrad.cli.study, heatgrad.study.run as run\n"
        f"given = {given!r}\n"
        "load = run.load_study\n"
        "run.load_study = lambda *a, **k: load(given)\n"
        "from heatgrad.cli.main import main; main()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, "study", "run", "cut", "--out", out, "--ray", cluster.address],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        env=os.environ,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not list(out.glob("weights/*.safetensors")) and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1, errors
    lines = [line for line in errors.splitlines() if not re.match(r"\d+ of \d+ trials done", line)]
    assert lines == [
        f"heatgrad: interrupted; finished trials are stored in '{out}', the same command resumes"
    ]
    count = len(Results.load(out).records)
    assert 1 <= count < 8
    time.sleep(2.0)
    assert len(Results.load(out).records) == count
    results = run_study(given, out=out, ray=cluster.address)
    assert bits(results) == bits(run_study(given, out=tmp_path / "whole", workers=0))


def test_gpus_are_asked_for_where_a_study_needs_them(spec, cluster, tmp_path):
    """A cluster without, and one that claims to have one: both say what is missing."""
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(
        SpecError, match="the cluster has no GPU, and the study has device = 'cuda'"
    ):
        run_study(spec(device="cuda"), out=tmp_path / "out", ray=cluster.address)
    node = cluster.add_node(num_cpus=1, num_gpus=1, object_store_memory=80 * 2**20)
    cluster.wait_for_nodes()
    with pytest.raises(RunError, match=r"node '.*' has no GPU that its PyTorch .* sees"):
        run_study(spec(device="cuda"), out=tmp_path / "out", ray=cluster.address)
    cluster.remove_node(node)


def test_no_cluster_at_hand(spec, tmp_path, monkeypatch):
    """`auto` finds none: said with Ray's words, and how to start one."""
    pytest.importorskip("ray")
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with pytest.raises(SpecError, match=r"no Ray cluster at '127.0.0.1:1'.*ray start --head"):
        run_study(spec(), out=tmp_path / "out", ray="127.0.0.1:1")
    assert not (tmp_path / "out").exists()
