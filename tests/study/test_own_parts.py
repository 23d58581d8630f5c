"""Parts of a user's own that go wrong, or that only the user may choose to run."""

import sys
import textwrap

import pytest
import torch
from safetensors.torch import load_file

from heatgrad.core.errors import RunError, SpecError
from heatgrad.report import write_report
from heatgrad.study import Results, run_study

MODULE = '''
    """Awkward parts."""

    from dataclasses import dataclass
    from pathlib import Path

    import torch

    from own_parts import Blobs


    class Failing(torch.optim.SGD):
        def step(self, closure=None):
            if any(p.grad.any() for group in self.param_groups for p in group["params"]):
                raise ZeroDivisionError("boom in step")


    class FailingAtOnce(torch.optim.SGD):
        def step(self, closure=None):
            raise ZeroDivisionError("boom at once")


    class Tied(torch.nn.Module):
        def __init__(self, input_shape, num_classes) -> None:
            super().__init__()
            self.a = torch.nn.Linear(2, 2)
            self.b = torch.nn.Linear(2, 2)
            self.b.weight = self.a.weight

        def forward(self, x):
            return self.b(self.a(x))


    @dataclass(frozen=True, kw_only=True)
    class Named(Blobs):
        epochs: int = 1
        num_classes: int = 2


    class NoTask:
        label = 0


    def no_model(input_shape, num_classes):
        return lambda x: x


    class NotData(Blobs):
        def generate(self, seed):
            return [1, 2, 3]


    class Telling(Blobs):
        def __post_init__(self):
            super().__post_init__()
            Path(__file__).with_name("loaded").touch()
'''


@pytest.fixture
def awkward(own_module, monkeypatch):
    # Each test has a file of its own.
    monkeypatch.delitem(sys.modules, "awkward", raising=False)
    (own_module / "awkward.py").write_text(textwrap.dedent(MODULE))
    return own_module


@pytest.mark.parametrize("workers", [0, 1])
def test_a_failing_part_is_named_and_loses_nothing(workers, spec, awkward, tmp_path):
    """One line names arm, task and error; what finished before is stored; a log is kept."""
    arms = {"SGD": {"kind": "SGD"}, "bad": {"kind": "awkward:Failing"}}
    folder = tmp_path / "out"
    values = spec(arms=arms, confirmatory=["bad"], seeds=1)
    with pytest.raises(RunError, match=r"bad on .*ZeroDivisionError: boom in step") as caught:
        run_study(values, out=folder, workers=workers)
    assert "\n" not in str(caught.value)
    assert [record.arm for record in Results.load(folder).records][:1] == ["SGD"]
    (log,) = folder.glob("failed-*.txt")
    assert 'raise ZeroDivisionError("boom in step")' in log.read_text()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": {"kind": "awkward:no_model"}}, "'awkward:no_model' must give a torch Module"),
        ({"tasks": {"own": {"kind": "awkward:NoTask"}}}, "must give a heatgrad Task, got NoTask"),
        ({"tasks": {"own": {"kind": "awkward:NotData"}}}, "must give a heatgrad Dataset, got list"),
    ],
)
def test_a_part_that_is_something_else_is_refused_before_the_run(
    changes, message, spec, awkward, tmp_path
):
    with pytest.raises(SpecError, match=message):
        run_study(spec(seeds=1, **changes), out=tmp_path / "out", workers=0)
    assert not (tmp_path / "out").exists()


def test_a_step_that_cannot_be_taken_is_refused_before_the_run(spec, awkward, tmp_path):
    """Each arm steps once, on zero gradients, before anything is trained."""
    for arm, message in (
        ({"kind": "awkward:FailingAtOnce"}, "arms.bad: ZeroDivisionError: boom at once"),
        ({"kind": "SGD", "differentiable": True}, "arms.bad: a leaf Variable that requires grad"),
    ):
        arms = {"SGD": {"kind": "SGD"}, "bad": arm}
        with pytest.raises(SpecError, match=message):
            run_study(spec(arms=arms, confirmatory=[]), out=tmp_path / "out", workers=0)
    assert not (tmp_path / "out").exists()


def test_a_module_that_fails_to_import_is_one_line(spec, awkward, tmp_path):
    """Whatever it raises, a syntax error included."""
    for name, text in (("raising", "raise RuntimeError('boom')"), ("broken", "def f(:")):
        (awkward / f"{name}.py").write_text(text)
        values = spec(tasks={"own": {"kind": f"{name}:Task"}}, seeds=1)
        with pytest.raises(SpecError, match=f"cannot import task '{name}:Task'") as caught:
            run_study(values, out=tmp_path / "out", workers=0)
        assert "\n" not in str(caught.value)


def test_fields_of_a_task_may_have_any_name(spec, awkward, tmp_path):
    """`epochs` is a key of the spec too: a table of options holds it, as the guide says."""
    options = {"epochs": 3, "num_classes": 2}
    values = spec(tasks={"own": {"kind": "awkward:Named", "options": options}}, seeds=1)
    assert len(run_study(values, out=tmp_path / "out", workers=0).records) == 3


def test_tied_weights_are_stored(spec, awkward, tmp_path):
    """Two names of one tensor are two entries of equal values."""
    values = spec(
        seeds=1, model={"kind": "awkward:Tied"}, tasks={"own": {"kind": "own_parts:Blobs"}}
    )
    results = run_study(values, out=tmp_path / "out", workers=0)
    stored = load_file(tmp_path / "out" / "weights" / f"{results.records[0].key}.safetensors")
    assert torch.equal(stored["a.weight"], stored["b.weight"])


def test_a_report_runs_no_code_named_in_a_store(spec, awkward, tmp_path):
    """Whoever reads a study has not chosen to run its author's code."""
    values = spec(seeds=1, tasks={"own": {"kind": "awkward:Telling"}})
    results = run_study(values, out=tmp_path / "out", workers=0)
    (awkward / "loaded").unlink()
    write_report(results, tmp_path / "page.html")
    assert not (awkward / "loaded").exists()
    assert "could not be loaded" in (tmp_path / "page.html").read_text(encoding="utf-8")
