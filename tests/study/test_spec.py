"""What a study file means: expansion, identity, presets, and the trials it plans."""

import pytest
import torch

from heatgrad.core.errors import SpecError
from heatgrad.study import PRESETS, SMALL, StudySpec, load_study, run_study
from heatgrad.study.plan import plan


def load(spec, **changes):
    return StudySpec.from_dict(spec(**changes))


def test_a_list_of_noise_rates_is_one_task_per_rate(spec):
    """The same tasks as when each is written out, in order, beside those with one rate."""
    spiral = spec()["tasks"]["spiral"]
    listed = load(spec, tasks={"a": spiral | {"label_noise": [0, 0.25, 0.4]}, "b": spiral})
    written = {f"a, noise {r:g}": spiral | {"label_noise": r} for r in (0.0, 0.25, 0.4)}
    assert plan(listed) == plan(load(spec, tasks={**written, "b": spiral}))
    assert list(listed.tasks) == ["a, noise 0", "a, noise 0.25", "a, noise 0.4", "b"]
    assert listed.id == load(spec, tasks={**written, "b": spiral}).id


SGD = {"kind": "SGD"}
CHANGES = {
    "metric_epochs": 2,
    "name": "other",
    "entropy": 1,
    "seeds": 3,
    "epochs": 3,
    "batch_size": 33,
    "lr": 0.11,
    "loss": "squared_error",
    "metric": "test_loss",
    "margin": 0.011,
    "backend": "loop",
    "device": "cuda",
    "baseline": "diffusion",
    "confirmatory": [],
    "max_diverged": 0.25,
    "tuning": {"budget": 8, "space": {"lr": [0.01, 1.0]}},
    "schedule": {"kind": "cosine"},
    "recipe": {"average": 0.9},
    "model": {"kind": "SimpleMLP", "width": 9},
    "tasks": {"spiral": {"kind": "Spiral"}},
    "arms": {"SGD": SGD, "diffusion": {"kind": "DiffusionSGD", "diffusion": 0.2}},
}


@pytest.mark.parametrize("key", CHANGES)
def test_the_id_changes_with_all_that_decides(key, spec):
    """Another value of any key that decides results or verdicts is another study."""
    changes = {key: CHANGES[key]}
    if key == "baseline":
        changes["confirmatory"] = []
    assert load(spec, **changes).id != load(spec).id


@pytest.mark.parametrize("key", ["title", "question", "notes"])
def test_the_id_does_not_change_with_words(key, spec):
    """Words for the report may be mended without making the records those of another study."""
    words = ["Some words."] if key == "notes" else "Some words."
    assert load(spec, **{key: words}).id == load(spec).id
    keys = [trial.key for trial in plan(load(spec, **{key: words}))]
    assert keys == [trial.key for trial in plan(load(spec))]


def test_the_id_does_not_change_with_the_note_of_a_task(spec):
    """A task's note is words for the report, too."""
    tasks = {name: {**task, "note": "Another."} for name, task in spec()["tasks"].items()}
    assert load(spec, tasks=tasks).id == load(spec).id


def test_every_key_of_a_study_is_either_words_or_decides():
    """A key added later has to take its place in one of the two tests above."""
    assert set(StudySpec.model_fields) == {*CHANGES, "title", "question", "notes", "geometry"}


def test_whole_numbers_are_rates_too(spec):
    """`lr = 1` and `lr = 1.0` are one study."""
    assert load(spec, lr=1).id == load(spec, lr=1.0).id


def test_with_seeds_sets_every_task(spec):
    """The same as writing the number into the file and into no task."""
    spiral = spec()["tasks"]["spiral"]
    study = load(spec, tasks={"a": spiral | {"seeds": 5}, "b": spiral})
    plain = load(spec, seeds=3, tasks={"a": spiral, "b": spiral})
    assert study.with_seeds(3) == plain
    assert study.with_seeds(3).id == plain.id
    assert len(plan(study)) == 3 * (5 + 2)
    assert len(plan(study.with_seeds(3))) == 3 * (3 + 3)


