"""A long trial of a study goes on where it was left, and leaves nothing behind."""

import pytest
import torch

from heatgrad.study import Store, StudySpec, run_study
from heatgrad.study.jobs import run_job
from heatgrad.study.plan import plan
from heatgrad.study.trial import run_trial


class LeftError(Exception):
    """Stands for a process that is killed."""


@pytest.fixture(autouse=True)
def one_thread():
    """As a study's workers have; another number of threads rounds otherwise."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def trial(spec):
    return plan(StudySpec.from_dict(spec(epochs=4, backend="loop")))[0]


def leave(at):
    """Return a listener that ends a training after some epochs."""

    def listen(record):
        if record.epoch == at:
            raise LeftError

    return listen


def test_it_goes_on_to_the_same_bits(trial, tmp_path):
    whole = run_trial(trial)
    with pytest.raises(LeftError):
        run_trial(trial, on_epoch=leave(3), unfinished=tmp_path, pause=0.0)
    assert [path.name for path in tmp_path.iterdir()] == ["epoch-000002"]
    seen = []
    rest = run_trial(trial, on_epoch=lambda r: seen.append(r.epoch), unfinished=tmp_path)
    assert seen == [1, 2, 3, 4]
    assert all((rest.weights[name] == value).all() for name, value in whole.weights.items())
    assert {k: v for k, v in rest.curves.items() if k != "seconds"} == {
        k: v for k, v in whole.curves.items() if k != "seconds"
    }


def test_a_short_one_writes_nothing(trial, tmp_path):
    run_trial(trial, unfinished=tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_what_was_left_is_used_and_cleared_away(spec, tmp_path):
    study = StudySpec.from_dict(spec(epochs=4, backend="loop"))
    first = plan(study)[0]
    store = Store.create(tmp_path, study)
    place = store.unfinished_path(first.key)
    store.close()
    with pytest.raises(LeftError):
        run_trial(first, on_epoch=leave(3), unfinished=place, pause=0.0)
    assert place.exists()
    run_study(study, out=tmp_path, workers=0)
    assert not place.parent.exists()
    ((again, result),) = run_job((first,), unfinished=lambda key: None)
    found = Store.open(tmp_path).weights(again.key)
    assert all((found[name] == value).all() for name, value in result.weights.items())
