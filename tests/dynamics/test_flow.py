"""Flows from specifications: verdicts of known cases, that they go on, what they refuse."""

import textwrap

import pytest

from heatgrad.core.errors import SpecError, StoreError
from heatgrad.dynamics import FLOWS, FlowSpec, run_flow

SPEC = {
    "name": "flows",
    "t_end": 1e6,
    "nets": {"softplus": {"activation": "softplus", "start": "valley"}},
}
OWN = '''
    """Losses whose flows are known."""

    import torch


    def away(x):
        return x[0] ** -2


    def bowl(x):
        return (x**2).sum()


    def start(seed):
        return torch.ones(1, dtype=torch.float64) + seed


    def endless(x):
        return x.sum() * float("inf")


    def vector(x):
        return x**2


    def single(seed):
        return torch.ones(1)


    def broken(x):
        raise RuntimeError("no loss today")
'''


@pytest.fixture
def own(tmp_path, monkeypatch):
    (tmp_path / "own_losses.py").write_text(textwrap.dedent(OWN))
    monkeypatch.syspath_prepend(tmp_path)


def of_own(name):
    return {"loss": f"own_losses:{name}", "start": "own_losses:start"}


def test_known_flows(own, tmp_path):
    """x^-2 runs away like t^(1/4), a quadratic converges."""
    spec = FlowSpec.from_dict(SPEC | {"nets": {n: of_own(n) for n in ("away", "bowl")}})
    away, bowl = run_flow(spec, tmp_path / "run").flows
    verdict = away.trajectory.verdict()
    assert verdict.word == "diverges"
    assert verdict.norm[-1].value == pytest.approx(0.25, abs=1e-3)
    assert bowl.trajectory.verdict().word == "converges"


def test_flows_that_are_done_are_not_followed_again(tmp_path):
    """Starts, sweep and optimizers are kept one by one, and come back to the last bit."""
    spec = FlowSpec.from_dict(
        SPEC
        | {
            "sweep": {"net": "softplus", "starts": 3, "t_end": 1e5},
            "descent": {"optimizers": ["gd", "sgd"], "steps": 50},
        }
    )
    told, again = [], []
    first = run_flow(spec, tmp_path / "run", tell=told.append)
    second = run_flow(spec, tmp_path / "run", tell=again.append)
    assert len(told) == 5
    assert again == []
    a, b = (found.flows[0].trajectory for found in (first, second))
    assert a.norm.tolist() == b.norm.tolist()
    assert a.verdict() == b.verdict()
    assert second.sweep.words == first.sweep.words
    assert [run.optimizer for run in second.descents] == ["gd", "sgd"]
    with pytest.raises(StoreError, match="another specification"):
        run_flow(FlowSpec.from_dict(SPEC), tmp_path / "run")


@pytest.mark.parametrize("name", FLOWS)
def test_presets_can_be_read(name):
    spec = FlowSpec.from_toml(FLOWS[name])
    assert spec.name == name
    assert spec.question
    for net in spec.nets.values():
        problem = net.problem()
        assert float(problem(net.start_of(problem, 0))) > 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"t_end": 0.0}, "t_end"),
        ({"nets": {"a": {}}}, "give an activation"),
        ({"nets": {"a": {"activation": "tan"}}}, "did you mean 'tanh'"),
        ({"nets": {"a": {"activation": "tanh", "start": "middle"}}}, "start must be"),
        ({"nets": {"a": {"activation": "tanh", "hidden": [1], "start": "valley"}}}, "units"),
        ({"sweep": {"net": "soft"}}, "did you mean 'softplus'"),
        ({"nets": {"a": of_own("broken")}}, "no loss today"),
        ({"nets": {"a": of_own("missing")}}, "cannot import loss"),
        ({"nets": {"a": of_own("endless")}}, "nets.a: the loss must be finite"),
        ({"nets": {"a": of_own("vector")}}, "nets.a"),
        ({"nets": {"a": of_own("bowl") | {"start": "own_losses:single"}}}, "float64"),
        (
            {"nets": {"a": of_own("bowl")}, "descent": {"nets": ["a"], "steps": 5}},
            "leave 'sgd' out",
        ),
    ],
)
def test_what_cannot_be_asked_is_said(change, message, own, tmp_path):
    """One line, naming the net."""
    with pytest.raises(SpecError, match=message):
        run_flow(FlowSpec.from_dict(SPEC | change), tmp_path / "run")


def test_names_that_are_alike_are_kept_apart(own, tmp_path):
    """Neither characters that a file cannot have nor capitals make two nets one."""
    nets = {"a b": of_own("away"), "a_b": of_own("bowl"), "A_b": of_own("away")}
    found = run_flow(FlowSpec.from_dict(SPEC | {"nets": nets}), tmp_path / "run")
    words = {flow.net: flow.trajectory.verdict().word for flow in found.flows}
    assert words == {"a b": "diverges", "a_b": "converges", "A_b": "diverges"}


def test_a_loss_of_ones_own_has_no_samples(own, tmp_path):
    """Gradient descent and Adam stand beside its flow, SGD does not."""
    spec = SPEC | {"nets": {"bowl": of_own("bowl")}, "descent": {"steps": 5}}
    found = run_flow(FlowSpec.from_dict(spec), tmp_path / "run")
    assert [run.optimizer for run in found.descents] == ["gd", "adam"]
