"""Tuning: one design for all arms, blocks of its own, and what is chosen on held-out examples."""

import numpy as np
import pytest
import torch
from scipy.stats import qmc

from heatgrad.core.errors import SpecError
from heatgrad.study import METRICS, StudySpec, load_study, run_study
from heatgrad.study.design import settings_of
from heatgrad.study.plan import plan
from heatgrad.study.trial import load_data
from heatgrad.study.tuning import Tuning
from heatgrad.study.tuning_spec import Range

TUNING = {"budget": 8, "blocks": 2, "space": {"lr": [0.01, 1.0]}}
MARGIN = {"scale": "linear", "low": 0.0, "high": 0.25}


def tuned(spec, **changes):
    arms = dict(spec()["arms"])
    arms["diffusion"] = arms["diffusion"] | {"tune": {"diffusion": MARGIN}}
    return spec(**({"tuning": TUNING, "arms": arms} | changes))


def test_a_range_is_even_on_its_scale():
    """Closed form: halfway is the geometric mean on a logarithmic scale, else the mean."""
    log, linear = Range(low=0.01, high=1.0), Range(low=-1.0, high=3.0, scale="linear")
    assert [log.at(place) for place in (0.0, 0.5, 1.0)] == [0.01, 0.1, 1.0]
    assert linear.at(0.25) == 0.0
    assert log.place_of(0.1) == pytest.approx(0.5)
    assert linear.place_of(2.0) == pytest.approx(0.75)


def test_arms_share_the_design_and_smaller_budgets_begin_larger_ones(spec):
    """The same learning rates for all; nested; the first 2^m points fill each 2^m-th once."""
    study = StudySpec.from_dict(tuned(spec))
    whole = {arm: settings_of(study, arm, 32) for arm in study.arms}
    rates = {arm: [setting["lr"] for setting in whole[arm]] for arm in study.arms}
    assert rates["SGD"] == rates["diffusion"] == rates["placebo"]
    assert "diffusion" not in whole["SGD"][0]
    for budget in (8, 16):
        assert settings_of(study, "diffusion", budget) == whole["diffusion"][:budget]
        for arm, name in (("SGD", "lr"), ("diffusion", "diffusion")):
            where = Range(low=0.01, high=1.0) if name == "lr" else Range(**MARGIN)
            places = np.array([where.place_of(s[name]) for s in whole[arm][:budget]])
            assert sorted(np.floor(places * budget)) == list(range(budget))
    assert qmc.discrepancy([[Range(low=0.01, high=1.0).place_of(r)] for r in rates["SGD"]]) < 1e-3


def test_what_another_arm_tunes_moves_no_setting(spec):
    """More options in an exploratory arm, whatever their names: the others try what they tried."""
    study = StudySpec.from_dict(tuned(spec))
    arms = study.model_dump(mode="json", exclude_defaults=True)["arms"]
    for option, where in (("momentum", [0.5, 0.9]), ("dampening", [0.1, 0.5])):
        other = {"kind": "SGD", "momentum": 0.5, "tune": {option: where}}
        wider = StudySpec.from_dict(tuned(spec, arms=arms | {"other": other}))
        for arm in study.arms:
            assert settings_of(wider, arm, 16) == settings_of(study, arm, 16)
        mine, sgd = (settings_of(wider, arm, 16) for arm in ("other", "SGD"))
        assert [setting["lr"] for setting in mine] == [setting["lr"] for setting in sgd]


