"""The bound on likelihoods: parts against SciPy, the whole against laws in closed form."""

import math

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from heatgrad.diffusion import (
    GaussianDenoiser,
    binned_log_prob,
    cosine_alpha_bars,
    from_noise_prediction,
    gaussian_kl,
    karras_levels,
    levels_of,
    variational_bound,
)

GRID = torch.arange(256, dtype=torch.float64) * (2 / 255) - 1
STD = 0.4


def numbers(*values):
    return torch.tensor(values, dtype=torch.float64)


def test_divergence_of_gaussians():
    """By quadrature; and no cancellation between equal laws."""
    for d, v, w in ((0.3, 0.5, 2.0), (-1.0, 2.0, 0.7)):
        p, q = stats.norm(d, math.sqrt(v)), stats.norm(0, math.sqrt(w))
        truth = integrate.quad(lambda x: p.pdf(x) * (p.logpdf(x) - q.logpdf(x)), -12, 12)[0]  # noqa: B023
        found = gaussian_kl(numbers(d), numbers(v).log(), numbers(w).log())
        assert float(found) == pytest.approx(truth, rel=1e-8)
    tiny = gaussian_kl(numbers(0), numbers(1e-9), numbers(0))
    assert float(tiny) == pytest.approx(1e-18 / 4, rel=1e-6)


@pytest.mark.parametrize(("mean", "std"), [(0.0, 0.3), (0.98, 0.01), (-1.5, 0.1), (0.3, 20.0)])
def test_bins_add_up_to_one(mean, std):
    """So do the 256 of any law, outer ones open; and each is a difference of SciPy's."""
    found = binned_log_prob(GRID, numbers(mean), numbers(std))
    assert float(found.exp().sum()) == pytest.approx(1, abs=1e-12)
    edges = np.concatenate([[-np.inf], (GRID[1:] - 1 / 255).numpy(), [np.inf]])
    truth = np.diff(stats.norm(mean, std).cdf(edges))
    np.testing.assert_allclose(found.exp().numpy(), truth, rtol=1e-7, atol=1e-15)


def test_bins_far_in_the_tails():
    """Where differences of probabilities are 0 in float64: SciPy's logarithms; mirror images."""
    for sign in (1, -1):
        found = binned_log_prob(GRID, numbers(sign * 0.9), numbers(0.01))
        assert bool(torch.isfinite(found).all())
        k = 50 if sign > 0 else 205
        edges = (float(GRID[k]) + np.array([-1, 1]) / 255 - sign * 0.9) / 0.01 * sign
        truth = stats.norm.logcdf(edges.max())  # the other is e^-200 of it
        assert float(found[k]) == pytest.approx(truth, rel=1e-9)
    both = [binned_log_prob(s * GRID, numbers(s * 0.3), numbers(0.02)) for s in (1, -1)]
    torch.testing.assert_close(*both, rtol=1e-9, atol=1e-9)


def whole_numbers(n, d, seed=0):
    """Return data of deviation 0.4, rounded to the grid; hardly any beyond it."""
    x = STD * torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return ((x.clamp(-1, 1) + 1) * 127.5).round() / 127.5 - 1


@pytest.mark.parametrize("variance", ["small", "large"])
def test_real_numbers_in_the_limit_of_many_steps(variance):
    """With the exact denoiser and its own last variance the bound is -log2 p(x), in many steps."""
    law = GaussianDenoiser(torch.full((200,), 0.1, dtype=torch.float64), std=STD)
    x = law.sample(40, torch.Generator().manual_seed(0))
    exact = -law.log_density(x, torch.tensor(0.0).double()) / math.log(2) / 200
    low = 0.05
    gaps = []
    for steps in (100, 1600):
        levels = karras_levels(steps, sigma_min=low, sigma_max=200.0)
        found = variational_bound(
            law,
            x,
            levels,
            generator=torch.Generator().manual_seed(1),
            variance=variance,
            bins=None,
            decoder_variance=STD**2 * low**2 / (STD**2 + low**2),
            data_std=STD,
        )
        gap = found.bits_per_dim - exact
        gaps.append(float(gap.mean()))
        error = float(gap.std()) / math.sqrt(40)
        assert gaps[-1] > -5 * error  # a bound
    assert gaps[1] < gaps[0]
    assert gaps[1] < 5 * error


def test_whole_numbers_in_the_limit_of_many_steps():
    """KL(N(x, σ²), N(0, s² + σ²)) at the smallest level and the decoder there, by quadrature."""
    x, low, steps = whole_numbers(30, 100), 0.01, 800
    levels = karras_levels(steps, sigma_min=low, sigma_max=100.0)
    law = GaussianDenoiser(torch.zeros(100, dtype=torch.float64), std=STD)
    variance = STD**2 * low**2 / (STD**2 + low**2)
    found = variational_bound(
        law,
        x,
        levels,
        generator=torch.Generator().manual_seed(1),
        decoder_variance=variance,
        data_std=STD,
    )
    total = STD**2 + low**2
    steps_bits = gaussian_kl(x, numbers(low**2).log(), numbers(total).log()) / math.log(2)
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    decoder = 0
    for node, weight in zip(nodes, weights / weights.sum(), strict=True):
        mean = STD**2 / total * (x + low * node)
        decoder = decoder - weight * binned_log_prob(x, mean, numbers(variance).sqrt())
    truth = float(steps_bits.mean() + decoder.mean() / math.log(2))
    error = float(found.bits_per_dim.std()) / math.sqrt(30)
    assert float(found.bits_per_dim.mean()) == pytest.approx(truth, abs=5 * error + 0.02)
    assert float(found.decoder.mean()) == pytest.approx(
        float(decoder.mean()) / math.log(2), abs=5 * float(found.decoder.std()) / math.sqrt(30)
    )
    # It bounds the entropy of the whole numbers themselves.
    exact = -np.log2(np.diff(stats.norm(0, STD).cdf(np.linspace(-1, 1, 257)))).mean()
    assert truth > -binned_log_prob(x, numbers(0), numbers(STD)).mean() / math.log(2)
    assert exact > 0


