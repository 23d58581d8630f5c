"""Guidance against posteriors in closed form."""

import math

import pytest
import torch

from heatgrad.diffusion import (
    GaussianDenoiser,
    MixtureDenoiser,
    classifier_free,
    clipped,
    gradient_guided,
    heun,
    karras_levels,
    start,
    with_label,
)

MEANS = torch.tensor([[-2.0, 0.0], [1.0, 1.0], [0.0, 3.0]], dtype=torch.float64)
LAW = MixtureDenoiser(
    torch.tensor([1.0, 2.0, 1.0]), MEANS, stds=0.5, labels=torch.tensor([0, 1, 1])
)


def at(sigma):
    return torch.tensor(sigma, dtype=torch.float64)


def points(n=5, seed=0):
    return 2 * torch.randn(n, 2, generator=torch.Generator().manual_seed(seed)).double()


def test_with_label():
    """One class for all, or one a sample."""
    x = points()
    each = torch.tensor([0, 1, 1, 0, 1])
    assert torch.equal(with_label(LAW, each)(x, at(1.0)), LAW(x, at(1.0), each))
    assert torch.equal(with_label(LAW, 1)(x, at(1.0)), LAW(x, at(1.0), torch.ones(5).long()))


def noise(x, x0, sigma):
    return (x - x0) / sigma


@pytest.mark.parametrize("w", [-1.0, 0.0, 0.5, 3.0])
def test_classifier_free_in_noise(w):
    """(1 + w) ε_c - w ε; w = 0 is the conditional denoiser, w = -1 the unconditional one."""
    x, sigma = points(), 0.9
    told, free = with_label(LAW, 1)(x, at(sigma)), LAW(x, at(sigma))
    wanted = (1 + w) * noise(x, told, sigma) - w * noise(x, free, sigma)
    found = noise(x, classifier_free(LAW, 1, w)(x, at(sigma)), sigma)
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)


def test_classifier_free_climbs_the_exact_classifier():
    """D_w = D_c + w σ² grad log p(c | x), the gradient by autograd of the exact class law."""
    x, sigma, w = points().requires_grad_(), at(0.9), 2.0
    label = torch.zeros(5).long()
    log_p = LAW.log_density(x, sigma, label) - LAW.log_density(x, sigma)
    (slope,) = torch.autograd.grad(log_p.sum(), x)
    wanted = LAW(x.detach(), sigma, label) + w * sigma**2 * slope
    found = classifier_free(LAW, 0, w)(x.detach(), sigma)
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-9)


def test_calls_of_classifier_free():
    """Two, one where nothing is added."""
    labels = []

    def counted(x, sigma, label=None):
        labels.append(label is None)
        return LAW(x, sigma, label)

    classifier_free(counted, 1, 2.0)(points(), at(1.0))
    classifier_free(counted, 1, 0.0)(points(), at(1.0))
    assert labels == [False, True, False]


def test_samples_of_a_class():
    """Without guidance: shares of its components, 2 to 1. With it: more of what tells it apart."""
    levels, n = karras_levels(40, sigma_min=0.02, sigma_max=40.0), 4000
    x = start((n, 2), levels, torch.Generator().manual_seed(0), torch.float64)
    found = heun(classifier_free(LAW, 1, 0.0), x, levels)
    upper = float((found[:, 1] > 2).double().mean())
    assert upper == pytest.approx(1 / 3, abs=5 * 0.47 / math.sqrt(n) + 0.01)
    guided = heun(classifier_free(LAW, 1, 2.0), x, levels)
    # Away from the other class, whose mean lies to the left.
    assert float(guided[:, 0].mean()) > float(found[:, 0].mean()) + 0.1


def test_gradient_guidance_is_bayes_for_a_gaussian():
    """Of y = a'x0 + noise: with the law of y given the noisy sample, the posterior's denoiser."""
    S = torch.tensor([[1.0, 0.6], [0.6, 0.5]], dtype=torch.float64)
    m, a = torch.tensor([1.0, -2.0]).double(), torch.tensor([0.5, 2.0]).double()
    y, r, sigma = 0.7, 0.3, at(0.8)
    prior = GaussianDenoiser(m, cov=S)
    gain = S @ a / (a @ S @ a + r)
    posterior = GaussianDenoiser(m + gain * (y - a @ m), cov=S - torch.outer(gain, a @ S))
    left = S - S @ torch.linalg.solve(S + sigma**2 * torch.eye(2).double(), S)  # cov of x0 given x
    variance = a @ left @ a + r

    def likelihood(x, x0, sigma):
        return -((y - x0 @ a) ** 2) / (2 * variance)

    x = points()
    found = gradient_guided(prior, likelihood)(x, sigma)
    torch.testing.assert_close(found, posterior(x, sigma), rtol=1e-10, atol=1e-10)
    half = gradient_guided(prior, likelihood, 0.5)(x, sigma)
    torch.testing.assert_close(half, (found + prior(x, sigma)) / 2, rtol=1e-10, atol=1e-10)


def test_gradient_guidance_by_a_classifier_is_the_conditional_denoiser():
    """The exact classifier of noisy samples; one level a sample."""
    label, sigma = torch.tensor([0, 1, 1, 0, 1]), torch.linspace(0.3, 3, 5).double()

    def likelihood(x, x0, sigma):
        return LAW.log_density(x, sigma, label) - LAW.log_density(x, sigma)

    x = points()
    found = gradient_guided(LAW, likelihood)(x, sigma)
    torch.testing.assert_close(found, LAW(x, sigma, label), rtol=1e-9, atol=1e-9)


def test_gradient_guidance_within_a_sampler():
    """A sampler records no gradient; guidance has its own, and its samples keep none."""
    levels = karras_levels(10, sigma_min=0.05, sigma_max=10.0)
    x = start((4, 2), levels, torch.Generator().manual_seed(0), torch.float64)
    guided = gradient_guided(LAW, lambda x, x0, s: -(x0[:, 0] ** 2))
    found = heun(guided, x, levels)
    assert not found.requires_grad
    assert not x.requires_grad


def test_clipped():
    x = torch.linspace(-3, 3, 7).double().unsqueeze(1)
    law = GaussianDenoiser(torch.zeros(1), std=1e6)
    found = clipped(law, -1.0, 2.0)(x, at(0.1))
    torch.testing.assert_close(found, x.clamp(-1, 2), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: classifier_free(LAW, 1, math.nan), "scale"),
        (lambda: classifier_free(LAW, 1, -2.0), "at least -1"),
        (lambda: with_label(LAW, -1), "at least 0"),
        (lambda: with_label(LAW, torch.tensor([0.5])), "whole numbers"),
        (lambda: with_label(LAW, torch.tensor([0, 1]))(points(), at(1.0)), "each of 5 samples"),
        (lambda: gradient_guided(LAW, lambda x, x0, s: x0, math.inf), "scale must be finite"),
        (
            lambda: gradient_guided(LAW, lambda x, x0, s: x0.sum())(points(), at(1.0)),
            "one number a sample",
        ),
        (
            lambda: gradient_guided(LAW, lambda x, x0, s: (0 * x).sum(1).sqrt())(points(), at(1.0)),
            "must be finite",
        ),
        (lambda: clipped(LAW, 1.0, 1.0), "low < high"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call()
