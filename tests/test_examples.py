"""Every example runs by itself, in a folder of its own, and its assertions hold."""

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from heatgrad import optim
from heatgrad.study import read_runs

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "examples"
DECIDED = ("HELPS", "TRIVIAL", "EQUIVALENT", "HURTS", "INCONCLUSIVE")


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.stem)
def test_example_runs_and_checks_itself(path, tmp_path):
    """The truths are inside: torch's SGD bit for bit, a closed-form decay, an unbroken run."""
    extra = re.search(r"Needs the extra\s+`(\w+)`", path.read_text(encoding="utf-8"))
    if extra and importlib.util.find_spec(extra[1]) is None:
        pytest.skip(f"needs the extra '{extra[1]}'")
    done = subprocess.run(
        [sys.executable, str(path)],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip(), "an example prints what it found"
    assert list(tmp_path.iterdir()) == [], "an example leaves nothing behind"


@pytest.mark.skipif("HEATGRAD_DATA" not in os.environ, reason="needs HEATGRAD_DATA")
@pytest.mark.parametrize("page", sorted(FOLDER.glob("*/README.md")), ids=lambda p: p.parent.name)
def test_the_commands_of_an_example_end_in_a_verdict(page, tmp_path):
    """What its page says is typed, in a copy of its folder: each comparison gets its word."""
    folder = shutil.copytree(page.parent, tmp_path / "copy")
    commands = "".join(re.findall(r"^```sh\n(.*?)^```$", page.read_text(), re.M | re.S)).split("\n")
    bin_folder = os.path.dirname(sys.executable)
    path = os.pathsep.join([bin_folder, os.environ["PATH"]])
    for command in filter(None, commands):
        done = subprocess.run(
            shlex.split(command),
            cwd=folder,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PATH": path},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        if not command.startswith("python"):
            assert any(re.search(rf"\b{word}\b", done.stdout) for word in DECIDED), done.stdout


def test_the_table_made_elsewhere_can_be_made_again(tmp_path, monkeypatch):
    """Its script, on two seeds, gives the kept table's arms and nearly its values."""
    pytest.importorskip("sklearn")
    if "HEATGRAD_DATA" not in os.environ:
        pytest.skip("needs HEATGRAD_DATA")
    folder = FOLDER / "any_table"
    script = (folder / "make_table.py").read_text().replace("range(10)", "range(2)")
    (tmp_path / "make.py").write_text(script)
    subprocess.run([sys.executable, "make.py", "new.csv"], cwd=tmp_path, check=True, timeout=300)
    made, kept = (
        read_runs(tmp_path / "new.csv", "accuracy"),
        read_runs(folder / "runs.csv", "accuracy"),
    )
    assert list(made) == list(kept)
    for arm, runs in made.items():
        assert runs == pytest.approx({seed: kept[arm][seed] for seed in runs}, abs=0.05)


def test_examples_are_short():
    """An example is read in one go."""
    for path in FOLDER.rglob("*.py"):
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 60, path.name


def test_every_optimizer_trains_a_network_in_an_example():
    """What has no example yet is named."""
    shown = "".join(path.read_text(encoding="utf-8") for path in FOLDER.glob("*.py"))
    ours = [n for n, kind in optim.OPTIMIZERS.items() if kind.__module__.startswith("heatgrad.")]
    names = [*ours, "LinearDiffusionDecay", "diffuse_gradients", "diffusion_groups"]
    assert [name for name in names if f"{name}(" not in shown] == []


def test_the_guide_shows_what_the_examples_run():
    """Each line of code on the page about frameworks is a line of an example."""
    page = (ROOT / "docs/guides/frameworks.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```py\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    lines = {line.strip() for block in blocks for line in block.splitlines()}
    run = {
        line.strip()
        for path in FOLDER.glob("*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
    }
    assert len(blocks) >= 3
    assert sorted(lines - run) == []
