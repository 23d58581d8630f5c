"""`heatgrad sample`, as a user calls it, on trainings of one epoch."""

import json
import shutil

import numpy as np
import pytest

from heatgrad.study import sample_run
from heatgrad.study.train_run import run_training
from heatgrad.study.train_spec import TrainSpec

UNET = {"kind": "DenoisingUNet", "width": 8, "multipliers": [1, 2], "sigma_data": 0.5}
FEW = ("--n", 6, "--steps", 3)


def training(name, model=UNET, loss="edm"):
    return TrainSpec.from_dict(
        {
            "name": name,
            "epochs": 1,
            "batch_size": 64,
            "loss": loss,
            "task": {"kind": "Digits", "num_test": 1000},
            "model": model,
            "optimizer": {"kind": "Adam", "lr": 1e-3},
        }
    )


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """Return the function `kind -> folder` of a training that is done once."""
    base = tmp_path_factory.mktemp("trainings")
    told = {"kind": "edm", "drop_label": 0.1}
    kinds = {
        "denoiser": lambda: training("denoiser", loss=told),
        "undropped": lambda: training("undropped"),
        "unconditional": lambda: training("unconditional", UNET | {"conditional": False}),
        "classifier": lambda: training("classifier", {"kind": "SimpleMLP"}, "cross_entropy"),
        "autoencoder": lambda: training("autoencoder", {"kind": "Autoencoder"}, "reconstruction"),
        "latent": lambda: training(
            "latent",
            {
                "kind": "LatentDenoiser",
                "autoencoder": str(get("autoencoder")),
                "network": {"kind": "DenoisingUNet", "width": 8, "multipliers": [1, 2]},
            },
            told,
        ),
    }

    def get(kind):
        folder = base / kind
        if not folder.exists():
            run_training(kinds[kind](), out=folder)
        return folder

    return get


@pytest.fixture
def run(trained, tmp_path):
    """Return a folder of one's own that holds the training of a denoiser."""
    return shutil.copytree(trained("denoiser"), tmp_path / "run")


def arrays(folder):
    with np.load(folder / "samples.npz", allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def test_samples_with_their_quality(heatgrad, run, tmp_path):
    """The classifier is trained once, and kept beside the weights."""
    done = heatgrad("sample", run, "--n", 24, "--steps", 4, "--out", tmp_path / "out")
    assert done.code == 0, done.err
    assert "samples 1 to 24 of 24 ..." in done.err
    assert "of 24 samples the class that was wanted" in done.out
    assert done.out.splitlines()[-1] == str(tmp_path / "out" / "report.html")
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert page.count("<svg") == 3
    assert (tmp_path / "out" / "samples.png").read_bytes().startswith(b"\x89PNG")
    kept = arrays(tmp_path / "out")
    assert kept["samples"].shape == kept["images"].shape == (24, 1, 8, 8)
    assert kept["images"].dtype == np.uint8
    assert kept["labels"].tolist() == [k % 10 for k in range(24)]
    assert json.loads(str(kept["about"]))["samples"]["steps"] == 4
    before = (run / "classifier.safetensors").stat().st_mtime_ns
    again = heatgrad("sample", run, "--n", 24, "--steps", 4, "--out", tmp_path / "out")
    assert again.out == done.out
    assert "samples 1 to" not in again.err
    assert (run / "classifier.safetensors").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    "options",
    [
        ("--label", 7, "--guidance", 2, "--sampler", "ddim", "--eta", 0.5),
        ("--sampler", "ddpm", "--levels", "linear"),
        ("--sampler", "heun", "--label", "none"),
        ("--batch", 2, "--seed", 3),
    ],
)
def test_every_way_down(heatgrad, run, options):
    done = heatgrad("sample", run, *FEW, *options, "--no-quality")
    assert done.code == 0, done.err
    assert not (run / "classifier.safetensors").exists()
    (folder,) = (run / "samples").iterdir()
    kept = arrays(folder)
    assert np.isfinite(kept["samples"]).all()
    if 7 in options:
        assert folder.name.startswith("7-w2-ddim3-")
        assert kept["labels"].tolist() == [7] * 6
    if "none" in options:
        assert kept["labels"].tolist() == [-1] * 6


def test_other_options_have_another_folder(heatgrad, run):
    for seed in (0, 1):
        assert heatgrad("sample", run, *FEW, "--seed", seed, "--no-quality").code == 0
    assert len(list((run / "samples").iterdir())) == 2


def test_weights_stand_for_their_folder(heatgrad, run, tmp_path):
    options = (*FEW, "--no-quality", "--out")
    assert heatgrad("sample", run, *options, tmp_path / "a").code == 0
    assert heatgrad("sample", run / "weights.safetensors", *options, tmp_path / "b").code == 0
    one, two = arrays(tmp_path / "a"), arrays(tmp_path / "b")
    np.testing.assert_array_equal(one["samples"], two["samples"])


def test_latents_are_decoded(heatgrad, trained, tmp_path):
    done = heatgrad("sample", trained("latent"), *FEW, "--no-quality", "--out", tmp_path / "out")
    assert done.code == 0, done.err
    assert arrays(tmp_path / "out")["samples"].shape == (6, 1, 8, 8)


