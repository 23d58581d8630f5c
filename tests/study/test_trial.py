"""One trial: repeatable to the bit, matched to its block's others, stopped when it diverges."""

import warnings

import pytest
import torch

from heatgrad.core.errors import HeatgradWarning, SpecError
from heatgrad.data import Spiral
from heatgrad.optim import DiffusionNesterov, diffusion_groups
from heatgrad.study import StudySpec, load_study
from heatgrad.study.plan import plan
from heatgrad.study.run import check_study
from heatgrad.study.trial import CURVES, load_data, make_model, make_optimizer, run_trial


def trials(spec, **changes):
    return {t.arm_name: t for t in plan(StudySpec.from_dict(spec(seeds=1, **changes)))}


def same(a, b):
    """Compare everything but times, bit for bit."""
    names = [name for name in CURVES if name != "seconds"]
    assert all(a.curves[name] == b.curves[name] for name in names)
    assert (a.status, a.ceiling, a.num_train) == (b.status, b.ceiling, b.num_train)
    assert a.weights.keys() == b.weights.keys()
    return all(torch.equal(a.weights[name], b.weights[name]) for name in a.weights)


@pytest.mark.parametrize("arm", ["SGD", "diffusion", "placebo"])
def test_a_trial_repeats_bit_for_bit(arm, spec):
    """Twice the same trial, with other random numbers drawn and other data loaded in between."""
    trial = trials(spec)[arm]
    first = run_trial(trial)
    torch.manual_seed(12345)
    Spiral(num_samples=40, num_test=20).load(seed=9)
    assert same(first, run_trial(trial))
    assert first.status == "finished"
    assert all(len(curve) == 2 for curve in first.curves.values())


def test_chance_is_the_best_constant_answer(spec):
    """The share of the commoner class among the test labels, as scored and clean."""
    noisy = {"spiral": spec()["tasks"]["spiral"] | {"label_noise": 0.3}}
    trial = trials(spec, tasks=noisy)["SGD"]
    data = load_data(trial)
    for name, labels in (
        ("test_accuracy", data.y_test),
        ("test_accuracy_clean", data.y_test_clean),
    ):
        ones = labels.float().mean().item()
        assert run_trial(trial).chance[name] == pytest.approx(max(ones, 1 - ones), abs=1e-6)
        assert run_trial(trial).chance[name] >= 0.5


def test_zero_diffusion_is_sgd(spec):
    """λ = 0 in each optimizer that diffuses: records and weights of torch's SGD, to the bit."""
    kinds = ("SGD", "DiffusionSGD", "NormMatchedSGD", "PlaceboDiffusionSGD")
    arms = {kind: {"kind": kind, "momentum": 0.9} for kind in kinds}
    for kind in kinds[1:]:
        arms[kind]["diffusion"] = 0.0
    found = trials(spec, arms=arms, confirmatory=[])
    plain = run_trial(found["SGD"])
    for kind in kinds[1:]:
        assert same(plain, run_trial(found[kind]))
    arms["DiffusionSGD"]["diffusion"] = 0.1
    moved = run_trial(trials(spec, arms=arms, confirmatory=[])["DiffusionSGD"])
    assert moved.curves["test_loss"] != plain.curves["test_loss"]


def test_the_same_arm_under_two_names_is_the_same(spec):
    """A/A: other name, other key, the same numbers to the bit; so for another task's name."""
    arms = {name: {"kind": "DiffusionSGD", "diffusion": 0.1} for name in ("A", "B")}
    found = trials(spec, arms=arms, baseline="A", confirmatory=["B"])
    assert found["A"].key != found["B"].key
    assert same(run_trial(found["A"]), run_trial(found["B"]))


def test_arms_of_a_block_share_data_and_weights(spec):
    """One object for the data, the same initial bits; another block has others."""
    study = StudySpec.from_dict(spec())
    blocks = [[t for t in plan(study) if t.block == block] for block in (0, 1)]
    data = [[load_data(trial) for trial in block] for block in blocks]
    assert data[0][0] is data[0][1] is data[0][2]
    assert not torch.equal(data[0][0].x_train, data[1][0].x_train)
    weights = [
        [next(make_model(trial, load_data(trial)).parameters()) for trial in block]
        for block in blocks
    ]
    assert torch.equal(weights[0][0], weights[0][1])
    assert torch.equal(weights[0][0], weights[0][2])
    assert not torch.equal(weights[0][0], weights[1][0])


