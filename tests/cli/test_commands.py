import csv
import re
import subprocess
import sys

import pytest

import heatgrad as package
from heatgrad.study import PRESETS

WITHOUT_TORCH = """
import sys
import heatgrad.cli.main
slow = {"torch", "numpy", "matplotlib", "pydantic", "sqlalchemy"} & set(sys.modules)
sys.exit(f"imported: {slow}" if slow else 0)
"""


def test_version(heatgrad):
    assert heatgrad("--version").out == f"heatgrad {package.__version__}\n"


def test_starting_is_fast():
    """Help and bad usage need none of the slow packages, so the command does not import them."""
    done = subprocess.run([sys.executable, "-c", WITHOUT_TORCH], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "name", ["run", "status", "verdict", "report", "export", "presets", "calibrate", ""]
)
def test_help(heatgrad, name):
    outcome = heatgrad("study", *name.split(), "--help")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.startswith(f"Usage: heatgrad study {name}".rstrip())
    assert heatgrad("--help").out.startswith("Usage: heatgrad [OPTIONS]")


@pytest.mark.parametrize("command", ["", "study"])
def test_no_command_shows_the_help(heatgrad, command):
    outcome = heatgrad(*command.split())
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith("Usage: heatgrad")


def test_run_prints_the_verdicts_and_then_the_page(heatgrad, write_spec, tmp_path):
    folder = tmp_path / "out"
    outcome = heatgrad("study", "run", write_spec(), "--out", folder, "--workers", 0)
    assert outcome.code == 0, outcome.err
    lines = outcome.out.splitlines()
    assert lines[0] == "A tiny study"
    assert "12 trials: 2 task(s) x 3 arms" in lines[1]
    assert "vs SGD" in outcome.out
    assert "NO VERDICT" in outcome.out
    assert "diffusion: 2 matched runs; a verdict needs at least 8" in outcome.out
    assert lines[-1] == str(folder / "report.html")
    assert "A tiny study" in (folder / "report.html").read_text()
    progress = outcome.err.splitlines()
    assert 1 <= len(progress) <= 10
    assert progress[-1] == "12 of 12 trials done"


def test_run_again_resumes(no_page, heatgrad, write_spec, unfinished):
    outcome = heatgrad("study", "run", write_spec(), "--out", unfinished, "--workers", 0)
    assert outcome.code == 0, outcome.err
    assert outcome.err.startswith("resuming: 5 of 12 trials are stored\n")
    again = heatgrad("study", "run", write_spec(), "--out", unfinished, "--workers", 0)
    assert (again.code, again.err) == (0, "")


def test_run_defaults_to_a_folder_under_runs(no_page, heatgrad, write_spec, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = ("--workers", 0, "--seeds", 1, "--task", "other")
    outcome = heatgrad("study", "run", write_spec(), *arguments)
    assert outcome.out.splitlines()[-1] == "runs/tiny/report.html"
    assert "3 trials: 1 task(s) x 3 arms" in outcome.out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["runs", "spec.toml"]


def test_dry_run_writes_nothing(heatgrad, write_spec, tmp_path, monkeypatch):
    """Four and two batches of 64 make the training parts, two epochs a trial."""
    monkeypatch.chdir(tmp_path)
    spec = write_spec()
    outcome = heatgrad("study", "run", spec, "--dry-run", "--workers", 2)
    assert outcome.code == 0, outcome.err
    assert outcome.err == ""  # progress is for terminals
    assert list(tmp_path.iterdir()) == [spec]
    steps = 2 * 3 * 2 * (128 // 64 + 64 // 64)
    assert f"12 trials, 0 stored, {steps} steps to do: about" in outcome.out
    assert re.search(r"about 0\.\d\d hours on 2 worker", outcome.out)


def test_dry_run_counts_what_is_stored(heatgrad, write_spec, unfinished, fingerprint):
    before = fingerprint(unfinished)
    outcome = heatgrad("study", "run", write_spec(), "--out", unfinished, "--dry-run")
    assert "12 trials, 5 stored" in outcome.out
    assert fingerprint(unfinished) == before


def test_names_are_text_and_not_markup(no_page, heatgrad, write_spec, tmp_path):
    """Brackets and colons mean something to the terminal library; in names they must not."""
    name = "[/red] :smile: [bold]"
    spec = write_spec("[tasks.other]", f'[tasks."{name}"]')
    folder = tmp_path / "out"
    arguments = ("--workers", 0, "--seeds", 1, "--task", name, "--out", folder)
    assert name in heatgrad("study", "run", spec, *arguments).out
    assert name in heatgrad("study", "status", folder).out


def test_status(heatgrad, unfinished):
    outcome = heatgrad("study", "status", unfinished)
    assert outcome.code == 0
    assert re.search(r"placebo\W+1/2\W+0/2", outcome.out)
    assert "5 of 12 trials stored; 'heatgrad study run'" in outcome.out


def test_verdict_says_what_is_missing(heatgrad, unfinished):
    outcome = heatgrad("study", "verdict", unfinished)
    assert outcome.code == 0
    assert re.search(r"diffusion\W.*\(range\).*1\W+NO VERDICT", outcome.out)
    assert "7 trials are missing; verdicts may change" in outcome.out


def test_report_goes_where_it_should(heatgrad, finished, tmp_path, fingerprint, monkeypatch):
    before = fingerprint(finished)
    outcome = heatgrad("study", "report", finished, "--out", tmp_path / "page.html")
    assert outcome.out == f"{tmp_path / 'page.html'}\n"
    assert (tmp_path / "page.html").read_text().startswith("<!doctype html>")
    assert fingerprint(finished) == before
    pages = []
    monkeypatch.setattr("heatgrad.report.write_report", lambda results, path: pages.append(path))
    assert heatgrad("study", "report", finished).out == f"{finished / 'report.html'}\n"
    assert pages == [finished / "report.html"]


def test_export_has_a_line_per_trial_and_epoch(heatgrad, finished, tmp_path):
    outcome = heatgrad("study", "export", finished, "--out", tmp_path / "all.csv")
    assert outcome.out == f"{tmp_path / 'all.csv'} (24 lines)\n"
    with open(tmp_path / "all.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    keys = {(row["task"], row["arm"], row["block"], row["epoch"]) for row in rows}
    assert len(rows) == len(keys) == 2 * 3 * 2 * 2
    assert all(0 <= float(row["test_accuracy"]) <= 1 for row in rows)


def test_presets(heatgrad):
    outcome = heatgrad("study", "presets")
    assert outcome.code == 0
    assert all(name in outcome.out for name in PRESETS)
    assert "[Ray]" in outcome.out


def test_export_in_another_format(heatgrad, finished, tmp_path):
    """The default place lies in the study's folder; a second export leaves the first alone."""
    pytest.importorskip("pyarrow")
    outcome = heatgrad("study", "export", finished, "--format", "parquet")
    assert outcome.out == f"{finished / 'trials.parquet'} (24 rows)\n"
    again = heatgrad("study", "export", finished, "--format", "parquet")
    assert again.code == 2
    assert "is there already; give another with --out" in again.err
