import io
import re

import pytest
from rich.console import Console

from heatgrad.cli.progress import StudyProgress
from heatgrad.study import StudySpec, load_study, run_study


@pytest.fixture
def study(write_spec) -> StudySpec:
    """Return the tiny study."""
    return load_study(write_spec())


def run(study, folder, **how):
    text = io.StringIO()
    console = Console(file=text, width=100, highlight=False, **how)
    with StudyProgress(study, folder, console) as shown:
        run_study(study, out=folder, workers=0, on_progress=shown.update)
    return text.getvalue()


def test_a_terminal_sees_trials_and_figures(study, unfinished):
    """The store holds 5 of 12 trials; the bar starts there and the medians name each arm."""
    text = run(study, unfinished, force_terminal=True)
    assert "resuming: 5 of 12 trials are stored" in text
    assert "12/12" in text
    assert "100 %" in text
    assert "test accuracy (labels as scored), median" in text
    assert "placebo" in text
    assert "(n=2)" in text
    assert "%" in text


def test_elsewhere_a_line_a_tenth(study, unfinished):
    lines = run(study, unfinished, force_terminal=False).splitlines()
    assert lines[0] == "resuming: 5 of 12 trials are stored"
    told = [re.fullmatch(r"(\d)0 % trained; (\d+) of 12 trials done", line) for line in lines[1:-1]]
    tenths, done = ([int(found[i]) for found in told] for i in (1, 2))
    assert tenths == sorted(set(tenths))
    assert done == sorted(done)
    assert told
    assert lines[-1] == "12 of 12 trials done"


def test_a_line_a_tenth_of_many_trials(study, tmp_path):
    """A hundred trials are ten lines, whoever reads the log."""
    study = study.with_tasks(["other"]).with_seeds(33)
    text = io.StringIO()
    progress = StudyProgress(study, tmp_path / "none", Console(file=text, width=100))
    for done in range(1, 100):
        progress.update(2 * done - 1, None)
        progress.update(2 * done, object())
        progress.update(2 * done, None)
    assert len(text.getvalue().splitlines()) == 10
    assert "\n50 % trained; 49 of 99 trials done\n" in text.getvalue()
    assert text.getvalue().endswith("99 of 99 trials done\n")
    assert not (tmp_path / "none").exists()


def test_nothing_left_is_no_word(study, finished):
    assert run(study, finished, force_terminal=False) == ""