def test_two_options_of_an_arm_fill_the_square(spec):
    """A net: of 16 points one lies in each of the cells 16 x 1, 8 x 2, 4 x 4, 2 x 8 and 1 x 16."""
    study = StudySpec.from_dict(tuned(spec))
    ranges = Range(low=0.01, high=1.0), Range(**MARGIN)
    points = np.array(
        [
            [
                where.place_of(setting[name])
                for where, name in zip(ranges, ("lr", "diffusion"), strict=True)
            ]
            for setting in settings_of(study, "diffusion", 16)
        ]
    )
    for columns in (1, 2, 4, 8, 16):
        cells = np.floor(points * [columns, 16 // columns]).astype(int)
        assert len({tuple(cell) for cell in cells}) == 16


def test_tuning_blocks_are_not_those_of_the_report(spec):
    """No seed is in both, and the test part is not looked at: its place holds training examples."""
    trials = plan(StudySpec.from_dict(tuned(spec)))
    seeds = {role: {t.seed for t in trials if t.role == role} for role in ("report", "tuning")}
    assert not seeds["report"] & seeds["tuning"]
    trial = next(t for t in trials if t.role == "tuning")
    data = load_data(trial)
    whole = load_data(trial.model_copy(update={"held_out": 0.0}))
    parts = torch.cat([data.x_train, data.x_test])
    assert (len(data.x_train), len(data.x_test)) == (80, 20)
    assert torch.equal(parts.sort(0).values, whole.x_train.sort(0).values)
    assert not (data.x_test[:, None] == whole.x_test[None]).all(-1).any()
    counts = [torch.bincount(y).tolist() for y in (data.y_test, whole.y_train)]
    assert max(abs(a - b / 5) for a, b in zip(*counts, strict=True)) < 1


def test_the_old_keys_stay(spec):
    """A study that tunes has the trials of the one that does not, under the same keys."""
    plain = {trial.key for trial in plan(StudySpec.from_dict(spec()))}
    trials = plan(StudySpec.from_dict(tuned(spec)))
    assert plain == {trial.key for trial in trials if trial.role == "report"}
    assert len({trial.key for trial in trials}) == len(trials)


@pytest.mark.parametrize("sign", [1, -1])
def test_the_best_mean_is_chosen(sign):
    """Brute force, for a metric to rise and one to fall; equal means go to the first."""
    metric = METRICS["test_accuracy" if sign == 1 else "test_loss"]
    values = np.array([[0.5, 0.7, 0.6, 0.9], [0.5, 0.9, 1.0, 0.7]])
    settings = tuple({"lr": rate} for rate in (0.011, 0.1, 0.3, 0.95))
    tuning = Tuning("t", "A", metric, {"lr": Range(low=0.01, high=1.0)}, settings, values, 0.0)
    means = [0.5, 0.8, 0.8, 0.8]
    assert tuning.best == (1 if sign == 1 else 0)
    expected = [max(range(k + 1), key=lambda j: (sign * means[j], -j)) for k in range(4)]
    assert np.array_equal(tuning.curves, values[:, expected])
    assert tuning.at_boundary == (() if sign == 1 else ("lr",))


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Return a small study, run to its end."""
    values = {
        "name": "tuned",
        "seeds": 2,
        "epochs": 2,
        "batch_size": 32,
        "lr": 0.1,
        "metric": "test_accuracy",
        "margin": 0.01,
        "baseline": "SGD",
        "tuning": TUNING,
        "model": {"kind": "SimpleMLP", "width": 8},
        "tasks": {
            "easy": {"kind": "Spiral", "num_samples": 200, "num_test": 100, "turns": 0.5},
            "untuned": {"kind": "Spiral", "num_samples": 200, "num_test": 100, "budget": 1},
        },
        "arms": {
            "SGD": {"kind": "SGD"},
            "again": {"kind": "SGD"},
            "Adam": {"kind": "Adam", "tune": {"lr": [1e-4, 1e-1]}},
        },
    }
    folder = tmp_path_factory.mktemp("tuned") / "run"
    calls = []
    found = run_study(values, out=folder, workers=0, on_progress=lambda *seen: calls.append(seen))
    return found, folder, calls


def test_both_regimes_are_run(results):
    """Report blocks in both, tuning blocks apart; what is run is what was promised."""
    found, _, calls = results
    assert found.num_missing == 0
    assert found.num_planned == 3 * (2 + 2 * 8 + 2 + 2) == len([t for _, t in calls if t])
    assert calls[-1][0] == 2 * found.num_planned  # epochs, over both stages
    assert [found.study.regimes_of(task) for task in found.study.tasks] == [
        ("as published", "each tuned"),
        ("as published",),
    ]
    for arm in found.study.arms:
        (rate,) = {
            r.spec["optimizer"]["options"]["lr"] for r in found.select("easy", arm, "each tuned")
        }
        assert rate == found.tunings["easy", arm].chosen["lr"]
        assert found.select("untuned", arm, "each tuned") == []
        assert len(found.values("easy", arm)) == len(found.values("easy", arm, regime="each tuned"))


def test_what_is_chosen_is_best_on_the_held_out_examples(results):
    """Recomputed from the records by hand."""
    found, _, _ = results
    by_rate: dict[float, list[float]] = {}
    for record in found.tuning_records:
        if record.arm == "Adam":
            rate = record.spec["optimizer"]["options"]["lr"]
            by_rate.setdefault(rate, []).append(record.curves["test_accuracy"][-1])
    means = {rate: sum(values) / len(values) for rate, values in by_rate.items()}
    assert len(means) == 8
    assert means[found.tunings["easy", "Adam"].chosen["lr"]] == max(means.values())


def test_equal_arms_stay_equal_when_tuned(results):
    """An A/A control is tuned to the same options, and its runs are the same to the last bit."""
    found, _, _ = results
    first, second = (
        [
            {name: v for name, v in r.curves.items() if name != "seconds"}
            for r in found.select("easy", arm, "each tuned")
        ]
        for arm in ("SGD", "again")
    )
    assert first == second


def test_verdicts_say_their_regime(results):
    """Once for each regime of a task."""
    found, _, _ = results
    seen = [(v.question.task, v.question.arm, v.question.regime) for v in found.verdicts()]
    assert seen == [
        ("easy", "again", "as published"),
        ("easy", "Adam", "as published"),
        ("untuned", "again", "as published"),
        ("untuned", "Adam", "as published"),
        ("easy", "again", "each tuned"),
        ("easy", "Adam", "each tuned"),
    ]
    tuned_one = found.verdicts()[-1].question
    assert tuned_one.budget == 8
    assert tuned_one.tuned == (f"lr {found.tunings['easy', 'Adam'].chosen['lr']:g}",)
    assert not any(text.startswith("lr") for text in tuned_one.fixed)


def test_nothing_is_left_to_do(results):
    """The same call again runs nothing."""
    found, folder, _ = results
    calls = []
    again = run_study(
        found.study, out=folder, workers=0, on_progress=lambda *seen: calls.append(seen)
    )
    assert calls == []
    assert [r.key for r in again.records] == [r.key for r in found.records]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tuning": TUNING | {"space": {"lr": [0.1]}}}, r"a range is \[low, high\].*got \[0.1\]"),
        ({"tuning": TUNING | {"space": {"lr": "x"}}}, r"a range is \[low, high\].*got 'x'"),
        ({"tuning": TUNING | {"space": {"lr": [True, 2.0]}}}, "got True"),
        ({"tuning": TUNING | {"space": {"lr": [1.0, 0.1]}}}, "a range must rise"),
        ({"tuning": TUNING | {"space": {"lr": [0.0, 0.1]}}}, "must begin above 0"),
        ({"tuning": TUNING | {"budget": 7}}, "budget"),
        ({"tuning": TUNING | {"space": {"rate": [0.1, 1.0]}}}, "unknown key 'rate' for SGD"),
        ({"tuning": TUNING | {"space": {}}}, "arms.SGD has nothing to tune"),
        (
            {"tuning": TUNING | {"space": {"lr": [0.1, 1.0], "momentum": [0.5, -0.1]}}},
            "a range must rise",
        ),
    ],
)
def test_bad_tuning(spec, change, message):
    """One line before anything is run."""
    with pytest.raises(SpecError, match=message):
        load_study(spec(confirmatory=[], **change))


def test_ends_of_ranges_are_tried_before_the_run(spec):
    """What an optimizer refuses anywhere in its range is said at once."""
    arms = dict(spec()["arms"])
    arms["diffusion"] = arms["diffusion"] | {"tune": {"diffusion": MARGIN | {"high": 0.75}}}
    with pytest.raises(SpecError, match=r"arms.diffusion: .*0.75"):
        load_study(spec(confirmatory=[], tuning=TUNING, arms=arms))


def test_a_share_that_cannot_be_held_out_is_said_before_the_run(spec, tmp_path):
    with pytest.raises(SpecError, match=r"a share of 0\.999 cannot be held out"):
        run_study(tuned(spec, tuning=TUNING | {"held_out": 0.999}), out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_needs_the_table(spec):
    """Ranges and budgets mean nothing in a study that does not tune."""
    arms = dict(spec()["arms"])
    arms["SGD"] = {"kind": "SGD", "tune": {"lr": [0.1, 1.0]}}
    with pytest.raises(SpecError, match=r"arms.SGD.tune needs a table \[tuning\]"):
        StudySpec.from_dict(spec(arms=arms))
