"""The networks: shapes of every kind, the limits of their scales, what they are told."""

import copy

import pytest
import torch

from heatgrad.diffusion import GaussianDenoiser
from heatgrad.diffusion.networks import (
    NETWORKS,
    Conditioning,
    DenoisingTransformer,
    DenoisingUNet,
    coefficients,
    preconditioned,
)

SHAPES = [(1, 28, 28), (2, 44, 44), (1, 8, 8), (2, 65, 65), (3, 5, 9), (20, 32, 32)]
SMALL = {
    "DenoisingUNet": {"width": 8, "multipliers": (1, 2, 2)},
    "DenoisingTransformer": {"width": 16, "depth": 2},
}


def made(kind, shape=(1, 8, 8), classes=10, seed=0, **options):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return NETWORKS[kind](shape, classes, **SMALL[kind], **options)


def stirred(network, seed=1):
    """Return a network none of whose weights is 0, as one in the middle of its training."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for param in network.parameters():
            param.add_(0.1 * torch.randn(param.shape, generator=generator).to(param.dtype))
    return network.eval()


@pytest.fixture(params=SMALL)
def kind(request):
    return request.param


@pytest.mark.parametrize("shape", SHAPES)
def test_any_size_goes_in_and_comes_out(kind, shape):
    x = torch.randn(3, *shape)
    network = stirred(made(kind, shape))
    for sigma in (torch.tensor(0.5), torch.tensor([0.1, 1.0, 80.0])):
        found = network(x, sigma, torch.tensor([0, 9, -1]))
        assert found.shape == x.shape
        assert found.dtype == x.dtype
        assert bool(found.isfinite().all())


@pytest.mark.parametrize("patch", [2, 3])
def test_pixels_may_become_channels_first(patch):
    network = stirred(made("DenoisingUNet", (1, 28, 28), patch=patch))
    assert network(torch.randn(2, 1, 28, 28), torch.tensor(1.0)).shape == (2, 1, 28, 28)


def test_at_level_zero_the_sample_stays(kind):
    """c_skip = 1 and c_out = 0 at sigma = 0: D(x, 0) = x whatever the network says."""
    x = torch.randn(2, 1, 8, 8)
    assert torch.equal(stirred(made(kind))(x, torch.tensor(0.0)), x)


@pytest.mark.parametrize("sigma_data", [0.3, 1.0])
def test_an_untrained_network_is_the_denoiser_of_normal_data(kind, sigma_data):
    """A last layer of 0 gives D = c_skip x, the posterior mean of N(0, sigma_data^2), exactly."""
    shape = (1, 8, 8)
    network = made(kind, shape, sigma_data=sigma_data)
    exact = GaussianDenoiser(torch.zeros(shape), std=sigma_data)
    generator = torch.Generator().manual_seed(0)
    x = 3 * torch.randn(4, *shape, dtype=torch.float64, generator=generator)
    sigma = torch.tensor([1e-3, 0.5, 2.0, 80.0], dtype=torch.float64)
    for level, row in zip(sigma, x, strict=True):
        wanted = exact(row[None], level)
        assert torch.allclose(network(row[None], level), wanted, rtol=1e-12, atol=0)


def test_scales_are_those_of_edm():
    """Karras et al. (2022), Table 1: input and target of the network have variance 1."""
    sigma, s = torch.tensor([1e-3, 0.1, 1.0, 50.0], dtype=torch.float64), 0.7
    found = coefficients(sigma, s)
    assert torch.allclose(found.into**2 * (s**2 + sigma**2), torch.ones(4, dtype=torch.float64))
    # The target (x0 - c_skip x) / c_out has variance ((1 - c_skip)^2 s^2 + c_skip^2 sigma^2).
    spread = (1 - found.skip) ** 2 * s**2 + found.skip**2 * sigma**2
    assert torch.allclose(spread / found.out**2, torch.ones(4, dtype=torch.float64))
    assert torch.allclose(found.noise, sigma.log() / 4)


def test_the_precision_around_the_network_is_that_of_the_samples(kind):
    """A float64 sampler around a float32 network: F is rounded, c_skip x is not."""
    network = stirred(made(kind))
    x = torch.randn(2, 1, 8, 8, dtype=torch.float64)
    small = torch.tensor(1e-9, dtype=torch.float64)
    found = network(x, small)
    assert found.dtype == torch.float64
    assert 0 < float((found - x).detach().abs().max()) < 1e-7


def test_samples_do_not_mix(kind):
    """Batch size one against many: each sample is denoised by itself."""
    network = stirred(made(kind)).double()
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(4, 1, 8, 8, dtype=torch.float64, generator=generator)
    sigma = torch.tensor([0.1, 0.5, 1.0, 3.0], dtype=torch.float64)
    label = torch.tensor([1, -1, 3, 4])
    whole = network(x, sigma, label)
    for k in range(4):
        alone = network(x[k : k + 1], sigma[k], label[k : k + 1])
        assert torch.allclose(whole[k : k + 1], alone, rtol=1e-10, atol=1e-12)


def test_a_label_not_told_is_one_vector_more(kind):
    network = stirred(made(kind))
    x, sigma = torch.randn(3, 1, 8, 8), torch.tensor(1.0)
    untold = network(x, sigma)
    assert torch.equal(untold, network(x, sigma, torch.tensor([-1, -1, -1])))
    assert torch.equal(untold, network(x, sigma, torch.tensor([10, 10, 10])))
    mixed = network(x, sigma, torch.tensor([2, -1, 2]))
    assert torch.allclose(mixed[1], untold[1], atol=1e-6)
    assert not torch.allclose(mixed[0], untold[0], atol=1e-3)


@pytest.mark.parametrize("options", [{"classes": None}, {"conditional": False}])
def test_a_network_without_classes_takes_no_notice_of_them(kind, options):
    network = stirred(made(kind, **options))
    x, sigma = torch.randn(2, 1, 8, 8), torch.tensor(1.0)
    assert network.num_classes is None
    assert torch.equal(network(x, sigma), network(x, sigma, torch.tensor([1, 2])))


def test_labels_must_be_as_many_as_samples():
    with pytest.raises(ValueError, match=r"one class for each of 3 samples, got shape \(1,\)"):
        Conditioning(8, 10)(torch.zeros(3), torch.tensor([1]))


def test_all_weights_are_trained(kind):
    """In the first step the last layer alone has a gradient; in the middle all have one."""
    network = stirred(made(kind)).train()
    x, label = torch.randn(4, 1, 8, 8), torch.arange(4)
    (network(x, torch.tensor(1.0), label) - x).square().sum().backward()
    for name, param in network.named_parameters():
        assert param.grad is not None, name
        assert float(param.grad.abs().max()) > 0, name


def test_a_learned_variance_is_a_second_output(kind):
    network = made(kind, learned_variance=True)
    x, sigma = torch.randn(2, 1, 8, 8), torch.tensor(1.0)
    denoised, fraction = network.with_fraction(x, sigma, torch.tensor([0, 1]))
    assert torch.equal(denoised, network(x, sigma, torch.tensor([0, 1])))
    assert torch.equal(fraction, torch.full_like(x, 0.5))
    assert not hasattr(made(kind), "with_fraction")


def test_layout_in_memory_does_not_matter():
    network = stirred(made("DenoisingUNet")).double()
    x, sigma = torch.randn(2, 1, 8, 8, dtype=torch.float64), torch.tensor(1.0)
    wanted = network(x, sigma)
    last = copy.deepcopy(network).to(memory_format=torch.channels_last)
    assert torch.allclose(
        last(x.to(memory_format=torch.channels_last), sigma), wanted, rtol=1e-9, atol=1e-11
    )


def test_channels_beyond_the_samples_are_given_back():
    x = torch.ones(1, 2, 3, 3)
    core = lambda x, noise, label: torch.cat([x, 7 * torch.ones_like(x)], dim=1)  # noqa: E731
    _, beyond = preconditioned(
        core, x, torch.tensor(1.0), None, sigma_data=1.0, dtype=torch.float32
    )
    assert torch.equal(beyond, 7 * x)


def test_positions_are_of_one_shape():
    with pytest.raises(ValueError, match=r"shape \(1, 8, 8\).*got \(1, 12, 12\)"):
        made("DenoisingTransformer")(torch.zeros(1, 1, 12, 12), torch.tensor(1.0))


@pytest.mark.parametrize(
    ("network", "options", "words"),
    [
        (DenoisingUNet, {"width": 0}, "width must be a whole number of at least 1, got 0"),
        (DenoisingUNet, {"multipliers": ()}, r"multipliers must be one whole number a level"),
        (DenoisingUNet, {"sigma_data": 0.0}, "sigma_data must be the standard deviation"),
        (DenoisingUNet, {"dropout": 1.0}, "dropout must be at least 0 and less than 1, got 1.0"),
        (DenoisingUNet, {"width": 6, "heads": 5}, "width must be a multiple of heads"),
        (DenoisingTransformer, {"width": 10}, "width must be a multiple of heads, got 10 and 4"),
        (DenoisingTransformer, {"patch": 1.5}, "patch must be a whole number"),
    ],
)
def test_options_are_checked(network, options, words):
    with pytest.raises(ValueError, match=words):
        network((1, 8, 8), 10, **options)


@pytest.mark.parametrize("shape", [(8, 8), (1, 0, 8), (64,)])
def test_shapes_are_checked(kind, shape):
    with pytest.raises(ValueError, match=r"input_shape must be \(channels, height, width\)"):
        NETWORKS[kind](shape, 10)
