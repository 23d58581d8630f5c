"""The autoencoder and diffusion in its latents: scales, shapes, files."""

import json

import pytest
import torch
from safetensors.torch import save_file

from heatgrad.core.errors import StoreError
from heatgrad.diffusion.networks import Autoencoder, LatentDenoiser, ReconstructionLoss

OPTIONS = {"channels": 3, "width": 8, "num_halvings": 2}
NETWORK = {"kind": "DenoisingTransformer", "patch": 1, "width": 16, "depth": 1}


def kept(folder, shape=(1, 28, 28), **changes):
    """Write the folder of a training of an autoencoder; return the autoencoder."""
    coder = Autoencoder(shape, **OPTIONS).eval()
    with torch.no_grad():
        for param in coder.parameters():
            param.add_(0.05 * torch.randn(param.shape))
    model = {"kind": "Autoencoder", "options": OPTIONS} | changes
    about = {"model": model, "input_shape": shape, "num_classes": 10}
    folder.mkdir(exist_ok=True)
    (folder / "spec.json").write_text(json.dumps(about))
    weights = {k: v.contiguous() for k, v in coder.state_dict().items()}
    save_file(weights, folder / "weights.safetensors")
    return coder


@pytest.mark.parametrize("shape", [(1, 28, 28), (2, 65, 65), (3, 5, 9)])
@pytest.mark.parametrize("num_halvings", [1, 2, 3])
def test_any_size_goes_in_and_comes_out(shape, num_halvings):
    coder = Autoencoder(shape, channels=3, width=8, num_halvings=num_halvings).eval()
    z = coder.encode(torch.randn(2, *shape))
    assert z.shape[1:] == coder.latent_shape
    assert coder.decode(z).shape == (2, *shape)


def test_latents_have_unit_variance():
    """Whatever the scale of the data: mean 0 and variance 1 of each channel of a batch."""
    torch.manual_seed(0)
    coder = Autoencoder((1, 8, 8), width=8, num_halvings=1)
    x = 30 + 100 * torch.rand(256, 1, 8, 8)
    z = coder.encode(x)
    assert torch.allclose(z.mean(dim=(0, 2, 3)), torch.zeros(4), atol=1e-5)
    assert torch.allclose(z.var(dim=(0, 2, 3), correction=0), torch.ones(4), atol=1e-3)
    for _ in range(200):
        coder.encode(x)
    settled = coder.eval().encode(x)
    assert torch.allclose(settled.var(dim=(0, 2, 3)), torch.ones(4), atol=0.02)


def test_noise_on_latents_is_drawn_in_training_alone():
    coder = Autoencoder((1, 8, 8), width=8, num_halvings=1, noise=0.5)
    x = torch.randn(4, 1, 8, 8)
    assert not torch.equal(coder(x), coder(x))
    coder.eval()
    assert torch.equal(coder(x), coder(x))
    assert torch.equal(coder(x), coder.decode(coder.encode(x)))


def test_the_loss_is_the_mean_squared_error():
    x = torch.randn(3, 2)
    found = ReconstructionLoss()(lambda v: v + 0.5, x, torch.zeros(3, dtype=torch.int64))
    assert float(found) == pytest.approx(0.25, rel=1e-6)


def test_the_autoencoder_of_a_folder_is_taken_whole_and_left_alone(tmp_path):
    coder = kept(tmp_path)
    x = torch.randn(5, 1, 28, 28)
    for place in (tmp_path, str(tmp_path), tmp_path / "weights.safetensors"):
        model = LatentDenoiser((1, 28, 28), 10, autoencoder=place, network=NETWORK)
        assert torch.equal(model.encode(x), coder.encode(x))
    model.train()
    assert not model.autoencoder.training
    before = {k: v.clone() for k, v in model.autoencoder.state_dict().items()}
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    z = model.encode(x)
    (model(z, torch.tensor(1.0)) - z).square().sum().backward()
    optimizer.step()
    after = model.autoencoder.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_its_weights_hold_the_autoencoder(tmp_path):
    """The checkpoint alone is enough: the folder of the autoencoder may be gone."""
    kept(tmp_path)
    model = LatentDenoiser((1, 28, 28), 10, autoencoder=tmp_path, network=NETWORK).eval()
    again = LatentDenoiser((1, 28, 28), 10, network=NETWORK, **model.rebuilt_with).eval()
    x = torch.randn(2, 1, 28, 28)
    with pytest.raises(RuntimeError, match=r"no trained weights, only options.*runs/<name>"):
        again.encode(x)
    again.load_state_dict(model.state_dict())
    z = model.encode(x)
    assert torch.equal(again.encode(x), z)
    assert torch.equal(
        again.decode(again(z, torch.tensor(2.0))), model.decode(model(z, torch.tensor(2.0)))
    )


def test_latents_of_a_float64_sampler_are_decoded(tmp_path):
    model = LatentDenoiser((1, 28, 28), 10, autoencoder=kept(tmp_path), network=NETWORK)
    z = torch.randn(2, *model.latent_shape, dtype=torch.float64)
    assert model.decode(model(z, torch.tensor(1.0))).shape == (2, 1, 28, 28)


def test_a_learned_variance_is_passed_on(tmp_path):
    coder = kept(tmp_path)
    options = NETWORK | {"learned_variance": True}
    model = LatentDenoiser((1, 28, 28), 10, autoencoder=coder, network=options)
    assert model.with_fraction(torch.randn(2, 3, 7, 7), torch.tensor(1.0))[1].shape == (2, 3, 7, 7)
    assert not hasattr(
        LatentDenoiser((1, 28, 28), 10, autoencoder=coder, network=NETWORK), "with_fraction"
    )


def test_what_is_no_trained_autoencoder_is_one_line(tmp_path):
    make = lambda place, shape=(1, 28, 28): LatentDenoiser(shape, 10, autoencoder=place)  # noqa: E731
    with pytest.raises(StoreError, match=r"no '.*spec.json'; train the autoencoder"):
        make(tmp_path / "none")
    kept(tmp_path, kind="SimpleCNN")
    with pytest.raises(StoreError, match=r"it describes a SimpleCNN"):
        make(tmp_path)
    kept(tmp_path, options=OPTIONS | {"width": 9})
    with pytest.raises(StoreError, match=r"holds no autoencoder that can be used \(Error"):
        make(tmp_path)
    (tmp_path / "spec.json").write_text("{")
    with pytest.raises(StoreError, match=r"holds no autoencoder that can be used"):
        make(tmp_path)
    kept(tmp_path)
    with pytest.raises(ValueError, match=r"images of shape \(1, 8, 8\), got one of \(1, 28, 28\)"):
        make(tmp_path, (1, 8, 8))
    with pytest.raises(TypeError, match=r"the folder of a trained one.*got 3"):
        make(3)


@pytest.mark.parametrize("options", [{"noise": -1.0}, {"channels": 0}, {"num_halvings": 0}])
def test_options_are_checked(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        Autoencoder((1, 8, 8), **options)
