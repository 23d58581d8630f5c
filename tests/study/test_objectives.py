"""Losses that call the network and networks of diffusion, by name: specs, folders, studies."""

import copy
import json
import math
import shutil

import pytest
import torch

from heatgrad.core.errors import SpecError, StoreError
from heatgrad.diffusion import EDMLoss, HybridLoss, LatentDenoiser, SimpleLoss
from heatgrad.report import write_report
from heatgrad.study import (
    TRAININGS,
    StudySpec,
    TrainSpec,
    load_study,
    run_study,
    run_training,
    trained_model,
)
from heatgrad.study.losses import LossSpec, make_loss
from heatgrad.study.plan import plan
from heatgrad.study.trial import make_training

NETWORK = {"kind": "DenoisingTransformer", "patch": 2, "width": 16, "depth": 1}
VALUES = {
    "name": "small",
    "epochs": 2,
    "batch_size": 64,
    "loss": {"kind": "edm", "drop_label": 0.2},
    "task": {"kind": "Digits", "num_test": 1400},
    "model": NETWORK | {"sigma_data": 0.5},
    "optimizer": {"kind": "AdamW", "lr": 1e-3},
    "recipe": {"average": 0.9, "average_warmup": True},
}
STUDY = {
    "name": "denoisers",
    "seeds": 2,
    "epochs": 1,
    "batch_size": 64,
    "lr": 1e-3,
    "loss": {"kind": "edm", "drop_label": 0.2},
    "metric": "test_loss",
    "margin": 0.01,
    "baseline": "Adam",
    "model": NETWORK | {"sigma_data": 0.5},
    "tasks": {"digits": {"kind": "Digits", "num_test": 1600}},
    "arms": {"Adam": {"kind": "Adam"}, "SGD": {"kind": "SGD", "lr": 0.1}},
}


def changed(values, **changes):
    return copy.deepcopy(values) | changes


def run(out, **changes):
    return run_training(TrainSpec.from_dict(changed(VALUES, **changes)), out=out)


def loss_of(given, model=NETWORK):
    spec = TrainSpec.from_dict(changed(VALUES, loss=given, model=model))
    return spec.trial().loss


def test_a_loss_is_a_name_or_a_table():
    assert isinstance(make_loss(loss_of("edm")), EDMLoss)
    assert make_loss(loss_of({"kind": "edm", "log_mean": -0.5})).log_mean == -0.5
    simple = make_loss(loss_of({"kind": "simple", "chain": "linear", "num_times": 50}))
    assert isinstance(simple, SimpleLoss)
    assert len(simple.alpha_bars) == 50
    assert isinstance(make_loss(loss_of("hybrid")), HybridLoss)
    own = make_loss(loss_of({"kind": "heatgrad.diffusion:EDMLoss", "drop_label": 0.3}))
    assert own == EDMLoss(sigma_data=1.0, drop_label=0.3)


def test_its_sigma_data_is_that_of_the_network():
    model = NETWORK | {"sigma_data": 0.5}
    assert make_loss(loss_of("edm", model)).sigma_data == 0.5
    assert loss_of({"kind": "edm", "sigma_data": 0.5}, model) == loss_of("edm", model)
    with pytest.raises(SpecError, match=r"loss: sigma_data must be that of the network, 0.5, got"):
        loss_of({"kind": "edm", "sigma_data": 1.0}, model)


