"""The network's base: a fitted Gaussian and its exact denoiser."""

import torch
from torch import nn

from heatgrad.diffusion import DenoisingTransformer, EDMLoss, GaussianDenoiser, coefficients
from heatgrad.inverse import SpectralLatent
from heatgrad.pde import Darcy
from heatgrad.solving.base import GaussianBased, fitted_axes
from heatgrad.solving.field_network import FieldNetwork
from heatgrad.solving.latents import bases_of
from heatgrad.solving.objective import ModeWeightedLoss, mode_weights


def sample(num, dim, seed=0):
    """Return correlated Gaussian samples and their covariance."""
    generator = torch.Generator().manual_seed(seed)
    root = torch.randn(dim, dim, generator=generator, dtype=torch.float64) / dim**0.5
    z = torch.randn(num, dim, generator=generator, dtype=torch.float64) @ root.T + 1.0
    return z, root @ root.T


def test_an_untrained_network_is_the_exact_denoiser_of_the_fitted_gaussian():
    """`GaussianDenoiser` with the same mean and covariance, at several levels, in float32."""
    z, cov = sample(10, 16)
    variances, axes = torch.linalg.eigh(cov)
    network = DenoisingTransformer((1, 4, 4), width=8, depth=1, heads=1)
    model = GaussianBased(network, torch.ones(16), variances, axes)
    exact = GaussianDenoiser(torch.ones(1, 4, 4).double(), cov=cov)
    x = z.reshape(-1, 1, 4, 4)
    for sigma in (0.01, 0.5, 5.0, 80.0):
        level = torch.tensor(sigma, dtype=torch.float64)
        found = model(x * (1 + sigma), level)
        assert torch.allclose(found, exact(x * (1 + sigma), level), atol=2e-4 * (1 + sigma))
    levels = torch.full((10,), 0.5, dtype=torch.float64)
    assert torch.allclose(model(x, levels), model(x, levels[0]))


def test_the_fitted_covariance_approaches_the_true_one():
    """Four times the samples: half the error of the covariance, and less than without shrinking."""
    errors = []
    for num in (200, 3200):
        z, cov = sample(num, 30)
        mean, variances, axes = fitted_axes(z)
        errors.append(float((axes * variances @ axes.T - cov).norm() / cov.norm()))
        assert float((mean - 1).abs().max()) < 5 * float(cov.diagonal().max().sqrt()) / num**0.5
    assert errors[1] < 0.4 * errors[0]


def test_few_strong_correlations_among_many_numbers_are_kept():
    """Pairs of correlation .95 among 200 numbers, 150 samples: the true covariance is known.

    Drawing all toward the diagonal alike loses them; with held-out latents they are found.
    """
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(190, 200, generator=generator, dtype=torch.float64)
    z[:, 100:110] = 0.95 * z[:, :10] + (1 - 0.95**2) ** 0.5 * z[:, 100:110]
    cov = torch.eye(200, dtype=torch.float64)
    for k in range(10):
        cov[k, 100 + k] = cov[100 + k, k] = 0.95
    errors = []
    for held in (None, z[150:]):
        _, variances, axes = fitted_axes(z[:150], held)
        errors.append(float((axes * variances @ axes.T - cov).norm()))
    assert errors[1] < 0.6 * errors[0]


def test_independent_numbers_stay_independent():
    """Of fewer samples than numbers the plain covariance is singular; the fitted one is not."""
    z = torch.randn(20, 50, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    _, variances, _ = fitted_axes(z)
    assert float(variances.min()) > 0.2


class Shifted(nn.Module):
    """A network on fields that asks for a change by known fields."""

    sigma_data = 1.0

    def __init__(self, change):
        super().__init__()
        self.change = change

    def forward(self, x, sigma, label):
        """Return what undoes the skip connection, and the change."""
        skip = coefficients(sigma, 1.0).skip
        return skip * x + self.change


def test_a_network_on_fields_changes_the_fields_as_it_says():
    """Of strong modes alone: what is added to a is the change times the size of a, to 1e-5."""
    problem = Darcy(17)
    fields = problem.sample(200, torch.Generator().manual_seed(0))
    latent = SpectralLatent.fit(fields, problem.grid, bases_of(problem, 6))
    z = latent.encode(fields)[:3]
    wanted = latent.decode(
        0.1 * torch.randn(3, 2, 6, 6, generator=torch.Generator().manual_seed(1))
    )
    zero = latent.decode(torch.zeros(3, 2, 6, 6))
    size = (latent.std.square().sum((1, 2)) / 17**2).sqrt()
    change = torch.stack([(wanted[k] - zero[k]) / size[i] for i, k in enumerate("au")], 1)
    model = FieldNetwork(Shifted(change.float()), latent)
    found = latent.decode(z + model(z, torch.tensor(1.0)))
    before = latent.decode(z)
    gap = (found["a"] - before["a"]) - (wanted["a"] - zero["a"])
    assert float(gap.abs().max() / size[0]) < 1e-5


def test_the_weighted_loss_without_weights_is_that_of_edm():
    """The same draws of the default generator give the same number."""
    z, label = torch.randn(8, 2, 3, 3), torch.zeros(8, dtype=torch.int64)
    model = lambda x, sigma, label: 0.5 * x  # noqa: E731
    values = []
    for loss in (
        EDMLoss(sigma_data=1.0, log_mean=-0.5, log_std=1.4, drop_label=1.0),
        ModeWeightedLoss(torch.ones(2, 3, 3), -0.5, 1.4),
    ):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            values.append(float(loss(model, z, label)))
    assert abs(values[0] - values[1]) < 1e-5 * values[0]


def test_weights_of_power_two_are_those_of_the_error_of_the_fields():
    """Parseval: the weighted error of latents is proportional to that of the decoded field."""
    problem = Darcy(17)
    fields = problem.sample(100, torch.Generator().manual_seed(0))
    latent = SpectralLatent.fit(fields, problem.grid, bases_of(problem, 6))
    error = torch.randn(5, 2, 6, 6, generator=torch.Generator().manual_seed(1)).double()
    zero = latent.decode(0 * error)["a"]
    of_field = (latent.decode(error)["a"] - zero).square().sum((1, 2))
    weighted = (mode_weights(latent, 2.0) * error.square())[:, 0].sum((1, 2))
    ratio = weighted / of_field
    assert float(ratio.std() / ratio.mean()) < 1e-9
