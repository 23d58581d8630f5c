"""A study's recipe: part of what decides its trials, and of what its page says."""

import copy

import pytest
import torch

from heatgrad.core.errors import SpecError
from heatgrad.study import StudySpec, load_study, run_study
from heatgrad.study.plan import plan
from heatgrad.study.trial import load_data, make_recipe

RECIPE = {
    "augment": {"kind": "crop-flip", "pad": 1},
    "label_smoothing": 0.1,
    "average": 0.9,
    "diffusion_decay": True,
}


@pytest.fixture
def values(spec):
    values = copy.deepcopy(spec())
    values["tasks"] = {"digits": {"kind": "Digits", "num_test": 1600}}
    values["model"] = {"kind": "SimpleCNN", "channels": [4, 4], "hidden": 8}
    return values


def test_a_plain_recipe_changes_no_key(values):
    keys = [trial.key for trial in plan(StudySpec.from_dict(values))]
    same = StudySpec.from_dict(values | {"recipe": {}})
    assert [trial.key for trial in plan(same)] == keys
    assert same.id == StudySpec.from_dict(values).id
    other = StudySpec.from_dict(values | {"recipe": RECIPE})
    assert not set(keys) & {trial.key for trial in plan(other)}
    assert other.id != same.id


def test_defaults_are_written_out_and_arms_share_it(values):
    trials = plan(StudySpec.from_dict(values | {"recipe": RECIPE}))
    assert {t.backend for t in trials} == {"loop"}
    assert {t.recipe.augment.options["flip"] for t in trials} == {True}
    recipe = make_recipe(trials[0], load_data(trials[0]))
    assert (recipe.augment.pad, recipe.average, recipe.label_smoothing) == (1, 0.9, 0.1)


def test_a_task_may_have_its_own(values):
    values["tasks"]["plain"] = values["tasks"]["digits"] | {"recipe": {}}
    study = StudySpec.from_dict(values | {"recipe": RECIPE})
    assert study.recipe_of("plain").is_plain
    assert study.recipe_of("digits").average == 0.9


def test_a_study_runs_by_it_and_says_so(values, tmp_path):
    values["epochs"] = 1
    run = run_study(values | {"recipe": RECIPE}, out=tmp_path / "run", workers=0)
    assert run.num_missing == 0
    fixed = run.verdicts()[0].question.fixed
    for words in ("augmentation crop-flip", "label smoothing 0.1", "average of weights 0.9"):
        assert words in fixed
    plain = run_study(values, out=tmp_path / "plain", workers=0)
    first, second = (r.select("digits", "SGD")[0] for r in (run, plain))
    assert first.curves["train_loss"] != second.curves["train_loss"]
    again = run_study(values | {"recipe": RECIPE}, out=tmp_path / "again", workers=2)
    assert again.select("digits", "SGD")[0].curves["train_loss"] == first.curves["train_loss"]


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ({"augment": {"kind": "crop"}}, r"recipe.*'crop'.*crop-flip"),
        ({"augment": {"kind": "crop-flip", "pads": 1}}, "unknown key 'pads' for crop-flip"),
        ({"augment": {"kind": "crop-flip", "pad": -1}}, "pad must be an integer of at least 0"),
        ({"averages": 0.9}, "unknown key 'recipe.averages'; did you mean 'average'"),
        ({"average": 1.0}, "'recipe.average': input should be less than 1"),
    ],
)
def test_bad_recipes_are_said_before_the_run(values, tmp_path, recipe, message):
    with pytest.raises(SpecError, match=message):
        run_study(values | {"recipe": recipe}, out=tmp_path / "run", workers=0)
    assert not (tmp_path / "run").exists()


def test_only_images_are_augmented(spec, tmp_path):
    values = spec() | {"recipe": RECIPE}
    with pytest.raises(SpecError, match=r"tasks.spiral: recipe.augment needs images, with their"):
        run_study(values, out=tmp_path / "run", workers=0)


def test_smoothing_needs_the_cross_entropy(values, tmp_path):
    values |= {"loss": "squared_error", "recipe": {"label_smoothing": 0.1}}
    with pytest.raises(SpecError, match="recipe: label_smoothing needs loss 'cross_entropy'"):
        run_study(values, out=tmp_path / "run", workers=0)


def test_many_at_once_cannot(values):
    values |= {"model": {"kind": "SimpleMLP"}, "recipe": {"average": 0.9}, "backend": "replicas"}
    with pytest.raises(SpecError, match="without a recipe, got SimpleMLP with SGD and a recipe"):
        plan(load_study(values))


def test_a_held_out_part_has_its_pixels(values):
    values["tuning"] = {"budget": 8, "blocks": 1, "space": {"lr": [0.01, 0.1]}}
    trial = next(t for t in plan(StudySpec.from_dict(values)) if t.role == "tuning")
    assert load_data(trial).pixels is not None
    assert torch.is_tensor(load_data(trial).x_train)
