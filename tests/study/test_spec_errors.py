"""What is wrong in a study file is said in one line: the place, the name, the nearest valid one."""

import pytest

from heatgrad.core.errors import SpecError
from heatgrad.study import StudySpec, load_study


def task(**changes):
    return {"tasks": {"spiral": {"kind": "Spiral", **changes}}}


def arms(**changes):
    return {"arms": {"SGD": {"kind": "SGD"}, "diffusion": {"kind": "DiffusionSGD", **changes}}}


def velocity(**changes):
    return arms(kind="DiffusionNesterov", **changes)


MISSPELT = {
    "study key": ({"epoch": 3}, "unknown key 'epoch'; did you mean 'epochs'?"),
    "task option": (
        task(trns=2.0),
        "tasks.spiral: unknown key 'trns' for Spiral; did you mean 'turns'?",
    ),
    "task's model option": (
        task(model={"kind": "SimpleMLP", "widht": 8}),
        "tasks.spiral: model: unknown key 'widht' for SimpleMLP; did you mean 'width'?",
    ),
    "arm option": (
        arms(difusion=0.1),
        "arms.diffusion: unknown key 'difusion' for DiffusionSGD; did you mean 'diffusion'?",
    ),
    "option of torch's": (
        {"arms": {"SGD": {"kind": "SGD", "momentun": 0.9}}, "confirmatory": []},
        "arms.SGD: unknown key 'momentun' for SGD; did you mean 'momentum'?",
    ),
    "argument that is not an option": (
        {"arms": {"SGD": {"kind": "SGD", "params": 3}}, "confirmatory": []},
        "arms.SGD: unknown key 'params' for SGD",
    ),
    "model option": (
        {"model": {"kind": "SimpleMLP", "dropuot": 0.1}},
        "model: unknown key 'dropuot' for SimpleMLP; did you mean 'dropout'?",
    ),
    "schedule option": (
        {"schedule": {"kind": "cosine", "finl": 0.1}},
        "schedule: unknown key 'finl' for cosine; did you mean 'final'?",
    ),
    "task": ({"tasks": {"s": {"kind": "Spirral"}}}, "unknown task 'Spirral'; did you mean"),
    "optimizer": (arms(kind="DifusionSGD"), "arms.diffusion: unknown optimizer 'DifusionSGD'"),
    "model": ({"model": {"kind": "SimpelMLP"}}, "unknown model 'SimpelMLP'; did you mean 'Simple"),
    "schedule": ({"schedule": {"kind": "cosin"}}, "unknown schedule 'cosin'; did you mean 'cos"),
    "loss": ({"loss": "squared_eror"}, "unknown loss 'squared_eror'; did you mean 'squared_error'"),
    "metric": ({"metric": "test_acuracy"}, "'metric': input should be 'test_accuracy'"),
    "share": ({"max_diverged": 1.5}, "'max_diverged': input should be less than or equal to 1"),
    "baseline": ({"baseline": "sdg"}, "baseline names an unknown arm 'sdg'; did you mean 'SGD'?"),
    "confirmatory": (
        {"confirmatory": ["difusion"]},
        "confirmatory names an unknown arm 'difusion'; did you mean 'diffusion'?",
    ),
    "control_of": (
        arms(control_of="SDG"),
        "arms.diffusion.control_of names an unknown arm 'SDG'; did you mean 'SGD'?",
    ),
}


@pytest.mark.parametrize("place", MISSPELT)
def test_a_misspelt_name_is_named_with_the_nearest_one(place, spec):
    """Wherever a name can stand, a wrong one is an error before anything runs."""
    changes, message = MISSPELT[place]
    with pytest.raises(SpecError) as caught:
        load_study(spec(**changes))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


