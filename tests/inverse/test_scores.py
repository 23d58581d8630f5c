"""Scores against closed forms of normal laws, and their calibration."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from heatgrad.inverse import bands, coverage, crps, relative_error


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_relative_error_by_hand():
    """|f - g| / |g| of known vectors, broadcast over draws."""
    truth = torch.tensor([[3.0, 0.0], [0.0, 4.0]])
    found = torch.stack([truth, 2 * truth, torch.zeros(2, 2)])
    assert relative_error(found, truth).tolist() == [0.0, 1.0, 1.0]


@pytest.mark.parametrize("num", [2, 5, 16])
def test_crps_is_fair(num):
    """Gneiting and Raftery: N(0, 1) at x has x (2 P(x) - 1) + 2 p(x) - 1 / sqrt(pi)."""
    x = 0.7
    found = crps(normal(num, 200000), torch.full((200000,), x, dtype=torch.float64))
    exact = x * (2 * stats.norm.cdf(x) - 1) + 2 * stats.norm.pdf(x) - 1 / math.sqrt(math.pi)
    assert abs(float(found.mean()) - exact) < 4 * float(found.std()) / math.sqrt(200000)


def test_crps_is_the_double_sum():
    """The definition, pair by pair, along another axis too."""
    draws, truth = normal(4, 6, 3), normal(4, 3, seed=1)
    pairs = (draws[:, :, None] - draws[:, None]).abs().sum((1, 2)) / (2 * 6 * 5)
    expected = (draws - truth[:, None]).abs().mean(1) - pairs
    assert torch.allclose(crps(draws, truth, dim=1), expected)


@pytest.mark.parametrize(("kind", "num"), [("normal", 4), ("normal", 16), ("quantile", 19)])
def test_bands_are_calibrated(kind, num):
    """One more draw of the same law is inside with the stated probability; 4 standard errors."""
    points = 100000
    draws = normal(num, points) * 3 + 1
    truth = normal(points, seed=1) * 3 + 1
    share = float(coverage(draws, truth, 0.9, kind=kind).mean())
    assert abs(share - 0.9) < 4 * math.sqrt(0.09 / points)


def test_quantile_bands_are_calibrated_for_any_law():
    """Order statistics: rank of one more draw is uniform, for exponential draws too."""
    generator = np.random.default_rng(0)
    draws = torch.from_numpy(generator.exponential(size=(39, 50000)))
    truth = torch.from_numpy(generator.exponential(size=50000))
    share = float(coverage(draws, truth, 0.8, kind="quantile").mean())
    assert abs(share - 0.8) < 4 * math.sqrt(0.16 / 50000)


def test_fixed_points_are_covered():
    """Draws that all say 0 cover 0 and nothing else."""
    draws = torch.zeros(4, 2)
    assert coverage(draws, torch.tensor([0.0, 1e-9]), 0.9).tolist() == [1.0, 0.0]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: bands(torch.zeros(1, 2), 0.9), "at least 2 draws"),
        (lambda: bands(torch.zeros(3), 1.0), "between 0 and 1"),
        (lambda: bands(torch.zeros(16), 0.9, kind="quantile"), "at least 19 draws, got 16"),
        (lambda: bands(torch.zeros(16), 0.9, kind="hdr"), "normal or quantile"),
        (lambda: crps(torch.zeros(1, 2), torch.zeros(2)), "at least 2 draws"),
    ],
)
def test_refusals(make, message):
    """One clear line each."""
    with pytest.raises(ValueError, match=message):
        make()
