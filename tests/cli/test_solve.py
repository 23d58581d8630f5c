"""`heatgrad solve`: its page, its files, and one line for everything that cannot be."""

import warnings

import pytest

from heatgrad.solving import PriorSpec

SMALL = ("solve", "poisson", "--grid", "33")


def test_a_solution_has_a_page(heatgrad, tmp_path):
    """Errors beside the exact ones in the terminal; the page asks nothing of a network."""
    out = tmp_path / "run"
    done = heatgrad(*SMALL, "--observe", "u:50", "--draws", "4", "--out", out)
    assert done.code == 0, done.err
    assert "exact posterior" in done.out
    assert "pseudo-inverse guidance" in done.out
    page = (out / "report.html").read_text(encoding="utf-8")
    assert page.count("<svg") == 4 + 5 + 2 * 4
    assert "https://" not in page
    assert heatgrad(*SMALL, "--observe", "u:50", "--draws", "4", "--out", out).code == 0
    other = heatgrad(*SMALL, "--observe", "u:51", "--out", out)
    assert other.code == 2
    assert "another specification" in other.err


def test_sensors_of_a_file(heatgrad, tmp_path):
    """No truth: the page has means, deviations, sensors and draws."""
    file = tmp_path / "mine.csv"
    file.write_text("x,y,value,field,noise\n0.5,0.5,0.01,u,0.001\n0.0,0.5,0,u,\n0.25,0.5,1,a,0.1\n")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        done = heatgrad(*SMALL, "--data", file, "--draws", "2", "--out", tmp_path / "run")
    assert done.code == 0, done.err
    assert "heatgrad: warning: 1 of 2 sensors of u" in done.err
    assert "carry no information" in done.err
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert page.count("<svg") == 2 * 3 + 2 * 2
    assert "errors are not" in page


def test_a_prior_is_trained_and_used(heatgrad, tmp_path, monkeypatch):
    """Without it: one line with the command; with it: an answer."""
    monkeypatch.setenv("HEATGRAD_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    words = ("solve", "darcy", "--grid", "17")
    missing = heatgrad(*words, "--observe", "a:30")
    assert missing.code == 2
    assert "heatgrad solve darcy --train" in missing.err
    assert missing.err.count("\n") == 1
    small = {
        "problem": "darcy", "options": {"n": 17}, "modes": 8, "pairs": 32, "copies": 2, "epochs": 1,
        "network": {"options": {"patch": 4, "width": 8, "depth": 1, "heads": 1}},
    }  # fmt: skip
    spec = PriorSpec.from_dict(small)
    monkeypatch.setattr("heatgrad.solving.prior_spec", lambda *given: spec)
    monkeypatch.setattr("heatgrad.solving.priors.prior_spec", lambda *given: spec)
    trained = heatgrad(*words, "--train")
    assert trained.code == 0, trained.err
    assert "epoch 1/1" in trained.err
    answered = heatgrad(*words, "--observe", "a:30", "--draws", "2")
    assert answered.code == 0, answered.err
    assert "no training" in heatgrad("solve", "poisson", "--grid", "33", "--train").out


def test_an_interruption_is_one_line(heatgrad, tmp_path, monkeypatch):
    """And the same command goes on."""

    def stop(*given):
        raise KeyboardInterrupt

    words = (*SMALL, "--observe", "u:20", "--draws", "2", "--out", tmp_path / "run")
    with monkeypatch.context() as patch:
        patch.setattr("heatgrad.solving.solve_run._answer", stop)
        done = heatgrad(*words)
    assert done.code == 1
    assert "the same command goes on" in done.err.strip().splitlines()[-1]
    assert heatgrad(*words).code == 0


@pytest.mark.parametrize(
    ("words", "naming"),
    [
        (("solve", "poison"), ("unknown problem 'poison'; did you mean 'poisson'?",)),
        (SMALL, ("give sensors", "--observe u:500")),
        ((*SMALL, "--observe", "v:5"), ("unknown field 'v'", "choices: a, u")),
        ((*SMALL, "--observe", "u"), ("field:number",)),
        ((*SMALL, "--observe", "u:5000"), ("1089 points",)),
        ((*SMALL, "--observe", "u:9", "--method", "dsp"), ("did you mean 'dps'",)),
        ((*SMALL, "--observe", "u:9", "--draws", "1"), ("draws",)),
        ((*SMALL, "--observe", "u:9", "--noise", "-1"), ("noise",)),
        ((*SMALL, "--observe", "u:9", "--seed", "-1"), ("seed",)),
        (("solve", "poisson", "--grid", "2", "--observe", "u:9"), ("n must be at least 6",)),
        ((*SMALL, "--data", "none.csv"), ("no file of sensors at 'none.csv'",)),
        ((*SMALL, "--data", "none.csv", "--observe", "u:9"), ("not both",)),
        (("solve", "json:loads", "--observe", "u:9"), ("problem 'json:loads'",)),
    ],
)
def test_bad_usage_is_one_line(refused, tmp_path, monkeypatch, words, naming):
    monkeypatch.chdir(tmp_path)
    refused(*words, naming=naming)


def test_a_bad_line_of_a_file_is_named(refused, tmp_path):
    """The number of the line, as an editor counts."""
    file = tmp_path / "mine.csv"
    file.write_text("x,y,value,field\n0.5,0.5,1,u\n0.5,1.01,1,u\n")
    refused(*SMALL, "--data", file, naming=("line 3", "outside the domain"))


def test_a_problem_of_ones_own(heatgrad, tmp_path, monkeypatch):
    """By import path: a linear one with a Gaussian law needs no training either."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_problem.py").write_text(
        "from heatgrad.pde import Helmholtz\ndef wavy(n=33):\n    return Helmholtz(n, k=2.0)\n"
    )
    done = heatgrad("solve", "my_problem:wavy", "--observe", "a:40", "--draws", "2")
    assert done.code == 0, done.err
    assert "exact posterior" in done.out
