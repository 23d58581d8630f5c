"""The commands with a database by URL where they otherwise take a folder."""

import pytest

from heatgrad.study import Results, run_study


@pytest.fixture
def url(write_spec, tmp_path, monkeypatch):
    """Run the tiny study into a file by URL; return the URL. Commands run in an empty folder."""
    url = f"sqlite:///{tmp_path}/a.db"
    run_study(write_spec(), store=url, workers=0)
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    return url


def test_a_run_writes_its_page_into_the_folder(heatgrad, write_spec, url, tmp_path, no_page):
    """The records are in the database alone; the second run finds them all."""
    out = tmp_path / "out"
    outcome = heatgrad("study", "run", write_spec(), "--store", url, "--out", out, "--workers", 0)
    assert outcome.code == 0, outcome.err
    assert f"resultsin{url}" in "".join(outcome.out.split())
    assert outcome.out.rstrip().endswith("report.html")
    assert not list(out.iterdir())
    assert Results.load(url).num_missing == 0


def test_reading_by_url(heatgrad, url, tmp_path):
    """Status, verdicts, table and page are those of a folder; files go to runs/<name>."""
    assert "12 of 12 trials stored" in heatgrad("study", "status", url).out
    assert "diffusion" in heatgrad("study", "verdict", url).out
    assert heatgrad("study", "export", url).code == 0
    lines = (tmp_path / "empty/runs/tiny/trials.csv").read_text().splitlines()
    assert len(lines) == 1 + 12 * 2
    page = tmp_path / "page.html"
    assert heatgrad("study", "report", url, "--out", page).code == 0
    assert "A tiny study" in page.read_text(encoding="utf-8")


def test_a_dry_run_asks_the_database(heatgrad, write_spec, url):
    """All is stored: nothing is left to do, and nothing is written."""
    outcome = heatgrad("study", "run", write_spec(), "--store", url, "--dry-run")
    assert "12 trials, 12 stored, 0 steps to do" in outcome.out


@pytest.mark.parametrize(
    ("options", "naming"),
    [
        (("--store", "mysql://host/a"), ["must be postgresql+psycopg://", "'mysql://...'"]),
        (("--store", "runs/a"), ["must be the URL of a database", "--out"]),
        (("--ray", "here"), ["ray"]),
    ],
)
def test_places_that_cannot_be_used(refused, write_spec, tmp_path, options, naming):
    """One line, exit code 2, no folder."""
    out = tmp_path / "out"
    refused("study", "run", write_spec(), "--out", out, *options, naming=naming)
    assert not out.exists()
