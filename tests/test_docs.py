"""What the documentation shows works: its code runs, its commands and its names exist."""

import math
import re
import shlex
import tomllib
import warnings
from pathlib import Path

import pytest
import torch
import typer

from heatgrad.cli.main import app
from heatgrad.optim import checks
from heatgrad.report.page import KEY
from heatgrad.study import load_study
from heatgrad.study.geometry_spec import GeometrySpec
from heatgrad.study.recipe_spec import RecipeSpec
from heatgrad.study.spec import ArmSpec, ModelSpec, StudySpec, TaskSpec

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
FENCE = re.compile(r"^```([\w-]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LABEL = re.compile(r"\b([ADFGILPRTSV])\.(\d+)\b")
TAG = re.compile(r"\\tag\{([^}]*)\}")
COMMAND = typer.main.get_command(app)


def blocks(*languages):
    """Return the different fenced blocks in a language, each with its page and line."""
    found = {}
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for match in FENCE.finditer(text):
            if match[1] in languages:
                line = text[: match.start()].count("\n") + 2
                name = f"{page.relative_to(ROOT)}:{line}".replace("/", "-")
                found.setdefault(match[2], pytest.param(match[2], id=name))
    return list(found.values())


def commands():
    """Return every command line that a page shows, continued lines put together."""
    lines = {}
    for block in blocks("sh", "bash", "shell", "console", ""):
        for line in block.values[0].replace("\\\n", " ").splitlines():
            words = shlex.split(line.removeprefix("$ "), comments=True)
            while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                words = words[1:]
            if words and words[0] in ("heatgrad", "make"):
                lines[" ".join(words)] = words
    return [pytest.param(words, id=line) for line, words in lines.items()]


def parse(words):
    """Parse a command line with the real parser, without running it."""
    command, rest = COMMAND, words
    while hasattr(command, "commands"):
        assert rest, f"a command is missing after {words}"
        assert rest[0] in command.commands, f"no command '{rest[0]}'"
        command, rest = command.commands[rest[0]], rest[1:]
    command.make_context(command.name, list(rest))


@pytest.fixture
def one_thread():
    """Small networks train fastest on one thread, above all where tests run side by side."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("code", blocks("python"))
def test_python_runs(code, tmp_path, monkeypatch):
    """Each block stands alone: it runs in an empty folder with nothing defined."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        exec(compile(code, "<documentation>", "exec"), {"__name__": "documentation"})


@pytest.mark.parametrize("text", blocks("toml"))
def test_toml_is_read(text, tmp_path):
    """A whole study passes every check that comes before a run; a part is valid TOML."""
    values = tomllib.loads(text)
    if "arms" in values and "model" in values:
        path = tmp_path / "study.toml"
        path.write_text(text, encoding="utf-8")
        assert load_study(path).arms.keys() == values["arms"].keys()
    for name, task in values.get("tasks", {}).items():
        study = load_study("demo").model_dump(mode="json")
        loaded = load_study(study | {"tasks": {name: task}, "confirmatory": []})
        dials = {"label_noise": task.get("label_noise", [0])} | task.get("sweep", {})
        assert len(loaded.tasks) == math.prod(map(len, dials.values()))


@pytest.mark.parametrize("words", commands())
def test_commands_exist(words):
    """Subcommands, options and arguments are parsed by the command line itself."""
    if words[0] == "make":
        targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert set(words[1:]) <= set(targets)
    elif words[1:] != ["--version"]:
        parse(words[1:])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_named_in_prose_exist(page):
    """`heatgrad study x` in running text names a command as well."""
    names = set(COMMAND.commands["study"].commands)
    assert set(re.findall(r"`heatgrad study ([a-z]+)", page.read_text(encoding="utf-8"))) <= names


def test_readme_links_lead_somewhere():
    """Relative links and pictures of the README are files of the repository."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", text)
    assert [target for target in targets if not (ROOT / target).exists()] == []


def test_every_key_of_a_study_is_explained():
    """The guide has a row for each key that a spec may hold, and each option of `run`."""
    text = (DOCS / "guides/your-own-study.md").read_text(encoding="utf-8")
    keys = {
        name
        for spec in (StudySpec, TaskSpec, ArmSpec, ModelSpec, RecipeSpec)
        for name in spec.model_fields
    }
    run = COMMAND.commands["study"].commands["run"]
    keys |= {opt for param in run.params for opt in param.opts if opt.startswith("--")}
    rows = set(re.findall(r"`([\w-]+)`", "\n".join(re.findall(r"^\| ([^|]*) \|", text, re.M))))
    assert keys - {"options", "--help", "sweep_of", "dials"} <= rows


def test_every_key_of_a_measurement_is_explained():
    """The guide has a row for each key of a table `geometry`."""
    text = (DOCS / "guides/landscape.md").read_text(encoding="utf-8")
    rows = set(re.findall(r"^\| `(\w+)` \|", text, re.M))
    assert set(GeometrySpec.model_fields) - {"options"} <= rows


def test_every_verdict_and_mode_is_explained():
    """Words come from the code, so that a new one is not forgotten."""
    verdicts = (DOCS / "guides/reading-verdicts.md").read_text(encoding="utf-8")
    assert [word for word in KEY if f"| `{word}` |" not in verdicts] == []
    modes = (DOCS / "guides/diffusion-sgd.md").read_text(encoding="utf-8")
    assert [mode for mode in checks.MODES if f'| `"{mode}"`' not in modes] == []


def test_cited_equations_are_numbered_once():
    """A label in the code stands on the theory page of its letter, and is no tag twice.

    It is the tag of an equation there, or, of a short one, stands behind it in the text.
    """
    tags, labels = [], set()
    for page in (DOCS / "theory").glob("*.md"):
        text = page.read_text(encoding="utf-8")
        own = [label for tag in TAG.findall(text) for label in LABEL.findall(tag)]
        assert len({letter for letter, _ in own}) <= 1
        tags += own
        labels |= {label for label in LABEL.findall(text) if own and label[0] == own[0][0]}
    assert sorted(tags) == sorted(set(tags))
    cited = set()
    for path in (ROOT / "src").rglob("*.py"):
        cited |= set(LABEL.findall(path.read_text(encoding="utf-8")))
    assert sorted(cited - labels) == []
