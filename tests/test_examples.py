"""Every example runs by itself, in a folder of its own, and its assertions hold."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from heatgrad import optim

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "examples"


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


def test_examples_are_short():
    """An example is read in one go."""
    for path in FOLDER.glob("*.py"):
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
