"""Priors are trained, kept, found again, gone on with, and missed with a remedy."""

import json

import pytest
import torch

from heatgrad.core.errors import SpecError, StoreError
from heatgrad.diffusion import GaussianDenoiser
from heatgrad.inverse import GaussianPrior
from heatgrad.solving import load_prior, prior_folder, prior_spec, train_prior, trained_as_prior
from heatgrad.training import Training


def test_a_prior_comes_again_bit_for_bit(trained):
    """What is read is what was trained: files hold float32 weights and nothing else."""
    one, two = load_prior(trained), train_prior(trained)
    z = torch.randn(3, *one.latent.shape, generator=torch.Generator().manual_seed(0))
    level = torch.tensor(0.5)
    assert torch.equal(one.model(z, level), two.model(z, level))
    names = {path.name for path in prior_folder(trained).iterdir()}
    assert {"prior.json", "fit.safetensors", "network.safetensors"} <= names
    about = json.loads((prior_folder(trained) / "prior.json").read_text())
    assert about["epochs"] == 2
    assert about["numbers"] == 2 * 8 * 8


def test_the_base_is_the_fitted_gaussian(trained):
    """With its network silenced the denoiser is `GaussianDenoiser` of the latents' covariance."""
    prior = load_prior(trained)
    with torch.no_grad():
        for p in prior.model.network.parameters():
            p.zero_()
    axes = prior.axes.double()
    cov = axes * prior.variances @ axes.T
    shape = prior.latent.shape
    exact = GaussianDenoiser(prior.mean.reshape(shape), cov=(cov + cov.T) / 2)
    z = torch.randn(3, *shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for sigma in (0.1, 2.0):
        level = torch.tensor(sigma, dtype=torch.float64)
        assert torch.allclose(prior.model(z, level), exact(z, level), atol=1e-4)


def test_latents_are_white_by_mode_and_the_fit_shrinks_no_further_than_it_must(trained):
    """Unit variance of the fitted latents: the trace of the covariance is the number of modes."""
    prior = load_prior(trained)
    assert float(prior.variances.sum()) == pytest.approx(128, rel=0.02)
    assert float(prior.variances.min()) > 0
    assert isinstance(trained_as_prior(prior).kriged[1], GaussianPrior)


def test_an_interrupted_training_goes_on(cache, tiny, monkeypatch):
    """The pairs and the epochs that are done are kept; the end is that of a training at once."""
    spec = tiny()
    whole = Training.records

    def cut(self, **options):
        for record in whole(self, **options):
            yield record
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Training, "records", cut)
        with pytest.raises(KeyboardInterrupt):
            train_prior(spec)
    told = []
    at_twice = train_prior(spec, tell=told.append)
    assert sum("epoch" in words and "loss" in words for words in told) == 1
    monkeypatch.setenv("HEATGRAD_CACHE", str(cache.with_name("other")))
    at_once = train_prior(spec)
    z = torch.ones(1, *at_once.latent.shape)
    assert torch.equal(at_once.model(z, torch.tensor(1.0)), at_twice.model(z, torch.tensor(1.0)))


def test_a_missing_prior_names_the_command(cache):
    with pytest.raises(SpecError, match="heatgrad solve darcy --train"):
        load_prior(prior_spec("darcy"))


def test_a_damaged_prior_names_the_folder(cache, tiny):
    spec = tiny(epochs=1)
    train_prior(spec)
    (prior_folder(spec) / "network.safetensors").write_bytes(b"no weights")
    with pytest.raises(StoreError, match="is damaged"):
        load_prior(spec)


@pytest.mark.parametrize(
    "changes",
    [
        {"space": "grid", "base": "none", "copies": 1},
        {"base": "none"},
        {
            "weighting": 1.0,
            "network": {
                "kind": "DenoisingUNet",
                "acts_on": "fields",
                "options": {"width": 8, "multipliers": (1, 2)},
            },
        },
        {"problem": "navier-stokes", "options": {"n": 16}, "copies": 4},
        {"problem": "poisson", "options": {"n": 17}, "epochs": None, "seconds": 0.5},
    ],
    ids=["grid", "as in PISD", "on fields", "torus", "by time"],
)
def test_every_kind_of_prior_trains(cache, tiny, changes):
    """Losses are finite, and the denoiser of little noise returns what it is given."""
    if changes.get("space") == "grid":
        changes = changes | {"network": {"kind": "DenoisingUNet", "options": {"width": 8}}}
    prior = train_prior(tiny(**changes))
    assert all(loss < 10 for loss in prior.about["held_out"])
    z = prior.latent.encode(prior.problem.sample(2, torch.Generator().manual_seed(5))).float()
    found = prior.model(z, torch.tensor(1e-3))
    assert torch.allclose(found, z, atol=0.05)


def test_a_device_that_is_none_is_refused(cache, tiny):
    with pytest.raises(SpecError, match="must be cpu or cuda, got 'gpu'"):
        train_prior(tiny(), device="gpu")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": None}, "either epochs or seconds"),
        ({"space": "grid"}, "no Gaussian base"),
        ({"network": {"options": {"pach": 4}}}, "pach"),
        ({"problem": "darcie"}, "did you mean 'darcy'"),
    ],
)
def test_bad_specifications_are_refused(cache, tiny, changes, message):
    with pytest.raises(SpecError, match=message):
        train_prior(tiny(**changes))
