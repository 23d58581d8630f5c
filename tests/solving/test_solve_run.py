"""One solution from sensors: against the exact posterior, from files, and what is refused."""

import numpy as np
import pytest
import torch

from heatgrad.core.errors import DataError, HeatgradWarning, SpecError
from heatgrad.pde import Poisson
from heatgrad.solving import SolveSpec, run_solve
from heatgrad.solving.solve_spec import parse_observe

SMALL = {"problem": "poisson", "options": {"n": 33}, "observe": {"u": 100}}


def asked(**changes):
    """Return a small question."""
    return SolveSpec.from_dict(SMALL | changes)


@pytest.mark.parametrize("field", ["a", "u"])
def test_pseudo_inverse_guidance_is_the_exact_posterior(tmp_path, field):
    """Mean within 2 % of the size of what is not known, draws as far from the truth (5 %)."""
    found = run_solve(asked(observe={field: 100}, draws=64), tmp_path / "run")
    target = "u" if field == "a" else "a"
    mine, exact = found.answers["pseudo-inverse"], found.answers["exact"]
    spread = exact.std()[target].norm()
    assert float((mine.mean[target][0] - exact.mean[target][0]).norm() / spread) < 0.02
    scores = found.scores
    assert scores["pseudo-inverse"][target].draw_error == pytest.approx(
        scores["exact"][target].draw_error, rel=0.08
    )
    assert mine.calls <= 30
    assert found.residuals["pseudo-inverse"][0] < 0.01


def test_what_is_done_is_not_done_again(tmp_path):
    """The second run reads every step and says the same."""
    told = []
    one = run_solve(asked(), tmp_path / "run", tell=told.append)
    assert told == ["environment", "truth", "answer-pseudo-inverse", "answer-exact"]
    two = run_solve(asked(), tmp_path / "run", tell=told.append)
    assert len(told) == 4
    assert one.scores == two.scores


def csv_of(tmp_path, count=60, noise=None, scale=1.0):
    """Write sensors of a known solution, and return the file and the solution."""
    problem = Poisson(33)
    truth = problem.sample(1, torch.Generator().manual_seed(3))
    rng = np.random.default_rng(0)
    lines = ["x,y,value,field" + ("" if noise is None else ",noise")]
    for i, j in rng.integers(1, 32, (count, 2)):
        value = scale * float(truth["u"][0, i, j])
        lines.append(f"{i / 32},{j / 32},{value!r},u" + ("" if noise is None else f",{noise}"))
    path = tmp_path / "mine.csv"
    path.write_text("\n".join(dict.fromkeys(lines)) + "\n")
    return path, truth


def test_sensors_of_a_file_give_the_field_they_were_read_from(tmp_path):
    """60 exact sensors of a solution: u comes back to 5 %, with no truth told."""
    path, truth = csv_of(tmp_path, noise=1e-6)
    spec = SolveSpec.of_file("poisson", path, options={"n": 33})
    found = run_solve(spec, tmp_path / "run")
    assert found.truth is None
    assert found.scores == {}
    mean = found.answers["pseudo-inverse"].mean["u"]
    assert float((mean - truth["u"]).norm() / truth["u"].norm()) < 0.05
    inside = (mean - truth["u"]).abs()[0] < 4 * found.answers["exact"].std()["u"] + 1e-5
    assert float(inside.double().mean()) > 0.97


def test_noise_that_a_file_does_not_give_is_one_percent(tmp_path):
    """Of the field's root mean square by its law, which is stated."""
    path, _ = csv_of(tmp_path)
    found = run_solve(SolveSpec.of_file("poisson", path, options={"n": 33}), tmp_path / "run")
    assert found.sensors.noise[0] == pytest.approx(0.01 * 0.0038, rel=0.2)


def test_values_in_another_unit_are_doubted(tmp_path):
    path, _ = csv_of(tmp_path, scale=1000.0)
    spec = SolveSpec.of_file("poisson", path, options={"n": 33})
    with pytest.warns(HeatgradWarning, match="check their unit"):
        found = run_solve(spec, tmp_path / "run")
    assert found.warnings


def test_the_results_of_a_file_are_those_of_its_contents(tmp_path):
    """Another name changes nothing, another value does."""
    path, _ = csv_of(tmp_path)
    one = SolveSpec.of_file("poisson", path)
    other = path.rename(tmp_path / "other.csv")
    assert SolveSpec.of_file("poisson", other).id == one.id
    other.write_text(other.read_text() + "0.3,0.3,0.0,u\n")
    assert SolveSpec.of_file("poisson", other).id != one.id


def test_draws_of_navier_stokes_are_pushed_through_the_solver(tmp_path):
    """No training: the first vorticity is Gaussian, the second is what the flow makes of it."""
    spec = SolveSpec.from_dict(
        {
            "problem": "navier-stokes",
            "options": {"n": 16},
            "observe": {"w0": 60},
            "method": "exact",
        }
    )
    found = run_solve(spec, tmp_path / "run")
    draws = found.answers["exact"].draws
    solved = found.problem.solve(draws["w0"])[:, 0]
    assert torch.allclose(solved, draws["w1"], atol=1e-12)
    assert found.scores["exact"]["w1"].mean_error < found.scores["exact"]["w1"].draw_error


def test_a_trained_prior_answers(tmp_path, trained, monkeypatch):
    """Every method on the tiny prior: finite fields, and sensors that are heeded."""
    monkeypatch.setattr("heatgrad.solving.priors.prior_spec", lambda name, options: trained)
    for method in ("pseudo-inverse", "kriging", "dps", "adam"):
        spec = SolveSpec.from_dict(
            {
                "problem": "darcy",
                "options": {"n": 17},
                "observe": {"u": 80},
                "method": method,
                "draws": 4,
            }
        )
        found = run_solve(spec, tmp_path / method)
        assert found.scores[method]["u"].mean_error < (0.2 if method != "dps" else 1.0), method
        assert list(found.answers) == [method]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"observe": {}}, "give sensors"),
        ({"draws": 1}, "draws"),
        ({"noise": -0.1}, "noise"),
        ({"method": "magic"}, "method"),
        ({"observe": {"u": 0}}, "observe.u"),
    ],
)
def test_bad_questions_are_refused(changes, message):
    with pytest.raises(SpecError, match=message):
        asked(**changes)


def test_what_can_only_be_found_out_later_is_refused_too(tmp_path):
    """Too many sensors, an unknown field, a method that does not apply."""
    with pytest.raises(DataError, match="1089 points on its grid"):
        run_solve(asked(observe={"u": 1090}), tmp_path / "a")
    with pytest.raises(SpecError, match="unknown field 'v'"):
        run_solve(asked(observe={"v": 3}), tmp_path / "b")
    flow = {"problem": "navier-stokes", "options": {"n": 16}, "observe": {"w1": 9}}
    with pytest.raises(SpecError, match="'exact' needs a linear problem"):
        run_solve(asked(**flow, method="exact"), tmp_path / "c")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["v:3"], "unknown field 'v'"),
        (["u"], "given as field:number"),
        (["u:-3"], "given as field:number"),
        (["u:1.5"], "given as field:number"),
        (["u:3", "u:4"], "given twice"),
    ],
)
def test_words_of_the_command_line(words, message):
    with pytest.raises(DataError, match=message):
        parse_observe(words, ("a", "u"))
