"""Tasks with dials: one for each cell of their grid."""

import pytest

from heatgrad.core.errors import SpecError
from heatgrad.study import StudySpec
from heatgrad.study.plan import plan


def load(spec, **changes):
    return StudySpec.from_dict(spec(**changes))


def test_a_sweep_is_one_task_for_each_cell_in_order(spec):
    """The trials of the cells written out; each knows its place in the grid."""
    spiral = spec()["tasks"]["spiral"]
    bare = {key: value for key, value in spiral.items() if key != "turns"}
    sweep = {"turns": [1, 1.5], "label_noise": [0.0, 0.25, 0.4]}
    study = load(spec, tasks={"s": bare | {"sweep": sweep}, "t": spiral})
    cells = {
        f"s, turns {turns:g}, noise {rate:g}": bare | {"turns": turns, "label_noise": rate}
        for turns in (1, 1.5)
        for rate in (0.0, 0.25, 0.4)
    }
    written = load(spec, tasks={**cells, "t": spiral})
    assert list(study.tasks) == [*cells, "t"]
    assert plan(study) == plan(written)
    assert study.id == written.id
    assert study.tasks["s, turns 1.5, noise 0.4"].dials == {"turns": 1.5, "label_noise": 0.4}
    assert study.tasks["s, turns 1.5, noise 0.4"].sweep_of == "s"
    assert study.tasks["t"].dials == {}


def test_what_a_task_may_set_is_a_dial_too(spec):
    """The batch size of a cell is the task's, not an option of its data."""
    spiral = spec()["tasks"]["spiral"]
    study = load(spec, tasks={"s": spiral | {"sweep": {"batch_size": [16, 64]}}})
    assert {trial.batch_size for trial in plan(study)} == {16, 64}


def test_a_study_survives_the_store(spec):
    """Written and read again, cells stay the cells of their grid."""
    spiral = spec()["tasks"]["spiral"]
    study = load(spec, tasks={"s": spiral | {"sweep": {"label_noise": [0.0, 0.1]}}})
    again = StudySpec.from_dict(study.model_dump(mode="json"))
    assert again == study


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sweep": [1, 2]}, "tasks.s.sweep must be a table of lists"),
        ({"sweep": {"sigma": []}}, "tasks.s.sweep.sigma must hold at least one value"),
        ({"sweep": {"sigma": 0.1}}, "tasks.s.sweep.sigma must hold numbers, got 0.1"),
        ({"sweep": {"sigma": [True]}}, r"tasks.s.sweep.sigma must hold numbers, got \[True\]"),
        ({"sweep": {"radius": [1.0, 1]}}, "tasks.s.sweep.radius gives two tasks of one name"),
        ({"sweep": {"turns": [1, 2]}}, "tasks.s.sweep.turns is set outside the sweep too"),
        ({"sweep": {"bends": [1, 2]}}, "unknown key 'bends' for Spiral"),
    ],
)
def test_bad_sweeps(spec, change, message):
    """One line that names the key."""
    task = {"kind": "Spiral", "turns": 1.0} | change
    with pytest.raises(SpecError, match=message):
        plan(load(spec, tasks={"s": task}))
