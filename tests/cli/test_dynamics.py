"""`heatgrad escape` and `heatgrad flow`: pages, interruptions, and what they say of bad input."""

import pytest

from heatgrad.dynamics import escape_run, flow_run

ESCAPE = """
name = "well"
title = "A <well>"
start = [-1.0]
target = [1.0]
times = [1, 10]

[process]
kind = "langevin"
potential = "double-well"
temperature = 0.2

[grid]
low = [-2.5]
high = [2.5]
n = [100]

[monte_carlo]
replicas = 50
dt = 0.05
t_max = 50
"""
FLOW = """
name = "flows"
t_end = 1e9

[nets.gelu]
activation = "gelu"
start = "valley"
step = 1.0
"""


@pytest.fixture
def spec(tmp_path):
    """Return the function `text -> file`."""

    def write(text):
        path = tmp_path / "spec.toml"
        path.write_text(text)
        return path

    return write


def test_an_escape_has_a_page(heatgrad, spec, tmp_path):
    """Names are text on the page, which asks nothing of a network."""
    done = heatgrad("escape", spec(ESCAPE), "--out", tmp_path / "run")
    assert done.code == 0
    assert "Fokker-Planck grid" in done.out
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "A &lt;well&gt;" in page
    assert page.count("<svg") == 3
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "https://" not in page


def test_a_flow_has_a_page(heatgrad, spec, tmp_path):
    """With the verdict, on the page and in the terminal."""
    done = heatgrad("flow", spec(FLOW), "--out", tmp_path / "run")
    assert done.code == 0
    assert "diverges" in done.out.lower()
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert page.count("<svg") == 2


@pytest.mark.parametrize(
    ("command", "text", "module", "step"),
    [("escape", ESCAPE, escape_run, "_grid"), ("flow", FLOW, flow_run, "_followed")],
)
def test_an_interruption_is_one_line(
    heatgrad, spec, tmp_path, monkeypatch, command, text, module, step
):
    """What was done before is kept, and the same command goes on."""

    def stop(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, step, stop)
        done = heatgrad(command, spec(text), "--out", tmp_path / "run")
    assert done.code == 1
    assert (
        done.err.strip().splitlines()[-1].endswith("the same command goes on after the last step")
    )
    assert heatgrad(command, spec(text), "--out", tmp_path / "run").code == 0


@pytest.mark.parametrize(
    ("command", "text", "message"),
    [
        ("escape", ESCAPE.replace("0.2", "-0.2"), "temperature"),
        ("escape", ESCAPE.replace("[grid]", "[gird]"), "unknown key 'gird'"),
        ("flow", FLOW.replace("1e9", "-1.0"), "t_end"),
        ("flow", FLOW.replace('"gelu"', '"gel"'), "unknown activation 'gel'"),
    ],
)
def test_bad_specs_are_one_line(heatgrad, spec, tmp_path, command, text, message):
    done = heatgrad(command, spec(text), "--out", tmp_path / "run")
    assert done.code == 2
    assert message in done.err
    assert len(done.err.strip().splitlines()) == 1


def test_a_name_that_is_none(heatgrad):
    done = heatgrad("escape", "double-wel")
    assert done.code == 2
    assert "did you mean 'double-well'?" in done.err
