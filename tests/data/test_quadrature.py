import pytest
import torch
from scipy.stats import norm

from heatgrad.data import quadrature
from heatgrad.data.quadrature import planar_bayes_accuracy


@pytest.mark.parametrize("gap", [0.1, 1.0, 3.0, 6.0])
@pytest.mark.parametrize("angle", [0.0, 0.3, 1.0])
def test_two_gaussians(gap, angle):
    """Two Gaussians d apart: A = Phi(d / 2 sigma), whatever the direction; error as stated."""
    sigma = 0.7
    offset = torch.tensor([[angle, 0.0]], dtype=torch.float64)
    turn = torch.cat([offset[:, :1].cos(), offset[:, :1].sin()], dim=1)
    accuracy, error = planar_bayes_accuracy(turn * 0.4, turn * (0.4 + gap * sigma), sigma)
    assert error < 1e-3
    assert accuracy == pytest.approx(norm.cdf(gap / 2), abs=error + 1e-12)


@pytest.mark.parametrize("rows", [4, 250, 2000])
def test_stated_error_bounds_a_finer_grid(rows, monkeypatch):
    """Four times as many grid lines move the result by less than the stated error."""
    generator = torch.Generator().manual_seed(0)
    means0, means1 = torch.randn(2, rows, 2, generator=generator, dtype=torch.float64)
    means1 = means1 + 0.5
    accuracy, error = planar_bayes_accuracy(means0, means1, 0.3)
    monkeypatch.setattr(quadrature, "_PER_SIGMA", 32)
    finer, _ = planar_bayes_accuracy(means0, means1, 0.3)
    assert 0.5 < accuracy < 1
    assert abs(accuracy - finer) < error < 1e-3


def test_limits():
    """Equal classes give 1/2; classes out of each other's reach give 1, without a grid."""
    means = torch.rand(50, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert planar_bayes_accuracy(means, means, 0.1)[0] == pytest.approx(0.5, abs=1e-13)
    assert planar_bayes_accuracy(means, means + 100, 0.1) == (1.0, 0.0)


def test_scale_and_order_do_not_matter():
    """Units cancel, and exchanging the classes changes nothing."""
    generator = torch.Generator().manual_seed(1)
    means0, means1 = torch.randn(2, 30, 2, generator=generator, dtype=torch.float64)
    accuracy, error = planar_bayes_accuracy(means0, means1, 0.4)
    scaled, _ = planar_bayes_accuracy(means0 * 1e3, means1 * 1e3, 400.0)
    swapped, _ = planar_bayes_accuracy(means1, means0, 0.4)
    assert scaled == pytest.approx(accuracy, abs=1e-12 + error)
    assert swapped == pytest.approx(accuracy, abs=1e-12)
