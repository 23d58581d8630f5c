"""Networks of a user's own in a study: by vmap where that can be done, alone where not."""

import sys
import textwrap

import pytest

from heatgrad.study import StudySpec, run_study
from heatgrad.study.plan import plan

MODULE = '''
    """Two networks: one that vmap can map, one that decides by its data."""

    import torch
    from torch import nn


    class Gated(nn.Module):
        def __init__(self, input_shape, num_classes) -> None:
            super().__init__()
            self.first, self.norm = nn.Linear(2, 9), nn.LayerNorm(9)
            self.last, self.drop = nn.Linear(9, num_classes), nn.Dropout(0.2)

        def forward(self, x):
            h = self.norm(self.first(x))
            return self.last(self.drop(h * torch.sigmoid(h)))


    class Deciding(Gated):
        def forward(self, x):
            return super().forward(x if x.sum() > 0 else 2 * x)


    def made(input_shape, num_classes):
        return Gated(input_shape, num_classes)
'''


@pytest.fixture
def networks(own_module, monkeypatch):
    monkeypatch.delitem(sys.modules, "networks", raising=False)
    (own_module / "networks.py").write_text(textwrap.dedent(MODULE))


@pytest.fixture
def mapped(monkeypatch):
    """The numbers of networks that vmap has been asked for, step by step."""
    from heatgrad.training.replicas.mapped import Mapped

    counts = []
    gradients = Mapped.gradients

    def counted(self, x, y, seeds):
        counts.append(len(self.stack))
        return gradients(self, x, y, seeds)

    monkeypatch.setattr(Mapped, "gradients", counted)
    return counts


def curves(results):
    return {
        (r.arm, r.block): {k: v for k, v in r.curves.items() if k != "seconds"}
        for r in results.records
    }


@pytest.mark.parametrize("kind", ["Gated", "made"])
def test_a_network_of_ones_own_is_mapped(kind, spec, networks, mapped, tmp_path):
    """All six runs at once, each as alone but for rounding."""
    model = {"kind": f"networks:{kind}"}
    results = run_study(spec(model=model), out=tmp_path / "auto", workers=0)
    assert set(mapped) == {6}
    steps = len(mapped)
    alone = run_study(spec(model=model, backend="loop"), out=tmp_path / "loop", workers=0)
    assert len(mapped) == steps
    found, expected = curves(results), curves(alone)
    assert found.keys() == expected.keys()
    for place, values in expected.items():
        for name, curve in values.items():
            assert found[place][name] == pytest.approx(curve, rel=2e-4, abs=2e-5), (place, name)


def test_what_is_run_beside_changes_no_bit(spec, networks, mapped, tmp_path):
    """Fewer blocks, and two workers, give the same records."""
    model = {"kind": "networks:Gated"}
    both = run_study(spec(model=model), out=tmp_path / "two", workers=2)
    one = run_study(spec(model=model, seeds=1), out=tmp_path / "one", workers=0)
    assert mapped
    expected = curves(both)
    assert all(values == expected[place] for place, values in curves(one).items())


def test_what_cannot_be_mapped_is_trained_alone(spec, networks, mapped, tmp_path):
    """Bit for bit as if that had been asked for."""
    model = {"kind": "networks:Deciding"}
    found = run_study(spec(model=model), out=tmp_path / "auto", workers=0)
    alone = run_study(spec(model=model, backend="loop"), out=tmp_path / "loop", workers=0)
    assert not mapped
    assert curves(found) == curves(alone)


def test_the_plan_says_how(spec, networks):
    """Convolutions of ours and optimizers without a rule are left to the loop."""
    arms = spec()["arms"] | {"rprop": {"kind": "torch.optim:Rprop"}}
    values = spec(model={"kind": "networks:Gated"}, arms=arms)
    ways = {trial.arm_name: trial.backend for trial in plan(StudySpec.from_dict(values))}
    assert ways == {"SGD": "vmap", "diffusion": "vmap", "placebo": "vmap", "rprop": "loop"}
    for backend, model in (("loop", "networks:Gated"), ("auto", "SimpleCNN")):
        study = StudySpec.from_dict(spec(model={"kind": model}, backend=backend))
        assert {trial.backend for trial in plan(study)} == {"loop"}