def test_the_keys_of_trials_before_are_the_same():
    """The hash that this spec had before losses had options."""
    spec = {
        "name": "a",
        "epochs": 2,
        "batch_size": 8,
        "task": {"kind": "Digits"},
        "model": {"kind": "SimpleCNN"},
        "optimizer": {"kind": "SGD", "lr": 0.1},
    }
    trial = TrainSpec.from_dict(spec).trial()
    assert trial.model_dump(mode="json")["loss"] == "cross_entropy"
    assert trial.key.startswith("196c6281318bd4bb90dcad0c59f0786f")
    assert LossSpec.model_validate("cross_entropy").model_dump() == "cross_entropy"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"loss": {"kind": "edm", "drop": 0.1}}, "loss: unknown key 'drop' for edm; did you mean"),
        ({"loss": "edmm"}, "unknown loss 'edmm'; did you mean 'edm'"),
        ({"loss": 3}, "loss: a loss is a name such as 'cross_entropy', or a table.*got 3"),
        ({"loss": {"kind": "cross_entropy", "a": 1}}, "is a function and takes no options, got a"),
        ({"loss": {"kind": "edm", "drop_label": 2.0}}, "drop_label must be from 0 to 1, got 2.0"),
        ({"loss": {"kind": "simple", "chain": "cos"}}, "unknown chain 'cos'; did you mean"),
        ({"loss": "hybrid"}, "'DenoisingTransformer' with loss 'hybrid'.*needs a network with"),
        (
            {"loss": "cross_entropy"},
            "loss must be one of diffusion for model 'Denois.*edm",
        ),
        ({"loss": "math:pi"}, "loss: 'math:pi' is no function"),
        ({"model": {"kind": "DenoisingUnet"}}, "unknown model 'DenoisingUnet'; did you mean"),
        ({"model": NETWORK | {"pach": 2}}, "model: unknown key 'pach' for DenoisingTransformer"),
        ({"model": {"kind": "SimpleCNN"}}, "model 'SimpleCNN' with loss 'edm'"),
        ({"model": {"kind": "LatentDenoiser"}}, "missing 1 required .*'autoencoder'"),
        (
            {"model": {"kind": "LatentDenoiser", "autoencoder": "runs/none"}},
            "no 'runs/none/spec.json'; train the autoencoder",
        ),
        (
            {"model": {"kind": "LatentDenoiser", "autoencoder": {"width": 8}}},
            "model: the autoencoder has no trained weights, only options",
        ),
        ({"recipe": {"average_warmup": True}}, "recipe: average_warmup needs an average of"),
        ({"recipe": {"label_smoothing": 0.1}}, "label_smoothing needs loss 'cross_entropy'"),
    ],
)
def test_what_does_not_fit_is_one_line(tmp_path, changes, words):
    with pytest.raises((SpecError, StoreError), match=words) as caught:
        run(tmp_path, **changes)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_folder_is_all_that_a_trained_network_needs(tmp_path):
    trained = run(tmp_path)
    found = trained_model(tmp_path)
    assert found.weights == trained.weights
    assert found.input_shape == (1, 8, 8)
    assert found.num_classes == 10
    assert found.pixels is not None
    assert found.spec.loss.options["sigma_data"] == 0.5
    assert not found.model.training
    assert len(found.load_data().y_test) == 1400
    x, sigma = torch.randn(2, 1, 8, 8), torch.tensor(0.5)
    again = trained_model(tmp_path).model(x, sigma, torch.tensor([1, -1]))
    assert torch.equal(found.model(x, sigma, torch.tensor([1, -1])), again)
    assert TrainSpec.from_dict(found.spec.model_dump(mode="json")).trial() == found.spec.trial()
    assert "nan" in (tmp_path / "curves.csv").read_text()


def test_of_a_training_under_way_it_is_the_average(tmp_path):
    class Killed(BaseException):
        pass

    def kill(record):
        if record.epoch == 2:
            raise Killed

    spec = TrainSpec.from_dict(changed(VALUES, epochs=9))
    with pytest.raises(Killed):
        run_training(spec, out=tmp_path, on_epoch=kill)
    found = trained_model(tmp_path)
    assert found.weights.parent.name == "epoch-000001"
    training = make_training(spec.trial())
    next(training.records())
    wanted = training.state_dict()["average"]
    state = found.model.state_dict()
    assert all(torch.equal(value, wanted[f"module.{name}"]) for name, value in state.items())
    assert any(not torch.equal(state[k], v) for k, v in training.model.state_dict().items())


def test_a_folder_without_a_training_is_one_line(tmp_path):
    with pytest.raises(StoreError, match=r"no '.*spec.json'; give the folder of a training"):
        trained_model(tmp_path)
    run(tmp_path)
    text = (tmp_path / "spec.json").read_text()
    (tmp_path / "spec.json").write_text(text[:-20])
    with pytest.raises(StoreError, match=r"spec.json' is damaged \(JSONDecodeError"):
        trained_model(tmp_path)
    (tmp_path / "spec.json").write_text(text.replace('"width": 16', '"width": 8'))
    with pytest.raises(StoreError, match=r"holds the weights of another network"):
        trained_model(tmp_path)
    (tmp_path / "spec.json").write_text(json.dumps({"spec": {}}))
    with pytest.raises((SpecError, StoreError), match=r"spec.json"):
        trained_model(tmp_path)
    (tmp_path / "spec.json").write_text(text)
    (tmp_path / "weights.safetensors").write_bytes(b"none")
    with pytest.raises(StoreError, match=r"weights.safetensors' is damaged"):
        trained_model(tmp_path)
    (tmp_path / "weights.safetensors").unlink()
    shutil.rmtree(tmp_path / "checkpoints")
    with pytest.raises(StoreError, match=r"no weights in"):
        trained_model(tmp_path)