WRONG = {
    "seeds as text": ({"seeds": "8"}, "'seeds': "),
    "seeds as a fraction": ({"seeds": 1.5}, "'seeds': "),
    "no seeds": ({"seeds": 0}, "'seeds': "),
    "epochs true": ({"epochs": True}, "'epochs': "),
    "batch size": ({"batch_size": -1}, "'batch_size': "),
    "lr as text": ({"lr": "0.1"}, "'lr': input should be a valid number, got '0.1'"),
    "lr true": ({"lr": True}, "'lr': input should be a valid number, got True"),
    "lr zero": ({"lr": 0}, "'lr': "),
    "lr infinite": ({"lr": float("inf")}, "'lr': input should be a finite number"),
    "margin": ({"margin": -0.1}, "'margin': "),
    "name": ({"name": "a/b"}, "'name': "),
    "notes": ({"notes": 3}, "'notes': "),
    "no tasks": ({"tasks": {}}, "'tasks': "),
    "tasks a list": ({"tasks": ["Spiral"]}, "'tasks': "),
    "task a text": ({"tasks": {"s": "Spiral"}}, "'tasks.s': "),
    "task without kind": ({"tasks": {"s": {"turns": 1.0}}}, "missing key 'tasks.s.kind'"),
    "task lr": (task(lr="fast"), "'tasks.spiral.lr': "),
    "task value": (task(turns=-1.0), "tasks.spiral: turns must be"),
    "task type": (task(num_samples="many"), "tasks.spiral: num_samples must be"),
    "noise": (task(label_noise=1.5), "tasks.spiral: label_noise must be"),
    "noise list": (task(label_noise=[0.1, "a"]), "tasks.spiral.label_noise must hold numbers"),
    "empty noise list": (task(label_noise=[]), "must hold at least one rate"),
    "same rates": (task(label_noise=[0.1, 0.1]), "two tasks of one name"),
    "negative diffusion": (arms(diffusion=-0.1), "arms.diffusion: diffusion must be"),
    "unstable diffusion": (arms(diffusion=0.7), "arms.diffusion: diffusion must be"),
    "arm lr": (arms(lr="fast"), "arms.diffusion: lr must be a number greater than 0, got"),
    "infinite option": (arms(max_norm=float("inf")), "arms.diffusion: option 'max_norm' must be"),
    "option no value": (arms(mode=object()), "arms.diffusion: option 'mode' must be"),
    "noise as text": (task(label_noise="0.1"), "tasks.spiral: label_noise must be a number in"),
    "noise in a number": (task(noise_in=5), "noise_in must be a list of 'train', 'test' or both"),
    "noise in a text": (task(noise_in="train"), "such as ['train'], got 'train'"),
    "too many seeds": ({"seeds": 10**22}, "'seeds': input should be less than or equal to 10000"),
    "arm lr zero": (arms(lr=0), "arms.diffusion: lr must be a number greater than 0, got 0"),
    "foreign type": (
        {"arms": {"SGD": {"kind": "SGD", "momentum": "x"}}, "confirmatory": []},
        "check the types of lr = 0.1, momentum = 'x'",
    ),
    "empty name": ({"tasks": {"": {"kind": "Spiral"}}}, "a name must be one line"),
    "two-line name": ({"tasks": {"a\nb": {"kind": "Spiral"}}}, "a name must be one line"),
    "loss is no function": ({"loss": "math:pi"}, "loss: 'math:pi' is no function"),
    "text as a flag": (arms(maximize="no"), "maximize must be true or false, got 'no'"),
    "text as torch's flag": (
        {"arms": {"SGD": {"kind": "SGD", "nesterov": "x"}}, "confirmatory": []},
        "arms.SGD: nesterov must be true or false, got 'x'",
    ),
    "options no table": (arms(options=3), "'arms.diffusion.options': "),
    "final rate": ({"schedule": {"kind": "cosine", "final": -3.0}}, "final must be finite and at"),
    "short betas": (
        {"arms": {"SGD": {"kind": "Adam", "betas": [0.9]}}, "confirmatory": []},
        "arms.SGD: IndexError",
    ),
    "control in the family": (
        {
            "arms": {"SGD": {"kind": "SGD"}, "x": {"kind": "SGD", "control_of": "SGD"}},
            "confirmatory": ["x"],
        },
        "'x' is a control and cannot be in the confirmatory family",
    ),
    "control of a control": (
        {
            "arms": {
                "SGD": {"kind": "SGD"},
                "x": {"kind": "SGD", "control_of": "SGD"},
                "y": {"kind": "SGD", "control_of": "x"},
            },
            "confirmatory": [],
        },
        "arms.y.control_of names 'x', which is a control itself",
    ),
    "twice in the family": (
        {"confirmatory": ["diffusion", "diffusion"]},
        "confirmatory names an arm twice: diffusion, diffusion",
    ),
    "own baseline": ({"confirmatory": ["SGD"]}, "the baseline 'SGD' cannot be in its own family"),
    "a constant": ({"model": {"kind": "math:pi"}}, "math:pi is no class or function"),
    "unknown group": (
        velocity(groups=["norm_wieght"]),
        "arms.diffusion: unknown kind 'norm_wieght'; did you mean 'norm_weight'?",
    ),
    "groups as text": (velocity(groups="norm_weight"), "arms.diffusion: groups must be a list of"),
    "no groups": (velocity(groups=[]), "arms.diffusion: diffusion_groups needs at least one kind"),
    "groups and axes": (
        velocity(groups=["norm_weight"], dims=0),
        "arms.diffusion: groups decide the axes, got dims = 0 too; omit one",
    ),
    "groups without axes": (
        arms(groups=["norm_weight"]),
        "arms.diffusion: unknown key 'groups' for DiffusionSGD; ",
    ),
    "no such module": (arms(kind="nosuch.module:X"), "cannot import optimizer 'nosuch.module:X'"),
    "no such name": (arms(kind="math:Nosuch"), "cannot import optimizer 'math:Nosuch'"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_value_is_refused_in_one_line(what, spec):
    """Types are strict, numbers finite; what a class refuses is said with its place."""
    changes, message = WRONG[what]
    with pytest.raises(SpecError) as caught:
        load_study(spec(**changes))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("source", ["x" * 5000, "x" * 5000 + ".toml", 3, None])
def test_what_is_no_study_is_refused_in_one_line(source):
    with pytest.raises(SpecError) as caught:
        load_study(source)
    assert len(str(caught.value)) < 600


def test_deeply_nested_toml(tmp_path):
    (tmp_path / "deep.toml").write_text("a = " + "[" * 100_000)
    with pytest.raises(SpecError, match="nested too deeply"):
        load_study(tmp_path / "deep.toml")


def test_a_missing_key_is_named(spec):
    """Every key without a default has to be there."""
    for name in ("name", "seeds", "epochs", "batch_size", "lr", "metric", "margin", "model"):
        values = spec()
        del values[name]
        with pytest.raises(SpecError, match=f"missing key '{name}'"):
            StudySpec.from_dict(values)


def test_files_that_cannot_be_read(tmp_path):
    """No file, no TOML, no such preset: one line each, with the path or the nearest preset."""
    with pytest.raises(SpecError, match=r"no spec file at '.*nothing.toml'"):
        load_study(tmp_path / "nothing.toml")
    broken = tmp_path / "broken.toml"
    broken.write_text("name = ")
    with pytest.raises(SpecError, match=r"broken.toml' is not valid TOML"):
        load_study(broken)
    with pytest.raises(SpecError, match="no preset and no spec file 'dmeo'; did you mean 'demo'"):
        load_study("dmeo")


def test_with_seeds_and_with_tasks_refuse_what_is_not_there(spec):
    """A block number below 1 and an unknown task are errors that say what was got."""
    study = StudySpec.from_dict(spec())
    with pytest.raises(SpecError, match="seeds must be from 1 to 10000, got 0"):
        study.with_seeds(0)
    with pytest.raises(SpecError, match="unknown task 'sprial'; did you mean 'spiral'"):
        study.with_tasks(["sprial"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"margin": 1.0}, "margin of an accuracy must be a fraction below 1 .* got 1"),
        (
            {"arms": {"SGD": {"kind": "SGD", "control_of": "d"}, "d": {"kind": "DiffusionSGD"}}},
            "the baseline 'SGD' cannot be a control too; take control_of out of arms.SGD",
        ),
    ],
)
def test_what_would_empty_a_verdict_is_refused(changes, message, spec):
    with pytest.raises(SpecError, match=message):
        StudySpec.from_dict(spec(confirmatory=[], **changes))
    if "margin" in changes:
        assert StudySpec.from_dict(spec(metric="test_loss", **changes)).margin == 1