def test_the_placebo_is_seeded_by_its_block(spec):
    """Another permutation in every block, the same one in each repetition."""
    placebo = [t for t in plan(StudySpec.from_dict(spec())) if t.arm_name == "placebo"]
    seeds = [
        make_optimizer(trial, torch.nn.Linear(2, 1)).param_groups[0]["seed"]
        for trial in [*placebo, *placebo]
    ]
    assert seeds[:2] == seeds[2:]
    assert seeds[0] != seeds[1]


def test_groups_name_what_diffuses(spec):
    """The update of `DiffusionNesterov(diffusion_groups(...))` written by hand, to the bit."""
    arms = {"velocity": {"kind": "DiffusionNesterov", "groups": ["norm_weight"], "diffusion": 0.5}}
    trial = trials(spec, arms=arms, baseline="velocity", confirmatory=[])["velocity"]
    model, twin = (make_model(trial, load_data(trial)).eval() for _ in range(2))
    ours = make_optimizer(trial, model)
    theirs = DiffusionNesterov(diffusion_groups(twin, "norm_weight", diffusion=0.5), lr=0.1)
    for _ in range(3):
        for net, optimizer in ((model, ours), (twin, theirs)):
            optimizer.zero_grad()
            net(load_data(trial).x_train)[:, 0].mean().backward()
            optimizer.step()
    assert all(
        torch.equal(a, b) for a, b in zip(model.parameters(), twin.parameters(), strict=True)
    )
    diffused, rest = ours.param_groups
    assert diffused["param_names"] == ["layers.2.weight", "layers.6.weight"]
    assert (diffused["diffusion"], rest["diffusion"]) == (0.5, 0.0)


def test_groups_that_a_network_lacks_are_refused_before_the_run(spec):
    """One line with the arm's name, and the kinds that there are."""
    arms = {"conv": {"kind": "DiffusionNesterov", "groups": ["conv_out"]}}
    study = load_study(spec(arms=arms, baseline="conv", confirmatory=[]))
    with pytest.raises(SpecError, match=r"arms\.conv: the model has no parameter of kind 'conv_ou"):
        check_study(study)


def test_what_a_schedule_warns_of_is_said_once_a_task(spec):
    """Two epochs of a fall of ten, three arms: when it starts, and not when a study is read."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        study = load_study(spec(schedule={"kind": "cosine-restarts"}))
    with pytest.warns(HeatgradWarning) as raised:
        check_study(study)
    assert [str(w.message)[:31] for w in raised] == ["tasks.spiral: cosine-restarts: "]


def test_a_trial_that_diverges_stops_and_says_so(spec):
    """A rate of 1e6 on squared errors: the last loss is None, no further epochs, and the status."""
    trial = trials(
        spec,
        loss="squared_error",
        epochs=40,
        arms={"SGD": {"kind": "SGD", "lr": 1e6}},
        confirmatory=[],
    )["SGD"]
    result = run_trial(trial)
    assert result.status == "diverged"
    assert len(result.curves["lr"]) < 40
    assert None in (result.curves["train_loss"][-1], result.curves["test_loss"][-1])
    assert None not in result.curves["train_loss"][:-1]


def test_curves_have_nine_digits(spec):
    """Numbers are recorded to nine significant digits: written and read again they are the same."""
    curves = run_trial(trials(spec)["SGD"]).curves
    assert set(curves) == set(CURVES)
    for values in curves.values():
        assert all(value == float(f"{value:.9g}") for value in values)


def test_a_model_that_does_not_fit_the_data_is_refused_before_the_run(spec):
    """A network for images on points in the plane: one line with the task's name."""
    study = load_study(spec(model={"kind": "SimpleCNN"}))
    with pytest.raises(ValueError, match=r"tasks\.spiral: model: input_shape must be"):
        check_study(study)