def test_an_unconditional_network(heatgrad, trained, refused, tmp_path):
    folder = trained("unconditional")
    options = (*FEW, "--no-quality", "--out", tmp_path / "out")
    assert heatgrad("sample", folder, *options).code == 0
    assert arrays(tmp_path / "out")["labels"].tolist() == [-1] * 6
    refused("sample", folder, "--label", 7, naming=["--label needs a network that is told"])
    refused("sample", folder, "--guidance", 1, naming=["--guidance needs classes", "without any"])


def test_an_interruption_is_gone_on_from(heatgrad, run, monkeypatch, tmp_path):
    """What was drawn before it is not drawn again, and the end is the same."""
    draw, calls = sample_run.draw_lot, []

    def stop(*args, **options):
        calls.append(args[4])
        if len(calls) == 2:
            raise KeyboardInterrupt
        return draw(*args, **options)

    options = ("--n", 300, "--steps", 2, "--no-quality", "--out")
    monkeypatch.setattr(sample_run, "draw_lot", stop)
    done = heatgrad("sample", run, *options, tmp_path / "out")
    assert done.code == 1
    assert done.err.splitlines()[-1].startswith("heatgrad: interrupted; the same command goes on")
    assert not (tmp_path / "out" / "samples.npz").exists()
    assert heatgrad("sample", run, *options, tmp_path / "out").code == 0
    assert calls == [0, 1, 1, 2]
    monkeypatch.undo()
    assert heatgrad("sample", run, *options, tmp_path / "whole").code == 0
    one, two = arrays(tmp_path / "out"), arrays(tmp_path / "whole")
    np.testing.assert_array_equal(one["samples"], two["samples"])


@pytest.mark.parametrize(
    ("options", "naming"),
    [
        (("--n", 0), ["--n must be at least 1, got 0"]),
        (("--steps", 0), ["--steps must be at least 1, got 0"]),
        (("--steps", 5000), ["--steps must be at most", "--levels karras"]),
        (("--sampler", "heun", "--steps", 1), ["--steps must be at least 2, got 1"]),
        (("--label", 10), ["--label must be 0 to 9, all or none, got 10"]),
        (("--label", "-1"), ["--label must be 0 to 9, all or none, got -1"]),
        (("--label", "seven"), ["--label must be 0 to 9, all or none, got seven"]),
        (("--sampler", "dim"), ["unknown sampler 'dim'; did you mean 'ddim'?"]),
        (("--levels", "karas"), ["unknown levels 'karas'; did you mean 'karras'?"]),
        (("--levels", "trained"), ["--levels trained needs a network that was trained on a chain"]),
        (("--guidance", "nan"), ["--guidance must be at least -1 and finite, got nan"]),
        (("--guidance", 1, "--label", "none"), ["--guidance needs classes", "--label none"]),
        (("--eta", 2), ["--eta must be from 0 to 1, got 2"]),
        (("--eta", 1, "--sampler", "heun"), ["--eta is an option of ddim"]),
        (("--batch", 0), ["--batch must be at least 1, got 0"]),
        (("--seed", -1), ["--seed must be at least 0, got -1"]),
        (("--device", "gpu"), ["unknown device 'gpu'", "choices: cpu, cuda"]),
    ],
)
def test_bad_options_are_one_line(refused, trained, tmp_path, options, naming):
    refused("sample", trained("denoiser"), "--out", tmp_path / "out", *options, naming=naming)
    assert not (tmp_path / "out").exists()


def test_what_is_no_denoiser_is_one_line(refused, trained, tmp_path):
    refused("sample", tmp_path, naming=["no '", "spec.json'", "heatgrad train"])
    refused("sample", tmp_path / "none", naming=["no '"])
    other = tmp_path / "other.safetensors"
    other.write_text("")
    refused("sample", other, naming=["must be the folder of a training", "weights.safetensors"])
    refused(
        "sample", trained("classifier"), naming=["must hold a denoiser, got the network SimpleMLP"]
    )
    refused(
        "sample",
        trained("autoencoder"),
        naming=["must hold a denoiser, got the network Autoencoder"],
    )


def test_guidance_needs_dropped_labels(refused, trained, tmp_path):
    """A network that always was told the class has not learned what to say when it is not."""
    out = ("--out", tmp_path / "out")
    for options in (("--guidance", 1), ("--label", "none")):
        refused(
            "sample", trained("undropped"), *options, *out, naming=["some labels dropped", "0.1"]
        )


def test_files_of_others_are_left_alone(heatgrad, refused, run, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    command = ("sample", run, *FEW, "--no-quality", "--out", out)
    for name in ("samples.npz", "samples.png", "report.html"):
        (out / name).write_text("mine")
        refused(*command, naming=[f"{name}'", "give another"])
        assert (out / name).read_text() == "mine"
        (out / name).unlink()
    assert heatgrad(*command).code == 0
    refused(*command, "--seed", 1, naming=["another specification's results"])
    (tmp_path / "file").write_text("")
    refused("sample", run, *FEW, "--out", tmp_path / "file", naming=["cannot write"])