def test_with_tasks_keeps_the_order_asked_for(spec):
    """The same trials as in the whole study, of some tasks only."""
    spiral = spec()["tasks"]["spiral"]
    study = load(spec, tasks={"a": spiral, "b": spiral, "c": spiral})
    part = study.with_tasks(["c", "a"])
    assert list(part.tasks) == ["c", "a"]
    whole = {trial.key for trial in plan(study)}
    assert {trial.key for trial in plan(part)} == {t.key for t in plan(study) if t.task_name != "b"}
    assert {trial.key for trial in plan(part)} < whole


@pytest.mark.parametrize(
    ("name", "small"), [(name, False) for name in PRESETS] + [(name, True) for name in SMALL]
)
def test_every_preset_loads_and_plans(name, small):
    """Each has a title, a question, plain SGD as baseline, and trials with different keys."""
    study = load_study(name, small=small)
    assert study.name == (f"{name}-small" if small else name)
    assert study.title
    assert study.question
    trials = plan(study)
    assert len({trial.key for trial in trials}) == len(trials)
    assert study.arms[study.baseline].kind == "SGD"


def test_the_demo_is_the_papers_comparison():
    """Six arms as in [Ray] (SGD, momentum, Adam, three diffusions), both controls, 8 seeds."""
    study = load_study("demo")
    assert study.seeds == 8
    kinds = {name: (arm.kind, arm.options.get("diffusion")) for name, arm in study.arms.items()}
    assert kinds == {
        "SGD": ("SGD", None),
        "SGD momentum": ("SGD", None),
        "Adam": ("Adam", None),
        "diffusion 0.01": ("DiffusionSGD", 0.01),
        "diffusion 0.05": ("DiffusionSGD", 0.05),
        "diffusion 0.1": ("DiffusionSGD", 0.1),
        "norm-matched 0.1": ("NormMatchedSGD", 0.1),
        "placebo 0.1": ("PlaceboDiffusionSGD", 0.1),
    }
    assert study.arms["SGD momentum"].options["momentum"] == 0.9
    assert study.controls_of("diffusion 0.1") == ["norm-matched 0.1", "placebo 0.1"]
    assert study.confirmatory == ("diffusion 0.1",)


def test_every_refined_amount_of_directions_has_its_fair_baseline():
    """The refined step without diffusion; along any axis of the same convolutions it is one."""

    def amounts(kind):
        arms = [arm.options for arm in load_study("directions").arms.values() if arm.kind == kind]
        return {
            ("conv" if group.startswith("conv") else group, options["diffusion"])
            for options in arms
            for group in options["groups"]
            if options["diffusion"] > 1
        }

    assert amounts("RefinedNesterov") == amounts("DiffusionNesterov")


def test_the_family_is_all_confirmatory_arms_on_all_tasks_with_a_verdict(spec):
    """Two arms on two tasks of 8 and 20 blocks are 4 tests; a task of 7 adds none."""
    spiral = spec()["tasks"]["spiral"]
    tasks = {"a": spiral | {"seeds": 8}, "b": spiral | {"seeds": 20}, "c": spiral | {"seeds": 7}}
    arms = {**spec()["arms"], "Adam": {"kind": "Adam"}}
    study = load(spec, tasks=tasks, arms=arms, confirmatory=["diffusion", "Adam"])
    assert study.family_size == 4
    assert study.with_tasks(["c"]).family_size == 0
    assert study.with_seeds(7).family_size == 0