def test_parts_add_up_and_their_shapes():
    levels = levels_of(cosine_alpha_bars(30))
    law, x = GaussianDenoiser(torch.zeros(2, 3), std=STD), whole_numbers(4, 6).reshape(4, 2, 3)
    found = variational_bound(law, x.float(), levels, generator=torch.Generator().manual_seed(0))
    assert found.steps.shape == (4, 29)
    total = found.prior + found.steps.sum(1) + found.decoder
    torch.testing.assert_close(found.bits_per_dim, total)
    assert found.bits_per_dim.dtype == torch.float64
    assert bool((found.steps >= 0).all())
    again = variational_bound(law, x.float(), levels, generator=torch.Generator().manual_seed(0))
    assert torch.equal(found.bits_per_dim, again.bits_per_dim)


def test_terms_of_a_chain_written_out():
    """KL of N(mu~, bt) and N(mu, bt) is |mu~ - mu|² / 2 bt, in the chain's own coordinates."""
    ab = cosine_alpha_bars(10).numpy()
    levels, x = levels_of(torch.from_numpy(ab)), whole_numbers(3, 4)
    law, seen = GaussianDenoiser(torch.zeros(4, dtype=torch.float64), std=STD), []

    def watched(x, sigma):
        seen.append(law(x, sigma))
        return seen[-1]

    found = variational_bound(watched, x, levels, generator=torch.Generator().manual_seed(0))
    for step in range(9):
        t = 9 - step
        beta = 1 - ab[t] / ab[t - 1]
        tilde = beta * (1 - ab[t - 1]) / (1 - ab[t])
        coefficient = math.sqrt(ab[t - 1]) * beta / (1 - ab[t])  # of x0 in the posterior's mean
        kl = ((coefficient * (x - seen[step])) ** 2 / (2 * tilde)).mean(1) / math.log(2)
        torch.testing.assert_close(found.steps[:, step], kl, rtol=1e-8, atol=0)
    beta_2 = 1 - ab[1] / ab[0]
    std = numbers(beta_2 * (1 - ab[0]) / (1 - ab[1])).sqrt()
    decoder = -binned_log_prob(x, seen[-1], std).mean(1) / math.log(2)
    torch.testing.assert_close(found.decoder, decoder, rtol=1e-8, atol=0)
    kl = gaussian_kl(math.sqrt(ab[9]) * x, numbers(1 - ab[9]).log(), numbers(0)).mean(1)
    torch.testing.assert_close(found.prior, kl / math.log(2), rtol=1e-6, atol=0)


def test_learned_variances_at_both_ends():
    """Fractions 0 and 1 are the small and the large variance, but for beta_1 of the decoder."""
    ab = cosine_alpha_bars(20)
    levels, x = levels_of(ab), whole_numbers(3, 4)

    def bound(denoiser, variance):
        return variational_bound(
            denoiser, x, levels, generator=torch.Generator().manual_seed(0), variance=variance
        )

    plain = from_noise_prediction(lambda x, t: x, ab)
    for raw, name in ((-1.0, "small"), (1.0, "large")):
        learned = from_noise_prediction(
            lambda x, t, raw=raw: torch.cat([x, 0 * x + raw], 1), ab, learned_variance=True
        )
        found, wanted = bound(learned, "learned"), bound(plain, name)
        torch.testing.assert_close(found.steps, wanted.steps, rtol=1e-9, atol=1e-9)
        if name == "small":
            torch.testing.assert_close(found.decoder, wanted.decoder)


@pytest.mark.parametrize(
    ("x", "options", "message"),
    [
        (torch.arange(256).reshape(4, 64) / 255, {}, r"scaled to -1 \+ 2 k / 255"),
        (torch.arange(256.0).reshape(4, 64), {}, "whole numbers from 0 to 255"),
        (torch.randn(4, 64), {}, "bins=None"),
        (torch.ones(4, 64), {"bins": 1}, "bins must be at least 2"),
        (torch.ones(4, 64), {"decoder_variance": 0.0}, "decoder_variance"),
        (torch.ones(4, 64), {"data_std": -1.0}, "data_std"),
        (torch.ones(4, 64), {"levels": torch.tensor([1.0, 0.0])}, "at least two steps"),
        (torch.ones(4, 64) * math.nan, {}, "finite"),
    ],
)
def test_refusals(x, options, message):
    options = {"levels": torch.tensor([2.0, 1.0, 0.0]), **options}
    law = GaussianDenoiser(torch.zeros(64), std=1.0)
    with pytest.raises(ValueError, match=message):
        variational_bound(law, x, options.pop("levels"), generator=torch.Generator(), **options)