def test_diffusion_in_latents_from_two_trainings(tmp_path):
    """The second is trained on codes of variance 1, and needs no file of the first later."""
    coder = {"kind": "Autoencoder", "num_halvings": 1, "width": 8}
    options = {"loss": "reconstruction", "model": coder, "epochs": 12, "recipe": {}}
    run(tmp_path / "coder", **options)
    model = {
        "kind": "LatentDenoiser",
        "autoencoder": str(tmp_path / "coder"),
        "network": NETWORK,
    }
    spec = TrainSpec.from_dict(changed(VALUES, model=model))
    codes = make_training(spec.trial()).dataset
    assert codes.input_shape == (4, 4, 4)
    # By running averages of 84 steps of a network that moves: 10 %.
    assert float(codes.x_train.std()) == pytest.approx(1.0, abs=0.1)
    run_training(spec, out=tmp_path / "latent")
    shutil.rmtree(tmp_path / "coder")
    found = trained_model(tmp_path / "latent")
    assert isinstance(found.model, LatentDenoiser)
    assert found.input_shape == (1, 8, 8)
    images = found.load_data().x_test[:50]
    z = found.model.encode(images)
    assert torch.allclose(z, codes.x_test[:50], atol=1e-5)
    back = found.model.decode(found.model(z, torch.tensor(0.0)))
    assert float((back - images).detach().square().mean()) < 0.5 * float(images.var())


def test_latents_are_not_augmented(tmp_path):
    coder = {"kind": "Autoencoder", "num_halvings": 1, "width": 8}
    run(tmp_path / "coder", loss="reconstruction", model=coder, epochs=1, recipe={})
    model = {"kind": "LatentDenoiser", "autoencoder": str(tmp_path / "coder"), "network": NETWORK}
    with pytest.raises(SpecError, match=r"recipe.augment needs images"):
        run(tmp_path / "latent", model=model, recipe={"augment": {"kind": "crop-flip"}})


@pytest.mark.parametrize("name", TRAININGS)
def test_trainings_that_come_along_can_be_read(name):
    spec = TrainSpec.from_toml(TRAININGS[name])
    assert spec.name == name
    assert spec.trial().loss.kind in ("edm", "reconstruction")


def test_the_digits_come_along_and_begin(tmp_path):
    """The preset as it is, but for its length: the loss falls from that of a linear denoiser."""
    values = TrainSpec.from_toml(TRAININGS["digits-diffusion"]).model_dump(mode="json")
    trained = run_training(TrainSpec.from_dict(values | {"epochs": 2}), out=tmp_path)
    first, last = trained.records
    assert last.test_loss < first.train_loss
    assert math.isnan(last.test_accuracy)


def test_a_study_of_denoisers_is_judged_by_their_loss(tmp_path):
    study = StudySpec.from_dict(copy.deepcopy(STUDY))
    assert {trial.backend for trial in plan(study)} == {"loop"}
    results = run_study(load_study(copy.deepcopy(STUDY)), out=tmp_path / "study", workers=1)
    records = results.records
    assert all(record.status == "finished" for record in records)
    assert all(value is None for r in records for value in r.curves["test_accuracy"])
    page = tmp_path / "page.html"
    write_report(results, page)
    text = page.read_text()
    assert "test loss" in text
    assert "nan" not in text


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"metric": "test_accuracy"},
            r"'test_accuracy' needs a loss of logits and labels, got 'edm",
        ),
        ({"backend": "replicas"}, r"backend 'replicas' needs a loss of logits and labels"),
        (
            {"geometry": {"flat": {"kind": "sharpness", "margin": 0.1, "radius": 0.1}}},
            r"geometry needs a loss of logits and labels",
        ),
        ({"loss": {"kind": "edm", "sigma_data": 2.0}}, r"sigma_data must be that of the network"),
    ],
)
def test_a_study_of_denoisers_has_no_accuracy(changes, words):
    with pytest.raises(SpecError, match=words):
        load_study(changed(STUDY, **changes))