@pytest.mark.parametrize(("tasks", "seeds", "needed"), [(6, 8, None), (7, 8, 9), (26, 10, 11)])
def test_a_family_too_large_for_its_blocks_is_refused(tasks, seeds, needed, spec):
    """Eight blocks give p >= 2/256, so at most 6 tests at .05; 10 blocks at most 25."""
    spiral = spec()["tasks"]["spiral"]
    values = spec(tasks={f"t{k}": spiral for k in range(tasks)}, seeds=seeds)
    if needed is None:
        assert load_study(values).family_size == tasks
        return
    with pytest.raises(SpecError) as error:
        load_study(values)
    message = str(error.value)
    assert f"too large for {seeds} blocks: 1 arms on {tasks} tasks" in message
    assert f"{needed} blocks are needed (seeds = {needed})" in message
    assert load_study(values, seeds=needed).seeds == needed
    assert load_study(values, tasks=["t0"]).family_size == 1
    with pytest.raises(SpecError, match="the confirmatory family is too large"):
        run_study(StudySpec.from_dict(values), out="never")


def test_blocks_are_seeded_by_entropy_and_number_alone(spec):
    """More arms, other tasks, more blocks or other options: block k keeps its seed."""
    spiral = spec()["tasks"]["spiral"]
    seeds = {trial.block: trial.seed for trial in plan(load(spec))}
    assert len(set(seeds.values())) == 2
    for changes in (
        {"arms": {"z": SGD, **spec()["arms"], "a": {"kind": "Adam"}}},
        {"tasks": {"z": spiral | {"turns": 2.0}, "spiral": spiral}},
        {"seeds": 7},
        {"name": "other", "epochs": 9, "lr": 3.0, "batch_size": 7},
    ):
        for trial in plan(load(spec, **changes)):
            assert trial.seed == seeds.get(trial.block, trial.seed)
    other = {trial.block: trial.seed for trial in plan(load(spec, entropy=1))}
    assert not set(other.values()) & set(seeds.values())


def test_a_trial_does_not_depend_on_the_others(spec):
    """Keys of the small study are among those of a larger one, whatever stands around them."""
    keys = {trial.key for trial in plan(load(spec))}
    spiral = spec()["tasks"]["spiral"]
    larger = load(
        spec,
        name="larger",
        seeds=4,
        margin=0.5,
        tasks={"z": spiral, "spiral": spiral},
        arms={"Adam": {"kind": "Adam"}, **spec()["arms"]},
    )
    more = {trial.key for trial in plan(larger)}
    assert keys < more
    assert len(more) == len(plan(larger)) == 4 * 2 * 4


def test_arms_and_tasks_take_the_nearest_value(spec):
    """An arm's learning rate goes before its task's, a task's before the study's."""
    spiral = spec()["tasks"]["spiral"]
    study = load(
        spec,
        seeds=1,
        confirmatory=[],
        tasks={"a": spiral, "b": spiral | {"lr": 0.2, "epochs": 5, "batch_size": 7}},
        arms={"SGD": SGD, "fast": SGD | {"lr": 0.9}},
    )
    found = {
        (t.task_name, t.arm_name): (t.optimizer.options["lr"], t.epochs, t.batch_size)
        for t in plan(study)
    }
    assert found == {
        ("a", "SGD"): (0.1, 2, 32),
        ("a", "fast"): (0.9, 2, 32),
        ("b", "SGD"): (0.2, 5, 7),
        ("b", "fast"): (0.9, 5, 7),
    }


def test_loading_a_study_draws_no_random_numbers(spec):
    """The stand-in on which options are tried has weights of its own stream."""
    before = torch.get_rng_state()
    load_study(spec())
    assert torch.equal(torch.get_rng_state(), before)


def test_keys_are_stable(spec):
    """Written down once: if this fails, stored records would no longer be found.

    A change that trains differently raises `PROTOCOL`, and then this key changes, knowingly.
    """
    first, second = plan(load(spec, backend="loop"))[:2]
    assert first.seed == SEED
    assert first.key == KEY
    assert second.key != first.key
    at_once = plan(load(spec))[0]
    assert at_once.backend == "replicas"
    assert at_once.key != KEY  # what rounds otherwise is another trial
    assert load(spec).id == STUDY


SEED = 4258133438
KEY = "2abfcac16f63f7e2f077fcb947d1650e8d210df6d9705f46368e5dfeedf809dc"
STUDY = "39aa139f74bc32f7c0db2a7d872477273e4be9834ba805b0fbc8c3b451e54183"
