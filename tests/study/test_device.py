"""A study on a GPU: what is refused, and what it is called. No GPU is needed here."""

import pytest
import torch

from heatgrad.core.errors import SpecError
from heatgrad.study import StudySpec, load_study, run_study
from heatgrad.study.estimate import estimate
from heatgrad.study.jobs import jobs_of
from heatgrad.study.plan import plan
from heatgrad.study.run import default_workers


def test_the_device_is_part_of_what_a_trial_is(spec):
    """It rounds otherwise. On the CPU keys are as they were before there was a choice."""
    here = StudySpec.from_dict(spec())
    named, there = (StudySpec.from_dict(spec(device=name)) for name in ("cpu", "cuda"))
    assert here.id == named.id != there.id
    assert [t.key for t in plan(here)] == [t.key for t in plan(named)]
    assert not {t.key for t in plan(here)} & {t.key for t in plan(there)}
    assert load_study(spec(), device="cuda") == there


def test_many_are_trained_at_once_there_by_one_process(spec):
    study = StudySpec.from_dict(spec(seeds=200, device="cuda"))
    assert default_workers(study) == 1
    assert [len(job) for job in jobs_of(plan(study), 1)] == [600]
    assert max(len(job) for job in jobs_of(plan(study.with_device("cpu")), 1)) == 63


def test_what_cannot_be_stacked_is_trained_alone_there():
    """Convolutions, recipes and networks of one's own take the loop; others go together."""
    study = load_study("directions", device="cuda")
    assert {trial.backend for trial in plan(study.with_seeds(1))} == {"loop"}
    assert {t.backend for t in plan(load_study("demo", device="cuda"))} == {"replicas"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"device": "cuda"}, r"device 'cuda' needs a GPU and a PyTorch that is built for it"),
        ({"device": "tpu"}, r"'device': input should be 'cpu' or 'cuda'"),
    ],
)
def test_what_cannot_be_is_said_before_the_run(changes, message, spec, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SpecError, match=message) as caught:
        run_study(spec(**changes), out=tmp_path / "out", workers=0)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_dry_run_says_so_too(spec, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SpecError, match="device 'cuda' needs a GPU"):
        estimate(StudySpec.from_dict(spec(device="cuda")), tmp_path / "out", workers=1)


def test_a_wrong_name_is_refused(spec):
    with pytest.raises(SpecError, match="device must be one of cpu, cuda, got 'gpu'"):
        load_study(spec(), device="gpu")
