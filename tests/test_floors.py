"""The floors: a module imports only from its own subpackage and from lower floors."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import heatgrad

SOURCE = Path(heatgrad.__file__).parent
FLOORS = (
    ("core",),
    ("laplacian",),
    ("optim", "data", "models", "landscape", "flow", "fokker_planck", "pde", "diffusion"),
    ("training", "inverse"),
    ("study", "dynamics", "solving"),
    ("report",),
    ("cli",),
)
FLOOR = {name: number for number, names in enumerate(FLOORS) for name in names}
MODULES = sorted(path for path in SOURCE.rglob("*.py") if path.parent != SOURCE)


def imported_modules(tree, package):
    """Yield the absolute dotted name of everything a module of `package` imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            prefix = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{prefix}.{alias.name}" for alias in node.names)


def violations(source, path):
    """Return what a module at `path`, relative to the package, must not import."""
    own = path.parts[0]
    found = []
    for name in imported_modules(ast.parse(source), ["heatgrad", *path.parent.parts]):
        root, _, rest = name.partition(".")
        target = rest.split(".")[0]
        is_ours = root == "heatgrad" and target in FLOOR
        if is_ours and target != own and FLOOR[target] >= FLOOR[own]:
            found.append(name)
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_imports_go_down(path):
    """The list of floors is the design's; the imports are read from the syntax tree."""
    relative = path.relative_to(SOURCE)
    assert relative.parts[0] in FLOOR, f"{relative.parts[0]} has no floor"
    assert violations(path.read_text(encoding="utf-8"), relative) == []


@pytest.mark.parametrize(
    ("place", "line", "allowed"),
    [
        ("optim/a.py", "from heatgrad.core.random import stream_seed", True),
        ("optim/a.py", "from heatgrad.optim import checks", True),
        ("optim/a.py", "from heatgrad import laplacian", True),
        ("optim/a.py", "from heatgrad.data import spiral", False),
        ("optim/a.py", "import heatgrad.training.loop", False),
        ("optim/a.py", "from heatgrad import study", False),
        ("optim/a.py", "from ..models import mlp", False),
        ("optim/sub/a.py", "from ...core import errors", True),
        ("optim/sub/a.py", "from .. import base", True),
        ("core/a.py", "def f():\n    from heatgrad.laplacian import Laplacian", False),
        ("training/a.py", "from heatgrad.inverse import SpectralLatent", False),
        ("cli/a.py", "import heatgrad.report, torch", True),
        ("core/a.py", "from heatgrad import __version__", True),
    ],
)
def test_the_reader_of_imports_itself(place, line, allowed):
    """By hand: absolute, relative, nested and several-in-one imports, up, down and sideways."""
    assert (violations(line, Path(place)) == []) is allowed


def loads_torch(module):
    """Return whether importing `module` in a fresh interpreter loads torch."""
    code = f"import sys, {module}; print('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return run.stdout.split()[-1] == "True"


def test_importing_heatgrad_is_light():
    """`import heatgrad` alone must not load torch."""
    assert not loads_torch("heatgrad")


def test_importing_the_command_line_is_light():
    """`heatgrad --help` must not wait for torch: commands load it when they run."""
    assert not loads_torch("heatgrad.cli.main")
